"""Hook: acquisition metadata from SerialEM's mdoc of one movie; the reader is ``mdoc_text``."""

from __future__ import annotations

import os
import re
from pathlib import Path

from cryoframe import AcquisitionMetadata, hookimpl
from cryoframe.formats.paths import open_regular
from cryoframe_formats.mdoc_text import read_mdoc

_MARK = re.compile(rb"^\[(ZValue|FrameSet|MontSection)\s*=|^\[?T\s*=\s*SerialEM|^PixelSpacing\s*=", re.MULTILINE)


@hookimpl
def read_metadata(path: Path) -> AcquisitionMetadata | None:
    """Read the mdoc of one exposure; None for other files, tilt series and montages, which hold many."""
    if not _is_mdoc(path):
        return None
    mdoc = read_mdoc(path)
    if mdoc.kind not in ("frame_set", "images"):
        return None
    section = mdoc.sections[0]
    stage, shift = section.stage_um or (None, None), section.image_shift_um or (None, None)
    return AcquisitionMetadata(
        source="mdoc",
        exposure_id=os.path.splitext(section.frames_file)[0],  # noqa: PTH122
        voltage_kV=mdoc.voltage_kV,
        pixel_size_A=section.pixel_size_A,
        dose_e_A2=section.dose_e_A2,
        n_frames=section.n_frames,
        applied_defocus_A=section.target_defocus_A,
        stage_x_um=stage[0],
        stage_y_um=stage[1],
        tilt_deg=section.tilt_deg,
        image_shift_x_um=shift[0],
        image_shift_y_um=shift[1],
    )


def _is_mdoc(path: Path) -> bool:
    with open_regular(path) as stream:
        head = stream.read(4096)
    return b"\0" not in head and _MARK.search(head) is not None
