"""A series of reconstructions from more and more noisy particles tells the B-factor that was put in (mission S-54)."""

from __future__ import annotations

import numpy as np

from cryoframe.numerics import fourier
from cryoframe.numerics.atoms import potential
from cryoframe.numerics.fsc import fsc_curve, resolution_at
from cryoframe.numerics.insertion import empty_accumulator
from cryoframe.numerics.projection import prepare_volume, project
from cryoframe.numerics.radial import radial_average
from cryoframe.numerics.reconstruction import accumulate, solve
from cryoframe.numerics.rotations import random_rotations
from cryoframe_model.structure import read_atoms

# From 1024 on, ten slices or more share a voxel of the padded transform at 2.2 Å, so that none is without; the noise
# puts the resolutions between 3 Å and 2.2 Å, clear of Nyquist.
N, PIXEL_A, NOISE = 48, 1.0, 2.6
COUNTS = (1024, 2048, 4096, 8192)
N_SERIES = 6


def specimen(atoms, b_factor_A2):
    """The atoms within 16 Å of the middle of a chain of apoferritin."""
    places = atoms.positions_A - atoms.positions_A.mean(axis=0)
    near = atoms.select(np.linalg.norm(places, axis=1) < 16.0)
    return potential(
        near.positions_A - atoms.positions_A.mean(axis=0),
        near.kinds,
        (near.heights_A, near.widths_A2),
        b_factors_A2=np.full(len(near.kinds), b_factor_A2),
        n=N,
        pixel_size_A=PIXEL_A,
    )


def over_three_shells(curve):
    return np.convolve(np.pad(curve, 1, mode="edge"), np.full(3, 1.0 / 3.0), mode="valid")


def resolutions_A(volume, rng):
    """FSC 0.143 between halves of more and more particles, poses known, white noise, no CTF."""
    volume_ft = prepare_volume(volume)
    halves = [empty_accumulator(N), empty_accumulator(N)]
    found, done = [], 0
    for count in COUNTS:
        for half in halves:
            rotations = random_rotations((count - done) // 2, rng)
            noise = rng.standard_normal((len(rotations), N, N), dtype=np.float32) * np.float32(NOISE)
            images_ft = project(volume_ft, rotations) + fourier.fft2_centred(noise)
            accumulate(half, images_ft.astype(np.complex64), rotations, np.zeros((len(rotations), 2)))
        done = count
        curve = fsc_curve(solve(halves[0]), solve(halves[1]), pixel_size_A=PIXEL_A)
        found.append(resolution_at(curve.frequency_1_A, over_three_shells(curve.fsc)).resolution_A)
    return np.array(found)


def test_slope_of_ln_n_against_1_d2__is_half_the_b_factor_put_in(shared_data, figure):
    """Rosenthal & Henderson, J. Mol. Biol. 333, 721 (2003), doi 10.1016/j.jmb.2003.07.013.

    FSC 0.143 is one signal-to-noise ratio, N·P₀(k)/k·exp(−B·k²/2)/σ²: k for the slices that share a voxel, P₀ the
    structure's own power, here known. So ln(N·P₀/k) rises by B/2 with k². The margin is three standard errors of the
    slope, from the scatter of all series about the line.
    """
    atoms = read_atoms(shared_data / "models" / "7a4m.cif", assembly="")
    b_put_in_A2 = 40.0
    # The structure factor of bare atoms, in three shells as the resolution is read.
    power = over_three_shells(radial_average(np.abs(fourier.fft3_centred(specimen(atoms, 0.0))) ** 2)[: N // 2 + 1])
    volume = specimen(atoms, b_put_in_A2)
    found = np.array([resolutions_A(volume, np.random.default_rng(seed)) for seed in range(N_SERIES)])
    k = 1.0 / found.ravel()
    counts = np.tile(COUNTS, N_SERIES)
    rise = np.log(counts * np.interp(k, np.arange(len(power)) / (N * PIXEL_A), power) / k)
    (slope, _), covariance = np.polyfit(k**2, rise, 1, cov=True)
    b_found_A2, error_A2 = 2.0 * float(slope), 2.0 * float(np.sqrt(covariance[0, 0]))
    plain_A2 = 2.0 * float(np.polyfit(k**2, np.log(counts), 1)[0])
    figure("resolution of " + ", ".join(map(str, COUNTS)), ", ".join(f"{d:.2f} Å" for d in found.mean(axis=0)))
    figure(f"B-factor put in {b_put_in_A2:g} Å², found", f"{b_found_A2:.1f} ± {error_A2:.1f} Å² (plain {plain_A2:.0f})")
    assert np.all(np.diff(found.mean(axis=0)) < 0)
    assert error_A2 < 0.1 * b_put_in_A2
    assert abs(b_found_A2 - b_put_in_A2) < 3.0 * error_A2
