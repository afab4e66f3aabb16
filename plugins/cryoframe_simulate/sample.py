"""What lies in the field before the beam comes: ice, particles with places and poses; their potentials on demand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from cryoframe import Exposure, Specimen
from cryoframe.errors import InvalidInput
from cryoframe.numerics.backend import C64, F32, Reals
from cryoframe.numerics.exposure import particle_projections
from cryoframe.numerics.field import ParticleField, Species, StageTilt, View, expected_count, place_particles
from cryoframe.numerics.ice import IceFilm
from cryoframe.numerics.projection import prepare_volume
from cryoframe.numerics.rotations import euler_to_matrix
from cryoframe.numerics.scene import FadingPatches, ParticleGroup
from cryoframe_simulate.instrument import magnification_of
from cryoframe_simulate.params import Params
from cryoframe_simulate.streams import Streams

#: More particles than fit into any field; a concentration in other units.
_MOST_PARTICLES = 100_000


@dataclass(frozen=True)
class Sample:
    """Ice and particles of one exposure before it begins.

    Parameters
    ----------
    film, stage
        Ice in the frame of the micrograph, and its tilt.
    field
        Particles as the camera sees them, those just outside the field of view included.
    """

    film: IceFilm
    stage: StageTilt
    field: ParticleField


class Projector:
    """Projected potentials of one map in the poses of particles, made when asked for.

    Parameters
    ----------
    volume
        `(n, n, n)` [1/Å²].
    pixel_size_A
        Of the map.
    rotations
        `(m, 3, 3)`; rows may be stretched by the magnification.
    """

    def __init__(self, volume: F32, pixel_size_A: float, rotations: Reals) -> None:
        self.volume, self.pixel_size_A, self.rotations = volume, pixel_size_A, rotations
        self._prepared: C64 | None = None

    def __reduce__(self) -> tuple[type[Projector], tuple[F32, float, Reals]]:
        return Projector, (self.volume, self.pixel_size_A, self.rotations)

    def __call__(self, index: npt.NDArray[np.int64]) -> F32:
        """Return the patches `(m, n, n)` [1/Å] of these particles."""
        prepared = prepare_volume(self.volume) if self._prepared is None else self._prepared
        # Eight times as large as the map, and of no use once the last particle has been made.
        self._prepared = None if len(self.rotations) - 1 in index else prepared
        return particle_projections(prepared, self.rotations[index], self.pixel_size_A)


def film_of(exposure: Exposure) -> IceFilm:
    """Return the ice; positions are those of the micrograph."""
    extent_y, extent_x = (n * exposure.pixel_size_A for n in exposure.shape_px)
    empty = exposure.trouble.empty_hole
    return IceFilm(
        thickness_A=0.0 if empty else exposure.ice_thickness_A,
        ramp=(0.0, 0.0) if empty else exposure.ice_ramp,
        rim_extra_A=0.0 if empty else exposure.ice_rim_extra_A,
        hole_radius_A=exposure.hole_radius_A,
        hole_centre_A=(0.5 * extent_x + exposure.hole_offset_A[0], 0.5 * extent_y + exposure.hole_offset_A[1]),
    )


def draw_sample(specimens: Sequence[Specimen], exposure: Exposure, params: Params, streams: Streams) -> Sample:
    """Place the particles of an exposure.

    Raises
    ------
    InvalidInput
        A concentration that no field holds, or no room for the particles without overlap.
    """
    film, stage = film_of(exposure), StageTilt(exposure.stage_tilt_deg, exposure.stage_tilt_axis_deg)
    mixture = tuple(_species(specimen, exposure.concentration_factor) for specimen in specimens)
    if not mixture or exposure.trouble.empty_hole:
        none = np.zeros(0)
        return Sample(film, stage, ParticleField(none, none, none, none, none, none, np.zeros(0, dtype=np.int64)))
    extent = (exposure.shape_px[0] * exposure.pixel_size_A, exposure.shape_px[1] * exposure.pixel_size_A)
    margin = max(specimen.radius_A for specimen in specimens)
    wide = (extent[0] + 2.0 * margin, extent[1] + 2.0 * margin)
    centre_x, centre_y = film.hole_centre_A
    wide_film = replace(film, hole_centre_A=(centre_x + margin, centre_y + margin))
    _check_count(wide, wide_film, mixture)
    found = place_particles(wide, wide_film, mixture, rng=streams("particles"), stage=stage, overlap=params.overlap)
    return Sample(film, stage, _stretched(found, margin, extent, params))


def groups_of(specimens: Sequence[Specimen], sample: Sample, params: Params) -> tuple[ParticleGroup, ...]:
    """Return the particles of each specimen with their potentials, where there are any."""
    stretch = np.asarray(magnification_of(params))
    groups = []
    for kind, specimen in enumerate(specimens):
        rows = np.flatnonzero(sample.field.species == kind)
        if rows.size == 0:
            continue
        turned = euler_to_matrix(sample.field.rot_deg[rows], sample.field.tilt_deg[rows], sample.field.psi_deg[rows])
        # The image is stretched by S, so its slice at measured k is the map's at Aᵀ·S·k: the rows of A become S·A.
        turned[:, :2] = stretch @ turned[:, :2]
        groups.append(
            ParticleGroup(
                sample.field.x_A[rows],
                sample.field.y_A[rows],
                sample.field.z_A[rows],
                _parts(specimen, turned, params),
            )
        )
    return tuple(groups)


def _parts(specimen: Specimen, rotations: Reals, params: Params) -> tuple[FadingPatches, ...]:
    pixel_size_A = specimen.volume.pixel_size_A
    if not (params.damage and params.site_damage):
        whole = np.sum([specimen.volume.data, *(part.volume.data for part in specimen.fading)], axis=0)
        return (FadingPatches(Projector(whole.astype(np.float32), pixel_size_A, rotations)),)
    fading = (
        FadingPatches(Projector(part.volume.data, pixel_size_A, rotations), part.lifetime_e_A2, part.b_rate_A4_e)
        for part in specimen.fading
    )
    return (FadingPatches(Projector(specimen.volume.data, pixel_size_A, rotations)), *fading)


def _species(specimen: Specimen, factor: float) -> Species:
    return Species(
        concentration_mg_mL=specimen.concentration_mg_mL * factor,
        mass_kDa=specimen.mass_kDa,
        radius_A=specimen.radius_A,
        views=tuple(View(peak.rot_deg, peak.tilt_deg, peak.kappa, peak.weight) for peak in specimen.views),
        surface_frac=specimen.surface_frac,
    )


def _check_count(extent_A: tuple[float, float], film: IceFilm, mixture: tuple[Species, ...]) -> None:
    n = sum(expected_count(extent_A, film, species) for species in mixture)
    if not n <= _MOST_PARTICLES:
        raise InvalidInput(
            f"the concentrations put {n:.3g} particles into one field",
            expected=f"at most {_MOST_PARTICLES}",
            remedy="Lower concentration_mg_mL or concentration_factor.",
        )


def _stretched(found: ParticleField, margin: float, extent_A: tuple[float, float], params: Params) -> ParticleField:
    """Places in the field itself, as the magnification shows them about its centre."""
    centre = 0.5 * np.array([extent_A[1], extent_A[0]])
    places = np.stack([found.x_A - margin, found.y_A - margin], axis=1) - centre
    seen = places @ np.asarray(magnification_of(params)).T + centre
    return replace(found, x_A=seen[:, 0], y_A=seen[:, 1])
