"""SerialEM's mdoc files, strictly: a header, titles, and sections of ``key = value``; hooks are in ``mdoc``.

References
----------
SerialEM help, "Format of .mdoc files": bio3d.colorado.edu/SerialEM/hlp/html/about_formats.htm.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import Final, Literal

from cryoframe.errors import Corrupt, Incomplete, Refused
from cryoframe.formats.paths import open_regular

MAX_BYTES: Final = 64 * 2**20
MAX_LINE: Final = 2**20
Kind = Literal["frame_set", "tilt_series", "montage", "images"]
_SECTION: Final = re.compile(r"\[(ZValue|FrameSet|MontSection)\s*=\s*(-?\d+)\]$")
_TITLE: Final = re.compile(r"\[?T\s*=\s*(.*?)\]?$")
_ENTRY: Final = re.compile(r"([A-Za-z]\w*)\s*=\s*(.*)$")


@dataclass(frozen=True)
class MdocSection:
    """One section: an image, a set of frames, or a montage."""

    kind: str
    """``ZValue``, ``FrameSet`` or ``MontSection``."""
    number: int
    values: dict[str, str]
    path: str = ""
    lines: dict[str, int] = field(default_factory=dict)

    def floats(self, name: str, count: int | None = None) -> tuple[float, ...] | None:
        """Return the numbers of an entry, None where it is absent."""
        if name not in self.values:
            return None
        try:
            numbers = tuple(float(word) for word in self.values[name].split())
        except ValueError:
            numbers = ()
        if not numbers or (count is not None and len(numbers) != count):
            raise self._bad(name, f"{count or 'some'} numbers")
        return numbers

    def number_of(self, name: str) -> float | None:
        """Return a single number, None where the entry is absent."""
        numbers = self.floats(name, 1)
        return numbers[0] if numbers else None

    @property
    def tilt_deg(self) -> float | None:
        """Stage tilt."""
        return self.number_of("TiltAngle")

    @property
    def pixel_size_A(self) -> float | None:
        """Pixel of the saved image or frames."""
        return _positive(self.number_of("PixelSpacing"))

    @property
    def dose_e_A2(self) -> float | None:
        """Dose of the exposure; None where SerialEM wrote 0 for "not calibrated"."""
        return _positive(self.number_of("ExposureDose"))

    @property
    def prior_dose_e_A2(self) -> float | None:
        """Dose the area had received before."""
        return self.number_of("PriorRecordDose")

    @property
    def defocus_A(self) -> float | None:
        """Defocus by the instrument's reading; positive is underfocus (SerialEM writes µm, negative underfocus)."""
        return _underfocus(self.number_of("Defocus"))

    @property
    def target_defocus_A(self) -> float | None:
        """Defocus that was aimed at; positive is underfocus."""
        return _underfocus(self.number_of("TargetDefocus"))

    @property
    def exposure_s(self) -> float | None:
        """Exposure time."""
        return _positive(self.number_of("ExposureTime"))

    @property
    def stage_um(self) -> tuple[float, float] | None:
        """Stage position x, y."""
        return _two(self.floats("StagePosition", 2))

    @property
    def image_shift_um(self) -> tuple[float, float] | None:
        """Image shift x, y."""
        return _two(self.floats("ImageShift", 2))

    @property
    def rotation_deg(self) -> float | None:
        """Rotation of the image against the stage's axes."""
        return self.number_of("RotationAngle")

    @property
    def n_frames(self) -> int | None:
        """Frames really saved.

        Raises
        ------
        Corrupt
            ``NumSubFrames`` is no count, or not the sum of ``FrameDosesAndNumber``.
        """
        value = self.number_of("NumSubFrames")
        if value is None:
            return None
        if value < 0 or not value.is_integer():
            raise self._bad("NumSubFrames", "a whole number")
        listed = sum(count for _, count in self.frame_doses)
        if self.frame_doses and listed != value:
            raise self._bad("NumSubFrames", f"{listed}, the sum of FrameDosesAndNumber")
        return int(value)

    @property
    def frame_doses(self) -> tuple[tuple[float, int], ...]:
        """(dose a frame [e/Å²], number of frames) in order; dose 0 means not calibrated."""
        numbers = self.floats("FrameDosesAndNumber") or ()
        if len(numbers) % 2 or any(n < 1 or not n.is_integer() for n in numbers[1::2]):
            raise self._bad("FrameDosesAndNumber", "pairs of a dose and a number of frames")
        return tuple((dose, int(n)) for dose, n in zip(numbers[::2], numbers[1::2], strict=True))

    @property
    def frames_file(self) -> str:
        """Name of the frames' file without its folder (SerialEM writes Windows paths)."""
        return re.split(r"[\\/]", self.values.get("SubFramePath", ""))[-1]

    def _bad(self, name: str, expected: str) -> Corrupt:
        return Corrupt(
            f"{name} = {self.values[name][:80]}", path=self.path, where=f"line {self.lines.get(name, 0)}",
            expected=expected, remedy="Correct or delete the entry.",
        )  # fmt: skip


@dataclass(frozen=True)
class Mdoc:
    """A whole mdoc file."""

    header: MdocSection
    titles: tuple[str, ...]
    sections: tuple[MdocSection, ...]
    flags: tuple[str, ...] = ()

    @property
    def kind(self) -> Kind:
        """What the sections are: frames of one or more exposures, pieces of a montage, a tilt series, or images."""
        if any(section.kind == "FrameSet" for section in self.sections):
            return "frame_set"
        if self.header.values.get("Montage") == "1" or any("PieceCoordinates" in s.values for s in self.sections):
            return "montage"
        tilts = {section.values.get("TiltAngle") for section in self.sections}
        return "tilt_series" if len(tilts - {None}) > 1 else "images"

    def of_kind(self, kind: str) -> tuple[MdocSection, ...]:
        """Return the sections called `kind`."""
        return tuple(section for section in self.sections if section.kind == kind)

    @property
    def voltage_kV(self) -> float | None:
        """Acceleration voltage, from the header or the first section."""
        found = (part.number_of("Voltage") for part in (self.header, *self.sections[:1]))
        return next((value for value in found if value), None)


def read_mdoc(path: str | os.PathLike[str]) -> Mdoc:
    """Read an mdoc file.

    Raises
    ------
    Incomplete
        Empty, no section yet, or no newline at the end.
    Corrupt
        With line number: a line that is no entry, an entry or section given twice, a NUL.
    Refused
        Larger than 64 MiB, or a line longer than 1 MiB.
    """
    name = os.fspath(path)
    with open_regular(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        if size > MAX_BYTES:
            raise Refused(f"{size} bytes", path=name, expected=f"at most {MAX_BYTES}", remedy="It is no mdoc file.")
        raw = stream.read(MAX_BYTES)
    return parse_mdoc(raw, path=name)


def parse_mdoc(raw: bytes, *, path: str = "") -> Mdoc:
    """Parse the bytes of an mdoc file; see :func:`read_mdoc`."""
    flags: tuple[str, ...] = ()
    if not raw.endswith(b"\n"):
        where = _line_at(raw, len(raw))
        raise Incomplete("the last line has no newline", path=path, where=where, remedy="Wait until it is written.")
    if b"\0" in raw:
        where = _line_at(raw, raw.index(b"\0"))
        raise Corrupt("NUL byte", path=path, where=where, expected="text", remedy="Copy the file again.")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text, flags = raw.decode("cp1252", "replace"), ("not UTF-8; read as Windows-1252",)
    header = MdocSection("header", 0, {}, path)
    sections: list[MdocSection] = [header]
    titles: list[str] = []
    for number, line in enumerate(text.split("\n"), 1):
        if len(line) > MAX_LINE:
            raise Refused(f"line of {len(line)} characters", path=path, where=f"line {number}", expected="a short one")
        _line(line.strip(), number, sections, titles)
    if len(sections) == 1:
        raise Incomplete("no section", path=path, expected="[ZValue = 0] or [FrameSet = 0]", remedy="Wait.")
    return Mdoc(header, tuple(titles), tuple(sections[1:]), flags)


def _line(line: str, number: int, sections: list[MdocSection], titles: list[str]) -> None:
    path = sections[0].path
    if not line:
        return
    if section := _SECTION.match(line):
        kind, index = section.group(1), int(section.group(2))
        if any(known.kind == kind and known.number == index for known in sections):
            raise Corrupt(f"second section {line}", path=path, where=f"line {number}", expected="each section once")
        sections.append(MdocSection(kind, index, {}, path))
    elif title := _TITLE.match(line):
        titles.append(title.group(1).strip())
    elif entry := _ENTRY.match(line):
        name, value = entry.group(1), entry.group(2).strip()
        if name in sections[-1].values:
            raise Corrupt(f"second entry {name!r}", path=path, where=f"line {number}", expected="each entry once")
        sections[-1].values[name] = value
        sections[-1].lines[name] = number
    else:
        raise Corrupt(f"line {line[:60]!r}", path=path, where=f"line {number}", expected="name = value, or [section]")


def _line_at(raw: bytes, offset: int) -> str:
    number = raw.count(b"\n", 0, offset) + 1
    return f"line {number}"


def _positive(value: float | None) -> float | None:
    return value if value is not None and 0 < value < float("inf") else None


def _underfocus(micrometres: float | None) -> float | None:
    return None if micrometres is None else -micrometres * 1e4


def _two(numbers: tuple[float, ...] | None) -> tuple[float, float] | None:
    return None if numbers is None else (numbers[0], numbers[1])
