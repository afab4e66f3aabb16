"""Hydrogens that a model leaves out, put where their heavy atoms' bonds say; amino acids, nucleotides and water alone.

Hydrogen is half of a protein's atoms and a third of its contrast against ice, and most models are deposited without.
Lengths are those between nuclei (Allen & Bruno, Acta Cryst. B66, 380 (2010), doi 10.1107/S0108768110012048, rounded).
Turns about single bonds that the heavy atoms leave open are staggered for methyl and amino groups and anti for
hydroxyl and thiol groups. Acids are charged, histidine carries its hydrogen on NE2.
"""

from __future__ import annotations

from typing import Any

import gemmi
import numpy as np
from numpy.typing import NDArray

_LENGTH_A = {"C": 1.09, "N": 1.01, "O": 0.97, "S": 1.34}
_BOND_A = 1.95
_PEPTIDE_A = 1.7
_WATER_HALF_ANGLE = np.radians(52.25)

#: Hydrogens of the atoms of each residue; the main chain's N and CA are added below.
_AMINO_ACIDS = {
    "ALA": "CB3", "ARG": "CB2 CG2 CD2 NE1 NH1:2 NH2:2", "ASN": "CB2 ND2:2", "ASP": "CB2", "CYS": "CB2 SG1",
    "GLN": "CB2 CG2 NE2:2", "GLU": "CB2 CG2", "GLY": "", "HIS": "CB2 CD2:1 CE1:1 NE2:1",
    "ILE": "CB1 CG1:2 CG2:3 CD1:3", "LEU": "CB2 CG1 CD1:3 CD2:3", "LYS": "CB2 CG2 CD2 CE2 NZ3", "MET": "CB2 CG2 CE3",
    "PHE": "CB2 CD1:1 CD2:1 CE1:1 CE2:1 CZ1", "PRO": "CB2 CG2 CD2", "SER": "CB2 OG1", "THR": "CB1 OG1:1 CG2:3",
    "TRP": "CB2 CD1:1 NE1:1 CE3:1 CZ2:1 CZ3:1 CH2:1", "TYR": "CB2 CD1:1 CD2:1 CE1:1 CE2:1 OH1",
    "VAL": "CB1 CG1:3 CG2:3", "MSE": "CB2 CG2 CE3", "CSX": "CB2",
}  # fmt: skip
_SUGAR = "C1':1 C3':1 C4':1 C5':2 "
_NUCLEOTIDES = {
    "A": "C2':1 O2':1 C2:1 C8:1 N6:2", "G": "C2':1 O2':1 C8:1 N1:1 N2:2", "C": "C2':1 O2':1 C5:1 C6:1 N4:2",
    "U": "C2':1 O2':1 C5:1 C6:1 N3:1", "DA": "C2':2 C2:1 C8:1 N6:2", "DG": "C2':2 C8:1 N1:1 N2:2",
    "DC": "C2':2 C5:1 C6:1 N4:2", "DT": "C2':2 C6:1 N3:1 C7:3",
}  # fmt: skip


def _counts(text: str) -> dict[str, int]:
    """Read ``CB2 NH1:2`` as two hydrogens on CB, two on NH1."""
    found = {}
    for item in text.split():
        name, _, number = item.partition(":")
        found[name if number else name[:-1]] = int(number or name[-1])
    return found


def _table() -> dict[str, dict[str, int]]:
    table = {name: {"CA": 1, "N": 1, **_counts(text)} for name, text in _AMINO_ACIDS.items()}
    table["GLY"]["CA"] = 2
    del table["PRO"]["N"]
    table.update({name: _counts(_SUGAR + text) for name, text in _NUCLEOTIDES.items()})
    return table


_HYDROGENS = _table()


def with_hydrogens(structure: Any) -> Any:
    """A copy of a structure in which residues of known kind that have no hydrogen got theirs."""
    copy = structure.clone()
    rng = np.random.Generator(np.random.Philox(0))
    for chain in copy[0]:
        before = None
        for residue in chain:
            found: list[Any] = []
            if any(atom.is_hydrogen() for atom in residue):
                pass
            elif residue.is_water():
                found = _of_water(residue, rng)
            elif residue.name in _HYDROGENS:
                found = _of_residue(residue, before)
            # Only now: adding moves the residue's atoms in memory.
            for hydrogen in found:
                residue.add_atom(hydrogen)
            before = residue
    return copy


def _of_water(residue: Any, rng: np.random.Generator) -> list[Any]:
    """Two hydrogens in a direction that nothing tells."""
    found = []
    for oxygen in residue:
        axis, across = rng.standard_normal((2, 3))
        axis /= np.linalg.norm(axis)
        across -= (across @ axis) * axis
        across /= np.linalg.norm(across)
        for number, side in enumerate((1.0, -1.0)):
            direction = np.cos(_WATER_HALF_ANGLE) * axis + side * np.sin(_WATER_HALF_ANGLE) * across
            found.append(_hydrogen(oxygen, direction, f"H{number + 1}"))
    return found


def _of_residue(residue: Any, before: Any) -> list[Any]:
    wanted, found = _HYDROGENS[residue.name], []
    labels = sorted({atom.altloc for atom in residue if atom.altloc != "\0"}) or ["\0"]
    for label in labels:
        conformer = [atom for atom in residue if atom.altloc in ("\0", label)]
        names = [atom.name for atom in conformer]
        places = np.array([atom.pos.tolist() for atom in conformer])
        places = np.concatenate([places, _previous_carbon(before, places, names)])
        near = np.linalg.norm(places[:, None] - places[None], axis=-1) < _BOND_A
        np.fill_diagonal(near, False)
        for index, atom in enumerate(conformer):
            # What has no alternatives itself gets its hydrogens once, from the first.
            if atom.name in wanted and (atom.altloc == label or label == labels[0]):
                found += _bonded(atom, (places, near, index), wanted[atom.name])
    return found


def _previous_carbon(before: Any, places: NDArray[np.float64], names: list[str]) -> NDArray[np.float64]:
    none = np.empty((0, 3))
    if before is None or "N" not in names:
        return none
    carbons: NDArray[np.float64] = np.array([atom.pos.tolist() for atom in before if atom.name == "C"]).reshape(-1, 3)
    bonded = np.asarray(np.linalg.norm(carbons - places[names.index("N")], axis=1) < _PEPTIDE_A)
    found: NDArray[np.float64] = carbons[bonded][:1]
    return found


def _bonded(atom: Any, bonds: tuple[NDArray[np.float64], NDArray[np.bool_], int], n_hydrogens: int) -> list[Any]:
    places, near, index = bonds
    neighbours = np.flatnonzero(near[index])
    if not len(neighbours):
        return []
    towards = places[neighbours] - places[index]
    towards /= np.linalg.norm(towards, axis=1)[:, None]
    if len(neighbours) == 1:
        beyond = np.flatnonzero(near[neighbours[0]])
        beyond = beyond[beyond != index]
        reference = places[beyond[0]] - places[neighbours[0]] if len(beyond) else np.array([1.0, 0.3, 0.2])
        found = _terminal(towards[0], reference, n_hydrogens, planar=atom.element.name == "N" and n_hydrogens == 2)
    else:
        found = _between(towards, n_hydrogens)
    return [
        _hydrogen(atom, direction, f"H{atom.name[1:]}{number + 1 if n_hydrogens > 1 else ''}"[:4])
        for number, direction in enumerate(found)
    ]


def _between(towards: NDArray[np.float64], n_hydrogens: int) -> list[NDArray[np.float64]]:
    """Opposite to the bonds there are; two hydrogens to both sides of the plane of two bonds."""
    away = -towards.sum(axis=0)
    away /= max(float(np.linalg.norm(away)), 1e-6)
    if n_hydrogens == 1:
        return [away]
    across = np.cross(towards[0], towards[1])
    across /= max(float(np.linalg.norm(across)), 1e-6)
    half = np.radians(54.0)
    return [np.cos(half) * away + side * np.sin(half) * across for side in (1.0, -1.0)]


def _terminal(
    bond: NDArray[np.float64], reference: NDArray[np.float64], n_hydrogens: int, *, planar: bool
) -> list[NDArray[np.float64]]:
    """On an atom with one bond: by the angle to it and the turn about it against the next bond."""
    flat = reference - (reference @ bond) * bond
    flat /= max(float(np.linalg.norm(flat)), 1e-6)
    side = np.cross(bond, flat)
    angle = np.radians(120.0 if planar else 109.5)
    turns: tuple[float, ...] = (0.0, 180.0) if planar else (180.0, 60.0, 300.0)[:n_hydrogens]
    return [
        np.cos(angle) * bond + np.sin(angle) * (np.cos(np.radians(turn)) * flat + np.sin(np.radians(turn)) * side)
        for turn in turns
    ]


def _hydrogen(parent: Any, direction: NDArray[np.float64], name: str) -> Any:
    hydrogen = gemmi.Atom()
    hydrogen.name = name
    hydrogen.element = gemmi.Element("H")
    place = np.array(parent.pos.tolist()) + _LENGTH_A.get(parent.element.name, 1.0) * direction
    hydrogen.pos = gemmi.Position(*place)
    hydrogen.occ, hydrogen.b_iso, hydrogen.altloc = parent.occ, parent.b_iso, parent.altloc
    return hydrogen
