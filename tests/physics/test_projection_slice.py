"""Projection-slice theorem and reconstruction on maps whose projections are known in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from cryoframe.numerics import fourier, fsc, projection, reconstruction, rotations

N, WIDTH = 48, 2.5


def lumps(rng, n_lumps=6):
    centres = rng.uniform(-9, 9, (n_lumps, 3))
    return centres, rng.uniform(0.5, 1.5, n_lumps)


def density(centres, weights):
    axis = np.arange(N) - N // 2
    profile = np.exp(-((axis[None, None, :] - centres[:, :, None]) ** 2) / (2 * WIDTH**2))
    return np.einsum("p,pz,py,px->zyx", weights, profile[:, 2], profile[:, 1], profile[:, 0]).astype(np.float32)


def shadows(centres, weights, poses):
    """Exact projections of Gaussians: Gaussians at the rotated centres, times sqrt(2 pi) sigma of the lost axis."""
    axis = np.arange(N) - N // 2
    images = []
    for pose in poses:
        x, y, _ = pose @ centres.T
        columns = np.exp(-((axis[None, :] - x[:, None]) ** 2) / (2 * WIDTH**2))
        rows = np.exp(-((axis[None, :] - y[:, None]) ** 2) / (2 * WIDTH**2))
        images.append(np.einsum("p,py,px->yx", weights, rows, columns) * np.sqrt(2 * np.pi) * WIDTH)
    return np.stack(images).astype(np.float32)


def test_slice_of_gaussians__is_the_transform_of_their_shadow():
    rng = np.random.default_rng(1)
    centres, weights = lumps(rng)
    poses = rotations.random_rotations(20, rng)
    slices = projection.project(projection.prepare_volume(density(centres, weights)), poses)
    images = fourier.ifft2_centred(slices)
    true = shadows(centres, weights, poses)
    assert np.abs(images - true).max() < 0.02 * true.max()
    assert np.sqrt(((images - true) ** 2).mean()) < 0.004 * true.max()


def test_projection_down_z__is_the_sum_along_z():
    """On the nodes of the grid nothing is interpolated: the slice is that of the gridding-corrected map, exactly."""
    rng = np.random.default_rng(2)
    volume = density(*lumps(rng))
    image = fourier.ifft2_centred(projection.project(projection.prepare_volume(volume), np.eye(3)[None]))[0]
    corrected = volume / projection.gridding_correction(N)
    assert np.abs(image - corrected.sum(axis=0)).max() < 1e-3 * image.max()


@pytest.mark.parametrize(("noise", "last_ring", "least"), [(0.0, 8, 0.995), (1.0, 6, 0.97)])
def test_reconstruction_from_exact_shadows__is_the_density_hand_included(noise, last_ring, least):
    rng = np.random.default_rng(3)
    centres, weights = lumps(rng)
    poses = rotations.random_rotations(600, rng)
    images = shadows(centres, weights, poses)
    images += rng.normal(0.0, noise * images.std(), images.shape).astype(np.float32)
    again = reconstruction.reconstruct(images, poses, np.zeros((600, 2)), wiener=0.05)
    truth = density(centres, weights)
    curve = fsc.fsc_curve(again, truth, pixel_size_A=1.0)
    mirrored = fsc.fsc_curve(again[::-1], truth, pixel_size_A=1.0)
    # Gaussians of width 2.5 px hold exp(-(2 pi 2.5 k)^2) of their power at k: 3 % at ring 6 of 48 px, 0.1 % at ring 8.
    assert curve.fsc[1 : last_ring + 1].min() > least
    assert mirrored.fsc[2:9].mean() < curve.fsc[2:9].mean() - 0.2
