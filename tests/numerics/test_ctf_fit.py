"""CTF fit on spectra of known truth: simulated, with and without a phase plate; compiled loop against reference."""

from __future__ import annotations

import numpy as np
import pytest

from cryoframe.errors import InvalidInput
from cryoframe.numerics import ctf, ctf_fit, ctf_rings
from cryoframe.numerics._numba import ctf_fit as compiled

PIXEL_A, N = 1.2, 512
SCOPE = {"voltage_kV": 300.0, "cs_mm": 2.7, "amplitude_contrast": 0.1}


def simulated_power(u, v, angle, *, phase=0.0, contrast=1.0, decay_A2=30.0, n_tiles=60, seed=1):
    """Mean of `n_tiles` exponentially distributed periodograms: envelope · CTF² on a sloping background."""
    kx, ky = ctf.half_frequencies(N, PIXEL_A)
    k2 = kx**2 + ky**2
    transfer = ctf.ctf_half(
        N, PIXEL_A, defocus_u_A=u, defocus_v_A=v, defocus_angle_deg=angle, phase_shift_deg=phase, **SCOPE
    )[0]
    background = 1.0 + 8.0 * np.exp(-k2 / 0.002) + 0.5 * np.exp(-k2 / 0.05)
    mean = background + contrast * np.exp(-decay_A2 * k2) * transfer**2
    return mean * np.random.default_rng(seed).gamma(n_tiles, 1.0 / n_tiles, size=mean.shape)


def angle_between(a, b):
    return abs((a - b + 90) % 180 - 90)


@pytest.mark.parametrize(
    ("u", "v", "angle"),
    [(4200, 4000, 10), (10500, 10480, -72), (15000, 13800, 33), (22955, 21803, -55), (38000, 37000, 85)],
)
def test_simulated_spectra__give_their_defocus_back(u, v, angle):
    fit = ctf_fit.fit_spectrum(simulated_power(u, v, angle), PIXEL_A, **SCOPE)
    assert abs(fit.defocus_u_A - u) < 25
    assert abs(fit.defocus_v_A - v) < 25
    if u - v >= 200:
        assert angle_between(fit.defocus_angle_deg, angle) < 3


@pytest.mark.parametrize("phase", [40.0, 90.0, 130.0])
def test_a_phase_plate__is_found(phase):
    limits = ctf_fit.FitRange(phase_shift_max_deg=180.0, defocus_max_A=20000.0)
    fit = ctf_fit.fit_spectrum(simulated_power(8300, 8000, 20, phase=phase), PIXEL_A, **SCOPE, limits=limits)
    assert abs(fit.defocus_u_A - 8300) < 100
    assert angle_between(fit.phase_shift_deg, phase) < 6


def test_score__is_far_lower_for_a_spectrum_without_rings():
    with_rings = ctf_fit.fit_spectrum(simulated_power(15000, 14500, 20), PIXEL_A, **SCOPE)
    without = ctf_fit.fit_spectrum(simulated_power(15000, 14500, 20, contrast=0.0), PIXEL_A, **SCOPE)
    # n samples of noise correlate with the best of some 10⁴ models by about √(2 ln 10⁴ / n), n ≈ ½π·136².
    assert without.score < np.sqrt(2 * np.log(1e4) / (0.5 * np.pi * 136**2)) * 1.3
    assert with_rings.score > 4 * without.score
    assert without.fit_resolution_A > 1.5 * with_rings.fit_resolution_A
    assert with_rings.fit_resolution_A < 5


def test_compiled_sums__equal_the_reference():
    samples = ctf_fit.flatten(simulated_power(9000, 8500, 15), PIXEL_A, low_A=30, high_A=4)
    lens = ctf_fit.Lens.of(300.0, 2.7, 0.1)
    terms = lens.terms(np.array([8700.0, 200.0, -100.0, 0.1]))
    sums = []
    for function in (ctf_fit.fringe_sums, compiled.fringe_sums):
        rings = np.empty(samples.n_rings)
        sums.append((*function(samples.table, samples.ring, samples.weight, terms, rings), rings))
    assert sums[0][0] == pytest.approx(sums[1][0], rel=1e-4)
    assert sums[0][1] == pytest.approx(sums[1][1], rel=1e-3)
    assert np.allclose(sums[0][2], sums[1][2], atol=1e-2)
    few = slice(0, 500)
    rings, again = np.empty(samples.n_rings), np.empty(samples.n_rings)
    arguments = (samples.table[few], samples.ring[few], samples.weight[few], terms)
    interpreted = compiled.fringe_sums.py_func(*arguments, rings)
    assert interpreted == pytest.approx(compiled.fringe_sums(*arguments, again), rel=1e-6)


def test_a_scan_over_defoci__equals_one_correlation_after_the_other():
    samples = ctf_fit.by_sector(ctf_fit.flatten(simulated_power(9000, 8500, 15), PIXEL_A, low_A=30, high_A=4))
    lens, point = ctf_fit.Lens.of(300.0, 2.7, 0.1), np.array([0.0, 200.0, -100.0, 0.1])
    means = np.linspace(3000.0, 50000.0, 240)
    single = [ctf_fit.correlation(samples, lens, np.array([mean, *point[1:]])) for mean in means]
    assert np.allclose(ctf_fit.scan(samples, lens, point, means), single, atol=1e-4)
    few = slice(0, 60)
    found = []
    for function in (compiled.scan_sums, compiled.scan_sums.py_func):
        rings, sums = np.empty((5, samples.n_rings)), np.empty((5, 2))
        arguments = (samples.table[few], samples.ring[few], samples.weight[few], lens.terms(point), 1e-3)
        function(*arguments, rings, sums)
        found.append((rings, sums))
    assert np.allclose(found[0][0], found[1][0], rtol=1e-4, atol=1e-4)
    assert np.allclose(found[0][1], found[1][1], rtol=1e-4, atol=1e-4)


def test_background__has_no_say_in_the_score():
    power = simulated_power(12000, 11500, 30)
    kx, ky = ctf.half_frequencies(N, PIXEL_A)
    slope = np.exp(1.5 * np.sqrt(kx**2 + ky**2))
    one = ctf_fit.fit_spectrum(power, PIXEL_A, **SCOPE)
    other = ctf_fit.fit_spectrum(7.0 * power * slope, PIXEL_A, **SCOPE)
    assert abs(one.defocus_u_A - other.defocus_u_A) < 5
    assert one.score == pytest.approx(other.score, abs=0.005)


def test_profile_and_picture__show_the_fit():
    fit = ctf_fit.fit_spectrum(simulated_power(12000, 11000, 30), PIXEL_A, **SCOPE)
    assert fit.profile.shape[0] == 3
    low = fit.profile[0] < 0.2
    assert np.corrcoef(fit.profile[1][low], fit.profile[2][low])[0, 1] > 0.8
    assert fit.picture.shape[0] == fit.picture.shape[1]
    assert np.abs(fit.picture).max() <= 1


def test_profile__ends_a_little_beyond_the_rings_and_its_fit_has_their_height():
    power = simulated_power(15000, 14500, 30, decay_A2=120.0)
    fit = ctf_fit.fit_spectrum(power, PIXEL_A, **SCOPE, limits=ctf_fit.FitRange(high_A=6.0))
    k, observed, fitted = fit.profile.astype(np.float64)
    step = k[1] - k[0]
    assert k[-1] == pytest.approx(max(1 / 6.0, 1.3 / fit.fit_resolution_A), abs=step)
    assert k[-1] < 0.5 / PIXEL_A - 10 * step
    # Rings fade by exp(−120·k²): one scale for all is far off at both ends, one for each neighbourhood is not.
    for low, high in ((0.05, 0.08), (0.10, 0.13), (0.15, 0.18)):
        chosen = (k > low) & (k < high)
        assert fitted[chosen].std() == pytest.approx(observed[chosen].std(), rel=0.25)


@pytest.mark.parametrize("angle", [-72.0, -0.5, 0.0, 33.0, 179.9])
def test_angle_of_astigmatism__is_modulo_180(angle):
    fit = ctf_fit.fit_spectrum(simulated_power(15000, 13800, angle), PIXEL_A, **SCOPE)
    assert 0.0 <= np.float32(fit.defocus_angle_deg) < 180.0
    assert angle_between(fit.defocus_angle_deg, angle) < 3


@pytest.mark.parametrize("across", [0.0, -0.0, -1e-300, -1e-12, 1e-12])
def test_angle_beside_the_x_axis__never_reads_180(across):
    assert 0.0 <= ctf_rings.axis_angle_deg(1.0, across) < 180.0


def test_a_range_of_too_few_rings__is_refused():
    with pytest.raises(InvalidInput, match="rings"):
        ctf_fit.flatten(np.ones((64, 33)), 1.0, low_A=20, high_A=10)
    with pytest.raises(InvalidInput, match="positive"):
        ctf_fit.flatten(np.zeros((512, 257)), 1.0, low_A=30, high_A=4)
