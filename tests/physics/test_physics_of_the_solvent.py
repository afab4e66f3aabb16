"""Displaced solvent: volumes of known bodies, clefts, and the contrast of protein against ice."""

from __future__ import annotations

import numpy as np
import pytest

from cryoframe.errors import InvalidInput
from cryoframe.numerics import solvent
from cryoframe.numerics.ice import VITREOUS_ICE


def lattice(radius_A: float, step_A: float = 1.5) -> np.ndarray:
    """Atoms that fill a ball."""
    axis = np.arange(-radius_A, radius_A + step_A, step_A)
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    points = np.stack([x.ravel(), y.ravel(), z.ravel()], axis=1)
    return points[np.linalg.norm(points, axis=1) <= radius_A]


def test_space_of_a_ball_of_atoms__is_a_ball_with_a_radius_of_an_atom_more():
    space = solvent.molecular_space(lattice(15.0), n=64, pixel_size_A=1.0)
    # Atoms end at 14.3 Å on average, spheres of 1.7 Å on them: 4/3·π·(14.3 + 1.7)³, ± half a voxel of the radius.
    radius = (space.sum() * 3.0 / (4.0 * np.pi)) ** (1.0 / 3.0)
    assert radius == pytest.approx(16.0, abs=0.8)
    assert space[32, 32, 32]
    assert not space[0, 0, 0]


def test_cleft_narrower_than_the_probe__belongs_to_the_molecule():
    one, two = np.array([[0.0, 0.0, -2.5]]), np.array([[0.0, 0.0, 2.5]])
    pair = np.concatenate([one, two])
    grown = solvent.molecular_space(pair, n=64, pixel_size_A=0.5)
    bare = solvent.molecular_space(pair, n=64, pixel_size_A=0.5, probe_A=0.0, shrink_A=0.0)
    assert grown[32, 32, 32]
    assert not bare[32, 32, 32]
    far = solvent.molecular_space(pair * 2.0, n=64, pixel_size_A=0.5)
    assert not far[32, 32, 32]


def test_contrast_of_protein__is_its_potential_less_that_of_ice():
    space = solvent.molecular_space(lattice(15.0), n=64, pixel_size_A=1.0)
    # Vulović et al. (2013): mean inner potential of protein about 7 V, of ice 4.53 V; 47.878 V·Å².
    volume = np.where(space, 7.0 / 47.878, 0.0).astype(np.float32)
    contrast = solvent.displace_solvent(volume, space, 1.0)
    assert contrast[32, 32, 32] * 47.878 == pytest.approx(7.0 - 4.53, abs=0.01)
    assert abs(contrast[0, 0, 0]) < 1e-5
    # Softening moves no potential.
    taken = volume.sum(dtype=float) - contrast.sum(dtype=float)
    assert taken == pytest.approx(VITREOUS_ICE.mean_potential_1_A2 * space.sum(), rel=1e-4)


def test_wrong_boxes__are_refused_by_name():
    with pytest.raises(InvalidInput, match="box of 1 px"):
        solvent.molecular_space(np.zeros((1, 3)), n=1, pixel_size_A=1.0)
    with pytest.raises(InvalidInput, match="one shape"):
        solvent.displace_solvent(np.zeros((4, 4, 4), np.float32), np.zeros((2, 2, 2), bool), 1.0)
