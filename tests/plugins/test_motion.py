"""correct_motion `global` on simulated movies that drift as real ones did."""

from __future__ import annotations

import resource
import time

import numpy as np
import pytest

from cryoframe import GainReference, Movie, Optics, StageContext
from cryoframe.errors import InvalidInput
from cryoframe.numerics import fourier
from cryoframe_motion.plugin import Params, correct_motion

PIXEL_A, DOSE = 0.885, 1.277
TRACKS = [f"20170629_000{i}_frameImage.star" for i in range(21, 29)]


def real_track(shared_data, name):
    """Global shifts `(24, 2)` [px] that RELION 5 applied to a real K2 movie."""
    lines = (shared_data / "motion" / "relion5_tracks" / name).read_text().splitlines()
    start = lines.index("data_global_shift")
    rows = []
    for line in lines[start + 1 :]:
        words = line.split()
        if len(words) == 3 and words[0].isdigit():
            rows.append([float(words[1]), float(words[2])])
        elif rows:
            break
    return np.array(rows)


def specimen(shape, seed=1):
    """Real-valued scene with detail to 4 Å, standard deviation 1."""
    ny, nx = shape
    k = np.hypot(np.fft.fftfreq(ny, PIXEL_A)[:, None], np.fft.rfftfreq(nx, PIXEL_A)[None, :])
    ft = fourier.rfft2(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))
    scene = fourier.irfft2((ft * np.exp(-120.0 * k**2 / 4) / (0.01 + k)).astype(np.complex64), shape)
    return (scene / scene.std()).astype(np.float32)


class Drifting:
    """A counting camera's frames of a scene that moves against `shifts`: Poisson counts, a gain, hot pixels."""

    def __init__(self, scene, shifts, *, contrast=0.1, gain=None, hot=(), seed=2):
        self.scene_ft = fourier.rfft2(scene)
        self.shape_px, self.shifts, self.contrast = scene.shape, shifts, contrast
        self.gain, self.hot, self.seed = gain, hot, seed
        self.n_frames, self.pixel_size_A = len(shifts), PIXEL_A

    def read_frame(self, index):
        ny, nx = self.shape_px
        dx, dy = -self.shifts[index]
        ramp = np.exp(-2j * np.pi * (np.fft.fftfreq(ny)[:, None] * dy + np.fft.rfftfreq(nx)[None, :] * dx))
        scene = fourier.irfft2((self.scene_ft * ramp).astype(np.complex64), self.shape_px)
        rate = np.maximum(DOSE * PIXEL_A**2 * (1 - self.contrast * scene), 0)
        counts = np.random.default_rng((self.seed, index)).poisson(rate).astype(np.float32)
        if self.gain is not None:
            counts /= self.gain
        for y, x in self.hot:
            counts[y, x] = 60.0
        return counts


def movie_of(source, **more):
    return Movie(
        "mov", "", source.n_frames, source.shape_px, PIXEL_A, DOSE, source=source, **({"optics": Optics(200.0)} | more)
    )


def correct(movie, tmp_path, ctx=None, **params):
    return correct_motion(movie=movie, params=Params(**params), ctx=ctx or StageContext(tmp_path))


def shifts_px(result):
    return np.stack([result.motion.floats("shift_x_A"), result.motion.floats("shift_y_A")], axis=1) / PIXEL_A


def rms(found, truth):
    return np.sqrt(np.mean((found - (truth - truth[0])) ** 2, axis=0))


@pytest.mark.parametrize("name", TRACKS[:3])
def test_real_tracks__are_found_in_simulated_movies(name, shared_data, tmp_path, say):
    track = real_track(shared_data, name)
    assert len(track) == 24
    result = correct(movie_of(Drifting(specimen((1024, 960)), track)), tmp_path)
    error = rms(shifts_px(result), track)
    say(f"{name}: RMS error x {error[0]:.3f} y {error[1]:.3f} px")
    assert np.hypot(*error) <= 0.25
    assert shifts_px(result)[0].tolist() == [0.0, 0.0]


def test_the_aligned_sum__shows_the_scene_better_than_the_plain_one(shared_data, tmp_path):
    scene, track = specimen((512, 512)), real_track(shared_data, TRACKS[1])
    result = correct(movie_of(Drifting(scene, track)), tmp_path)
    still = correct(movie_of(Drifting(scene, track)), tmp_path, n_iterations=0)

    def likeness(image):
        """Correlation with the scene between 20 and 8 Å."""
        k = np.hypot(np.fft.fftfreq(512, PIXEL_A)[:, None], np.fft.rfftfreq(512, PIXEL_A)[None, :])
        one, other = (fourier.rfft2(a)[(k > 1 / 20) & (k < 1 / 8)] for a in (image, scene))
        return -np.vdot(one, other).real / np.sqrt(np.vdot(one, one).real * np.vdot(other, other).real)

    # The track is some 18 px long: unaligned, all but its direction across is smeared at these spacings.
    assert likeness(result.unweighted.data) > 3 * likeness(still.unweighted.data)
    assert result.micrograph.dose_weighted
    assert not result.unweighted.dose_weighted
    assert result.micrograph.dose_e_A2 == pytest.approx(24 * DOSE)


def test_dose_weighting__keeps_the_mean_and_white_noise_white(tmp_path):
    rng = np.random.default_rng(3)
    frames = rng.standard_normal((12, 256, 256)).astype(np.float32) + 5

    class Source(Drifting):
        def read_frame(self, index):
            return frames[index]

    result = correct(movie_of(Source(frames[0], np.zeros((12, 2)))), tmp_path, n_iterations=0)
    weighted, plain = result.micrograph.data, result.unweighted.data
    assert weighted.mean() == pytest.approx(60.0, abs=0.05)
    assert plain == pytest.approx(frames.sum(axis=0), abs=1e-3)
    # 32 768 independent pixels: deviation of a standard deviation 0.3 %.
    assert weighted.std() == pytest.approx(np.sqrt(12), rel=0.012)


def test_gain_and_hot_pixels__do_not_hold_the_frames_in_place(shared_data, tmp_path, say):
    track = real_track(shared_data, TRACKS[0])
    rng = np.random.default_rng(4)
    gain = (1 + 0.1 * rng.standard_normal((512, 512))).clip(0.5, 2).astype(np.float32)
    hot = [tuple(place) for place in rng.integers(0, 512, (40, 2))]
    source = Drifting(specimen((512, 512)), track, gain=gain, hot=hot)
    metrics = {}
    ctx = StageContext(tmp_path, on_metric=lambda name, value, unit: metrics.update({name: value}))
    result = correct(movie_of(source, gain=GainReference(gain)), tmp_path, ctx)
    error = rms(shifts_px(result), track)
    say(f"gain and hot pixels: RMS error x {error[0]:.3f} y {error[1]:.3f} px, {metrics['n_defects']:.0f} defects")
    assert np.hypot(*error) <= 0.35
    assert 38 <= metrics["n_defects"] <= 60
    rows, columns = np.array(hot).T
    assert result.unweighted.data[rows, columns].max() < 24 * 5


def test_threads_and_memory__do_not_change_the_result(shared_data, tmp_path):
    track = real_track(shared_data, TRACKS[2])[:6]
    movie = movie_of(Drifting(specimen((256, 250)), track))
    one = correct(movie, tmp_path)
    two = correct(movie, tmp_path, StageContext(tmp_path, n_threads=2))
    read_again = correct(movie, tmp_path, memory_MB=0.1)
    for other in (two, read_again):
        assert np.array_equal(one.micrograph.data, other.micrograph.data)
        # Patch columns are NaN, which is equal to nothing, itself included.
        assert np.array_equal(shifts_px(one), shifts_px(other))


def test_a_single_frame__is_its_own_sum(tmp_path):
    source = Drifting(specimen((128, 128)), np.zeros((1, 2)))
    result = correct(movie_of(source), tmp_path, defect_sd=99.0)
    assert result.unweighted.data == pytest.approx(source.read_frame(0), abs=1e-4)


def test_no_dose_stated__gives_one_unweighted_sum_and_a_line_in_the_log(tmp_path):
    source = Drifting(specimen((128, 128)), np.zeros((3, 2)))
    lines = []
    movie = Movie("mov", "", 3, (128, 128), PIXEL_A, 0.0, source=source)
    result = correct(movie, tmp_path, StageContext(tmp_path, on_log=lines.append))
    assert result.unweighted is None
    assert not result.micrograph.dose_weighted
    assert "no dose" in lines[0]


def test_wrong_gain_pixel_or_frames__are_refused_with_a_remedy(tmp_path):
    source = Drifting(specimen((128, 128)), np.zeros((2, 2)))
    with pytest.raises(InvalidInput, match="gain reference has shape"):
        correct(movie_of(source, gain=GainReference(np.ones((64, 64), dtype=np.float32))), tmp_path)
    with pytest.raises(InvalidInput, match="pixel of 0"):
        correct(Movie("mov", "", 2, (128, 128), 0.0, 1.0, source=source), tmp_path)
    bad = GainReference(np.full((128, 128), np.inf, dtype=np.float32))
    with pytest.raises(InvalidInput, match="gain reference holds values that are not finite"):
        correct(movie_of(source, gain=bad), tmp_path)
    with pytest.raises(InvalidInput, match="no reader"):
        correct(Movie("mov", "", 2, (128, 128), PIXEL_A, 1.0), tmp_path)


@pytest.mark.slow
def test_a_full_size_movie__is_corrected_in_seconds(shared_data, tmp_path, say):
    track = real_track(shared_data, TRACKS[1])
    source = Drifting(specimen((4096, 4096)), track)
    frames = [source.read_frame(i).astype(np.uint8) for i in range(24)]

    class Held(Drifting):
        def read_frame(self, index):
            return frames[index].astype(np.float32)

    held = Held(np.zeros((4096, 4096), dtype=np.float32), track)
    before_MB = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    cpu, wall = time.process_time(), time.perf_counter()
    result = correct(movie_of(held), tmp_path)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    peak_MB = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    error = rms(shifts_px(result), track)
    say(
        f"24 × 4096²: RMS error x {error[0]:.3f} y {error[1]:.3f} px, {cpu:.1f} CPU-s, {wall:.1f} s, "
        f"peak {peak_MB:.0f} MB ({before_MB:.0f} MB before, 400 MB of it the movie itself)"
    )
    assert np.hypot(*error) <= 0.25
