"""What both CTF fitters share: from a micrograph or a given spectrum to a judged fit. Arithmetic is in the numerics."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cryoframe import CtfFit, Micrograph, StageContext
from cryoframe.errors import InvalidInput
from cryoframe.numerics import ctf_estimate, spectrum
from cryoframe.numerics.bounds import check_bounds, check_order
from cryoframe.numerics.ctf_fit import FitRange, Lens
from cryoframe.numerics.ice import inelastic_mean_free_path_A
from cryoframe.numerics.ice_thickness import thickness_from_intensity_A

MICROGRAPH, SPECTRUM = "micrograph", "spectrum"
_SMALLEST_PX = 64
#: Beam current drifts: a micrograph of hardly any ice may be this much brighter than the vacuum was.
_BRIGHTEST = 1.02


@dataclass(frozen=True)
class Settings:
    """What may be set of either fitter."""

    input: str = "micrograph"  #: "micrograph", or "spectrum": a power spectrum (n, n) with zero frequency at n//2
    low_A: float = 30.0  #: coarsest spacing used in the fit
    high_A: float = 4.5  #: finest spacing used in the fit; kept to at least 2.1 pixels
    defocus_min_A: float = 3000.0  #: least mean defocus searched, positive under focus
    defocus_max_A: float = 50000.0  #: largest mean defocus searched
    astigmatism_max_A: float = 2000.0  #: largest difference of the two defoci in the coarse search
    phase_shift_max_deg: float = 0.0  #: search phase shifts of a phase plate up to this; 0 = no phase plate
    tile_A: float = 750.0  #: edge of the tiles whose spectra are averaged
    clip_sd: float = 6.0  #: grey values further from the median than this many standard deviations are cut
    confidence_min_frac: float = 0.9  #: a fit of lower confidence is not accepted
    crystal_max_frac: float = 0.002  #: accept up to this power of ice's crystalline spots, as a share of their ring
    carbon_max_A: float = 25.0  #: accept what scatters like up to this thickness of carbon; 0 = any
    vacuum_grey: float = 0.0  #: mean [grey value] without specimen, slit in; gives ice thickness; 0 = not known
    mean_free_path_A: float = 0.0  #: of energy loss in ice, for the thickness by intensity; 0 = measured, by voltage

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
            confidence_min_frac=(0.0, 1.0),
            crystal_max_frac=(0.0, 1e9),
            carbon_max_A=(0.0, 1e6),
            vacuum_grey=(0.0, 1e12),
            mean_free_path_A=(0.0, 1e6),
        )
        check_order(self, "high_A", "low_A")
        check_order(self, "defocus_min_A", "defocus_max_A")
        if self.input not in (MICROGRAPH, SPECTRUM):
            raise InvalidInput(f"input = {self.input!r} was set", expected=f"'{MICROGRAPH}' or '{SPECTRUM}'")


@dataclass(frozen=True)
class Method:
    """How a fitter works: overlap of the tiles, parts along a side for local defocus (0 = none), and the fit."""

    overlap_frac: float
    n_parts: int
    fit: ctf_estimate.Fit


def run(micrograph: Micrograph, settings: Settings, ctx: StageContext, *, method: Method) -> CtfFit:
    """Fit and judge."""
    _check(micrograph)
    optics = micrograph.optics
    ctx.report(0, 2, "power spectrum")
    recording = recorded(micrograph, settings, ctx, method=method)
    ctx.report(1, 2, "fit")
    found = ctf_estimate.estimate(
        recording,
        Lens.of(optics.voltage_kV, optics.cs_mm, optics.amplitude_contrast_frac),
        FitRange(
            low_A=settings.low_A,
            high_A=settings.high_A,
            defocus_min_A=settings.defocus_min_A,
            defocus_max_A=settings.defocus_max_A,
            astigmatism_max_A=settings.astigmatism_max_A,
            phase_shift_max_deg=settings.phase_shift_max_deg,
        ),
        ctf_estimate.Demands(settings.confidence_min_frac, settings.crystal_max_frac, settings.carbon_max_A),
        fit=method.fit,
    )
    by_rings = None if found.thickness is None else found.thickness.thickness_A
    by_intensity = _by_intensity_A(micrograph, settings, ctx)
    # The mean of a micrograph is known to a thousandth; how rings fade tells less, and of thick ice only.
    product = _product(micrograph, recording, found, thickness_A=by_rings if by_intensity is None else by_intensity)
    if by_rings is not None and by_intensity is not None:
        ctx.metric("ice_thickness_by_rings_A", by_rings, "Å")
    _tell(ctx, product, found)
    return product


def _check(micrograph: Micrograph) -> None:
    spectrum.check_pixel_size(micrograph.pixel_size_A)
    spectrum.check_image(micrograph.data, smallest_px=_SMALLEST_PX)


def recorded(
    micrograph: Micrograph, settings: Settings, ctx: StageContext, *, method: Method
) -> ctf_estimate.Recording:
    """The spectrum of a micrograph, or the given one.

    Raises
    ------
    InvalidInput
        For a saturated micrograph, and a given spectrum that is not square with an even edge.
    """
    pixel_size_A, voltage_kV = micrograph.pixel_size_A, micrograph.optics.voltage_kV
    if settings.input == SPECTRUM:
        power = spectrum.half_of_full(micrograph.data)
        parts, centres = ctf_estimate.nothing()
        return ctf_estimate.Recording(power, pixel_size_A, voltage_kV, 0.0, parts, centres, tiled=False)
    spectrum.check_saturation(micrograph.data)
    tile_px = spectrum.tile_size(settings.tile_A, pixel_size_A, micrograph.shape_px)
    clipped = spectrum.clip_outliers(micrograph.data, n_sigma=settings.clip_sd)
    tiled = spectrum.tiled_spectra(
        clipped, tile_px, overlap_frac=method.overlap_frac, n_parts=method.n_parts, n_threads=ctx.n_threads
    )
    middle = 0.5 * (np.array(micrograph.shape_px[::-1]) - 1.0)
    return ctf_estimate.Recording(
        tiled.power,
        pixel_size_A,
        voltage_kV,
        micrograph.dose_e_A2,
        tiled.parts,
        (tiled.centres_px - middle) * pixel_size_A,
        extent_A=_weighed_extent_A(micrograph, tile_px),
        dose_weighted=micrograph.dose_weighted,
    )


def _weighed_extent_A(micrograph: Micrograph, tile_px: int) -> tuple[float, float]:
    """(x, y) size of the field less the taper at its sides, whose mean weight is half over half a tile."""
    ny, nx = micrograph.shape_px
    taper = 0.5 * tile_px
    return (nx - taper) * micrograph.pixel_size_A, (ny - taper) * micrograph.pixel_size_A


def _by_intensity_A(micrograph: Micrograph, settings: Settings, ctx: StageContext) -> float | None:
    """Thickness from intensity where the vacuum's is known and the micrograph's can be held against it."""
    if settings.vacuum_grey == 0.0 or settings.input == SPECTRUM:
        return None
    mean = float(micrograph.data.mean(dtype=np.float64))
    if micrograph.dose_weighted:
        ctx.log("No ice thickness from intensity: a dose-weighted sum is not in the units of vacuum_grey.")
    elif not 0.0 < mean <= _BRIGHTEST * settings.vacuum_grey:
        ctx.log(
            f"No ice thickness from intensity: the micrograph's mean of {mean:.4g} is no share of vacuum_grey ="
            f" {settings.vacuum_grey:.4g}. Measure vacuum_grey through an empty hole, at the dose of these movies."
        )
    else:
        free_path_A = settings.mean_free_path_A or inelastic_mean_free_path_A(micrograph.optics.voltage_kV)
        return thickness_from_intensity_A(mean, settings.vacuum_grey, free_path_A)
    return None


def _product(
    micrograph: Micrograph,
    recording: ctf_estimate.Recording,
    found: ctf_estimate.Estimate,
    *,
    thickness_A: float | None,
) -> CtfFit:
    fit, plane, local = found.fit, found.plane, None
    if plane is not None:
        middle_A = 0.5 * (np.array(micrograph.shape_px[::-1]) - 1.0) * recording.pixel_size_A
        local = np.column_stack([recording.centres_A + middle_A, plane.defocus_A]).astype(np.float32)
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
        confidence_frac=found.evidence.confidence_frac,
        accepted=not found.verdict,
        verdict=found.verdict,
        ice_thickness_A=thickness_A,
        tilt_deg=None if plane is None else plane.tilt_deg,
        tilt_axis_deg=None if plane is None else plane.tilt_axis_deg,
        local_defocus=local,
    )


def _tell(ctx: StageContext, product: CtfFit, found: ctf_estimate.Estimate) -> None:
    """Metrics, and one line for people."""
    ctx.metric("ctf_score", product.score)
    ctx.metric("fit_resolution_A", product.fit_resolution_A, "Å")
    ctx.metric("ctf_confidence_frac", found.evidence.confidence_frac)
    ctx.metric("ctf_accepted", float(product.accepted))
    for name, value, unit in (
        ("ice_thickness_A", product.ice_thickness_A, "Å"),
        ("tilt_deg", product.tilt_deg, "°"),
        ("crystalline_ice_frac", found.crystal_frac, ""),
        ("carbon_equivalent_A", found.carbon_A, "Å"),
    ):
        if value is not None:
            ctx.metric(name, value, unit)
    defoci = f"{product.defocus_u_A:.0f} / {product.defocus_v_A:.0f} Å"
    if product.accepted:
        ctx.report(2, 2, f"{defoci}, rings to {product.fit_resolution_A:.1f} Å")
    else:
        ctx.report(2, 2, f"not accepted: {product.verdict} ({defoci})")
