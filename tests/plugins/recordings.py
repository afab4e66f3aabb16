"""Recordings for the writers' tests: frames and events from seeds, snapshots of a file that is being written."""

from __future__ import annotations

import contextlib
import dataclasses
import resource
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cryoframe import Recording

SUFFIX = {"tiff": ".tif", "mrc": ".mrc", "eer": ".eer"}


def frames(shape: tuple[int, int], dtype: str, n: int = 3, seed: int = 5) -> NDArray[np.generic]:
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return rng.normal(2.0, 1.0, (n, *shape)).astype(dtype)
    return rng.poisson(3.0, (n, *shape)).astype(dtype)


def events(shape: tuple[int, int], n: int = 3, seed: int = 5, filled: float = 0.05) -> list[NDArray[np.int32]]:
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(n):
        pixels = np.flatnonzero(rng.random(shape[0] * shape[1]) < filled)
        rows, columns = np.divmod(pixels, shape[1])
        places = rng.integers(0, 4, (len(pixels), 2))
        found.append((np.stack([4 * rows, 4 * columns], axis=1) + places).astype(np.int32))
    return found


def counts(found: Iterable[NDArray[np.int32]], shape: tuple[int, int], upsampling: int = 1) -> NDArray[np.float32]:
    """Sum of events, `(ny · upsampling, nx · upsampling)`."""
    image = np.zeros((shape[0] * upsampling, shape[1] * upsampling), np.float32)
    for one in found:
        rows, columns = (one * upsampling // 4).T
        np.add.at(image, (rows, columns), 1)
    return image


def recording(kind: str, shape: tuple[int, int] = (24, 20), *, n: int = 3, dtype: str = "uint16") -> Recording:
    plain = Recording(kind, n, shape, dtype, 1.25, 0.8, facts={"camera": "K3", "exposure_s": "2.4"})
    if kind == "eer":
        return dataclasses.replace(plain, dtype="uint8", events=events(shape, n))
    return dataclasses.replace(plain, frames=frames(shape, dtype, n))


def watched(path: Path, items: Iterable[NDArray], into: Path) -> Iterator[NDArray]:
    """Yield `items`; before each, copy what is written so far."""
    for number, item in enumerate(items):
        shutil.copy(path, into / f"{number}{path.suffix}")
        yield item
    shutil.copy(path, into / f"last{path.suffix}")


@contextlib.contextmanager
def disk_of(n_bytes: int) -> Iterator[None]:
    """Let no file of this process grow beyond `n_bytes`: the system's own error, as of a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
