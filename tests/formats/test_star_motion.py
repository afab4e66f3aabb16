"""RELION's motion files: the eight real tracks, the local model against the measured patches, contradictions."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from cryoframe.errors import Corrupt, SchemaError, Unsupported
from cryoframe.formats import mrc
from cryoframe.formats.star import write_star
from cryoframe.formats.star_motion import MotionRecords, motion_from_star


@pytest.fixture(scope="module")
def tracks(shared_data: Path) -> list[MotionRecords]:
    return [motion_from_star(path) for path in sorted((shared_data / "motion/relion5_tracks").glob("*.star"))]


def test_the_eight_real_tracks(tracks: list[MotionRecords]) -> None:
    assert len(tracks) == 8
    for track in tracks:
        assert track.shape_px == (3838, 3710)
        assert (track.n_frames, track.start_frame, track.binning) == (24, 0, 1.0)
        assert (track.pixel_size_A, track.voltage_kV, track.dose_per_frame_e_A2) == (0.885, 200.0, 1.277)
        assert np.array_equal(track.frame, np.arange(24))
        assert (track.shift_x_px[0], track.shift_y_px[0]) == (0.0, 0.0)
        assert track.local is not None
        assert len(track.local.frame) == 24 * 25
        assert track.gain_name == "Movies/gain.mrc"
    assert tracks[0].shift_x_px[1:3].tolist() == [0.960904, 1.954052]
    assert len(tracks[0].hot_pixels) == 67


def test_the_local_model__explains_the_measured_patches_better_than_none_or_another_order(
    tracks: list[MotionRecords],
) -> None:
    def unexplained(track: MotionRecords, x: np.ndarray, y: np.ndarray, *, swap: bool = False) -> float:
        local = track.local
        assert local is not None
        shifts = track.model_shift_px(local.frame.astype(float), x, y)
        total = 0.0
        for model, measured in zip(shifts[::-1] if swap else shifts, (local.shift_x_px, local.shift_y_px), strict=True):
            rest = (measured - model).reshape(25, 24)  # a patch's constant is its noisy first frame
            total += float(((rest - rest.mean(axis=1, keepdims=True)) ** 2).sum())
        return total

    for track in tracks:
        local = track.local
        assert local is not None
        none = MotionRecords(**{**{f: getattr(track, f) for f in track.__dataclass_fields__}, "model": None})
        right = unexplained(track, local.x_px, local.y_px)
        assert right < 0.85 * unexplained(none, local.x_px, local.y_px)
        assert right < unexplained(track, local.y_px, local.x_px)
        assert right < unexplained(track, local.x_px, local.y_px, swap=True)


def test_contradictions__are_errors(shared_data: Path, tmp_path: Path) -> None:
    text = (shared_data / "motion/relion5_tracks/20170629_00021_frameImage.star").read_text()
    path = tmp_path / "m.star"
    for old, new, kind in (
        ("_rlnMotionModelVersion                                1", "_rlnMotionModelVersion 7", Unsupported),
        ("          35 9.473432e-04", "          34 9.473432e-04", Corrupt),
        ("          24    11.273892", "          25    11.273892", Corrupt),
        ("          24    11.273892", "          23    11.273892", Corrupt),
        ("_rlnImageSizeZ                                       24", "_rlnImageSizeZ 0", Corrupt),
        ("data_global_shift", "data_other", SchemaError),
    ):
        assert old in text
        path.write_text(text.replace(old, new))
        with pytest.raises(kind):
            motion_from_star(path)


@pytest.mark.relion
@pytest.mark.skipif(shutil.which("relion_run_motioncorr") is None, reason="RELION is not installed")
@pytest.mark.parametrize("binning", [1, 2])
def test_relions_shift__undoes_the_drift_in_pixels_of_the_unbinned_movie(tmp_path: Path, binning: int) -> None:
    rng = np.random.default_rng(14)
    frequency = np.hypot(np.fft.fftfreq(640)[:, None], np.fft.rfftfreq(640)[None])
    scene = np.fft.irfft2(np.fft.rfft2(rng.normal(size=(640, 640))) * np.exp(-((frequency / 0.05) ** 2) / 2))
    scene *= 1.5 / scene.std()
    moved = [np.roll(scene, (2 * i, 3 * i), (0, 1))[64:576, 64:576] for i in range(5)]  # drifts towards +x and +y
    mrc.write(tmp_path / "m.mrc", np.array([rng.poisson(5 + f.clip(-4, 4)) for f in moved]), pixel_size_A=1.0,
              is_stack=True)  # fmt: skip
    optics = {
        "rlnOpticsGroupName": ["one"], "rlnOpticsGroup": ["1"], "rlnMicrographOriginalPixelSize": ["1.0"],
        "rlnVoltage": ["300"], "rlnSphericalAberration": ["2.7"], "rlnAmplitudeContrast": ["0.1"],
    }  # fmt: skip
    movies = {"rlnMicrographMovieName": ["m.mrc"], "rlnOpticsGroup": ["1"]}
    write_star(tmp_path / "movies.star", {"optics": optics, "movies": movies})
    subprocess.run(
        ["relion_run_motioncorr", "--i", "movies.star", "--o", "out/", "--use_own", "--j", "1", "--patch_x", "1",
         "--patch_y", "1", "--bin_factor", str(binning), "--bfactor", "150", "--dose_per_frame", "1"],
        cwd=tmp_path, capture_output=True, check=True,
    )  # fmt: skip
    track = motion_from_star(tmp_path / "out/m.star")
    assert (track.binning, track.shape_px, track.n_frames) == (binning, (512, 512), 5)
    # The other readings would make the ratio -1 (sign), 1/2 or 2 (binned pixels): a quarter lies far from all.
    for shift, drift in ((track.shift_x_px, 3.0), (track.shift_y_px, 2.0)):
        assert np.polyfit(np.arange(5), shift, 1)[0] / -drift == pytest.approx(1.0, abs=0.25)
