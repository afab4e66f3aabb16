"""estimate_ctf on simulated fields of known CTF, ice and tilt, and on what nobody should accept."""

from __future__ import annotations

from dataclasses import replace

import ctf_campaign as campaign
import numpy as np
import pytest

from cryoframe.numerics import ice
from cryoframe_ctf import plugin, profile

N_FIELDS, N_TILTED = 60, 4


@pytest.mark.parametrize(
    ("method", "median_frac"),
    [pytest.param(plugin, 0.005, id="spectrum"), pytest.param(profile, 0.005, id="profile")],
)
def test_fields_of_a_session__are_fitted_or_refused(method, median_frac, say):
    outcomes = [campaign.fitted(campaign.drawn(index), method) for index in range(N_FIELDS)]
    figures = campaign.table(outcomes)
    for name, value in figures.items():
        say(f"{method.__name__}, {N_FIELDS} fields of 1024²: {name} {value:.4g}")
    assert figures["bad_accepted"] == 0
    assert figures["false_accepted_frac"] == 0.0
    assert figures["good_accepted_frac"] > 0.75
    assert figures["median_error_frac"] <= median_frac
    assert figures["largest_error_frac"] <= 0.03
    assert figures["intensity_thickness_within_50A_frac"] == 1.0


def test_ice_thickness_of_larger_fields__is_told_to_five_nanometres(say):
    told = 0
    for index in (3, 7, 23, 26, 33, 61):
        field = replace(campaign.drawn(index, kinds=False), shape=(2048, 2048), n_particles=150)
        fit = campaign.fitted(field).fit
        say(f"ice of {field.thickness_A:.0f} Å at {field.defocus_A:.0f} Å: {fit.ice_thickness_A}")
        if fit.ice_thickness_A is not None:
            told += 1
            assert fit.ice_thickness_A == pytest.approx(field.thickness_A, abs=50.0)
    assert told >= 4


@pytest.mark.parametrize("method", [pytest.param(plugin, id="spectrum"), pytest.param(profile, id="profile")])
def test_with_the_vacuums_intensity__the_thickness_of_every_field_is_told(method, say):
    errors = []
    for index in range(200, 204):
        field = campaign.drawn(index, kinds=False)
        fit = campaign.fitted(field, method, vacuum_grey=field.vacuum_grey).fit
        errors.append(fit.ice_thickness_A - field.thickness_A)
    say(f"ice by intensity, 4 fields, {method.__name__}: off by {min(errors):+.0f} to {max(errors):+.0f} Å")
    assert max(map(abs, errors)) <= 50.0


def test_a_wrong_mean_free_path__scales_the_thickness(say):
    field = campaign.drawn(201, kinds=False)
    free_path_A = ice.inelastic_mean_free_path_A(campaign.VOLTAGE_KV)
    told = [
        campaign.fitted(field, profile, vacuum_grey=field.vacuum_grey, mean_free_path_A=factor * free_path_A).fit
        for factor in (1.0, 1.25)
    ]
    assert told[1].ice_thickness_A == pytest.approx(1.25 * told[0].ice_thickness_A)


def test_tilted_fields__have_their_tilt_to_three_degrees(say):
    for index in range(N_TILTED):
        field = campaign.tilted(index)
        fit = campaign.fitted(field).fit
        truth = campaign.slopes(field.tilt_deg, field.axis_deg)
        found = campaign.slopes(fit.tilt_deg, fit.tilt_axis_deg)
        error = 0.5 * (fit.defocus_u_A + fit.defocus_v_A) - field.defocus_A
        say(
            f"tilt {field.tilt_deg:.1f}° about {field.axis_deg:.0f}°: {fit.tilt_deg:.1f}° about "
            f"{fit.tilt_axis_deg:.0f}°, slopes off by {np.linalg.norm(found - truth):.3f}, defocus by {error:+.0f} Å"
        )
        assert fit.accepted
        assert abs(abs(fit.tilt_deg) - field.tilt_deg) <= 3.0
        assert np.linalg.norm(found - truth) < np.tan(np.radians(3.0)) * (1.0 + np.sum(truth**2))
        assert abs(error) < 100.0
        centre_A = 0.5 * (np.array(field.shape[::-1]) - 1.0) * field.pixel_size_A
        there = field.defocus_A + (fit.local_defocus[:, :2] - centre_A) @ truth
        # Parts of 700 Å alone are known to some 50 Å.
        assert np.sqrt(np.mean((fit.local_defocus[:, 2] - there) ** 2)) < 150.0
