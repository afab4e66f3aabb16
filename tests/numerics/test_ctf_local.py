"""Defocus by place: slopes and tilts, and planes through spectra of parts."""

from __future__ import annotations

import numpy as np
import pytest
from ctf_world import LENS, PIXEL_A, point, power_of
from hypothesis import given
from hypothesis import strategies as st

from cryoframe.numerics import ctf_fit, ctf_local
from cryoframe.numerics.field import StageTilt


@given(st.floats(-70.0, 70.0), st.floats(0.0, 179.99))
def test_tilt_of_slopes__undoes_the_stage(tilt_deg, axis_deg):
    stage = StageTilt(tilt_deg, axis_deg)
    origin, x, y = (stage.specimen_plane(*place)[2] for place in ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0)))
    tilt, axis = ctf_local.tilt_of_slopes(float(x - origin), float(y - origin))
    assert tilt == pytest.approx(tilt_deg, abs=1e-3) or abs(tilt + tilt_deg) < 1e-3
    again = StageTilt(tilt, axis)
    assert float(again.specimen_plane(1.0, 0.0)[2]) == pytest.approx(float(x), abs=1e-4)
    assert float(again.specimen_plane(0.0, 1.0)[2]) == pytest.approx(float(y), abs=1e-4)


@pytest.mark.parametrize(("slope_x", "slope_y"), [(0.0, 0.0), (0.3, -0.2), (-0.1, 0.6)])
def test_a_plane__is_found_through_noisy_parts(slope_x, slope_y):
    places = np.array([(x, y) for y in (-600.0, 0.0, 600.0) for x in (-600.0, 0.0, 600.0)])
    defoci = 15000.0 + places @ [slope_x, slope_y]
    parts = [
        power_of(z + 200.0, z - 200.0, 30, contrast=0.5, n_tiles=4, n=256, seed=seed) for seed, z in enumerate(defoci)
    ]
    whole = np.mean(parts, axis=0)
    samples = ctf_fit.flatten(whole, PIXEL_A, low_A=30.0, high_A=5.0)
    found = ctf_local.fit_plane(
        ctf_local.part_samples(np.array(parts, dtype=np.float32), samples), places, LENS, point(15200, 14800, 30)
    )
    assert found.slopes == pytest.approx((slope_x, slope_y), abs=max(3.0 * found.slope_error, 0.02))
    assert found.slope_error < 0.05
    assert found.mean_A == pytest.approx(15000.0, abs=60.0)
    assert np.abs(found.defocus_A - defoci).max() < 200.0
    assert found.tilt_deg == pytest.approx(ctf_local.tilt_of_slopes(*found.slopes)[0])


def test_the_spread_over_a_field__is_freed_of_its_error():
    plane = ctf_local.DefocusPlane(0.0, 0.0, 1.0, (0.03, 0.5), 0.04, 15000.0, np.zeros(1))
    assert ctf_local.spread_A(plane, (1000.0, 1000.0)) == pytest.approx((0.0, 1000.0 * np.sqrt(0.25 - 0.0016)))
