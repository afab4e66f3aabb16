"""Statistics of fields of particles: Poisson counts, von Mises–Fisher directions, tilt."""

from __future__ import annotations

import numpy as np
import pytest

from cryoframe.numerics import field, rotations
from cryoframe.numerics.ice import IceFilm
from cryoframe.numerics.noise import generator

EXTENT = (2000.0, 3000.0)
SPECIES = field.Species(1.0, 500.0, 60.0)


def test_number_density__of_one_milligram_of_one_megadalton():
    # 1 mg/mL of 1 MDa is 1 µmol/L: 6.022e14 per mL = 6.022e-10 per Å³.
    assert field.Species(1.0, 1000.0, 50.0).number_1_A3 == pytest.approx(6.02214e-10, rel=1e-5)


def test_counts__are_poisson_with_mean_concentration_times_volume():
    film = IceFilm(300.0, ramp=(0.02, 0.0), rim_extra_A=100.0, hole_radius_A=3000.0, hole_centre_A=(1500.0, 1000.0))
    n_fields = 1500
    counts = np.array(
        [len(field.place_particles(EXTENT, film, (SPECIES,), rng=generator(1, i))) for i in range(n_fields)]
    )
    mean = field.expected_count(EXTENT, film, SPECIES)
    # ∫ (300 + r²·100/3000²) dA over the rectangle, by hand: r² has the mean (2000² + 3000²)/12.
    by_hand = SPECIES.number_1_A3 * 6e6 * (300.0 + 100.0 / 9e6 * (4e6 + 9e6) / 12.0)
    assert mean == pytest.approx(by_hand, rel=1e-4)
    assert abs(counts.mean() - mean) < 3.0 * np.sqrt(mean / n_fields)
    # Variance of a Poisson sample's variance: (μ + 2μ²)/n.
    assert abs(counts.var() - mean) < 3.0 * np.sqrt((mean + 2.0 * mean**2) / n_fields)


def test_places__are_uniform_in_the_ice():
    film = IceFilm(400.0, hole_radius_A=1e5)
    crowd = field.place_particles((2e4, 2e4), film, (SPECIES,), rng=generator(2))
    n = len(crowd)
    for values, low, high in ((crowd.x_A, 0.0, 2e4), (crowd.y_A, 0.0, 2e4), (crowd.z_A, -140.0, 140.0)):
        unit = np.sort((values - low) / (high - low))
        # Kolmogorov: beyond 1.95/√n with probability 0.001.
        assert np.abs(unit - (np.arange(n) + 0.5) / n).max() < 1.95 / np.sqrt(n)


def test_thicker_ice__holds_more_particles_in_proportion():
    film = IceFilm(400.0, ramp=(0.02, 0.0), hole_radius_A=1e5, hole_centre_A=(1e4, 1e4))
    crowd = field.place_particles((2e4, 2e4), film, (SPECIES,), rng=generator(3))
    thin, thick = np.sum(crowd.x_A < 1e4), np.sum(crowd.x_A >= 1e4)
    # Mean thickness 300 and 500 Å.
    share = 500.0 / 800.0
    assert abs(thick - share * len(crowd)) < 3.0 * np.sqrt(share * (1.0 - share) * len(crowd))
    assert thin + thick == len(crowd)


def test_surface_share__sits_at_the_two_interfaces():
    stuck = field.Species(1.0, 500.0, 60.0, surface_frac=0.8)
    crowd = field.place_particles((2e4, 2e4), IceFilm(400.0, hole_radius_A=1e5), (stuck,), rng=generator(4))
    at_surface = np.isclose(np.abs(crowd.z_A), 140.0)
    n = len(crowd)
    assert abs(at_surface.sum() - 0.8 * n) < 3.0 * np.sqrt(0.16 * n)
    assert abs(np.sum(crowd.z_A[at_surface] > 0) - 0.4 * n) < 3.0 * np.sqrt(0.24 * n)


@pytest.mark.parametrize("kappa", [0.0, 0.5, 5.0, 50.0, 2000.0])
def test_von_mises_fisher__has_its_mean_resultant_and_variance(kappa):
    n, mean = 20000, rotations.directions(40.0, 70.0)
    drawn = field.von_mises_fisher(mean, kappa, n, generator(5))
    np.testing.assert_allclose(np.linalg.norm(drawn, axis=1), 1.0)
    # Mardia & Jupp, Directional Statistics (2000), sec. 9.3.2: A(κ) = coth κ − 1/κ; E[w²] = 1 − 2A/κ.
    resultant = 1.0 / np.tanh(kappa) - 1.0 / kappa if kappa > 0 else 0.0
    second = 1.0 - 2.0 * resultant / kappa if kappa > 0 else 1.0 / 3.0
    along = drawn @ mean
    assert abs(along.mean() - resultant) < 3.0 * along.std() / np.sqrt(n)
    assert abs((along**2).mean() - second) < 3.0 * (along**2).std() / np.sqrt(n)
    across = drawn - along[:, None] * mean
    assert np.all(np.abs(across.mean(axis=0)) < 4.0 * across.std(axis=0) / np.sqrt(n) + 1e-12)


def test_views__follow_their_mixture():
    views = (field.View(0.0, 90.0, 200.0, 3.0), field.View(0.0, 0.0, 200.0, 1.0))
    turned = field.random_views(views, 4000, generator(6))
    axis = turned[:, 2]
    near_side = np.sum(axis @ np.array([1.0, 0.0, 0.0]) > 0.8)
    assert abs(near_side - 3000) < 3.0 * np.sqrt(4000 * 0.75 * 0.25)
    np.testing.assert_allclose(turned @ np.swapaxes(turned, 1, 2), np.broadcast_to(np.eye(3), turned.shape), atol=1e-12)
    psi = rotations.matrix_to_euler(turned)[2]
    # Uniform angle: mean of its unit vectors is 0 ± 1/√(2n) an axis.
    assert abs(np.mean(np.exp(1j * np.radians(psi)))) < 4.0 / np.sqrt(2.0 * 4000)


def test_tilted_stage__packs_more_into_view_along_a_slope():
    stage, film = field.StageTilt(40.0, 30.0), IceFilm(300.0, hole_radius_A=1e6)
    counts, slopes = [], []
    for i in range(60):
        placed = field.place_particles((6000.0, 6000.0), film, (SPECIES,), rng=generator(7, i), stage=stage)
        counts.append(len(placed))
        _, _, plane = stage.specimen_plane(placed.x_A - 3000.0, placed.y_A - 3000.0)
        slopes.append(np.abs(placed.z_A - plane).max())
    # The same field covers 1/cos α more film.
    mean = field.expected_count((6000.0, 6000.0), film, SPECIES) / np.cos(np.radians(40.0))
    assert abs(np.mean(counts) - mean) < 3.0 * np.sqrt(mean / 60)
    # Along the beam no particle is further from the midplane than (t/2 − r)/cos α.
    assert max(slopes) <= 90.0 / np.cos(np.radians(40.0)) + 1e-6
    _, _, high = stage.specimen_plane(-np.sin(np.radians(30.0)) * 1000.0, np.cos(np.radians(30.0)) * 1000.0)
    assert high == pytest.approx(1000.0 * np.tan(np.radians(40.0)))


def test_tilted_ice__is_longer_along_the_beam():
    film = IceFilm(300.0, ramp=(0.0, 0.1), hole_radius_A=1e6, hole_centre_A=(1500.0, 1000.0))
    x, y = np.array([1500.0, 1500.0]), np.array([1000.0, 1500.0])
    path = field.beam_path_A(film, x, y, EXTENT, field.StageTilt(60.0, 0.0))
    # cos 60° = ½: twice as long; 500 Å up the field is 1000 Å up the film, which is 100 Å thicker there.
    np.testing.assert_allclose(path, [600.0, 800.0])


def test_tilted_stage__turns_poses_with_it():
    top = field.Species(1.0, 500.0, 60.0, views=(field.View(0.0, 0.0, 1e8),))
    placed = field.place_particles(EXTENT, IceFilm(300.0), (top,), rng=generator(8), stage=field.StageTilt(25.0, 90.0))
    # Views from the top with the stage flat are seen 25° off it.
    np.testing.assert_allclose(placed.tilt_deg, 25.0, atol=0.1)
