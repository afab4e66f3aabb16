"""What else than ice and particles lies in the beam: carbon outside the hole, crystalline ice."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cryoframe import Exposure
from cryoframe.numerics.backend import F32, Bools, Floats
from cryoframe.numerics.field import StageTilt
from cryoframe.numerics.fourier import irfft2, rfft2
from cryoframe.numerics.grids import frequencies_1_A
from cryoframe.numerics.ice import AMORPHOUS_CARBON, VITREOUS_ICE, IceFilm, amorphous_projection, pixel_positions_A
from cryoframe_simulate.params import Params
from cryoframe_simulate.streams import Streams

#: Values of the truth's map of the support.
CARBON, CRYSTAL = 1.0, 2.0
#: Lattice fringes against the mean inner potential, and how thick a crystal stays in phase with the beam [Å]: assumed.
_FRINGE_FRAC, _CRYSTAL_THICKNESS_A = 0.3, 100.0
#: Crystals are about this share of the field's shorter side across (assumed).
_CRYSTAL_SIZE_FRAC = 0.15


@dataclass(frozen=True)
class Surroundings:
    """Maps of one exposure.

    Parameters
    ----------
    potential
        `(ny, nx)` projected potential [1/Å]; None where there is nothing.
    ice_amount
        `(ny, nx)` factor on the power of amorphous ice; None = 1 everywhere.
    crystals
        `(ny, nx)` where ice is crystalline; None = nowhere.
    """

    potential: F32 | None = None
    ice_amount: F32 | None = None
    crystals: Bools | None = None


def draw_surroundings(
    exposure: Exposure, film: IceFilm, stage: StageTilt, params: Params, streams: Streams
) -> Surroundings:
    """Draw carbon and crystalline ice of an exposure; the crystals take the place of the amorphous ice."""
    shape, pixel_size_A = exposure.shape_px, exposure.pixel_size_A
    potential: F32 | None = None
    if params.support and params.support_thickness_A > 0.0:
        x, y = pixel_positions_A(shape, pixel_size_A)
        outside = ~in_hole(x, y, film, stage, exposure)
        if outside.any():
            path_A = params.support_thickness_A / np.cos(np.radians(stage.tilt_deg))
            potential = _carbon(outside, pixel_size_A, path_A, streams)
    if exposure.trouble.crystalline_ice_frac <= 0.0:
        return Surroundings(potential)
    crystals = _crystal_places(shape, exposure.trouble.crystalline_ice_frac, streams)
    lattice = _lattice(crystals, pixel_size_A, params.crystal_spacing_A, streams)
    return Surroundings(
        lattice if potential is None else potential + lattice, np.where(crystals, 0.0, 1.0).astype(np.float32), crystals
    )


def in_hole(x_A: Floats, y_A: Floats, film: IceFilm, stage: StageTilt, exposure: Exposure) -> Bools:
    """Where the camera sees no support film, the tilt of the stage regarded; broadcast."""
    centre_y, centre_x = (0.5 * n * exposure.pixel_size_A for n in exposure.shape_px)
    along, across, _ = stage.specimen_plane(x_A - centre_x, y_A - centre_y)
    return film.in_hole(along + centre_x, across + centre_y)


def _carbon(outside: Bools, pixel_size_A: float, path_A: float, streams: Streams) -> F32:
    shape = (outside.shape[0], outside.shape[1])
    layer = amorphous_projection(shape, pixel_size_A, path_A, rng=streams("support"), solid=AMORPHOUS_CARBON)
    layer += np.float32(AMORPHOUS_CARBON.mean_potential_1_A2 * path_A)
    return np.where(outside, layer, np.float32(0.0))


def _crystal_places(shape: tuple[int, int], frac: float, streams: Streams) -> Bools:
    """The highest parts of a smooth random field, exactly that share of all pixels."""
    noise = streams("crystals").standard_normal(shape, dtype=np.float32)
    size_px = max(_CRYSTAL_SIZE_FRAC * min(shape), 2.0)
    k = frequencies_1_A(shape, 1.0, False)
    smooth = irfft2(rfft2(noise) * np.exp(-2.0 * (np.pi * 0.5 * size_px * k) ** 2).astype(np.float32), shape)
    n = round(frac * smooth.size)
    chosen = np.zeros(smooth.size, dtype=np.bool_)
    chosen[np.argsort(smooth, axis=None, kind="stable")[smooth.size - n :]] = True
    places: Bools = chosen.reshape(shape)
    return places


def _lattice(crystals: Bools, pixel_size_A: float, spacing_A: float, streams: Streams) -> F32:
    """Three sets of fringes 60° apart, turned at random, where crystals are; none where pixels are too coarse."""
    if spacing_A <= 2.0 * pixel_size_A:
        return np.zeros(crystals.shape, dtype=np.float32)
    rng = streams("lattice")
    turn, phases = rng.uniform(0.0, np.pi / 3.0), rng.uniform(0.0, 2.0 * np.pi, 3)
    x, y = pixel_positions_A((crystals.shape[0], crystals.shape[1]), pixel_size_A)
    total = np.zeros(crystals.shape, dtype=np.float32)
    for index, phase in enumerate(phases):
        angle = turn + index * np.pi / 3.0
        total += np.cos(2.0 * np.pi / spacing_A * (np.cos(angle) * x + np.sin(angle) * y) + phase).astype(np.float32)
    height = _FRINGE_FRAC * VITREOUS_ICE.mean_potential_1_A2 * _CRYSTAL_THICKNESS_A
    return np.where(crystals, np.float32(height) * total, np.float32(0.0))
