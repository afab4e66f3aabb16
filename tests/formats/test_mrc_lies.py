"""MRC files that lie: cut, grown, absurd headers; always one of the four errors, never a large allocation."""

from __future__ import annotations

import bz2
import gzip
import os
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryoframe.errors import Corrupt, FileError, Incomplete, Refused, Unsupported
from cryoframe.formats import mrc

NX, NY, NZ, MODE, MX, CELL, MAPC, NSYMBT = 0, 4, 8, 12, 28, 40, 64, 92


@pytest.fixture
def good(tmp_path: Path) -> bytearray:
    array = np.random.default_rng(4).normal(size=(6, 10, 12)).astype(np.float32)
    mrc.write(tmp_path / "good.mrc", array, pixel_size_A=1.0, is_stack=True)
    return bytearray((tmp_path / "good.mrc").read_bytes())


def save(folder: Path, raw: bytes) -> Path:
    path = folder / "lie.mrc"
    path.write_bytes(raw)
    return path


READERS: tuple[Callable[[Path], object], ...] = (
    mrc.read_header,
    mrc.read,
    mrc.open_mapped,
    lambda path: list(mrc.read_frames(path)),
)


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress])
def test_cut_at_every_percent__is_incomplete_and_never_accepted(
    tmp_path: Path, good: bytearray, pack: Callable[[bytes], bytes]
) -> None:
    raw = pack(bytes(good))
    for length in {*(len(raw) * percent // 100 for percent in range(100)), len(raw) - 1}:
        path = save(tmp_path, raw[:length])
        for reader in READERS[:2] if pack is not bytes else READERS:
            with pytest.raises((Incomplete, Corrupt)) as caught:
                reader(path)
            assert pack is not bytes or isinstance(caught.value, Incomplete)
            assert str(path) in str(caught.value)


def test_the_missing_section_is_named(tmp_path: Path, good: bytearray) -> None:
    with pytest.raises(Incomplete, match=r"in section 4 of 6.*expected 3904 bytes.*Wait"):
        mrc.read(save(tmp_path, good[: 1024 + 3 * 480 + 5]))


def test_trailing_bytes__are_flagged_or_refused_when_strict(tmp_path: Path, good: bytearray) -> None:
    for extra in (1, 480):
        path = save(tmp_path, good + b"\0" * extra)
        array, header = mrc.read(path)
        assert array.shape == (6, 10, 12)
        assert header.flags == (f"{extra} bytes after the last pixel, ignored",)
        with pytest.raises(Corrupt, match="after the last pixel"):
            mrc.read_header(path, strict=True)


@pytest.mark.parametrize(
    ("offset", "value"),
    [(o, v) for o in (NX, NY, NZ) for v in (0, -1, 2**31 - 1, -(2**31), 50_000)]
    + [(NSYMBT, v) for v in (-1, 1, 2**31 - 1, -(2**31), 50_000)],
)
def test_size_lies__are_refused_before_any_allocation(tmp_path: Path, good: bytearray, offset: int, value: int) -> None:
    struct.pack_into("<i", good, offset, value)
    path = save(tmp_path, good)
    packed = tmp_path / "lie.mrc.gz"
    packed.write_bytes(gzip.compress(bytes(good)))
    tracemalloc.start()
    for reader in READERS[:2]:
        for target in (path, packed):
            with pytest.raises((Corrupt, Incomplete, Refused)) as caught:
                reader(target)
            assert caught.value.expected
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * 2**20


def test_all_sizes_at_once__do_not_overflow(tmp_path: Path, good: bytearray) -> None:
    struct.pack_into("<3i", good, NX, 200_000, 200_000, 50_000_000)
    with pytest.raises(Incomplete):
        mrc.read(save(tmp_path, good))


def test_a_compressed_bomb__is_refused_by_its_claim_and_by_what_comes_out(tmp_path: Path, good: bytearray) -> None:
    struct.pack_into("<3i", good, NX, 10_000, 10_000, 1_000)
    path = tmp_path / "bomb.mrc.bz2"
    path.write_bytes(bz2.compress(bytes(good)))
    with pytest.raises(Refused, match="claims to inflate"):
        mrc.read(path, max_bytes=10**9)
    with pytest.raises(Incomplete):
        mrc.read(path, max_bytes=10**12)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 0.0, -5.0])
def test_unphysical_cells__give_no_pixel_size_never_nan(tmp_path: Path, good: bytearray, value: float) -> None:
    struct.pack_into("<f", good, CELL, value)
    header = mrc.read_header(save(tmp_path, good))
    assert header.pixel_size_A[0] is None
    assert any("no pixel size along x" in flag for flag in header.flags)
    with pytest.raises(Refused):
        header.require_pixel_size_A()


@pytest.mark.parametrize("value", [0, -3])
def test_bad_intervals__give_no_pixel_size(tmp_path: Path, good: bytearray, value: int) -> None:
    struct.pack_into("<i", good, MX, value)
    assert mrc.read_header(save(tmp_path, good)).pixel_size_A[0] is None


def test_unequal_pixel_sizes__are_refused_where_one_is_demanded(tmp_path: Path, good: bytearray) -> None:
    struct.pack_into("<f", good, CELL, 24.0)
    header = mrc.read_header(save(tmp_path, good))
    assert header.pixel_size_A[:2] == (2.0, 1.0)
    with pytest.raises(Refused, match="no single usable pixel size"):
        header.require_pixel_size_A()


def test_modes__known_but_not_read_are_unsupported__others_corrupt(tmp_path: Path, good: bytearray) -> None:
    for mode, kind in ((3, Unsupported), (16, Unsupported), (99, Corrupt), (-1, Corrupt)):
        struct.pack_into("<i", good, MODE, mode)
        with pytest.raises(kind, match=f"mode {mode}"):
            mrc.read(save(tmp_path, good))


def test_axis_orders__that_are_no_permutation_are_corrupt(tmp_path: Path, good: bytearray) -> None:
    struct.pack_into("<3i", good, MAPC, 1, 1, 3)
    with pytest.raises(Corrupt, match="permutation"):
        mrc.read(save(tmp_path, good))
    struct.pack_into("<3i", good, MAPC, 0, 0, 0)
    assert "axis order is not set" in mrc.read_header(save(tmp_path, good)).flags[0]


def test_reserved_space__not_yet_written_is_incomplete(tmp_path: Path) -> None:
    for raw in (b"", b"\0" * 512, b"\0" * 5000):
        with pytest.raises(Incomplete):
            mrc.read_header(save(tmp_path, raw))


def test_an_fei_record_that_lies__is_corrupt(tmp_path: Path, good: bytearray) -> None:
    struct.pack_into("<i", good, NSYMBT, 768)
    good[104:108] = b"FEI1"
    for size, kind in ((-4, Corrupt), (8, Corrupt), (2**31 - 1, Corrupt)):
        block = struct.pack("<ii", size, 0).ljust(768, b"\0")
        with pytest.raises(kind, match="FEI1 record"):
            mrc.read_header(save(tmp_path, good[:1024] + block + good[1024:]))
    header = mrc.read_header(save(tmp_path, good[:1024] + b"\0" * 768 + good[1024:]))
    assert header.fei == ()


def test_pipes_folders_and_missing_files__are_refused_without_blocking(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, kind in (("pipe", Refused), (".", Refused), ("absent.mrc", Incomplete), ("nul\0.mrc", Refused)):
        with pytest.raises(kind):
            mrc.read_header(f"{tmp_path}/{name}")


@given(position=st.integers(0, 1023), value=st.integers(0, 255), more=st.binary(max_size=8))
@settings(max_examples=400, deadline=None)
def test_any_header_byte__may_be_anything(
    tmp_path_factory: pytest.TempPathFactory, position: int, value: int, more: bytes
) -> None:
    folder = tmp_path_factory.getbasetemp()
    path = folder / "fuzz.mrc"
    if not path.exists():
        mrc.write(path, np.arange(720, dtype=np.float32).reshape(6, 10, 12), pixel_size_A=1.0)
    raw = bytearray(path.read_bytes())
    raw[position] = value
    raw[position + 1 : position + 1 + len(more)] = more[: 1023 - position]
    fuzzed = folder / "fuzzed.mrc"
    fuzzed.write_bytes(bytes(raw[: 1024 + 2880]))
    try:
        array, header = mrc.read(fuzzed, dtype=None)
    except FileError:
        return
    assert array.nbytes <= 4 * 2880
    assert all(size is None or (np.isfinite(size) and size > 0) for size in header.pixel_size_A)
