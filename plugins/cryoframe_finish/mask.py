"""A soft solvent mask from a threshold on the low-passed map. No numerics of its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cryoframe import Mask, StageContext, Volume, hookimpl
from cryoframe.errors import InvalidInput
from cryoframe.numerics import masks
from cryoframe.numerics.bounds import check_bounds
from cryoframe.numerics.filters import filter_pass
from cryoframe_finish.admission import check_box

DEVICES = ("cpu",)
#: The brightest thousandth of a map of protein stands out from the solvent more than the darkest.
_INVERTED = 1.5


@dataclass(frozen=True)
class Params:
    """Where the molecule ends."""

    threshold: float = 0.0  # on the low-passed map [map units]; 0 = from the map itself, see `level_frac`
    low_pass_A: float = 15.0  # the map is low-passed to this first
    level_frac: float = 0.25  # automatic threshold: this share of the densest thousandth of the map above the solvent
    extend_A: float = 10.0  # growth of the mask before its edge
    edge_A: float = 18.0  # width of the soft edge
    keep_largest: bool = True  # keep only the largest connected part

    def __post_init__(self) -> None:
        """Refuse values that cannot be meant."""
        check_bounds(
            self,
            threshold=(-1e30, 1e30),
            low_pass_A=(0.0, 1000.0),
            level_frac=(0.0, 1.0),
            extend_A=(-1000.0, 1000.0),
            edge_A=(0.0, 1000.0),
        )


@hookimpl
def make_mask(volume: Volume, params: Params, ctx: StageContext) -> Mask:
    """Threshold the low-passed map, grow it and give it a soft edge."""
    data = np.asarray(volume.data, dtype=np.float32)
    if not np.isfinite(data).all() or not data.any():
        raise InvalidInput(
            "the map is empty or not finite", expected="a map with density", remedy="Look at its source."
        )
    pixel = volume.pixel_size_A
    check_box("map", data.shape, pixel)
    smooth = filter_pass(data, pixel_size_A=pixel, n_dims=3, low_pass_A=max(params.low_pass_A, 2.0 * pixel))
    threshold = params.threshold or automatic_threshold(smooth, params.level_frac)
    ctx.report(1, 2, f"threshold {threshold:.4g}")
    _tell_contrast(smooth, ctx)
    mask = masks.map_mask(
        smooth,
        threshold,
        extend_px=params.extend_A / pixel,
        edge_px=params.edge_A / pixel,
        keep_largest=params.keep_largest,
    )
    if masks.faces_maximum(mask) > 0.0:
        fade_px = max(params.edge_A / pixel, 3.0)
        mask = mask * masks.face_window(mask.shape[0], fade_px)
        ctx.log(
            f"warning: the mask reached the faces of the box and was let fall to 0 over its last {fade_px * pixel:.0f} "
            "Å: set a smaller extend_A or edge_A, a higher threshold, or extract larger boxes"
        )
    if not mask.max() > 0.5:
        raise InvalidInput(
            f"nothing is left of the mask after growth by {params.extend_A:g} Å",
            expected="voxels above 0.5",
            remedy="Set a larger extend_A or a lower threshold.",
        )
    ctx.metric("mask_volume_frac", float(mask.mean()))
    return Mask(mask, pixel)


def _tell_contrast(smooth: npt.NDArray[np.float32], ctx: StageContext) -> None:
    """Say so where the map's darkest voxels stand out more than its brightest: the mask would be one of the solvent."""
    solvent = float(np.median(smooth))
    dark, bright = (abs(float(np.quantile(smooth, share)) - solvent) for share in (0.001, 0.999))
    if dark > _INVERTED * bright:
        ctx.log(
            f"ALARM: the darkest voxels of the map are {dark / max(bright, 1e-30):.1f} times as far from its median as "
            "the brightest: its contrast may be inverted, and the mask one of the solvent; protein has to be bright"
        )


def automatic_threshold(smooth: npt.NDArray[np.float32], level_frac: float) -> float:
    """Level between solvent and protein: `level_frac` of the way from the median to the densest thousandth."""
    solvent, dense = float(np.median(smooth)), float(np.quantile(smooth, 0.999))
    return solvent + level_frac * (dense - solvent)
