"""Fading of the specimen against Grant & Grigorieff 2015, and of its sites."""

from __future__ import annotations

import numpy as np
import pytest

from cryoframe.numerics import damage, filters

K = np.array([0.0, 1.0 / 20.0, 1.0 / 10.0, 1.0 / 5.0, 1.0 / 3.0, 1.0 / 2.0])


@pytest.mark.parametrize("voltage_kV", [300.0, 200.0])
def test_signal_at_a_dose__is_exp_of_half_the_critical_exposure(voltage_kV):
    printed = (0.245 * K[1:] ** -1.665 + 2.81) * (1.0 if voltage_kV == 300.0 else 0.8)
    found = damage.signal_left(K, 20.0, 20.0, voltage_kV=voltage_kV)
    assert found[0] == 1.0
    np.testing.assert_allclose(found[1:], np.exp(-20.0 / (2.0 * printed)))


def test_signal_of_a_frame__is_the_mean_over_it():
    doses = np.linspace(3.0, 8.0, 20001)
    sampled = np.array([filters.dose_transfer(K, float(dose), 300.0) for dose in doses[::40]])
    found = damage.signal_left(K, 3.0, 8.0, voltage_kV=300.0)
    np.testing.assert_allclose(found, np.trapezoid(sampled, doses[::40], axis=0) / 5.0, rtol=1e-5)
    # Very short frames go over into the value at that dose.
    short = damage.signal_left(K, 3.0, 3.0 + 1e-9, voltage_kV=300.0)
    np.testing.assert_allclose(short, damage.signal_left(K, 3.0, 3.0, voltage_kV=300.0), rtol=1e-8)


def test_dose_weights_of_frames__are_proportional_to_the_signal_that_is_left():
    ends = np.arange(1, 31) * 1.5
    weights = filters.frame_weights(K, ends, 300.0)
    left = np.stack([damage.signal_left(K, float(end), float(end), voltage_kV=300.0) for end in ends])
    np.testing.assert_allclose(weights, left / np.sqrt(np.sum(left**2, axis=0)))


def test_optimal_exposure__is_2_51_critical_exposures():
    # Hayward & Glaeser (1979); Grant & Grigorieff (2015): signal-to-noise of the plain sum, (1 − e^−x)²/x with
    # x = N/2N_e, is highest at x = 1.256, N = 2.51·N_e.
    critical = float(filters.critical_dose_e_A2(np.array([1.0 / 3.0]), 300.0)[0])
    doses = np.linspace(0.2, 40.0, 4000)
    left = np.array([float(damage.signal_left(np.array([1.0 / 3.0]), 0.0, d, voltage_kV=300.0)[0]) for d in doses])
    assert doses[np.argmax(left**2 * doses)] / critical == pytest.approx(2.513, abs=0.01)


def test_cold_specimen__bears_more_exposure():
    # Naydenova et al. (2022): 1.2 to 1.8 times slower at liquid helium.
    factor = damage.temperature_factor(30.0)
    assert 1.2 <= factor <= 1.8
    assert damage.temperature_factor(80.0) == damage.temperature_factor(100.0) == 1.0
    cold = damage.signal_left(K, 12.0 * factor, 12.0 * factor, voltage_kV=300.0, temperature_K=30.0)
    np.testing.assert_allclose(cold, damage.signal_left(K, 12.0, 12.0, voltage_kV=300.0))


def test_sites__fade_exponentially_acids_and_sulphur_first():
    residues, atoms = np.array(["GLU", "ASP", "CYS", "MET", "LYS"]), np.array(["CD", "CG", "SG", "SD", "NZ"])
    one, _ = damage.site_damage(residues, atoms, 7.0)
    two, _ = damage.site_damage(residues, atoms, 14.0)
    np.testing.assert_allclose(two, one**2)
    # Carboxyl density halves within 10 to 15 e/Å² (assumed): ln 2·18 = 12.5.
    assert damage.site_damage(residues, atoms, 12.5)[0][0] == pytest.approx(0.5, abs=0.01)
    assert np.all(one[:4] < one[4])
    cold, added_b = damage.site_damage(residues, atoms, 7.0 * damage.temperature_factor(30.0), temperature_K=30.0)
    np.testing.assert_allclose(cold, one)
    assert added_b[0] == pytest.approx(14.0)


def test_sites__fade_in_a_frame_by_the_mean_of_what_is_left_of_them():
    at = np.linspace(4.0, 9.0, 2001)
    faded = damage.signal_left(K, 4.0, 9.0, voltage_kV=300.0, lifetime_e_A2=18.0, b_rate_A4_e=2.0)
    each = [damage.signal_left(K, dose, dose, voltage_kV=300.0) for dose in at]
    occupancy = np.exp(-at / 18.0)[:, None] * np.exp(-0.25 * 2.0 * at[:, None] * K**2)
    np.testing.assert_allclose(faded, np.trapezoid(np.array(each) * occupancy, at, axis=0) / 5.0, rtol=1e-5)


def test_sites__fade_at_200_kV_as_much_faster_as_the_whole_does():
    # Grant & Grigorieff (2015): 0.8 of the critical exposure at 300 kV.
    assert damage.voltage_factor(200.0) == pytest.approx(0.8)
    assert damage.voltage_factor(300.0) == 1.0
    site = {"lifetime_e_A2": 18.0, "b_rate_A4_e": 2.0}
    high = damage.signal_left(K, 5.0, 10.0, voltage_kV=300.0, **site)
    np.testing.assert_allclose(damage.signal_left(K, 4.0, 8.0, voltage_kV=200.0, **site), high)
    names = np.array(["GLU"]), np.array(["CD"])
    for low, full in zip(
        damage.site_damage(*names, 8.0, voltage_kV=200.0), damage.site_damage(*names, 10.0), strict=True
    ):
        np.testing.assert_allclose(low, full)
