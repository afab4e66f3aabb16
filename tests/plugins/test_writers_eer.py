"""EER movies as written, judged by eerfile, tifffile, RELION and our own reader."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import tracemalloc
from pathlib import Path

import eerfile
import numpy as np
import pytest
import tifffile
from eerfile.data_models import EERHeader
from hypothesis import given, settings
from hypothesis import strategies as st
from recordings import counts, events, recording

from cryoframe import Recording, ReferenceImage
from cryoframe_formats import eer_write, reference_write
from cryoframe_formats.eer import open_eer
from cryoframe_formats.tiff import open_tiff

CODES = pytest.mark.parametrize("compression", ["65000", "65001", "65002"])
SHAPES = st.one_of(st.tuples(st.integers(1, 40), st.integers(1, 60)), st.tuples(st.integers(1, 3), st.just(4096)))
FILLED = st.sampled_from([0.0, 0.0005, 0.01, 0.3, 0.97, 1.0])


def written(path: Path, found: list[np.ndarray], shape: tuple[int, int], compression: str = "65001") -> Path:
    facts = {"eer_compression": compression}
    eer_write.write_movie(path, Recording("eer", len(found), shape, "uint8", 1.0, 0.1, events=iter(found), facts=facts))
    return path


@CODES
@given(shape=SHAPES, filled=st.lists(FILLED, min_size=1, max_size=4), seed=st.integers(0, 2**31))
@settings(max_examples=60, deadline=None)
def test_any_events__are_read_back_by_us_and_by_tifffile(
    tmp_path_factory: pytest.TempPathFactory,
    compression: str,
    shape: tuple[int, int],
    filled: list[float],
    seed: int,
) -> None:
    found = [events(shape, 1, seed + index, share)[0] for index, share in enumerate(filled)]
    path = written(tmp_path_factory.getbasetemp() / "any.eer", found, shape, compression)
    for upsampling in (1, 2, 4):
        movie = open_eer(path, frames_per_fraction=1, upsampling=upsampling)
        assert movie.n_frames == len(found)
        for index, one in enumerate(found):
            assert np.array_equal(movie.read_frame(index), counts([one], shape, upsampling))
    if compression != "65000":  # the other decoder takes 8-bit runs without their four spare bits only
        with tifffile.TiffFile(path) as judge:
            assert judge.is_eer
            for page, one in zip(judge.pages, found, strict=True):
                assert np.array_equal(page.asarray(), counts([one], shape))


@CODES
def test_tags__say_how_events_are_coded(tmp_path: Path, compression: str) -> None:
    path = written(tmp_path / "m.eer", events((24, 20)), (24, 20), compression)
    with tifffile.TiffFile(path) as judge:
        assert judge.is_bigtiff
        for page in judge.pages:
            assert int(page.compression) == int(compression)
            assert len(page.dataoffsets) == 1
            assert [code in page.tags for code in (65007, 65008, 65009)] == [compression == "65002"] * 3
        assert [65001 in page.tags for page in judge.pages] == [True, False, False]


def test_metadata__are_understood_by_eerfile_and_by_us(tmp_path: Path) -> None:
    facts = {
        "camera": "Falcon 4i", "camera_name": "BM-Falcon", "exposure_s": "2.5", "serial_number": "D-1234 <&>",
        "acquisition_id": "a-b", "time_utc": "2024-05-06T07:08:09Z", "eerGainReference": "x.gain",
    }  # fmt: skip
    given_recording = dataclasses.replace(recording("eer"), facts=facts)
    eer_write.write_movie(tmp_path / "m.eer", given_recording)
    theirs = EERHeader.from_file(tmp_path / "m.eer")
    assert (theirs.n_frames, theirs.image_width_pixels, theirs.image_height_pixels) == (3, 20, 24)
    assert theirs.pixel_spacing_width_angstroms == pytest.approx(1.25)
    assert theirs.exposure_time_seconds == 2.5
    assert theirs.commercial_name == "Falcon 4i"
    assert theirs.total_dose_electrons_per_square_angstrom == pytest.approx(3 * 0.8)
    assert theirs.dose_rate_electrons_per_square_angstrom == pytest.approx(3 * 0.8 / 2.5)
    ours = open_eer(tmp_path / "m.eer", upsampling=2)
    assert ours.pixel_size_A == pytest.approx(1.25 / 2)
    assert ours.dose_e_A2 == pytest.approx(3 * 0.8)
    assert ours.metadata["serialNumber"] == "D-1234 <&>"
    assert ours.metadata["cameraName"] == "BM-Falcon"
    assert ours.metadata["eerGainReference"] == "x.gain"


def test_a_pixel_of_the_sensor_itself__is_not_taken_for_one_at_the_specimen(tmp_path: Path) -> None:
    given_recording = dataclasses.replace(recording("eer"), pixel_size_A=1.4e5)
    eer_write.write_movie(tmp_path / "m.eer", given_recording)
    movie = open_eer(tmp_path / "m.eer")
    assert (movie.pixel_size_A, movie.dose_e_A2) == (None, None)


def test_eerfile__reads_and_sums_the_same_electrons(tmp_path: Path) -> None:
    shape, n = (128, 256), 12
    found = events(shape, n)
    path = written(tmp_path / "m.eer", found, shape)
    every = eerfile.read(path)
    assert every.shape == (n, *shape)
    for index, one in enumerate(found):
        assert np.array_equal(every[index], counts([one], shape))
    sums = eerfile.render(path, dose_per_output_frame=0.3)
    assert sums.shape == (4, *shape)
    ours = open_eer(path, frames_per_fraction=3)
    for index in range(4):
        assert np.array_equal(sums[index], ours.read_frame(index))


def test_memory__is_that_of_one_internal_frame(tmp_path: Path, figure) -> None:
    shape, n = (1024, 1024), 60
    (one,) = events(shape, 1)
    given_recording = Recording("eer", n, shape, "uint8", 1.0, 1.0, events=(one for _ in range(n)))
    eer_write.write_movie(tmp_path / "warm.eer", recording("eer"))
    tracemalloc.start()
    eer_write.write_movie(tmp_path / "m.eer", given_recording)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    figure("EER writer, peak memory [bytes of an internal frame's events]", peak / one.nbytes)
    assert peak < 2 * one.nbytes


@pytest.mark.relion
@pytest.mark.skipif(shutil.which("relion_convert_to_tiff") is None, reason="RELION is not installed")
@pytest.mark.parametrize("compression", ["65000", "65001"])
@pytest.mark.parametrize("upsampling", [1, 2])
def test_relion_sums_the_same_electrons_in_the_same_places(tmp_path: Path, compression: str, upsampling: int) -> None:
    shape = (4096, 4096)
    found = [events(shape, 1, seed, filled)[0] for seed, filled in enumerate((0.03, 0.0, 1e-4, 0.002))]
    path = written(tmp_path / "m.eer", found, shape, compression)
    (tmp_path / "out").mkdir()
    subprocess.run(
        ["relion_convert_to_tiff", "--i", path.name, "--o", "out/", "--eer_grouping", "2",
         "--eer_upsampling", str(upsampling)],
        cwd=tmp_path, capture_output=True, check=True,
    )  # fmt: skip
    (converted,) = (tmp_path / "out").rglob("*.tif*")
    theirs = open_tiff(converted)
    assert theirs.n_frames == 2
    for index in range(2):
        assert np.array_equal(theirs.read_frame(index), counts(found[2 * index : 2 * index + 2], shape, upsampling))


@pytest.mark.relion
@pytest.mark.skipif(shutil.which("relion_run_motioncorr") is None, reason="RELION is not installed")
@pytest.mark.parametrize(("name", "power"), [("g.gain", 1), ("g.mrc", -1)])
def test_relion_multiplies_events_by_a_gain_file__and_divides_by_one_in_mrc(
    tmp_path: Path, name: str, power: int
) -> None:
    import mrcfile

    shape = (4096, 4096)
    (one,) = events(shape, 1, 3, 0.01)
    gain = np.random.default_rng(4).normal(1.0, 0.05, shape).astype(np.float32)
    gain /= gain.mean(dtype=np.float64)
    written(tmp_path / "m.eer", [one] * 3, shape)
    reference_write.write_reference(ReferenceImage(tmp_path / name, gain))
    subprocess.run(
        ["relion_run_motioncorr", "--i", "m.eer", "--o", "out/", "--use_own", "--angpix", "1", "--voltage", "300",
         "--gainref", name, "--skip_defect", "--patch_x", "1", "--patch_y", "1", "--eer_grouping", "1",
         "--dose_per_frame", "1"],
        cwd=tmp_path, capture_output=True, check=True,
    )  # fmt: skip
    theirs = mrcfile.read(tmp_path / "out/m.mrc")
    assert np.allclose(theirs, counts([one] * 3, shape) * gain**power, atol=1e-4)
