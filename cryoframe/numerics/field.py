"""Where the particles of a field of view are and how they are turned: typed arrays of truth, no potentials.

Frames. The *specimen frame* has its origin in the centre of the field of view and of the ice, z normal to the film. The
*microscope frame* has z along the beam, towards the lens: a particle at z has the defocus of the origin plus z. The
stage turns the one into the other. Positions come out in the microscope frame, x and y from the centre of pixel [0, 0].
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cryoframe.errors import InvalidInput
from cryoframe.numerics.backend import Bools, Ints, Reals
from cryoframe.numerics.ice import IceFilm
from cryoframe.numerics.packing import without_overlap
from cryoframe.numerics.rotations import axis_rotation, directions, euler_to_matrix, matrix_to_euler

#: Molecules per Å³ of 1 mg/mL of a molecule of 1 kDa.
_PER_A3 = 6.02214076e-7
_N_GRID = 65


@dataclass(frozen=True, slots=True)
class View:
    """A component of a mixture of viewing directions, von Mises–Fisher about a direction of the map.

    Parameters
    ----------
    rot_deg, tilt_deg
        Mean direction in the map frame.
    kappa
        Concentration; 0 is uniform over the sphere.
    weight
        Relative share in the mixture.
    """

    rot_deg: float = 0.0
    tilt_deg: float = 0.0
    kappa: float = 0.0
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Species:
    """What is dissolved.

    Parameters
    ----------
    concentration_mg_mL, mass_kDa
        Give the number of particles per volume.
    radius_A
        Of the sphere that must lie within the ice and, where asked for, free of others.
    views
        Mixture of viewing directions with the stage untilted.
    surface_frac
        Share of the particles that sit at one of the two air-water interfaces.
    """

    concentration_mg_mL: float
    mass_kDa: float
    radius_A: float
    views: tuple[View, ...] = (View(),)
    surface_frac: float = 0.0

    @property
    def number_1_A3(self) -> float:
        """Particles per Å³."""
        return self.concentration_mg_mL / self.mass_kDa * _PER_A3


@dataclass(frozen=True, slots=True)
class StageTilt:
    """Turn of the stage by `tilt_deg` about an axis in the plane, `axis_deg` from x towards y; right-handed."""

    tilt_deg: float = 0.0
    axis_deg: float = 0.0

    def matrix(self) -> Reals:
        """Matrix `(3, 3)` that turns column vectors of the specimen frame into the microscope frame."""
        angle = np.radians(self.axis_deg)
        return axis_rotation((np.cos(angle), np.sin(angle), 0.0), self.tilt_deg)

    def specimen_plane(self, x_A: npt.ArrayLike, y_A: npt.ArrayLike) -> tuple[Reals, Reals, Reals]:
        """Specimen coordinates (x, y) of the film's midplane seen at microscope positions, and its z [Å] there."""
        turn = self.matrix()
        inverse = np.linalg.inv(turn[:2, :2])
        x, y = np.asarray(x_A, dtype=np.float64), np.asarray(y_A, dtype=np.float64)
        along = inverse[0, 0] * x + inverse[0, 1] * y
        across = inverse[1, 0] * x + inverse[1, 1] * y
        return along, across, turn[2, 0] * along + turn[2, 1] * across


def beam_path_A(
    film: IceFilm, x_A: npt.ArrayLike, y_A: npt.ArrayLike, extent_A: tuple[float, float], stage: StageTilt
) -> Reals:
    """Thickness of ice along the beam [Å] at positions from the centre of pixel [0, 0]: t/cos α where the film is hit.

    `extent_A` is the (y, x) size of the field, whose centre the stage turns about.
    """
    centre_y, centre_x = 0.5 * extent_A[0], 0.5 * extent_A[1]
    along, across, _ = stage.specimen_plane(np.asarray(x_A) - centre_x, np.asarray(y_A) - centre_y)
    path: Reals = film.at(along + centre_x, across + centre_y) / np.cos(np.radians(stage.tilt_deg))
    return path


@dataclass(frozen=True, slots=True)
class ParticleField:
    """The truth about the particles of one field of view, `(m,)` each.

    Parameters
    ----------
    x_A, y_A
        From the centre of pixel [0, 0].
    z_A
        Along the beam from the middle of the ice in the centre of the field; adds to the defocus.
    rot_deg, tilt_deg, psi_deg
        Euler angles in the microscope frame, stage tilt included.
    species
        Index into the species asked for.
    """

    x_A: Reals
    y_A: Reals
    z_A: Reals
    rot_deg: Reals
    tilt_deg: Reals
    psi_deg: Reals
    species: Ints

    def __len__(self) -> int:
        return len(self.x_A)


def von_mises_fisher(mean: npt.ArrayLike, kappa: float, n: int, rng: np.random.Generator) -> Reals:
    """`(n, 3)` unit vectors with density ∝ exp(κ·μ·x) on the sphere; κ = 0 is uniform.

    References
    ----------
    Exact sampling on S²: Ulrich, Appl. Stat. 33, 158 (1984), doi 10.2307/2347441; Jakob, Numerically stable sampling
    of the von Mises Fisher distribution on S² (2012).
    """
    if not kappa >= 0.0:
        raise InvalidInput(f"a concentration κ of {kappa} was given", expected="0 or more")
    uniform, angle = rng.random(n), rng.uniform(0.0, 2.0 * np.pi, n)
    if kappa < 1e-6:
        cosine = 2.0 * uniform - 1.0
    else:
        cosine = 1.0 + np.log(uniform + (1.0 - uniform) * np.exp(-2.0 * kappa)) / kappa
    sine = np.sqrt(np.maximum(1.0 - cosine * cosine, 0.0))
    axis = np.asarray(mean, dtype=np.float64) / np.linalg.norm(mean)
    helper = np.eye(3)[np.argmin(np.abs(axis))]
    first = np.cross(axis, helper)
    first /= np.linalg.norm(first)
    second = np.cross(axis, first)
    turned: Reals = (
        cosine[:, None] * axis + (sine * np.cos(angle))[:, None] * first + (sine * np.sin(angle))[:, None] * second
    )
    return turned


def random_views(views: tuple[View, ...], n: int, rng: np.random.Generator) -> Reals:
    """`(n, 3, 3)` rotations whose viewing direction, the last row, follows the mixture; psi is uniform."""
    weights = np.array([view.weight for view in views])
    if len(views) == 0 or np.any(weights < 0) or not weights.sum() > 0:
        raise InvalidInput(f"views of weights {weights} were given", expected="at least one, weights not negative")
    chosen = rng.choice(len(views), size=n, p=weights / weights.sum())
    axis = np.empty((n, 3))
    for index, view in enumerate(views):
        hit = np.flatnonzero(chosen == index)
        mean = directions(view.rot_deg, view.tilt_deg)
        axis[hit] = von_mises_fisher(mean, view.kappa, hit.size, rng)
    rot = np.degrees(np.arctan2(axis[:, 1], axis[:, 0]))
    tilt = np.degrees(np.arctan2(np.hypot(axis[:, 0], axis[:, 1]), axis[:, 2]))
    return euler_to_matrix(rot, tilt, rng.uniform(-180.0, 180.0, n))


@dataclass(frozen=True, slots=True)
class _Region:
    """The part of the film, in the specimen frame, that particles are drawn in."""

    film: IceFilm
    centre_A: tuple[float, float]
    half_A: tuple[float, float]

    def thickness_A(self, x: Reals, y: Reals) -> Reals:
        return self.film.at(x + self.centre_A[0], y + self.centre_A[1])

    def room_A(self, x: Reals, y: Reals, radius_A: float) -> Reals:
        """Thickness where a particle fits in a hole, else 0."""
        thickness = self.thickness_A(x, y)
        fits = (thickness >= 2.0 * radius_A) & self.film.in_hole(x + self.centre_A[0], y + self.centre_A[1])
        return np.where(fits, thickness, 0.0)

    def grid(self) -> tuple[Reals, Reals]:
        x, y = (np.linspace(-half, half, _N_GRID) for half in self.half_A)
        return x[None, :], y[:, None]

    def candidates(self, n: int, species: Species, rng: np.random.Generator) -> Reals:
        """Those of `n` uniform draws in the enclosing block that thinning leaves, `(<= n, 3)`."""
        highest = self.highest_A(species.radius_A)
        x, y = (rng.uniform(-half, half, n) for half in self.half_A)
        thickness = self.room_A(x, y, species.radius_A)
        kept = rng.random(n) * highest < thickness
        free = 0.5 * thickness - species.radius_A
        z = free * rng.uniform(-1.0, 1.0, n)
        at_surface = rng.random(n) < species.surface_frac
        z = np.where(at_surface, free * np.where(z < 0.0, -1.0, 1.0), z)
        return np.stack([x, y, z], axis=1)[kept]

    def highest_A(self, radius_A: float) -> float:
        """Upper bound of the thickness; 2 % cover what lies between the samples of the grid."""
        return float(self.room_A(*self.grid(), radius_A).max()) * 1.02

    def one(self, species: Species, rng: np.random.Generator) -> Reals:
        while True:
            found = self.candidates(16, species, rng)
            if len(found):
                place: Reals = found[0]
                return place


def _region(extent_A: tuple[float, float], film: IceFilm, stage: StageTilt) -> _Region:
    """Smallest rectangle of the film whose tilted image covers the field of view, slanted ice included."""
    half_y, half_x = 0.5 * extent_A[0], 0.5 * extent_A[1]
    x, y = np.array([-half_x, half_x, -half_x, half_x]), np.array([-half_y, -half_y, half_y, half_y])
    along, across, _ = stage.specimen_plane(x, y)
    flat = stage.tilt_deg == 0.0
    slant = 0.0 if flat else abs(np.tan(np.radians(stage.tilt_deg)))
    reach = (float(np.abs(along).max()), float(np.abs(across).max()))
    plain = _Region(film, (half_x, half_y), reach)
    margin = 0.0 if flat else slant * 0.5 * float(plain.thickness_A(*plain.grid()).max())
    return _Region(film, (half_x, half_y), (reach[0] + margin, reach[1] + margin))


def expected_count(extent_A: tuple[float, float], film: IceFilm, species: Species) -> float:
    """Expected number of particles in an untilted field: concentration × volume of ice thick enough for them.

    Parameters
    ----------
    extent_A
        (y, x) size of the field of view [Å].
    """
    region = _region(extent_A, film, StageTilt())
    n = 256
    x = (np.arange(n) + 0.5) / n * extent_A[1] - 0.5 * extent_A[1]
    y = (np.arange(n) + 0.5) / n * extent_A[0] - 0.5 * extent_A[0]
    room = region.room_A(x[None, :], y[:, None], species.radius_A)
    return species.number_1_A3 * float(room.mean()) * extent_A[0] * extent_A[1]


def _drawn(region: _Region, mixture: tuple[Species, ...], rng: np.random.Generator) -> tuple[Reals, Ints]:
    """Places `(m, 3)` in the specimen frame and species `(m,)` of a Poisson process."""
    places, kinds = [], []
    for index, species in enumerate(mixture):
        if min(species.concentration_mg_mL, species.radius_A) < 0 or not species.mass_kDa > 0:
            raise InvalidInput(f"{species} was asked for", expected="a positive mass, nothing negative")
        volume_A3 = 4.0 * region.half_A[0] * region.half_A[1] * region.highest_A(species.radius_A)
        n = int(rng.poisson(species.number_1_A3 * volume_A3))
        found = region.candidates(n, species, rng)
        places.append(found)
        kinds.append(np.full(len(found), index, dtype=np.int32))
    return np.concatenate(places), np.concatenate(kinds)


def _in_field(xy: Reals, extent_A: tuple[float, float]) -> Bools:
    inside: Bools = (np.abs(xy[:, 0]) <= 0.5 * extent_A[1]) & (np.abs(xy[:, 1]) <= 0.5 * extent_A[0])
    return inside


def place_particles(
    extent_A: tuple[float, float],
    film: IceFilm,
    mixture: tuple[Species, ...],
    *,
    rng: np.random.Generator,
    stage: StageTilt | None = None,
    overlap: str = "free",
) -> ParticleField:
    """Draw the particles of one field of view.

    Counts are Poisson with mean concentration × volume; places are uniform over the ice that is thick enough for the
    particle; z lies within the ice.

    Parameters
    ----------
    extent_A
        (y, x) size of the field of view [Å].
    film
        Ice; its positions are those of the untilted field, from the centre of pixel [0, 0].
    mixture
        Species in solution.
    rng
        Source of randomness.
    stage
        Tilt of the stage.
    overlap
        ``"free"``, ``"none"`` (spheres do not touch) or ``"none_in_projection"`` (in the plane of the film).

    Raises
    ------
    InvalidInput
        Unknown rule of overlap, tilt of 80° or more, more particles than there is room for.
    """
    stage = stage or StageTilt()
    if overlap not in ("free", "none", "none_in_projection") or not abs(stage.tilt_deg) < 80.0 or not mixture:
        raise InvalidInput(
            f"{len(mixture)} species, overlap {overlap!r} and a tilt of {stage.tilt_deg}° were asked for",
            expected="at least one species, 'free', 'none' or 'none_in_projection', less than 80°",
        )
    region = _region(extent_A, film, stage)
    places, kinds = _drawn(region, mixture, rng)
    if overlap != "free":
        order = rng.permutation(len(places))
        places, kinds = places[order], kinds[order]
        radii = np.array([mixture[kind].radius_A for kind in kinds])
        places = without_overlap(
            places,
            radii,
            lambda index: region.one(mixture[int(kinds[index])], rng),
            in_projection=overlap == "none_in_projection",
        )
    turn = stage.matrix()
    poses = np.empty((len(places), 3, 3))
    for index, species in enumerate(mixture):
        hit = np.flatnonzero(kinds == index)
        poses[hit] = turn @ random_views(species.views, hit.size, rng)
    seen = places @ turn.T
    kept = _in_field(seen, extent_A)
    rot, tilt, psi = matrix_to_euler(poses[kept])
    return ParticleField(
        seen[kept, 0] + 0.5 * extent_A[1], seen[kept, 1] + 0.5 * extent_A[0], seen[kept, 2], rot, tilt, psi, kinds[kept]
    )
