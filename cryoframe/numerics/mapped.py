"""Arrays mapped from files: what the system holds of them for this process; nothing is read or written here."""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def give_back(source: Array) -> None:
    """Let go of the pages of a mapped file, which count as this process's memory until then."""
    holder: object = source
    while isinstance(holder, np.ndarray):
        holder = holder.base
    if isinstance(holder, mmap.mmap) and hasattr(holder, "madvise"):
        holder.madvise(mmap.MADV_DONTNEED)
