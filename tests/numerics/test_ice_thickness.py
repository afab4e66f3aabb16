"""Thickness of the ice from rings that fade and turn over, and from the law of zero loss."""

from __future__ import annotations

import numpy as np
import pytest
from ctf_world import LENS, PIXEL_A, point, power_of

from cryoframe.errors import InvalidInput
from cryoframe.numerics import ctf_fit, ice, ice_thickness


def found(thickness_A, *, contrast=1.0, blur_A2=0.0, spread_A=(0.0, 0.0)):
    power = power_of(9000, 8700, 20, contrast=contrast, thickness_A=thickness_A, n_tiles=400)
    samples = ctf_fit.flatten(power, PIXEL_A, low_A=30.0, high_A=0.0)
    if blur_A2:
        samples.table[:, 3] *= np.exp(-blur_A2 * samples.table[:, 0])
    return ice_thickness.thickness_from_rings(
        samples, power, LENS, point(9000, 8700, 20), pixel_size_A=PIXEL_A, spread_A=spread_A
    )


@pytest.mark.parametrize("thickness_A", [450.0, 600.0, 900.0, 1500.0])
def test_thickness__is_found_from_the_node(thickness_A):
    thickness = found(thickness_A)
    assert thickness.is_known
    assert thickness.thickness_A == pytest.approx(thickness_A, abs=50.0)


def test_a_blurred_image_of_thin_ice__has_no_known_thickness():
    assert not found(0.0, blur_A2=8.0).is_known


def test_rings_that_are_not_there__tell_no_thickness():
    assert not found(400.0, contrast=0.0).is_known


def test_defocus_that_differs_over_the_field__is_not_taken_for_ice():
    # To second order blurs add in quadrature: what a spread explains is taken off the thickness.
    with_spread, without = found(700.0, spread_A=(400.0, 0.0)), found(700.0)
    assert with_spread.thickness_A < without.thickness_A - 50.0


def test_intensity__is_the_law_of_zero_loss():
    free_path_A = ice.inelastic_mean_free_path_A(300.0)
    left = float(ice.zero_loss_frac(420.0, free_path_A))
    assert ice_thickness.thickness_from_intensity_A(33.0 * left, 33.0, free_path_A) == pytest.approx(420.0)
    assert ice_thickness.thickness_from_intensity_A(34.0, 33.0, free_path_A) == 0.0
    with pytest.raises(InvalidInput, match="thickness") as caught:
        ice_thickness.thickness_from_intensity_A(-1.0, 33.0, free_path_A)
    assert caught.value.remedy
