"""estimate_ctf ``profile``: fast fit to sector and equal-phase profiles; the physics is in ``numerics.ctf_profile``."""

from __future__ import annotations

from dataclasses import dataclass

from cryoframe import CtfFit, Micrograph, StageContext, hookimpl
from cryoframe.numerics.ctf_profile import fit_profile
from cryoframe_ctf.fitting import Method, Settings, run

_OVERLAP_FRAC = 0.0


@dataclass(frozen=True)
class Params(Settings):
    """What may be set."""

    tile_A: float = 800.0  #: edge of the tiles whose spectra are averaged; they do not overlap


@hookimpl
def estimate_ctf(micrograph: Micrograph, params: Params, ctx: StageContext) -> CtfFit:
    """Fit defocus, astigmatism and, where asked for, phase shift; judge the fit and tell the ice thickness."""
    return run(micrograph, params, ctx, method=Method(_OVERLAP_FRAC, 0, fit_profile))
