"""The XML that EPU writes for each image and for the session, element by element as in real sessions; no file names.

Instrument and computer carry the simulator's name, so that nobody takes such a file for a real one.
"""

from __future__ import annotations

import math
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from xml.sax.saxutils import escape

from cryoframe.errors import InvalidInput
from cryoframe.twin.shot import Shot

SOFTWARE: Final = "3.9.1.8206"
INSTRUMENT: Final = "CRYOFRAME-TWIN"
#: EPU's beam shift is in units of the instrument; two exposures of a hole in real sessions are 0.02 to 0.03 apart.
BEAM_SHIFT_1_um: Final = 0.04
_FEI: Final = "http://schemas.datacontract.org/2004/07/"
_SCHEMA: Final = "http://www.w3.org/2001/XMLSchema"
_ARRAYS: Final = ' xmlns:a="http://schemas.microsoft.com/2003/10/Serialization/Arrays"'
_TYPES: Final = f' xmlns:a="{_FEI}Fei.Types"'
_DRAWING: Final = f' xmlns:a="{_FEI}System.Drawing"'
_UNIT: Final = (
    f'<unit xmlns:a="{_FEI}Fei.Common.Types">'
    "<a:_x003C_PrefixExponent_x003E_k__BackingField>1</a:_x003C_PrefixExponent_x003E_k__BackingField>"
    "<a:_x003C_Symbol_x003E_k__BackingField>m</a:_x003C_Symbol_x003E_k__BackingField></unit>"
)
_CAMERAS: Final = {"k2": "GIF Quantum K2", "k3": "BioQuantum K3", "falcon_3": "Falcon 3EC", "falcon_4i": "Falcon 4i"}


@dataclass(frozen=True)
class Sight:
    """What differs between an image of a grid square, of a hole, and the exposure itself."""

    magnification: int
    pixel_size_A: float
    defocus_A: float
    dose_e_A2: float
    exposure_s: float
    beam_diameter_um: float
    #: 0 = one image, no fractions.
    n_fractions: int = 0
    super_resolution: int = 1
    probe: str = "NanoProbe"
    aperture: str = "100"

    @classmethod
    def exposure(cls, shot: Shot) -> Sight:
        """Return the exposure's own; events of an EER file have no fractions yet, and none are stated."""
        return cls(
            shot.magnification, shot.pixel_size_A, shot.nominal_defocus_A, shot.dose_e_A2, shot.exposure_s, 0.83,
            n_fractions=0 if shot.kind == "eer" else shot.n_frames, super_resolution=shot.super_resolution,
        )  # fmt: skip


#: Overviews, in numbers of the real session of EPU 3.9.1.
SQUARE: Final = Sight(470, 415.62760344504568, 5e5, 3.5402300444806504e-4, 1.0, 287.14, probe="MicroProbe")
HOLE: Final = Sight(11500, 16.359115173614214, 2e5, 0.85773080327385352, 1.0, 9.0)


def image_xml(shot: Shot, sight: Sight, *, name: str, session: str) -> bytes:
    """Return the XML beside one image.

    Parameters
    ----------
    shot
        Time, place and camera.
    sight
        Magnification and dose.
    name
        Name of the image, of which its unique number is made.
    session
        Name of the session.
    """
    identity = uuid.uuid5(uuid.NAMESPACE_URL, f"cryoframe-twin:{session}/{name}")
    content = "".join(
        (
            _e("name", "Empty"),
            _e("uniqueID", str(identity)),
            _custom(shot, sight),
            _nil("IntensityScale"),
            _reference(sight),
            _scale(sight),
            _e("microscopeData", _microscope(shot, sight, session)),
        )
    )
    spaces = f' xmlns="{_FEI}Fei.SharedObjects" xmlns:i="{_SCHEMA}-instance"'
    return f"<MicroscopeImage{spaces}>{content}</MicroscopeImage>".encode()


def _microscope(shot: Shot, sight: Sight, session: str) -> str:
    return _acquisition(shot, sight) + _core(session) + _gun(shot) + _optics(shot, sight) + _surroundings(shot)


# -- pieces ------------------------------------------------------------------------------------------------------
def _e(name: str, content: str = "", attributes: str = "") -> str:
    """Return an element; `content` is markup, or text that needs no escaping."""
    return f"<{name}{attributes}>{content}</{name}>" if content else f"<{name}{attributes}/>"


def _nil(name: str, attributes: str = "") -> str:
    return f'<{name} i:nil="true"{attributes}/>'


def _each(**texts: object) -> str:
    return "".join(_e(name, escape(str(text))) for name, text in texts.items())


def number(value: float) -> str:
    """Return a number as .NET writes it: shortest text that reads back the same, exponents as ``E-06``.

    Raises
    ------
    InvalidInput
        If it is not finite.
    """
    if not math.isfinite(value):
        raise InvalidInput(f"{value} is to be written into a side-car", expected="a finite number")
    text = repr(float(value))
    return (text[:-2] if text.endswith(".0") else text).upper()


def _si(value: float, factor: float) -> str:
    """Return `value` · `factor` without the noise of the change of unit."""
    return number(float(f"{value * factor:.15g}"))


def _pair(key: str, kind: str, value: object) -> str:
    text = escape(str(value).lower() if isinstance(value, bool) else str(value))
    typed = f' i:type="b:{kind}" xmlns:b="{_SCHEMA}"'
    return _e("a:KeyValueOfstringanyType", _e("a:Key", key) + _e("a:Value", text, typed))


def _custom(shot: Shot, sight: Sight) -> str:
    detector, camera = _detector(shot), commercial_name(shot.camera)
    on_camera = sight.dose_e_A2 * sight.pixel_size_A**2
    rate = on_camera / sight.exposure_s / sight.super_resolution**2
    pairs = (
        ("DoseOnCamera", "double", number(on_camera)),
        ("Aperture[C1].Name", "string", "2000"),
        ("Aperture[C2].Name", "string", "50"),
        ("Aperture[C3].Name", "string", "None"),
        ("Aperture[OBJ].Name", "string", sight.aperture),
        ("Aperture[SA].Name", "string", "None"),
        ("StemMagnification", "boolean", False),
        (f"Detectors[{detector}].CommercialName", "string", camera),
        (f"Detectors[{detector}].ElectronCounted", "boolean", _counts(shot)),
        ("DoseRate", "double", number(rate)),
        ("IlluminationIntensity", "double", "0"),
        ("Dose", "double", _si(sight.dose_e_A2, 1e20)),
        ("PhasePlateUsed", "boolean", shot.phase_plate),
        ("BinaryResult.Detector", "string", detector),
        ("DetectorCommercialName", "string", camera),
        ("AppliedDefocus", "double", _si(sight.defocus_A, -1e-10)),
    )
    return _e("CustomData", "".join(_pair(*pair) for pair in pairs), _ARRAYS)


def commercial_name(camera: str) -> str:
    """Return the camera's name as EPU writes it; a name it does not know is written as it is."""
    return _CAMERAS.get(camera.removesuffix("_super"), camera)


def _detector(shot: Shot) -> str:
    if "falcon" not in shot.camera.lower():
        return "EF-CCD" if shot.slit_eV else "BM-Camera"
    return "EF-Falcon" if shot.slit_eV else "BM-Falcon"


def _counts(shot: Shot) -> bool:
    return "ccd" not in shot.camera.lower()


def _reference(sight: Sight) -> str:
    half = _si(sight.pixel_size_A, 0.5e-10)
    cells = (("_m11", f"-{half}"), ("_m12", "0"), ("_m21", "0"), ("_m22", half), ("_offsetX", "0"), ("_offsetY", "0"),
             ("_padding", "0"), ("_type", "TRANSFORM_IS_UNKNOWN"))  # fmt: skip
    matrix = "".join(_e(f"a:{name}", text) for name, text in cells)
    return _e("ReferenceTransformation", _e("matrix", matrix, f' xmlns:a="{_FEI}System.Windows.Media"') + _UNIT)


def _scale(sight: Sight) -> str:
    def both(name: str, value: str) -> str:
        return _e(name, "".join(_e(axis, _e("numericValue", value) + _UNIT) for axis in "xy"))

    return _e("SpatialScale", both("offset", "0") + both("pixelSize", _si(sight.pixel_size_A, 1e-10)))


def iso_time(time: datetime) -> str:
    """Return a time with seven decimals of the second and its zone, as .NET does."""
    zone = time.strftime("%z") or "+0000"
    return f"{time:%Y-%m-%dT%H:%M:%S}.{time.microsecond:06d}0{zone[:3]}:{zone[3:]}"


def _acquisition(shot: Shot, sight: Sight) -> str:
    none = _each(height=0, width=0).replace("<", "<a:").replace("<a:/", "</a:")
    scan = (
        _each(DwellTime=0)
        + f'<ReducedArea{_DRAWING} i:nil="true"/>'
        + _e("Resolution", none, _DRAWING)
        + _e("ScanArea", none + "<a:x>0</a:x><a:y>0</a:y>", _DRAWING)
        + _each(ScanRotation=0)
    )
    scanning = (
        _each(DetectorType="SecondaryElectrons") + _nil("Gain") + _each(Inserted="false") + _nil("Name")
        + _nil("Offset")
    )  # fmt: skip
    return _e(
        "acquisition",
        _each(acquisitionDateTime=iso_time(shot.time_utc)) + _e("analyticalDetectors") + _camera(shot, sight)
        + _e("plateCamera", _each(ExposureTime=0, Use="false")) + _e("scanSettings", scan)
        + _e("scanningDetector", scanning),
    )  # fmt: skip


def _camera(shot: Shot, sight: Sight) -> str:
    rows, columns = shot.shape_px
    area = "".join(_e(f"a:{key}", str(size)) for key, size in zip(("height", "width", "x", "y"), (rows, columns, 0, 0),
                                                                  strict=True))  # fmt: skip
    if sight.n_fractions:
        fractions = _e("b:NumberOffractions", str(sight.n_fractions))
        typed = f' i:type="b:EquidistantFractionation" xmlns:b="{_FEI}Fei.Applications.Common.Omp.Interface"'
        value = _e("a:Value", fractions, typed)
    else:
        value = _nil("a:Value")
    specific = (
        _pair("AlignIntegratedImageEnabled", "boolean", False)
        + _pair("SuperResolutionFactor", "long", sight.super_resolution)
        + _e("a:KeyValueOfstringanyType", _e("a:Key", "FractionationSettings") + value)
        + _pair("ElectronCountingEnabled", "boolean", _counts(shot))
        + _pair("ApplyDefinedShutter", "boolean", True)
        + _pair("CetaFramesSummed", "long", 1)
        + _pair("CetaNoiseReductionEnabled", "boolean", False)
        + _pair("FixedReadoutArea", "string", "Full")
    )
    return _e(
        "camera",
        _e("Binning", "<a:x>1</a:x><a:y>1</a:y>", _DRAWING)
        + _each(CameraLocation="EnergyFilter" if shot.slit_eV else "BottomMounted")
        + _e("CameraSpecificInput", specific, _ARRAYS)
        + _each(DarkGainCorrection="None", ExposureTime=number(sight.exposure_s), FixedReadoutArea="Full",
                Inserted="true", Name=_detector(shot), PreExposurePauseTime=0, PreExposureSupported="false",
                PreExposureTime=0)
        + _e("ReadoutArea", area, _DRAWING)
        + _each(Shutter="PreSpecimen"),
    )  # fmt: skip


def _core(session: str) -> str:
    guid = uuid.uuid5(uuid.NAMESPACE_URL, f"cryoframe-twin:{session}")
    return _e("core", _each(ApplicationSoftware="EPU", ApplicationSoftwareVersion=SOFTWARE, Guid=guid))


def _gun(shot: Shot) -> str:
    gun = (
        _each(AccelerationVoltage=number(shot.voltage_kV * 1e3), ExtractorVoltage=4250) + _nil("Filament")
        + _each(GunLens=4, Sourcetype="FieldEmission") + _nil("WehneltBias")
    )  # fmt: skip
    instrument = _nil("AcquisitionSoftware") + _nil("AcquisitionSoftwareVersion") + _each(
        ComputerName=INSTRUMENT, InstrumentID=0, InstrumentModel=INSTRUMENT
    )  # fmt: skip
    return _e("gun", gun) + _e("instrument", instrument)


def _vector(name: str, x: float = 0.0, y: float = 0.0) -> str:
    return _e(name, _e("a:_x", number(x)) + _e("a:_y", number(y)), _TYPES)


def _optics(shot: Shot, sight: Sight) -> str:
    shift, tilt = shot.image_shift_um, shot.beam_tilt_mrad
    filtered = (
        _each(AccelerationVoltageOffset=0, DriftTubeVoltage=0, EnergySelectionSlitInserted="true",
              EnergySelectionSlitWidth=number(shot.slit_eV), EnergyShift=0)
        + _nil("EntranceApertureDiameter") + _nil("EntranceApertureType")
    )  # fmt: skip
    parts = (
        _nil("Apertures"), _nil("BeamConvergence"), _each(BeamDiameter=_si(sight.beam_diameter_um, 1e-6)),
        _vector("BeamShift", shift[0] * BEAM_SHIFT_1_um, shift[1] * BEAM_SHIFT_1_um),
        _vector("BeamTilt", tilt[0] * 1e-3, tilt[1] * 1e-3),
        _each(Cameralength=0, ColumnOperatingMode="TEM", ColumnOperatingTemSubMode="BrightField"),
        _vector("CondenserStigmator"), _each(Defocus=_si(sight.defocus_A, -1e-10), DiffractionFocus=0),
        _vector("DiffractionShift"), _vector("DiffractionStigmator"),
        _each(EFTEMOn="true" if shot.slit_eV else "false"),
        _e("EnergyFilter", filtered) if shot.slit_eV else _nil("EnergyFilter"),
        _each(Focus=0), f"<GunStigmator{_TYPES} i:nil=\"true\"/>", _each(IlluminationMode="Parallel"),
        _nil("IlluminationProbeSubMode"), _vector("ImageShift"), _each(Intensity=0, ObjectiveLensMode="HM"),
        _vector("ObjectiveStigmator"),
        _each(ProbeMode=sight.probe, ProjectorMode="Imaging", SpotIndex=5, StemDefocus=0),
        _nil("StemFieldOfView"), _nil("StemMagnification"),
        _e("TemMagnification", _each(NominalMagnification=sight.magnification)), _each(XLModeOn="false"),
    )  # fmt: skip
    return _e("optics", "".join(parts))


def _surroundings(shot: Shot) -> str:
    x_um, y_um, z_um = shot.stage_um
    position = _each(
        A=number(math.radians(shot.stage_tilt_deg)), B=0, X=_si(x_um, 1e-6), Y=_si(y_um, 1e-6), Z=_si(z_um, 1e-6)
    )
    return (
        _e("sample", _nil("Description") + _nil("ID"))
        + _e("stage", _each(Holder="Unspecified") + _e("Position", position) + _each(SampleLoader="None"))
        + _e("vacuum", _each(ProjectionChamberPressure=0, SamplePressure=0, VacuumMode="Ready"))
    )
