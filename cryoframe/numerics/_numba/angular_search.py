"""Compiled choice of candidates; meaning as in cryoframe.numerics.angular_search."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import prange

from cryoframe.numerics._numba.jit import jit

Array = npt.NDArray[Any]

# Bins of the depth below the best candidate, from which the limit that keeps few enough is read.
BINS = 96


@jit
def _line(
    even: Array, odd: Array, offset: Array, fixed: Array, turning: Array, sign: float, scale: float, out: Array
) -> None:
    """Log-joint `(k, t)` of one image at one angle."""
    one, two = np.float32(sign), np.float32(scale)
    for k in range(out.shape[0]):
        for t in range(out.shape[1]):
            out[k, t] = two * (even[k, t] + one * odd[k, t]) + (offset[k] + (fixed[t] + one * turning[t]))


@jit
def _row_tops(values: Array, top: Array) -> float:
    """Largest value; `top` `(t,)` is work space. Lanes are compared side by side, without re-ordering any sum."""
    top[:] = values[0]
    for k in range(1, values.shape[0]):
        for t in range(values.shape[1]):
            top[t] = values[k, t] if values[k, t] > top[t] else top[t]
    return float(top.max())


@jit(parallel=True)
def _choose(
    even: Array,
    odd: Array,
    norm: Array,
    log_reference: Array,
    fixed: Array,
    turning: Array,
    settings: Array,
    count: Array,
    index: Array,
    probability: Array,
    evidence: Array,
    lost: Array,
) -> None:
    half, m, k_all, t_all = even.shape
    scale, cutoff, n_most = settings[0], settings[1], index.shape[1]
    for i in prange(m):
        line, top = np.empty((k_all, t_all), np.float32), np.empty(t_all, np.float32)
        offset, tops = np.empty(k_all, np.float32), np.empty(2 * half, np.float32)
        for angle in range(2 * half):
            p, sign = angle % half, 1.0 - 2.0 * (angle // half)
            for k in range(k_all):
                offset[k] = log_reference[k] - np.float32(scale) * norm[p, i, k]
            _line(even[p, i], odd[p, i], offset, fixed[i], turning[p, i], sign, scale, line)
            tops[angle] = _row_tops(line, top)
        best = tops.max()
        bins, total = np.zeros(BINS, np.int64), 0.0
        n_found, place = 0, np.empty(4 * n_most, np.int64)
        depth = np.empty(4 * n_most, np.float32)
        for angle in range(2 * half):
            if best - tops[angle] >= cutoff:
                continue
            p, sign = angle % half, 1.0 - 2.0 * (angle // half)
            for k in range(k_all):
                offset[k] = log_reference[k] - np.float32(scale) * norm[p, i, k]
            _line(even[p, i], odd[p, i], offset, fixed[i], turning[p, i], sign, scale, line)
            for k in range(k_all):
                for t in range(t_all):
                    below = best - line[k, t]
                    if below >= cutoff:
                        continue
                    total += np.exp(-below)
                    bins[int(below * (BINS / cutoff))] += 1
                    if n_found == 4 * n_most:
                        n_found = _thin(bins, cutoff, n_most, place, depth)
                    place[n_found], depth[n_found] = (angle * k_all + k) * t_all + t, below
                    n_found += 1
        n_found = _thin(bins, cutoff, n_most, place, depth[:n_found])
        kept = 0.0
        for c in range(n_found):
            kept += np.exp(-depth[c])
        for c in range(n_found):
            index[i, c] = place[c]
            probability[i, c] = np.exp(-depth[c]) / kept
        count[i] = n_found
        evidence[i] = best + np.log(total / (2.0 * half * k_all * t_all))
        lost[i] = 1.0 - kept / total


@jit
def _thin(bins: Array, cutoff: float, n_most: int, place: Array, depth: Array) -> int:
    """Keep the candidates above the lowest bin border that leaves at most `n_most`; returns their number."""
    limit, n_above = 0, 0
    while limit < BINS and n_above + bins[limit] <= n_most:
        n_above += bins[limit]
        limit += 1
    n_kept = 0
    for c in range(depth.shape[0]):
        mine = int(depth[c] * (BINS / cutoff))
        # A first bin that is fuller than allowed is cut in the order of places.
        if mine < limit or (limit == 0 and n_kept < n_most):
            place[n_kept], depth[n_kept] = place[c], depth[c]
            n_kept += 1
    return n_kept


def choose(
    xp: ModuleType,
    parts: tuple[Array, Array, Array],
    log_reference: Array,
    log_shift: tuple[Array, Array],
    *,
    evidence_frac: float,
    n_most: int,
) -> tuple[Array, Array, Array, Array, Array]:
    """Compiled `cryoframe.numerics.angular_search.generic_choose`."""
    from cryoframe.numerics.angular_search import CUTOFF

    even, odd, norm = parts
    half, m = even.shape[:2]
    shape = (half, m, len(log_reference), log_shift[0].shape[1])
    count, index = np.zeros(m, np.int64), np.zeros((m, n_most), np.int64)
    probability = np.zeros((m, n_most), np.float32)
    evidence, lost = np.zeros(m), np.zeros(m)
    _choose(
        even.reshape(shape),
        odd.reshape(shape),
        norm,
        np.asarray(log_reference, dtype=np.float32),
        log_shift[0],
        log_shift[1],
        np.array([evidence_frac, CUTOFF]),
        count,
        index,
        probability,
        evidence,
        lost,
    )
    return count, index, probability, evidence, lost
