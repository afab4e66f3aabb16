"""Hook: acquisition metadata from EPU's XML; the reader is ``epu_xml``."""

from __future__ import annotations

import datetime
from pathlib import Path

from cryoframe import AcquisitionMetadata, hookimpl
from cryoframe.formats.paths import open_regular
from cryoframe_formats.epu_xml import ROOT, read_epu


@hookimpl
def read_metadata(path: Path) -> AcquisitionMetadata | None:
    """Read the XML file of one EPU image; None for any other file."""
    if not _is_epu(path):
        return None
    image = read_epu(path)
    return AcquisitionMetadata(
        source="epu",
        exposure_id=path.stem,
        voltage_kV=image.voltage_kV,
        pixel_size_A=image.pixel_size_A,
        dose_e_A2=image.dose_e_A2,
        n_frames=image.n_fractions,
        applied_defocus_A=image.applied_defocus_A,
        stage_x_um=image.stage_x_um,
        stage_y_um=image.stage_y_um,
        tilt_deg=image.alpha_tilt_deg,
        time_utc=_utc(image.time),
    )


def _is_epu(path: Path) -> bool:
    with open_regular(path) as stream:
        head = stream.read(4096)
    return f"<{ROOT}".encode() in head or f"<{ROOT}".encode("utf-16-le") in head


def _utc(text: str) -> str | None:
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.astimezone(datetime.UTC).isoformat() if moment.tzinfo else None
