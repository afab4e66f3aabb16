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
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from cryoframe.errors import EnvironmentFault

Answer = dict[str, Any]
#: A helper is given so long to start, however soon it has to answer then: on a busy machine that takes a while.
START_S = 30.0
_AWAKE = {"beat": "awake"}


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
        self._pieces, self._late_at_s = b"", 0.0
        #: What the helper last said it was doing; empty once it has answered.
        self.beat = ""

    def ask(self, question: Mapping[str, Any]) -> Answer:
        """Return the answer.

        Raises
        ------
        EnvironmentFault
            If the helper died or was late.
        """
        self.start(question)
        answer = None
        while answer is None:
            answer = self.poll(self._deadline_s)
        return answer

    def start(self, *questions: Mapping[str, Any]) -> None:
        """Put questions; :meth:`poll` has the answers, one a call, in the same order.

        Raises
        ------
        EnvironmentFault
            If the helper died, or none can be started.
        """
        is_new, process = self._process is None, self._running()
        assert process.stdin is not None  # both ends are pipes
        patience_s = max(START_S, self._deadline_s) if is_new else self._deadline_s
        self._pieces, self.beat, self._late_at_s = b"", "", time.monotonic() + patience_s
        try:
            process.stdin.write(b"".join(json.dumps(question).encode() + b"\n" for question in questions))
            process.stdin.flush()
        except OSError as error:
            self.close()
            raise EnvironmentFault(f"helper process died ({error.strerror})") from error

    def poll(self, timeout_s: float) -> Answer | None:
        """Return the next answer, or None if it takes longer than `timeout_s`.

        Raises
        ------
        EnvironmentFault
            If the helper died, or has given no sign of life for its deadline.
        """
        process, end_s = self._running(), time.monotonic() + timeout_s
        while True:
            line, newline, rest = self._pieces.partition(b"\n")
            if newline:
                self._pieces = rest
                answer: Answer = json.loads(line)
                self._late_at_s = time.monotonic() + self._deadline_s
                if "beat" not in answer:
                    self.beat = ""  # what comes of the helper now is not the fault of what it has answered
                    return answer
                self.beat = str(answer["beat"])
                continue
            now_s = time.monotonic()
            piece = self._piece(process, max(0.0, min(end_s, self._late_at_s) - now_s))
            if piece:
                self._pieces += piece
                # A sign of life, whenever it is heard: who asks may have been busy for longer than the deadline.
                self._late_at_s = max(self._late_at_s, time.monotonic() + self._deadline_s)
            elif piece is not None or time.monotonic() >= self._late_at_s:
                self.close()
                died = "helper process died" if piece is not None else f"no answer in {self._deadline_s} s"
                raise EnvironmentFault(died)
            elif time.monotonic() >= end_s:
                return None

    @property
    def pipe(self) -> IO[bytes] | None:
        """What the helper speaks through, if there is one."""
        return self._process.stdout if self._process is not None else None

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
            try:
                self._process = subprocess.Popen(
                    self._command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    cwd="/",
                    env={**os.environ, "PYTHONPATH": path},
                    start_new_session=True,
                )
            except OSError as error:  # no memory, no descriptor, no process more: it is tried again
                raise EnvironmentFault(f"no helper process can be started ({error.strerror})") from error
        return self._process

    def _piece(self, process: subprocess.Popen[bytes], timeout_s: float) -> bytes | None:
        """Return what the helper wrote: nothing at all (None) yet, or an empty text at its end."""
        assert process.stdout is not None  # it is a pipe
        ready, _, _ = select.select([process.stdout], [], [], timeout_s)
        return os.read(process.stdout.fileno(), 1 << 20) if ready else None


def wait_for_any(children: Sequence[Child], timeout_s: float) -> None:
    """Return when one of the helpers has something to say, or has ended, or after `timeout_s`."""
    pipes = [pipe for pipe in (child.pipe for child in children) if pipe is not None]
    if len(pipes) == len(children):  # else of one that could not be started there is something to be heard
        select.select(pipes, [], [], timeout_s)


def serve_slowly(
    answer: Callable[[Mapping[str, Any], Callable[[str], None]], Answer], questions: IO[bytes] | None = None
) -> None:
    """Answer as :func:`serve` does; while an answer takes long, what `answer` is given says that it is alive."""
    out = _own_stdout()
    with contextlib.suppress(BrokenPipeError):
        _write(out, _AWAKE)
    for line in questions or sys.stdin.buffer:
        try:
            _write(out, answer(json.loads(line), lambda word: _write(out, {"beat": word})))
        except BrokenPipeError:
            return


def serve(answer: Callable[[Mapping[str, Any]], Answer], questions: IO[bytes] | None = None) -> None:
    """Answer the questions on stdin until the asking process is gone; what else is printed goes to stderr."""
    out = _own_stdout()
    with contextlib.suppress(BrokenPipeError):
        _write(out, _AWAKE)
    for line in questions or sys.stdin.buffer:
        try:
            _write(out, answer(json.loads(line)))
        except BrokenPipeError:
            return


def _own_stdout() -> int:
    out = os.dup(1)
    os.dup2(2, 1)
    return out


def _write(out: int, said: Answer) -> None:
    rest = memoryview(json.dumps(said).encode() + b"\n")
    while rest:
        rest = rest[os.write(out, rest) :]
