"""One internal EER frame: bytes → events, with proof that the run lengths fill the frame exactly.

The bits are in ``cryoframe.numerics.eer_bits``. The first version of the format has 8-bit runs; programs disagree
whether four bits of place follow the longest of them, so both are tried: only one fills the frame.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cryoframe.errors import Corrupt, InvalidInput
from cryoframe.numerics.eer_bits import decode_frame


@dataclass(frozen=True, slots=True)
class EerCode:
    """Bits of the run length and of the sub-pixel position."""

    run_bits: int
    x_bits: int = 2
    y_bits: int = 2


def decode_events(raw: bytes, code: EerCode, shape_px: tuple[int, int]) -> NDArray[np.int32]:
    """Return where electrons fell, `(m, 2)` (row, column) in quarter pixels.

    Raises
    ------
    Corrupt
        The runs do not end exactly at the frame's last pixel.
    """
    if code.run_bits == 8:
        try:
            return decode_frame(raw, shape_px, run_bits=8, place_after_long=True)
        except InvalidInput:
            pass
    try:
        return decode_frame(raw, shape_px, run_bits=code.run_bits)
    except InvalidInput as error:
        raise Corrupt(
            error.what,
            expected=error.expected,
            remedy="Copy the movie again; if the original is damaged too, leave it out.",
        ) from error
