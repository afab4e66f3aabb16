"""One half-set during a refinement: its images, spectra, poses and map, and nothing of the other half-set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cryoframe.numerics import fourier, refine_frame, refine_near, refine_whole, residuals
from cryoframe.numerics.filters import filter_pass
from cryoframe.numerics.insertion import Accumulator
from cryoframe.numerics.masks import grow, soft_edge
from cryoframe.numerics.polar_images import cropped_side
from cryoframe.numerics.pose_lattice import Modes
from cryoframe.numerics.pose_search import Poses
from cryoframe.numerics.refine_images import ImageSet
from cryoframe.numerics.refine_whole import Spectra
from cryoframe_refine.half import Geometry

Array = npt.NDArray[Any]
F32 = npt.NDArray[np.float32]

#: Images of a half-set that the first searches over all orientations use, a map of low resolution needs no more.
N_FIRST = 4000
#: Images that the scale of the start is found from.
_N_SCALE = 64
# Fewer tell no frame.
_LEAST_RINGS = 3.0
# The solvent begins where the map, low-passed, falls below this share of its bright parts; cf. cryoSPARC's dynamic
# mask, Punjani et al., Nat. Methods 14, 290 (2017).
_SOLVENT_FRAC = 0.2


class LeftOut(NamedTuple):
    """Shares of posteriors that searches did not see or sum.

    `largest`: of any image, left out of the sums of any search over all orientations; `beyond`: mean over images,
    outside of the candidates that the last such search handed on; `rim`: mean over images, at the outermost points of
    the lattices of the last near search: where posteriors are Gaussian, less than that lies outside of them.
    """

    largest: float = 0.0
    beyond: float = 0.0
    rim: float = 0.0


NOTHING_LEFT = LeftOut()


@dataclass(frozen=True)
class HalfSet:
    """State of one half-set between iterations.

    Attributes
    ----------
    images
        Its images.
    reference
        `(s, s, s)` its map, masked, of as many voxels as its resolution asks for.
    spectra
        Noise by group, scale of each image, deviation of translations.
    modes
        Poses that hold the posterior; none before the first search.
    insert
        Poses it is summed at; none before the first near search.
    candidates
        Where the first near search begins; none before a search over all orientations and after a near one.
    left_out
        What searches left out of the posteriors.
    """

    images: ImageSet
    reference: F32
    spectra: Spectra
    modes: Modes | None = None
    candidates: Poses | None = None
    insert: Modes | None = None
    left_out: LeftOut = NOTHING_LEFT


def begin(images: ImageSet, start: F32, geometry: Geometry, lattice: refine_whole.Lattice) -> HalfSet:
    """State before the first search: noise from the images' power, the start brought to the images' scale."""
    n_rings = images.box_px // 2 + 1
    power = np.zeros((images.n_groups, n_rings))
    for block in images.blocks():
        still = np.zeros((block.stop - block.start, 2))
        np.add.at(power, images.groups[block], residuals.power_by_ring(images.transforms(block, still)))
    power /= np.maximum(np.bincount(images.groups, minlength=images.n_groups), 1)[:, None]
    # Particles lie within the range to three deviations.
    spectra = Spectra(power, np.ones(len(images)), max(1.0, geometry.offset_range_px / 3.0))
    some = np.linspace(0, len(images) - 1, min(len(images), _N_SCALE)).astype(np.int64)
    few = spectra._replace(scale=spectra.scale[some])
    lattice = lattice._replace(shift_range_px=min(lattice.shift_range_px, 2.0 * lattice.shift_step_px))
    scale = refine_whole.scale_of(images.pick(some), start, few, lattice, symmetry=geometry.symmetry)
    return HalfSet(images, (start * scale).astype(np.float32), spectra)


def search_whole(
    state: HalfSet,
    geometry: Geometry,
    lattice: refine_whole.Lattice,
    *,
    rows: Array,
    side: int,
    on_block: Callable[[int], None],
) -> tuple[HalfSet, Accumulator]:
    """Search all orientations of some of the images, and sum those at their posteriors."""
    centres = np.zeros((len(rows), 2)) if state.modes is None else state.modes.shifts_px[rows, 0]
    found = refine_whole.expect(
        state.images.pick(rows),
        _reaching(state, lattice.r_sum),
        state.spectra._replace(scale=state.spectra.scale[rows]),
        lattice,
        symmetry=geometry.symmetry,
        side=side,
        centres_px=centres,
        on_block=on_block,
    )
    spectra = state.spectra._replace(noise=found.noise, sigma_px=found.sigma_px)
    candidates = _placed(found.candidates, rows, len(state.images))
    modes = refine_near.modes_of(candidates, evidence_frac=1.0)
    left_out = LeftOut(max(state.left_out.largest, float(found.lost.max())), float(found.beyond.mean()), 0.0)
    state = replace(state, spectra=spectra, modes=modes, insert=None, candidates=candidates, left_out=left_out)
    return state, found.sums


def _reaching(state: HalfSet, r_max: float) -> F32:
    """The map with room for frequencies up to `r_max` [cycles per box]; there is nothing at those it lacks."""
    return resized(state.reference, max(state.reference.shape[0], cropped_side(state.images.box_px, r_max)))


def _placed(found: Poses, rows: Array, n_images: int) -> Poses:
    """Candidates of some of the images among those of all, which have one of no meaning."""
    k = found.scores.shape[1]
    whole = Poses(np.tile(np.eye(3), (n_images, k, 1, 1)), np.zeros((n_images, k, 2)), np.full((n_images, k), -np.inf))
    whole.scores[:, 0] = 0.0
    for all_of, part in zip(
        (whole.rotations, whole.shifts_px, whole.scores), (found.rotations, found.shifts_px, found.scores), strict=True
    ):
        all_of[rows] = part
    return whole


def search_near(
    state: HalfSet, geometry: Geometry, plan: refine_near.Plan, *, on_block: Callable[[int], None]
) -> HalfSet:
    """Search near the candidates of a search over all orientations, or near the modes known."""
    start = state.candidates or state.modes
    assert start is not None
    found = refine_near.expect(
        state.images, _reaching(state, plan.r_max), state.spectra, start, plan=plan, on_block=on_block
    )
    left_out = state.left_out._replace(rim=float(found.rim.mean()))
    return replace(state, modes=found.modes, insert=found.insert, candidates=None, left_out=left_out)


def brought_back(state: HalfSet, geometry: Geometry, start: F32, *, spacing_A: float) -> HalfSet:
    """Poses in the frame of the start, from those in the frame of this half-set's map, which has drifted."""
    assert state.modes is not None
    assert state.insert is not None
    frame = refine_frame.register(
        state.reference,
        start,
        box_px=geometry.box_px,
        r_max=max(geometry.ring(spacing_A), _LEAST_RINGS),
        operators=geometry.operators,
    )
    modes, insert = (
        Modes(*frame.poses(kept.rotations, kept.shifts_px), kept.share, kept.width_deg)
        for kept in (state.modes, state.insert)
    )
    return replace(state, modes=modes, insert=insert)


def sums_of(state: HalfSet, geometry: Geometry, *, side: int) -> Accumulator:
    """Sum all images at the cells of their posterior, as finely as the side allows."""
    insert = state.insert or state.modes
    assert insert is not None
    return refine_near.accumulate(
        state.images, insert, state.spectra, operators=geometry.operators, side=side, r_max=0.5 * side - 1.0
    )


def update(
    state: HalfSet, geometry: Geometry, volume: F32, *, resolution_A: float, measure: bool, flatten: bool
) -> HalfSet:
    """Take a new map of this half-set as reference; measure the noise that it leaves and the scale of each image."""
    outer = geometry.mask_of(volume.shape[0])
    mask = protein_mask(volume, geometry, resolution_A=resolution_A) if flatten else outer
    reference = (volume * mask).astype(np.float32)
    moved = replace(state, reference=reference)
    if not measure or state.modes is None:
        return moved
    noise, cross, square = refine_near.remains(
        state.images, reference, state.modes, state.spectra, r_scale=geometry.ring(resolution_A)
    )
    scale = scales(cross * geometry.mask_frac, square * geometry.mask_frac)
    return replace(moved, spectra=state.spectra._replace(noise=noise, scale=scale))


def scales(cross: Array, square: Array) -> Array:
    """Scale `(m,)` of each image, drawn towards the mean by how far scales differ at all; their mean is 1.

    Parameters
    ----------
    cross, square
        `(m,)`: ``sum Re conj(X) C P / sigma^2`` and ``sum C^2 |P|^2 / sigma^2``, independent samples counted once.

    References
    ----------
    Empirical Bayes with a normal prior: Morris, J. Am. Stat. Assoc. 78, 47 (1983), doi:10.2307/2287098.
    """
    square = np.maximum(square, 1e-6 * max(float(square.max()), 1e-30))
    mean = max(float(cross.sum() / square.sum()), 1e-3)
    error = 0.5 / square
    # Weighted by what each image knows, so that images of no signal do not decide how far scales differ.
    spread = float(np.average((cross / square - mean) ** 2 - error, weights=1.0 / error**2))
    if spread <= 1e-4 * mean**2:
        return np.ones(len(cross))
    shrunk = (cross / square / error + mean / spread) / (1.0 / error + 1.0 / spread)
    return np.asarray(np.clip(shrunk / mean, 0.2, 5.0))


def protein_mask(volume: F32, geometry: Geometry, *, resolution_A: float) -> F32:
    """Mask `(s, s, s)` of what stands out of the solvent in this map alone, within that of the refinement."""
    side = volume.shape[0]
    outer = geometry.mask_of(side)
    if not float(np.max(volume)) > 0.0:
        return outer
    voxel_A = geometry.box_px * geometry.pixel_size_A / side
    smooth = filter_pass(volume * outer, pixel_size_A=voxel_A, n_dims=3, low_pass_A=max(1.5 * resolution_A, 15.0))
    bright = float(np.quantile(smooth, 0.9995))
    inside = smooth > _SOLVENT_FRAC * bright
    if bright <= 0.0 or not inside.any():
        return outer
    wide_px = max(2.0, 0.75 * resolution_A / voxel_A)
    return np.asarray(outer * soft_edge(grow(inside, wide_px), wide_px), dtype=np.float32)


def resized(volume: F32, side: int) -> F32:
    """Return the map on another number of voxels, its transform as it is."""
    if side == volume.shape[0]:
        return volume
    whole = fourier.resize_centred_ft(fourier.fft3_centred(volume), side, n_dims=3)
    return np.asarray(fourier.ifft3_centred(whole, n=side), dtype=np.float32)
