"""Peaks of a matched filter explained by the strongest among them: fringes of a particle are not particles."""

from __future__ import annotations

import numpy as np

from cryoframe.numerics.backend import F32, Bools, Floats, Ints, Reals, native

#: A candidate of which others explain more than the rest of this share is a fringe that its template fits badly.
_OWN_FRAC = 0.5


def generic_overlaps(kernels: F32, best: int, rows: Ints, steps: Ints) -> Reals:
    """Inner product of kernel `best` of `(k, n, n)` with each of `rows`, moved by `steps` `(m, 2)` (x, y) [px]."""
    n = kernels.shape[1]
    found = np.zeros(len(rows))
    for i, (row, (x, y)) in enumerate(zip(rows, steps, strict=True)):
        if max(abs(x), abs(y)) < n:
            mine = kernels[best, max(y, 0) : n + min(y, 0), max(x, 0) : n + min(x, 0)]
            theirs = kernels[row, max(-y, 0) : n + min(-y, 0), max(-x, 0) : n + min(-x, 0)]
            found[i] = np.vdot(mine, theirs)
    return found


def overlaps(kernels: F32, best: int, rows: Ints, steps: Ints) -> Reals:
    """As :func:`generic_overlaps`, compiled where that can be."""
    module = native(np, "pick_pursuit")
    found: Reals = (module.overlaps if module else generic_overlaps)(kernels, best, rows, steps)
    return found


def explained(
    positions_px: Floats, z: Floats, kernels: F32, *, may_be_real: Bools, apart_px: float, least: float
) -> tuple[Ints, Reals]:
    """Accept candidates one after the other, each time taking what it explains off all others.

    Parameters
    ----------
    positions_px
        `(m, 2)` (x, y); taken at whole pixels.
    z
        `(m,)` correlation of the whitened image with each candidate's template at its place.
    kernels
        `(m, n, n)` that template, whitened, of norm 1.
    may_be_real
        `(m,)` whether a candidate may be accepted; others are explained only.
    apart_px
        Least distance of two that are accepted.
    least
        Least z that is accepted, after what others explain; half of it must be the candidate's own.

    Returns
    -------
    `(p,)` rows that were accepted, in that order, and `(m,)` what is left of each z; of the accepted, as it was then.

    References
    ----------
    Matching pursuit: Mallat & Zhang, IEEE Trans. Signal Process. 41, 3397 (1993), doi 10.1109/78.258082.
    """
    at = np.rint(np.asarray(positions_px, dtype=np.float64)).astype(np.int64)
    left = np.array(z, dtype=np.float64)
    open_ = np.array(may_be_real, dtype=bool)
    done = np.zeros(len(left), dtype=bool)
    n = kernels.shape[-1]
    accepted: list[int] = []
    while open_.any():
        open_ &= left >= _OWN_FRAC * np.asarray(z)
        best = int(np.argmax(np.where(open_, left, -np.inf)))
        if not open_[best] or left[best] < least:
            break
        accepted.append(best)
        done[best] = True
        steps = at - at[best]
        reached = np.flatnonzero(~done & (np.abs(steps) < n).all(axis=1))
        left[reached] -= left[best] * overlaps(kernels, best, reached, steps[reached])
        open_ &= np.hypot(*(positions_px - positions_px[best]).T) >= apart_px
    return np.array(accepted, dtype=np.int64), left
