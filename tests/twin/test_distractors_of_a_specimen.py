"""Aggregates and broken particles of a real specimen, with the parts that fade, and the names the truth gets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cryoframe import Specimen, SpecimenRequest
from cryoframe.twin.distractors import aggregate_of, broken_of
from cryoframe_model.specimen import open_specimen


@pytest.fixture(scope="module")
def particle(shared_data: Path) -> Specimen:
    request = SpecimenRequest(pixel_size_A=4.0, site_damage=True, symmetry="O")
    found = open_specimen(path=shared_data / "models" / "7a4m.cif", request=request)
    assert found is not None
    return found[0]


def total(specimen: Specimen) -> float:
    parts = sum(part.volume.data.sum(dtype=float) for part in specimen.fading)
    return float(specimen.volume.data.sum(dtype=float) + parts)


def test_an_aggregate__has_the_mass_and_potential_of_its_copies(particle, figure):
    made = aggregate_of(particle, n_copies=3, rng=np.random.default_rng(1))
    assert (made.name, made.truth_class, made.volume.symmetry) == ("7a4m_aggregate", "aggregate", "C1")
    assert made.mass_kDa == pytest.approx(3 * particle.mass_kDa)
    assert total(made) == pytest.approx(3 * total(particle), rel=0.01)
    assert {part.volume.data.shape for part in made.fading} == {made.volume.data.shape}
    assert [part.lifetime_e_A2 for part in made.fading] == [part.lifetime_e_A2 for part in particle.fading]
    figure("radius of an aggregate of three against one, apoferritin", made.radius_A / particle.radius_A)
    # Three spheres that touch reach 1 + 2/√3 = 2.15 radii, in a row 3; the faces of the 24-mer lie nearer than its
    # corners, which the radius is of.
    assert 1.9 < made.radius_A / particle.radius_A < 3.1


def test_a_broken_particle__has_its_share_of_everything(particle):
    made = broken_of(particle, kept_frac=0.5, rng=np.random.default_rng(2))
    assert (made.name, made.truth_class, made.volume.symmetry) == ("7a4m_broken", "broken", "C1")
    assert made.mass_kDa == pytest.approx(0.5 * particle.mass_kDa)
    assert total(made) == pytest.approx(0.5 * total(particle), rel=0.1)
    for whole, left in zip(particle.fading, made.fading, strict=True):
        assert left.volume.data.sum(dtype=float) == pytest.approx(0.5 * whole.volume.data.sum(dtype=float), rel=0.2)
    assert made.radius_A <= particle.radius_A
