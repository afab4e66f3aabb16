"""Identities and content keys: what makes two things the same thing. blake2b everywhere."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

#: Length of a content key in hexadecimal digits (160 bits).
KEY_DIGITS = 40
_CHUNK = 1 << 20


def digest_bytes(*parts: bytes) -> str:
    """Return the key of byte strings; each part is preceded by its length, so that no two lists collide."""
    state = hashlib.blake2b(digest_size=KEY_DIGITS // 2)
    for part in parts:
        state.update(len(part).to_bytes(8, "little"))
        state.update(part)
    return state.hexdigest()


def digest_file(path: Path) -> str:
    """Return the key of a file's bytes, read once in pieces."""
    state = hashlib.blake2b(digest_size=KEY_DIGITS // 2)
    with path.open("rb") as file:
        while piece := file.read(_CHUNK):
            state.update(piece)
    return state.hexdigest()


def digest_facts(facts: Mapping[str, object]) -> str:
    """Return the key of simple facts (numbers, strings, lists, mappings), whatever their order."""
    text = json.dumps(facts, sort_keys=True, default=str, ensure_ascii=False)
    return digest_bytes(text.encode("utf-8", "surrogatepass"))  # file names need not be UTF-8


def particle_id(micrograph_key: str, x_A: float, y_A: float, picker: str) -> int:
    """Return a particle's 64-bit identity from its micrograph's content, its position to 0.01 Å, and the picker."""
    text = f"{micrograph_key}|{round(x_A * 100)}|{round(y_A * 100)}|{picker}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def half_of(micrograph_key: str, seed: int) -> int:
    """Return the half-set (1 or 2) of every particle of a micrograph.

    By micrograph, so that duplicates of a particle always fall into one half (cisTEM issue 264); by digest, so that
    arrival order, worker count and restarts do not matter.
    """
    return 1 + hashlib.blake2b(f"{micrograph_key}|{seed}".encode(), digest_size=1).digest()[0] % 2
