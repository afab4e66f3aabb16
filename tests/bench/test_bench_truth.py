"""What a benchmark takes for true is what it simulates: tracks, their tables, likeness; and ranked picks are judged."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cryoframe.bench import ctf, ctf_fields, movies, tracks
from cryoframe.compare.pick_ranking import Picked, pick_quality
from cryoframe.compare.truth import track
from cryoframe.compare.truth_scores import motion_errors
from cryoframe.data.images import CtfFit
from cryoframe.data.tables import MotionTable
from cryoframe.formats.star_motion import MotionRecords, motion_from_star
from cryoframe.numerics import fourier

SHAPE = (200, 300)


@pytest.fixture
def recorded(shared_data) -> MotionRecords:
    found = sorted((shared_data / "motion" / "relion5_tracks").glob("*.star"))
    return motion_from_star(found[0])


def motion_of(records: MotionRecords, n_frames: int) -> tracks.RecordedMotion:
    edges = np.linspace(0.0, 30.0, n_frames + 1)
    return tracks.recorded_motion(records, edges, shape_px=SHAPE, pixel_size_A=movies.PIXEL_A)


def test_a_recorded_track__moves_the_field_as_relion_says(recorded) -> None:
    motion, (ny, nx) = motion_of(recorded, recorded.n_frames), recorded.shape_px
    x_px, y_px = 75.0, 150.0
    shift = -motion.displacement_A(x_px * movies.PIXEL_A, y_px * movies.PIXEL_A) / movies.PIXEL_A
    time = np.arange(recorded.n_frames, dtype=float)
    place = (np.full_like(time, x_px * nx / SHAPE[1]), np.full_like(time, y_px * ny / SHAPE[0]))
    local = np.stack(recorded.model_shift_px(time, *place), axis=-1)
    whole = np.stack([recorded.shift_x_px, recorded.shift_y_px], axis=-1)
    np.testing.assert_allclose(shift, whole - whole[0] + local, atol=1e-9)
    np.testing.assert_allclose(motion.height_A(np.zeros(3), np.zeros(3)), np.zeros((3, recorded.n_frames)))


def test_a_track_of_more_frames__begins_and_ends_where_the_recorded_one_does(recorded) -> None:
    few, many = (motion_of(recorded, n).displacement_A(50.0, 50.0) for n in (recorded.n_frames, 40))
    np.testing.assert_allclose(many[[0, -1]], few[[0, -1]], atol=1e-9)
    assert many.shape == (40, 2)


def test_the_truth_itself__has_no_error_and_a_shifted_origin_none_either(recorded) -> None:
    table = tracks.truth_table(motion_of(recorded, 24), SHAPE, movies.PIXEL_A)
    errors = motion_errors(table, table)
    assert errors is not None
    assert errors.local_A.shape == (tracks.N_PLACES**2, 24, 2)
    assert max(np.abs(errors.whole_A).max(), np.abs(errors.local_A).max()) < 1e-4
    moved = {name: table.column(name) for name in ("frame", "patch_x_A", "patch_y_A", "shift_y_A")}
    other = MotionTable.from_columns(moved | {"shift_x_A": table.floats("shift_x_A") + 3.0})
    again = motion_errors(other, table)
    assert again is not None
    assert np.abs(again.whole_A).max() < 1e-4


def test_likeness__forgives_a_common_displacement_and_nothing_else(recorded) -> None:
    rng = np.random.default_rng(1)
    still = rng.standard_normal((128, 128)).astype(np.float32)
    motion = motion_of(recorded, 24)
    truth = tracks.truth_table(motion, SHAPE, movies.PIXEL_A)
    true_px = track(truth).whole_A / movies.PIXEL_A
    filmed = movies.Filmed(None, 24, 1.0, truth, motion, still, still)  # type: ignore[arg-type]
    apart = np.array([1.5, -2.25])
    ramp = np.exp(-2j * np.pi * (np.fft.fftfreq(128)[:, None] * apart[1] + np.fft.rfftfreq(128) * apart[0]))
    moved = fourier.irfft2((fourier.rfft2(still) * ramp).astype(np.complex64), still.shape)
    # Every frame was moved by the true shift and `apart` on top: so was the sum.
    assert min(movies.likeness(moved, filmed, true_px + apart)) > 0.999
    assert max(movies.likeness(moved, filmed, true_px)[2:]) < 0.7


def test_ranked_picks__are_matched_once_and_the_border_counts_neither_way() -> None:
    true = np.array([[50.0, 50.0], [150.0, 150.0], [2.0, 100.0]])
    xy = np.array([[52.0, 50.0], [48.0, 50.0], [151.0, 150.0], [3.0, 100.0], [1.0, 30.0], [100.0, 30.0]])
    picked = [Picked(xy, np.array([5.0, 4.0, 6.0, 9.0, 8.0, 1.0]), true, (200.0, 200.0))]
    found = pick_quality(picked, diameter_A=20.0, radius_A=10.0)
    assert found.n_true == 2
    # Right, right, wrong (taken already), wrong: the pick on the cut particle and the one at the border are left out.
    assert found.ranking.average_precision == pytest.approx(1.0)
    assert found.ranking.best_f1 == pytest.approx(1.0)
    assert found.f1 == pytest.approx(2 * 2 / (4 + 2))
    with_none = pick_quality(
        [Picked(np.empty((0, 2)), np.empty(0), true, (200.0, 200.0))], diameter_A=20.0, radius_A=5.0
    )
    assert with_none.ranking.average_precision == 0.0


@pytest.mark.parametrize(
    ("tilt_deg", "axis_deg", "off_deg"), [(20.0, 30.0, 0.0), (20.0, 210.0, 40.0), (23.0, 30.0, 3.0)]
)
def test_a_told_plane__is_as_far_off_as_its_angle_to_the_true_one(tilt_deg, axis_deg, off_deg) -> None:
    field = replace(ctf_fields.tilted(0), tilt_deg=20.0, axis_deg=30.0)
    fit = CtfFit("m", 1e4, 1e4, 0.0, tilt_deg=tilt_deg, tilt_axis_deg=axis_deg)
    assert ctf.Fitted(field, None, fit).plane_error_deg == pytest.approx(off_deg, abs=1e-4)  # type: ignore[arg-type]
