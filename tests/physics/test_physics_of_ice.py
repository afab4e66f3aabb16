"""Ice in absolute figures: what it takes from the beam, its mean potential, its spectrum and how the beam stirs it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cryoframe.numerics import atoms, ice, radial
from cryoframe.numerics.fourier import fft2_centred
from cryoframe.numerics.noise import generator
from cryoframe.numerics.rotations import random_rotations

VOLTS_A2 = 47.87801


def test_mean_free_path__is_395_nm_at_300_kv_and_shorter_below():
    # Rice et al., J. Struct. Biol. 204, 38 (2018): 395 nm; Langmore & Smith (1992): 1/β² with a slow logarithm.
    assert ice.inelastic_mean_free_path_A(300.0) == 3950.0
    assert ice.inelastic_mean_free_path_A(200.0) == pytest.approx(3270.0, abs=10.0)
    # Peet, Henderson & Russo, Ultramicroscopy 203, 125 (2019): damage by 100 keV is 1.57 times that by 300 keV, the
    # elastic ratio is 2.01; the inelastic cross section lies between.
    assert 1.57 < 3950.0 / ice.inelastic_mean_free_path_A(100.0) < 2.01


def test_zero_loss_electrons__fall_exponentially_with_thickness():
    thickness = np.linspace(0.0, 3000.0, 31)
    left = ice.zero_loss_frac(thickness, 3950.0)
    np.testing.assert_allclose(np.log(left), -thickness / 3950.0, atol=1e-12)
    elastic, lossy = ice.beam_fractions(thickness, 3950.0, passed_loss_frac=1.0)
    np.testing.assert_allclose(elastic + lossy, 1.0)
    assert not ice.beam_fractions(thickness, 3950.0)[1].any()


def test_energy_slit__gains_signal_to_noise_by_exp_of_thickness():
    # Signal ∝ zero-loss electrons in both; noise power ∝ all that arrive. Ratio of signal²/noise: 1/f = exp(t/λ).
    thickness = np.array([200.0, 400.0, 800.0, 1600.0])
    elastic, lossy = ice.beam_fractions(thickness, 3950.0, passed_loss_frac=1.0)
    gain = (elastic**2 / elastic) / (elastic**2 / (elastic + lossy))
    np.testing.assert_allclose(gain, np.exp(thickness / 3950.0))
    assert np.all(np.diff(gain) > 0)


def test_mean_inner_potential__of_ice_is_4_53_volt():
    # Vulović et al., J. Struct. Biol. 183, 19 (2013), doi 10.1016/j.jsb.2013.05.008: 4.5301 V.
    assert ice.VITREOUS_ICE.mean_potential_1_A2 * VOLTS_A2 == pytest.approx(4.53, abs=0.005)


def test_ice_ring__lies_at_3_7_angstrom():
    # McMullan, Vinothkumar & Henderson (2015): strong scattering peak of amorphous ice at 3.7 Å.
    k = np.linspace(0.15, 0.4, 2001)
    peak = 1.0 / k[np.argmax(ice.VITREOUS_ICE.power_1_A(k))]
    assert peak == pytest.approx(3.7, abs=0.1)
    # The network's shells put it there; the ring term only gives it its height.
    shells_alone = replace(ice.VITREOUS_ICE, ring=(0.0, 0.0, 1.0)).structure_factor(k)
    assert 1.0 / k[np.argmax(shells_alone)] == pytest.approx(3.7, abs=0.1)
    assert np.all(ice.VITREOUS_ICE.structure_factor(np.linspace(0.0, 2.0, 4001)) > 0.0)
    # At high frequency molecules scatter on their own.
    assert ice.VITREOUS_ICE.structure_factor(np.array([3.0]))[0] == pytest.approx(1.0, abs=0.15)


def test_spectrum_of_a_layer__has_the_stated_power():
    n, pixel, thickness = 256, 0.8, 350.0
    layer = ice.amorphous_projection((n, n), pixel, thickness, rng=generator(11))
    power = np.abs(fft2_centred(layer)) ** 2 / n**2 * pixel**2
    shells = np.arange(8, n // 2 - 1)
    expected = ice.VITREOUS_ICE.power_1_A(shells / (n * pixel)) * thickness
    found = radial.radial_average(power)[shells]
    # Exponential statistics: relative deviation 1/√(independent samples), half of the shell; 4.5 σ for 119 shells.
    sigma = 1.0 / np.sqrt(0.5 * radial.shell_counts(n, n_dims=2)[shells])
    assert np.all(np.abs(found / expected - 1.0) < 4.5 * sigma + 0.02)
    assert abs(np.mean((found / expected - 1.0) / sigma)) < 0.5


def test_molecular_power__equals_that_of_randomly_placed_water_molecules():
    """Potential of real atoms, uncorrelated molecules: the same absolute spectrum with S = 1."""
    n, pixel, sigma_A = 48, 1.0, 7.0
    loose = replace(ice.VITREOUS_ICE, shells=())
    rng, m = generator(5), 1500
    # A Gaussian cloud: its own transform is gone where it is measured, exp(−(2π·0.2·7)²) of m².
    centres = sigma_A * rng.standard_normal((m, 3))
    turned = np.einsum("mij,aj->mai", random_rotations(m, rng), np.array(loose.places_A)) + centres[:, None]
    kept = np.all(np.abs(turned) < 23.0, axis=(1, 2))
    turned, m = turned[kept], int(kept.sum())
    volume = atoms.potential(
        turned.reshape(-1, 3),
        np.tile([0, 1, 2], m),
        (np.array(loose.heights_A), np.array(loose.widths_A2)),
        b_factors_A2=np.zeros(3 * m),
        n=n,
        pixel_size_A=pixel,
    )
    power = np.zeros((n, n // 2 + 1))
    for axis in range(3):
        power += np.abs(fft2_centred(volume.sum(axis=axis) * pixel) * pixel**2) ** 2 / 3.0
    index = radial.shell_index(n)
    rows, columns = np.indices(power.shape)
    k = np.hypot(columns, rows - n // 2) / (n * pixel)
    for low, high in ((10, 16), (16, 23)):
        band = (index >= low) & (index < high)
        ratio = np.mean(power[band] / (m * loose.molecular_power_A2(k[band])))
        # Samples within the width of the cloud's transform go together: n²/(4π·σ²) of them, in three projections.
        independent = 3.0 * band.sum() * 4.0 * np.pi * sigma_A**2 / n**2
        assert ratio == pytest.approx(1.0, abs=3.0 / np.sqrt(independent))


def test_stirred_ice__keeps_its_spectrum_and_forgets_as_mcmullan_measured():
    n, pixel, dose = 128, 1.0, 2.0
    first, fresh = (ice.amorphous_projection((n, n), pixel, 300.0, rng=generator(2, i)) for i in range(2))
    moved = ice.moved_ice(first, fresh, pixel, dose_e_A2=dose)
    one, two = fft2_centred(first), fft2_centred(moved)
    power_one, power_two = radial.radial_average(np.abs(one) ** 2), radial.radial_average(np.abs(two) ** 2)
    cross = radial.radial_average((one * np.conj(two)).real) / np.sqrt(power_one * power_two)
    shells = np.arange(10, 63)
    # ⟨u²⟩ = 1.1 Å² per e/Å²: amplitude exp(−(2πk)²·1.1·2/6).
    expected = np.exp(-((2.0 * np.pi * shells / n) ** 2) * 1.1 * dose / 6.0)
    sigma = 1.0 / np.sqrt(0.5 * radial.shell_counts(n, n_dims=2)[shells])
    assert np.all(np.abs(cross[shells] - expected) < 4.0 * sigma)
    assert np.all(np.abs(power_two[shells] / power_one[shells] - 1.0) < 6.0 * sigma)


def test_water__moves_more_at_200_kV_as_more_energy_is_lost_in_it():
    assert ice.ice_displacement_A2(300.0) == pytest.approx(1.1)
    more = ice.ice_displacement_A2(200.0) / ice.ice_displacement_A2(300.0)
    assert more == pytest.approx(ice.inelastic_mean_free_path_A(300.0) / ice.inelastic_mean_free_path_A(200.0))
    assert 1.15 < more < 1.3


def test_carbon__takes_by_weight_what_ice_does():
    # Malis et al. (1988), figures worked by hand: 1870 Å at 300 kV, 1610 Å at 200 kV; good to 20 %.
    found = [ice.carbon_mean_free_path_A(voltage_kV) for voltage_kV in (300.0, 200.0)]
    assert found == pytest.approx([1870.0, 1610.0], rel=0.01)
    by_weight = 2.0 * found[0] / (0.93 * ice.inelastic_mean_free_path_A(300.0))
    assert by_weight == pytest.approx(1.0, abs=0.2)
