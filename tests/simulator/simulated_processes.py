"""Helper processes that are none: pipes, start, answers and death as the kernel would have them, in one thread.

The asking side is the real one, down to its system calls; these are what is simulated. The answering sides are the real
ones too, given a simulated disk.
"""

from __future__ import annotations

import errno
import json
import os
import select
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from unittest import mock

from simulated_disk import Disk, DiskPath, Hangs
from simulated_movies import frames_of, header_of, side_car_of
from simulated_world import Instead, World

from cryoframe.watch import child, intake, prober, scanner

_FIRST_DESCRIPTOR = 1 << 21
#: After one trouble so many questions are answered well.
RESPITE = 12
Answering = Callable[[Mapping[str, Any], Callable[[str], None]], dict[str, Any]]


@dataclass
class Hardship:
    """How likely it is that a helper does not start, dies of a question, or is late with an answer."""

    p_no_start: float = 0.0
    p_dies: float = 0.0
    p_late: float = 0.0
    start_s: float = 0.5
    answer_s: float = 0.01


class Processes:
    """All helpers of one machine."""

    def __init__(self, world: World, disk: Disk) -> None:
        self.world, self.disk, self.hardship = world, disk, Hardship()
        self.alive: dict[int, Helper] = {}
        self.n_started = 0
        #: Of each kind of helper, the questions that go well before the next trouble: else good files are blamed.
        self.respite: dict[str, int] = {}

    def popen(self, command: list[str], **_: object) -> Helper:
        """Stand in for ``subprocess.Popen``."""
        self.world.alive()
        if self.world.happens("helper does not start", self.hardship.p_no_start):
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        self.n_started += 1
        made = Helper(self, command[2], json.loads(command[3]), _FIRST_DESCRIPTOR + self.n_started)
        self.alive[made.number] = made
        return made

    def select(self, waited_for: list[Any], *_: object) -> tuple[list[Any], list[Any], list[Any]]:
        """Stand in for ``select.select`` of pipes."""
        *_, timeout_s = _
        self.world.alive()
        self.world.wait(self.world.now_s + float(timeout_s), lambda: any(pipe.is_ready for pipe in waited_for))  # type: ignore[arg-type]
        self.world.alive()
        return [pipe for pipe in waited_for if pipe.is_ready], [], []

    def read(self, descriptor: int, n_bytes: int) -> bytes:
        """Stand in for ``os.read`` of a pipe."""
        helper = next(one for one in self.alive.values() if one.stdout.fileno() == descriptor)
        # A pipe gives what is in it, in pieces of any size.
        n_bytes = min(n_bytes, self.world.pick("pieces", (1 << 20, 1 << 20, 1 << 16, 100)))
        piece, helper.said = bytes(helper.said[:n_bytes]), helper.said[n_bytes:]
        return piece

    def end_all(self) -> None:
        """Let all die with the process that started them."""
        for helper in list(self.alive.values()):
            helper.kill()
        self.alive.clear()

    def share_is_back(self) -> None:
        """Let those go on that hung."""
        for helper in list(self.alive.values()):
            if helper.is_stuck:
                helper.is_stuck = False
                helper.work_soon()

    def patches(self) -> list[Any]:
        """Return what has to be in force while the program runs."""
        kernel = {"subprocess": Instead(subprocess, Popen=self.popen), "select": Instead(select, select=self.select)}
        kernel["os"] = Instead(os, read=self.read)
        disk = self.disk
        seen = {name: getattr(disk, name) for name in ("stat", "scandir", "open", "fstat", "lseek", "pread", "close")}
        at = type("At", (DiskPath,), {"disk": disk})
        return [
            *(mock.patch.object(child, name, value) for name, value in kernel.items()),
            mock.patch.object(scanner, "os", Instead(os, **seen)),
            mock.patch.object(intake, "os", Instead(os, fstat=disk.fstat)),
            mock.patch.object(intake, "Path", at),
        ]

    def answering(self, module: str, argument: Any) -> Answering:
        """Return who answers in a helper that runs `module`."""
        if module == "cryoframe.watch.scanner":
            tree = scanner.Tree(argument, clock=self.world.monotonic)
            return lambda question, _: tree.answer(question)
        if module == "cryoframe.watch.intake":
            return _Desk(self.disk).answer
        return _Readers(self.disk).answer_one


class _Desk(intake.Desk):
    """Reads the files of the simulated disk; the reader of their headers is simulated as well."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    def _header(self, path: Any, kind: str) -> dict[str, Any]:
        return header_of(self._disk.content(str(path)), str(path))


class _Readers(prober._Readers):
    """As :class:`_Desk`."""

    def __init__(self, disk: Disk) -> None:
        self._plugins = self  # type: ignore[assignment]
        self._disk = disk

    def answer_one(self, question: Mapping[str, Any], _: object) -> dict[str, Any]:
        try:
            if "movie" in question:
                return {"n_frames": frames_of(self._disk.content(question["movie"]), question["movie"])}
            return {"facts": side_car_of(self._disk.content(question["metadata"]))}
        except OSError as error:
            return {"type": "EnvironmentFault", "what": error.strerror or type(error).__name__}
        except Exception as error:
            return {"type": type(error).__name__, "what": getattr(error, "what", str(error))}


class Helper:
    """One helper, from the side of who started it: what ``Popen`` returns."""

    def __init__(self, processes: Processes, module: str, argument: Any, number: int) -> None:
        self._processes, self._world, self.number = processes, processes.world, number
        self.name = module.rpartition(".")[2]
        self.stdin, self.stdout = _In(self), _Out(self)
        self.said = bytearray()
        self.is_dead = self.is_stuck = self._is_busy = False
        self._questions: list[bytes] = []
        self._half = b""
        self._answer = processes.answering(module, argument)
        chance = self._world.chance("helpers")
        self._world.after(processes.hardship.start_s * (0.2 + chance.random()), "", self._awake)

    # -- what Popen has -------------------------------------------------------------------------------------------
    def kill(self) -> None:
        self.is_dead = True

    terminate = kill

    def poll(self) -> int | None:
        return -9 if self.is_dead else None

    def wait(self, timeout: float | None = None) -> int:
        if not self.is_dead:
            self._world.sleep(timeout or 0.0)
            raise subprocess.TimeoutExpired(self.name, timeout or 0.0)
        self._processes.alive.pop(self.number, None)
        return -9

    # -- its life ---------------------------------------------------------------------------------------------------
    def _awake(self) -> None:
        self._say({"beat": "awake"})
        self._is_awake = True
        self.work_soon()

    _is_awake = _may_fail = False

    def ask(self, text: bytes) -> None:
        if self.is_dead:
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
        *whole, self._half = (self._half + text).split(b"\n")
        self._questions += whole
        self.work_soon()

    def work_soon(self) -> None:
        """Take up the next question, if there is one and nothing else is being done."""
        if self.is_dead or self.is_stuck or self._is_busy or not self._is_awake or not self._questions:
            return
        self._is_busy = True
        hardship, chance = self._processes.hardship, self._world.chance("helpers")
        delay_s = hardship.answer_s * (0.5 + chance.random())
        respite = self._processes.respite.get(self.name, 0)
        self._processes.respite[self.name] = respite - 1
        self._may_fail = respite <= 0
        if self._may_fail and self._world.happens(f"{self.name} late", hardship.p_late):
            self._processes.respite[self.name] = RESPITE
            delay_s += chance.choice((5.0, 40.0, 100.0, 400.0))
        self._world.after(delay_s, "", self._work)

    def _work(self) -> None:
        self._is_busy = False
        if self.is_dead or not self._questions:
            return
        dies = self._may_fail and self._world.happens(f"{self.name} dies", self._processes.hardship.p_dies)
        if dies and self._world.chance("helpers").random() < 0.5:
            self._die(b"")
            return
        try:
            self._is_busy = True
            said = self._answer(json.loads(self._questions[0]), lambda word: self._say({"beat": word}))
        except Hangs:
            self._world.note(f"{self.name} hangs")
            self.is_stuck = True
            return
        except OSError:
            self._die(b"")
            return
        finally:
            self._is_busy = False
        self._questions.pop(0)
        line = json.dumps(said).encode() + b"\n"
        if dies:
            self._die(line[: self._world.chance("helpers").randrange(len(line))])
            return
        self.said += b"" if self.is_dead else line
        self.work_soon()

    def _say(self, said: Mapping[str, Any]) -> None:
        if not self.is_dead:
            self.said += json.dumps(said).encode() + b"\n"

    def _die(self, last: bytes) -> None:
        self._world.say(f"{self.name} dies")
        self._processes.respite[self.name] = RESPITE
        self.said += last
        self.is_dead = True


class _In:
    def __init__(self, helper: Helper) -> None:
        self._helper = helper

    def write(self, text: bytes) -> int:
        self._helper.ask(text)
        return len(text)

    def flush(self) -> None:
        if self._helper.is_dead:
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))

    def close(self) -> None:
        """Its end of the pipe is closed with it."""


class _Out:
    def __init__(self, helper: Helper) -> None:
        self._helper = helper

    def fileno(self) -> int:
        return self._helper.number

    def close(self) -> None:
        """Its end of the pipe is closed with it."""

    @property
    def is_ready(self) -> bool:
        return bool(self._helper.said) or self._helper.is_dead
