"""Weak-phase images and multislice: compiled equals generic, layout, refusals."""

from __future__ import annotations

import numpy as np
import pytest

from cryoframe.errors import InvalidInput
from cryoframe.numerics import exposure, fourier, lens, multislice, projection
from cryoframe.numerics._numba import exposure as kernels
from cryoframe.numerics.aberrations import Aberrations
from cryoframe.numerics.ctf import Envelope
from cryoframe.numerics.grids import frequency_axes_1_A
from cryoframe.numerics.noise import generator

SHAPE, PIXEL = (24, 32), 1.3
FULL = lens.Lens(
    voltage_kV=200.0,
    cs_mm=2.0,
    defocus_u_A=9000.0,
    defocus_v_A=7000.0,
    defocus_angle_deg=20.0,
    phase_shift_deg=30.0,
    envelope=Envelope(60.0, 0.08),
    aberrations=Aberrations(
        beam_tilt_mrad=(0.4, -0.2), tetrafoil_rad_A4=(5.0, 2.0), magnification=((1.02, 0.003), (-0.002, 0.99))
    ),
    b_factor_A2=10.0,
    aperture_mrad=8.0,
)


@pytest.fixture
def potential():
    return 1e-3 * generator(1).standard_normal(SHAPE).astype(np.float32)


@pytest.mark.parametrize("state", [FULL, lens.Lens(), lens.Lens(envelope=Envelope(40.0)), lens.Lens(b_factor_A2=20.0)])
@pytest.mark.parametrize("as_python", [False, True])
def test_compiled_slab__equals_generic(potential, state, as_python, monkeypatch):
    if as_python:
        monkeypatch.setattr(kernels, "add_slab", kernels.add_slab.py_func)
    kx, ky = frequency_axes_1_A(SHAPE, PIXEL, centred_half=False)
    ft = fourier.rfft2(potential).astype(np.complex64)
    start = ft[::-1].copy()
    one, two = start.copy(), start.copy()
    exposure.add_slab(one, ft, kx, ky, state)
    exposure.generic_add_slab(two, ft, kx, ky, state)
    assert np.abs(one - start).max() > 0.1 * np.abs(ft).max()
    assert np.abs(one - two).max() < 1e-6 * np.abs(two).max()


def test_stamps__at_whole_pixels_are_copies_and_are_cut_at_the_border():
    patches = generator(2).standard_normal((3, 8, 8)).astype(np.float32)
    field = np.zeros(SHAPE, np.float32)
    x, y = np.array([10.0, 1.0, -40.0]) * PIXEL, np.array([12.0, 22.0, 5.0]) * PIXEL
    exposure.stamp(field, patches, x, y, PIXEL)
    np.testing.assert_allclose(field[8:16, 6:14], patches[0], atol=1e-6)
    np.testing.assert_allclose(field[18:24, 0:5], patches[1][:6, 3:], atol=1e-6)
    assert field.sum() == pytest.approx(patches[0].sum() + patches[1][:6, 3:].sum(), rel=1e-4)


def test_stamps__at_parts_of_pixels_are_shifted_patches():
    y, x = np.indices((16, 16)) - 8
    patch = np.exp(-(x**2 + y**2) / 8.0).astype(np.float32)
    field = np.zeros((32, 32), np.float32)
    exposure.stamp(field, patch[None], np.array([12.3]), np.array([17.6]), 1.0)
    rows, columns = np.indices((32, 32))
    np.testing.assert_allclose(field, np.exp(-((columns - 12.3) ** 2 + (rows - 17.6) ** 2) / 8.0), atol=2e-3)


def test_slabs__hold_every_particle_once_near_its_depth():
    z = np.array([-101.0, 3.0, 99.0, 101.0])
    index, depths = exposure.slab_index(z, 50.0)
    assert np.all(np.abs(depths[index] - z) <= 25.0)
    patches = np.ones((4, 4, 4), np.float32)
    place = np.full(4, 10.0)
    layers = list(exposure.slabs((20, 20), 1.0, patches, x_A=place, y_A=place, z_A=z, thickness_A=50.0))
    assert [depth for depth, _ in layers] == [-100.0, 0.0, 100.0]
    assert [float(layer.sum()) for _, layer in layers] == [16.0, 16.0, 32.0]


def test_projections__are_in_the_units_of_a_phase():
    volume = np.zeros((16, 16, 16), np.float32)
    volume[6:10, 6:10, 6:10] = 0.1
    flat = exposure.particle_projections(projection.prepare_volume(volume), np.eye(3)[None], 1.5)
    np.testing.assert_allclose(flat[0], volume.sum(axis=0) * 1.5, atol=0.03)


def test_wrong_shapes_and_empty_fields__are_refused_by_name(potential):
    with pytest.raises(InvalidInput, match="no slab"):
        exposure.weak_phase_contrast([], PIXEL, lens.Lens())
    with pytest.raises(InvalidInput, match="one shape"):
        exposure.weak_phase_contrast([(0.0, potential), (1.0, potential[:8])], PIXEL, lens.Lens())
    with pytest.raises(InvalidInput, match="no slice"):
        multislice.exit_wave([], 1.0, 1.0, voltage_kV=300.0)
    with pytest.raises(InvalidInput, match="one shape"):
        multislice.exit_wave([potential, potential[:8]], 1.0, 1.0, voltage_kV=300.0)
    with pytest.raises(InvalidInput, match="divisor"):
        multislice.slice_potential(np.zeros((6, 4, 4), np.float32), 1.0, 4)
    with pytest.raises(InvalidInput, match="slabs of 0"):
        exposure.slab_index(np.zeros(3), 0.0)
    with pytest.raises(InvalidInput, match="m positions"):
        exposure.stamp(potential, np.zeros((2, 4, 4), np.float32), np.zeros(1), np.zeros(2), 1.0)
    with pytest.raises(InvalidInput, match="dose of -1"):
        exposure.expected_electrons(potential, -1.0, 1.0)
    with pytest.raises(InvalidInput, match="Cc of -1"):
        lens.focal_spread_A(-1.0, 300.0, 0.7)
    with pytest.raises(InvalidInput, match="aperture of 0"):
        lens.aperture_1_A(lens.Lens(aperture_mrad=0.0))
