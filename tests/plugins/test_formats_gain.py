"""Gain references and DM files: the real headers, three kinds of file, everything that would spoil a movie refused."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from cryoframe.errors import FileError, Incomplete, Refused, Unsupported
from cryoframe.formats import mrc
from cryoframe_formats.dm import is_dm, read_dm
from cryoframe_formats.gain import open_gain, read_gain

REAL = {
    "EELS_SI.dm4": (4, (2048, 2, 2), "float32", 19.920736085623503),
    "multi_signal.dm3": (3, (512, 512), "uint16", 0.17751578241586685),
    "test-1.dm4": (4, (2, 2, 2), "int16", None),
    "test-2.dm3": (3, (2, 2), "float32", None),
    "test-2.dm4": (4, (2, 2), "float32", None),
    "test_STEM_image.dm3": (3, (68, 68), "uint32", 2.485380172729492),
    "test_diffraction_pattern.dm3": (3, (87, 87), "int32", None),
}


def test_every_real_dm_file_is_read(shared_data: Path) -> None:
    assert {path.name for path in (shared_data / "headers").iterdir()} == set(REAL)
    for name, (version, shape, dtype, pixel) in REAL.items():
        file = read_dm(shared_data / "headers" / name)
        pixels = file.image.read()
        assert (file.version, file.image.shape, pixels.dtype) == (version, shape, np.dtype(dtype))
        assert file.image.pixel_size_A == (None if pixel is None else pytest.approx(pixel))
        assert is_dm((shared_data / "headers" / name).read_bytes()[:16])
    for name in ("test-2.dm3", "test-2.dm4"):
        assert read_dm(shared_data / "headers" / name).image.read().tolist() == [[1.0, 2.0], [3.0, 4.0]]
    cube = read_dm(shared_data / "headers/test-1.dm4").image.read()
    assert sorted(cube.ravel().tolist()) == list(range(1, 9))


def test_dm_files_cut_at_every_percent__are_incomplete(shared_data: Path, tmp_path: Path) -> None:
    for name in ("test-2.dm3", "test-2.dm4", "test_STEM_image.dm3"):
        raw = (shared_data / "headers" / name).read_bytes()
        for percent in range(100):
            (tmp_path / name).write_bytes(raw[: len(raw) * percent // 100])
            with pytest.raises(Incomplete):
                read_dm(tmp_path / name)


@given(position=st.integers(0, 26_000), value=st.binary(min_size=1, max_size=6))
@settings(max_examples=200, deadline=None)
def test_any_byte_of_a_dm_file__may_be_anything(
    tmp_path_factory: pytest.TempPathFactory, shared_data: Path, position: int, value: bytes
) -> None:
    raw = bytearray((shared_data / "headers/test-2.dm4").read_bytes())
    raw[position : position + len(value)] = value
    path = tmp_path_factory.getbasetemp() / "fuzz.dm4"
    path.write_bytes(raw)
    try:
        size = read_dm(path).image.read().nbytes
    except FileError:
        return
    assert size <= len(raw)


def good(shape: tuple[int, int] = (6, 8)) -> np.ndarray:
    return np.random.default_rng(11).normal(1.0, 0.05, shape).astype(np.float32)


def test_mrc_and_tiff_references__lie_in_the_order_of_their_movies(tmp_path: Path) -> None:
    gain = good()
    mrc.write(tmp_path / "g.mrc", gain, pixel_size_A=1.0)
    tifffile.imwrite(tmp_path / "g.tif", gain, photometric="minisblack")
    tifffile.imwrite(tmp_path / "g.gain", gain, photometric="minisblack", compression="lzw")
    assert np.array_equal(read_gain(tmp_path / "g.mrc", shape_px=(6, 8)), gain)
    assert np.array_equal(read_gain(tmp_path / "g.tif"), gain[::-1])
    assert np.array_equal(read_gain(tmp_path / "g.gain", for_eer=True), gain)
    product = open_gain(tmp_path / "g.mrc")
    assert product is not None
    assert np.array_equal(product.data, gain)
    (tmp_path / "text").write_text("no gain")
    assert open_gain(tmp_path / "text") is None
    with pytest.raises(Unsupported):
        read_gain(tmp_path / "text")


def test_a_dm_reference__is_read_and_turned_over(shared_data: Path) -> None:
    assert read_gain(shared_data / "headers/test-2.dm4").tolist() == [[3.0, 4.0], [1.0, 2.0]]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda g: np.zeros_like(g), "all pixels are zero"),
        (lambda g: np.where(g == g[0, 0], np.nan, g), "1 pixels are not finite"),
        (lambda g: np.where(g == g[0, 0], np.inf, g), "not finite"),
        (lambda g: np.where(g == g[0, 0], -1.0, g), "negative"),
        (lambda g: g * (np.arange(8) > 1), "25.0% of pixels are zero"),
        (lambda g: g.T.copy(), "It is transposed"),
        (lambda g: g[:-1], "reference of this camera mode"),
    ],
)
def test_references_that_would_spoil_movies__are_refused(tmp_path: Path, change: object, words: str) -> None:
    assert callable(change)
    mrc.write(tmp_path / "g.mrc", change(good()), pixel_size_A=1.0)
    with pytest.raises(Refused, match=words):
        read_gain(tmp_path / "g.mrc", shape_px=(6, 8))


def test_several_images__are_no_reference(tmp_path: Path) -> None:
    mrc.write(tmp_path / "g.mrcs", np.ones((2, 6, 8), np.float32), pixel_size_A=1.0, is_stack=True)
    tifffile.imwrite(tmp_path / "g.tif", np.ones((2, 6, 8), np.float32), photometric="minisblack")
    for name in ("g.mrcs", "g.tif"):
        with pytest.raises(Refused, match="2 images"):
            read_gain(tmp_path / name)


def test_a_dm_tree_that_nests_forever__is_refused(tmp_path: Path) -> None:
    group = struct.pack(">BBI", 1, 0, 1) + struct.pack(">BH", 20, 0)
    raw = struct.pack(">III", 3, 0, 1) + group * 100
    raw = raw[:4] + struct.pack(">I", len(raw) - 16) + raw[8:]
    (tmp_path / "d.dm3").write_bytes(raw)
    with pytest.raises(Refused, match="nested"):
        read_dm(tmp_path / "d.dm3")
