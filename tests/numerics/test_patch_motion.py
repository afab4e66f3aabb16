"""Patches of frames: likeness and its slopes, what is known of motion beforehand, and the joint fit on small movies."""

from __future__ import annotations

import numpy as np
import pytest

from cryoframe.errors import InvalidInput
from cryoframe.numerics import fourier, motion_prior, patch_motion, patch_motion_fit
from cryoframe.numerics._numba import patch_motion as compiled
from cryoframe.numerics.motion_estimate import Estimate, binning, estimate_motion
from cryoframe.numerics.warp import warp

N_FRAMES, SHAPE, PIXEL_A = 12, (300, 360), 2.5
DOSE = (np.arange(N_FRAMES) + 0.5) * 1.5
HOW = Estimate(patches=(3, 4), resolution_A=6.0, length_A=600.0)


def scene(seed=1):
    k = np.hypot(np.fft.fftfreq(SHAPE[0])[:, None], np.fft.rfftfreq(SHAPE[1])[None, :])
    ft = fourier.rfft2(np.random.default_rng(seed).standard_normal(SHAPE).astype(np.float32))
    image = fourier.irfft2((ft * np.exp(-((k / 0.2) ** 2))).astype(np.complex64), SHAPE)
    return (image / image.std()).astype(np.float32)


def path(x, y):
    """Translations that undo the motion `(…, f, 2)` [px], smooth in space, fast at first; the first is zero."""
    x, y = (np.asarray(v, float)[..., None] for v in (x, y))
    early, t = 1.0 - np.exp(-np.arange(N_FRAMES) / 3.0), np.arange(N_FRAMES) / N_FRAMES
    u, v = x / SHAPE[1] - 0.5, y / SHAPE[0] - 0.5
    return np.stack([4 * early + 2 * u * early + u * v * t, -2 * t + 1.5 * v * early], axis=-1)


def movie(noise, seed=2, *, still_patch=False):
    """Frames of the scene moved against the path, with noise of this deviation."""
    rng, image = np.random.default_rng(seed), scene()
    y, x = np.meshgrid(np.linspace(0, SHAPE[0] - 1, 25), np.linspace(0, SHAPE[1] - 1, 25), indexing="ij")
    shifts = path(x, y)
    frames = []
    for f in range(N_FRAMES):
        frame = warp(image, -shifts[:, :, f])
        if still_patch:
            frame[100:200, 90:180] = image[100:200, 90:180]
        frames.append(frame + noise * rng.standard_normal(SHAPE, dtype=np.float32))
    return frames


def found(frames, how=HOW, dose=DOSE, **more):
    return estimate_motion(
        lambda: frames, (len(frames), *SHAPE), PIXEL_A, 0.0, how, dose_e_A2=dose, voltage_kV=0.0, **more
    )


def places(n=4):
    y, x = np.meshgrid(np.linspace(30, SHAPE[0] - 30, n), np.linspace(30, SHAPE[1] - 30, n), indexing="ij")
    return x.ravel(), y.ravel()


def error_px(fit):
    x, y = places()
    return fit.shifts_px(x * PIXEL_A, y * PIXEL_A) / PIXEL_A - path(x, y)


def patches_of(frames):
    tiles = patch_motion.tile_patches(SHAPE, (2, 2))
    moved = np.rint(path(180.0, 150.0))
    return patch_motion.cut_patches(frames, tiles, moved, low_px=60.0, high_px=4.0)


# -- patches --------------------
def test_tiles__cover_the_frame_and_stay_inside():
    tiles = patch_motion.tile_patches((301, 500), (3, 5))
    covered = np.zeros((301, 500), dtype=bool)
    for tile in tiles:
        covered[tile.slices()] = True
        assert tile.n_y % 2 == 0
        assert tile.n_x % 2 == 0
        assert tile.y_px >= 0 <= tile.x_px
        assert tile.y_px + tile.n_y <= 301
        assert tile.x_px + tile.n_x <= 500
    assert len(tiles) == 15
    assert covered[:300].all()


def test_the_band__holds_each_pair_of_frequencies_once():
    index, n_rings = patch_motion.band((64, 96), 30.0, 3.0)
    column, row, ring = index
    k = np.hypot(np.fft.fftfreq(64)[row], column / 96)
    assert k.min() >= 1 / 30
    assert k.max() <= 1 / 3
    assert ring.max() == n_rings - 1
    assert len(set(zip(column.tolist(), row.tolist(), strict=True))) == len(column)
    # Half of the full ring, in the full transform's 64 × 96 samples.
    assert len(column) == pytest.approx(0.5 * np.pi * (1 / 9 - 1 / 900) * 64 * 96, rel=0.02)


def test_runs__are_the_index_row_by_row():
    patches = patches_of(movie(0.0))
    listed = [(c, row) for row, first, begin, end in patches.runs for c in range(first, first + end - begin)]
    assert np.array_equal(np.array(listed).T, patches.index[:2])


def test_compiled_loops__equal_the_references():
    patches = patches_of(movie(1.0))
    rng = np.random.default_rng(3)
    waves = [np.exp(1j * rng.uniform(0, 6, (N_FRAMES, n))).astype(np.complex64)
             for n in (patches.size[1] // 2 + 1, patches.size[0])]  # fmt: skip
    made = []
    for module in (patch_motion, compiled):
        moved, total = np.empty_like(patches.spectra[0]), np.zeros_like(patches.spectra[0, 0])
        module.move(moved, total, patches.spectra[0], patches.runs, *waves)
        slopes = np.zeros((N_FRAMES, 2))
        module.slope(slopes, moved, total, 2 * total)
        made.append((moved, total, slopes))
    for one, other in zip(*made, strict=True):
        assert np.abs(one - other).max() < 1e-3 * np.abs(one).max()


def test_slopes__are_those_of_the_likeness():
    patches = patches_of(movie(0.3))
    weights = np.random.default_rng(4).random(len(patches.count)).astype(np.float32)
    shifts = np.tile(path(180.0, 150.0), (4, 1, 1)) + np.random.default_rng(5).normal(0, 0.3, (4, N_FRAMES, 2))

    def height(step):
        moved = shifts.copy()
        moved[2, 7] += step
        alike = patch_motion.likeness(patches, moved, weights)
        return (alike.rings * weights).sum(), alike

    _, alike = height(np.zeros(2))
    for axis in (0, 1):
        step = 0.01 * np.eye(2)[axis]
        numeric = (height(step)[0] - height(-step)[0]) / 0.02
        # Each product of two frames is in the sum twice.
        assert 2 * alike.slopes[2, 7, axis] == pytest.approx(numeric, rel=0.02, abs=0.02 * np.abs(alike.slopes).max())


def test_signal_and_noise__are_told_apart():
    patches = patches_of(movie(1.5))
    x = np.array([[90.0, 270.0], [90.0, 270.0]]).ravel()
    y = np.array([[75.0, 75.0], [225.0, 225.0]]).ravel()
    fade = np.ones((N_FRAMES, len(patches.count)), dtype=np.float32)
    patches = patch_motion.faded(patches, fade)
    alike = patch_motion.likeness(patches, path(x, y), np.ones(len(patches.count), np.float32))
    spectrum = patch_motion.measured_spectrum(patches, alike.rings, fade)
    # Below, it is a small difference of large numbers.
    assert spectrum.noise[20:] == pytest.approx(np.full(len(patches.count) - 20, 1.5**2), rel=0.06)
    assert spectrum.noise.min() > 0.45 * 1.5**2
    assert spectrum.signal[2] > 10 * spectrum.signal[-1]


def test_fading__multiplies_spectra_by_ring():
    patches = patches_of(movie(0.5))
    before = patches.spectra.copy()
    fade = np.random.default_rng(6).random((N_FRAMES, len(patches.count))).astype(np.float32)
    after = patch_motion.faded(patches, fade)
    assert after.spectra[1, 3] == pytest.approx(before[1, 3] * fade[3][patches.index[2]], rel=1e-5)
    assert after.squares[1] == pytest.approx((np.abs(after.spectra[1]) ** 2).sum(axis=0), rel=1e-4)


# -- what is known beforehand --------------------
def test_paths__begin_at_zero_and_move_most_at_first():
    covariance = motion_prior.path_covariance(np.arange(20) * 1.5)
    assert np.abs(covariance[0]).max() == 0.0
    assert covariance[-1, -1] == pytest.approx(1.0)
    steps = np.diff(np.diff(covariance, axis=0), axis=1).diagonal()
    assert steps[0] > 5 * steps[-1]
    assert np.linalg.eigvalsh(covariance).min() > -1e-9


def test_modes__reproduce_the_covariance_and_continue_smoothly():
    x, y = np.meshgrid(np.arange(5) * 700.0, np.arange(4) * 700.0)
    spots = np.stack([x.ravel(), y.ravel()], axis=1)
    prior = motion_prior.field_prior(spots, DOSE, 2500.0)
    assert prior.at(spots[:, 0], spots[:, 1]) == pytest.approx(prior.space, abs=1e-6)
    assert np.abs(prior.space.mean(axis=0)).max() < 1e-9
    near = prior.at(spots[7, 0] + 10.0, spots[7, 1])
    assert np.abs(near - prior.space[7]).max() < 0.02
    assert np.abs(prior.time[0]).max() < 1e-9


def test_a_single_patch__has_no_local_motion():
    prior = motion_prior.field_prior(np.array([[100.0, 100.0]]), DOSE, 2500.0)
    assert prior.space.shape == (1, 0)
    assert prior.at(np.zeros(3), np.zeros(3)).shape == (3, 0)


# -- the fit --------------------
@pytest.mark.parametrize(("noise", "limit_px"), [(0.0, 0.05), (2.0, 0.12)])
def test_a_movie_that_deforms__is_followed(noise, limit_px, figure):
    fit = found(movie(noise))
    error = error_px(fit)
    figure(f"RMS error at noise {noise} [px]", f"{np.sqrt((error**2).mean()):.3f}")
    assert np.sqrt((error**2).mean()) < limit_px
    assert fit.whole_px[0].tolist() == [0.0, 0.0]
    assert np.abs(fit.shifts_px(100.0, 200.0)[0]).max() < 1e-9


def test_the_stated_deviation__is_that_of_the_error(figure):
    squares, stated = [], []
    for seed in range(4):
        fit = found(movie(4.0, seed))
        x, y = fit.prior.places_A.T
        squares.append(((fit.shifts_px(x, y) / PIXEL_A - path(x / PIXEL_A, y / PIXEL_A)) ** 2)[:, 1:].mean())
        stated.append((fit.sd_px[:, 1:] ** 2).mean() / PIXEL_A**2)
    ratio = float(np.sqrt(np.mean(squares) / np.mean(stated)))
    figure("RMS error over stated deviation", f"{ratio:.2f}")
    assert 0.5 < ratio < 2.0


def test_a_patch_that_moves_by_itself__is_doubted_and_spoils_little():
    fit = found(movie(0.5, still_patch=True))
    assert fit.trust[5] == fit.trust.min() < 0.3
    assert np.median(fit.trust) > 0.7
    x, y = places()
    far = (np.abs(x - 135) > 90) | (np.abs(y - 150) > 90)
    assert np.sqrt((error_px(fit)[far] ** 2).mean()) < 0.25


def test_pure_noise__does_not_move():
    rng = np.random.default_rng(7)
    fit = found([rng.standard_normal(SHAPE, dtype=np.float32) for _ in range(N_FRAMES)])
    x, y = places()
    assert np.abs(fit.shifts_px(x * PIXEL_A, y * PIXEL_A)).max() < 0.1


def test_unknown_dose_and_one_or_two_frames__are_taken():
    frames = movie(0.5)
    assert np.sqrt((error_px(found(frames, dose=None)) ** 2).mean()) < 0.15
    one = found(frames[:1], dose=DOSE[:1])
    assert one.whole_px.tolist() == [[0.0, 0.0]]
    two = found(frames[:2], dose=DOSE[:2])
    assert np.abs(two.whole_px[1] / PIXEL_A - path(180.0, 150.0)[1]).max() < 0.15


def test_threads__do_not_change_a_bit():
    frames = movie(1.0)
    one, two = found(frames), found(frames, n_threads=2)
    assert np.array_equal(one.whole_px, two.whole_px)
    assert np.array_equal(one.local_px, two.local_px)


def test_binning__keeps_the_finest_spacing_sampled():
    for pixel_A in np.geomspace(0.2, 6.0, 60):
        factor = binning(float(pixel_A), 6.0)
        assert factor == 1 or factor * pixel_A * 2.0 < 6.0
    with pytest.raises(InvalidInput, match="binned frames"):
        estimate_motion(lambda: [], (3, 8, 8), 2.0, 0.0, HOW, dose_e_A2=None, voltage_kV=300.0)


def test_information__has_no_opinion_on_a_common_shift():
    patches = patches_of(movie(0.5))
    fade = np.random.default_rng(8).uniform(0.3, 1.0, (N_FRAMES, len(patches.count))).astype(np.float32)
    spectrum = patch_motion.Spectrum(np.ones(len(patches.count)), np.ones(len(patches.count)))
    alike = patch_motion.likeness(patches, np.tile(path(180.0, 150.0), (4, 1, 1)), spectrum.weights(fade))
    info = patch_motion_fit._information(patches, alike, spectrum, fade, np.ones(4))
    assert np.abs(info.frames.sum(axis=0)).max() < 1e-9 * np.abs(info.frames).max()
    assert np.linalg.eigvalsh(info.patches).min() >= -1e-9
