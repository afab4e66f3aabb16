"""What has landed, in a file of lines outside the watched folder, so that a stopped landing can go on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cryoframe.errors import ConfigError, EnvironmentFault


class LandingJournal:
    """Lines of JSON: first what is landed, then each step that was done and whatever else is to be remembered.

    Parameters
    ----------
    path
        The file; made if it is not there.
    fingerprint
        What the landing is; a journal of another one is refused.

    Raises
    ------
    ConfigError
        The journal belongs to another landing, or is no journal.
    EnvironmentFault
        It cannot be read or written.
    """

    def __init__(self, path: Path, fingerprint: str) -> None:
        self.path = path
        #: Keys of steps that were done.
        self.done: set[str] = set()
        #: When the last of them was due.
        self.time_s = 0.0
        #: Everything else, in order.
        self.notes: list[dict[str, Any]] = []
        try:
            whole = self._read(fingerprint)
            self._stream = path.open("r+b" if whole else "w+b", buffering=0)
            self._stream.truncate(whole)
            self._stream.seek(whole)
        except OSError as error:
            raise EnvironmentFault(f"journal {path} cannot be opened ({error.strerror})") from error
        if not whole:
            self._say({"landing": fingerprint})

    def did(self, key: str, time_s: float) -> None:
        """Remember a step."""
        self._say({"step": key, "time_s": round(max(time_s, 0.0), 3)})
        self.done.add(key)

    def note(self, facts: Mapping[str, Any]) -> None:
        """Remember anything else."""
        self._say(facts)
        self.notes.append(dict(facts))

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read(self, fingerprint: str) -> int:
        """Take in what is there and return how many bytes of it are whole lines."""
        raw = self.path.read_bytes() if self.path.exists() else b""
        whole = raw.rfind(b"\n") + 1
        lines = list(self._lines(raw[:whole]))
        if lines and lines[0].get("landing") != fingerprint:
            raise ConfigError(
                f"journal {self.path} belongs to another landing",
                remedy="Land into a new folder with a journal of its own, or start this session as it was started.",
            )
        for line in lines[1:]:
            if "step" in line:
                self.done.add(str(line["step"]))
                self.time_s = max(self.time_s, float(line["time_s"]))
            else:
                self.notes.append(line)
        return whole if lines else 0

    def _lines(self, raw: bytes) -> Iterator[dict[str, Any]]:
        for number, line in enumerate(raw.splitlines(), 1):
            try:
                facts = json.loads(line)
            except ValueError as error:
                raise ConfigError(f"{self.path}, line {number}: no journal of a landing") from error
            if not isinstance(facts, dict):
                raise ConfigError(f"{self.path}, line {number}: no journal of a landing")
            yield facts

    def _say(self, facts: Mapping[str, Any]) -> None:
        line = json.dumps(facts).encode() + b"\n"
        try:
            n_written = self._stream.write(line)
        except OSError as error:
            raise self._full(error.strerror or "unknown") from error
        if n_written != len(line):
            raise self._full("no space left")

    def _full(self, why: str) -> EnvironmentFault:
        return EnvironmentFault(
            f"journal {self.path} cannot be written ({why})",
            remedy="Free some; the same command with --resume goes on.",
        )
