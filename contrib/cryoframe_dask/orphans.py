"""Attempts that were ordered by a process that has died since: finished ones are taken up, live ones waited for."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryoframe_dask import words


@dataclass
class Orphan:
    """One such attempt: its word, its folder, and what was last seen of its beat, when."""

    place: Path
    scratch: Path
    claim: dict[str, Any]
    beat: str = ""
    seen_s: float = 0.0

    def landed(self) -> dict[str, Any] | None:
        """Return how it ended, if it has."""
        return words.read(self.place / words.LANDED)

    def is_alive(self, lost_s: float) -> bool:
        """Whether somebody may still be at it; judged by our own clock alone."""
        here = self.claim.get("node") == socket.gethostname()
        if here and not Path(f"/proc/{int(self.claim.get('pid', 0))}").exists():
            return False
        beat, now_s = "", time.monotonic()
        with contextlib.suppress(OSError):
            os.listdir(self.place)  # noqa: PTH208  makes a network file system ask its server
            beat = (self.place / words.BEAT).read_text(encoding="ascii")
        if beat != self.beat or not self.seen_s:
            self.beat, self.seen_s = beat, now_s
        return now_s - self.seen_s < lost_s

    def forget(self) -> None:
        """Remove all that is left of it."""
        shutil.rmtree(self.scratch, ignore_errors=True)
        shutil.rmtree(self.place, ignore_errors=True)


def find(elsewhere: Path, scratch: Path) -> dict[str, Orphan]:
    """Return the orphans by likeness, and remove the word of those whose folder is gone; the finished ones go first."""
    found: dict[str, Orphan] = {}
    for place in sorted(elsewhere.iterdir()) if elsewhere.is_dir() else ():
        claim = words.read(place / words.CLAIM)
        orphan = Orphan(place, scratch / place.name, claim or {})
        if claim is None or not orphan.scratch.is_dir():
            orphan.forget()
            continue
        known = found.get(str(claim["likeness"]))
        if known is None or (known.landed() is None and orphan.landed() is not None):
            found[str(claim["likeness"])] = orphan
    return found
