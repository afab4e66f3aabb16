"""``EpuSession.dm``: the session's own file, well formed and cut down to what names and dates it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from xml.sax.saxutils import escape

from cryoframe.twin.epu_xml import SOFTWARE
from cryoframe.twin.shot import Shot

FORMATS: Final = {"tiff": "Tiff Lzw Non-Gain normalized", "mrc": "Mrc", "eer": "Eer"}
_TYPES: Final = ' xmlns="http://schemas.datacontract.org/2004/07/Fei.Applications.Common.Types"'


def session_dm(session: str, shots: Sequence[Shot]) -> bytes:
    """Return the session's file.

    Parameters
    ----------
    session
        Its name.
    shots
        Its exposures; the first says when it began and what kind the movies are.
    """
    first, name = shots[0], escape(session)
    begin = _utc(first.time_utc)
    lines = [
        '<?xml version="1.0"?>',
        '<EpuSessionXml xmlns="http://schemas.datacontract.org/2004/07/Applications.Epu.Persistence"'
        ' xmlns:i="http://www.w3.org/2001/XMLSchema-instance"'
        ' xmlns:z="http://schemas.microsoft.com/2003/10/Serialization/" z:Id="1"'
        ' z:Type="Applications.Epu.Persistence.EpuSessionXml"'
        f' z:Assembly="Applications.Epu.Persistence, Version={SOFTWARE}, Culture=neutral, PublicKeyToken=null">',
        f"  <Id{_TYPES}>{min(shot.grid_square for shot in shots)}</Id>",
        "  <ClusteringMode>ClusteringWithImageBeamShift</ClusteringMode>",
        f'  <DoseFractionsOutputFormat z:Id="2">{FORMATS[first.kind]}</DoseFractionsOutputFormat>',
        "  <ImageFileFormat>Mrc</ImageFileFormat>",
        '  <MicroscopeName i:nil="true"/>',
        f'  <Name z:Id="3">{name}</Name>',
        '  <Samples z:Id="4">',
        '    <_items z:Id="5" z:Size="1">',
        '      <SampleXml z:Id="6">',
        "        <GridGeometry>Square</GridGeometry>",
        f"        <StartDateTime>{begin}</StartDateTime>",
        "      </SampleXml>",
        "    </_items>",
        "    <_size>1</_size>",
        "  </Samples>",
        f"  <StartDateTime>{begin}</StartDateTime>",
        f"  <TiltAngle>{first.stage_tilt_deg:g}</TiltAngle>",
        "</EpuSessionXml>",
    ]
    return "\n".join(lines).encode()


def _utc(time: datetime) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%S}.{time.microsecond:06d}0Z"
