"""Reading of atomic models, assemblies and scattering factors through gemmi; no maps are made here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gemmi
import numpy as np

from cryoframe.errors import Corrupt, InvalidInput, nearest

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Atoms:
    """Atoms of an assembly in the file's frame.

    Parameters
    ----------
    positions_A
        `(m, 3)` (x, y, z).
    kinds
        `(m,)` row of `heights_A` and `widths_A2`.
    b_factors_A2, occupancies
        `(m,)`.
    heights_A, widths_A2
        `(s, 5)` Gaussians of each element's electron scattering factor.
    elements
        Names of the elements, in the order of the rows.
    alpha_carbons
        For each polymer chain, residue number and insertion code → position of its Cα (or P of a nucleotide).
    """

    positions_A: NDArray[np.float64]
    kinds: NDArray[np.int64]
    b_factors_A2: NDArray[np.float64]
    occupancies: NDArray[np.float64]
    heights_A: NDArray[np.float64]
    widths_A2: NDArray[np.float64]
    elements: tuple[str, ...]
    alpha_carbons: tuple[dict[str, tuple[float, float, float]], ...]


def read_atoms(path: Path, *, assembly: str = "1", water: bool = False, hydrogen: bool = True) -> Atoms:
    """Read the first model of an mmCIF or PDB file and build its biological assembly.

    Parameters
    ----------
    path
        mmCIF or PDB, plain or gzip.
    assembly
        Name of the assembly; empty takes the atoms as deposited.
    water, hydrogen
        Whether to keep water molecules, and hydrogen atoms.

    Raises
    ------
    Corrupt
        Not a readable model, or a model without atoms.
    InvalidInput
        The file has no assembly of that name.

    References
    ----------
    Scattering factors: Peng, Ren, Dudarev & Whelan, Acta Cryst. A52, 257 (1996), doi 10.1107/S0108767395014371
    (International Tables for Crystallography C, table 4.3.2.2), as tabulated in gemmi.
    """
    try:
        structure = gemmi.read_structure(str(path))
    except (RuntimeError, ValueError, OSError) as error:
        raise Corrupt(f"not a readable atomic model ({error})", path=path, expected="mmCIF or PDB") from error
    if not len(structure) or not structure[0].count_atom_sites():
        raise Corrupt("the model has no atoms", path=path, expected="mmCIF or PDB with coordinates")
    structure.setup_entities()
    model = _assembled(structure, assembly, path)
    # After the assembly, which names the waters' subchains too.
    if not water:
        model.remove_waters()
    if not hydrogen:
        model.remove_hydrogens()
    return _atoms_of(model)


def _assembled(structure: Any, assembly: str, path: Path) -> Any:
    if not assembly:
        return structure[0]
    known = {item.name: item for item in structure.assemblies}
    if assembly not in known:
        if not known and assembly == "1":
            return structure[0]
        raise InvalidInput(
            f"{path.name} has no assembly '{assembly}'{nearest(assembly, known)}",
            expected=f"one of {', '.join(known) or 'none'}",
            remedy="Set assembly to one of these, or leave it empty to take the atoms as deposited.",
        )
    return gemmi.make_assembly(known[assembly], structure[0], gemmi.HowToNameCopiedChain.AddNumber)


def _atoms_of(model: Any) -> Atoms:
    rows: dict[str, int] = {}
    tables: list[tuple[list[float], list[float]]] = []
    values: list[tuple[float, ...]] = []
    kinds: list[int] = []
    for site in model.all():
        atom = site.atom
        name = atom.element.name
        if name not in rows:
            rows[name] = len(rows)
            tables.append((atom.element.c4322.a, atom.element.c4322.b))
        kinds.append(rows[name])
        values.append((atom.pos.x, atom.pos.y, atom.pos.z, atom.b_iso, atom.occ))
    numbers = np.array(values, dtype=np.float64)
    return Atoms(
        positions_A=numbers[:, :3],
        kinds=np.array(kinds, dtype=np.int64),
        b_factors_A2=np.maximum(numbers[:, 3], 0.0),
        occupancies=numbers[:, 4],
        heights_A=np.array([heights for heights, _ in tables]),
        widths_A2=np.array([widths for _, widths in tables]),
        elements=tuple(rows),
        alpha_carbons=tuple(places for chain in model if (places := _alpha_carbons(chain))),
    )


def _alpha_carbons(chain: Any) -> dict[str, tuple[float, float, float]]:
    places = {}
    for residue in chain.get_polymer():
        atom = residue.find_atom("CA", "*", gemmi.Element("C")) or residue.find_atom("P", "*", gemmi.Element("P"))
        if atom is not None:
            places[f"{residue.seqid}{residue.name}"] = (atom.pos.x, atom.pos.y, atom.pos.z)
    return places
