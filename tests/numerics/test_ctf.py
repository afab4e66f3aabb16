"""The CTF's layouts, paths and parameters: generic against compiled, against a plain formula, errors."""

from __future__ import annotations

import array_api_strict
import numpy as np
import pytest

from cryoframe.errors import InvalidInput
from cryoframe.numerics import aberrations as aberrations_room
from cryoframe.numerics import ctf
from cryoframe.numerics._numba import ctf as compiled_room

OPTICS = {"voltage_kV": 200.0, "cs_mm": 1.4, "amplitude_contrast": 0.08}


def _particles(m, seed=0):
    rng = np.random.default_rng(seed)
    u = rng.uniform(4e3, 3e4, m)
    return {
        "defocus_u_A": u,
        "defocus_v_A": u - rng.uniform(0, 3e3, m),
        "defocus_angle_deg": rng.uniform(-180, 180, m),
        "phase_shift_deg": rng.uniform(0, 120, m),
        "b_factor_A2": rng.uniform(0, 80, m) * (np.arange(m) % 2),
    }


ALL = ctf.Aberrations(
    beam_tilt_mrad=(1.0, -2.0),
    trefoil_rad_A3=(3.0, 4.0),
    tetrafoil_rad_A4=(20.0, -30.0),
    even_zernike_rad=(0.1, 2.0, -1.0, 3.0),
    magnification=((1.01, 0.02), (-0.01, 0.98)),
)


@pytest.mark.parametrize("n", [15, 16])
@pytest.mark.parametrize("aberrations", [None, ALL])
def test_compiled__equals_generic(n, aberrations):
    particles = _particles(6)
    fast = ctf.ctf_half(n, 1.1, **OPTICS, **particles, aberrations=aberrations)
    generic = ctf.ctf_half(n, 1.1, **OPTICS, **particles, aberrations=aberrations, fast=False)
    assert fast.shape == generic.shape == (6, n, n // 2 + 1)
    assert fast.dtype == generic.dtype == np.float32
    # γ reaches 10³ rad: float64 keeps 10⁻¹² of it, the result is rounded to float32.
    np.testing.assert_allclose(fast, generic, atol=1e-7)


def test_compiled_loop__equals_itself_as_python():
    x, y, extra = np.linspace(0, 0.4, 7), np.linspace(-0.4, 0.3, 7), np.linspace(0, 1, 7)
    columns = np.array([[2e4, 9e3], [1.8e4, 9e3], [0.3, 0.0], [0.1, 1.2], [0.0, 40.0]])
    fast, slow = np.empty((2, 7), dtype=np.float32), np.empty((2, 7), dtype=np.float32)
    compiled_room.fill(fast, x, y, extra, columns, 0.025, 1.4e7)
    compiled_room.fill.py_func(slow, x, y, extra, columns, 0.025, 1.4e7)
    np.testing.assert_allclose(fast, slow, atol=1e-7)


def test_ctf__equals_the_formula_written_out_plainly():
    wavelength = ctf.wavelength_A(200.0)
    kx, ky = 0.11, -0.07
    theta = np.arctan2(ky, kx)
    defocus = 0.5 * (15000 + 12000) + 0.5 * (15000 - 12000) * np.cos(2 * (theta - np.radians(25.0)))
    k = np.hypot(kx, ky)
    chi = np.pi * wavelength * defocus * k**2 - 0.5 * np.pi * 1.4e7 * wavelength**3 * k**4
    expected = np.sin(chi + np.arctan(0.08 / np.sqrt(1 - 0.08**2)) + np.radians(30.0)) * np.exp(-60 * k**2 / 4)
    found = ctf.ctf(
        np.array(kx),
        np.array(ky),
        **OPTICS,
        defocus_u_A=15000,
        defocus_v_A=12000,
        defocus_angle_deg=25.0,
        phase_shift_deg=30.0,
        b_factor_A2=60.0,
    )
    assert float(found) == pytest.approx(expected, abs=1e-12)


def test_ctf_half__zero_frequency_row_is_the_1d_ctf():
    half = ctf.ctf_half(32, 1.5, **OPTICS, defocus_u_A=9000.0, defocus_v_A=9000.0)
    line = ctf.ctf_1d(np.arange(17) / 48.0, **OPTICS, defocus_A=9000.0)
    np.testing.assert_allclose(half[0, 16], line, atol=1e-7)


def test_swapping_u_and_v__is_turning_the_axes_by_90_degrees():
    one = ctf.ctf_half(16, 1.0, **OPTICS, defocus_u_A=12e3, defocus_v_A=10e3, defocus_angle_deg=20.0)
    other = ctf.ctf_half(16, 1.0, **OPTICS, defocus_u_A=10e3, defocus_v_A=12e3, defocus_angle_deg=110.0)
    np.testing.assert_allclose(one, other, atol=1e-6)


def test_envelope__takes_the_generic_path__and_only_dampens():
    envelope = ctf.Envelope(focal_spread_A=60.0, source_angle_mrad=0.05)
    plain = ctf.ctf_half(16, 1.0, **OPTICS, defocus_u_A=12e3, defocus_v_A=12e3)
    damped = ctf.ctf_half(16, 1.0, **OPTICS, defocus_u_A=12e3, defocus_v_A=12e3, envelope=envelope)
    assert np.all(np.abs(damped) <= np.abs(plain) + 1e-7)
    assert damped[0, 8, 0] == plain[0, 8, 0]
    line = ctf.ctf_1d(np.arange(9) / 16.0, **OPTICS, defocus_A=12e3, envelope=envelope)
    np.testing.assert_allclose(damped[0, 8], line, atol=1e-7)


def test_coherence__written_out():
    envelope = ctf.Envelope(focal_spread_A=50.0, source_angle_mrad=0.1)
    k, wavelength = 0.3, ctf.wavelength_A(300.0)
    temporal = np.exp(-0.5 * (np.pi * wavelength * 50.0 * k**2) ** 2)
    spatial = np.exp(-((np.pi * 1e-4 / wavelength) ** 2) * (2.7e7 * wavelength**3 * k**3 - 1e4 * wavelength * k) ** 2)
    found = ctf.coherence(np.array([k]), np.array([0.0]), envelope=envelope, voltage_kV=300.0, cs_mm=2.7, defocus_A=1e4)
    assert found[0] == pytest.approx(temporal * spatial)


def test_antisymmetric_factor__has_unit_modulus_and_is_conjugate_at_minus_k():
    kx, ky = np.array([0.1, 0.2]), np.array([0.05, -0.15])
    given = {"voltage_kV": 300.0, "cs_mm": 2.7, "aberrations": ALL}
    plus, minus = ctf.aberration_factor(kx, ky, **given), ctf.aberration_factor(-kx, -ky, **given)
    np.testing.assert_allclose(np.abs(plus), 1.0)
    np.testing.assert_allclose(plus, minus.conj())
    assert ctf.aberration_half(12, 1.0, **given).dtype == np.complex64


def test_an_ideal_microscope__changes_nothing():
    factor = ctf.aberration_half(12, 1.0, voltage_kV=300.0, cs_mm=2.7, aberrations=ctf.Aberrations())
    np.testing.assert_array_equal(factor, np.ones((12, 7)))
    assert not ctf.Aberrations().changes_gamma


def test_trefoil_and_tetrafoil__are_zernike_terms():
    x, y = np.random.default_rng(0).uniform(-0.4, 0.4, (2, 20))
    by_name = ctf.Aberrations(trefoil_rad_A3=(2.0, -3.0), tetrafoil_rad_A4=(5.0, 7.0))
    by_number = ctf.Aberrations(
        odd_zernike_rad=(0, 0, -3.0, 0, 0, 2.0), even_zernike_rad=(0, 0, 0, 0, 7.0, 0, 0, 0, 5.0)
    )
    odd = [aberrations_room.antisymmetric_phase(x, y, a, wavelength_A=0.02, cs_mm=2.7) for a in (by_name, by_number)]
    even = [aberrations_room.symmetric_phase(x, y, a) for a in (by_name, by_number)]
    np.testing.assert_allclose(*odd, atol=1e-12)
    np.testing.assert_allclose(*even, atol=1e-12)


@pytest.mark.parametrize(("n", "m"), [(2, 1), (1, 3), (-1, 1)])
def test_a_zernike_polynomial_that_does_not_exist__is_refused(n, m):
    with pytest.raises(InvalidInput, match="Zernike"):
        aberrations_room.zernike(n, m, np.zeros(1), np.zeros(1))


def test_generic_path__uses_standard_array_calls_only(monkeypatch):
    monkeypatch.setattr(ctf, "namespace", lambda *arrays: array_api_strict)
    kx, ky = np.random.default_rng(5).uniform(-0.3, 0.3, (2, 11))
    particle = {"defocus_u_A": 15e3, "defocus_v_A": 13e3, "defocus_angle_deg": 40.0}
    envelope = ctf.Envelope(40.0, 0.05)
    strict = ctf.ctf(
        array_api_strict.asarray(kx),
        array_api_strict.asarray(ky),
        **OPTICS,
        **particle,
        envelope=envelope,
        aberrations=ALL,
    )
    monkeypatch.undo()
    plain = ctf.ctf(kx, ky, **OPTICS, **particle, envelope=envelope, aberrations=ALL)
    np.testing.assert_allclose(np.asarray(strict), plain, atol=1e-12)


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda: ctf.wavelength_A(0.0), "more than 0 kV"),
        (lambda: ctf.amplitude_phase_rad(1.2), "fraction"),
        (lambda: ctf.half_frequencies(8, -1.0), "positive sizes"),
    ],
)
def test_impossible_microscopes__are_refused(call, expected):
    with pytest.raises(InvalidInput, match=expected):
        call()
