"""estimate_ctf ``spectrum``: 2-D fit to the tiled power spectrum; the physics is in ``numerics.ctf_fit``."""

from __future__ import annotations

from dataclasses import dataclass

from cryoframe import CtfFit, Micrograph, StageContext, hookimpl
from cryoframe.numerics.ctf_fit import fit_point
from cryoframe_ctf.fitting import Method, Settings, run

_OVERLAP_FRAC, _N_PARTS = 0.5, 5


@dataclass(frozen=True)
class Params(Settings):
    """What may be set."""

    local: bool = True  #: fit tilt and defocus by place


@hookimpl
def estimate_ctf(micrograph: Micrograph, params: Params, ctx: StageContext) -> CtfFit:
    """Fit defocus, astigmatism and, where asked for, phase shift; judge the fit; tell tilt and ice thickness."""
    return run(micrograph, params, ctx, method=Method(_OVERLAP_FRAC, _N_PARTS if params.local else 0, fit_point))
