"""Hook: EER movies as a Falcon 4 writes them: one strip of events an internal frame, XML on the first page, BigTIFF.

``n_frames`` of a recording counts internal frames, ``dose_per_frame_e_A2`` is that of one. Rows are stored as given
(see ``eer``).

The items of the XML are those of files of EPU, as ``tifffile`` and ``eerfile`` read them; ``sensorPixelSize`` is the
pixel at the specimen [m]. Default is compression 65001 (7-bit runs), which every reader knows; the fact
``eer_compression`` may ask for 65000 (8-bit runs) or 65002 (sizes in tags 65007 to 65009).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from cryoframe import Recording, hookimpl
from cryoframe.errors import InvalidInput
from cryoframe.numerics.eer_bits import encode_frame
from cryoframe_formats.raw_frames import check_recording, exactly
from cryoframe_formats.sink import Sink
from cryoframe_formats.tiff_ifd import (
    BITS,
    COMPRESSION,
    EER_POS_BITS,
    EER_X_BITS,
    EER_XML,
    EER_Y_BITS,
    LENGTH,
    PLANAR,
    ROWS_PER_STRIP,
    SAMPLE_FORMAT,
    SAMPLES,
    WIDTH,
)
from cryoframe_formats.tiff_pages import LONG, SHORT, UNDEFINED, Entry, PageWriter

_PHOTOMETRIC: Final = 262
_A_IN_M: Final = 1e-10
#: Names of our facts as the files have them; other facts keep their names.
_ITEMS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "camera": "commercialName",
        "camera_name": "cameraName",
        "exposure_s": "exposureTime",
        "serial_number": "serialNumber",
        "acquisition_id": "acquisitionID",
        "time_utc": "timestamp",
    }
)
_UNITS: Final[Mapping[str, str]] = MappingProxyType({"exposureTime": "s", "frameTime": "s"})


@dataclass(frozen=True)
class _Coding:
    compression: int
    run_bits: int = 7
    place_after_long: bool = False
    tags: tuple[Entry, ...] = field(default=())


_CODINGS: Final[Mapping[str, _Coding]] = MappingProxyType(
    {
        "65000": _Coding(65000, 8, place_after_long=True),
        "65001": _Coding(65001),
        "65002": _Coding(
            65002,
            tags=(Entry(EER_POS_BITS, SHORT, (7,)), Entry(EER_X_BITS, SHORT, (2,)), Entry(EER_Y_BITS, SHORT, (2,))),
        ),
    }
)


@hookimpl
def write_movie(path: Path, recording: Recording) -> bool | None:
    """Write an EER movie; None for recordings of another kind."""
    if recording.kind != "eer":
        return None
    write_eer_movie(path, recording)
    return True


def write_eer_movie(path: Path, recording: Recording) -> None:
    """Write the events of internal frames as they come.

    Raises
    ------
    InvalidInput
        Fewer or more internal frames than announced, or events that a frame cannot hold; the frame is named.
    EnvironmentFault
        The disk will not take it.
    """
    check_recording(recording, (recording.dtype,))
    coding = _coding(recording)
    rows, columns = recording.shape_px
    tags = [
        Entry(WIDTH, LONG, (columns,)),
        Entry(LENGTH, LONG, (rows,)),
        Entry(BITS, SHORT, (1,)),
        Entry(COMPRESSION, SHORT, (coding.compression,)),
        Entry(_PHOTOMETRIC, SHORT, (1,)),
        Entry(SAMPLES, SHORT, (1,)),
        Entry(ROWS_PER_STRIP, LONG, (rows,)),
        Entry(PLANAR, SHORT, (1,)),
        Entry(SAMPLE_FORMAT, SHORT, (1,)),
        *coding.tags,
    ]
    with Sink(path) as sink:
        pages = PageWriter(sink, big=True)
        for index, events in enumerate(exactly(recording.events, recording.n_frames)):
            try:
                strip = encode_frame(
                    events, recording.shape_px, run_bits=coding.run_bits, place_after_long=coding.place_after_long
                )
            except InvalidInput as error:
                raise InvalidInput(
                    f"internal frame {index + 1}: {error.what}", expected=error.expected, remedy=error.remedy
                ) from error
            xml = [Entry(EER_XML, UNDEFINED, acquisition_xml(recording))] if index == 0 else []
            pages.add([*tags, *xml], [strip.data], last=index + 1 == recording.n_frames)
        pages.finish()


def acquisition_xml(recording: Recording) -> bytes:
    """Return the acquisition's metadata as the first page of a file has them."""
    rows, columns = recording.shape_px
    pixel_m = f"{recording.pixel_size_A * _A_IN_M:.8g}"
    total = recording.dose_per_frame_e_A2 * recording.n_frames * recording.pixel_size_A**2
    items: dict[str, tuple[str, str]] = {
        "numberOfFrames": (str(recording.n_frames), ""),
        "sensorImageWidth": (str(columns), "pixel"),
        "sensorImageHeight": (str(rows), "pixel"),
        "sensorPixelSize.width": (pixel_m, "m"),
        "sensorPixelSize.height": (pixel_m, "m"),
        "totalDose": (f"{total:.8g}", "e/pixel"),
    }
    for name, value in recording.facts.items():
        given = _ITEMS.get(name, name)
        if name != "eer_compression":
            items.setdefault(given, (value, _UNITS.get(given, "")))
    exposure_s = _number(items.get("exposureTime", ("", ""))[0])
    if exposure_s > 0.0:
        items.setdefault("meanDoseRate", (f"{total / exposure_s:.8g}", "e/pixel/s"))
    return f"<metadata>{''.join(_item(name, *items[name]) for name in items)}</metadata>".encode()


def _item(name: str, value: str, unit: str) -> str:
    attributes = f"name={quoteattr(name)}" + (f" unit={quoteattr(unit)}" if unit else "")
    printable = "".join(letter for letter in value if letter.isprintable())
    return f"<item {attributes}>{escape(printable)}</item>"


def _number(words: str) -> float:
    try:
        return float(words)
    except ValueError:
        return 0.0


def _coding(recording: Recording) -> _Coding:
    asked = recording.facts.get("eer_compression", "65001")
    if asked not in _CODINGS:
        raise InvalidInput(f"eer_compression {asked!r}", expected=f"one of {', '.join(_CODINGS)}")
    return _CODINGS[asked]
