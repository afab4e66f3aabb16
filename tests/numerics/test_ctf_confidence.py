"""What a CTF fit is judged by: rings that are there, another defocus as good, crystals, carbon."""

from __future__ import annotations

import numpy as np
import pytest
from ctf_world import LENS, PIXEL_A, N, power_of

from cryoframe.numerics import ctf_confidence, ctf_fit
from cryoframe.numerics.ctf_estimate import Demands, Recording, estimate, nothing
from cryoframe.numerics.ice import AMORPHOUS_CARBON
from cryoframe.numerics.lens import phase_per_potential_A


def judged(power, limits=None):
    limits = limits or ctf_fit.FitRange()
    fitted = ctf_fit.fit_point(power, PIXEL_A, LENS, limits)
    return fitted, ctf_confidence.judge(fitted.samples, LENS, fitted.point, limits)


def verdict(power, limits=None):
    parts, centres = nothing()
    found = estimate(
        Recording(power, PIXEL_A, 300.0, 0.0, parts, centres),
        LENS,
        limits or ctf_fit.FitRange(),
        Demands(),
        fit=ctf_fit.fit_point,
    )
    return found.verdict


def test_clear_rings__are_trusted():
    fitted, evidence = judged(power_of(15000, 14500, 20))
    assert abs(fitted.point[0] - 14750) < 25
    assert evidence.confidence_frac > 0.99
    assert evidence.cross_significance > 10
    assert verdict(power_of(15000, 14500, 20)) == ""


@pytest.mark.parametrize("seed", range(12))
def test_noise__is_never_trusted(seed):
    power = power_of(15000, 14500, 20, contrast=0.0, seed=seed)
    _, evidence = judged(power)
    assert evidence.confidence_frac < 0.9
    assert verdict(power) in ("no rings", "another defocus is nearly as good")


def test_rings_of_two_defoci__are_no_answer():
    both = 0.5 * (power_of(12000, 12000, 0, seed=1) + power_of(13500, 13500, 0, seed=2))
    _, evidence = judged(both)
    assert evidence.posterior_frac < 0.9
    assert verdict(both) == "another defocus is nearly as good"


def test_an_answer_beyond_the_range__is_said():
    limits = ctf_fit.FitRange(defocus_min_A=3000.0, defocus_max_A=14000.0)
    power = power_of(14400, 14400, 0)
    fitted, evidence = judged(power, limits)
    assert fitted.point[0] > 14200
    assert evidence.at_edge
    assert evidence.confidence_frac == 0.0
    assert "end of the searched range" in verdict(power, limits)


def test_the_searched_means__hold_the_answer_and_both_ends():
    means = ctf_confidence.searched_means(ctf_fit.FitRange(defocus_min_A=-5000.0, defocus_max_A=20000.0), 1234.5)
    assert means[0] == -5000.0
    assert means[-1] >= 20000.0
    assert 1234.5 in means
    assert np.diff(means).max() < 150.001


def test_spots_of_ice__are_seen_and_noise_has_none():
    power = power_of(15000, 14500, 20)
    assert ctf_confidence.crystal_frac(power, PIXEL_A) < 0.002
    column = round(N * PIXEL_A / 3.66 * np.cos(0.5))
    row = N // 2 + round(N * PIXEL_A / 3.66 * np.sin(0.5))
    power[row - 1 : row + 2, column - 1 : column + 2] *= 2000.0
    assert ctf_confidence.crystal_frac(power, PIXEL_A) > 0.3
    assert "crystalline ice" in verdict(power)


def test_a_pixel_too_coarse_for_the_ring_of_ice__says_nothing():
    assert ctf_confidence.crystal_frac(power_of(15000, 14500, 20), 2.5) is None


def test_carbon__is_measured_by_its_scattering():
    n = N
    k = np.hypot(np.arange(n // 2 + 1)[None, :], np.arange(n)[:, None] - n // 2) / (n * PIXEL_A)
    sigma2 = phase_per_potential_A(300.0) ** 2
    solid = 40.0 * 2.0 * sigma2 * 100.0 * AMORPHOUS_CARBON.power_1_A(k)
    power = 1.0 + np.where(k < 0.3, solid, 0.0)
    found = ctf_confidence.carbon_equivalent_A(power, PIXEL_A, dose_e_A2=40.0, voltage_kV=300.0)
    assert found == pytest.approx(100.0, rel=0.03)
    assert ctf_confidence.carbon_equivalent_A(power, PIXEL_A, dose_e_A2=0.0, voltage_kV=300.0) is None
