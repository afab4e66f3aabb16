"""Images of DM3 and DM4 files: shape, type, calibration, pixels on demand; the tag tree is read in ``dm_tags``."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cryoframe.errors import Corrupt, Incomplete, Refused, Unsupported
from cryoframe.formats.paths import open_regular
from cryoframe_formats.dm_tags import SCALARS, DmArray, DmGroup, DmValue, TagReader

MAX_IMAGE_BYTES: Final = 8 * 2**30
_RGB: Final = 23
_COMPLEX: Final = {3: "c8", 13: "c16"}
_METRE: Final = {"nm": 10.0, "Å": 1.0, "A": 1.0, "µm": 1e4, "um": 1e4, "pm": 0.01}


@dataclass(frozen=True)
class DmImage:
    """One image of the file; axes slowest first."""

    path: str
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    offset: int
    scales: tuple[float, ...]
    units: tuple[str, ...]
    data_type: int

    @property
    def pixel_size_A(self) -> float | None:
        """Pixel along the fastest axis where the unit is a length."""
        factor = _METRE.get(self.units[-1].strip()) if self.units else None
        return self.scales[-1] * factor if factor and self.scales[-1] > 0 else None

    @property
    def n_bytes(self) -> int:
        """Size of the pixels."""
        return int(np.prod(self.shape, dtype=object)) * self.dtype.itemsize

    def read(self) -> NDArray[Any]:
        """Return the pixels in the stored type and row order."""
        if self.n_bytes > MAX_IMAGE_BYTES:
            raise Refused(f"image of {self.n_bytes} bytes", path=self.path, expected=f"at most {MAX_IMAGE_BYTES}")
        with open_regular(self.path) as stream:
            stream.seek(self.offset)
            raw = stream.read(self.n_bytes)
        if len(raw) < self.n_bytes:
            raise Incomplete("the file has become shorter", path=self.path, where=f"offset {self.offset}")
        return np.frombuffer(raw, self.dtype).reshape(self.shape).astype(self.dtype.newbyteorder("="))


@dataclass(frozen=True)
class DmFile:
    """Images and tags of a DM file."""

    version: int
    images: tuple[DmImage, ...]
    tags: DmGroup

    @property
    def image(self) -> DmImage:
        """The image itself, not the thumbnail: the largest one that is not a colour picture."""
        grey = [image for image in self.images if image.data_type != _RGB]
        if not grey:
            raise Unsupported("DM file without an image of numbers")
        return max(grey, key=lambda image: image.n_bytes)


def read_dm(path: str | os.PathLike[str]) -> DmFile:
    """Read the tags of a DM3 or DM4 file and find its images; pixels stay in the file.

    Raises
    ------
    Incomplete, Corrupt, Refused
        As in ``dm_tags.TagReader.read``; Corrupt also where an image's shape and data disagree.
    """
    name = os.fspath(path)
    with open_regular(path) as stream:
        reader = TagReader(stream, name)
        tags = reader.read()
    found = (_image(entry, name, reader.order) for entry in _children(tags.get("ImageList")))
    return DmFile(reader.version, tuple(image for image in found if image is not None), tags)


def is_dm(head: bytes) -> bool:
    """Whether a file's first 16 bytes may be those of a DM3 or DM4 file."""
    if len(head) < 16 or head[:3] != b"\0\0\0":
        return False
    order = {3: head[8:12], 4: head[12:16]}.get(head[3], b"")
    return order in (b"\0\0\0\0", b"\0\0\0\1")


def _children(group: DmValue | DmGroup | None) -> list[DmGroup]:
    return [entry for entry in group.values() if isinstance(entry, dict)] if isinstance(group, dict) else []


def _numbers(group: object) -> list[float]:
    return [value for value in group.values() if isinstance(value, int | float)] if isinstance(group, dict) else []


def _image(entry: DmGroup, path: str, order: str) -> DmImage | None:
    content = entry.get("ImageData")
    if not isinstance(content, dict) or not isinstance(data := content.get("Data"), DmArray):
        return None
    shape = tuple(int(n) for n in reversed(_numbers(content.get("Dimensions"))))
    data_type = content.get("DataType")
    kind = data_type if isinstance(data_type, int) else 0
    code = SCALARS[data.codes[0]]
    dtype = np.dtype(order + _COMPLEX[kind]) if kind in _COMPLEX else np.dtype(order + code)
    if kind == _RGB:
        dtype = np.dtype("V4")
    calibrations = content.get("Calibrations")
    axes = _children(calibrations.get("Dimension") if isinstance(calibrations, dict) else None)[::-1]
    image = DmImage(
        path,
        shape,
        dtype,
        data.offset,
        tuple(_scale(axis) for axis in axes),
        tuple(str(axis.get("Units", "")) for axis in axes),
        kind,
    )
    if not shape or min(shape) < 1 or image.n_bytes != data.n_bytes:
        raise Corrupt(
            f"image of {shape} {dtype} in {data.n_bytes} bytes", path=path, where=f"offset {data.offset}",
            expected=f"{image.n_bytes} bytes", remedy="Copy the file again.",
        )  # fmt: skip
    return image


def _scale(axis: DmGroup) -> float:
    value = axis.get("Scale")
    return float(value) if isinstance(value, int | float) else 0.0
