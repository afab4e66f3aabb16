"""A helper process that answers one question after another, each within a deadline; what it is asked is not known here.

A share that hangs can hang whoever touches it, past any signal. So a process of its own touches it: when an answer is
late that process is abandoned, and the next question starts another.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

from cryoframe.errors import EnvironmentFault

Answer = dict[str, Any]


class Child:
    """The asking side.

    Parameters
    ----------
    module
        Run as ``python -m module ARGUMENT``; it calls :func:`serve`.
    argument
        Handed over as JSON.
    deadline_s
        How long an answer may take.
    """

    def __init__(self, module: str, argument: object, *, deadline_s: float) -> None:
        self._command = [sys.executable, "-m", module, json.dumps(argument)]
        self._deadline_s = deadline_s
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, question: Mapping[str, Any]) -> Answer:
        """Return the answer.

        Raises
        ------
        EnvironmentFault
            If the helper died or was late.
        """
        process = self._running()
        assert process.stdin is not None  # both ends are pipes
        try:
            process.stdin.write(json.dumps(question).encode() + b"\n")
            process.stdin.flush()
            line = self._line(process)
        except OSError as error:
            self.close()
            raise EnvironmentFault(f"helper process died ({error.strerror})") from error
        if line is None:
            status = process.poll()
            self.close()
            raise EnvironmentFault(
                "helper process died" if status is not None else f"no answer in {self._deadline_s} s"
            )
        answer: Answer = json.loads(line)
        return answer

    def close(self) -> None:
        """End the helper; one that hangs in the system is left to the system."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        for stream in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):
                if stream is not None:
                    stream.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(1.0)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            packages = str(Path(__file__).parents[2])
            path = os.pathsep.join(part for part in (packages, os.environ.get("PYTHONPATH")) if part)
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                cwd="/",
                env={**os.environ, "PYTHONPATH": path},
                start_new_session=True,
            )
        return self._process

    def _line(self, process: subprocess.Popen[bytes]) -> bytes | None:
        assert process.stdout is not None  # it is a pipe
        end_s, pieces = time.monotonic() + self._deadline_s, b""
        while not pieces.endswith(b"\n"):
            ready, _, _ = select.select([process.stdout], [], [], max(0.0, end_s - time.monotonic()))
            piece = os.read(process.stdout.fileno(), 1 << 20) if ready else b""
            if not piece:
                return None
            pieces += piece
        return pieces


def serve(answer: Callable[[Mapping[str, Any]], Answer], questions: IO[bytes] | None = None) -> None:
    """Answer the questions on stdin until the asking process is gone; what else is printed goes to stderr."""
    out = os.dup(1)
    os.dup2(2, 1)
    for line in questions or sys.stdin.buffer:
        said = memoryview(json.dumps(answer(json.loads(line))).encode() + b"\n")
        try:
            while said:
                said = said[os.write(out, said) :]
        except BrokenPipeError:
            return
