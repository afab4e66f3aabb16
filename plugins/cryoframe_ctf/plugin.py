"""estimate_ctf ``spectrum``: 2-D fit to the tiled power spectrum; the physics is in ``numerics.ctf_fit``."""

from __future__ import annotations

from dataclasses import dataclass

from cryoframe import CtfFit, Micrograph, StageContext, hookimpl
from cryoframe.errors import InvalidInput
from cryoframe.numerics import ctf_fit, spectrum
from cryoframe.numerics.bounds import check_bounds, check_order


@dataclass(frozen=True)
class Params:
    """What may be set."""

    low_A: float = 30.0  #: coarsest spacing used in the fit
    high_A: float = 4.5  #: finest spacing used in the fit; kept to at least 2.1 pixels
    defocus_min_A: float = 3000.0  #: least mean defocus searched, positive under focus
    defocus_max_A: float = 50000.0  #: largest mean defocus searched
    astigmatism_max_A: float = 2000.0  #: largest difference of the two defoci in the coarse search
    phase_shift_max_deg: float = 0.0  #: search phase shifts of a phase plate up to this; 0 = no phase plate
    tile_A: float = 750.0  #: edge of the tiles whose spectra are averaged
    clip_sd: float = 6.0  #: grey values further from the median than this many standard deviations are cut

    def __post_init__(self) -> None:
        """Refuse values that cannot be meant."""
        check_bounds(
            self,
            low_A=(1.0, 1000.0),
            high_A=(0.5, 100.0),
            defocus_min_A=(-200000.0, 200000.0),
            defocus_max_A=(-200000.0, 200000.0),
            astigmatism_max_A=(0.0, 50000.0),
            phase_shift_max_deg=(0.0, 180.0),
            tile_A=(50.0, 20000.0),
            clip_sd=(1.0, 1000.0),
        )
        check_order(self, "high_A", "low_A")
        check_order(self, "defocus_min_A", "defocus_max_A")


@hookimpl
def estimate_ctf(micrograph: Micrograph, params: Params, ctx: StageContext) -> CtfFit:
    """Fit defocus, astigmatism and, where asked for, phase shift."""
    pixel_size_A, optics = micrograph.pixel_size_A, micrograph.optics
    if not pixel_size_A > 0:
        raise InvalidInput(
            f"micrograph '{micrograph.micrograph_id}' has a pixel of {pixel_size_A} Å",
            expected="a positive number",
            remedy="State pixel_size_A in the configuration.",
        )
    spectrum.check_image(micrograph.data, smallest_px=64)
    ctx.report(0, 2, "power spectrum")
    tile_px = spectrum.tile_size(params.tile_A, pixel_size_A, micrograph.shape_px)
    clipped = spectrum.clip_outliers(micrograph.data, n_sigma=params.clip_sd)
    power = spectrum.tiled_power_spectrum(clipped, tile_px, n_threads=ctx.n_threads)
    ctx.report(1, 2, "fit")
    fit = ctf_fit.fit_spectrum(
        power,
        pixel_size_A,
        voltage_kV=optics.voltage_kV,
        cs_mm=optics.cs_mm,
        amplitude_contrast=optics.amplitude_contrast_frac,
        limits=ctf_fit.FitRange(
            low_A=params.low_A,
            high_A=params.high_A,
            defocus_min_A=params.defocus_min_A,
            defocus_max_A=params.defocus_max_A,
            astigmatism_max_A=params.astigmatism_max_A,
            phase_shift_max_deg=params.phase_shift_max_deg,
        ),
    )
    ctx.metric("ctf_score", fit.score)
    ctx.metric("fit_resolution_A", fit.fit_resolution_A, "Å")
    ctx.report(2, 2, f"{fit.defocus_u_A:.0f} / {fit.defocus_v_A:.0f} Å, rings to {fit.fit_resolution_A:.1f} Å")
    return CtfFit(
        micrograph_id=micrograph.micrograph_id,
        defocus_u_A=fit.defocus_u_A,
        defocus_v_A=fit.defocus_v_A,
        defocus_angle_deg=fit.defocus_angle_deg,
        phase_shift_deg=fit.phase_shift_deg,
        fit_resolution_A=fit.fit_resolution_A,
        score=fit.score,
        profile=fit.profile,
        spectrum=fit.picture,
    )
