"""Compiled loops of :mod:`cryoframe.numerics.detector_thinning`: counts of pixels by look-up, and where they fell."""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from cryoframe.numerics._numba.detector import mix
from cryoframe.numerics._numba.jit import jit
from cryoframe.numerics.backend import F32, Floats, Ints, Reals

_STEP = np.uint64(0x9E3779B97F4A7C15)
_LOW_20 = np.uint64(0xFFFFF)
_U2, _U32, _LOW_2 = np.uint64(2), np.uint64(32), np.uint64(3)
_2_20 = np.float32(1.0 / (1 << 20))
_2_32 = 1.0 / (1 << 32)
_2_32_WHOLE = 1 << 32
GUIDE_BITS = 9
_TO_GUIDE = np.uint32(32 - GUIDE_BITS)
Words: TypeAlias = npt.NDArray[np.uint32]


@jit
def chances(out: F32, expected: F32, sensitivity: F32, share: Floats, end: float, n_trials: int) -> tuple[float, float]:
    """Chance of a count in one internal frame for each pixel; returns the least and the largest.

    `share` is the fraction counted at rates from 0 to `end`; `sensitivity` `(ny, nx)`, or empty for 1 everywhere.
    """
    per_rate, last = (share.shape[0] - 1) / end, share.shape[0] - 1.001
    least, most = 1.0, 0.0
    uneven = sensitivity.size > 0
    for row in range(out.shape[0]):
        for column in range(out.shape[1]):
            rate = max(float(expected[row, column]), 0.0) / n_trials
            place = min(rate * per_rate, last)
            before = int(place)
            p = rate * (share[before] + (share[before + 1] - share[before]) * (place - before))
            if uneven:
                p *= sensitivity[row, column]
            p = min(p, 1.0 - 1e-6)
            out[row, column] = p
            least, most = min(least, p), max(most, p)
    return least, most


@jit
def binomial_tables(p: Reals, n_trials: int, below: Words, guide: Ints) -> None:
    """Cumulated binomial laws `(levels, k)` in 2⁻³² and, for each, the least k that each stretch of chance may give."""
    n_guide = guide.shape[1]
    stretch = _2_32_WHOLE // n_guide
    for level in range(p.shape[0]):
        total = 0.0
        for k in range(below.shape[1]):
            if p[level] > 0.0:
                size = math.lgamma(n_trials + 1.0) - math.lgamma(k + 1.0) - math.lgamma(n_trials - k + 1.0)
                total += math.exp(size + k * math.log(p[level]) + (n_trials - k) * math.log1p(-p[level]))
            elif k == 0:
                total = 1.0
            below[level, k] = np.uint32(min(total * _2_32_WHOLE + 0.5, _2_32_WHOLE - 1.0))
        below[level, below.shape[1] - 1] = np.uint32(_2_32_WHOLE - 1)
        k = 0
        for i in range(n_guide):
            while k < below.shape[1] - 1 and np.int64(below[level, k]) <= i * stretch:
                k += 1
            guide[level, i] = k


@jit
def draw(
    out: Ints, p: F32, least: np.float32, per_level: np.float32, below: Words, guide: Ints, key: np.uint64, parts: int
) -> None:
    """Counts of every pixel; `out` has `parts` pixels to one of `p` along an axis, a stream to each row of `out`.

    A chance between two levels takes one of both laws at random, so that means are exact.
    """
    last, final = below.shape[0] - 2, below.shape[1] - 1
    for row in range(out.shape[0]):
        counter = mix(key + np.uint64(row + 1) * _STEP)
        for pixel in range(p.shape[1]):
            place = (p[row // parts, pixel] - least) * per_level
            before = min(max(int(place), 0), last)
            part = place - np.float32(before)
            for side in range(parts):
                counter += _STEP
                bits = mix(counter)
                level = before + (np.float32(bits & _LOW_20) * _2_20 < part)
                chosen = np.uint32(bits >> _U32)
                k = int(guide[level, np.int64(chosen >> _TO_GUIDE)])
                while k < final and below[level, k] <= chosen:
                    k += 1
                out[row, pixel * parts + side] = k


@jit
def count_internal(counts: Ints, most: int, n_internal: int, key: np.uint64, distinct: bool, totals: Ints) -> None:
    """Add to `totals` how many events fall into each internal frame; `most` is the largest count."""
    places = np.empty(most, dtype=np.int64)
    for row in range(counts.shape[0]):
        base = mix(key + np.uint64(row + 1) * _STEP)
        for column in range(counts.shape[1]):
            n = int(counts[row, column])
            if n > 0:
                _choose(n, n_internal, mix(base + np.uint64(column + 1) * _STEP), distinct, places)
                for i in range(n):
                    totals[places[i]] += 1


@jit
def _choose(n: int, n_internal: int, state: np.uint64, distinct: bool, places: Ints) -> None:
    """Write `n` internal frames to `places`, no two alike where `distinct` (Floyd's sampling)."""
    for i in range(n):
        state += _STEP
        bits = mix(state)
        if not distinct:
            places[i] = int(float(bits >> _U32) * _2_32 * n_internal)
            continue
        highest = n_internal - n + i
        chosen = int(float(bits >> _U32) * _2_32 * (highest + 1))
        for before in range(i):
            if places[before] == chosen:
                chosen = highest
                break
        places[i] = chosen


@jit
def place_events(
    counts: Ints, most: int, n_internal: int, key: np.uint64, distinct: bool, starts: Ints, events: Ints
) -> None:
    """Write (row, column) in quarter pixels of each event to its internal frame's stretch of `events`, row by row.

    `starts` is where the next event of each internal frame goes; it is moved on.
    """
    places = np.empty(most, dtype=np.int64)
    for row in range(counts.shape[0]):
        base = mix(key + np.uint64(row + 1) * _STEP)
        for column in range(counts.shape[1]):
            n = int(counts[row, column])
            if n > 0:
                state = mix(base + np.uint64(column + 1) * _STEP)
                _choose(n, n_internal, state, distinct, places)
                inner = mix(state ^ _STEP)
                for i in range(n):
                    inner += _STEP
                    bits = mix(inner)
                    at = starts[places[i]]
                    events[at, 0] = 4 * row + int(bits & _LOW_2)
                    events[at, 1] = 4 * column + int((bits >> _U2) & _LOW_2)
                    starts[places[i]] = at + 1
