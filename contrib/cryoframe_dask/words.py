"""Word of an attempt that is made elsewhere, in a folder that all machines see: who has it, that he lives, its end.

``claim.json`` is made by the one who may do the attempt, and by nobody after him: a second who is sent with the same
order, because a scheduler believes the first to be lost, finds it and leaves the folder alone. ``beat`` changes as long
as he lives. ``landed.json`` says how it ended; if all who waited for it are dead, somebody can still take it up.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from cryoframe import Job

CLAIM, BEAT, LANDED = "claim.json", "beat", "landed.json"
BEAT_S = 5.0
_CHUNK = 1 << 20


def likeness(job: Job) -> str:
    """Return a key that two orders share if and only if what they order is the same."""
    same = replace(job, folder="", deadline_s=0.0, memory_MB=0.0)
    return hashlib.blake2b(same.to_json().encode("utf-8", "surrogatepass"), digest_size=20).hexdigest()


def claim(place: Path, facts: Mapping[str, Any]) -> bool:
    """Leave the claim; False if there is one already."""
    place.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(place / CLAIM, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:
        return False
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(facts, file)
    return True


def read(path: Path) -> dict[str, Any] | None:
    """Return what was left, or None if it is not there or not whole."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def land(place: Path, answer: Mapping[str, Any]) -> None:
    """Leave word of how it ended."""
    part = place / f"{LANDED}.part"
    with part.open("w", encoding="utf-8") as file:
        json.dump(answer, file)
        file.flush()
        os.fsync(file.fileno())
    part.replace(place / LANDED)


@contextlib.contextmanager
def beating(place: Path) -> Iterator[None]:
    """Give a sign of life while the block lasts."""
    ended = threading.Event()

    def beat() -> None:
        number = 0
        while not ended.wait(BEAT_S if number else 0.0):
            number += 1
            with contextlib.suppress(OSError):  # no sign of life is a sign too
                (place / BEAT).write_text(str(number), encoding="ascii")

    thread = threading.Thread(target=beat, name="beat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def files_of(folder: Path, *, leave_out: str) -> list[Path]:
    """Return the files of an attempt's folder that are part of what it made."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / leave_out)


def digest(path: Path) -> tuple[int, str]:
    """Return size and digest of a file."""
    state, size = hashlib.blake2b(digest_size=20), 0
    with path.open("rb") as file:
        while piece := file.read(_CHUNK):
            state.update(piece)
            size += len(piece)
    return size, state.hexdigest()


def make_durable(path: Path) -> None:
    """See to it that the file server has a file, or a folder's names, and not only this machine."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
