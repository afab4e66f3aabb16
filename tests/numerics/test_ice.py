"""The specimen film: geometry, refusals and the layout of amorphous layers."""

from __future__ import annotations

import numpy as np
import pytest

from cryoframe.errors import InvalidInput
from cryoframe.numerics import ice
from cryoframe.numerics.noise import generator


def test_thickness__is_plane_and_meniscus_and_never_negative():
    film = ice.IceFilm(300.0, ramp=(0.1, -0.2), rim_extra_A=200.0, hole_radius_A=1000.0, hole_centre_A=(50.0, 60.0))
    assert film.at(50.0, 60.0) == pytest.approx(300.0)
    assert film.at(1050.0, 60.0) == pytest.approx(300.0 + 100.0 + 200.0)
    assert film.at(50.0, 560.0) == pytest.approx(300.0 - 100.0 + 50.0)
    assert ice.IceFilm(10.0, ramp=(-1.0, 0.0)).at(100.0, 0.0) == 0.0


def test_support__is_everything_outside_the_hole():
    film = ice.IceFilm(hole_radius_A=20.0, hole_centre_A=(31.0, 31.0))
    layer = ice.support_projection((64, 64), 1.0, film, thickness_A=100.0, rng=generator(1))
    x, y = ice.pixel_positions_A((64, 64), 1.0)
    assert not layer[film.in_hole(x, y)].any()
    mean = ice.AMORPHOUS_CARBON.mean_potential_1_A2 * 100.0
    outside = layer[~film.in_hole(x, y)]
    assert outside.mean() == pytest.approx(mean, abs=4.0 * outside.std() / np.sqrt(outside.size))


def test_layers__of_no_thickness_are_empty_and_the_same_seed_gives_the_same_ice():
    thickness = np.full((16, 16), 300.0)
    thickness[:, :8] = 0.0
    layer = ice.amorphous_projection((16, 16), 1.0, thickness, rng=generator(3))
    again = ice.amorphous_projection((16, 16), 1.0, thickness, rng=generator(3))
    assert layer.dtype == np.float32
    assert not layer[:, :8].any()
    assert layer[:, 8:].all()
    np.testing.assert_array_equal(layer, again)


def test_impossible_films__are_refused_by_name():
    with pytest.raises(InvalidInput, match="-1"):
        ice.IceFilm(-1.0)
    with pytest.raises(InvalidInput, match="0 kV"):
        ice.inelastic_mean_free_path_A(0.0)
    with pytest.raises(InvalidInput, match="mean free path of 0"):
        ice.zero_loss_frac(1.0, 0.0)
    with pytest.raises(InvalidInput, match=r"share of 1\.5"):
        ice.beam_fractions(1.0, 1.0, passed_loss_frac=1.5)
    with pytest.raises(InvalidInput, match="negative thickness"):
        ice.amorphous_projection((8, 8), 1.0, -1.0, rng=generator(1))
    with pytest.raises(InvalidInput, match="one shape"):
        ice.moved_ice(np.zeros((8, 8), np.float32), np.zeros((4, 8), np.float32), 1.0, dose_e_A2=1.0)
