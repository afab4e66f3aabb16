"""Stands between cryoframe and a program, as a script of its own: ends the program's whole group when its caller dies.

Started as ``python guard.py LIFELINE PROGRAM ARGUMENT…`` in a new session. LIFELINE is the reading end of a pipe that
the caller never writes to: it ends when the caller closes it, or is killed and so cannot clean up. The exit status is
the program's, 128 + n for signal n, 126 or 127 when it cannot be started. No cryoframe module is imported: it starts
in hundredths of a second.
"""

from __future__ import annotations

import _thread
import os
import signal
import sys
from collections.abc import Sequence

CANNOT_RUN, NOT_FOUND, SIGNALLED = 126, 127, 128


def main(arguments: Sequence[str]) -> int:
    """Run the program to its end and return its status as a shell would."""
    lifeline, argv = int(arguments[0]), list(arguments[1:])
    os.set_inheritable(lifeline, False)
    try:
        pid = os.posix_spawn(argv[0], argv, os.environ, setsigdef=[signal.SIGPIPE, signal.SIGINT])
    except OSError as error:
        sys.stderr.write(f"{argv[0]} cannot be started: {error.strerror}\n")
        return NOT_FOUND if isinstance(error, FileNotFoundError) else CANNOT_RUN
    _thread.start_new_thread(_end_with_caller, (lifeline,))
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else SIGNALLED - code


def _end_with_caller(lifeline: int) -> None:
    while os.read(lifeline, 1):
        pass
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    os._exit(main(sys.argv[1:]))
