"""estimate_ctf ``profile``: fast fit to sector and equal-phase profiles; the physics is in ``numerics.ctf_profile``."""

from __future__ import annotations

from dataclasses import dataclass

from cryoframe import CtfFit, Micrograph, StageContext, hookimpl
from cryoframe.numerics.ctf_profile import fit_profile
from cryoframe_ctf.fitting import Method, check_settings, run

_OVERLAP_FRAC = 0.0


@dataclass(frozen=True)
class Params:
    """What may be set."""

    input: str = "micrograph"  #: "micrograph", or "spectrum": a power spectrum (n, n) with zero frequency at n//2
    low_A: float = 30.0  #: coarsest spacing used in the fit
    high_A: float = 4.5  #: finest spacing used in the fit; kept to at least 2.1 pixels
    defocus_min_A: float = 3000.0  #: least mean defocus searched, positive under focus
    defocus_max_A: float = 50000.0  #: largest mean defocus searched
    astigmatism_max_A: float = 2000.0  #: largest difference of the two defoci in the coarse search
    phase_shift_max_deg: float = 0.0  #: search phase shifts of a phase plate up to this; 0 = no phase plate
    tile_A: float = 800.0  #: edge of the tiles whose spectra are averaged; they do not overlap
    clip_sd: float = 6.0  #: grey values further from the median than this many standard deviations are cut
    confidence_min_frac: float = 0.9  #: a fit of lower confidence is not accepted
    crystal_max_frac: float = 0.05  #: accept up to this power of ice's crystalline spots, as a share of their ring
    carbon_max_A: float = 40.0  #: accept what scatters like up to this thickness of carbon; 0 = any
    vacuum_grey: float = 0.0  #: mean [grey value] without specimen, slit in; gives ice thickness; 0 = not known
    mean_free_path_A: float = 0.0  #: of energy loss in ice, for the thickness by intensity; 0 = measured, by voltage

    def __post_init__(self) -> None:
        """Refuse values that cannot be meant."""
        check_settings(self)


@hookimpl
def estimate_ctf(micrograph: Micrograph, params: Params, ctx: StageContext) -> CtfFit:
    """Fit defocus, astigmatism and, where asked for, phase shift; judge the fit and tell the ice thickness."""
    return run(micrograph, params, ctx, method=Method(_OVERLAP_FRAC, 0, fit_profile))
