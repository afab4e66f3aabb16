"""Compiled choice of candidates; meaning as in cryoframe.numerics.angular_search."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import prange

from cryoframe.numerics._numba.exponential import lane_sum, padded, powers_below
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


@jit
def _thin(bins: Array, cutoff: float, n_most: int, place: Array, depth: Array) -> tuple[int, int]:
    """Keep the candidates above the lowest bin border that leaves at most `n_most`; returns how many, and the bin."""
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
    return n_kept, limit


@jit
def angle_line(
    parts: tuple[Array, Array, Array, Array, Array, Array],
    where: tuple[int, int],
    scale: float,
    offset: Array,
    line: Array,
) -> None:
    """Fill `line` `(k, t)` with the log-joint of image `where[0]` at angle `where[1]`; `offset` is work space."""
    even, odd, norm, log_reference, fixed, turning = parts
    i, half = where[0], even.shape[0]
    p, sign = where[1] % half, 1.0 - 2.0 * (where[1] // half)
    for k in range(line.shape[0]):
        offset[k] = log_reference[k] - np.float32(scale) * norm[p, i, k]
    _line(even[p, i], odd[p, i], offset, fixed[i], turning[p, i], sign, scale, line)


@jit
def _collect(
    line: Array, depth_of: float, first: int, cutoff: float, bins: Array, place: Array, depth: Array, state: Array
) -> None:
    """Add the candidates of a row that are deep enough; `state` holds their number and the bins still open."""
    n_most, n_found, limit = place.shape[0] // 4, state[0], state[1]
    for j in range(line.shape[0]):
        below = depth_of - line[j]
        if below >= cutoff:
            continue
        mine = int(below * (BINS / cutoff))
        # Once fewer bins than there are hold all that may be kept, what lies in others never will be.
        if mine > limit:
            continue
        bins[mine] += 1
        if n_found == place.shape[0]:
            n_found, limit = _thin(bins, cutoff, n_most, place, depth)
        place[n_found], depth[n_found] = first + j, below
        n_found += 1
    state[0], state[1] = n_found, limit


@jit(parallel=True)
def _choose(
    parts: tuple[Array, Array, Array, Array, Array, Array],
    scale: float,
    depths: tuple[float, float],
    count: Array,
    index: Array,
    probability: Array,
    evidence: Array,
    lost: Array,
) -> None:
    half, m, k_all, t_all = parts[0].shape
    n_most, n = index.shape[1], k_all * t_all
    cutoff, reach = depths
    for i in prange(m):
        line, top = np.empty((k_all, t_all), np.float32), np.empty(t_all, np.float32)
        offset, tops = np.empty(k_all, np.float32), np.empty(2 * half, np.float32)
        powers, bits, lanes = np.empty(padded(n), np.float32), np.empty(padded(n), np.int32), np.empty(16, np.float32)
        for angle in range(2 * half):
            angle_line(parts, (i, angle), scale, offset, line)
            tops[angle] = _row_tops(line, top)
        best, total = float(tops.max()), 0.0
        bins, state = np.zeros(BINS, np.int64), np.array([0, BINS])
        place, depth = np.empty(4 * n_most, np.int64), np.empty(4 * n_most, np.float32)
        for angle in range(2 * half):
            if best - tops[angle] < reach:
                angle_line(parts, (i, angle), scale, offset, line)
                powers_below(line.reshape(n), best, reach, bits, powers)
                total += lane_sum(powers, lanes)
                if best - tops[angle] < cutoff:
                    _collect(line.reshape(n), best, angle * n, cutoff, bins, place, depth, state)
        count[i], _ = _thin(bins, cutoff, n_most, place, depth[: state[0]])
        share = np.exp(-depth[: count[i]].astype(np.float64))
        kept = share.sum()
        index[i, : count[i]] = place[: count[i]]
        probability[i, : count[i]] = share / kept
        evidence[i] = best + np.log(total / (2.0 * half * n))
        lost[i] = max(0.0, 1.0 - kept / total)


def together(
    parts: tuple[Array, Array, Array], log_reference: Array, log_shift: tuple[Array, Array]
) -> tuple[Array, Array, Array, Array, Array, Array]:
    """Scores, by reference and translation, and priors as :func:`angle_line` takes them."""
    even, odd, norm = parts
    shape = (*even.shape[:2], len(log_reference), log_shift[0].shape[1])
    return (
        even.reshape(shape),
        odd.reshape(shape),
        np.ascontiguousarray(norm),
        np.asarray(log_reference, dtype=np.float32),
        log_shift[0],
        log_shift[1],
    )


def choose(
    xp: ModuleType,
    parts: tuple[Array, Array, Array],
    log_reference: Array,
    log_shift: tuple[Array, Array],
    *,
    evidence_frac: float,
    n_most: int,
    depths: tuple[float, float] = (12.0, 12.0),
) -> tuple[Array, Array, Array, Array, Array]:
    """Compiled `cryoframe.numerics.angular_search.generic_choose`."""
    m = parts[0].shape[1]
    count, index = np.zeros(m, np.int64), np.zeros((m, n_most), np.int64)
    probability = np.zeros((m, n_most), np.float32)
    evidence, lost = np.zeros(m), np.zeros(m)
    _choose(
        together(parts, log_reference, log_shift),
        evidence_frac,
        depths,
        count,
        index,
        probability,
        evidence,
        lost,
    )
    return count, index, probability, evidence, lost
