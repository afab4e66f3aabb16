"""Events of one internal frame as the bits of an EER movie and back: run lengths, places in the pixel; no files here.

A frame is a stream, lowest bit first, of run lengths to the next pixel with an event, each followed by the event's
place in that pixel: two bits along x, two along y, exclusive-or 0x0A. A run length of all ones says "so many pixels
without one, go on". The last run reaches the end of the frame. A pixel holds at most one event an internal frame.

References
----------
Guo et al., IUCrJ 7, 860 (2020), doi:10.1107/S205225252000929X (the representation; the bits: definition of the format).
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import numpy.typing as npt

from cryoframe.errors import InvalidInput

Bytes = npt.NDArray[np.uint8]
Events = npt.NDArray[np.integer]
_PLACE_BITS = 4
_PLACE_FLIP = 0x0A
_WORD_BYTES = 8
_MAX_PADDING_BITS = 256


def encode_frame(
    events_qpx: Events, shape_px: tuple[int, int], *, run_bits: int = 7, place_after_long: bool = False
) -> Bytes:
    """Return the bits of one internal frame, zeros to the end of the last 8 bytes.

    Parameters
    ----------
    events_qpx
        `(m, 2)` (row, column) in quarter pixels, in the order of the pixels, one event a pixel at most.
    shape_px
        Sensor `(ny, nx)`.
    run_bits
        Bits of a run length, 4 to 12.
    place_after_long
        Whether four bits follow the longest run too, as in the first version of the format.

    Raises
    ------
    InvalidInput
        An event lies outside the sensor, before the one before it, or in the same pixel.
    """
    _check(events_qpx, shape_px, run_bits)
    events = np.ascontiguousarray(events_qpx, dtype=np.int32)
    long_bits = run_bits + _PLACE_BITS * place_after_long
    n_most = len(events) * (run_bits + _PLACE_BITS) + (_n_pixels(shape_px) // ((1 << run_bits) - 1) + 2) * long_bits
    words = np.empty(2 * (n_most // 64 + 2), dtype=np.uint32)
    code = np.array([run_bits, _PLACE_BITS * place_after_long], dtype=np.int64)
    n_bits = _loops().encode(events, *shape_px, code, words)
    if n_bits < 0:
        raise _out_of_place(events, -1 - n_bits, shape_px)
    n_used = -(-n_bits // 8)
    stream = words.astype("<u4", copy=False).view(np.uint8)[: -(-n_used // _WORD_BYTES) * _WORD_BYTES]
    stream[n_used:] = 0
    return stream


def generic_encode_frame(
    events_qpx: Events, shape_px: tuple[int, int], *, run_bits: int = 7, place_after_long: bool = False
) -> Bytes:
    """Reference of :func:`encode_frame` in whole arrays; same arguments."""
    _check(events_qpx, shape_px, run_bits)
    y, x = events_qpx.astype(np.int64).T
    pixels = (y >> 2) * shape_px[1] + (x >> 2)
    gaps = np.diff(pixels, prepend=-1, append=_n_pixels(shape_px)) - 1
    outside = (y < 0) | (x < 0) | (y >> 2 >= shape_px[0]) | (x >> 2 >= shape_px[1])
    wrong = np.flatnonzero((gaps[:-1] < 0) | outside)
    if wrong.size:
        raise _out_of_place(events_qpx, int(wrong[0]), shape_px)
    n_long, rest = np.divmod(gaps, (1 << run_bits) - 1)
    ends = np.cumsum(n_long + 1) - 1
    values = np.full(ends[-1] + 1, (1 << run_bits) - 1)
    widths = np.full(ends[-1] + 1, run_bits + _PLACE_BITS * place_after_long)
    values[ends] = rest
    values[ends[:-1]] |= ((((y & 3) << 2) | (x & 3)) ^ _PLACE_FLIP) << run_bits
    widths[ends[:-1]] = run_bits + _PLACE_BITS
    widths[-1] = run_bits
    starts = np.cumsum(widths) - widths
    bits = np.zeros(-(-int(widths.sum()) // (8 * _WORD_BYTES)) * 8 * _WORD_BYTES, dtype=np.uint8)
    for place in range(run_bits + _PLACE_BITS):
        wide = widths > place
        bits[starts[wide] + place] = values[wide] >> place & 1
    return np.packbits(bits, bitorder="little")


def decode_frame(
    stream: bytes | Bytes, shape_px: tuple[int, int], *, run_bits: int = 7, place_after_long: bool = False
) -> npt.NDArray[np.int32]:
    """Return the events `(m, 2)` of a stream, undoing :func:`encode_frame`; same arguments.

    Raises
    ------
    InvalidInput
        The runs do not end at the frame's last pixel, or more than 32 bytes come after them.
    """
    _check_code(shape_px, run_bits)
    raw = np.frombuffer(stream, dtype=np.uint8)
    words = np.zeros(raw.size // 4 + 2, dtype="<u4")
    words.view(np.uint8)[: raw.size] = raw
    room = np.empty((min(8 * raw.size // (run_bits + _PLACE_BITS) + 1, _n_pixels(shape_px)), 2), dtype=np.int32)
    code = np.array([run_bits, _PLACE_BITS * place_after_long], dtype=np.int64)
    n_events, n_left = _loops().decode(words.astype(np.uint32, copy=False), 8 * raw.size, shape_px, code, room)
    if not 0 <= n_left < _MAX_PADDING_BITS:
        raise _unfilled(n_events, raw.size, shape_px)
    return room[:n_events]


def generic_decode_frame(
    stream: bytes | Bytes, shape_px: tuple[int, int], *, run_bits: int = 7, place_after_long: bool = False
) -> npt.NDArray[np.int32]:
    """Reference of :func:`decode_frame`, symbol by symbol; same arguments."""
    _check_code(shape_px, run_bits)
    raw = bytes(np.frombuffer(stream, dtype=np.uint8))
    bits, n_left = int.from_bytes(raw, "little"), 8 * len(raw)
    longest, pixel, events = (1 << run_bits) - 1, 0, []
    while n_left >= run_bits:
        run = bits & longest
        pixel += run
        if pixel >= _n_pixels(shape_px):
            break
        width = run_bits + _PLACE_BITS * (run < longest or place_after_long)
        if run < longest:
            place = (bits >> run_bits & 15) ^ _PLACE_FLIP
            row, column = divmod(pixel, shape_px[1])
            events.append((4 * row + (place >> 2), 4 * column + (place & 3)))
            pixel += 1
        bits, n_left = bits >> width, n_left - width
    if pixel != _n_pixels(shape_px) or not 0 <= n_left - run_bits < _MAX_PADDING_BITS:
        raise _unfilled(len(events), len(raw), shape_px)
    return np.array(events, dtype=np.int32).reshape(-1, 2)


def add_events(counts: npt.NDArray[np.uint16], events_qpx: npt.NDArray[np.int32], upsampling: int) -> None:
    """Count events `(m, 2)` into `(ny · upsampling, nx · upsampling)`, in place; up-sampling 1, 2 or 4."""
    shifts = {1: 2, 2: 1, 4: 0}
    if upsampling not in shifts:
        raise InvalidInput(f"upsampling {upsampling}", expected="1, 2 or 4")
    n_outside = _loops().add_events(counts, events_qpx, shifts[upsampling])
    if n_outside:
        raise InvalidInput(f"{n_outside} events lie beyond {counts.shape} pixels", expected="places in the image")


def pixel_by_pixel(events_qpx: Events, shape_px: tuple[int, int]) -> npt.NDArray[np.int32]:
    """Return events `(m, 2)` in the order of their pixels, the first of each pixel only, those off the sensor dropped.

    A camera that writes events cannot tell two of them in one pixel of one internal frame apart.
    """
    events = np.asarray(events_qpx, dtype=np.int32)
    inside = ((events >= 0) & (events >> 2 < np.array(shape_px, dtype=np.int32))).all(axis=1)
    events = events if inside.all() else events[inside]
    pixels = (events[:, 0] >> 2).astype(np.int64) * shape_px[1] + (events[:, 1] >> 2)
    if len(pixels) and not np.all(pixels[1:] > pixels[:-1]):
        order = np.argsort(pixels, kind="stable")
        events, pixels = events[order], pixels[order]
        events = events[np.diff(pixels, prepend=-1) > 0]
    return np.ascontiguousarray(events)


def _loops() -> Any:
    """Return the compiled loops; loaded late, so that importing the numerics compiles nothing."""
    return importlib.import_module("cryoframe.numerics._numba.eer_bits")


def _n_pixels(shape_px: tuple[int, int]) -> int:
    return shape_px[0] * shape_px[1]


def _check(events_qpx: Events, shape_px: tuple[int, int], run_bits: int) -> None:
    if events_qpx.ndim != 2 or events_qpx.shape[1] != 2 or events_qpx.dtype.kind not in "iu":
        raise InvalidInput(
            f"events of shape {events_qpx.shape}, {events_qpx.dtype} were given", expected="(m, 2) whole numbers"
        )
    _check_code(shape_px, run_bits)


def _check_code(shape_px: tuple[int, int], run_bits: int) -> None:
    if not 4 <= run_bits <= 12:
        raise InvalidInput(f"run lengths of {run_bits} bits were asked for", expected="4 to 12")
    if min(shape_px) < 1 or max(shape_px) >= 2**29:
        raise InvalidInput(f"a sensor of {shape_px} pixels was given", expected="rows and columns, 1 or more")


def _out_of_place(events_qpx: Events, number: int, shape_px: tuple[int, int]) -> InvalidInput:
    row, column = (int(value) for value in events_qpx[number])
    return InvalidInput(
        f"event {number + 1} at row {row / 4:g}, column {column / 4:g} is outside, out of order or a second one there",
        expected=f"events on {shape_px[0]} × {shape_px[1]} pixels in the order of the pixels, at most one in each",
        remedy="Sort them with cryoframe.numerics.eer_bits.pixel_by_pixel first.",
    )


def _unfilled(n_events: int, n_bytes: int, shape_px: tuple[int, int]) -> InvalidInput:
    return InvalidInput(
        f"{n_events} events in {n_bytes} bytes do not fill the frame",
        expected=f"runs that end at pixel {_n_pixels(shape_px)}",
    )
