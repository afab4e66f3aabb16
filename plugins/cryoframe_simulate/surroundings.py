"""What else than vitreous ice and particles lies in the beam: carbon outside the hole, crystalline ice, ethane."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cryoframe import Exposure
from cryoframe.numerics.backend import F32, Bools, Floats
from cryoframe.numerics.crystals import ETHANE, contamination, crystalline_ice
from cryoframe.numerics.field import StageTilt, beam_path_A
from cryoframe.numerics.ice import AMORPHOUS_CARBON, IceFilm, amorphous_projection, pixel_positions_A
from cryoframe_simulate.params import Params
from cryoframe_simulate.streams import Streams

#: Values of the truth's map of the support.
CARBON, CRYSTAL, CONTAMINATION = 1.0, 2.0, 3.0


@dataclass(frozen=True)
class Surroundings:
    """Maps of one exposure.

    Parameters
    ----------
    potential
        `(ny, nx)` projected potential [1/Å]; None where there is nothing.
    ice_amount
        `(ny, nx)` factor on the power of amorphous ice; None = 1 everywhere.
    support_path_A
        `(ny, nx)` thickness of the carbon along the beam; None where there is none.
    crystals, contamination
        `(ny, nx)` where ice is crystalline, where ethane lies; None = nowhere.
    """

    potential: F32 | None = None
    ice_amount: F32 | None = None
    support_path_A: F32 | None = None
    crystals: Bools | None = None
    contamination: Bools | None = None


def draw_surroundings(
    exposure: Exposure, film: IceFilm, stage: StageTilt, params: Params, streams: Streams
) -> Surroundings:
    """Draw what lies in the beam of an exposure; crystalline ice takes the place of the amorphous ice."""
    pixel_size_A = exposure.pixel_size_A
    layers: list[F32] = []
    carbon_A: F32 | None = None
    if params.support and params.support_thickness_A > 0.0 and _reaches_the_rim(film, stage, exposure):
        x, y = pixel_positions_A(exposure.shape_px, pixel_size_A)
        path_A = params.support_thickness_A / np.cos(np.radians(stage.tilt_deg))
        outside = ~in_hole(x, y, film, stage, exposure)
        layers.append(_carbon(outside, pixel_size_A, path_A, streams))
        carbon_A = np.where(outside, np.float32(path_A), np.float32(0.0))
    crystals = ice_amount = ethane = None
    if exposure.trouble.crystalline_ice_frac > 0.0:
        potential, crystals = _crystalline(exposure, film, stage, streams)
        ice_amount = np.where(crystals, np.float32(0.0), np.float32(1.0))
        layers.append(potential)
    if params.ethane_frac > 0.0 and not exposure.trouble.empty_hole:
        potential, height = contamination(
            exposure.shape_px,
            pixel_size_A,
            ETHANE,
            covered_frac=params.ethane_frac,
            height_A=params.ethane_height_A,
            rng=streams("ethane"),
            size_A=_patch_A(exposure),
        )
        layers.append(potential)
        ethane = height > 0.0
    total: F32 | None = np.sum(layers, axis=0, dtype=np.float32) if layers else None
    return Surroundings(total, ice_amount, carbon_A, crystals, ethane)


def _crystalline(exposure: Exposure, film: IceFilm, stage: StageTilt, streams: Streams) -> tuple[F32, Bools]:
    extent = (exposure.shape_px[0] * exposure.pixel_size_A, exposure.shape_px[1] * exposure.pixel_size_A)
    x, y = pixel_positions_A(exposure.shape_px, exposure.pixel_size_A)
    thickness = np.broadcast_to(beam_path_A(film, x, y, extent, stage), exposure.shape_px)
    return crystalline_ice(
        thickness,
        exposure.pixel_size_A,
        covered_frac=exposure.trouble.crystalline_ice_frac,
        rng=streams("crystals"),
        patch_A=_patch_A(exposure),
    )


def _patch_A(exposure: Exposure) -> float:
    """Outlines of 3000 Å, as crystals of a grid have, or half of a field that is smaller."""
    return min(3000.0, 0.5 * min(exposure.shape_px) * exposure.pixel_size_A)


def in_hole(x_A: Floats, y_A: Floats, film: IceFilm, stage: StageTilt, exposure: Exposure) -> Bools:
    """Where the camera sees no support film, the tilt of the stage regarded; broadcast."""
    centre_y, centre_x = (0.5 * n * exposure.pixel_size_A for n in exposure.shape_px)
    along, across, _ = stage.specimen_plane(x_A - centre_x, y_A - centre_y)
    return film.in_hole(along + centre_x, across + centre_y)


def _reaches_the_rim(film: IceFilm, stage: StageTilt, exposure: Exposure) -> bool:
    """Whether the field shows anything else than hole; holes are convex, so its corners tell."""
    x, y = (np.array([0.0, n * exposure.pixel_size_A]) for n in exposure.shape_px[::-1])
    return not in_hole(x[None, :], y[:, None], film, stage, exposure).all()


def _carbon(outside: Bools, pixel_size_A: float, path_A: float, streams: Streams) -> F32:
    shape = (outside.shape[0], outside.shape[1])
    layer = amorphous_projection(shape, pixel_size_A, path_A, rng=streams("support"), solid=AMORPHOUS_CARBON)
    layer += np.float32(AMORPHOUS_CARBON.mean_potential_1_A2 * path_A)
    return np.where(outside, layer, np.float32(0.0))
