"""Potential of atoms: totals, Fourier amplitudes, position, compiled loop against reference."""

from __future__ import annotations

import numpy as np
import pytest

from cryoframe.errors import InvalidInput
from cryoframe.numerics import atoms, fourier, grids
from cryoframe.numerics._numba import atoms as compiled

# Carbon and iron, International Tables C, table 4.3.2.2.
HEIGHTS_A = np.array([[0.0893, 0.2563, 0.7570, 1.0487, 0.3575], [0.3946, 1.2725, 1.7031, 2.3140, 1.4795]])
WIDTHS_A2 = np.array([[0.2465, 1.7100, 6.4094, 18.6113, 50.2523], [0.2717, 2.0443, 7.6007, 29.9714, 86.2265]])
FACTORS = (HEIGHTS_A, WIDTHS_A2)


def carbon(k, b_factor):
    return np.sum(HEIGHTS_A[0] * np.exp(-WIDTHS_A2[0] * k[..., None] ** 2 / 4), axis=-1) * np.exp(-b_factor * k**2 / 4)


@pytest.mark.parametrize(("n", "pixel_A"), [(48, 1.0), (40, 2.5), (32, 3.54)])
def test_total__is_the_sum_of_scattering_factors_at_zero(n, pixel_A):
    rng = np.random.default_rng(1)
    positions = rng.uniform(-10, 10, (30, 3))
    kinds = rng.integers(0, 2, 30)
    occupancies = rng.random(30)
    volume = atoms.potential(
        positions, kinds, FACTORS, b_factors_A2=np.full(30, 20.0), n=n, pixel_size_A=pixel_A, occupancies=occupancies
    )
    expected = (HEIGHTS_A.sum(axis=1)[kinds] * occupancies).sum()
    assert volume.sum(dtype=np.float64) * pixel_A**3 == pytest.approx(expected, rel=2e-4)


@pytest.mark.parametrize("pixel_A", [1.0, 2.0, 3.5])
def test_transform_of_one_atom__is_its_scattering_factor(pixel_A):
    n = 32
    volume = atoms.potential(
        np.zeros((1, 3)), np.zeros(1, dtype=int), FACTORS, b_factors_A2=np.array([30.0]), n=n, pixel_size_A=pixel_A
    )
    ft = fourier.fft3_centred(volume.astype(np.float64)).real * pixel_A**3
    k = grids.frequencies_1_A((n, n, n), pixel_A)
    inside = k < 0.45 / pixel_A
    assert np.abs(ft - carbon(k, 30.0))[inside].max() < 0.02


def test_an_atom_off_centre__moves_by_whole_and_by_part_voxels():
    where = np.array([[3.0, -4.0, 6.5]])
    volume = atoms.potential(
        where, np.zeros(1, dtype=int), FACTORS, b_factors_A2=np.array([20.0]), n=32, pixel_size_A=1.0
    )
    z, y, x = (axis - 16 for axis in np.indices(volume.shape))
    weight = np.clip(volume, 0.2 * volume.max(), None) - 0.2 * volume.max()
    middle = [float((weight * axis).sum() / weight.sum()) for axis in (x, y, z)]
    assert middle == pytest.approx([3.0, -4.0, 6.5], abs=0.02)


def test_a_grid_of_one_and_a_half__gives_what_the_doubled_one_gives(monkeypatch):
    rng = np.random.default_rng(4)
    positions, kinds = rng.uniform(-10, 10, (60, 3)), rng.integers(0, 2, 60)

    def made():
        return atoms.potential(positions, kinds, FACTORS, b_factors_A2=np.full(60, 15.0), n=36, pixel_size_A=1.0)

    doubled = made()
    monkeypatch.setattr(atoms, "_LARGEST_FINE_PX", 40)
    half_more = made()
    monkeypatch.setattr(atoms, "_LARGEST_MIDDLE_PX", 40)
    plain = made()
    k = grids.frequencies_1_A((36, 36, 36), 1.0)
    near_nyquist = (k > 0.4) & (k < 0.47)
    ft, *others = (fourier.fft3_centred(item)[near_nyquist] for item in (doubled, half_more, plain))
    half_more_off, plain_off = (float(np.linalg.norm(item - ft) / np.linalg.norm(ft)) for item in others)
    # Folded back at k: exp(−8π²·(1/f)²·((f − k)² − k²)/4) of what is there; f = 1.5: 3e-3, f = 1: 0.1 to 0.3.
    assert half_more_off < 0.006
    assert plain_off > 10 * half_more_off


def test_low_pass__leaves_nothing_finer_and_the_total_as_it_was():
    rng = np.random.default_rng(2)
    positions = rng.uniform(-15, 15, (50, 3))
    volume = atoms.potential(
        positions,
        np.zeros(50, dtype=int),
        FACTORS,
        b_factors_A2=np.full(50, 20.0),
        n=48,
        pixel_size_A=1.5,
        low_pass_A=12,
    )
    power = np.abs(fourier.fft3_centred(volume)) ** 2
    k = grids.frequencies_1_A((48, 48, 48), 1.5)
    assert power[k > 1 / 12 + 4 / 72].max() < 1e-6 * power.max()
    assert volume.sum() * 1.5**3 == pytest.approx(50 * HEIGHTS_A[0].sum(), rel=1e-3)


def test_compiled_loop__equals_the_reference():
    rng = np.random.default_rng(3)
    centres = rng.uniform(-2, 14, (6, 3))
    kinds = rng.integers(0, 2, 6)
    heights, rates = rng.random((2, 5)), rng.uniform(0.1, 1.0, (2, 5))
    volumes = []
    for add in (atoms.add_gaussians, compiled.add_gaussians, compiled.add_gaussians.py_func):
        volume = np.zeros((12, 12, 12), dtype=np.float32)
        add(volume, centres, kinds, heights, rates, 4.2)
        volumes.append(volume)
    assert volumes[0].max() > 0.5
    for other in volumes[1:]:
        assert np.allclose(volumes[0], other, atol=1e-5)


def test_odd_boxes__are_refused():
    with pytest.raises(InvalidInput, match="even box"):
        atoms.potential(
            np.zeros((1, 3)), np.zeros(1, dtype=int), FACTORS, b_factors_A2=np.ones(1), n=15, pixel_size_A=1
        )
