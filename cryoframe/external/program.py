"""Finds a program on this machine and runs it under supervision; what it is told is in ``command``, no product here."""

from __future__ import annotations

import errno
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from cryoframe.errors import Cancelled, CryoframeError, EnvironmentFault, PluginError
from cryoframe.external import guard
from cryoframe.external.command import Command

N_LAST_LINES = 15
UNKNOWN = "unknown"
_POLL_S = 0.05
_VERSION_TIMEOUT_S = 30.0
_TAIL_BYTES = 1 << 16
_FULL = re.compile(r"no space left on device|disk quota exceeded", re.IGNORECASE)
_OUT_OF = frozenset((errno.ENOSPC, errno.EDQUOT, errno.ENOMEM, errno.EAGAIN, errno.EMFILE, errno.ENFILE))


def never() -> bool:
    """Stand for a question whose answer is always no."""
    return False


def silent(*_: object) -> None:
    """Drop what is said."""


@dataclass(frozen=True)
class Done:
    """A program that came to a good end."""

    status: int
    log: Path
    """Everything it printed."""
    seconds: float
    version: str
    workdir: Path

    def path(self, name: str) -> Path:
        """Return a file the program wrote, by its name below the folder it worked in.

        Raises
        ------
        CryoframeError
            If it wrote none, or the name leads out of the folder.
        """
        found = self.workdir / name
        if not found.resolve().is_relative_to(self.workdir.resolve()):
            raise CryoframeError(f"'{name}' leads out of {self.workdir}", expected="a file the program wrote there")
        if not found.is_file():
            raise CryoframeError(
                f"the program ended well and wrote no '{name}'",
                expected=f"a file in {self.workdir}",
                remedy=f"Its last lines:\n{last_lines(self.log)}",
            )
        return found

    def text(self, name: str) -> str:
        """Return the content of a file the program wrote; see :meth:`path`."""
        return self.path(name).read_text(encoding="utf-8", errors="replace")


@dataclass(frozen=True)
class Program:
    """A program that somebody else installs; what is known of it before it is looked for.

    Parameters
    ----------
    name
        What people call it; names the log.
    find
        Names to look for on the PATH, or absolute paths; the first one there is taken.
    version
        Argument that makes it say its version (empty: none), and a pattern whose first group is the version.
    citation
        What to cite when it was used.
    tested
        Versions its wrapper was tested with.
    install
        What to do where it is absent.
    """

    name: str
    find: tuple[str, ...]
    version: tuple[str, str]
    citation: str
    tested: tuple[str, ...] = ()
    install: str = ""

    def at(self, path: str) -> Program:
        """Return the program as found at `path` only; the same one for an empty text."""
        return replace(self, find=(path,)) if path else self

    def located(self) -> str | None:
        """Return where it is, or None."""
        return next((found for found in map(shutil.which, self.find) if found), None)

    def executable(self) -> str:
        """Return where it is.

        Raises
        ------
        PluginError
            If it is nowhere, with what to install.
        """
        found = self.located()
        if found is None:
            raise PluginError(
                f"the program {self.name} is not on this machine",
                expected=f"{' or '.join(self.find)} on the PATH",
                remedy=self.install or f"Install {self.name} ({self.citation}) and put it on the PATH.",
            )
        return found

    def installed_version(self, executable: str | None = None) -> str:
        """Ask it for its version; ``unknown`` where the answer holds none."""
        argument, pattern = self.version
        argv = [executable or self.executable(), *([argument] if argument else [])]
        try:
            answer = subprocess.run(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=_VERSION_TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return UNKNOWN
        found = re.search(pattern, answer.stdout.decode("utf-8", "replace"))
        return found.group(1) if found else UNKNOWN

    def run(
        self,
        command: Command,
        *,
        workdir: Path,
        timeout_s: float,
        is_cancelled: Callable[[], bool] = never,
        on_log: Callable[[str], None] = silent,
    ) -> Done:
        """Run it to its end, in a process group of its own that never outlives this call or this process.

        Parameters
        ----------
        command
            What it is told.
        workdir
            Its current folder; its whole output goes to ``<name>.log`` there.
        timeout_s
            It is killed after this.
        is_cancelled
            Asked twenty times a second; the program is killed when the answer is yes, or an exception.
        on_log
            Told what is run, which version, and how it ended.

        Raises
        ------
        PluginError
            If it is not on this machine.
        Cancelled
            If `is_cancelled` said so.
        EnvironmentFault
            If the disk is full or the machine cannot start another process.
        CryoframeError
            If it ran out of time or its exit status was not 0, with its last lines.
        """
        executable = self.executable()
        version = self.installed_version(executable)
        on_log(f"{self.name} {version} at {executable}: {command}")
        if version not in self.tested:
            on_log(f"warning: {self.name} {version} is not among the tested versions ({', '.join(self.tested)})")
        log = workdir / f"{self.name}.log"
        begun_s = time.monotonic()
        try:
            status = _supervised([executable, *command.argv], command, log, begun_s + timeout_s, is_cancelled)
        except OSError as error:
            if error.errno not in _OUT_OF:
                raise
            raise EnvironmentFault(f"{self.name} cannot be run: {error.strerror}") from error
        seconds = time.monotonic() - begun_s
        if status is None:
            raise _failure(f"{self.name} was killed after {seconds:.0f} s", log, f"an end within {timeout_s:g} s")
        if status:
            raise _failure(f"{self.name} ended with {_spelt(status)}", log, "exit status 0")
        on_log(f"{self.name} ended well after {seconds:.1f} s")
        return Done(status, log, seconds, version, workdir)


def last_lines(log: Path, n_lines: int = N_LAST_LINES) -> str:
    """Return the end of a log; of progress bars drawn over each other, the last one."""
    with log.open("rb") as stream:
        stream.seek(max(0, stream.seek(0, os.SEEK_END) - _TAIL_BYTES))
        text = stream.read().decode("utf-8", "replace")
    lines = [line.rstrip("\r").rpartition("\r")[2].rstrip() for line in text.split("\n")]
    return "\n".join([line for line in lines if line][-n_lines:])


def _supervised(
    argv: list[str], command: Command, log: Path, until_s: float, is_cancelled: Callable[[], bool]
) -> int | None:
    """Return the exit status, or None when time ran out."""
    reading, writing = os.pipe()
    try:
        process = _started(argv, command, log, reading)
    except BaseException:
        os.close(writing)
        raise
    finally:
        os.close(reading)
    try:
        while (status := _status(process)) is None:
            if is_cancelled():
                raise Cancelled(f"{Path(argv[0]).name} was told to stop")
            if time.monotonic() > until_s:
                break
        return status
    finally:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        os.close(writing)


def _started(argv: list[str], command: Command, log: Path, lifeline: int) -> subprocess.Popen[bytes]:
    """Start the guard, which starts the program; what it reads is a file, so that nobody has to feed it."""
    said = log.with_suffix(".stdin")
    if command.stdin is not None:
        said.write_text(command.stdin, encoding="utf-8")
    with log.open("wb") as output, (said if command.stdin is not None else Path(os.devnull)).open("rb") as source:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", str(guard.__file__), str(lifeline), *argv],
            cwd=log.parent,
            env={**os.environ, **dict(command.environment)},
            stdin=source,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=(lifeline,),
            start_new_session=True,
        )


def _status(process: subprocess.Popen[bytes]) -> int | None:
    try:
        return process.wait(_POLL_S)
    except subprocess.TimeoutExpired:
        return None


def _failure(what: str, log: Path, expected: str) -> CryoframeError:
    """Blame the disk where it is full, else the program."""
    lines = last_lines(log)
    if _FULL.search(lines) or shutil.disk_usage(log.parent).free == 0:
        return EnvironmentFault(
            f"{what}: no space left for {log.parent}", remedy=f"Free some. Its last lines:\n{lines}"
        )
    return CryoframeError(what, expected=expected, remedy=f"Its last lines, all of them in {log.name}:\n{lines}")


def _spelt(status: int) -> str:
    number = status - guard.SIGNALLED if status > guard.SIGNALLED else -status
    try:
        return f"exit status {status} ({signal.Signals(number).name})"
    except ValueError:
        return f"exit status {status}"
