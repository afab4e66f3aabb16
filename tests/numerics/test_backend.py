"""Which array module is chosen, and that cupy is not touched unasked."""

from __future__ import annotations

import subprocess
import sys
import types

import numpy as np
import pytest

from cryoframe.errors import InvalidInput
from cryoframe.numerics import backend


class _Pretender:
    """Looks like a CuPy array to anyone who asks for its type only."""

    def get(self):
        return np.array([1.0, 2.0])


_Pretender.__module__ = "cupy._core.core"
_Pretender.__qualname__ = "ndarray"


@pytest.fixture
def cupy_stand_in(monkeypatch):
    module = types.ModuleType("cupy")
    module.asarray = lambda array: _Pretender()
    freed: list[str] = []
    pool = types.SimpleNamespace(free_all_blocks=lambda: freed.append("freed"))
    module.get_default_memory_pool = lambda: pool
    module.get_default_pinned_memory_pool = lambda: pool
    module.freed = freed
    monkeypatch.setitem(sys.modules, "cupy", module)
    return module


def test_namespace__numpy_for_arrays_numbers_and_nothing():
    assert backend.namespace(np.zeros(2), 3.0, None, [1, 2]) is np
    assert backend.namespace() is np


def test_namespace__follows_the_device_array(cupy_stand_in):
    assert backend.namespace(_Pretender(), 1.0) is cupy_stand_in


def test_namespace__mixed_arrays__names_both_types():
    with pytest.raises(InvalidInput, match=r"numpy\.ndarray and cupy\._core\.core\.ndarray"):
        backend.namespace(np.zeros(2), _Pretender())


def test_to_host__leaves_numpy_alone_and_fetches_the_rest():
    array = np.zeros(3)
    assert backend.to_host(array) is array
    np.testing.assert_array_equal(backend.to_host(_Pretender()), [1.0, 2.0])


def test_to_device__goes_where_told(cupy_stand_in):
    array = np.zeros(3)
    assert backend.to_device(array, np) is array
    assert isinstance(backend.to_device(array, cupy_stand_in), _Pretender)


def test_free_memory__empties_both_pools_of_a_device_only(cupy_stand_in):
    backend.free_memory(np)
    assert cupy_stand_in.freed == []
    backend.free_memory(cupy_stand_in)
    assert cupy_stand_in.freed == ["freed", "freed"]


def test_native__finds_the_compiled_room_or_none():
    module = backend.native(np, "ctf")
    assert module is not None
    assert module.__name__ == "cryoframe.numerics._numba.ctf"
    assert backend.native(np, "no_such_room") is None
    assert backend.native(types.ModuleType("another"), "ctf") is None


def test_importing_every_public_room__imports_neither_numba_nor_cupy():
    rooms = (
        "aberrations backend ctf filters fourier fsc grids masks noise optimise radial rotations statistics symmetry"
        " windows"
    )
    code = (
        "import importlib, sys\n"
        f"for room in {rooms.split()!r}: importlib.import_module('cryoframe.numerics.' + room)\n"
        "assert not {'numba', 'cupy', 'pyarrow'} & set(sys.modules), sorted(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
