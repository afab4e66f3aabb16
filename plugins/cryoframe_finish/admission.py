"""What the last steps on half-maps do not begin with: boxes or pixels that differ, nothing in them, no mask."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cryoframe import HalfMaps, Mask, Volume
from cryoframe.errors import InvalidInput

F32 = npt.NDArray[np.float32]

#: Pixels that differ by no more than this share are one.
_SAME_PIXEL_FRAC = 1e-3
#: Half-maps that correlate to 1 but for this, over all voxels, are one map: noise of a thousandth of it makes 1e-6.
_SAME_MAP = 1e-7
_MAKE_A_MASK = "Make it anew with make_mask."


def check_box(name: str, shape: tuple[int, ...], pixel_size_A: float) -> None:
    """Refuse what is no cube, or has no pixel size.

    Raises
    ------
    InvalidInput
        Naming what it is.
    """
    if len(shape) != 3 or len(set(shape)) != 1 or not shape[0]:
        raise InvalidInput(
            f"{name} of {shape} voxels", expected="a cube", remedy="Cut or pad it to equal edges and try again."
        )
    if not (np.isfinite(pixel_size_A) and pixel_size_A > 0.0):
        raise InvalidInput(
            f"{name} with voxels of {pixel_size_A} Å",
            expected="a finite size above 0",
            remedy="State the pixel size where the file does not, or a wrong one.",
        )


def check_halves(half_maps: HalfMaps, mask: Mask | None) -> tuple[F32, F32, F32 | None]:
    """Values of both half-maps and of the mask, refused where no curve can come from them.

    Returns
    -------
    `(n, n, n)` float32 each; the mask is None where there is none.

    Raises
    ------
    InvalidInput
        Saying which of them, what was expected and what to do.
    """
    first, second = (np.asarray(half.data, dtype=np.float32) for half in (half_maps.first, half_maps.second))
    weight = None if mask is None else np.asarray(mask.data, dtype=np.float32)
    if first.shape != second.shape or (weight is not None and weight.shape != first.shape):
        shape = "" if weight is None else f", mask of {weight.shape}"
        raise InvalidInput(
            f"half-maps of {first.shape} and {second.shape} voxels{shape}",
            expected="one box",
            remedy="Take both half-maps from one refinement and make the mask of its map.",
        )
    pixel_A = half_maps.first.pixel_size_A
    check_box("half-maps", first.shape, pixel_A)
    _check_pixels(pixel_A, half_maps.second, mask)
    _check_content(first, second)
    if weight is not None:
        _check_mask(weight)
    return first, second, weight


def _check_pixels(pixel_A: float, second: Volume, mask: Mask | None) -> None:
    others = {"the second half-map": second} | ({} if mask is None else {"the mask": mask})
    for name, other in others.items():
        if not abs(other.pixel_size_A / pixel_A - 1.0) <= _SAME_PIXEL_FRAC:
            raise InvalidInput(
                f"half-maps with voxels of {pixel_A:.4f} Å, {name} of {other.pixel_size_A:.4f} Å",
                expected="one pixel size",
                remedy="Correct the header that is wrong, or make the mask of a map of these particles.",
            )


def _check_content(first: F32, second: F32) -> None:
    if not (np.isfinite(first).all() and np.isfinite(second).all() and first.any() and second.any()):
        raise InvalidInput("a half-map is empty or not finite", expected="two half-maps of the same molecule")
    if _correlation(first, second) > 1.0 - _SAME_MAP:
        raise InvalidInput(
            "the half-maps are one and the same map",
            expected="maps of two half-sets that share no particle",
            remedy="Look at what was given as the second half-map.",
        )


def _correlation(first: F32, second: F32) -> float:
    """Correlation of all voxels, in float64 a section at a time."""
    mean_1, mean_2 = float(first.mean(dtype=np.float64)), float(second.mean(dtype=np.float64))
    sums = np.zeros(3)
    for one, two in zip(first, second, strict=True):
        a, b = one.astype(np.float64) - mean_1, two.astype(np.float64) - mean_2
        sums += ((a * b).sum(), (a * a).sum(), (b * b).sum())
    return float(sums[0] / np.sqrt(sums[1] * sums[2])) if sums[1] > 0.0 and sums[2] > 0.0 else 0.0


def _check_mask(mask: F32) -> None:
    if not np.isfinite(mask).all() or not mask.max() > 0.5:
        raise InvalidInput("the mask is empty", expected="finite values, some above 0.5", remedy=_MAKE_A_MASK)
    least, largest = float(mask.min()), float(mask.max())
    if least < -0.01 or largest > 1.01:
        raise InvalidInput(f"a mask with values of {least:g} to {largest:g}", expected="0 to 1", remedy=_MAKE_A_MASK)


def provenance_of(half_maps: HalfMaps) -> str:
    """Where maps of these halves come from: what either says of a reference goes before all else."""
    said = [half.provenance for half in (half_maps.first, half_maps.second)]
    return next((text for text in said if text.startswith("reference-derived")), said[0] or said[1])
