"""The fast fit on profiles agrees with the 2-D fit and the truth."""

from __future__ import annotations

import numpy as np
import pytest
from ctf_world import LENS, PIXEL_A, point, power_of

from cryoframe.numerics import ctf_fit, ctf_profile


@pytest.mark.parametrize(
    ("u", "v", "angle"), [(4200, 4000, 10), (10500, 10480, 108), (15000, 13800, 33), (38000, 37000, 85)]
)
def test_profiles__give_the_defocus_back(u, v, angle):
    power = power_of(u, v, angle)
    truth = point(u, v, angle)
    limits = ctf_fit.FitRange()
    found, reference = (fit(power, PIXEL_A, LENS, limits) for fit in (ctf_profile.fit_profile, ctf_fit.fit_point))
    assert abs(found.point[0] - truth[0]) < 25.0
    assert np.hypot(*(found.point - truth)[1:3]) < 40.0
    assert found.score > 0.97 * reference.score


def test_a_phase_plate__is_found():
    power = power_of(8300, 8000, 20)
    limits = ctf_fit.FitRange(phase_shift_max_deg=180.0, defocus_max_A=20000.0)
    found = ctf_profile.fit_profile(power, PIXEL_A, LENS, limits)
    assert abs(found.point[0] - 8150.0) < 100.0
    assert abs((np.degrees(found.point[3]) + 90.0) % 180.0 - 90.0) < 6.0


def test_the_equal_phase_profile__has_rings_of_the_mean_defocus():
    samples = ctf_fit.flatten(power_of(15000, 13000, 33), PIXEL_A, low_A=30.0, high_A=5.0)
    truth = point(15000, 13000, 33)
    profile = ctf_profile.equal_phase_samples(samples, LENS, truth)
    assert profile.n_rings == 4 * samples.n_rings
    flat = np.array([truth[0], 0.0, 0.0, 0.0])
    assert ctf_fit.correlation(profile, LENS, flat) > 0.95
