"""Randomness by name: every draw of an exposure has a stream of its own, so order and workers do not matter."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Streams:
    """Generators keyed by a seed and the name of what is drawn for.

    Parameters
    ----------
    seed
        Of the session.
    item
        Exposure or camera.
    """

    seed: int
    item: str

    def __call__(self, *name: str | int) -> np.random.Generator:
        """Return the generator (Philox) of a name, at its beginning each time."""
        text = "|".join(["twin", str(self.seed), self.item, *map(str, name)])
        key = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "little")
        return np.random.Generator(np.random.Philox(key=key))
