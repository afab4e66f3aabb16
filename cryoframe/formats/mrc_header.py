"""The 1 024-byte MRC2014 header: parsed strictly, checked for sense, built for writing; file access is in ``mrc``.

References
----------
MRC2014: Cheng et al., J. Struct. Biol. 192, 146 (2015), doi:10.1016/j.jsb.2015.04.002. Mode 12 and the byte layout:
www.ccpem.ac.uk/mrc-format/mrc2014. Mode 101 and ``imodFlags``: IMOD's MRC file format page.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cryoframe.errors import Corrupt, Incomplete, Refused, Unsupported
from cryoframe.formats.mrc_fei import FeiMetadata

HEADER_BYTES = 1024
MAX_SIDE_PX = 200_000
MAX_SECTIONS = 50_000_000
PACKED_MODE = 101
MODES: dict[int, str] = {0: "i1", 1: "i2", 2: "f4", 4: "c8", 6: "u2", 12: "f2", PACKED_MODE: "u1"}
MODE_OF_NAME = {"int8": 0, "int16": 1, "float32": 2, "complex64": 4, "uint16": 6, "float16": 12}
Triple = tuple[float, float, float]
Numbers = tuple[int, ...]

_STRUCT = "10i6f3i3f2i8s4s i84s3f4s4s f i".replace(" ", "")
_IMOD_STAMP = 1146047817
_IMOD_SIGNED, _IMOD_ORIGIN_INVERTED, _IMOD_NIBBLES = 1, 4, 16
_KNOWN_UNSUPPORTED = {3: "complex int16", 7: "int32 or Chimera", 16: "RGB bytes", 5: "IMAGIC packed"}


@dataclass(frozen=True, slots=True)
class MrcHeader:
    """The facts of an MRC file, in (z, y, x) order whatever order the file keeps its axes in."""

    path: str
    shape: tuple[int, int, int]
    """(z, y, x) of the array ``mrc.read`` returns."""
    mode: int
    dtype: np.dtype[np.generic]
    """As stored, byte order included; uint8 for unpacked 4-bit data."""
    pixel_size_A: tuple[float | None, float | None, float | None]
    """(x, y, z); None where the header's value is no usable number."""
    n_start: tuple[int, int, int]
    """(x, y, z) index of the first voxel."""
    origin_A: Triple
    """(x, y, z)."""
    ispg: int
    n_intervals: tuple[int, int, int]
    """(mx, my, mz), along x, y, z."""
    cell_angles_deg: Triple
    axis_order: tuple[int, int, int]
    """(mapc, mapr, maps): 1 = x, 2 = y, 3 = z."""
    stored_shape: tuple[int, int, int]
    """(sections, rows, columns) as in the file."""
    byte_order: Literal["<", ">"]
    extended_bytes: int
    extended_type: str
    statistics: tuple[float, float, float, float]
    """min, max, mean, rms as the header says."""
    labels: tuple[str, ...]
    packed: bool = False
    fei: tuple[FeiMetadata, ...] = ()
    flags: tuple[str, ...] = ()
    """What is odd about the file and was put right or set aside; one sentence each."""

    @property
    def data_offset(self) -> int:
        """Byte at which the pixels begin."""
        return HEADER_BYTES + self.extended_bytes

    @property
    def section_bytes(self) -> int:
        """Bytes of one stored section; rows of 4-bit data begin on a whole byte."""
        _, rows, columns = self.stored_shape
        return rows * ((columns + 1) // 2 if self.packed else columns * self.dtype.itemsize)

    @property
    def file_bytes(self) -> int:
        """Size the file must have by its own header."""
        return self.data_offset + self.stored_shape[0] * self.section_bytes

    @property
    def is_stack(self) -> bool:
        """Whether the sections are separate images and not one volume."""
        return self.ispg == 0 or 401 <= self.ispg <= 630

    @property
    def permuted(self) -> bool:
        """Whether the stored axes are not columns = x, rows = y, sections = z."""
        return self.axis_order != (1, 2, 3)

    def require_pixel_size_A(self, *, tolerance_frac: float = 1e-3) -> float:
        """Return the pixel size of the image plane [Å], or refuse the file.

        Raises
        ------
        Refused
            It is absent, not finite, not positive, or differs between x and y by more than `tolerance_frac`.
        """
        x, y, _ = self.pixel_size_A
        if x is None or y is None or abs(x - y) > tolerance_frac * x:
            raise Refused(
                f"header gives no single usable pixel size (x {x}, y {y})",
                path=self.path,
                where="offset 28",
                expected="equal, finite, positive sizes along x and y",
                remedy="State pixel_size_A in the configuration.",
            )
        return x


def parse_header(raw: bytes, *, path: str = "") -> MrcHeader:
    """Read the first 1 024 bytes of an MRC file; nothing is allocated from what they say.

    Raises
    ------
    Incomplete
        Fewer than 1 024 bytes, or a block of zeros (space reserved, not yet written).
    Corrupt
        Sizes, axis order or extended header size make no sense.
    Unsupported
        A known mode that is not read here.
    """
    if len(raw) < HEADER_BYTES or not any(raw[:HEADER_BYTES]):
        what = "all zero" if len(raw) >= HEADER_BYTES else f"{len(raw)} bytes long"
        raise Incomplete(
            f"MRC header is {what}", path=path, where="offset 0", expected=f"{HEADER_BYTES} bytes",
            remedy="Wait until it is written.",
        )  # fmt: skip
    flags: list[str] = []
    order = _byte_order(raw, flags)
    fields = struct.unpack_from(order + _STRUCT, raw)
    sizes, mode = fields[0:3], fields[3]
    axes = _axis_order(fields[16:19], path, flags)
    imod_flags = _imod_flags(raw, order)
    dtype, columns, packed = _pixel_type(mode, sizes[0], imod_flags, path, order, flags)
    _check_sizes((columns, *sizes[1:]), fields[23], path)
    lengths = dict(zip(axes, (columns, *sizes[1:]), strict=True))
    starts = dict(zip(axes, fields[4:7], strict=True))
    origin = fields[28:31] if not imod_flags & _IMOD_ORIGIN_INVERTED else tuple(-v for v in fields[28:31])
    return MrcHeader(
        path=path,
        shape=(lengths[3], lengths[2], lengths[1]),
        mode=mode,
        dtype=dtype,
        pixel_size_A=_pixel_size(fields[10:13], fields[7:10], flags),
        n_start=(starts[1], starts[2], starts[3]),
        origin_A=_finite(origin, flags),
        ispg=fields[22],
        n_intervals=fields[7:10],
        cell_angles_deg=fields[13:16],
        axis_order=axes,
        stored_shape=(sizes[2], sizes[1], columns),
        byte_order=order,
        extended_bytes=fields[23],
        extended_type=fields[25].decode("latin-1").strip("\0 "),
        statistics=(*fields[19:22], fields[33]),
        labels=_labels(raw, fields[34]),
        packed=packed,
        flags=tuple(flags),
    )


def build_header(
    shape: tuple[int, int, int],
    mode: int,
    *,
    pixel_size_A: Triple,
    is_stack: bool,
    statistics: Triple | tuple[float, float, float, float],
    origin_A: Triple = (0.0, 0.0, 0.0),
    n_start: tuple[int, int, int] = (0, 0, 0),
    label: str = "cryoframe",
) -> bytes:
    """Build the little-endian header of an array of `shape` (z, y, x); see ``mrc.write``."""
    nz, ny, nx = shape
    mz = 1 if is_stack else nz
    cell = (nx * pixel_size_A[0], ny * pixel_size_A[1], mz * pixel_size_A[2])
    version = 20141 if mode == 12 else 20140
    head = struct.pack("<10i", nx, ny, nz, mode, *n_start, nx, ny, mz)
    head += struct.pack("<6f3i3f2i", *cell, 90.0, 90.0, 90.0, 1, 2, 3, *statistics[:3], 0 if is_stack else 1, 0)
    head += struct.pack("<8s4si84s3f", b"", b"", version, b"", *origin_A)
    head += struct.pack("<4s4Bfi", b"MAP ", 0x44, 0x44, 0, 0, statistics[3] if len(statistics) > 3 else -1.0, 1)
    return head + label.encode("ascii").ljust(80) + b"\0" * 720


def _plausible(raw: bytes, order: str) -> bool:
    numbers: Numbers = struct.unpack_from(order + "4i", raw)
    axes: Numbers = struct.unpack_from(order + "3i", raw, 64)
    known = numbers[3] in MODES or numbers[3] in _KNOWN_UNSUPPORTED
    return known and all(0 < n <= MAX_SECTIONS for n in numbers[:3]) and all(0 <= axis <= 3 for axis in axes)


def _byte_order(raw: bytes, flags: list[str]) -> Literal["<", ">"]:
    stamp: Literal["<", ">"] | None = {0x44: "<", 0x11: ">"}.get(raw[212])  # type: ignore[assignment]
    if raw[208:211] != b"MAP":
        flags.append(
            f"no 'MAP' at offset 208 but {raw[208:212].hex(' ')}: written before MRC2000 or by a careless program"
        )
    first: Literal["<", ">"] = stamp or "<"
    other: Literal["<", ">"] = ">" if first == "<" else "<"
    order = other if not _plausible(raw, first) and _plausible(raw, other) else first
    if stamp != order:
        flags.append(f"machine stamp {raw[212:216].hex()} is wrong; byte order {order!r} taken from the sizes and mode")
    return order


def _imod_flags(raw: bytes, order: str) -> int:
    """IMOD's flag word where its stamp precedes it, else that of a file by the standard: signed bytes."""
    stamp, flags = struct.unpack_from(order + "2i", raw, 152)
    return int(flags) if stamp == _IMOD_STAMP else _IMOD_SIGNED


def _axis_order(axes: Numbers, path: str, flags: list[str]) -> tuple[int, int, int]:
    if axes == (0, 0, 0):
        flags.append("axis order is not set; columns = x, rows = y, sections = z assumed")
        return (1, 2, 3)
    if sorted(axes) != [1, 2, 3]:
        raise Corrupt(
            f"axis order {axes} is no permutation", path=path, where="offset 64", expected="1, 2, 3 in some order",
            remedy="The file is no MRC file, or damaged: copy it again.",
        )  # fmt: skip
    return (axes[0], axes[1], axes[2])


def _pixel_type(
    mode: int, columns: int, imod_flags: int, path: str, order: str, flags: list[str]
) -> tuple[np.dtype[np.generic], int, bool]:
    """Return dtype, number of columns, and whether two pixels share a byte."""
    if mode not in MODES:
        known = ", ".join(map(str, MODES))
        name = _KNOWN_UNSUPPORTED.get(mode)
        what = f"mode {mode} ({name or 'unknown'})"
        kind = Unsupported if name else Corrupt
        raise kind(what, path=path, where="offset 12", expected=f"one of the modes {known}", remedy="Convert the file.")
    if mode == 0 and imod_flags & _IMOD_NIBBLES:
        flags.append("IMOD says each byte of mode 0 holds two 4-bit values; read so")
        return np.dtype("u1"), 2 * columns, True
    if mode == 0 and not imod_flags & _IMOD_SIGNED:
        flags.append("IMOD says the bytes of mode 0 are unsigned; read so")
        return np.dtype("u1"), columns, False
    return np.dtype(order + MODES[mode]), columns, mode == PACKED_MODE


def _check_sizes(sizes: Numbers, extended: int, path: str) -> None:
    limits = (MAX_SIDE_PX, MAX_SIDE_PX, MAX_SECTIONS)
    for name, offset, size, limit in zip(("columns", "rows", "sections"), (0, 4, 8), sizes, limits, strict=True):
        if not 0 < size <= limit:
            raise Corrupt(
                f"{size} {name}", path=path, where=f"offset {offset}", expected=f"1 to {limit}",
                remedy="The file is no MRC file, or damaged: copy it again.",
            )  # fmt: skip
    if extended < 0:
        raise Corrupt(f"extended header of {extended} bytes", path=path, where="offset 92", expected="0 or more")


def _pixel_size(
    cell: tuple[float, ...], intervals: Numbers, flags: list[str]
) -> tuple[float | None, float | None, float | None]:
    sizes: list[float | None] = []
    for axis, length, n in zip("xyz", cell, intervals, strict=True):
        size = length / n if n > 0 and math.isfinite(length) else 0.0
        usable = size > 0.0
        if not usable:
            flags.append(f"no pixel size along {axis}: cell {length} Å over {n} intervals")
        sizes.append(_shortest(size) if usable else None)
    return (sizes[0], sizes[1], sizes[2])


def _shortest(value: float) -> float:
    """Round to the seven digits float32 holds, so that 0.8538 × 3710 / 3710 is 0.8538 again."""
    return float(f"{value:.7g}")


def _finite(values: tuple[float, ...], flags: list[str]) -> Triple:
    if not all(math.isfinite(v) for v in values):
        flags.append(f"origin {values} is not finite; zero taken")
        return (0.0, 0.0, 0.0)
    return (values[0], values[1], values[2])


def _labels(raw: bytes, count: int) -> tuple[str, ...]:
    lines = (raw[start : start + 80] for start in range(224, HEADER_BYTES, 80))
    texts = [line.split(b"\0")[0].decode("latin-1").rstrip() for line in lines]
    return tuple(text for text in texts[: max(0, min(10, count))] if text)


def unpack_nibbles(packed: NDArray[np.uint8], columns: int) -> NDArray[np.uint8]:
    """Spread 4-bit pixels over bytes: `(…, rows, (columns + 1) // 2)` to `(…, rows, columns)`, low half first."""
    spread = np.empty((*packed.shape[:-1], 2 * packed.shape[-1]), np.uint8)
    spread[..., 0::2] = packed & 0x0F
    spread[..., 1::2] = packed >> 4
    return spread[..., :columns]
