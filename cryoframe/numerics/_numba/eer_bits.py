"""Compiled loops of :mod:`cryoframe.numerics.eer_bits`: events of one internal frame to a stream of bits and back."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cryoframe.numerics._numba.jit import jit


@jit
def encode(
    events_qpx: npt.NDArray[np.int32],
    n_rows: int,
    n_columns: int,
    code: npt.NDArray[np.int64],
    words: npt.NDArray[np.uint32],
) -> int:
    """Fill `words`; return the number of bits, or −1 − the number of the event that is out of place.

    `code` holds the bits of a run length, and the bits of place that follow a run of the longest length.
    """
    run_bits, bits_after_long = int(code[0]), int(code[1])
    longest = (1 << run_bits) - 1
    symbol_bits = run_bits + 4
    waiting = np.uint64(0)
    n_waiting = 0
    n_words = 0
    following = 0
    for number in range(events_qpx.shape[0]):
        y, x = int(events_qpx[number, 0]), int(events_qpx[number, 1])
        pixel = (y >> 2) * n_columns + (x >> 2)
        gap = pixel - following
        if gap < 0 or y < 0 or x < 0 or y >> 2 >= n_rows or x >> 2 >= n_columns:
            return -1 - number
        while gap >= longest:
            waiting |= np.uint64(longest) << np.uint64(n_waiting)
            n_waiting += run_bits + bits_after_long
            gap -= longest
            if n_waiting >= 32:
                words[n_words] = np.uint32(waiting & np.uint64(0xFFFFFFFF))
                n_words += 1
                waiting >>= np.uint64(32)
                n_waiting -= 32
        place = (((y & 3) << 2) | (x & 3)) ^ 0x0A
        waiting |= np.uint64(gap | (place << run_bits)) << np.uint64(n_waiting)
        n_waiting += symbol_bits
        if n_waiting >= 32:
            words[n_words] = np.uint32(waiting & np.uint64(0xFFFFFFFF))
            n_words += 1
            waiting >>= np.uint64(32)
            n_waiting -= 32
        following = pixel + 1
    gap = n_rows * n_columns - following
    while gap >= longest:
        waiting |= np.uint64(longest) << np.uint64(n_waiting)
        n_waiting += run_bits + bits_after_long
        gap -= longest
        if n_waiting >= 32:
            words[n_words] = np.uint32(waiting & np.uint64(0xFFFFFFFF))
            n_words += 1
            waiting >>= np.uint64(32)
            n_waiting -= 32
    waiting |= np.uint64(gap) << np.uint64(n_waiting)
    n_bits = 32 * n_words + n_waiting + run_bits
    words[n_words] = np.uint32(waiting & np.uint64(0xFFFFFFFF))
    words[n_words + 1] = np.uint32(waiting >> np.uint64(32))
    return n_bits


@jit
def decode(
    words: npt.NDArray[np.uint32],
    n_bits: int,
    shape_px: tuple[int, int],
    code: npt.NDArray[np.int64],
    events_qpx: npt.NDArray[np.int32],
) -> tuple[int, int]:
    """Fill `events_qpx`; return their number, and the bits left over or -1 where the runs do not fill the frame."""
    run_bits, bits_after_long = int(code[0]), int(code[1])
    longest = (1 << run_bits) - 1
    n_columns = shape_px[1]
    n_pixels = shape_px[0] * n_columns
    waiting = np.uint64(0)
    n_waiting, n_words, used = 0, 0, 0
    pixel, n_events = 0, 0
    row, row_start = 0, 0
    while used + run_bits <= n_bits:
        if n_waiting < 32 and n_words < words.size:
            waiting |= np.uint64(words[n_words]) << np.uint64(n_waiting)
            n_words += 1
            n_waiting += 32
        run = int(waiting & np.uint64(longest))
        pixel += run
        if pixel >= n_pixels:
            return n_events, n_bits - used - run_bits if pixel == n_pixels else -1
        if run == longest:
            width = run_bits + bits_after_long
        else:
            width = run_bits + 4
            place = (int(waiting >> np.uint64(run_bits)) & 15) ^ 0x0A
            while pixel >= row_start + n_columns:
                row += 1
                row_start += n_columns
            events_qpx[n_events, 0] = (row << 2) | (place >> 2)
            events_qpx[n_events, 1] = ((pixel - row_start) << 2) | (place & 3)
            n_events += 1
            pixel += 1
        waiting >>= np.uint64(width)
        n_waiting -= width
        used += width
    return n_events, -1


@jit
def add_events(counts: npt.NDArray[np.uint16], events_qpx: npt.NDArray[np.int32], shift: int) -> int:
    """Add one for each event at its place divided by 2 to the power of `shift`; return how many lay outside."""
    n_rows, n_columns = counts.shape
    n_outside = 0
    for number in range(events_qpx.shape[0]):
        row, column = events_qpx[number, 0] >> shift, events_qpx[number, 1] >> shift
        if 0 <= row < n_rows and 0 <= column < n_columns:
            counts[row, column] += 1
        else:
            n_outside += 1
    return n_outside
