"""Compiled loops of :mod:`cryoframe.numerics.detector`: electrons of one internal frame, clusters, counts.

Positions here are measured from the outer corner of pixel [0, 0], so that ``int(position)`` is the pixel.
"""

from __future__ import annotations

import numpy as np

from cryoframe.numerics._numba.jit import jit
from cryoframe.numerics.backend import F32, Floats, Ints, Reals

_STEP = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_U11, _U12, _U24, _U27, _U30, _U31 = (np.uint64(n) for n in (11, 12, 24, 27, 30, 31))
RING_ROWS = 64
_RING = RING_ROWS - 1
_REACH_ROWS = RING_ROWS // 2 - 6
_LOW_12 = np.uint64(0xFFF)
_2_24 = 1.0 / (1 << 24)
_2_40 = 1.0 / (1 << 40)
_2_53 = 1.0 / (1 << 53)


@jit
def mix(counter: np.uint64) -> np.uint64:
    """SplitMix64's finalizer: 64 random bits from a counter (Steele et al., doi 10.1145/2660193.2660195)."""
    bits = (counter ^ (counter >> _U30)) * _MIX_1
    bits = (bits ^ (bits >> _U27)) * _MIX_2
    return bits ^ (bits >> _U31)


@jit
def _mirrored(position: float, length: float) -> float:
    """Position reflected into [0, length): as many electrons scatter in across an edge as out."""
    if position < 0.0:
        position = -position
    if position >= length:
        position = 2.0 * length - position
    return min(max(position, 0.0), length - 1e-3)


@jit
def arrivals(
    expected: F32,
    row_highest: F32,
    scale: float,
    key: np.uint64,
    normal: F32,
    energy: F32,
    spread_up_to: Floats,
    spread_sigma: Floats,
    pixels_to_one: int,
    found: F32,
) -> int:
    """Write (y, x, energy) of the detected electrons of one internal frame to `found`; returns how many there are.

    `expected` has `pixels_to_one` pixels to one of the sensor; positions and `spread_sigma` are in the sensor's.
    Along each row electrons come at exponential distances at the row's highest rate and are thinned to the rate of
    their pixel; each row has a stream of its own. Returns −1 where `found` is too short.
    """
    ny, nx = expected.shape
    side = 1.0 / pixels_to_one
    n_found = 0
    for row in range(ny):
        rate = row_highest[row] * scale
        if rate <= 0.0:
            continue
        counter = mix(key + np.uint64(row + 1) * _STEP)
        along = 0.0
        while True:
            counter += _STEP
            along -= np.log((float(mix(counter) >> _U11) + 0.5) * _2_53) / rate
            if along >= nx:
                break
            counter += _STEP
            bits = mix(counter)
            if float(bits >> _U24) * _2_40 * row_highest[row] >= expected[row, int(along)]:
                continue
            if n_found == found.shape[0]:
                return -1
            y = row + float(bits & np.uint64(0xFFFFFF)) * _2_24
            counter += _STEP
            bits = mix(counter)
            chosen = float(bits >> np.uint64(40)) * _2_24
            part = 0
            while part < spread_up_to.shape[0] - 1 and chosen >= spread_up_to[part]:
                part += 1
            sigma = spread_sigma[part]
            y = y * side + sigma * normal[int(bits & _LOW_12)]
            x = along * side + sigma * normal[int((bits >> _U12) & _LOW_12)]
            found[n_found, 0] = _mirrored(y, ny * side)
            found[n_found, 1] = _mirrored(x, nx * side)
            found[n_found, 2] = energy[int((bits >> _U24) & _LOW_12)]
            n_found += 1
    return n_found


@jit
def _by_row(found: F32, n_rows: int, ordered: F32) -> None:
    """Counting sort of the electrons by row into `ordered`, stable."""
    place = np.zeros(n_rows + 1, dtype=np.int64)
    for i in range(found.shape[0]):
        place[int(found[i, 0]) + 1] += 1
    for row in range(n_rows):
        place[row + 1] += place[row]
    for i in range(found.shape[0]):
        row = int(found[i, 0])
        to = place[row]
        ordered[to, 0], ordered[to, 1], ordered[to, 2] = found[i, 0], found[i, 1], found[i, 2]
        place[row] = to + 1


@jit
def _deposit(ring: F32, electrons: F32, first: int, below: float, n_rows: int, share: F32) -> int:
    """Add the charge of electrons from `first` on, of rows under `below`, each to 3 × 3 pixels; returns the next.

    What falls beside the sensor is lost.
    """
    n_bins, n_columns = share.shape[0], ring.shape[1] - 4
    i = first
    while i < electrons.shape[0] and electrons[i, 0] < below:
        row, column = int(electrons[i, 0]), int(electrons[i, 1])
        bin_y = min(int((electrons[i, 0] - row) * n_bins), n_bins - 1)
        bin_x = min(int((electrons[i, 1] - column) * n_bins), n_bins - 1)
        for dy in range(3):
            line, part = row + dy - 1, electrons[i, 2] * share[bin_y, dy]
            if part > 0.0 and 0 <= line < n_rows:
                for dx in range(3):
                    if 0 <= column + dx - 1 < n_columns:
                        ring[line & _RING, column + 1 + dx] += part * share[bin_x, dx]
        i += 1
    return i


@jit
def _clear(ring: F32, electrons: F32, first: int, below: float) -> int:
    """Set to zero what :func:`_deposit` touched; cheaper than clearing the sensor."""
    i = first
    while i < electrons.shape[0] and electrons[i, 0] < below:
        row, column = int(electrons[i, 0]), int(electrons[i, 1])
        for dy in range(3):
            for dx in range(3):
                ring[(row + dy - 1) & _RING, column + 1 + dx] = 0.0
        i += 1
    return i


@jit
def _gather(ring: F32, row: int, column: int, threshold: float, neighbours: int, stack: Ints, centre: Reals) -> None:
    """Write the centroid of the cluster that holds pixel (row, column) to `centre`; set its charge to zero.

    Pixels that touch it but hold less than `threshold` add to the centroid: without them an electron whose charge
    lies in one pixel would have no place within it.
    """
    total, moment_y, moment_x = float(ring[row & _RING, column + 2]), 0.0, 0.0
    ring[row & _RING, column + 2] = 0.0
    stack[0, 0], stack[0, 1], n_stack = 0, 0, 1 if neighbours else 0
    while n_stack > 0:
        n_stack -= 1
        here_y, here_x = stack[n_stack, 0], stack[n_stack, 1]
        for dy in range(max(here_y - 1, -_REACH_ROWS), min(here_y + 1, _REACH_ROWS) + 1):
            reach = 1 if neighbours == 8 or dy == here_y else 0
            line = (row + dy) & _RING
            for dx in range(here_x - reach, here_x + reach + 1):
                value = float(ring[line, column + 2 + dx])
                if value > 0.0:
                    ring[line, column + 2 + dx] = 0.0
                    total += value
                    moment_y += value * dy
                    moment_x += value * dx
                if value >= threshold:
                    stack[n_stack, 0], stack[n_stack, 1] = dy, dx
                    n_stack += 1
    centre[0] = row + 0.5 + moment_y / total
    centre[1] = column + 0.5 + moment_x / total


@jit
def clusters(
    found: F32, n_rows: int, ring: F32, share: F32, threshold: float, neighbours: int, work: tuple[F32, Ints, Reals]
) -> int:
    """Write the centroids (y, x) of connected pixels above `threshold`; returns how many there are.

    `neighbours` 8 joins pixels that touch by side or corner, 4 by side, 0 counts each pixel for itself. `ring`
    `(RING_ROWS, nx + 4)` is zero before and after; it holds the rows about the one looked at, charge being deposited
    ahead and cleared behind, so that a large sensor does not pass through the cache with each internal frame. A
    cluster therefore ends `_REACH_ROWS` rows from where it was met; only sensors flooded by electrons have larger ones.
    `work` is `(m, 3)` for the sorted electrons, `(9 m, 2)` for a stack, and `(m, 2)` for the centroids.
    """
    ordered, stack, centres = work[0][: found.shape[0]], work[1], work[2]
    _by_row(found, n_rows, ordered)
    n_in = n_out = n_centres = 0
    for i in range(found.shape[0]):
        row, column = int(ordered[i, 0]), int(ordered[i, 1])
        # Cleared first: a gap of rows would else bring new charge onto old.
        n_out = _clear(ring, ordered, n_out, row - _REACH_ROWS - 2.0)
        n_in = _deposit(ring, ordered, n_in, row + _REACH_ROWS + 2.0, n_rows, share)
        if ring[row & _RING, column + 2] >= threshold:
            _gather(ring, row, column, threshold, neighbours, stack, centres[n_centres])
            n_centres += 1
    _clear(ring, ordered, n_out, n_rows + 1.0)
    return n_centres


@jit
def add_counts(counts: Ints, centres: Reals, factor: int) -> None:
    """Add one count a centre to `counts`, which has `factor` pixels to each of the sensor's along an axis."""
    ny, nx = counts.shape
    for i in range(centres.shape[0]):
        row = min(int(centres[i, 0] * factor), ny - 1)
        column = min(int(centres[i, 1] * factor), nx - 1)
        counts[row, column] += 1
