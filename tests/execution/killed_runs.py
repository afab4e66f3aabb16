"""A process that runs worlds in children and kills them: one order a line on stdin, one exit code a line on stdout."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

from run_world import World


def main() -> None:
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            os.environ.update(order["environment"])
            world = World(Path(order["folder"]), **order["world"])
            world.execute()
            os._exit(0)
        if order["kill_s"]:
            time.sleep(order["kill_s"])
            os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
