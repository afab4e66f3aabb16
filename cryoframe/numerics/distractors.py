"""What is on a grid instead of whole single particles: aggregates and broken ones, made from a particle's map.

Maps are potentials against ice, 0 away from the molecule, `(n, n, n)` with the origin at voxel n//2. Crystals are in
crystals. What an arrangement or a break does to one map it can do to others of the same box, so that parts that fade
under the beam stay in their places.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cryoframe.errors import InvalidInput
from cryoframe.numerics.backend import F32, Bools, Floats, Ints, Reals
from cryoframe.numerics.fourier import fourier_pad, good_size
from cryoframe.numerics.map_potential import molecule_envelope
from cryoframe.numerics.noise import coloured_noise
from cryoframe.numerics.rotations import random_rotations
from cryoframe.numerics.turned_volume import turned_volume

#: Molecules are laid against each other on points of this spacing.
_POINT_A = 4.0
#: Share of a copy's points that may lie in others, so that they touch.
_CONTACT_FRAC = 0.005
_MOST_COPIES = 16
_MARGIN_A = 8.0
#: Standard deviation and smallest feature of a broken surface (assumed).
_ROUGH_A, _ROUGH_FINEST_A = 4.0, 24.0
_BREAK_EDGE_A = 2.0


@dataclass(frozen=True, slots=True)
class Arrangement:
    """Where the copies of an aggregate are.

    Parameters
    ----------
    rotations
        `(m, 3, 3)`; turn column vectors (x, y, z) of the map.
    shifts_A
        `(m, 3)` (x, y, z) of the copies' origins from that of the aggregate.
    radius_A
        Of the sphere about the origin that holds all.
    """

    rotations: Reals
    shifts_A: Reals
    radius_A: float

    def box_px(self, pixel_size_A: float) -> int:
        """Even box that the aggregate can turn in."""
        return good_size(int(np.ceil(2.0 * (self.radius_A + _MARGIN_A) / pixel_size_A)))


@dataclass(frozen=True, slots=True)
class Break:
    """What is left of a broken particle.

    Parameters
    ----------
    kept
        `(n, n, n)` float32, 1 where the particle is left, 0 where it is gone.
    shift_px
        (z, y, x) whole voxels that bring the middle of what is left to the origin.
    radius_A
        Of the sphere about that middle.
    """

    kept: F32
    shift_px: tuple[int, int, int]
    radius_A: float

    def applied(self, volume: Floats) -> F32:
        """What is left of a map `(n, n, n)` of the same box, its middle at voxel n//2."""
        left = np.roll(np.asarray(volume) * self.kept, self.shift_px, axis=(0, 1, 2))
        return np.asarray(left, dtype=np.float32)


def plan_aggregate(volume: Floats, pixel_size_A: float, *, n_copies: int, rng: np.random.Generator) -> Arrangement:
    """Lay copies of a particle, turned at random, against each other until they touch.

    Each copy comes from a random side towards one of those already there, chosen at random, and stops where a two
    hundredth of it would be in others.

    Parameters
    ----------
    volume
        `(n, n, n)` of the particle.
    pixel_size_A
        Its voxel.
    n_copies
        2 or more.
    rng
        Source of randomness.

    Raises
    ------
    InvalidInput
        A number of copies out of bounds, a map without a molecule.
    """
    if not 2 <= n_copies <= _MOST_COPIES:
        raise InvalidInput(f"an aggregate of {n_copies} copies was asked for", expected=f"2 to {_MOST_COPIES}")
    points_A = _points(volume, pixel_size_A)
    rotations = random_rotations(n_copies, rng)
    shifts_A = np.zeros((n_copies, 3))
    taken = _cells(points_A @ rotations[0].T)
    diameter_A = 2.0 * float(np.linalg.norm(points_A, axis=1).max())
    for copy in range(1, n_copies):
        turned_A = points_A @ rotations[copy].T
        start_A = shifts_A[rng.integers(copy)]
        direction = rng.standard_normal(3)
        direction /= np.linalg.norm(direction)
        reach_A = diameter_A * copy + _POINT_A
        steps_A = np.arange(reach_A, 0.0, -0.5 * _POINT_A)
        overlaps = (np.isin(_cells(turned_A + start_A + step_A * direction), taken).mean() for step_A in steps_A)
        stop = next((i for i, share in enumerate(overlaps) if share > _CONTACT_FRAC), len(steps_A))
        shifts_A[copy] = start_A + steps_A[max(stop - 1, 0)] * direction
        taken = np.union1d(taken, _cells(turned_A + shifts_A[copy]))
    shifts_A -= shifts_A.mean(axis=0)
    radius_A = float(np.linalg.norm(shifts_A, axis=1).max()) + 0.5 * diameter_A
    return Arrangement(rotations, shifts_A, radius_A)


def _points(volume: Floats, pixel_size_A: float) -> Reals:
    """Places `(m, 3)` (x, y, z) [Å] within the molecule, some 4 Å apart."""
    envelope = molecule_envelope(volume, pixel_size_A)
    step = max(1, round(_POINT_A / pixel_size_A))
    n = volume.shape[0]
    first = (n // 2) % step
    z, y, x = np.nonzero(envelope[first::step, first::step, first::step])
    if not len(z):
        raise InvalidInput("the map has no molecule", expected="a bright molecule", remedy="Give another specimen.")
    places: Reals = (np.stack([x, y, z], axis=1) * step + first - n // 2) * pixel_size_A
    return places


def _cells(points_A: Reals) -> Ints:
    """Number of the cell of the grid of points that each place is in."""
    cell = np.round(points_A / _POINT_A).astype(np.int64) + (1 << 19)
    numbers: Ints = (cell[:, 0] << 40) | (cell[:, 1] << 20) | cell[:, 2]
    return numbers


def arranged(volume: Floats, pixel_size_A: float, arrangement: Arrangement) -> F32:
    """Sum of the copies of a map in an arrangement, in the box the arrangement asks for."""
    n = arrangement.box_px(pixel_size_A)
    total = np.zeros((n, n, n), dtype=np.float32)
    for rotation, shift_A in zip(arrangement.rotations, arrangement.shifts_A, strict=True):
        x, y, z = (float(value) for value in shift_A / pixel_size_A)
        total += turned_volume(volume, rotation, n=n, shift_px=(x, y, z))
    return total


def aggregate(volume: Floats, pixel_size_A: float, *, n_copies: int, rng: np.random.Generator) -> tuple[F32, float]:
    """Map of an aggregate, in a box of its own, and its radius [Å]; as :func:`plan_aggregate`."""
    arrangement = plan_aggregate(volume, pixel_size_A, n_copies=n_copies, rng=rng)
    return arranged(volume, pixel_size_A, arrangement), arrangement.radius_A


def plan_break(volume: Floats, pixel_size_A: float, *, kept_frac: float, rng: np.random.Generator) -> Break:
    """Break a particle along a rough plane of random direction.

    Parameters
    ----------
    volume
        `(n, n, n)` of the particle.
    pixel_size_A
        Its voxel.
    kept_frac
        Share of the molecule's volume that is left.
    rng
        Source of randomness.

    Raises
    ------
    InvalidInput
        A share that is not between 0.05 and 0.95, a map without a molecule.
    """
    if not 0.05 <= kept_frac <= 0.95:
        raise InvalidInput(f"a particle with {kept_frac} of it left was asked for", expected="0.05 to 0.95")
    n = volume.shape[0]
    envelope = molecule_envelope(volume, pixel_size_A)
    direction = rng.standard_normal(3)
    direction /= np.linalg.norm(direction)
    axis = (np.arange(n, dtype=np.float32) - n // 2) * np.float32(pixel_size_A)
    height_A = _rough(n, pixel_size_A, rng)
    height_A += axis * np.float32(direction[0])
    height_A += axis[:, None] * np.float32(direction[1])
    height_A += axis[:, None, None] * np.float32(direction[2])
    cut_A = float(np.quantile(height_A[envelope], kept_frac))
    kept = (1.0 / (1.0 + np.exp(np.clip((height_A - cut_A) / (0.5 * _BREAK_EDGE_A), -30.0, 30.0)))).astype(np.float32)
    left = envelope & (kept > 0.5)
    places = np.stack(np.nonzero(left), axis=1)
    middle = np.round(places.mean(axis=0)).astype(int)
    radius_A = float(np.linalg.norm(places - middle, axis=1).max()) * pixel_size_A
    shift = n // 2 - middle
    return Break(kept, (int(shift[0]), int(shift[1]), int(shift[2])), radius_A)


def _rough(n: int, pixel_size_A: float, rng: np.random.Generator) -> F32:
    """Smooth random heights `(n, n, n)` [Å]."""
    coarse = max(8, int(np.ceil(2.0 * n * pixel_size_A / _ROUGH_FINEST_A)))
    coarse = min(coarse + coarse % 2, n)
    field = coloured_noise((coarse,) * 3, np.exp(-(np.linspace(0.0, 3.0, 64) ** 2)), rng)
    wide = fourier_pad(field, (n, n, n)) if coarse < n else field
    return np.asarray(wide * np.float32(_ROUGH_A / max(float(np.std(wide)), 1e-12)), dtype=np.float32)


def broken(volume: Floats, pixel_size_A: float, *, kept_frac: float, rng: np.random.Generator) -> tuple[F32, float]:
    """Map of what is left of a particle, its middle at the origin, and its radius [Å]; as :func:`plan_break`."""
    found = plan_break(volume, pixel_size_A, kept_frac=kept_frac, rng=rng)
    return found.applied(volume), found.radius_A


def touching(arrangement: Arrangement, volume: Floats, pixel_size_A: float) -> tuple[Bools, float]:
    """Which copies lie within a point's spacing of another, `(m,)`, and the largest share of one that is in others."""
    points_A = _points(volume, pixel_size_A)
    clouds = [
        points_A @ rotation.T + shift_A
        for rotation, shift_A in zip(arrangement.rotations, arrangement.shifts_A, strict=True)
    ]
    neighbours = _POINT_A * np.array([(i, j, k) for i in (-1, 0, 1) for j in (-1, 0, 1) for k in (-1, 0, 1)])
    near, most = [], 0.0
    for index, cloud in enumerate(clouds):
        others = np.concatenate([_cells(other) for number, other in enumerate(clouds) if number != index])
        most = max(most, float(np.isin(_cells(cloud), others).mean()))
        near.append(any(np.isin(_cells(cloud + step), others).any() for step in neighbours))
    return np.array(near), most
