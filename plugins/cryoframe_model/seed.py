"""make_initial_volume ``from_model``: the map of an atomic model; the arithmetic is in ``numerics.atoms``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cryoframe import ParticleStack, StageContext, Volume, hookimpl
from cryoframe.errors import ConfigError, InvalidInput
from cryoframe.numerics.atoms import potential
from cryoframe.numerics.bounds import check_bounds
from cryoframe.numerics.superpose import orientations_for, superpose
from cryoframe.numerics.symmetry import canonical_group, rotation_matrices
from cryoframe_model.structure import Atoms, read_atoms

DEVICES = ("cpu",)
_SHARED_RESIDUES = 20
_SAME_CHAIN_A = 3.0


@dataclass(frozen=True)
class Params:
    """Which model, how it is turned, and how much of it to trust."""

    model: Path | None = None  #: mmCIF or PDB file of the model, plain or gzip; must be given
    assembly: str = "1"  #: biological assembly to build; empty = the atoms as deposited
    low_pass_A: float = 30.0  #: nothing finer than this is taken from the model
    symmetry: str = "C1"  #: point group onto whose axes the model is turned; C1 = leave it as it lies
    orientation: int = 0  #: which of the ways that fit the symmetry, least moment of inertia about x first; D2 has six
    centre: bool = True  #: put the symmetry centre, or the centre of the atoms, into the middle of the box
    b_factor_A2: float = -1.0  #: one B-factor for all atoms; negative = the model's own
    water: bool = False  #: keep water molecules

    def __post_init__(self) -> None:
        """Refuse values that cannot be meant."""
        check_bounds(self, low_pass_A=(0.0, 1000.0), orientation=(0, 1000), b_factor_A2=(-10000.0, 10000.0))
        rotation_matrices(self.symmetry)


@hookimpl
def make_initial_volume(stack: ParticleStack, params: Params, ctx: StageContext) -> Volume:
    """Make the potential map of a model, on the box and pixel of the particles.

    The result says that it derives from a reference; every later map carries that on.
    """
    if params.model is None:
        raise ConfigError("no model file is given", expected='model = "some.cif"', remedy="Set `model` of from_model.")
    stack.require("make a map for", fewest=0, ctf=False)
    atoms = read_atoms(params.model, assembly=params.assembly, water=params.water)
    ctx.report(1, 3, f"read {len(atoms.kinds)} atoms of {params.model.name}")
    positions_A = place(atoms, params.symmetry, orientation=params.orientation, centre=params.centre)
    n = int(stack.images.shape[-1])
    _check_fits(positions_A, n * stack.pixel_size_A)
    ctx.report(2, 3, "potential")
    b_factors_A2 = atoms.b_factors_A2
    if params.b_factor_A2 >= 0:
        b_factors_A2 = np.full(len(b_factors_A2), params.b_factor_A2)
    data = potential(
        positions_A,
        atoms.kinds,
        (atoms.heights_A, atoms.widths_A2),
        b_factors_A2=b_factors_A2,
        n=n,
        pixel_size_A=stack.pixel_size_A,
        low_pass_A=params.low_pass_A,
        occupancies=atoms.occupancies,
    )
    ctx.report(3, 3, "")
    low_pass_A = max(params.low_pass_A, 2.0 * stack.pixel_size_A)
    origin = f"reference-derived: {params.model.name} low-passed to {low_pass_A:g} Å"
    return Volume(data, stack.pixel_size_A, canonical_group(params.symmetry), origin)


def operators(atoms: Atoms) -> NDArray[np.float64]:
    """Rotations `(m, 3, 3)` that lay the first polymer chain on each chain of the same residues, itself included."""
    found = []
    first = atoms.alpha_carbons[0] if atoms.alpha_carbons else {}
    for other in atoms.alpha_carbons:
        shared = [name for name in first if name in other]
        if len(shared) < max(_SHARED_RESIDUES, len(first) // 2):
            continue
        rotation, _, left_A = superpose(
            np.array([first[name] for name in shared]), np.array([other[name] for name in shared])
        )
        if left_A < _SAME_CHAIN_A:
            found.append(rotation)
    return np.array(found) if found else np.eye(3)[None]


def place(atoms: Atoms, symmetry: str, *, orientation: int = 0, centre: bool = True) -> NDArray[np.float64]:
    """Positions `(m, 3)` [Å] turned onto the axes of the point group and moved to the origin.

    Parameters
    ----------
    atoms
        The assembly.
    symmetry, orientation
        Point group and which of the ways to fit it, ordered by the moments of inertia about x, y, z.
    centre
        Move the centre to the origin.

    Raises
    ------
    InvalidInput
        The assembly does not have the symmetry, or there is no such orientation.
    """
    turn, middle = placement(atoms, symmetry, orientation=orientation)
    turned = (atoms.positions_A - middle) @ turn.T
    return turned if centre else turned + middle


def placement(atoms: Atoms, symmetry: str, *, orientation: int = 0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rotation `(3, 3)` and centre `(3,)` [Å] that :func:`place` uses: placed = rotation·(position − centre)."""
    middle = _centre(atoms)
    centred = atoms.positions_A - middle
    turns = orientations_for(operators(atoms), symmetry)
    if not 0 <= orientation < len(turns):
        raise InvalidInput(f"orientation = {orientation} was set", expected=f"0 to {len(turns) - 1} for {symmetry}")
    turns.sort(key=lambda turn: _inertia(centred @ turn.T))
    return turns[orientation], middle


def _inertia(positions: NDArray[np.float64]) -> tuple[float, ...]:
    """Moments about x, y, z, rounded so that equal ones are equal."""
    squares = np.mean(positions**2, axis=0)
    return tuple(float(np.round(value, 1)) for value in squares.sum() - squares)


def _centre(atoms: Atoms) -> NDArray[np.float64]:
    """Mean over the chains that match, residue by residue: the fixed point of their symmetry; else of all atoms."""
    chains = [chain for chain in atoms.alpha_carbons if len(chain) >= _SHARED_RESIDUES]
    if not chains:
        return np.asarray(atoms.positions_A.mean(axis=0))
    shared = [name for name in chains[0] if all(name in chain for chain in chains)]
    if len(shared) < _SHARED_RESIDUES:
        return np.asarray(atoms.positions_A.mean(axis=0))
    return np.asarray(np.mean([[chain[name] for name in shared] for chain in chains], axis=(0, 1)))


def _check_fits(positions_A: NDArray[np.float64], box_A: float) -> None:
    widest_A = 2.0 * float(np.abs(positions_A).max())
    if widest_A > box_A:
        raise InvalidInput(
            f"the model is {widest_A:.0f} Å wide about the centre of a box of {box_A:.0f} Å",
            expected="a model within the box",
            remedy="Extract larger boxes, or check the pixel size.",
        )
