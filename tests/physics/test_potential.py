"""Numbers of electron scattering that a reader can find elsewhere."""

from __future__ import annotations

import numpy as np
import pytest

from cryoframe.numerics import atoms
from cryoframe_model.structure import read_atoms

#: h²/(2π·m·e), turns scattering amplitude a volume [Å/Å³] into volts.
VOLTS_A2 = 47.87801


def water_box(tmp_path, side_A=24.0, density_g_cm3=0.93, seed=1):
    """Water molecules at random places, as many as the density asks for, in a PDB file."""
    n = round(density_g_cm3 * 6.02214076e23 / 18.01528 * 1e-24 * side_A**3)
    rng = np.random.default_rng(seed)
    lines = []
    for i, (x, y, z) in enumerate(rng.uniform(-side_A / 2, side_A / 2, (n, 3))):
        for j, (name, dx, dy) in enumerate((("O", 0.0, 0.0), ("H1", 0.76, 0.59), ("H2", -0.76, 0.59))):
            lines.append(
                f"HETATM{3 * i + j + 1:5d}  {name:<3} HOH A{i % 9999 + 1:4d}    "
                f"{x + dx:8.3f}{y + dy:8.3f}{z:8.3f}  1.00 20.00          {name[0]:>2}"
            )
    path = tmp_path / "water.pdb"
    path.write_text("\n".join([*lines, "END"]) + "\n")
    return path


def test_mean_inner_potential_of_amorphous_ice__is_4_53_volt(tmp_path, record_property):
    """Vulović et al., J. Struct. Biol. 183, 19 (2013), doi 10.1016/j.jsb.2013.05.008: 4.5301 V at 0.93 g/cm³."""
    side_A = 24.0
    found = read_atoms(water_box(tmp_path, side_A), assembly="", water=True)
    volume = atoms.potential(
        found.positions_A,
        found.kinds,
        (found.heights_A, found.widths_A2),
        b_factors_A2=found.b_factors_A2,
        n=48,
        pixel_size_A=1.0,
    )
    mean_V = float(volume.sum(dtype=np.float64)) / side_A**3 * VOLTS_A2
    record_property("figure", f"mean inner potential of ice {mean_V:.3f} V")
    assert mean_V == pytest.approx(4.53, abs=0.02)


def test_scattering_amplitudes_at_zero_angle__are_those_of_the_tables(tmp_path):
    """International Tables for Crystallography C (2006), table 4.3.2.2: Σ aᵢ of O is 1.9834 Å, of H 0.5288 Å."""
    found = read_atoms(water_box(tmp_path), assembly="", water=True)
    totals = dict(zip(found.elements, found.heights_A.sum(axis=1), strict=True))
    assert totals["O"] == pytest.approx(1.9834, abs=1e-4)
    assert totals["H"] == pytest.approx(0.5288, abs=1e-4)
