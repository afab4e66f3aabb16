"""EER movies from an independent encoder: exact counts at every up-sampling, every cut and wrong end noticed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import tifffile
from eer_encoder import counts, encode, random_events, write_eer
from hypothesis import given, settings
from hypothesis import strategies as st

from cryoframe import FrameSource
from cryoframe.errors import Corrupt, FileError, Incomplete, InvalidInput, Unsupported
from cryoframe_formats import eer_movie, tiff_movie
from cryoframe_formats.eer import open_eer
from cryoframe_formats.tiff import open_tiff

SHAPE = (40, 64)
N = SHAPE[0] * SHAPE[1]


def events(n_frames: int, seed: int = 8) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [random_events(rng, SHAPE, int(rng.integers(0, 200))) for _ in range(n_frames)]


KINDS = pytest.mark.parametrize(
    ("compression", "run_bits", "place"), [(65000, 8, False), (65000, 8, True), (65001, 7, False), (65002, 7, False)]
)


@KINDS
@pytest.mark.parametrize("upsampling", [1, 2, 4])
@pytest.mark.parametrize("padding", [0, 1, 7])
def test_fractions__count_each_electron_once_in_its_place(
    tmp_path: Path, compression: int, run_bits: int, place: bool, upsampling: int, padding: int
) -> None:
    frames = events(13)
    streams = [encode(e, N, run_bits, long_runs_have_place=place, padding=padding) for e in frames]
    write_eer(tmp_path / "m.eer", streams, SHAPE, compression=compression)
    movie = open_eer(tmp_path / "m.eer", n_fractions=4, upsampling=upsampling)
    assert isinstance(movie, FrameSource)
    assert (movie.n_internal_frames, movie.n_frames, movie.frames_per_fraction, movie.n_left_over) == (13, 4, 3, 1)
    assert movie.flags == ("1 of 13 internal frames fill no fraction and are not used",)
    assert movie.shape_px == (SHAPE[0] * upsampling, SHAPE[1] * upsampling)
    for number, fraction in enumerate(movie):
        assert np.array_equal(fraction, counts(frames[3 * number : 3 * number + 3], SHAPE, upsampling))
    every = sum(float(movie.read_internal(i).sum()) for i in range(13))
    assert every == sum(len(e) for e in frames)


def test_frames__equal_tifffiles(tmp_path: Path) -> None:
    streams = [stream for e in events(20) if len(stream := encode(e, N, 7)) % 2 == 0][:4]
    write_eer(tmp_path / "m.eer", streams, SHAPE)
    movie = open_eer(tmp_path / "m.eer", frames_per_fraction=1)
    with tifffile.TiffFile(tmp_path / "m.eer") as judge:
        for number, page in enumerate(judge.pages):
            assert np.array_equal(page.asarray(), movie.read_internal(number))


@pytest.mark.parametrize(
    ("n", "asked", "expected"),
    [
        (13, {}, (13, 1, 0)),
        (100, {}, (33, 3, 1)),
        (100, {"n_fractions": 30}, (30, 3, 10)),
        (100, {"frames_per_fraction": 7}, (14, 7, 2)),
        (5, {"n_fractions": 5}, (5, 1, 0)),
    ],
)
def test_grouping__accounts_for_every_internal_frame(
    tmp_path: Path, n: int, asked: dict[str, int], expected: tuple[int, int, int]
) -> None:
    write_eer(tmp_path / "m.eer", [encode(np.zeros((0, 3), np.int64), N, 7)] * n, SHAPE)
    movie = open_eer(tmp_path / "m.eer", **asked)
    assert (movie.n_frames, movie.frames_per_fraction, movie.n_left_over) == expected
    assert movie.n_frames * movie.frames_per_fraction + movie.n_left_over == n
    assert bool(movie.flags) == bool(movie.n_left_over)


def test_grouping_out_of_range__is_invalid_input(tmp_path: Path) -> None:
    write_eer(tmp_path / "m.eer", [encode(e, N, 7) for e in events(3)], SHAPE)
    for asked in ({"n_fractions": 0}, {"n_fractions": 4}, {"frames_per_fraction": 4}, {"upsampling": 3}):
        with pytest.raises(InvalidInput):
            open_eer(tmp_path / "m.eer", **asked)
    with pytest.raises(InvalidInput):
        open_eer(tmp_path / "m.eer", n_fractions=2, frames_per_fraction=1)


def test_metadata__are_read_and_the_sensors_pixel_is_not_taken_for_the_specimens(tmp_path: Path) -> None:
    write_eer(tmp_path / "m.eer", [encode(e, N, 7) for e in events(3)], SHAPE)
    movie = open_eer(tmp_path / "m.eer")
    assert movie.metadata["cameraName"] == "Falcon4"
    assert movie.dose_e_A2 == pytest.approx(40.0)
    assert movie.pixel_size_A is None


@pytest.mark.parametrize("big", [True, False])
def test_cut_at_every_percent__is_incomplete(tmp_path: Path, big: bool) -> None:
    path = tmp_path / "m.eer"
    write_eer(path, [encode(e, N, 7) for e in events(9)], SHAPE, big=big)
    raw = path.read_bytes()
    for length in {*(len(raw) * percent // 100 for percent in range(100)), len(raw) - 1}:
        path.write_bytes(raw[:length])
        with pytest.raises(Incomplete):
            open_eer(path)


def test_a_short_chain__is_incomplete_by_the_acquisitions_own_count(tmp_path: Path) -> None:
    streams = [encode(e, N, 7) for e in events(5)]
    write_eer(tmp_path / "m.eer", streams, SHAPE, n_declared=6)
    with pytest.raises(Incomplete, match="5 frames; expected 6"):
        open_eer(tmp_path / "m.eer")
    write_eer(tmp_path / "m.eer", streams, SHAPE, n_declared=4)
    with pytest.raises(Corrupt, match="5 frames; expected 4"):
        open_eer(tmp_path / "m.eer")


@pytest.mark.parametrize("compression", [65003, 1, 50000])
def test_other_compressions__are_unsupported(tmp_path: Path, compression: int) -> None:
    write_eer(tmp_path / "m.eer", [encode(e, N, 7) for e in events(2)], SHAPE, compression=compression)
    with pytest.raises(Unsupported, match=f"compression {compression}"):
        open_eer(tmp_path / "m.eer")


def test_the_container_of_before_2020__is_unsupported(tmp_path: Path) -> None:
    (tmp_path / "m.eer").write_bytes(b"\1\2\3" * 20 + b"ThermoFisherECComprOK000")
    with pytest.raises(Unsupported, match="before 2020"):
        open_eer(tmp_path / "m.eer")


@KINDS
def test_run_lengths_that_miss_the_frames_end__are_corrupt_and_name_the_frame(
    tmp_path: Path, compression: int, run_bits: int, place: bool
) -> None:
    frames = events(3)
    for n_pixels in (N - 1, N + 1, N - 300, N + 300):
        streams = [encode(e, N, run_bits, long_runs_have_place=place) for e in frames]
        streams[1] = encode(frames[1][frames[1][:, 0] < n_pixels], n_pixels, run_bits, long_runs_have_place=place)
        write_eer(tmp_path / "m.eer", streams, SHAPE, compression=compression)
        movie = open_eer(tmp_path / "m.eer", frames_per_fraction=1)
        assert movie.read_frame(0).sum() == len(frames[0])
        with pytest.raises(Corrupt, match="internal frame 2"):
            movie.read_frame(1)


def test_flipped_bits__in_run_lengths_are_noticed(tmp_path: Path) -> None:
    (one,) = events(1, seed=9)
    good = encode(one, N, 7)
    write_eer(tmp_path / "m.eer", [good], SHAPE)
    accepted = 0
    for bit in range(len(good) * 8):
        bad = bytearray(good)
        bad[bit // 8] ^= 1 << bit % 8
        write_eer(tmp_path / "m.eer", [bytes(bad)], SHAPE)
        try:
            open_eer(tmp_path / "m.eer").read_frame(0)
            accepted += 1
        except Corrupt:
            continue
    places = 4 * len(one) + 7  # bits of the place within a pixel, and padding, carry no redundancy
    assert accepted <= 1.02 * places


@given(position=st.integers(0, 4000), value=st.binary(min_size=1, max_size=6))
@settings(max_examples=200, deadline=None)
def test_any_byte__may_be_anything(tmp_path_factory: pytest.TempPathFactory, position: int, value: bytes) -> None:
    folder = tmp_path_factory.getbasetemp()
    path = folder / "fuzz.eer"
    if not path.exists():
        write_eer(path, [encode(e, N, 7) for e in events(4)], SHAPE)
    raw = bytearray(path.read_bytes())
    start = position % len(raw)
    raw[start : start + len(value)] = value
    (folder / "fuzzed.eer").write_bytes(raw)
    try:
        shapes = {frame.shape for frame in open_eer(folder / "fuzzed.eer")}
    except (FileError, InvalidInput):
        return
    assert len(shapes) == 1


def test_hooks__share_the_tiff_container_without_quarrel(tmp_path: Path) -> None:
    write_eer(tmp_path / "m.tiff", [encode(e, N, 7) for e in events(2)], SHAPE)
    assert tiff_movie.open_movie(tmp_path / "m.tiff") is None
    source = eer_movie.open_movie(tmp_path / "m.tiff")
    assert source is not None
    assert source.n_frames == 2
    tifffile.imwrite(tmp_path / "t.eer", np.zeros((2, 8, 8), np.uint8), photometric="minisblack")
    assert eer_movie.open_movie(tmp_path / "t.eer") is None
    assert tiff_movie.open_movie(tmp_path / "t.eer") is not None


@pytest.mark.relion
@pytest.mark.skipif(shutil.which("relion_convert_to_tiff") is None, reason="RELION is not installed")
@pytest.mark.parametrize(("run_bits", "place", "upsampling"), [(7, False, 1), (7, False, 2), (8, True, 1)])
def test_fractions__equal_relions_in_counts_and_orientation(
    tmp_path: Path, run_bits: int, place: bool, upsampling: int
) -> None:
    shape = (4096, 4096)
    rng = np.random.default_rng(13)
    frames = [random_events(rng, shape, 3000) for _ in range(4)]
    streams = [encode(e, shape[0] * shape[1], run_bits, long_runs_have_place=place, padding=8) for e in frames]
    write_eer(tmp_path / "m.eer", streams, shape, compression=65001 if run_bits == 7 else 65000)
    (tmp_path / "out").mkdir()
    subprocess.run(
        ["relion_convert_to_tiff", "--i", "m.eer", "--o", "out/", "--eer_grouping", "2",
         "--eer_upsampling", str(upsampling)],
        cwd=tmp_path, capture_output=True, check=True,
    )  # fmt: skip
    (converted,) = (tmp_path / "out").rglob("*.tif*")
    theirs, ours = open_tiff(converted), open_eer(tmp_path / "m.eer", frames_per_fraction=2, upsampling=upsampling)
    assert theirs.n_frames == ours.n_frames == 2
    for index in range(2):
        assert np.array_equal(theirs.read_frame(index), ours.read_frame(index))
        assert np.array_equal(ours.read_frame(index), counts(frames[2 * index : 2 * index + 2], shape, upsampling))
