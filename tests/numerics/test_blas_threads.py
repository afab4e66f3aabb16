"""Matrix products are computed by one thread within `one_blas_thread`, and by as many as before afterwards."""

from __future__ import annotations

import numpy as np

from cryoframe.numerics import blas_threads


def test_threads__are_one_within_and_as_before_afterwards():
    before = [get() for get, _ in blas_threads._controls()]
    with blas_threads.one_blas_thread():
        assert [get() for get, _ in blas_threads._controls()] == [1] * len(before)
        np.matmul(np.ones((300, 300)), np.ones((300, 300)))
    assert [get() for get, _ in blas_threads._controls()] == before


def test_process_without_such_a_library__goes_on(monkeypatch, tmp_path):
    monkeypatch.setattr(blas_threads, "_MAPS", tmp_path / "none")
    with blas_threads.one_blas_thread():
        assert blas_threads._controls() == []
    (tmp_path / "maps").write_text(f"0-1 r-xp 0 0 0 {tmp_path}/libopenblas.so\n")
    monkeypatch.setattr(blas_threads, "_MAPS", tmp_path / "maps")
    assert blas_threads._controls() == []
