"""Motion of the specimen: closed forms of drift and blur, smoothness in space, and real tracks as typical members."""

from __future__ import annotations

import numpy as np
import pytest

from cryoframe.formats.star_motion import motion_from_star
from cryoframe.numerics import motion_model
from cryoframe.numerics.motion_model import MotionModel, draw_motion
from cryoframe.numerics.noise import generator

ONLY_DRIFT = MotionModel(
    drift_A_s=0.1, dose_rate_e_A2_s=10.0, whole_early_A=0.0, local_early_A=0.0, local_steady_A=0.0, spread=0.0,
    jitter_A=0.0, dome_A=0.0,
)  # fmt: skip


def test_drift_of_a_tenth_of_an_angstrom_a_second__blurs_by_as_much_in_a_second():
    # S-19: 0.1 Å/s over 1 s = 0.1 Å, here ten frames of 1 e/Å² at 10 e/Å²/s.
    drawn = draw_motion(ONLY_DRIFT, np.arange(11) * 1.0, rng=generator(1))
    streak = drawn.streak_A(0.0, 0.0)
    assert np.linalg.norm(streak.sum(axis=0)) == pytest.approx(0.1)
    np.testing.assert_allclose(streak, np.broadcast_to(streak[0], streak.shape), atol=1e-12)


def test_early_motion__is_over_after_a_few_electrons():
    model = MotionModel(0.0, 10.0, 4.0, 0.0, 0.0, early_e_A2=5.0, spread=0.0, jitter_A=0.0)
    edges = np.linspace(0.0, 50.0, 51)
    way = np.linalg.norm(draw_motion(model, edges, rng=generator(2)).displacement_A(0.0, 0.0), axis=-1)
    # Mean of 1 − exp(−N/5) over each frame, integrated on a fine grid.
    fine = np.linspace(0.0, 50.0, 50001)
    sampled = (1.0 - np.exp(-fine[:-1] / 5.0)).reshape(50, 1000).mean(axis=1)
    np.testing.assert_allclose(way, 4.0 * sampled, atol=1e-3)
    assert way[4] > 0.5 * way[-1]


def test_local_motion__is_correlated_as_stated_and_has_its_rms():
    length, rms = 1500.0, 2.0
    model = MotionModel(0.0, 10.0, 0.0, rms, 0.0, early_e_A2=0.01, correlation_A=length, spread=0.0, jitter_A=0.0)
    distance = np.array([0.0, 500.0, 1000.0, 2000.0, 6000.0])
    n = 3000
    ways = np.stack(
        [draw_motion(model, [10.0, 11.0], rng=generator(3, i)).displacement_A(distance, 0.0)[:, 0] for i in range(n)]
    )
    assert np.sum(np.mean(ways[:, 0] ** 2, axis=0)) == pytest.approx(rms**2, abs=4.0 * rms**2 / np.sqrt(n))
    found = np.mean(np.sum(ways * ways[:, :1], axis=2), axis=0) / rms**2
    np.testing.assert_allclose(found, np.exp(-(distance**2) / (2.0 * length**2)), atol=4.0 / np.sqrt(n))


def test_jitter__is_white():
    model = MotionModel(0.0, 10.0, 0.0, 0.0, 0.0, spread=0.0, jitter_A=0.2)
    n_frames, n = 32, 400
    ways = np.stack(
        [draw_motion(model, np.arange(n_frames + 1.0), rng=generator(4, i)).displacement_A(0.0, 0.0) for i in range(n)]
    )
    power = np.mean(np.abs(np.fft.rfft(ways, axis=1)) ** 2, axis=(0, 2)) / n_frames
    # 800 exponential values a frequency; half as many at zero and Nyquist.
    np.testing.assert_allclose(power, 0.04, rtol=4.0 / np.sqrt(400))


def test_walks_of_particles__spread_with_the_dose_and_have_a_drift_spectrum():
    edges, rate, n = np.arange(65) * 1.0, 0.05, 2000
    walks = motion_model.particle_walks(n, edges, rate_A4_e=rate, rng=generator(5))
    spread = np.mean(walks**2, axis=(0, 2))
    np.testing.assert_allclose(spread, rate * edges[1:], rtol=4.0 * np.sqrt(2.0 / (2 * n)))
    # The spectrum of a random walk is that of its steps over 4·sin²(ω/2); its steps are white.
    steps = np.diff(walks, axis=1)
    power = np.mean(np.abs(np.fft.rfft(steps, axis=1)) ** 2, axis=(0, 2)) / steps.shape[1]
    np.testing.assert_allclose(power, rate, rtol=4.0 / np.sqrt(n))


def test_doming__is_highest_in_the_middle_and_nothing_at_the_rim():
    model = MotionModel(dome_A=100.0)
    drawn = draw_motion(model, np.arange(0.0, 60.0), rng=generator(6), hole_radius_A=1000.0, centre_A=(500.0, 0.0))
    height = drawn.height_A(np.array([500.0, 1000.0, 1500.0]), 0.0)
    assert height[0, -1] == pytest.approx(drawn.dome_A, rel=1e-3)
    np.testing.assert_allclose(height[1], 0.75 * height[0])
    assert not height[2].any()


def test_blur__is_a_sinc_along_the_motion():
    k = np.linspace(0.0, 0.5, 101)
    streak = np.array([3.0, 4.0])
    along = motion_model.blur_transfer(0.6 * k, 0.8 * k, streak)
    np.testing.assert_allclose(along, np.sinc(5.0 * k))
    np.testing.assert_allclose(motion_model.blur_transfer(-0.8 * k, 0.6 * k, streak), 1.0)
    stays = (np.arange(2000)[:, None] + 0.5) / 2000 * streak - 0.5 * streak
    np.testing.assert_allclose(motion_model.path_transfer(0.6 * k, 0.8 * k, stays), along, atol=1e-6)
    moved = motion_model.path_transfer(k, 0.0 * k, np.array([[1.5, 0.0]]))
    np.testing.assert_allclose(moved, np.exp(-2j * np.pi * k * 1.5))


# --- real tracks ------------------------------------------------------------------------------------------------------

GRID = np.linspace(0.1, 0.9, 5)
U, V = (axis.ravel() for axis in np.meshgrid(GRID * 2.0 - 1.0, GRID * 2.0 - 1.0))
SPACE = np.stack([np.ones(25), U, U * U, V, V * V, U * V], axis=1)
PLANE = SPACE[:, [1, 3]]


def figures(whole: np.ndarray, local: np.ndarray) -> dict[str, float]:
    """Of a whole-frame track `(f, 2)` and local deviations `(f, 25, 2)` [Å]."""
    step = np.linalg.norm(np.diff(whole, axis=0), axis=1)
    deviation = local - local.mean(axis=1, keepdims=True)
    rms = np.sqrt((deviation**2).sum(axis=2).mean(axis=1))
    linear = PLANE @ np.linalg.lstsq(PLANE, deviation[12], rcond=None)[0]
    return {
        "length of the path [Å]": step.sum(),
        "end to end over length": np.linalg.norm(whole[-1] - whole[0]) / step.sum(),
        "early over late speed": step[:3].mean() / step[-12:].mean(),
        "RMS second difference [Å]": np.sqrt((np.diff(whole, 2, axis=0) ** 2).sum(axis=1).mean()),
        "local RMS at half [Å]": rms[12],
        "local RMS at the end [Å]": rms[-1],
        "local RMS after 4 frames over that at half": rms[4] / rms[12],
        "share of the local motion linear in space": (linear**2).sum() / (deviation[12] ** 2).sum(),
    }


@pytest.fixture(scope="module")
def real_tracks(shared_data):
    """Figures of the eight tracks, with the exposure and the field they were recorded with."""
    found = []
    for path in sorted((shared_data / "motion" / "relion5_tracks").glob("*.star")):
        record = motion_from_star(path)
        pixel = record.pixel_size_A
        x, y = (axis.ravel() for axis in np.meshgrid(GRID * record.shape_px[1], GRID * record.shape_px[0]))
        frames = np.arange(record.n_frames)[:, None]
        local = np.stack(record.model_shift_px(frames, x[None], y[None]), axis=-1) * pixel
        whole = np.stack([record.shift_x_px, record.shift_y_px], axis=1) * pixel
        found.append((figures(whole, local), record.dose_per_frame_e_A2, record.n_frames, x * pixel, y * pixel))
    assert len(found) == 8
    return found


def test_real_tracks__are_typical_members_of_the_ensemble(real_tracks, figure):
    _, dose, n_frames, x, y = real_tracks[0]
    in_space = SPACE @ np.linalg.pinv(SPACE)
    # As the tracks were stored: cubic in time without a constant, quadratic in space.
    powers = np.arange(n_frames)[:, None] ** np.arange(1.0, 4.0)
    in_time = powers @ np.linalg.pinv(powers)
    ensemble = []
    for item in range(500):
        way = draw_motion(MotionModel(), np.arange(n_frames + 1) * dose, rng=generator(7, item)).displacement_A(x, y)
        way -= way[:, :1]
        whole = way.mean(axis=0)
        local = np.einsum("tu,ps,sua->tpa", in_time, in_space, way - whole)
        ensemble.append(figures(whole, local))
    for name in ensemble[0]:
        simulated = np.array([member[name] for member in ensemble])
        real = np.array([track[0][name] for track in real_tracks])
        low, middle, high = np.percentile(simulated, [2.5, 50.0, 97.5])
        figure(name, f"{low:.2f} … {middle:.2f} … {high:.2f}, real {real.min():.2f} to {real.max():.2f}")
        assert np.all((real >= low) & (real <= high)), name
        # Nor is the net cast so wide that anything would be in it: a factor of ten holds all that is drawn.
        assert high < 10.0 * low, name
        # The middle of the real ones lies in the middle half.
        assert np.percentile(simulated, 25.0) * 0.95 <= np.median(real) <= np.percentile(simulated, 75.0) * 1.05, name
