"""A reference found in a micrograph: noise, bank, peaks, and whether picks resemble it beyond the picking band."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from cryoframe.errors import InvalidInput
from cryoframe.numerics import ctf
from cryoframe.numerics.backend import C64, F32, Bools, Floats, Ints, Reals
from cryoframe.numerics.blob import noise_beside
from cryoframe.numerics.fourier import ifft2_centred, irfft2, phase_ramp
from cryoframe.numerics.masks import circular_mask, spherical_mask
from cryoframe.numerics.matched_filter import Canvas, Transfer, prepare
from cryoframe.numerics.peaks import local_maxima
from cryoframe.numerics.pick_bias import Likeness, likeness, windows
from cryoframe.numerics.pick_choice import Search, choose
from cryoframe.numerics.pick_pursuit import explained
from cryoframe.numerics.resample import resample_volume, resampling_matrix
from cryoframe.numerics.template_match import (
    Bank,
    basis_maps,
    best_templates,
    chance_of,
    extremes,
    make_bank,
    views_of_averages,
    views_of_map,
    whitened,
)

#: Pixels to the finest spacing that picking uses; frequencies beyond it, to this share of its spacing, are held out.
_SAMPLES = 2.5
_HELD_OUT_SHARE = 0.6
#: Peaks from this share of the threshold on are candidates, which others may explain.
_CANDIDATE_SHARE = 0.8
#: Picks that are enough to judge the rest by.
_JUDGED = 200


@dataclass(frozen=True)
class Reference:
    """What is looked for: a map `(nz, ny, nx)` or class averages `(m, n, n)`, protein bright.

    `view_step_deg` and `psi_step_deg` are the steps between views and in the plane; `low_pass_A` is the finest spacing
    that is used for picking.
    """

    data: F32
    pixel_size_A: float
    kind: Literal["map", "averages"]
    diameter_A: float
    low_pass_A: float = 20.0
    view_step_deg: float = 30.0
    psi_step_deg: float = 15.0
    symmetry: str = "C1"

    def views(self, n: int, pixel_A: float) -> C64:
        """Transforms `(t, n, n//2+1)` of all views at all angles."""
        radius, edge = 0.55 * self.diameter_A / pixel_A, 0.1 * self.diameter_A / pixel_A
        if self.kind == "map":
            volume = resample_volume(self.data, self.pixel_size_A, n=n, new_pixel_size_A=pixel_A)
            volume = volume * spherical_mask(n, radius, edge_px=edge)
            return views_of_map(
                volume, view_step_deg=self.view_step_deg, psi_step_deg=self.psi_step_deg, symmetry=self.symmetry
            )
        rows, columns = (resampling_matrix(side, n, pixel_A / self.pixel_size_A) for side in self.data.shape[1:])
        images = (rows @ self.data @ columns.T).astype(np.float32) * circular_mask(n, radius, edge_px=edge)
        return views_of_averages(images, psi_step_deg=self.psi_step_deg)


class FoundViews(NamedTuple):
    """Positions `(m, 2)` (x, y) [Å], z `(m,)`, highest first; which template each is, and what is to be known of all.

    `n_by_chance` is how many peaks noise gives above `threshold`; `kept_frac` how much of the templates the bank holds.
    """

    positions_A: Reals
    z: Reals
    template: Ints
    threshold: float
    n_by_chance: float
    kept_frac: float
    likeness: Likeness


def find_views(
    micrograph: Floats,
    pixel_size_A: float,
    reference: Reference,
    search: Search,
    *,
    optics: Mapping[str, float],
    n_false: float,
    rng: np.random.Generator,
    n_threads: int = 1,
) -> FoundViews:
    """Find views of a reference in a micrograph.

    Parameters
    ----------
    micrograph
        `(ny, nx)` as recorded, particles dark.
    pixel_size_A
        Its pixel.
    reference, search
        What is looked for, and how picks are chosen; `search.threshold` is the least z, whatever chance says.
    optics
        Arguments of :func:`cryoframe.numerics.ctf.ctf_half` but size and pixel; empty = no CTF.
    n_false
        How many peaks of noise a micrograph may give.
    rng
        Draws the noise by which chance is measured.

    References
    ----------
    Matched filter: North, Proc. IEEE 51, 1016 (1963), doi 10.1109/PROC.1963.2383; whitened templates: Sigworth,
    J. Struct. Biol. 145, 111 (2004), doi 10.1016/j.jsb.2003.11.025.
    """
    low_pass_A = max(reference.low_pass_A, 2.0 * pixel_size_A)
    canvas = prepare(
        micrograph,
        pixel_size_A,
        small_pixel_A=low_pass_A / _SAMPLES,
        margin_A=_extent_A(reference, optics),
        n_threads=n_threads,
    )
    power, free = noise_beside(canvas, search, _round_transfer(optics))
    n = _box_px(reference, optics, canvas.pixel_A)
    if n > min(canvas.image.shape):
        raise InvalidInput(
            f"templates of {n * canvas.pixel_A:.0f} Å do not fit into the micrograph",
            remedy="Set a smaller diameter_A, or look at the defocus.",
        )
    views = reference.views(n, canvas.pixel_A)
    bank = make_bank(views, _weight(n, canvas, power, optics, band=(0.0, 1.0 / low_pass_A)))
    shape = (canvas.image.shape[0], canvas.image.shape[1])
    maps = basis_maps(whitened(canvas, power), canvas.shape, bank, shape)
    maps /= _deviation(maps, free)
    chance = chance_of(bank, float(canvas.image.size), rng)
    threshold = max(chance.z_for(n_false), search.threshold)
    chosen, z, template = _picked(canvas, maps, bank, search, threshold=threshold)
    positions_A = canvas.to_A(chosen)
    judged = _judge(
        micrograph,
        pixel_size_A,
        reference,
        found=(positions_A[:_JUDGED], z[:_JUDGED], template[:_JUDGED]),
        noise=(canvas.ring_k_1_A, power),
        optics=optics,
        search=search,
    )
    return FoundViews(positions_A, z, template, threshold, chance.n_above(threshold), bank.kept_frac, judged)


def _picked(canvas: Canvas, maps: F32, bank: Bank, search: Search, *, threshold: float) -> tuple[Reals, Reals, Ints]:
    """Picks: positions [px of the small image], z, template. What a stronger one explains is taken off the weaker."""
    floor = _CANDIDATE_SHARE * threshold
    high, low = extremes(maps, bank, floor=floor)
    dark, bright = local_maxima(high, threshold=floor), local_maxima(-low, threshold=floor)
    best = [best_templates(maps, bank, one[0], sign=sign) for one, sign in ((dark, 1.0), (bright, -1.0))]
    n_dark = len(dark[1])
    positions = np.concatenate([dark[0], bright[0]])
    kernels = np.concatenate([bank.template(best[0]), -bank.template(best[1])])
    accepted, left = explained(
        positions,
        np.concatenate([dark[1], bright[1]]),
        kernels,
        may_be_real=np.arange(len(positions)) < n_dark,
        apart_px=search.apart_px(canvas),
        least=threshold,
    )
    accepted = accepted[np.argsort(-left[accepted], kind="stable")]
    opposite = (positions[n_dark:], left[n_dark:])
    real, _ = choose(canvas, (positions[accepted], left[accepted]), opposite, search, threshold=threshold)
    rows = accepted[real]
    return positions[rows], left[rows], best[0][rows]


def _round_transfer(optics: Mapping[str, float]) -> Transfer | None:
    if not optics:
        return None
    return Transfer(
        voltage_kV=optics["voltage_kV"],
        cs_mm=optics["cs_mm"],
        amplitude_contrast=optics["amplitude_contrast"],
        defocus_A=0.5 * (optics["defocus_u_A"] + optics["defocus_v_A"]),
        phase_shift_deg=optics["phase_shift_deg"],
    )


def _extent_A(reference: Reference, optics: Mapping[str, float]) -> float:
    """Diameter and as far as the CTF spreads what is at the finest spacing: λ·Δf·k to either side."""
    spread_A = 0.0
    if optics:
        wavelength_A = ctf.wavelength_A(optics["voltage_kV"])
        spread_A = wavelength_A * max(abs(optics["defocus_u_A"]), abs(optics["defocus_v_A"])) / reference.low_pass_A
    return 1.1 * reference.diameter_A + 2.0 * min(spread_A, reference.diameter_A)


def _box_px(reference: Reference, optics: Mapping[str, float], pixel_A: float) -> int:
    return 2 * int(np.ceil(0.5 * _extent_A(reference, optics) / pixel_A)) + 2


def _weight(n: int, canvas: Canvas, power: Reals, optics: Mapping[str, float], *, band: tuple[float, float]) -> Reals:
    """CTF over the deviation of the noise within a band [1/Å], `(n, n//2+1)` in the centred half layout."""
    return _weight_of(n, canvas.pixel_A, (canvas.ring_k_1_A, power), optics, band=band)


def _weight_of(
    n: int, pixel_A: float, noise: tuple[Reals, Reals], optics: Mapping[str, float], *, band: tuple[float, float]
) -> Reals:
    kx, ky = ctf.half_frequencies(n, pixel_A)
    k = np.hypot(kx, ky)
    weight = np.where((k > band[0]) & (k <= band[1]), 1.0 / np.sqrt(np.interp(k, *noise)), 0.0)
    if optics:
        weight = weight * ctf.ctf_half(n, pixel_A, **optics)[0]  # type: ignore[arg-type]  # names of numbers only
    return np.asarray(weight, dtype=np.float64)


def _deviation(maps: F32, free: Bools | None) -> float:
    """Standard deviation of the basis maps where no particle is; 1 if the noise power was right."""
    sample = maps.reshape(len(maps), -1) if free is None else maps[:, free]
    deviation = 1.4826 * float(np.median(np.abs(sample[:: max(len(maps) // 8, 1), ::5])))
    return deviation or 1.0


def _judge(
    micrograph: Floats,
    pixel_size_A: float,
    reference: Reference,
    *,
    found: tuple[Reals, Reals, Ints],
    noise: tuple[Reals, Reals],
    optics: Mapping[str, float],
    search: Search,
) -> Likeness:
    """Correlate picks with their templates at frequencies that picking did not see."""
    positions_A, z, template = found
    held_out_A = _HELD_OUT_SHARE * reference.low_pass_A
    if not len(z) or held_out_A < 2.0 * pixel_size_A:
        return Likeness(0.0, 0.0, 0.0)
    canvas = prepare(micrograph, pixel_size_A, small_pixel_A=held_out_A / 2.2, margin_A=_extent_A(reference, optics))
    power, _ = noise_beside(canvas, search, _round_transfer(optics))
    band = (1.0 / reference.low_pass_A, 1.0 / held_out_A)
    white = whitened(canvas, power) * ((canvas.k_1_A > band[0]) & (canvas.k_1_A <= band[1]))
    image = irfft2(white.astype(np.complex64), canvas.shape)[: canvas.image.shape[0], : canvas.image.shape[1]]
    n = _box_px(reference, optics, canvas.pixel_A)
    cut, left_px, rows = windows(image.astype(np.float32), (positions_A - canvas.first_A) / canvas.step_A, n)
    if not len(rows):
        return Likeness(0.0, 0.0, 0.0)
    weight = _weight_of(n, canvas.pixel_A, (canvas.ring_k_1_A, power), optics, band=band)
    views = reference.views(n, canvas.pixel_A)[template[rows]] * weight
    wanted = ifft2_centred((views * phase_ramp(n, left_px)).astype(np.complex64)).reshape(len(rows), -1)
    norm = np.linalg.norm(wanted, axis=1)
    held_out = np.einsum("ij,ij->i", cut.reshape(len(rows), -1), wanted) / np.maximum(norm, 1e-30)
    area_A2 = (n * canvas.pixel_A) ** 2
    samples = [np.pi * area_A2 * (high**2 - low**2) for low, high in ((0.0, band[0]), band)]
    return likeness(
        z[rows].astype(np.float64),
        held_out.astype(np.float64),
        n_in_band=max(int(samples[0]), 1),
        n_held_out=max(int(samples[1]), 1),
    )
