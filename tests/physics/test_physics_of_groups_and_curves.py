"""Rotations, point groups and correlation curves against theory and printed figures."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from cryoframe.formats import mrc
from cryoframe.numerics import fourier, fsc, masks, noise, radial, rotations, symmetry


def test_uniform_rotations__turn_by_126_5_degrees_on_average():
    # Density (1 − cos θ)/π on [0, π]: mean π/2 + 2/π rad (Miles, Biometrika 52, 636 (1965)); standard deviation 37.1°.
    matrices = rotations.random_rotations(20000, np.random.default_rng(0))
    angles = rotations.angular_distance_deg(matrices, np.eye(3))
    assert angles.mean() == pytest.approx(np.degrees(np.pi / 2 + 2 / np.pi), abs=4 * 37.1 / np.sqrt(20000))


@pytest.mark.parametrize(
    ("group", "order"),
    [("C1", 1), ("C5", 5), ("D1", 2), ("D2", 4), ("D7", 14), ("T", 12), ("O", 24), ("I", 60), ("I1", 60), ("I3", 60)],
)
def test_order__of_each_group(group, order):
    assert len(symmetry.rotation_matrices(group)) == order


@pytest.mark.parametrize(
    ("group", "n_elements"),
    # Conjugacy classes of the rotation groups (Cotton, Chemical Applications of Group Theory, app. II A).
    [
        ("T", {0: 1, 120: 8, 180: 3}),
        ("O", {0: 1, 90: 6, 120: 8, 180: 9}),
        ("I", {0: 1, 72: 12, 144: 12, 120: 20, 180: 15}),
    ],
)
def test_turns__of_the_polyhedral_groups(group, n_elements):
    angles = rotations.angular_distance_deg(symmetry.rotation_matrices(group), np.eye(3))
    found, counts = np.unique(np.rint(angles).astype(int), return_counts=True)
    assert dict(zip(found.tolist(), counts.tolist(), strict=True)) == n_elements


@pytest.mark.relion
@pytest.mark.parametrize("group", ["C1", "C3", "D2", "D7", "T", "O", "I", "I1", "I2", "I3", "I4"])
def test_point_groups__equal_relions_operators(group: str):
    if shutil.which("relion_refine") is None:
        pytest.skip("relion_refine is not installed; apt-get install relion")
    done = subprocess.run(
        ["relion_refine", "--o", "/dev/null", "--print_symmetry_ops", "--sym", group],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    blocks = re.findall(r"R\(\d+\)=\s*\n((?:[^\n]*\n){3})", done.stdout)
    theirs = np.array([[[float(v) for v in row.split()] for row in block.splitlines()] for block in blocks])
    ours = symmetry.rotation_matrices(group)
    assert theirs.shape == ours.shape
    nearest = np.abs(theirs[:, None] - ours[None]).max(axis=(2, 3))
    assert np.unique(nearest.argmin(axis=1)).size == len(ours)
    assert nearest.min(axis=1).max() < 1e-5  # printed with 5 or 6 digits


def _axes(group, angle):
    axes = []
    for operator in symmetry.rotation_matrices(group):
        if abs(rotations.angular_distance_deg(operator, np.eye(3)) - angle) < 1e-3:
            axes.append(np.linalg.svd(operator - np.eye(3))[2][-1])
    return np.array(axes)


@pytest.mark.parametrize("group", ["I1", "I2", "I3", "I4"])
def test_icosahedron__angles_between_its_axes(group):
    # 31.717° from a 5-fold to the next 2-fold, 37.377° to the next 3-fold (Coxeter, Regular Polytopes, table I).
    five, three, two = _axes(group, 72.0), _axes(group, 120.0), _axes(group, 180.0)
    to_two = np.degrees(np.arccos(np.abs(five @ two.T).max(axis=1).clip(0, 1)))
    to_three = np.degrees(np.arccos(np.abs(five @ three.T).max(axis=1).clip(0, 1)))
    np.testing.assert_allclose(to_two, 31.7175, atol=1e-3)
    np.testing.assert_allclose(to_three, 37.3774, atol=1e-3)


def test_a_real_d2_map__is_its_own_average__and_not_a_threefold_one(shared_data: Path):
    beta_galactosidase = mrc.read(shared_data / "maps" / "betaGal_NGL.mrc")[0].astype(np.float32)
    curves = {}
    for group in ("D2", "C3"):
        averaged = symmetry.symmetrise(beta_galactosidase, group)
        curves[group] = fsc.fsc_curve(beta_galactosidase, averaged, pixel_size_A=3.54)
    # 15 Å: fine enough to tell the tetramer's arms, coarse enough for tri-linear interpolation.
    up_to = int(100 * 3.54 / 15.0)
    assert curves["D2"].fsc[1:up_to].min() > 0.98
    assert curves["C3"].fsc[10:up_to].mean() < 0.8


def _two_halves(ssnr_by_shell, n, seed):
    rng = noise.generator(seed)
    amplitude = radial.expand_radial(np.sqrt(ssnr_by_shell), n, n_dims=3)
    signal = fourier.ifft3_centred(fourier.fft3_centred(noise.white_noise((n, n, n), rng)) * amplitude)
    return tuple(signal + noise.white_noise((n, n, n), rng) for _ in range(2))


def test_fsc__of_halves_with_known_ssnr__is_ssnr_over_one_plus_ssnr():
    n = 48
    ssnr = 8.0 * np.exp(-np.arange(n // 2 + 1) / 6.0)
    a, b = _two_halves(ssnr, n, seed=1)
    curve = fsc.fsc_curve(a, b, pixel_size_A=1.0)
    expected = fsc.fsc_from_ssnr(ssnr)
    # Standard error of a correlation ρ from N/2 independent complex pairs: (1 − ρ²)/√N, N real ones (Fisher 1921).
    error = (1 - expected**2) / np.sqrt(curve.n_voxels)
    # The zero shell holds one voxel; the Nyquist shell's samples are partly real, which widens its scatter slightly.
    deviation = (curve.fsc - expected)[2:] / error[2:]
    assert np.abs(deviation).max() < 4.5
    assert 0.6 < deviation.std() < 1.6


def test_fsc__of_independent_noise__scatters_by_one_over_root_n():
    curve = fsc.fsc_curve(
        noise.white_noise((48, 48, 48), noise.generator(2)),
        noise.white_noise((48, 48, 48), noise.generator(3)),
        pixel_size_A=1.0,
    )
    normalised = curve.fsc[2:] * np.sqrt(curve.n_voxels[2:])
    assert normalised.std() == pytest.approx(1.0, abs=4 / np.sqrt(2 * normalised.size))


def test_threshold_0_143__is_a_figure_of_merit_of_one_half():
    # Rosenthal & Henderson 2003: FSC 0.143 between half-maps is C_ref = 0.5 of the full map (a phase error of 60°).
    assert fsc.fsc_weights(1.0 / 7.0) == pytest.approx(0.5)
    assert fsc.fsc_weights(0.143) == pytest.approx(0.5, abs=5e-4)


def test_half_map_fsc_of_0_143__is_map_to_truth_fsc_of_0_5():
    n = 48
    half_ssnr = 10 ** np.linspace(1.5, -2.0, n // 2 + 1)
    rng = noise.generator(9)
    amplitude = radial.expand_radial(np.sqrt(half_ssnr), n, n_dims=3)
    signal = fourier.ifft3_centred(fourier.fft3_centred(noise.white_noise((n, n, n), rng)) * amplitude)
    halves = [signal + noise.white_noise((n, n, n), rng) for _ in range(2)]
    between = fsc.fsc_curve(*halves, pixel_size_A=1.0)
    to_truth = fsc.fsc_curve(halves[0] + halves[1], signal, pixel_size_A=1.0)
    at_0143 = fsc.resolution_at(between.frequency_1_A, between.fsc, 0.143)
    at_05 = fsc.resolution_at(to_truth.frequency_1_A, to_truth.fsc, 0.5)
    # One shell holds 3 000 voxels there: 0.018 of scatter against a slope of 0.04 a shell, half a shell either way.
    assert n / at_0143.resolution_A == pytest.approx(n / at_05.resolution_A, abs=1.5)


def test_mask_correlation__is_found_and_removed():
    n, beyond = 48, 12
    mask = masks.spherical_mask(n, 9.0)
    # A strong common signal at low resolution, nothing common beyond; the mask's sharp edge smears it outwards.
    common = noise.coloured_noise((n, n, n), np.r_[np.full(11, 300.0), np.zeros(14)], noise.generator(21))
    halves = [common + noise.white_noise((n, n, n), noise.generator(20, i)) for i in range(2)]
    shuffled = [
        fsc.phase_randomised(half, beyond_shell=beyond, rng=noise.generator(22, i)) for i, half in enumerate(halves)
    ]
    masked = fsc.fsc_curve(*halves, pixel_size_A=1.0, mask=mask)
    randomised = fsc.fsc_curve(*shuffled, pixel_size_A=1.0, mask=mask)
    corrected = fsc.corrected_fsc(masked.fsc, randomised.fsc, beyond_shell=beyond)
    far = slice(beyond + 3, n // 2)
    assert masked.fsc[far].mean() > 0.5
    # The mask lets one voxel in 36 be independent: a shell of 4 500 scatters by √(36/4500) = 0.09, the mean over nine
    # shells by 0.03.
    assert abs(corrected[far].mean()) < 4 * 0.03
    assert np.all(corrected[1:beyond] > 0.9)
