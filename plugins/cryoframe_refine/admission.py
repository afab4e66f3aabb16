"""What a refinement does not begin with: too few particles, mixed pixels, maps of nothing, duplicates across halves."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from cryoframe import Mask, ParticleStack, ParticleTable, Volume
from cryoframe.errors import HalfSetError, InvalidInput
from cryoframe.numerics.mapped import give_back
from cryoframe.numerics.polar_images import fit_images

Array = npt.NDArray[Any]

#: Fewer particles than this make no map.
FEWEST = 10
#: Picks nearer to each other than this share of the particle's diameter are one particle.
_SAME_FRAC = 0.1
_SAME_PIXEL_FRAC = 1e-3
_AT_ONCE = 64


def check_inputs(stack: ParticleStack, reference: Volume, mask: Mask | None) -> None:
    """Refuse what cannot be refined, before any work.

    Raises
    ------
    InvalidInput
        Saying which input, what was expected and what to do.
    """
    n = int(stack.images.shape[-1])
    stack.require_like(reference)
    if mask is not None:
        _check_mask(mask, n, stack.pixel_size_A)
    stack.require("refine", fewest=FEWEST)


def _check_mask(mask: Mask, n: int, pixel_A: float) -> None:
    if mask.data.shape != (n, n, n) or abs(mask.pixel_size_A / pixel_A - 1.0) > _SAME_PIXEL_FRAC:
        raise InvalidInput(
            f"mask of {mask.data.shape} voxels of {mask.pixel_size_A:.4f} Å for images of {n} px of {pixel_A:.4f} Å",
            expected="the same box and pixel",
            remedy="Make it anew with make_mask from a map of these particles.",
        )
    if not np.isfinite(mask.data).all() or not np.max(mask.data) > 0.5:
        raise InvalidInput("the mask is empty", expected="voxels above 0.5", remedy="Make it anew with make_mask.")


def in_order(stack: ParticleStack, on_block: Callable[[], None]) -> tuple[Array, dict[str, list[int]], Array]:
    """Read all images once, some at a time.

    Returns
    -------
    Rows of the particles whose images are fit, in the order of their identities; the others' identities by the reason;
    and a digest of each image.

    Raises
    ------
    InvalidInput
        If fewer are left than make a map.
    """
    m = len(stack.images)
    spread, digests = np.full(m, np.nan), np.zeros(m, dtype=np.int64)
    for start in range(0, m, _AT_ONCE):
        block = np.array(stack.images[start : start + _AT_ONCE], dtype=np.float32)
        finite = np.isfinite(block).all(axis=(1, 2))
        spread[start : start + len(block)][finite] = block[finite].std(axis=(1, 2), dtype=np.float64)
        for place, image in enumerate(block, start):
            digests[place] = int.from_bytes(
                hashlib.blake2b(image.tobytes(), digest_size=8).digest(), "little", signed=True
            )
        give_back(stack.images)
        on_block()
    identity = np.asarray(stack.particles.column("particle_id"))
    dropped: dict[str, list[int]] = {}
    fit = fit_images(spread, identity, lambda some, why: dropped.update({why: some}), fewest=FEWEST)
    rows = np.argsort(identity, kind="stable")
    return rows[fit[rows]], dropped, digests


def check_halves(table: ParticleTable, digests: Array, diameter_A: float) -> None:
    """Refuse a particle that is in both half-sets: their maps would then agree on its noise.

    Parameters
    ----------
    digests
        One of each particle's image, from :func:`in_order`.

    Raises
    ------
    HalfSetError
        Where an identity, an image, or a place on a micrograph is in both.
    """
    half = np.asarray(table.column("half"))
    identity = np.asarray(table.column("particle_id"))
    shared = np.intersect1d(identity[half == 1], identity[half == 2])
    if shared.size:
        _refuse(shared.size, "have one identity")
    same = np.intersect1d(digests[half == 1], digests[half == 2])
    if same.size:
        _refuse(same.size, "have the same image")
    near = _near_pairs(table, half, _SAME_FRAC * diameter_A)
    if near:
        _refuse(near, f"lie within {_SAME_FRAC * diameter_A:.0f} Å of each other on one micrograph")


def _near_pairs(table: ParticleTable, half: Array, distance_A: float) -> int:
    """Pairs across the halves of one micrograph that are nearer than that."""
    if not {"x_A", "y_A", "micrograph_id"} <= set(table.names):
        return 0
    place = np.stack([table.floats("x_A"), table.floats("y_A")], axis=1).astype(np.float64)
    _, micrograph = np.unique(np.asarray(table.column("micrograph_id")).astype(str), return_inverse=True)
    order = np.argsort(micrograph, kind="stable")
    pairs = 0
    for rows in np.split(order, np.flatnonzero(np.diff(micrograph[order])) + 1):
        one, two = place[rows[half[rows] == 1]], place[rows[half[rows] == 2]]
        if len(one) and len(two):
            pairs += int((np.linalg.norm(one[:, None] - two[None], axis=-1) < distance_A).sum())
    return pairs


def _refuse(count: int, what: str) -> None:
    raise HalfSetError(
        f"{count} {'particles' if count > 1 else 'particle'} of half-set 1 and of half-set 2 {what}",
        expected="each particle in one half-set",
        remedy="Remove duplicates, or give all particles of a micrograph one half-set.",
    )
