"""Fields of particles: layout, rules of overlap, refusals."""

from __future__ import annotations

import numpy as np
import pytest

from cryoframe.errors import InvalidInput
from cryoframe.numerics import field, packing
from cryoframe.numerics.ice import IceFilm
from cryoframe.numerics.noise import generator

DENSE = field.Species(8.0, 440.0, 70.0)
FILM = IceFilm(400.0, hole_radius_A=20000.0)
EXTENT = (3000.0, 4000.0)


def test_the_same_seed__gives_the_same_field_and_all_is_inside():
    one, two = (field.place_particles(EXTENT, FILM, (DENSE,), rng=generator(1, 2)) for _ in range(2))
    for name in ("x_A", "y_A", "z_A", "rot_deg", "tilt_deg", "psi_deg", "species"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    assert len(one) > 20
    assert one.x_A.min() >= 0.0
    assert one.x_A.max() <= 4000.0
    assert one.y_A.max() <= 3000.0
    assert np.abs(one.z_A).max() <= 200.0 - 70.0


@pytest.mark.parametrize(("rule", "n_axes"), [("none", 3), ("none_in_projection", 2)])
def test_particles_without_overlap__keep_their_distance(rule, n_axes):
    placed = field.place_particles(EXTENT, FILM, (DENSE,), rng=generator(4), overlap=rule)
    places = np.stack([placed.x_A, placed.y_A, placed.z_A], axis=1)[:, :n_axes]
    distance = np.linalg.norm(places[:, None] - places[None], axis=2)[np.triu_indices(len(placed), 1)]
    assert distance.min() >= 140.0


def test_free_particles__do_overlap():
    placed = field.place_particles(EXTENT, FILM, (DENSE,), rng=generator(4))
    distance = np.hypot(placed.x_A[:, None] - placed.x_A, placed.y_A[:, None] - placed.y_A)
    assert distance[np.triu_indices(len(placed), 1)].min() < 140.0


def test_particles_of_two_species__are_named_by_their_index():
    light = field.Species(0.5, 440.0, 40.0)
    placed = field.place_particles(EXTENT, FILM, (light, DENSE), rng=generator(5), overlap="none")
    counts = np.bincount(placed.species, minlength=2)
    assert 0 < counts[0] < counts[1]
    assert placed.species.dtype == np.int32


def test_ice_that_is_too_thin__holds_nobody():
    placed = field.place_particles(EXTENT, IceFilm(100.0), (DENSE,), rng=generator(6))
    assert len(placed) == 0
    assert field.expected_count(EXTENT, IceFilm(100.0), DENSE) == 0.0


def test_particles__stay_out_of_the_support():
    film = IceFilm(400.0, hole_radius_A=1000.0, hole_centre_A=(2000.0, 1500.0))
    placed = field.place_particles(EXTENT, film, (DENSE,), rng=generator(7))
    assert len(placed) > 5
    assert np.all(film.in_hole(placed.x_A, placed.y_A))


def test_too_many_particles__are_refused_with_a_remedy():
    with pytest.raises(InvalidInput, match="Lower the concentration"):
        field.place_particles(
            (1000.0, 1000.0), FILM, (field.Species(400.0, 440.0, 70.0),), rng=generator(8), overlap="none_in_projection"
        )


def test_impossible_fields__are_refused_by_name():
    with pytest.raises(InvalidInput, match="'some'"):
        field.place_particles(EXTENT, FILM, (DENSE,), rng=generator(1), overlap="some")
    with pytest.raises(InvalidInput, match="0 species"):
        field.place_particles(EXTENT, FILM, (), rng=generator(1))
    with pytest.raises(InvalidInput, match="positive mass"):
        field.place_particles(EXTENT, FILM, (field.Species(1.0, 0.0, 50.0),), rng=generator(1))
    with pytest.raises(InvalidInput, match="κ"):
        field.von_mises_fisher((0, 0, 1), -1.0, 3, generator(1))
    with pytest.raises(InvalidInput, match="weights"):
        field.random_views((field.View(weight=0.0),), 3, generator(1))


def test_packing__leaves_places_that_do_not_collide_as_they_are():
    first = np.array([[0.0, 0.0, 0.0], [50.0, 0.0, 0.0], [51.0, 0.0, 0.0]])
    placed = packing.without_overlap(first, np.full(3, 10.0), lambda index: np.array([0.0, 100.0, 0.0]))
    np.testing.assert_array_equal(placed, [[0.0, 0.0, 0.0], [50.0, 0.0, 0.0], [0.0, 100.0, 0.0]])
