"""TIFF and MRC movies as written, judged by tifffile, mrcfile and RELION; what a frame costs."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import time
import tracemalloc
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from recordings import frames, recording

from cryoframe import Recording, ReferenceImage
from cryoframe_formats import mrc_movie, mrc_movie_write, reference_write, tiff_write
from cryoframe_formats.tiff import open_tiff
from cryoframe_formats.tiff_write import write_tiff_movie

SHAPES = st.tuples(st.integers(1, 33), st.integers(1, 37))


def stacks(dtypes: list[str]) -> st.SearchStrategy[np.ndarray]:
    shape = st.builds(lambda n, edges: (n, *edges), st.integers(1, 4), SHAPES)
    return st.builds(
        lambda dtype, shape, data: data.draw(hnp.arrays(dtype, shape)), st.sampled_from(dtypes), shape, st.data()
    )


def of(kind: str, stack: np.ndarray) -> Recording:
    return Recording(kind, len(stack), stack.shape[1:], stack.dtype.name, 1.25, 1.0, frames=iter(stack))


@given(stacks(list(tiff_write.DTYPES)), st.booleans())
@settings(max_examples=120, deadline=None)
def test_tiff_of_any_frames__is_read_back_by_tifffile_and_by_us(
    tmp_path_factory: pytest.TempPathFactory, stack: np.ndarray, big: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.tif"
    write_tiff_movie(path, of("tiff", stack), big=big)
    with tifffile.TiffFile(path) as judge:
        assert judge.is_bigtiff is big
        assert len(judge.pages) == len(stack)
        for page, frame in zip(judge.pages, stack, strict=True):
            assert page.dtype == frame.dtype
            assert np.array_equal(page.asarray(), frame[::-1], equal_nan=frame.dtype.kind == "f")
    ours = open_tiff(path)
    assert ours.n_frames == len(stack)
    for index, frame in enumerate(stack):
        assert np.array_equal(ours.read_stored(index), frame, equal_nan=frame.dtype.kind == "f")


def test_tiff_tags__are_those_of_serialems_files(tmp_path: Path) -> None:
    shape = (100, 4096)
    path = tmp_path / "m.tif"
    tiff_write.write_movie(path, recording("tiff", shape, dtype="uint8"))
    with tifffile.TiffFile(path) as judge:
        first, second = judge.pages[0], judge.pages[1]
        assert not judge.is_bigtiff
        assert first.compression == second.compression == tifffile.COMPRESSION.LZW
        assert first.predictor == tifffile.PREDICTOR.NONE
        assert first.rowsperstrip == 4
        assert first.tags["ResolutionUnit"].value == tifffile.RESUNIT.INCH
        assert first.tags["XResolution"].value == first.tags["YResolution"].value == (round(2.54e8 / 1.25), 1)
        lines = first.description.splitlines()
        assert lines[0] == "SerialEMCCD: Dose frac. image, scaled by 1.00  r/f 0"
        assert {"pixel_size_A = 1.25", "dose_per_frame_e_A2 = 0.8", "camera = K3", "exposure_s = 2.4"} <= set(lines)
        assert "ImageDescription" not in second.tags
    assert open_tiff(path).pixel_size_A == pytest.approx(1.25, rel=1e-7)


def test_descriptions__are_ascii_on_one_line_a_fact(tmp_path: Path) -> None:
    facts = {"camera": "K3 µ\nfoo = bar", "rotation_flip": "5", "time_utc": "2024-05-06T07:08:09+00:00"}
    tiff_write.write_movie(tmp_path / "m.tif", dataclasses.replace(recording("tiff"), facts=facts))
    with tifffile.TiffFile(tmp_path / "m.tif") as judge:
        lines = judge.pages[0].description.splitlines()
        assert judge.pages[1].tags["DateTime"].value == "2024:05:06 07:08:09"
    assert lines[0].endswith("r/f 5")
    assert "camera = K3 \\xb5 foo = bar" in lines


@pytest.mark.parametrize(("dtype", "n", "big"), [("uint8", 40, False), ("uint16", 60, False), ("float32", 60, True)])
def test_bigtiff__only_where_four_gigabytes_could_be_reached(dtype: str, n: int, big: bool) -> None:
    assert tiff_write._needs_big(Recording("tiff", n, (4096, 4096), dtype, 1.0, 1.0)) is big


@given(stacks(["uint8", "int8", "uint16", "int16", "float32", "float16"]))
@settings(max_examples=120, deadline=None)
def test_mrc_of_any_frames__is_read_back_by_mrcfile_and_by_us(
    tmp_path_factory: pytest.TempPathFactory, stack: np.ndarray
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.mrc"
    mrc_movie_write.write_movie(path, of("mrc", stack))
    exact = {"equal_nan": stack.dtype.kind == "f"}
    with mrcfile.open(path) as judge:
        assert judge.header.nz == len(stack)
        assert judge.voxel_size.x == pytest.approx(1.25)
        stored = np.atleast_3d(judge.data).reshape(stack.shape)
        assert np.array_equal(stored.view(stack.dtype), stack, **exact)
    if len(stack) > 1:
        ours = mrc_movie.open_movie(path)
        assert ours is not None
        assert ours.pixel_size_A == pytest.approx(1.25)
        for index, frame in enumerate(stack):
            assert np.array_equal(ours.read_frame(index), frame.astype(np.float32), **exact)


@pytest.mark.parametrize(
    ("dtype", "mode"), [("uint8", 0), ("int16", 1), ("float32", 2), ("uint16", 6), ("float16", 12), ("int8", 0)]
)
def test_mrc_modes__are_valid_and_their_statistics_true(
    tmp_path: Path, dtype: str, mode: int, capsys: pytest.CaptureFixture[str]
) -> None:
    path, stack = tmp_path / "m.mrc", frames((70, 41), dtype, 5)
    mrc_movie_write.write_movie(path, of("mrc", stack))
    assert mrcfile.validate(path), capsys.readouterr().out
    with mrcfile.open(path) as judge:
        assert (int(judge.header.mode), judge.is_image_stack()) == (mode, True)
        wide = stack.astype(np.float64)
        for name, value in (("dmin", wide.min()), ("dmax", wide.max()), ("dmean", wide.mean()), ("rms", wide.std())):
            assert float(judge.header[name]) == pytest.approx(value, rel=1e-6)
        assert judge.get_labels()[0].startswith("SerialEMCCD: Dose frac. image")


def test_memory__is_that_of_few_frames(tmp_path: Path, figure) -> None:
    shape, n = (512, 512), 30
    one = frames(shape, "uint16", 1)[0]
    for kind, writer in (("tiff", tiff_write), ("mrc", mrc_movie_write)):
        tracemalloc.start()
        writer.write_movie(
            tmp_path / kind, Recording(kind, n, shape, "uint16", 1.0, 1.0, frames=(one for _ in range(n)))
        )
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        figure(f"{kind} writer, peak memory [frames]", peak / one.nbytes)
        assert peak < 4 * one.nbytes


def test_a_full_size_frame__costs_little(tmp_path: Path, figure) -> None:
    shape, n = (4096, 4096), 3
    stack = np.random.default_rng(2).poisson(1.0, shape).astype(np.uint8)
    start = time.thread_time()
    tiff_write.write_movie(tmp_path / "m.tif", Recording("tiff", n, shape, "uint8", 1.0, 1.0, frames=[stack] * n))
    cost_s = (time.thread_time() - start) / n
    size = (tmp_path / "m.tif").stat().st_size / n
    figure("TIFF-LZW frame 4096² uint8, 1 e/px [CPU-s]", cost_s)
    figure("TIFF-LZW, uncompressed over stored", stack.nbytes / size)
    assert cost_s <= 0.4
    assert np.array_equal(open_tiff(tmp_path / "m.tif").read_stored(2), stack)


@pytest.mark.relion
@pytest.mark.skipif(shutil.which("relion_run_motioncorr") is None, reason="RELION is not installed")
@pytest.mark.parametrize(("kind", "movie", "gain"), [
    ("tiff", "m.tiff", "gain.mrc"), ("tiff", "m.tiff", "gain.tiff"), ("mrc", "m.mrcs", "gain.mrc"),
])  # fmt: skip
def test_relion_sums_our_frames_times_our_gain__rows_where_we_have_them(
    tmp_path: Path, kind: str, movie: str, gain: str
) -> None:
    shape, n = (96, 128), 4
    rng = np.random.default_rng(6)
    frame = rng.poisson(20.0, shape).astype(np.uint16)
    factors = rng.normal(1.0, 0.05, shape).astype(np.float32)
    writer = {"tiff": tiff_write, "mrc": mrc_movie_write}[kind]
    writer.write_movie(tmp_path / movie, Recording(kind, n, shape, "uint16", 1.0, 1.0, frames=[frame] * n))
    reference_write.write_reference(ReferenceImage(tmp_path / gain, factors))
    subprocess.run(
        ["relion_run_motioncorr", "--i", movie, "--o", "out/", "--use_own", "--angpix", "1", "--voltage", "300",
         "--gainref", gain, "--skip_defect", "--patch_x", "1", "--patch_y", "1", "--dose_per_frame", "1"],
        cwd=tmp_path, capture_output=True, check=True,
    )  # fmt: skip
    # Equal frames do not move, so that nothing is interpolated.
    theirs = mrcfile.read(tmp_path / "out/m.mrc")
    assert np.allclose(theirs, n * frame * factors, atol=1e-3)
