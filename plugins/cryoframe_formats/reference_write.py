"""Hook: gain references and defect maps as MRC, TIFF, Falcon's ``.gain`` and SerialEM's list of defects.

A gain multiplies frames (see ``gain``). TIFF files hold the last row first, ``.gain`` files, which go with EER movies,
the first; both are read back by ``open_gain`` as they were given. RELION takes a ``.gain`` file as multiplicative too,
but *divides* EER frames by a gain in an MRC or TIFF file: give it the ``.gain``.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cryoframe import ReferenceImage, hookimpl
from cryoframe.errors import InvalidInput
from cryoframe_formats.defect_list import defect_list_text
from cryoframe_formats.gain import check_gain
from cryoframe_formats.mrc_movie_write import write_mrc_image
from cryoframe_formats.sink import Sink
from cryoframe_formats.tiff_write import write_tiff_image

_TIFF: Final = (".tif", ".tiff")


@hookimpl
def write_reference(image: ReferenceImage) -> bool | None:
    """Write a reference in the format its name ends with; None for other names.

    Whole numbers and truth values are a defect map: 0 where good, stored as bytes. Floating point is a gain, float32.
    """
    path = image.path
    suffix = path.suffix.lower()
    is_list = suffix == ".txt" and "defect" in path.name.lower()
    if suffix not in (".mrc", ".gain", *_TIFF) and not is_list:
        return None
    stored = _stored(image)
    if is_list:
        _write_bytes(image, defect_list_text(stored != 0).encode("ascii"))
    elif suffix == ".mrc":
        write_mrc_image(path, stored, pixel_size_A=image.pixel_size_A)
    else:
        write_tiff_image(path, stored, pixel_size_A=image.pixel_size_A, rows_as_given=suffix == ".gain")
    return True


def _stored(image: ReferenceImage) -> NDArray[Any]:
    data = image.data
    if data.ndim != 2 or not data.size or data.dtype.kind not in "biuf":
        raise InvalidInput(f"a reference of shape {data.shape}, {data.dtype}", expected="(ny, nx) numbers")
    if data.dtype.kind == "f":
        gain: NDArray[np.float32] = np.ascontiguousarray(data, np.float32)
        check_gain(gain, str(image.path))
        return gain
    if data.dtype.kind != "b" and (data.min() < 0 or data.max() > 127):
        raise InvalidInput(f"a defect map of values from {data.min()} to {data.max()}", expected="0 to 127")
    return np.ascontiguousarray(data, np.uint8)


def _write_bytes(image: ReferenceImage, raw: bytes) -> None:
    with Sink(image.path, n_bytes=len(raw)) as sink:
        sink.append(raw)
