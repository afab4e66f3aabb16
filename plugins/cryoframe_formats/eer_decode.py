"""One internal EER frame: bytes → events → counts, with proof that the run lengths fill the frame exactly.

A frame is a stream of run lengths (7 or 8 bits, lowest first) to the next electron, each followed by the electron's
place within its pixel (2 + 2 bits, exclusive-or 0x0A). A run length of all ones says "so many pixels without one, go
on". The last one reaches the end of the frame. The decoder of ``imagecodecs`` does not check that end.

References
----------
Guo et al., IUCrJ 7, 860 (2020), doi:10.1107/S205225252000929X.
"""

from __future__ import annotations

from dataclasses import dataclass

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from cryoframe.errors import Corrupt

_MAX_PADDING_BITS = 256


@dataclass(frozen=True, slots=True)
class EerCode:
    """Bits of the run length and of the sub-pixel position."""

    run_bits: int
    x_bits: int = 2
    y_bits: int = 2


def decode_frame(raw: bytes, code: EerCode, shape_px: tuple[int, int], upsampling: int) -> NDArray[np.bool_]:
    """Return where electrons fell, `(ny · upsampling, nx · upsampling)`.

    Raises
    ------
    Corrupt
        The runs do not end exactly at the frame's last pixel.
    """
    if code.run_bits == 8 and code.x_bits == code.y_bits == 2:
        fixed = _decode_fixed(raw, shape_px, upsampling)
        if fixed is not None:
            return fixed
    step = upsampling.bit_length() - 1
    # The coarse image is enough for the proof and much cheaper to search than an up-sampled one.
    coarse = _events(raw, code, shape_px, 0)
    _check_end(raw, code, np.flatnonzero(coarse), shape_px[0] * shape_px[1])
    return coarse if step == 0 else _events(raw, code, shape_px, step)


def _events(raw: bytes, code: EerCode, shape_px: tuple[int, int], step: int) -> NDArray[np.bool_]:
    shape = (shape_px[0] << step, shape_px[1] << step)
    even = raw + b"\0" * (len(raw) % 2)  # the decoder takes whole 16-bit words only
    try:
        image: NDArray[np.bool_] = imagecodecs.eer_decode(
            even, shape, code.run_bits, code.x_bits, code.y_bits, superres=step
        )
    except (ValueError, RuntimeError) as error:
        raise Corrupt(f"events cannot be decoded ({error})") from error
    return image


def _check_end(raw: bytes, code: EerCode, positions: NDArray[np.int64], n_pixels: int) -> None:
    """Encode the run lengths anew, in number, and compare where and how the stream must end."""
    longest = (1 << code.run_bits) - 1
    gaps = np.diff(positions, prepend=-1) - 1
    symbol_bits = code.run_bits + code.x_bits + code.y_bits
    last = int(n_pixels - (positions[-1] + 1 if len(positions) else 0))
    n_long = int((gaps // longest).sum()) + last // longest
    start = len(positions) * symbol_bits + n_long * code.run_bits
    spare = len(raw) * 8 - start - code.run_bits
    if not (0 <= spare < _MAX_PADDING_BITS and _bits(raw, start, code.run_bits) == last % longest):
        raise Corrupt(
            f"{len(positions)} events in {len(raw)} bytes do not fill the frame",
            expected=f"runs that end at pixel {n_pixels}",
            remedy="Copy the movie again; if the original is damaged too, leave it out.",
        )


def _bits(raw: bytes, start: int, count: int) -> int:
    word = int.from_bytes(raw[start // 8 : start // 8 + 4], "little")
    return word >> (start % 8) & ((1 << count) - 1)


def _decode_fixed(raw: bytes, shape_px: tuple[int, int], upsampling: int) -> NDArray[np.bool_] | None:
    """Decode 8-bit runs that always carry their 4 position bits; None where the stream is not of that kind."""
    pairs = np.frombuffer(raw + b"\0" * (-len(raw) % 3), np.uint8).reshape(-1, 3)
    tokens = np.empty(2 * len(pairs), np.uint16)
    tokens[0::2] = pairs[:, 0] | (pairs[:, 1].astype(np.uint16) & 0x0F) << 8
    tokens[1::2] = pairs[:, 1] >> 4 | pairs[:, 2].astype(np.uint16) << 4
    tokens = tokens[: (len(raw) * 8 + 4) // 12]  # the last run needs no position
    runs = (tokens & 0xFF).astype(np.int64)
    steps = runs + (runs < 255)
    ends = np.cumsum(steps)
    n_pixels = shape_px[0] * shape_px[1]
    before = ends - steps + runs
    final = int(np.searchsorted(before, n_pixels))
    if final >= len(tokens) or before[final] != n_pixels or (len(tokens) - final) * 12 > _MAX_PADDING_BITS:
        return None
    events = np.flatnonzero(runs[:final] < 255)
    rows, columns = np.divmod(before[events], shape_px[1])
    place = (tokens[events] >> 8) ^ 0x0A
    step = upsampling.bit_length() - 1
    image = np.zeros((shape_px[0] << step, shape_px[1] << step), np.bool_)
    x, y = (place & 3) >> (2 - step), (place >> 2) >> (2 - step)
    image[(rows << step) | y, (columns << step) | x] = True
    return image
