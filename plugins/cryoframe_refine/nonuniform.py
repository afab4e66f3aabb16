"""Refinement whose maps are regularised place by place; the engine is that of all refiners."""

from __future__ import annotations

from dataclasses import dataclass

from cryoframe import Mask, ParticleStack, Refinement, StageContext, Volume, hookimpl
from cryoframe.numerics.bounds import check_bounds
from cryoframe_refine.engine import refine
from cryoframe_refine.regularisation import ByPlace
from cryoframe_refine.settings import Settings

DEVICES = ("cpu",)


@dataclass(frozen=True)
class Params(Settings):
    """How poses are searched and when to stop, and how finely maps are judged by place."""

    window_frac: float = 4.0  # width of the windows that half-maps are compared in, in units of the resolution

    def __post_init__(self) -> None:
        """Refuse values that cannot be meant."""
        super().__post_init__()
        check_bounds(self, window_frac=(1.0, 100.0))


@hookimpl
def refine_3d(
    stack: ParticleStack, reference: Volume, mask: Mask | None, params: Params, ctx: StageContext
) -> Refinement:
    """Refine as `gold` does, with local regularisation chosen by cross-validation between the half-maps.

    What is disordered, a micelle or a flexible domain, is kept out of the references, so that it neither draws poses
    nor lowers the resolution that the ordered part is aligned at.

    References
    ----------
    Punjani, Zhang & Fleet, Nat. Methods 17, 1214 (2020), doi:10.1038/s41592-020-00990-8.
    """
    return refine(stack, reference, mask, params=params, ctx=ctx, regulariser=ByPlace(params.window_frac))
