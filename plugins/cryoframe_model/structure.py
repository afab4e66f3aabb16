"""Reading of atomic models, assemblies and scattering factors through gemmi; no maps are made here."""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gemmi
import numpy as np

from cryoframe.errors import Corrupt, InvalidInput, Refused, nearest
from cryoframe.formats.paths import open_regular

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LARGEST_BYTES = 1 << 29
_MOST_ATOMS = 4_000_000
_FARTHEST_A = 1e5
_LARGEST_OCCUPANCY = 2.0
_N_FIRST_LINES = 200
_PDB_RECORDS = {"HEADER", "TITLE", "COMPND", "CRYST1", "MODEL", "ATOM", "HETATM", "REMARK"}


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
    weights_Da
        `(s,)` atomic weight of each element.
    residues, names
        `(m,)` name of the residue each atom belongs to, and its own.
    residue_index
        `(m,)` number of the residue, counted through the assembly.
    water, polymer
        `(m,)` whether the atom belongs to a water molecule, to a polymer.
    """

    positions_A: NDArray[np.float64]
    kinds: NDArray[np.int64]
    b_factors_A2: NDArray[np.float64]
    occupancies: NDArray[np.float64]
    heights_A: NDArray[np.float64]
    widths_A2: NDArray[np.float64]
    elements: tuple[str, ...]
    alpha_carbons: tuple[dict[str, tuple[float, float, float]], ...]
    weights_Da: NDArray[np.float64]
    residues: NDArray[np.str_]
    names: NDArray[np.str_]
    residue_index: NDArray[np.int64]
    water: NDArray[np.bool_]
    polymer: NDArray[np.bool_]

    @property
    def hydrogen(self) -> NDArray[np.bool_]:
        """Which atoms are hydrogen or deuterium, `(m,)`."""
        return np.isin(np.array(self.elements)[self.kinds], ("H", "D"))

    @property
    def mass_kDa(self) -> float:
        """Sum of the atomic weights times occupancies."""
        return float(np.sum(self.weights_Da[self.kinds] * self.occupancies)) / 1000.0

    def select(self, chosen: NDArray[np.bool_]) -> Atoms:
        """Those atoms of which `chosen` `(m,)` says so; elements and chains stay."""
        per_atom = (
            "positions_A", "kinds", "b_factors_A2", "occupancies", "residues", "names", "residue_index", "water",
            "polymer",
        )  # fmt: skip
        return replace(self, **{name: getattr(self, name)[chosen] for name in per_atom})


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
    atoms = build_atoms(load_structure(path), assembly, path)
    dropped = (atoms.water & (not water)) | (atoms.hydrogen & (not hydrogen))
    return atoms.select(~dropped) if dropped.any() else atoms


def load_structure(path: Path) -> Any:
    """Read a model file, whatever its name ends with, as a gemmi structure with entities set up.

    Raises
    ------
    Corrupt
        Not a readable model, or a model without atoms.
    """
    text = model_text(path)
    try:
        kind = gemmi.CoorFormat.Mmcif if _is_cif(text) else gemmi.CoorFormat.Pdb
        structure = gemmi.read_structure_string(text, format=kind)
    except (RuntimeError, ValueError, OSError) as error:
        raise Corrupt(
            f"not a readable atomic model ({error})", path=path, expected="mmCIF or PDB", remedy="Copy it again."
        ) from error
    if not len(structure) or not structure[0].count_atom_sites():
        raise Corrupt("the model has no atoms", path=path, expected="mmCIF or PDB with coordinates")
    structure.setup_entities()
    return structure


def model_text(path: Path, limit: int = _LARGEST_BYTES) -> str:
    """Text of a model file, inflated where it is gzip, up to `limit` bytes; more is refused for whole files."""
    with open_regular(path) as stream:
        packed = stream.read(2) == b"\x1f\x8b"
        stream.seek(0)
        try:
            data = gzip.GzipFile(fileobj=stream).read(limit) if packed else stream.read(limit)
        except (EOFError, OSError, zlib.error) as error:
            raise Corrupt(f"the compressed model is damaged ({error})", path=path, remedy="Copy it again.") from error
    if len(data) >= _LARGEST_BYTES:
        raise Refused("the model file is too large", path=path, expected=f"less than {_LARGEST_BYTES} bytes of text")
    # One "?" for what is not ASCII: a character of several bytes, cut by a fixed column, is no text any more.
    return data.decode("utf-8", errors="replace").encode("ascii", errors="replace").decode("ascii")


def looks_like_model(text: str) -> bool:
    """Whether the beginning of a file is that of an mmCIF file or of a PDB file."""
    if _is_cif(text):
        return True
    return any(line[:6].rstrip() in _PDB_RECORDS for line in text.splitlines()[:_N_FIRST_LINES])


def _is_cif(text: str) -> bool:
    lines = (line.strip() for line in text.splitlines()[:_N_FIRST_LINES])
    first = next((line for line in lines if line and not line.startswith("#")), "")
    return first.lower().startswith("data_")


def build_atoms(structure: Any, assembly: str, path: Path) -> Atoms:
    """Atoms, water and hydrogen included, of an assembly of a structure.

    Raises
    ------
    InvalidInput
        The file has no assembly of that name.
    Corrupt
        Positions, B-factors or occupancies that are no numbers; atoms of no known element.
    """
    atoms = _atoms_of(_assembled(structure, assembly, path), path)
    numbers = (atoms.positions_A, atoms.b_factors_A2, atoms.occupancies)
    finite = [np.isfinite(values).reshape(len(values), -1).all(axis=1) for values in numbers]
    bad = ~np.logical_and.reduce(finite) | (np.abs(atoms.positions_A).max(axis=1) > _FARTHEST_A)
    bad |= (atoms.occupancies < 0.0) | (atoms.occupancies > _LARGEST_OCCUPANCY)
    if bad.any():
        first = int(np.argmax(bad))
        raise Corrupt(
            f"{np.count_nonzero(bad)} atoms have no usable position, B-factor or occupancy, the first "
            f"{atoms.residues[first]} {atoms.names[first]}",
            path=path,
            expected=f"finite numbers, occupancies of 0 to {_LARGEST_OCCUPANCY:g}",
            remedy="Remove or correct these atoms.",
        )
    return atoms


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
    n_copies = sum(len(part.operators) for part in known[assembly].generators)
    if n_copies * structure[0].count_atom_sites() > _MOST_ATOMS:
        raise Refused(
            f"assembly '{assembly}' is {n_copies} copies of up to {structure[0].count_atom_sites()} atoms",
            path=path,
            expected=f"at most {_MOST_ATOMS} atoms",
            remedy="Choose a smaller assembly.",
        )
    return gemmi.make_assembly(known[assembly], structure[0], gemmi.HowToNameCopiedChain.AddNumber)


class _Columns:
    """What is known of each atom, gathered site by site."""

    def __init__(self) -> None:
        self.rows: dict[str, int] = {}
        self.elements: list[Any] = []
        self.numbers: list[tuple[float, ...]] = []
        self.kinds: list[int] = []
        self.labels: list[tuple[str, str]] = []
        self.facts: list[tuple[int, bool, bool]] = []

    def add(self, residue: Any, index: int) -> None:
        polymer = residue.entity_type == gemmi.EntityType.Polymer
        facts = (index, residue.is_water(), polymer)
        for atom in residue:
            name = atom.element.name
            if name not in self.rows:
                self.rows[name] = len(self.rows)
                self.elements.append(atom.element)
            self.kinds.append(self.rows[name])
            self.numbers.append((atom.pos.x, atom.pos.y, atom.pos.z, atom.b_iso, atom.occ))
            self.labels.append((residue.name, atom.name))
            self.facts.append(facts)


def _atoms_of(model: Any, path: Path) -> Atoms:
    columns = _Columns()
    for index, residue in enumerate(residue for chain in model for residue in chain):
        columns.add(residue, index)
    for element in columns.elements:
        if element.name == "X" or element.c4322 is None or not sum(element.c4322.a) > 0:
            raise Corrupt(
                f"atoms of element '{element.name}' have no scattering factor",
                path=path,
                expected="chemical elements",
                remedy="Correct the element column, or remove these atoms.",
            )
    numbers = np.array(columns.numbers, dtype=np.float64)
    labels = np.array(columns.labels, dtype=np.str_)
    facts = np.array(columns.facts, dtype=np.int64)
    return Atoms(
        positions_A=numbers[:, :3],
        kinds=np.array(columns.kinds, dtype=np.int64),
        b_factors_A2=np.maximum(numbers[:, 3], 0.0),
        occupancies=numbers[:, 4],
        heights_A=np.array([element.c4322.a for element in columns.elements]),
        widths_A2=np.array([element.c4322.b for element in columns.elements]),
        elements=tuple(columns.rows),
        alpha_carbons=tuple(places for chain in model if (places := _alpha_carbons(chain))),
        weights_Da=np.array([element.weight for element in columns.elements]),
        residues=labels[:, 0],
        names=labels[:, 1],
        residue_index=facts[:, 0],
        water=facts[:, 1].astype(np.bool_),
        polymer=facts[:, 2].astype(np.bool_),
    )


def _alpha_carbons(chain: Any) -> dict[str, tuple[float, float, float]]:
    places = {}
    for residue in chain.get_polymer():
        atom = residue.find_atom("CA", "*", gemmi.Element("C")) or residue.find_atom("P", "*", gemmi.Element("P"))
        if atom is not None:
            places[f"{residue.seqid}{residue.name}"] = (atom.pos.x, atom.pos.y, atom.pos.z)
    return places
