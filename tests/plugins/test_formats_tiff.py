"""TIFF movies: tifffile and RELION as judges, every cut noticed, hostile chains refused."""

from __future__ import annotations

import shutil
import struct
import subprocess
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from cryoframe import FrameSource
from cryoframe.errors import Corrupt, FileError, Incomplete, Refused, Unsupported
from cryoframe_formats.tiff import open_tiff
from cryoframe_formats.tiff_ifd import read_pages
from cryoframe_formats.tiff_movie import open_movie

SHAPE = (5, 24, 20)


def frames(dtype: str) -> np.ndarray:
    rng = np.random.default_rng(7)
    return rng.poisson(3.0, SHAPE).astype(dtype) if dtype != "float32" else rng.normal(size=SHAPE).astype(dtype)


@pytest.mark.parametrize("compression", [None, "lzw", "zlib", "packbits"])
@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "float32"])
@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_frames__equal_tifffiles_turned_over(
    tmp_path: Path, compression: str | None, dtype: str, bigtiff: bool, byteorder: str
) -> None:
    path = tmp_path / "m.tif"
    tifffile.imwrite(
        path, frames(dtype), compression=compression, bigtiff=bigtiff, byteorder=byteorder, rowsperstrip=7,
        photometric="minisblack", metadata=None,
    )  # fmt: skip
    movie = open_tiff(path)
    assert isinstance(movie, FrameSource)
    assert (movie.n_frames, movie.shape_px) == (5, (24, 20))
    judge = tifffile.imread(path)
    for number, frame in enumerate(movie):
        assert frame.dtype == np.float32
        assert np.array_equal(frame, judge[number][::-1].astype(np.float32))
        assert np.array_equal(movie.read_stored(number), judge[number][::-1])


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_predictors__are_undone(tmp_path: Path, dtype: str) -> None:
    path = tmp_path / "m.tif"
    tifffile.imwrite(path, frames(dtype), compression="zlib", predictor=True, photometric="minisblack")
    judge = tifffile.imread(path)
    assert all(np.array_equal(frame, judge[i][::-1]) for i, frame in enumerate(open_tiff(path)))


def test_pixel_size__from_a_resolution_that_fits_a_microscope(tmp_path: Path) -> None:
    path = tmp_path / "m.tif"
    for resolution, unit, expected in (((1e8, 1e8), "CENTIMETER", 1.0), ((72, 72), "INCH", None), ((0, 0), 3, None)):
        tifffile.imwrite(path, frames("uint8"), resolution=resolution, resolutionunit=unit, photometric="minisblack")
        assert open_tiff(path).pixel_size_A == expected


@pytest.mark.parametrize("compression", [None, "lzw"])
def test_cut_at_every_percent__is_incomplete_never_a_shorter_movie(tmp_path: Path, compression: str | None) -> None:
    path, cut = tmp_path / "m.tif", tmp_path / "cut.tif"
    tifffile.imwrite(path, frames("uint8"), compression=compression, rowsperstrip=8, photometric="minisblack")
    raw, whole = path.read_bytes(), list(open_tiff(path))
    unused = 32  # tifffile may end the file with padding that no page refers to
    for length in {*(len(raw) * percent // 100 for percent in range(100)), len(raw) - unused}:
        cut.write_bytes(raw[:length])
        if length <= len(raw) - unused:
            with pytest.raises(Incomplete) as caught:
                open_tiff(cut)
            assert length < 16 or "frame" in str(caught.value)
    cut.write_bytes(raw[:-1])
    try:
        left = list(open_tiff(cut))
    except Incomplete:
        return
    assert all(np.array_equal(a, b) for a, b in zip(left, whole, strict=True))


def test_a_movie_that_grows_frame_by_frame__is_held_by_the_expected_count(tmp_path: Path) -> None:
    path = tmp_path / "m.tif"
    for n in range(1, 4):
        tifffile.imwrite(path, frames("uint8")[0], append=n > 1, photometric="minisblack", metadata=None)
        assert open_tiff(path).n_frames == n
        with pytest.raises(Incomplete, match=rf"frame {n + 1}: {n} frames; expected 5 frames"):
            open_tiff(path, expected_frames=5)


def chain(entries: list[tuple[int, int, int, int]], *, following: int = 0, tail: bytes = b"\0" * 64) -> bytes:
    head = struct.pack("<2sHIH", b"II", 42, 8, len(entries))
    body = b"".join(struct.pack("<HHII", *entry) for entry in sorted(entries))
    return head + body + struct.pack("<I", following) + tail


def page(**changes: int) -> list[tuple[int, int, int, int]]:
    tags = {"width": 256, "length": 257, "bits": 258, "compression": 259, "offset": 273, "rows": 278, "count": 279}
    values = {"width": 4, "length": 4, "bits": 8, "compression": 1, "offset": 98, "rows": 4, "count": 16, **changes}
    return [(tags.get(name, 0) or int(name[1:]), 4, 1, value) for name, value in values.items()]


def test_the_hand_made_page_is_read(tmp_path: Path) -> None:
    (tmp_path / "m.tif").write_bytes(chain(page()))
    assert open_tiff(tmp_path / "m.tif").read_frame(0).sum() == 0


@pytest.mark.parametrize(
    ("raw", "kind", "words"),
    [
        (chain(page(), following=8), Corrupt, "circle"),
        (chain(page(width=0)), Corrupt, "0 × 4"),
        (chain(page(width=2**31 - 1)), Corrupt, "2147483647"),
        (chain(page(length=100_000)), Corrupt, "1 strip offsets"),
        (chain(page(length=100_000, rows=100_000)), Corrupt, "pixels from 16 stored"),
        (chain(page(rows=0)), Corrupt, "0 rows a strip"),
        (chain(page(offset=4)), Corrupt, "overlap"),
        (chain(page(offset=0)), Incomplete, "not written yet"),
        (chain(page(offset=2**32 - 1)), Incomplete, "ends at byte"),
        (chain(page(count=2**32 - 1)), Incomplete, "ends at byte"),
        (chain(page(count=8)), Corrupt, "pixels from 8 stored"),
        (chain(page(compression=7)), Unsupported, "compression 7"),
        (chain(page(bits=12)), Unsupported, "12 bits"),
        (chain(page(_322=16)), Unsupported, "tiles"),
        (chain(page(_277=3)), Unsupported, "samples"),
        (chain(page(_266=2)), Unsupported, "fill order"),
        (chain(page(_317=2, offset=110)), Unsupported, "predictor"),
        (chain(page()[1:]), Corrupt, "no tag 256"),
        (chain([(270, 2, 2**31, 8), *page()]), Incomplete, "tag 270 of frame 1"),
        (struct.pack("<2sHIH", b"II", 42, 8, 65535), Corrupt, "65535 entries"),
        (struct.pack("<2sHI", b"II", 42, 0), Incomplete, "no directory"),
        (struct.pack("<2sHHHQ", b"II", 43, 4, 0, 16), Corrupt, "BigTIFF"),
        (struct.pack("<2sHHHQ", b"II", 43, 8, 0, 2**63), Incomplete, "directory"),
        (b"PK\3\4" + b"\0" * 20, Corrupt, "first bytes"),
    ],
)
def test_hostile_chains__are_refused_without_large_allocations(
    tmp_path: Path, raw: bytes, kind: type[FileError], words: str
) -> None:
    path = tmp_path / "m.tif"
    path.write_bytes(raw)
    tracemalloc.start()
    with pytest.raises(kind, match=words):
        open_tiff(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * 2**20


def test_overlapping_strips_of_two_frames__are_corrupt(tmp_path: Path) -> None:
    second = 8 + 2 + 7 * 12 + 4 + 64
    raw = chain(page(), following=second) + chain(page())[8:]
    (tmp_path / "m.tif").write_bytes(raw)
    with pytest.raises(Corrupt, match="overlap"):
        open_tiff(tmp_path / "m.tif")


def test_too_many_directories__are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "m.tif", frames("uint8"), photometric="minisblack")
    with (tmp_path / "m.tif").open("rb") as stream, pytest.raises(Refused, match="more than 3 frames"):
        read_pages(stream, "m.tif", max_pages=3)


@pytest.mark.parametrize("compression", ["lzw", "zlib"])
def test_damaged_streams__are_corrupt_and_name_the_frame_or_stay_within_the_frame(
    tmp_path: Path, compression: str
) -> None:
    path, bad = tmp_path / "m.tif", tmp_path / "bad.tif"
    tifffile.imwrite(path, frames("uint16"), compression=compression, photometric="minisblack")
    raw = bytearray(path.read_bytes())
    offset, size = open_tiff(path).pages[2].strips[0]
    refused = 0
    for bit in range(0, size * 8, 7):
        flipped = bytearray(raw)
        flipped[offset + bit // 8] ^= 1 << bit % 8
        bad.write_bytes(flipped)
        try:
            assert open_tiff(bad).read_frame(2).shape == (24, 20)
        except Corrupt as error:
            refused += "frame 3" in str(error)
    assert refused > (size * 8 // 7) * (0.95 if compression == "zlib" else 0.0)


@given(position=st.integers(0, 4000), value=st.binary(min_size=1, max_size=6))
@settings(max_examples=300, deadline=None)
def test_any_byte__may_be_anything(tmp_path_factory: pytest.TempPathFactory, position: int, value: bytes) -> None:
    folder = tmp_path_factory.getbasetemp()
    path = folder / "fuzz.tif"
    if not path.exists():
        tifffile.imwrite(path, frames("uint8"), compression="lzw", rowsperstrip=6, photometric="minisblack")
    raw = bytearray(path.read_bytes())
    start = position % len(raw)
    raw[start : start + len(value)] = value
    (folder / "fuzzed.tif").write_bytes(raw)
    try:
        movie = open_tiff(folder / "fuzzed.tif")
        total = sum(frame.nbytes for frame in movie)
    except FileError:
        return
    assert total <= 4 * 4200 * len(raw)


def test_the_hook__tells_by_the_first_bytes_not_by_the_name(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "m.mrc", frames("uint8"), photometric="minisblack")
    source = open_movie(tmp_path / "m.mrc")
    assert source is not None
    assert source.n_frames == 5
    (tmp_path / "text.tif").write_text("no picture")
    assert open_movie(tmp_path / "text.tif") is None


@pytest.mark.relion
@pytest.mark.skipif(shutil.which("relion_image_handler") is None, reason="RELION is not installed")
def test_rows_run_as_relion_reads_them(tmp_path: Path) -> None:
    import mrcfile

    tifffile.imwrite(tmp_path / "m.tif", frames("float32"), photometric="minisblack")
    subprocess.run(
        ["relion_image_handler", "--i", "2@m.tif", "--o", "m.mrc", "--angpix", "1"],
        cwd=tmp_path, capture_output=True, check=True,
    )  # fmt: skip
    assert np.array_equal(mrcfile.read(tmp_path / "m.mrc"), open_tiff(tmp_path / "m.tif").read_frame(1))
