"""Keeps what a program was told and what it wrote, and plays that back where the program is absent: for tests."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from cryoframe.errors import CryoframeError
from cryoframe.external.command import Command
from cryoframe.external.program import Done, never, silent

RECORD, FILES, LOG = "record.json", "files", "log.txt"


def record(command: Command, done: Done, folder: Path, outputs: Iterable[str]) -> None:
    """Write a call and its outputs into a new `folder`, to be replayed by :class:`FakeProgram`.

    Parameters
    ----------
    command, done
        The call and its end.
    folder
        Receives ``record.json``, ``log.txt`` and ``files/``.
    outputs
        Files to keep, by their names below the folder the program worked in.
    """
    folder.mkdir(parents=True)
    facts = {
        "argv": list(command.argv),
        "stdin": command.stdin,
        "status": done.status,
        "version": done.version,
        "seconds": round(done.seconds, 3),
    }
    (folder / RECORD).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    shutil.copyfile(done.log, folder / LOG)
    for name in outputs:
        target = folder / FILES / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(done.path(name), target)


@dataclass(frozen=True)
class FakeProgram:
    """Answers the recorded call with the recorded files, and any other call with an error.

    Parameters
    ----------
    name
        Of the program it stands for.
    folder
        What :func:`record` wrote.
    """

    name: str
    folder: Path

    def at(self, path: str) -> FakeProgram:
        """Return itself, wherever the program is said to be."""
        del path
        return self

    def run(
        self,
        command: Command,
        *,
        workdir: Path,
        timeout_s: float,
        is_cancelled: Callable[[], bool] = never,
        on_log: Callable[[str], None] = silent,
    ) -> Done:
        """Put the recorded files into `workdir`; see :meth:`cryoframe.external.program.Program.run`.

        Raises
        ------
        CryoframeError
            If the command is not the recorded one.
        """
        del timeout_s, is_cancelled
        facts = json.loads((self.folder / RECORD).read_text(encoding="utf-8"))
        for said, recorded in ((list(command.argv), facts["argv"]), (command.stdin, facts["stdin"])):
            if said != recorded:
                raise CryoframeError(
                    f"{self.name} is told {said}", expected=f"{recorded}, as recorded", remedy="Record the call anew."
                )
        if (self.folder / FILES).is_dir():
            shutil.copytree(self.folder / FILES, workdir, dirs_exist_ok=True)
        log = workdir / f"{self.name}.log"
        shutil.copyfile(self.folder / LOG, log)
        on_log(f"{self.name} {facts['version']}, replayed: {command}")
        return Done(facts["status"], log, facts["seconds"], facts["version"], workdir)
