"""The XML that Thermo Fisher's EPU writes beside each image: microscope, camera, stage and dose, typed.

Session files (``EpuSession.dm``) are of another root element and not read here.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import Final

from cryoframe.errors import Corrupt, Refused, Unsupported
from cryoframe.formats.paths import open_regular
from cryoframe_formats.xml_items import MAX_BYTES, walk

ROOT: Final = "MicroscopeImage"
_OPTICS: Final = ("microscopeData", "optics")
_POSITION: Final = ("microscopeData", "stage", "Position")


@dataclass(frozen=True)
class EpuImage:
    """What EPU says of one image; None where it says nothing.

    Defocus has the project's sign: positive is underfocus. Shifts and tilts of the beam are in the instrument's own
    arbitrary units.
    """

    pixel_size_A: float | None
    voltage_kV: float | None
    dose_e_A2: float | None
    applied_defocus_A: float | None
    instrument_defocus_A: float | None
    n_fractions: int | None
    exposure_s: float | None
    magnification: float | None
    stage_x_um: float | None
    stage_y_um: float | None
    stage_z_um: float | None
    alpha_tilt_deg: float | None
    beta_tilt_deg: float | None
    beam_shift: tuple[float, float] | None
    beam_tilt: tuple[float, float] | None
    image_shift: tuple[float, float] | None
    slit_inserted: bool | None
    slit_width_eV: float | None
    phase_plate: bool | None
    counting: bool | None
    super_resolution_factor: int | None
    detector: str
    camera_shape_px: tuple[int, int] | None
    time: str
    software: str
    unique_id: str


def read_epu(path: str | os.PathLike[str]) -> EpuImage:
    """Read the XML file of one image.

    Raises
    ------
    Incomplete
        The text ends early.
    Corrupt
        Not well-formed, or a number that is none.
    Refused
        Too large, too deep, with a document type or entities, or a pixel size or voltage that cannot be.
    Unsupported
        Well-formed, but no ``MicroscopeImage``.
    """
    name = os.fspath(path)
    with open_regular(path) as stream:
        raw = stream.read(MAX_BYTES + 1)
    return parse_epu(raw, path=name)


def parse_epu(raw: bytes, *, path: str = "") -> EpuImage:
    """Parse the bytes of an image's XML; see :func:`read_epu`."""
    collected = _Collector()
    walk(raw, path, collected.closed)
    if collected.root != ROOT:
        raise Unsupported(f"root element {collected.root!r}", path=path, expected=ROOT)
    return _Facts(collected, path).image()


class _Collector:
    """Text of each element by its path below the root, and the key-value lists."""

    def __init__(self) -> None:
        self.root = ""
        self.texts: dict[tuple[str, ...], str] = {}
        self.pairs: dict[str, str] = {}
        self.n_fraction_definitions = 0
        self._key = ""

    def closed(self, names: tuple[str, ...], text: str, attributes: dict[str, str]) -> None:
        self.root = names[0]
        if names[-1] == "Key":
            self._key = text
        elif names[-1] == "Value" and "KeyValue" in names[-2]:
            self.pairs[self._key] = text
        elif attributes.get("type", "").endswith("DoseFractionDefinition"):
            self.n_fraction_definitions += 1
        elif names[-1].lower() == "numberoffractions":
            self.pairs["NumberOfFractions"] = text
        else:
            self.texts.setdefault(names[1:], text)


class _Facts:
    """Typed look-ups in what was collected."""

    def __init__(self, collected: _Collector, path: str) -> None:
        self.texts, self.pairs, self.path = collected.texts, collected.pairs, path
        self.n_fraction_definitions = collected.n_fraction_definitions

    def image(self) -> EpuImage:
        acquisition, energy = ("microscopeData", "acquisition"), (*_OPTICS, "EnergyFilter")
        camera = (*acquisition, "camera")
        core = ("microscopeData", "core")
        return EpuImage(
            pixel_size_A=self._pixel_size(),
            voltage_kV=self._positive(("microscopeData", "gun", "AccelerationVoltage"), 1e-3),
            dose_e_A2=self._scaled(self.pairs.get("Dose"), 1e-20),
            applied_defocus_A=self._scaled(self.pairs.get("AppliedDefocus"), -1e10),
            instrument_defocus_A=self._at((*_OPTICS, "Defocus"), -1e10),
            n_fractions=self._n_fractions(),
            exposure_s=self._at((*camera, "ExposureTime")),
            magnification=self._at((*_OPTICS, "TemMagnification", "NominalMagnification")),
            stage_x_um=self._at((*_POSITION, "X"), 1e6),
            stage_y_um=self._at((*_POSITION, "Y"), 1e6),
            stage_z_um=self._at((*_POSITION, "Z"), 1e6),
            alpha_tilt_deg=self._at((*_POSITION, "A"), 180 / math.pi),
            beta_tilt_deg=self._at((*_POSITION, "B"), 180 / math.pi),
            beam_shift=self._pair("BeamShift"),
            beam_tilt=self._pair("BeamTilt"),
            image_shift=self._pair("ImageShift"),
            slit_inserted=_truth(self.texts.get((*energy, "EnergySelectionSlitInserted"))),
            slit_width_eV=self._at((*energy, "EnergySelectionSlitWidth")),
            phase_plate=_truth(self.pairs.get("PhasePlateUsed")),
            counting=_truth(self.pairs.get("ElectronCountingEnabled")),
            super_resolution_factor=self._whole(self.pairs.get("SuperResolutionFactor")),
            detector=self.pairs.get("DetectorCommercialName") or self.texts.get((*camera, "Name"), ""),
            camera_shape_px=self._readout((*camera, "ReadoutArea")),
            time=self.texts.get((*acquisition, "acquisitionDateTime"), ""),
            software=" ".join(self.texts.get((*core, f"ApplicationSoftware{x}"), "") for x in ("", "Version")).strip(),
            unique_id=self.texts.get(("uniqueID",), ""),
        )

    def _scaled(self, text: str | None, factor: float = 1.0) -> float | None:
        if not text:
            return None
        try:
            value = float(f"{float(text) * factor:.12g}")  # take off the noise of the change of unit
        except ValueError:
            raise Corrupt(f"{text[:40]!r} is no number", path=self.path, expected="a decimal number") from None
        return value if math.isfinite(value) else None

    def _at(self, names: tuple[str, ...], factor: float = 1.0) -> float | None:
        return self._scaled(self.texts.get(names), factor)

    def _positive(self, names: tuple[str, ...], factor: float) -> float | None:
        value = self._at(names, factor)
        if value is not None and not value > 0:
            raise Refused(f"{names[-1]} is {self.texts[names]}", path=self.path, expected="above 0")
        return value

    def _pixel_size(self) -> float | None:
        x, y = (self._positive(("SpatialScale", "pixelSize", axis, "numericValue"), 1e10) for axis in "xy")
        if x is not None and y is not None and abs(x - y) > 1e-3 * x:
            raise Refused(f"pixel sizes {x} and {y} Å along x and y", path=self.path, expected="square pixels")
        return x

    def _whole(self, text: str | None) -> int | None:
        value = self._scaled(text)
        return int(value) if value is not None and value.is_integer() else None

    def _n_fractions(self) -> int | None:
        if self.n_fraction_definitions:
            return self.n_fraction_definitions
        return self._whole(self.pairs.get("NumberOfFractions"))

    def _pair(self, name: str) -> tuple[float, float] | None:
        x, y = (self._at((*_OPTICS, name, axis)) for axis in ("_x", "_y"))
        return (x, y) if x is not None and y is not None else None

    def _readout(self, names: tuple[str, ...]) -> tuple[int, int] | None:
        rows, columns = (self._whole(self.texts.get((*names, side))) for side in ("height", "width"))
        return (rows, columns) if rows and columns else None


def _truth(text: str | None) -> bool | None:
    return {"true": True, "false": False}.get((text or "").lower())
