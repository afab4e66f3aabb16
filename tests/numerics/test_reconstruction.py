"""Reconstruction, resampling: what they keep, what they refuse."""

from __future__ import annotations

import numpy as np
import pytest

from cryoframe.errors import InvalidInput
from cryoframe.numerics import insertion, projection, reconstruction, resample, rotations, symmetry

N = 16


def smooth_map(n=N, spread=2.0, at=(1.5, -2.0, 0.5)):
    z, y, x = np.mgrid[:n, :n, :n] - n // 2
    return np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2 + (z - at[2]) ** 2) / (2 * spread**2)).astype(np.float32)


def images_of(volume, poses):
    from cryoframe.numerics.fourier import ifft2_centred

    return ifft2_centred(projection.project(projection.prepare_volume(volume), poses))


def test_map__comes_back_from_its_own_projections():
    volume, poses = smooth_map(), rotations.random_rotations(300, np.random.default_rng(1))
    again = reconstruction.reconstruct(images_of(volume, poses), poses, np.zeros((300, 2)))
    assert np.corrcoef(again.ravel(), volume.ravel())[0, 1] > 0.995
    assert again.max() == pytest.approx(volume.max(), rel=0.03)


def test_symmetry_operators__stand_for_the_missing_views():
    lump = smooth_map()
    volume = symmetry.symmetrise(lump, "D2")
    poses = rotations.random_rotations(75, np.random.default_rng(2))
    operators = symmetry.rotation_matrices("D2")
    again = reconstruction.reconstruct(images_of(volume, poses), poses, np.zeros((75, 2)), operators=operators)
    assert np.corrcoef(again.ravel(), volume.ravel())[0, 1] > 0.99
    assert np.abs(again[1:, ::-1, ::-1][:, :-1, :-1] - again[1:, 1:, 1:]).max() < 1e-3 * again.max()


def test_shifts__are_taken_back():
    from cryoframe.numerics.fourier import shift_images

    volume, poses = smooth_map(), rotations.random_rotations(200, np.random.default_rng(3))
    shifts = np.random.default_rng(4).uniform(-2, 2, (200, 2))
    moved = shift_images(images_of(volume, poses), -shifts)
    again = reconstruction.reconstruct(moved, poses, shifts)
    assert np.corrcoef(again.ravel(), volume.ravel())[0, 1] > 0.99


def test_weights__damp_what_is_not_known():
    volume, poses = smooth_map(), rotations.random_rotations(50, np.random.default_rng(5))
    sums = insertion.empty_accumulator(N)
    from cryoframe.numerics.fourier import fft2_centred

    images_ft = fft2_centred(images_of(volume, poses))
    reconstruction.accumulate(
        sums, images_ft, poses, np.zeros((50, 2)), noise_power=np.full(N // 2 + 1, 4.0), image_weights=np.full(50, 0.5)
    )
    sharp = reconstruction.solve(sums, ssnr=np.full(N // 2 + 1, 1e4))
    equal = reconstruction.solve(sums, ssnr=np.ones(N // 2 + 1))
    assert 0.3 < np.abs(equal).sum() / np.abs(sharp).sum() < 0.8


def test_nothing_accumulated__is_said():
    with pytest.raises(InvalidInput, match="no slices"):
        reconstruction.solve(insertion.empty_accumulator(N))


@pytest.mark.parametrize(("n", "pixel"), [(16, 1.0), (24, 1.0), (12, 4 / 3), (20, 0.8)])
def test_smooth_map_on_another_grid__has_the_values_it_has_there(n, pixel):
    volume = smooth_map(16, at=(0.5, -0.5, 1.0))
    again = resample.resample_volume(volume, 1.0, n=n, new_pixel_size_A=pixel)
    z, y, x = (np.mgrid[:n, :n, :n] - n // 2) * pixel
    true = np.exp(-((x - 0.5) ** 2 + (y + 0.5) ** 2 + (z - 1.0) ** 2) / 8.0)
    inside = np.maximum(np.maximum(abs(x), abs(y)), abs(z)) < 6
    assert np.abs(again - true)[inside].max() < 0.01


def test_oblong_maps__may_be_resampled_and_pictures_not():
    assert resample.resample_volume(np.ones((6, 8, 10), np.float32), 1.0, n=4, new_pixel_size_A=1.0).shape == (4, 4, 4)
    with pytest.raises(InvalidInput, match="three axes"):
        resample.resample_volume(np.ones((6, 8)), 1.0, n=4, new_pixel_size_A=1.0)
    with pytest.raises(InvalidInput, match="positive"):
        resample.resampling_matrix(8, 4, -1.0)


def test_coarser_grid__does_not_alias():
    wave = np.cos(np.pi * 0.8 * (np.arange(32) - 16))
    assert np.abs(resample.resampling_matrix(32, 16, 2.0) @ wave).max() < 0.3
    constant = resample.resampling_matrix(32, 16, 2.0) @ np.ones(32)
    assert constant == pytest.approx(np.ones(16))
