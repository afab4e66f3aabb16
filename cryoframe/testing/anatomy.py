"""Takes products apart: their arrays, tables and fingerprints. Nothing here knows what a part means."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cryoframe.data.tables import ParticleTable, Table


def parts(value: object, place: str = "result") -> Iterator[tuple[str, object]]:
    """Yield every leaf of a product with its place: arrays, tables, numbers, texts, None."""
    if isinstance(value, (tuple, list)):
        for index, item in enumerate(value):
            yield from parts(item, f"{place}[{index}]")
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            if field.metadata.get("stored", True):
                yield from parts(getattr(value, field.name), f"{place}.{field.name}")
    else:
        yield place, value


def arrays(value: object) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    """Yield every array of a product, table columns included."""
    for place, part in parts(value):
        if isinstance(part, np.ndarray):
            yield place, part
        elif isinstance(part, Table):
            for name in part.names:
                yield f"{place} column '{name}'", part.column(name)


def tables(value: object) -> Iterator[tuple[str, Table]]:
    """Yield every table of a product."""
    for place, part in parts(value):
        if isinstance(part, Table):
            yield place, part


def particles_of(value: object) -> ParticleTable | None:
    """Return the product's particle table, or None when it has none."""
    if isinstance(value, ParticleTable):
        return value
    found = getattr(value, "particles", None)
    return found if isinstance(found, ParticleTable) else None


def fingerprint(value: object) -> str:
    """Return a digest of every byte of a product; -0.0 and 0.0 differ, as they do in a file."""
    state = hashlib.blake2b(digest_size=16)
    for place, part in parts(value):
        state.update(place.encode())
        if isinstance(part, np.ndarray):
            state.update(f"{part.dtype}{part.shape}".encode())
            state.update(np.ascontiguousarray(part).tobytes())
        elif isinstance(part, Table):
            for name in part.names:
                column = part.column(name)
                content = "\0".join(map(str, column)).encode() if column.dtype == object else column.tobytes()
                state.update(f"{name}{column.dtype}{len(column)}".encode() + content)
        else:
            state.update(repr(part).encode())
    return state.hexdigest()


def first_difference(a: object, b: object) -> str:
    """Return where two products differ first, in words, or an empty string."""
    theirs = dict(parts(b))
    for place, mine in parts(a):
        if place not in theirs:
            return f"{place} is in one and not in the other"
        if fingerprint(mine) != fingerprint(theirs[place]):
            return f"{place} differs{_by(mine, theirs[place])}"
    return "" if len(dict(parts(a))) == len(theirs) else "they have different parts"


def _by(a: object, b: object) -> str:
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray) and a.shape == b.shape and a.dtype.kind == "f":
        return f" by up to {float(np.nanmax(np.abs(a.astype(np.float64) - b), initial=0.0)):.3g}"
    if isinstance(a, Table) and isinstance(b, Table):
        if len(a) != len(b):
            return f": {len(a)} rows and {len(b)}"
        changed = [n for n in a.names if n in b.names and fingerprint(a.column(n)) != fingerprint(b.column(n))]
        return f" in {', '.join(changed) or 'its columns'}"
    return f": {a!r} and {b!r}" if isinstance(a, (int, float, str)) else ""


def writable(value: Any) -> Any:
    """Return a copy of a product whose arrays own their memory and may be written to."""
    if isinstance(value, np.ndarray):
        return np.array(value)
    if isinstance(value, tuple):
        return tuple(writable(item) for item in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        changes = {
            field.name: writable(getattr(value, field.name))
            for field in dataclasses.fields(value)
            if field.metadata.get("stored", True)
        }
        return dataclasses.replace(value, **changes)
    return value


def file_bytes(path: Path) -> bytes:
    """Return a digest of a file's bytes."""
    return hashlib.blake2b(path.read_bytes(), digest_size=16).digest()
