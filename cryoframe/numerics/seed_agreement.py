"""Do two runs of the same particles from different starting maps say the same? Half-maps of one run cannot tell."""

from __future__ import annotations

from typing import NamedTuple

from cryoframe.errors import InvalidInput
from cryoframe.numerics.backend import Floats
from cryoframe.numerics.fsc import fsc_curve, resolution_at

#: Maps whose common resolution is coarser than the claimed one by more than this are not of one truth.
_FACTOR = 1.5


class Agreement(NamedTuple):
    """Where the correlation of two runs falls to 0.5 [Å], what they claim by their half-maps [Å], and the verdict."""

    common_A: float
    claimed_A: float
    alarm: bool


def independent_agreement(
    first: Floats, second: Floats, *, pixel_size_A: float, claimed_A: float, mask: Floats | None = None
) -> Agreement:
    """Hold the resolution that half-maps claim against what two independent runs have in common.

    Both halves of a run start from one map: what they took over from it correlates as signal does. A run from another
    start has not taken it over. Two full maps of the same particles share even their noise, so that a right result
    agrees to well beyond its half-map resolution.

    Parameters
    ----------
    first, second
        `(n, n, n)` full maps of the same particles from different starting maps, in one frame.
    pixel_size_A
        Voxel size.
    claimed_A
        The coarser of the half-map resolutions of both runs, FSC 0.143.
    mask
        `(n, n, n)`, soft, multiplied with both.

    Returns
    -------
    The verdict is an alarm where the common resolution is more than 1.5 times the claimed one.

    References
    ----------
    Shared artefacts of a reference: Henderson, Proc. Natl. Acad. Sci. USA 110, 18037 (2013),
    doi:10.1073/pnas.1314449110. The factor: definition.
    """
    if not claimed_A > 0.0:
        raise InvalidInput(f"a claimed resolution of {claimed_A} Å was given", expected="more than 0 Å")
    curve = fsc_curve(first, second, pixel_size_A=pixel_size_A, mask=mask)
    common_A = resolution_at(curve.frequency_1_A, curve.fsc, 0.5).resolution_A
    return Agreement(common_A, claimed_A, common_A > _FACTOR * claimed_A)
