"""clean_micrograph ``texture``: squares unlike most, and the spectrum; it is in ``numerics.micrograph_quality``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cryoframe import Micrograph, MicrographVerdict, StageContext, hookimpl
from cryoframe.errors import InvalidInput
from cryoframe.numerics import spectrum
from cryoframe.numerics.bounds import check_bounds
from cryoframe.numerics.micrograph_quality import Evidence, examine
from cryoframe.numerics.motion_sum import binned

#: Structure is told from grain at pixels of about this size; at finer ones grain is most of any micrograph's spectrum.
_STRUCTURE_A, _LEAST_PX = 5.0, 64


@dataclass(frozen=True)
class Params:
    """What may be set."""

    tile_A: float = 200.0  #: edge of the squares, about a particle or somewhat more
    odd_sd: float = 5.0  #: a square is odd whose grey value or texture is further off than this many deviations
    least_usable_frac: float = 0.6  #: less usable area than this makes a micrograph contaminated
    most_bragg_ratio: float = (
        8.0  #: a brighter spot in a ring of the spectrum makes it crystalline [median of the ring]
    )
    least_structure_frac: float = 0.02  #: less structure than this, at pixels of about 5 Å, makes it empty

    def __post_init__(self) -> None:
        """Refuse values that cannot be meant."""
        check_bounds(
            self,
            tile_A=(1.0, 100000.0),
            odd_sd=(0.5, 1000.0),
            least_usable_frac=(0.0, 1.0),
            most_bragg_ratio=(1.0, 1e9),
            least_structure_frac=(0.0, 1.0),
        )


@hookimpl
def clean_micrograph(micrograph: Micrograph, params: Params, ctx: StageContext) -> MicrographVerdict:
    """Mark squares unlike most, and judge by what is left and by the spectrum."""
    spectrum.check_recording(micrograph.data, micrograph.pixel_size_A, smallest_px=32)
    tile_px = max(round(params.tile_A / micrograph.pixel_size_A), 2)
    if min(micrograph.shape_px) < 4 * tile_px:
        raise InvalidInput(
            f"squares of {params.tile_A} Å in {micrograph.shape_px} pixels of {micrograph.pixel_size_A} Å",
            expected="at least four along each axis",
            remedy="Set tile_A smaller.",
        )
    ctx.report(0, 1, "texture")
    evidence, usable = examine(micrograph.data, tile_px=tile_px, n_sigma=params.odd_sd)
    evidence = evidence._replace(structure_frac=_structure_frac(micrograph, evidence))
    verdict = _verdict(evidence, params)
    ctx.metric("usable_frac", evidence.usable_frac)
    ctx.report(1, 1, f"{verdict}, {evidence.usable_frac:.0%} usable")
    return MicrographVerdict(
        micrograph.micrograph_id,
        usable,
        tile_px * micrograph.pixel_size_A,
        verdict,
        usable_frac=evidence.usable_frac,
        uneven_sd=evidence.uneven_sd,
        structure_frac=evidence.structure_frac,
        bragg_ratio=evidence.bragg_ratio,
        stripe_ratio=evidence.stripe_ratio,
    )


def _structure_frac(micrograph: Micrograph, evidence: Evidence) -> float:
    """Share of structure at the pixel it is judged at, where the micrograph is finer and large enough."""
    factor = min(int(_STRUCTURE_A / micrograph.pixel_size_A + 1e-6), min(micrograph.shape_px) // _LEAST_PX)
    if factor < 2:
        return evidence.structure_frac
    coarse = binned(np.asarray(micrograph.data, dtype=np.float32), np.ones((1, 1), dtype=np.float32), factor)
    return examine(coarse, tile_px=2)[0].structure_frac


def _verdict(evidence: Evidence, params: Params) -> str:
    if evidence.bragg_ratio > params.most_bragg_ratio:
        return "crystalline"
    if evidence.usable_frac < params.least_usable_frac:
        return "contaminated"
    return "empty" if evidence.structure_frac < params.least_structure_frac else "good"
