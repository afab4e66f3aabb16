"""One thread for matrix products, so that they give the same bits wherever they run; no product is computed here.

A threaded BLAS cuts a product into blocks by the number of its threads, and sums of other blocks round otherwise.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

_MAPS = Path("/proc/self/maps")
# Names of OpenBLAS's functions: as it is built alone, with 64-bit integers, and within numpy's and scipy's wheels.
_NAMES = tuple(
    (f"{prefix}openblas_get_num_threads{suffix}", f"{prefix}openblas_set_num_threads{suffix}")
    for prefix in ("scipy_", "")
    for suffix in ("64_", "")
)


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Keep OpenBLAS to one thread; nothing happens where another BLAS is in use, or none can be found.

    Notes
    -----
    Workers run with one thread from their start; this is for calls in a person's own process.
    """
    with ExitStack() as stack:
        for get, put in _controls():
            stack.callback(put, int(get()))
            put(1)
        yield


def _controls() -> list[tuple[Callable[[], int], Callable[[int], None]]]:
    """Functions that get and set the threads of each OpenBLAS that this process has loaded."""
    found = []
    for path in _loaded():
        try:
            library = ctypes.CDLL(path)
        except OSError:
            continue
        for get, put in _NAMES:
            if hasattr(library, get) and hasattr(library, put):
                found.append((getattr(library, get), getattr(library, put)))
                break
    return found


def _loaded() -> list[str]:
    try:
        lines = _MAPS.read_text().splitlines()
    except OSError:
        return []
    return sorted({line.split()[-1] for line in lines if "openblas" in line.rpartition("/")[2]})
