"""Hook: gain references from MRC, TIFF and DM files, refused before they can spoil a movie.

Rows are in the order of the movie's frames: TIFF and DM references are turned over as TIFF movies are (``tiff``), MRC
references and those for EER movies, among them every ``.gain`` file, are not. The reference multiplies the frames.
(RELION agrees for ``.gain`` files; it divides EER frames by a reference in an MRC file, which is not done here.)
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cryoframe import GainReference, hookimpl
from cryoframe.errors import FileError, Refused, Unsupported
from cryoframe.formats import mrc
from cryoframe.formats.paths import open_regular
from cryoframe_formats.dm import is_dm, read_dm
from cryoframe_formats.tiff import open_tiff
from cryoframe_formats.tiff_ifd import is_tiff

MAX_DEFECT_FRAC: Final = 0.05


@hookimpl
def open_gain(path: Path) -> GainReference | None:
    """Read a gain reference; None when the file is of no kind that may hold one. ``.gain`` files are for EER movies."""
    for_eer = path.suffix.lower() == ".gain"
    return GainReference(read_gain(path, for_eer=for_eer), str(path)) if _kind(path) else None


def read_gain(
    path: str | os.PathLike[str], *, shape_px: tuple[int, int] | None = None, for_eer: bool = False
) -> NDArray[np.float32]:
    """Read and judge a gain reference.

    Parameters
    ----------
    path
        MRC, TIFF (also EPU's ``.gain``), DM3 or DM4 file.
    shape_px
        Frame shape `(ny, nx)` it must have.
    for_eer
        Rows in the order of EER frames: TIFF references are then not turned over.

    Returns
    -------
    `(ny, nx)` float32, to multiply frames with.

    Raises
    ------
    Refused
        Wrong shape (said so when merely transposed), several images, NaN or infinite values, negative values, all
        zero, or more than 5 % of pixels zero.
    Unsupported
        No kind of file that holds a reference.
    Incomplete, Corrupt
        From the reader of the file's kind.
    """
    name, kind = os.fspath(path), _kind(path)
    if kind == "mrc":
        pixels, header = mrc.read(path)
        if header.shape[0] != 1:
            raise _refused(name, f"{header.shape[0]} images", "one")
        gain = pixels[0]
    elif kind == "tiff":
        movie = open_tiff(path)
        if movie.n_frames != 1:
            raise _refused(name, f"{movie.n_frames} images", "one")
        gain = movie.read_frame(0)[::-1] if for_eer else movie.read_frame(0)
    elif kind == "dm":
        stored = read_dm(path).image
        if len(stored.shape) != 2 and stored.shape[:-2] != (1,) * (len(stored.shape) - 2):
            raise _refused(name, f"image of shape {stored.shape}", "two axes")
        gain = stored.read().reshape(stored.shape[-2:])
        gain = gain if for_eer else gain[::-1]
    else:
        raise Unsupported("no MRC, TIFF or DM file", path=name, where="offset 0", expected="a gain reference")
    checked: NDArray[np.float32] = np.ascontiguousarray(gain, np.float32)
    check_gain(checked, name, shape_px=shape_px)
    return checked


def check_gain(gain: NDArray[Any], path: str, *, shape_px: tuple[int, int] | None = None) -> None:
    """Refuse a reference that would spoil the movies; see :func:`read_gain`."""
    if shape_px is not None and gain.shape != shape_px:
        turned = gain.shape == shape_px[::-1]
        remedy = "It is transposed: turn it by 90° first." if turned else "Take the reference of this camera mode."
        raise _refused(path, f"shape {gain.shape}", f"the movie's {shape_px}", remedy)
    n_bad = int(np.size(gain) - np.isfinite(gain).sum())
    if n_bad:
        raise _refused(path, f"{n_bad} pixels are not finite", "finite numbers")
    if not gain.any():
        raise _refused(path, "all pixels are zero", "values about 1")
    if gain.min() < 0:
        raise _refused(path, f"{int((gain < 0).sum())} pixels are negative", "values above 0")
    zero_frac = float((gain == 0).mean())
    if zero_frac > MAX_DEFECT_FRAC:
        raise _refused(path, f"{zero_frac:.1%} of pixels are zero", f"at most {MAX_DEFECT_FRAC:.0%}")


def _refused(path: str, what: str, expected: str, remedy: str = "Take another reference.") -> FileError:
    return Refused(f"gain reference: {what}", path=path, expected=expected, remedy=remedy)


def _kind(path: str | os.PathLike[str]) -> str:
    with open_regular(path) as stream:
        head = stream.read(216)
    if is_tiff(head):
        return "tiff"
    if is_dm(head):
        return "dm"
    return "mrc" if head[208:211] == b"MAP" else ""
