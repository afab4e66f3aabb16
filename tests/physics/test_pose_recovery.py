"""Known poses are found again in noisy simulated particles, with CTF."""

from __future__ import annotations

import numpy as np

from cryoframe.numerics import (
    ctf,
    fourier,
    interpolate,
    pose_posterior,
    pose_search,
    projection,
    residuals,
    rotations,
    symmetry,
)

N, PIXEL_A = 32, 4.0


def phantom():
    rng = np.random.default_rng(5)
    axis = np.arange(N) - N // 2
    centres, weights = rng.uniform(-7, 7, (14, 3)), rng.uniform(0.5, 1.5, 14)
    profile = np.exp(-((axis[None, None, :] - centres[:, :, None]) ** 2) / (2 * 1.3**2))
    return np.einsum("p,pz,py,px->zyx", weights, profile[:, 2], profile[:, 1], profile[:, 0]).astype(np.float32)


def test_poses_of_noisy_particles__are_found_from_nothing():
    rng = np.random.default_rng(6)
    n_images, snr = 60, 0.2
    volume_ft = projection.prepare_volume(phantom())
    truth, shifts = rotations.random_rotations(n_images, rng), rng.uniform(-3, 3, (n_images, 2))
    defocus = rng.uniform(8000, 16000, n_images)
    ctfs = ctf.ctf_half(
        N,
        PIXEL_A,
        voltage_kV=300.0,
        cs_mm=2.7,
        amplitude_contrast=0.1,
        defocus_u_A=defocus,
        defocus_v_A=defocus,
        defocus_angle_deg=0.0,
    )
    clean = fourier.ifft2_centred(projection.project(volume_ft, truth) * ctfs * fourier.phase_ramp(N, -shifts))
    images_ft = fourier.fft2_centred(
        (clean + rng.normal(0, clean.std() / np.sqrt(snr), clean.shape)).astype(np.float32)
    )
    noise = residuals.group_spectra(residuals.power_by_ring(images_ft), np.zeros(n_images))
    directions = symmetry.directions_in_asymmetric_unit(15.0, "C1")
    psi = rotations.psi_grid(15.0)
    grid = rotations.euler_to_matrix(
        np.repeat(directions[:, 0], len(psi)), np.repeat(directions[:, 1], len(psi)), np.tile(psi, len(directions))
    )

    def targets(r_max):
        return pose_search.make_targets(images_ft, ctfs, noise, interpolate.half_points(N, r_min=1, r_max=r_max))

    found = pose_search.search_grid(volume_ft, targets(7), grid, pose_search.shift_grid(5, 1.5), n_keep=12)
    for step, shift_step, r_max, keep in ((7.5, 0.75, 10, 6), (3.75, 0.4, 13, 4), (1.9, 0.25, 15, 64)):
        found = pose_search.search_local(
            volume_ft,
            targets(r_max),
            found,
            neighbours=pose_search.rotation_neighbours(step, 3),
            shifts_px=pose_search.shift_grid(1.5 * shift_step, shift_step),
            n_keep=keep,
        )
    poses = pose_posterior.posterior_mean(found)
    error = symmetry.reduce_pose_error(poses.rotations, truth)
    off = np.linalg.norm(poses.shifts_px - shifts, axis=1)
    # Rim of a particle of radius 10 px: one ring of 32 px is 10 degrees of arc; noise leaves a fraction of that.
    assert np.median(error) < 3.0
    assert (error < 10.0).mean() > 0.9
    assert np.median(off) < 0.3
