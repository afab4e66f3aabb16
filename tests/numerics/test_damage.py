"""Damage: refusals, shapes and what is left untouched."""

from __future__ import annotations

import numpy as np
import pytest

from cryoframe.errors import InvalidInput
from cryoframe.numerics import damage


def test_site_damage__touches_the_listed_atoms_alone():
    residues = np.array(["GLU", "GLU", "GLY", "CYS", "MET", "MET"])
    atoms = np.array(["CA", "OE1", "CA", "SG", "SD", "CB"])
    occupancy, added_b = damage.site_damage(residues, atoms, 10.0)
    np.testing.assert_array_equal(occupancy < 1.0, [False, True, False, True, True, False])
    np.testing.assert_array_equal(added_b > 0.0, occupancy < 1.0)
    occupancy, added_b = damage.site_damage(residues, atoms, 0.0)
    assert np.all(occupancy == 1.0)
    assert not added_b.any()


def test_impossible_exposures__are_refused_by_name():
    with pytest.raises(InvalidInput, match=r"from 5.0 to 4\.0"):
        damage.signal_left(np.array([0.1]), 5.0, 4.0, voltage_kV=300.0)
    with pytest.raises(InvalidInput, match=r"300\.0 K"):
        damage.temperature_factor(300.0)
    with pytest.raises(InvalidInput, match="-1"):
        damage.site_damage(np.array(["GLU"]), np.array(["CD"]), -1.0)
    with pytest.raises(InvalidInput, match="as many"):
        damage.site_damage(np.array(["GLU"]), np.array(["CD", "CG"]), 1.0)
