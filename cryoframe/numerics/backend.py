"""Which array library an array belongs to: numpy or cupy, and moving between them; no mathematics lives here.

One rule: the array decides. There is no global setting and no third backend. CuPy is imported only after somebody
handed in a CuPy array or named the cupy namespace, so a machine without a GPU never touches it.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType
from typing import TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from cryoframe.errors import InvalidInput

Floats: TypeAlias = npt.NDArray[np.floating]
Complexes: TypeAlias = npt.NDArray[np.complexfloating]
Reals: TypeAlias = npt.NDArray[np.float64]
F32: TypeAlias = npt.NDArray[np.float32]
C64: TypeAlias = npt.NDArray[np.complex64]
Ints: TypeAlias = npt.NDArray[np.integer]
Bools: TypeAlias = npt.NDArray[np.bool_]

_Scalar = TypeVar("_Scalar", bound=np.generic)


def _is_cupy(array: object) -> bool:
    return type(array).__module__.partition(".")[0] == "cupy"


def _type_name(array: object) -> str:
    return f"{type(array).__module__}.{type(array).__qualname__}"


def namespace(*arrays: object) -> ModuleType:
    """Return the array module all `arrays` belong to.

    Parameters
    ----------
    arrays
        numpy or cupy arrays; Python numbers, sequences of numbers and `None` follow the others.

    Returns
    -------
    The module ``numpy`` or ``cupy``; ``numpy`` where nothing decides.

    Raises
    ------
    InvalidInput
        Where numpy and cupy arrays are mixed; both types are named.
    """
    on_device = [array for array in arrays if _is_cupy(array)]
    if not on_device:
        return np
    on_host = [array for array in arrays if isinstance(array, np.ndarray)]
    if on_host:
        raise InvalidInput(
            f"arrays of two kinds were mixed: {_type_name(on_host[0])} and {_type_name(on_device[0])}",
            expected="all arrays on the host or all on the device",
            remedy="Move them with to_device(a, xp) or to_host(a) first.",
        )
    return importlib.import_module("cupy")


def to_host(array: npt.NDArray[_Scalar]) -> npt.NDArray[_Scalar]:
    """Return `array` as a numpy array; a numpy array comes back as it is, without a copy."""
    if _is_cupy(array):
        host: npt.NDArray[_Scalar] = array.get()  # type: ignore[attr-defined]  # a cupy.ndarray
        return host
    return np.asarray(array)


def to_device(array: npt.NDArray[_Scalar], xp: ModuleType) -> npt.NDArray[_Scalar]:
    """Return `array` as an array of `xp`; no copy where it is one already."""
    if xp is np:
        return to_host(array)
    moved: npt.NDArray[_Scalar] = xp.asarray(array)
    return moved


def free_memory(xp: ModuleType) -> None:
    """Give cached blocks of `xp` back to the device; nothing to do for numpy."""
    if xp is not np:
        xp.get_default_memory_pool().free_all_blocks()
        xp.get_default_pinned_memory_pool().free_all_blocks()


def native(xp: ModuleType, name: str) -> ModuleType | None:
    """Return the fast module of the same `name` for `xp`, imported now, or None where there is none.

    Parameters
    ----------
    xp
        Module returned by :func:`namespace`.
    name
        Name of the public module: ``"ctf"`` gives ``numerics._numba.ctf`` or ``numerics._cupy.ctf``.
    """
    room = {"numpy": "_numba", "cupy": "_cupy"}.get(xp.__name__)
    if room is None:
        return None
    full_name = f"cryoframe.numerics.{room}.{name}"
    if full_name in sys.modules:
        return sys.modules[full_name]
    if importlib.util.find_spec(full_name) is None:
        return None
    return importlib.import_module(full_name)
