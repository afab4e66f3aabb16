"""The one place that names numba's options; no kernel lives here.

``cache=True`` keeps machine code in ``NUMBA_CACHE_DIR``, or in the user's cache folder where that is not set, so that
installed packages are never written to. ``nogil=True`` lets threads run kernels side by side. ``fastmath`` is off:
a kernel that turns it on cites its measurement.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar, overload

import numba

_P = ParamSpec("_P")
_R = TypeVar("_R")


def cache_folder() -> Path:
    """Return the folder compiled kernels are kept in: ``NUMBA_CACHE_DIR``, else ``<user cache>/cryoframe/numba``."""
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cryoframe" / "numba"


def _compile(func: Callable[_P, _R], *, parallel: bool, fastmath: bool) -> Callable[_P, _R]:
    # Numba reads the folder when the dispatcher is made; it is set for that moment only, so that other packages
    # which use numba in this process keep their own.
    settings = vars(numba.config)
    before = settings["CACHE_DIR"]
    settings["CACHE_DIR"] = str(cache_folder())
    try:
        compiled: Callable[_P, _R] = numba.njit(cache=True, nogil=True, parallel=parallel, fastmath=fastmath)(func)
    finally:
        settings["CACHE_DIR"] = before
    return compiled


@overload
def jit(func: Callable[_P, _R], *, parallel: bool = ..., fastmath: bool = ...) -> Callable[_P, _R]: ...
@overload
def jit(
    func: None = ..., *, parallel: bool = ..., fastmath: bool = ...
) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]: ...
def jit(
    func: Callable[_P, _R] | None = None, *, parallel: bool = False, fastmath: bool = False
) -> Callable[_P, _R] | Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Compile `func` on its first call and keep the machine code between runs.

    Parameters
    ----------
    func
        A function of arrays and numbers; also usable as ``@jit(parallel=True)``.
    parallel
        Let ``numba.prange`` use numba's threads.
    fastmath
        Allow the compiler to re-associate floating point operations.
    """
    if func is not None:
        return _compile(func, parallel=parallel, fastmath=fastmath)

    def decorate(inner: Callable[_P, _R]) -> Callable[_P, _R]:
        return _compile(inner, parallel=parallel, fastmath=fastmath)

    return decorate
