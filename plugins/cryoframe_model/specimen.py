"""Hook: atomic models as specimens of the simulated microscope; arithmetic is in ``cryoframe.numerics``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cryoframe import FadingPart, Specimen, SpecimenRequest, Volume, hookimpl
from cryoframe.errors import InvalidInput, Refused, nearest
from cryoframe.numerics.atoms import potential
from cryoframe.numerics.bounds import check_bounds
from cryoframe.numerics.damage import SITES
from cryoframe.numerics.fourier import good_size
from cryoframe.numerics.solvent import displaced_ice
from cryoframe_model.hinge import Hinge, parse_hinge, turned
from cryoframe_model.hydrogens import with_hydrogens
from cryoframe_model.seed import placement
from cryoframe_model.structure import Atoms, build_atoms, load_structure, looks_like_model, model_text

_FIRST_BYTES = 1 << 16
#: Free space between the outermost atom and the box: atoms' own width, the softened border of the ice, and some.
_MARGIN_A = 8.0
_ATOM_RADIUS_A = 1.7
_LARGEST_BOX_PX = 512
#: A polymer's residue has five heavy atoms or more; a trace of one atom each has no mass to speak of.
_LEAST_ATOMS = 3.5


@dataclass(frozen=True)
class _Placed:
    """Atoms of one conformation with their places in the box."""

    atoms: Atoms
    positions_A: NDArray[np.float64]
    mass_kDa: float
    conformation: float


@hookimpl
def open_specimen(path: Path, request: SpecimenRequest) -> tuple[Specimen, ...] | None:
    """Make a specimen for each conformation asked for of an mmCIF or PDB file.

    The centre is that of :func:`cryoframe_model.seed.place`, that of the model as it is in the file: conformations and
    absent residues do not move what stays. Hydrogens that the file lacks are added to residues of known kind, to the
    mass whether the potential is asked to have them or not. Waters are those of the file; ``hinge`` is written as in
    :mod:`cryoframe_model.hinge`. What fades first is :data:`cryoframe.numerics.damage.SITES`.
    """
    if not looks_like_model(model_text(path, _FIRST_BYTES)):
        return None
    _check(request)
    hinge = parse_hinge(request.hinge) if request.hinge else None
    conformations = _conformations(path, request, hinge)
    n = _box(conformations, request)
    name = request.name or path.name.removesuffix(".gz").rsplit(".", 1)[0]
    origin = f"reference-derived: {path.name}"
    return tuple(_specimen(item, (name, origin), request, n) for item in conformations)


def _check(request: SpecimenRequest) -> None:
    """Refuse what cannot be meant before anything is read."""
    check_bounds(request, pixel_size_A=(0.2, 20.0), box_px=(0, _LARGEST_BOX_PX), b_factor_A2=(-10000.0, 10000.0))
    places = np.array(request.conformations, dtype=np.float64)
    if not len(places) or not np.all((places >= 0.0) & (places <= 1.0)):
        raise InvalidInput(
            f"conformations = {request.conformations} were set",
            expected="one or more places from 0 to 1",
            remedy="Correct conformations.",
        )
    if places.any() and not request.hinge:
        raise InvalidInput(
            f"conformations = {request.conformations} were set without a hinge",
            expected="a hinge, or (0,)",
            remedy='Set hinge, for example "A:1-200; axis 0,0,1 through A/100; degrees 20".',
        )
    if request.box_px % 2:
        raise InvalidInput(f"box_px = {request.box_px} was set", expected="an even number", remedy="Correct box_px.")


def _conformations(path: Path, request: SpecimenRequest, hinge: Hinge | None) -> list[_Placed]:
    structure = load_structure(path)
    _check_whole(build_atoms(structure, "", path), path)
    # Whatever the potential holds, the mass is that of the whole molecule.
    structure = with_hydrogens(structure)
    still = build_atoms(structure, request.assembly, path)
    if not np.any(~still.water & ~still.hydrogen & (still.occupancies > 0)):
        raise InvalidInput(
            f"{path.name} holds nothing but water, hydrogens or atoms of no occupancy",
            expected="atoms of a molecule",
            remedy="Give the model of a molecule, or correct the occupancies.",
        )
    turn, middle = placement(still.select(~still.water & ~still.hydrogen), request.symmetry)
    _check_residues(still, request.without_residues)
    placed = []
    for place in request.conformations:
        atoms = still
        if hinge is not None:
            # Before the assembly is built, so that every copy of a chain moves alike.
            atoms = build_atoms(turned(structure, hinge, place, path), request.assembly, path)
        atoms = atoms.select(~np.isin(atoms.residues, [name.upper() for name in request.without_residues]))
        mass_kDa = atoms.select(~atoms.water).mass_kDa
        atoms = atoms.select((~atoms.water | request.water) & (~atoms.hydrogen | request.hydrogen))
        if not len(atoms.kinds) or not mass_kDa > 0.0:
            raise InvalidInput(
                f"nothing is left of {path.name}", expected="atoms of a molecule", remedy="Take fewer residues away."
            )
        placed.append(_Placed(atoms, (atoms.positions_A - middle) @ turn.T, mass_kDa, place))
    return placed


def _check_whole(atoms: Atoms, path: Path) -> None:
    heavy = atoms.polymer & ~atoms.hydrogen
    n_residues = len(np.unique(atoms.residue_index[heavy]))
    if n_residues and np.count_nonzero(heavy) < _LEAST_ATOMS * n_residues:
        raise Refused(
            f"{np.count_nonzero(heavy)} atoms make up {n_residues} residues of the polymer",
            path=path,
            expected="a model with side chains",
            remedy="Give the full model; a trace scatters too little to stand for a molecule.",
        )


def _check_residues(atoms: Atoms, without: tuple[str, ...]) -> None:
    known = {str(name) for name in np.unique(atoms.residues)}
    for name in without:
        if name.upper() not in known:
            others = sorted(known - {str(name) for name in np.unique(atoms.residues[atoms.polymer])})
            raise InvalidInput(
                f"the model has no residue '{name}'{nearest(name.upper(), known)}",
                expected=f"names in the model, such as {', '.join(others[:12]) or ', '.join(sorted(known)[:12])}",
                remedy="Correct without_residues.",
            )


def _box(conformations: list[_Placed], request: SpecimenRequest) -> int:
    """Side of the box that holds every conformation however it is turned [px]."""
    reach_A = max(float(np.linalg.norm(item.positions_A, axis=1).max()) for item in conformations)
    needed_A = 2.0 * (reach_A + _MARGIN_A)
    needed = good_size(int(np.ceil(needed_A / request.pixel_size_A)))
    n = request.box_px or needed
    if request.box_px and n * request.pixel_size_A < needed_A:
        raise InvalidInput(
            f"the model needs {needed_A:.0f} Å to turn in, the box has {n * request.pixel_size_A:.0f} Å",
            expected=f"box_px of {needed} or more at {request.pixel_size_A:g} Å",
            remedy="Set box_px to 0 for a box as large as is needed, or a larger pixel_size_A.",
        )
    if n > _LARGEST_BOX_PX:
        raise InvalidInput(
            f"the model needs a box of {n} px of {request.pixel_size_A:g} Å",
            expected=f"at most {_LARGEST_BOX_PX} px",
            remedy=f"Set pixel_size_A to {needed_A / _LARGEST_BOX_PX:.2g} or more.",
        )
    return n


def _specimen(item: _Placed, name_and_origin: tuple[str, str], request: SpecimenRequest, n: int) -> Specimen:
    name, origin = name_and_origin
    atoms, box = item.atoms, (n, request.pixel_size_A, request.b_factor_A2)
    fading = _fading_groups(atoms) if request.site_damage else []
    stays = np.ones(len(atoms.kinds), dtype=np.bool_)
    for chosen, _, _ in fading:
        stays &= ~chosen
    data = _rendered(item, stays, *box)
    if request.solvent:
        heavy = item.positions_A[~atoms.hydrogen]
        data -= displaced_ice(heavy, n=n, pixel_size_A=request.pixel_size_A)
    symmetry = request.symmetry if item.conformation == 0.0 else "C1"
    parts = tuple(
        FadingPart(Volume(_rendered(item, chosen, *box), request.pixel_size_A, symmetry, origin), lifetime, rate)
        for chosen, lifetime, rate in fading
    )
    return Specimen(
        name=name,
        volume=Volume(data, request.pixel_size_A, symmetry, origin),
        mass_kDa=item.mass_kDa,
        radius_A=float(np.linalg.norm(item.positions_A, axis=1).max()) + _ATOM_RADIUS_A,
        conformation=item.conformation,
        fading=parts,
    )


def _fading_groups(atoms: Atoms) -> list[tuple[NDArray[np.bool_], float, float]]:
    """Atoms of equal fate: which they are, their lifetime [e/Å²] and the growth of their B-factor."""
    fates = dict.fromkeys((site.lifetime_e_A2, site.b_rate_A4_e) for site in SITES)
    groups = []
    for fate in fates:
        chosen = np.zeros(len(atoms.kinds), dtype=np.bool_)
        for site in SITES:
            if (site.lifetime_e_A2, site.b_rate_A4_e) == fate:
                chosen |= (atoms.residues == site.residue) & np.isin(atoms.names, site.atoms)
        if chosen.any():
            groups.append((chosen, *fate))
    return groups


def _rendered(
    item: _Placed, chosen: NDArray[np.bool_], n: int, pixel_size_A: float, b_factor_A2: float
) -> NDArray[np.float32]:
    """Potential in vacuum of the chosen atoms."""
    atoms, positions_A = item.atoms.select(chosen), item.positions_A[chosen]
    b_factors_A2 = atoms.b_factors_A2 if b_factor_A2 < 0 else np.full(len(atoms.kinds), b_factor_A2)
    return potential(
        positions_A,
        atoms.kinds,
        (atoms.heights_A, atoms.widths_A2),
        b_factors_A2=b_factors_A2,
        n=n,
        pixel_size_A=pixel_size_A,
        occupancies=atoms.occupancies,
    )
