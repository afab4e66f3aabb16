"""The one compiler decorator: same results, machine code kept where it belongs, no mark left on numba."""

from __future__ import annotations

from pathlib import Path

import numba
import numpy as np

from cryoframe.numerics._numba import jit as room


def _total(values):
    total = 0.0
    for value in values:
        total += value
    return total


def test_jit__bare_and_with_options__equal_python(monkeypatch, tmp_path):
    monkeypatch.setattr(room, "cache_folder", lambda: tmp_path)
    values = np.arange(10.0)
    before = numba.config.CACHE_DIR
    for compiled in (room.jit(_total), room.jit(parallel=False)(_total)):
        assert compiled(values) == compiled.py_func(values) == 45.0
        assert compiled.targetoptions["nogil"] is True
        assert not compiled.targetoptions.get("fastmath")
    assert numba.config.CACHE_DIR is before
    assert list(tmp_path.rglob("*.nbi"))


def test_cache_folder__the_users_own__unless_told(monkeypatch, tmp_path):
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert room.cache_folder() == tmp_path / "cryoframe" / "numba"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert room.cache_folder() == Path.home() / ".cache" / "cryoframe" / "numba"
    monkeypatch.setenv("NUMBA_CACHE_DIR", "/somewhere")
    assert room.cache_folder() == Path("/somewhere")
