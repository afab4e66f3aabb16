"""Compiled loop of :mod:`cryoframe.numerics.eer_bits`: events of one internal frame into a stream of bits."""

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
