"""Gold-standard refinement with one signal-to-noise ratio a shell; the engine is the same for all refiners."""

from __future__ import annotations

from dataclasses import dataclass

from cryoframe import Mask, ParticleStack, Refinement, StageContext, Volume, hookimpl
from cryoframe_refine.engine import refine
from cryoframe_refine.regularisation import ByShell
from cryoframe_refine.settings import Settings

DEVICES = ("cpu",)


@dataclass(frozen=True)
class Params(Settings):
    """How poses are searched and when to stop."""


@hookimpl
def refine_3d(
    stack: ParticleStack, reference: Volume, mask: Mask | None, params: Params, ctx: StageContext
) -> Refinement:
    """Refine poses and map of two half-sets that never see each other's images.

    References
    ----------
    Gold standard: Scheres & Chen, Nat. Methods 9, 853 (2012), doi:10.1038/nmeth.2115. MAP reconstruction: Scheres,
    J. Struct. Biol. 180, 519 (2012), doi:10.1016/j.jsb.2012.09.006.
    """
    return refine(stack, reference, mask, params=params, ctx=ctx, regulariser=ByShell())
