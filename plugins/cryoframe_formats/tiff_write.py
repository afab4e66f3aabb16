"""Hook: TIFF movies as SerialEM writes those of a K3: LZW, a page a frame, BigTIFF where needed; one frame in memory.

The last row of a frame is the first of its page (see ``tiff``). Strips of about 16 kB, the resolution in pixels an inch
and the first line of the description are as in files of SerialEM and IMOD.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from cryoframe import Recording, hookimpl
from cryoframe_formats.raw_frames import check_recording, stored_frames
from cryoframe_formats.sink import Sink
from cryoframe_formats.tiff_ifd import (
    BITS,
    COMPRESSION,
    DESCRIPTION,
    LENGTH,
    PLANAR,
    ROWS_PER_STRIP,
    SAMPLE_FORMAT,
    SAMPLES,
    UNIT,
    WIDTH,
    X_RESOLUTION,
)
from cryoframe_formats.tiff_pages import LONG, MAX_CLASSIC_BYTES, RATIONAL, SHORT, Entry, PageWriter, text

DTYPES: Final = ("uint8", "uint16", "int16", "float32")
STRIP_BYTES: Final = 16_384
_NONE, _LZW = 1, 5
_PHOTOMETRIC, _Y_RESOLUTION, _DATE_TIME = 262, 283, 306
_INCH_IN_A: Final = 2.54e8
#: LZW codes have at most 12 bits for each byte; tags and strip addresses come on top.
_WORST_GROWTH: Final = 1.6


@hookimpl
def write_movie(path: Path, recording: Recording) -> bool | None:
    """Write a TIFF-LZW movie; None for recordings of another kind."""
    if recording.kind != "tiff":
        return None
    write_tiff_movie(path, recording)
    return True


def write_tiff_movie(path: Path, recording: Recording, *, big: bool | None = None) -> None:
    """Write frames as they come, compressed on this thread.

    Parameters
    ----------
    path
        Written in place; see ``sink``.
    recording
        Frames of uint8, uint16, int16 or float32; facts go into the first page's description, a line each, and
        ``time_utc`` into each page's date.
    big
        BigTIFF; None = where the file could reach 4 GiB.

    Raises
    ------
    InvalidInput
        See ``raw_frames``.
    EnvironmentFault
        The disk will not take it.
    """
    check_recording(recording, DTYPES)
    with Sink(path) as sink:
        pages = PageWriter(sink, big=_needs_big(recording) if big is None else big)
        for index, frame in enumerate(stored_frames(recording)):
            entries = page_entries(frame, compression=_LZW, pixel_size_A=recording.pixel_size_A)
            entries += _date_time(recording)
            if index == 0:
                entries.append(text(DESCRIPTION, describe(recording)))
            strips = [imagecodecs.lzw_encode(strip) for strip in cut(frame[::-1])]
            pages.add(entries, strips, last=index + 1 == recording.n_frames)
        pages.finish()


def write_tiff_image(path: Path, image: NDArray[Any], *, pixel_size_A: float, rows_as_given: bool = False) -> None:
    """Write one image of any pixel type that TIFF has, uncompressed.

    Parameters
    ----------
    path
        Written in place; see ``sink``.
    image
        `(ny, nx)`.
    pixel_size_A
        For the resolution tags.
    rows_as_given
        The first row is that of the page, as in files that go with EER movies; else the last one is.
    """
    stored = np.ascontiguousarray(image, image.dtype.newbyteorder("<"))
    with Sink(path) as sink:
        pages = PageWriter(sink, big=stored.nbytes * _WORST_GROWTH > MAX_CLASSIC_BYTES)
        entries = page_entries(stored, compression=_NONE, pixel_size_A=pixel_size_A)
        pages.add(entries, list(cut(stored if rows_as_given else stored[::-1])), last=True)
        pages.finish()


def describe(recording: Recording) -> str:
    """Return the description: what is known, a line each; SerialEM's own first line unless another program is named."""
    turned = recording.facts.get("rotation_flip", "0")
    known = {
        "pixel_size_A": f"{recording.pixel_size_A:g}",
        "dose_per_frame_e_A2": f"{recording.dose_per_frame_e_A2:g}",
        "voltage_kV": f"{recording.voltage_kV:g}",
        **recording.facts,
    }
    lines = [f"{name} = {' '.join(value.split())}" for name, value in known.items()]
    head = [] if "program" in recording.facts else [f"SerialEMCCD: Dose frac. image, scaled by 1.00  r/f {turned}"]
    return "\n".join([*head, *lines])


def page_entries(image: NDArray[Any], *, compression: int, pixel_size_A: float) -> list[Entry]:
    """Return the tags of a page of `image`'s shape and type, without those of its strips."""
    rows, columns = image.shape
    per_inch = (max(1, min(round(_INCH_IN_A / pixel_size_A), 2**32 - 1)), 1)
    return [
        Entry(WIDTH, LONG, (columns,)),
        Entry(LENGTH, LONG, (rows,)),
        Entry(BITS, SHORT, (8 * image.dtype.itemsize,)),
        Entry(COMPRESSION, SHORT, (compression,)),
        Entry(_PHOTOMETRIC, SHORT, (1,)),
        Entry(SAMPLES, SHORT, (1,)),
        Entry(ROWS_PER_STRIP, LONG, (rows_per_strip(image),)),
        Entry(X_RESOLUTION, RATIONAL, per_inch),
        Entry(_Y_RESOLUTION, RATIONAL, per_inch),
        Entry(PLANAR, SHORT, (1,)),
        Entry(UNIT, SHORT, (2,)),
        Entry(SAMPLE_FORMAT, SHORT, ({"u": 1, "b": 1, "i": 2, "f": 3}[image.dtype.kind],)),
    ]


def _date_time(recording: Recording) -> list[Entry]:
    """Return the tag of the time of acquisition, where the fact ``time_utc`` gives one."""
    try:
        when = datetime.fromisoformat(recording.facts.get("time_utc", ""))
    except ValueError:
        return []
    return [text(_DATE_TIME, f"{when:%Y:%m:%d %H:%M:%S}")]


def rows_per_strip(image: NDArray[Any]) -> int:
    """Rows that make about 16 kB."""
    row_bytes = int(image.shape[1] * image.dtype.itemsize)
    return max(1, min(int(image.shape[0]), (STRIP_BYTES + row_bytes // 2) // row_bytes))


def cut(image: NDArray[Any]) -> Iterator[bytes]:
    """Yield the bytes of each strip."""
    height = rows_per_strip(image)
    for top in range(0, image.shape[0], height):
        yield np.ascontiguousarray(image[top : top + height]).tobytes()


def _needs_big(recording: Recording) -> bool:
    rows, columns = recording.shape_px
    frame_bytes = rows * columns * np.dtype(recording.dtype).itemsize
    tags_bytes = 65_536 + 16 * rows
    return recording.n_frames * (frame_bytes * _WORST_GROWTH + tags_bytes) > MAX_CLASSIC_BYTES
