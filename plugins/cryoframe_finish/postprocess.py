"""FSC freed from the mask, B-factor sharpening, low-pass at the resolution. No numerics of its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cryoframe import FscTable, HalfMaps, Mask, SharpenedMap, StageContext, Volume, hookimpl
from cryoframe.errors import InvalidInput
from cryoframe.formats.star import read_star
from cryoframe.numerics import fourier, fsc, radial
from cryoframe.numerics.bounds import check_bounds
from cryoframe.numerics.filters import b_factor, low_pass
from cryoframe.numerics.grids import frequencies_1_A
from cryoframe_finish.admission import check_halves, provenance_of

F32 = npt.NDArray[np.float32]
Reals = npt.NDArray[np.float64]

DEVICES = ("cpu",)

#: Finest spacing over coarsest of a Guinier fit that is believed: 6.5 Å for a fit from 10 Å. Rosenthal & Henderson fit
#: from 10 Å on because what is coarser is ruled by the molecule's shape; from there to some 6 Å a protein's amplitudes
#: fall for reasons of its structure, and a line that ends before measures that flank: several times too steep.
_RANGE_FRAC = 0.65
_FEWEST_SHELLS = 4
#: Sharpening beyond the Guinier fit by more than this share of it, and this much, makes noise look like signal.
_EXCESS_FRAC, _EXCESS_A2 = 0.1, 10.0
#: A detector's response below this is not divided by: it would bring up nothing but noise.
_LEAST_MTF = 0.05
_LARGEST_MTF = 1.5
#: What noise may correlate within the mask, about the resolution; chance alone brings some 0.05 in small boxes.
_TIGHT_FSC = 0.2
#: Agreement that ends within so many shells is that of two blobs.
_FEWEST_RESOLVED = 3
#: What the first shells of two halves of one molecule do not correlate to, unless the contrast of one is inverted.
_OPPOSITE_FSC = -0.5


@dataclass(frozen=True)
class Params:
    """How the map is sharpened."""

    b_factor_A2: float = 0.0  # applied to the map, negative sharpens; 0 = from the Guinier plot
    guinier_low_A: float = 10.0  # the Guinier plot is fitted from here to the resolution
    unsure_b_factor_A2: float = 100.0  # sharpen by at most this where the resolution is too low for a Guinier fit
    randomise_below_fsc: float = 0.8  # phases are randomised from where the unmasked FSC falls below this [FSC]
    apply_mask: bool = True  # multiply the result with the mask
    mtf_path: Path | None = (
        None  # STAR file of the detector's MTF (rlnResolutionInversePixel, rlnMtfValue) to divide by
    )
    mtf_pixel_size_A: float = 0.0  # pixel the movies were recorded with, to scale the MTF; 0 = the map's pixel

    def __post_init__(self) -> None:
        """Refuse values that cannot be meant."""
        check_bounds(
            self,
            b_factor_A2=(-10000.0, 10000.0),
            guinier_low_A=(2.0, 1000.0),
            unsure_b_factor_A2=(0.0, 1000.0),
            randomise_below_fsc=(0.143, 1.0),
            mtf_pixel_size_A=(0.0, 1000.0),
        )


@hookimpl
def postprocess(half_maps: HalfMaps, mask: Mask, params: Params, ctx: StageContext) -> SharpenedMap:
    """Correct the FSC for the mask, sharpen and low-pass the map.

    References
    ----------
    Phase randomisation: Chen et al., Ultramicroscopy 135, 24 (2013). Sharpening: Rosenthal & Henderson, J. Mol. Biol.
    333, 721 (2003).
    """
    first, second, weight = check_halves(half_maps, mask)
    assert weight is not None
    pixel = half_maps.first.pixel_size_A
    response = detector_response(params, len(first), pixel)
    table, chance = fsc_table(first, second, weight, pixel_size_A=pixel, params=params, ctx=ctx)
    ctx.report(1, 2, "FSC")
    resolution_A = table.resolution_A(0.143, curve="fsc_corrected")
    _tell(table, chance, resolution_A, ctx)
    average = 0.5 * (first + second)
    # The detector dims both halves alike: their correlation does not know of it, the fall-off of the map does.
    weights = fsc.fsc_weights(np.nan_to_num(table.floats("fsc_corrected"))) / response
    automatic = -automatic_b_factor(average * weight, weights, resolution_A, pixel_size_A=pixel, params=params, ctx=ctx)
    applied = (params.b_factor_A2 or automatic) + 0.0
    sharpened = _filtered(average, weights, applied, resolution_A=resolution_A, pixel_size_A=pixel)
    if params.apply_mask:
        sharpened = sharpened * weight
    ctx.report(2, 2, f"{resolution_A:.2f} Å, B {applied:.0f} Å²")
    ctx.metric("resolution_A", resolution_A, "Å")
    ctx.metric("b_factor_A2", applied, "Å²")
    source = half_maps.first
    volume = Volume(sharpened.astype(np.float32), pixel, source.symmetry, provenance_of(half_maps))
    return SharpenedMap(volume, float(applied), table)


def fsc_table(
    first: F32, second: F32, mask: F32, *, pixel_size_A: float, params: Params, ctx: StageContext
) -> tuple[FscTable, Reals]:
    """FSC without mask, with it, and with the mask's own correlation taken off; and that of the mask alone."""
    bare = fsc.fsc_curve(first, second, pixel_size_A=pixel_size_A)
    masked = fsc.fsc_curve(first, second, pixel_size_A=pixel_size_A, mask=mask)
    below = np.flatnonzero(bare.fsc[1:] < params.randomise_below_fsc)
    corrected, by_mask = masked.fsc, np.zeros(len(masked.fsc))
    if len(below):
        shell = int(below[0]) + 1
        rng = ctx.rng
        noise = [fsc.phase_randomised(half, beyond_shell=shell, rng=rng) for half in (first, second)]
        chance = fsc.fsc_curve(noise[0], noise[1], pixel_size_A=pixel_size_A, mask=mask)
        corrected = fsc.corrected_fsc(masked.fsc, chance.fsc, beyond_shell=shell)
        by_mask[shell:] = chance.fsc[shell:]
    table = FscTable.of_shells(
        bare.frequency_1_A, bare.n_voxels, fsc_unmasked=bare.fsc, fsc_masked=masked.fsc, fsc_corrected=corrected
    )
    return table, by_mask


def _tell(table: FscTable, chance: Reals, resolution_A: float, ctx: StageContext) -> None:
    """Say what the curve is not to be believed for: a mask that makes noise agree, no agreement, no end of it.

    References
    ----------
    Randomised phases that still correlate at the resolution tell of too tight a mask: Chen et al., Ultramicroscopy
    135, 24 (2013), doi:10.1016/j.ultramic.2013.06.004.
    """
    frequency, corrected = table.floats("frequency_1_A"), table.floats("fsc_corrected")
    at = int(np.argmin(np.abs(frequency - 1.0 / resolution_A)))
    by_mask = float(np.mean(chance[max(at - 1, 1) : at + 2]))
    ctx.metric("mask_correlation_frac", by_mask)
    if by_mask > _TIGHT_FSC:
        ctx.log(
            f"ALARM: within this mask noise alone correlates to {by_mask:.2f} at {resolution_A:.1f} Å: it is too tight "
            "or too sharp and the resolution is not to be relied on; make it with larger extend_A and edge_A"
        )
    if float(table.floats("fsc_unmasked")[1 : 2 + _FEWEST_RESOLVED].mean()) < _OPPOSITE_FSC:
        ctx.log("ALARM: the half-maps are each other's negative: change the sign of the one that shows protein dark")
    elif at <= _FEWEST_RESOLVED:
        ctx.log(
            f"ALARM: the half-maps agree to {resolution_A:.0f} Å only, which is the size of the box and no structure: "
            "look at the refinement before going on"
        )
    if not (corrected[1:] < 0.143).any():
        ctx.log(
            f"the FSC does not fall below 0.143 before {resolution_A:.2f} Å, the finest the pixels hold: extract with "
            "smaller pixels; at far finer than expected, make sure that the half-sets share no particle"
        )


def detector_response(params: Params, n: int, pixel_size_A: float) -> Reals:
    """Response of the detector at each shell of the map, 1 where none is given; never below what can be divided by."""
    if params.mtf_path is None:
        return np.ones(n // 2 + 1)
    blocks = read_star(params.mtf_path, require_final_newline=False)
    names = ("rlnResolutionInversePixel", "rlnMtfValue")
    block = next((block for block in blocks.values() if names[0] in block), None)
    if block is None:
        raise InvalidInput(f"{params.mtf_path.name} holds no MTF", expected=f"a STAR loop of {names[0]} and {names[1]}")
    frequency, response = (block.floats(name) for name in names)
    if response.max(initial=0.0) > _LARGEST_MTF:
        raise InvalidInput(
            f"the MTF in {params.mtf_path.name} reaches {response.max():g}",
            expected="a share, 1 at zero frequency",
            remedy="Divide its values by the first one if they are in per cent.",
        )
    if len(frequency) < 2 or not (np.diff(frequency) > 0.0).all() or not response[0] > 0.0:
        raise InvalidInput(
            f"the MTF in {params.mtf_path.name} is no curve",
            expected="frequencies that rise [1/px], a positive value at the first",
        )
    # Cycles per recorded pixel: the map's pixels may be larger, binned ones.
    wanted = np.arange(n // 2 + 1) / (n * pixel_size_A) * (params.mtf_pixel_size_A or pixel_size_A)
    return np.maximum(np.interp(wanted, frequency, response), _LEAST_MTF)


def automatic_b_factor(
    average: F32, weights: Reals, resolution_A: float, *, pixel_size_A: float, params: Params, ctx: StageContext
) -> float:
    """B-factor to take off: the fitted one, or at most `unsure_b_factor_A2` of it where the fit's range is too short.

    References
    ----------
    Range from 10 Å on: Rosenthal & Henderson, J. Mol. Biol. 333, 721 (2003), doi:10.1016/j.jmb.2003.07.013.
    """
    fitted = fitted_b_factor(average, weights, resolution_A, pixel_size_A, params)
    needed_A = _RANGE_FRAC * params.guinier_low_A
    trusted = resolution_A <= needed_A
    ctx.metric("guinier_b_factor_A2", fitted, "Å²")
    ctx.metric("guinier_trusted", float(trusted))
    _warn_of_excess(fitted if fitted > 0.0 else params.unsure_b_factor_A2, params, ctx)
    if trusted:
        return fitted
    if params.b_factor_A2:
        return 0.0
    applied = min(max(fitted, 0.0), params.unsure_b_factor_A2)
    ctx.log(
        f"a Guinier fit from {params.guinier_low_A:g} Å needs {needed_A:.1f} Å or better and the map reaches "
        f"{resolution_A:.1f} Å: the fitted {0.0 - fitted:.0f} Å² is not trusted, {0.0 - applied:.0f} Å² is applied; "
        "set b_factor_A2 to sharpen otherwise"
    )
    return applied


def _warn_of_excess(fitted: float, params: Params, ctx: StageContext) -> None:
    """Raise the alarm where the B-factor asked for is beyond what the map has lost.

    References
    ----------
    Over-sharpening against the Guinier fit: Rosenthal & Henderson, J. Mol. Biol. 333, 721 (2003).
    """
    excess_A2 = max(-params.b_factor_A2 - fitted, 0.0)
    over = excess_A2 > _EXCESS_FRAC * fitted + _EXCESS_A2
    ctx.metric("over_sharpened", float(over))
    if over:
        ctx.log(
            f"ALARM: over-sharpened: {params.b_factor_A2:.0f} Å² is {excess_A2:.0f} Å² beyond the {-fitted:.0f} Å² "
            "that the Guinier plot asks for; what stands out at high resolution is noise. Leave b_factor_A2 at 0"
        )


def fitted_b_factor(average: F32, weights: Reals, resolution_A: float, pixel_size_A: float, params: Params) -> float:
    """B-factor of the map's fall-off between `guinier_low_A` and its resolution; 0 where too few shells are left."""
    n = average.shape[0]
    frequency = np.arange(n // 2 + 1) / (n * pixel_size_A)
    high_A = max(resolution_A, 2.0 * pixel_size_A)
    if np.count_nonzero((frequency >= 1.0 / params.guinier_low_A) & (frequency <= 1.0 / high_A)) < _FEWEST_SHELLS:
        return 0.0
    amplitude = radial.radial_average(np.abs(fourier.fft3_centred(average))) * weights
    return fsc.guinier_b_factor(frequency, amplitude, low_A=params.guinier_low_A, high_A=high_A).b_factor_A2


def _filtered(average: F32, weights: Reals, applied_b_A2: float, *, resolution_A: float, pixel_size_A: float) -> F32:
    """FSC-weighted, sharpened and low-passed at the resolution."""
    n = average.shape[0]
    frequency = frequencies_1_A(average.shape, pixel_size_A)
    transfer = radial.expand_radial(weights, n, n_dims=3) * b_factor(frequency, applied_b_A2)
    transfer = transfer * low_pass(frequency, resolution_A, edge_1_A=2.0 / (n * pixel_size_A))
    ft = fourier.fft3_centred(average) * transfer.astype(np.float32)
    return np.asarray(fourier.ifft3_centred(ft), dtype=np.float32)
