"""An EPU session's names and XML are as real EPU makes them, and two parsers read the same facts from them."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import pytest
from shots import FIRST, shots

from cryoframe.errors import InvalidInput
from cryoframe.twin.epu_tree import EpuLayout
from cryoframe.twin.epu_xml import SQUARE, image_xml, number
from cryoframe.twin.shot import Shot
from cryoframe_formats import epu
from cryoframe_formats.epu_xml import parse_epu

SPACES = {
    "f": "http://schemas.datacontract.org/2004/07/Fei.SharedObjects",
    "a": "http://schemas.microsoft.com/2003/10/Serialization/Arrays",
    "t": "http://schemas.datacontract.org/2004/07/Fei.Types",
    "d": "http://schemas.datacontract.org/2004/07/System.Drawing",
    "o": "http://schemas.datacontract.org/2004/07/Fei.Applications.Common.Omp.Interface",
}
REAL = "epu/smartem-decisions/tests/testdata/epu-dir-example"


@pytest.fixture
def layout() -> EpuLayout:
    return EpuLayout("twin", FIRST)


def real_names(shared_data: Path) -> list[str]:
    """Every name of an exposure in the listings and trees of real sessions."""
    listing = (shared_data / "epu/smartem-decisions/tests/testdata/bi37708-28_tree.txt").read_text()
    names = re.findall(r"(FoilHole_\S+_Data_\S+)\.xml", listing)
    return names + [path.stem for path in (shared_data / "epu").rglob("FoilHole_*_Data_*.xml")]


def generalised(names: list[str]) -> re.Pattern[str]:
    """Return the pattern all the names have in common: a run of digits may be as long as it ever was."""
    parts = [re.split(r"(\d+)", name) for name in names]
    words = {tuple(part[0::2]) for part in parts}
    assert len(words) == 1, "real names are all of one shape"
    (shape,) = words
    pattern = re.escape(shape[0])
    for index, word in enumerate(shape[1:]):
        lengths = [len(part[2 * index + 1]) for part in parts]
        pattern += rf"(\d{{{min(lengths)},{max(lengths)}}})" + re.escape(word)
    return re.compile(pattern)


def test_exposures__are_named_as_in_every_real_session(layout: EpuLayout, shared_data: Path) -> None:
    names = real_names(shared_data)
    assert len(names) > 4000
    pattern = generalised(names)
    for shot in [*shots(30), replace(FIRST, foil_hole=7, grid_square=2)]:
        movie = layout.movie_path(shot)
        base = movie.name.removesuffix("_fractions.tiff")
        found = pattern.fullmatch(base)
        assert found, base
        assert f"{found[4]}_{found[5]}" == f"{shot.time_utc:%Y%m%d_%H%M%S}"
        assert movie.with_name(f"{base}.xml") in layout.side_cars(shot)
    many = {layout.movie_path(shot) for shot in shots(30)}
    assert len(many) == 30


def test_folders__are_those_of_real_trees(layout: EpuLayout, shared_data: Path) -> None:
    real = [path.relative_to(shared_data / REAL) for path in (shared_data / REAL).rglob("*.xml")]
    shapes = {re.sub(r"\d+", "#", str(path.with_suffix(""))) for path in real}
    planned = shots(12)
    paths = [*layout.session_files(planned), *(path for shot in planned for path in layout.side_cars(shot))]
    ours = {re.sub(r"\d+", "#", str(path.with_suffix(""))) for path in paths if path.suffix == ".xml"}
    assert ours == shapes
    assert PurePosixPath("EpuSession.dm") in paths


def outline(raw: bytes) -> list[tuple[str, tuple[str, ...], str]]:
    """Return each element with its namespace, attribute names and, for a key of a list, its text."""
    found: list[tuple[str, tuple[str, ...], str]] = []

    def walk(element: ET.Element, above: str) -> None:
        path = f"{above}/{element.tag}"
        text = (element.text or "").strip() if element.tag.endswith("}Key") else ""
        found.append((path, tuple(sorted(element.attrib)), text))
        for child in element:
            walk(child, path)

    walk(ET.fromstring(raw), "")
    return found


def test_the_xml_of_an_exposure__has_the_elements_of_a_real_one_in_their_order(
    layout: EpuLayout, shared_data: Path
) -> None:
    real = (
        shared_data / REAL / "Images-Disc1/GridSquare_8999138/Data/FoilHole_9015883_Data_9017354_6_20250108_154918.xml"
    )
    (ours,) = (content for path, content in layout.side_cars(shots(2)[1]).items() if "_Data_" in path.name)
    assert outline(ours) == outline(real.read_bytes())


def test_the_xml_of_a_grid_square__has_the_elements_and_figures_of_a_real_one(shared_data: Path) -> None:
    real = shared_data / REAL / "Images-Disc1/GridSquare_8999138/GridSquare_20250108_151151.xml"
    ours = image_xml(replace(FIRST, super_resolution=1), SQUARE, name="x", session="twin")
    assert outline(ours) == outline(real.read_bytes())
    theirs, mine = parse_epu(real.read_bytes()), parse_epu(ours)
    for fact in ("magnification", "applied_defocus_A", "dose_e_A2", "n_fractions", "detector", "camera_shape_px"):
        assert getattr(mine, fact) == pytest.approx(getattr(theirs, fact)), fact
    assert mine.pixel_size_A == pytest.approx(theirs.pixel_size_A)


def test_the_strict_reader__gets_every_fact_back(layout: EpuLayout, tmp_path: Path) -> None:
    shot = shots(2, phase_plate=True)[1]
    ((path, raw),) = layout.side_cars(shot).items()
    image = parse_epu(raw)
    assert image.pixel_size_A == shot.pixel_size_A
    assert (image.voltage_kV, image.dose_e_A2, image.applied_defocus_A) == (300.0, 40.5, 27000.0)
    assert (image.n_fractions, image.exposure_s, image.magnification) == (50, 0.89, 165000)
    assert (image.stage_x_um, image.stage_y_um, image.stage_z_um) == shot.stage_um
    assert image.alpha_tilt_deg == pytest.approx(12.5)
    assert (image.slit_inserted, image.slit_width_eV, image.phase_plate) == (True, 20.0, True)
    assert (image.counting, image.super_resolution_factor) == (True, 2)
    assert (image.detector, image.camera_shape_px) == ("BioQuantum K3", (2046, 2880))
    assert image.beam_tilt == pytest.approx((0.2e-3, -0.1e-3))
    assert image.beam_shift is not None
    assert image.beam_shift[0] / image.beam_shift[1] == pytest.approx(-2.0)
    assert image.software == "EPU 3.9.1.8206"
    file = tmp_path / path.name
    file.write_bytes(raw)
    known = epu.read_metadata(file)
    assert known is not None
    assert datetime.fromisoformat(known.time_utc or "") == shot.time_utc
    assert (known.n_frames, known.tilt_deg) == (50, pytest.approx(12.5))


KEY = "f:{}/a:KeyValueOfstringanyType[a:Key='{}']/a:Value"
CUSTOM, CAMERA = "CustomData", "microscopeData/f:acquisition/f:camera/f:CameraSpecificInput"
XPATHS = {
    "f:microscopeData/f:acquisition/f:acquisitionDateTime": "2025-01-08T15:49:25.1049700+00:00",
    "f:microscopeData/f:gun/f:AccelerationVoltage": "300000",
    "f:SpatialScale/f:pixelSize/f:x/f:numericValue": "1.0559E-10",
    "f:SpatialScale/f:pixelSize/f:y/f:numericValue": "1.0559E-10",
    KEY.format(CUSTOM, "Dose"): "4.05E+21",
    KEY.format(CUSTOM, "AppliedDefocus"): "-2.7E-06",
    KEY.format(CUSTOM, "PhasePlateUsed"): "false",
    KEY.format(CUSTOM, "DetectorCommercialName"): "BioQuantum K3",
    KEY.format(CAMERA, "FractionationSettings") + "/o:NumberOffractions": "50",
    KEY.format(CAMERA, "SuperResolutionFactor"): "2",
    "f:microscopeData/f:acquisition/f:camera/f:ExposureTime": "0.89",
    "f:microscopeData/f:acquisition/f:camera/f:Binning/d:x": "1",
    "f:microscopeData/f:acquisition/f:camera/f:ReadoutArea/d:width": "2880",
    "f:microscopeData/f:optics/f:BeamShift/t:_x": "0.02",
    "f:microscopeData/f:optics/f:ImageShift/t:_x": "0",
    "f:microscopeData/f:optics/f:BeamTilt/t:_y": "-0.0001",
    "f:microscopeData/f:optics/f:EnergyFilter/f:EnergySelectionSlitWidth": "20",
    "f:microscopeData/f:optics/f:TemMagnification/f:NominalMagnification": "165000",
    "f:microscopeData/f:stage/f:Position/f:X": "-9.7153E-05",
    "f:microscopeData/f:stage/f:Position/f:Z": "8.5711E-05",
    "f:microscopeData/f:instrument/f:InstrumentModel": "CRYOFRAME-TWIN",
}


def test_a_second_parser__reads_the_same_by_paths_that_hold_in_real_files(layout: EpuLayout, shared_data: Path) -> None:
    ((_, raw),) = layout.side_cars(shots(2)[1]).items()
    ours = ET.fromstring(raw)
    folder = shared_data / REAL / "Images-Disc1/GridSquare_8999138/Data"
    real = ET.parse(next(folder.glob("FoilHole_*_Data_*.xml"))).getroot()
    for path, text in XPATHS.items():
        assert real.find(path, SPACES) is not None, path
        assert ours.findtext(path, namespaces=SPACES) == text, path
    rate = ours.findtext(KEY.format(CUSTOM, "DoseRate"), namespaces=SPACES)
    assert float(rate or 0) == pytest.approx(40.5 * 1.0559**2 / 0.89 / 4)


def test_dose_on_the_camera__is_related_to_dose_as_in_a_real_file(shared_data: Path) -> None:
    real = ET.parse(next((shared_data / "epu/EMharvest").rglob("FoilHole_*_Data_*.xml"))).getroot()
    dose, camera = (float(real.findtext(KEY.format(CUSTOM, key), "", SPACES)) for key in ("Dose", "DoseOnCamera"))
    pixel_m = float(real.findtext("f:SpatialScale/f:pixelSize/f:x/f:numericValue", "", SPACES))
    assert camera == pytest.approx(dose * pixel_m**2, rel=1e-3)
    ours = ET.fromstring(next(iter(EpuLayout("twin", FIRST).side_cars(shots(2)[1]).values())))
    assert float(ours.findtext(KEY.format(CUSTOM, "DoseOnCamera"), "", SPACES)) == pytest.approx(40.5 * 1.0559**2)


@pytest.mark.parametrize(
    ("kind", "camera", "movie", "gain", "n_xml"),
    [
        ("tiff", "k3", r"\w+_fractions\.tiff", r"FoilHole_\w+_gain\.tiff", 2),
        ("mrc", "falcon_3", r"\w+_Fractions\.mrc", r"FoilHole_\w+-gain-ref\.MRC", 3),
        ("eer", "falcon_4i", r"\w+_EER\.eer", r"\d{8}_\d{6}_EER_GainReference\.gain", 2),
    ],
)
def test_each_kind_of_movie__has_the_names_its_camera_gives(
    kind: str, camera: str, movie: str, gain: str, n_xml: int
) -> None:
    shot = replace(FIRST, kind=kind, camera=camera)
    layout = EpuLayout("twin", shot)
    assert re.fullmatch(movie, layout.movie_path(shot).name)
    assert re.fullmatch(gain, str(layout.gain_path()))
    assert not layout.gain_path().match(layout.movie_pattern)
    assert layout.movie_path(shot).match(layout.movie_pattern)
    files = layout.side_cars(shot)
    assert len(files) == n_xml
    images = [parse_epu(raw) for path, raw in files.items() if "_Data_" in path.name]
    assert {image.n_fractions for image in images} == ({None} if kind == "eer" else {50})


def test_without_a_filter__none_is_described() -> None:
    shot = replace(FIRST, slit_eV=0.0, camera="falcon_3", kind="mrc")
    image = parse_epu(next(iter(EpuLayout("twin", shot).side_cars(shot).values())))
    assert (image.slit_inserted, image.slit_width_eV, image.detector) == (None, None, "Falcon 3EC")


def test_the_sessions_own_file__is_well_formed_and_part_of_a_real_one(layout: EpuLayout, shared_data: Path) -> None:
    files = EpuLayout("grid <1> & more", FIRST).session_files(shots(12))
    ours = ET.fromstring(files[PurePosixPath("EpuSession.dm")])
    real = ET.parse(shared_data / REAL / "EpuSession.dm").getroot()

    def paths(element: ET.Element, above: str = "") -> set[str]:
        path = f"{above}/{element.tag}"
        return {path}.union(*(paths(child, path) for child in element))

    assert paths(ours) <= paths(real) | {path for path in paths(ours) if path.endswith("}StartDateTime")}
    space = "{http://schemas.datacontract.org/2004/07/Applications.Epu.Persistence}"
    assert ours.findtext(f"{space}Name") == "grid <1> & more"
    assert ours.findtext(f"{space}DoseFractionsOutputFormat") == real.findtext(f"{space}DoseFractionsOutputFormat")
    assert sum("GridSquare_" in path.name for path in files) == 2


def test_the_same_shot__gives_the_same_bytes(layout: EpuLayout) -> None:
    assert layout.side_cars(FIRST) == EpuLayout("twin", FIRST).side_cars(FIRST)
    assert layout.side_cars(FIRST) != EpuLayout("other", FIRST).side_cars(FIRST)


def test_numbers__are_written_as_dot_net_does() -> None:
    assert [number(value) for value in (3e5, -2.7e-6, 4.05e21, 0.1, 1e-10)] == ["300000", "-2.7E-06", "4.05E+21", "0.1",
                                                                             "1E-10"]  # fmt: skip
    with pytest.raises(InvalidInput, match="nan is to be written"):
        number(float("nan"))


def test_what_no_session_can_be__is_refused(layout: EpuLayout) -> None:
    with pytest.raises(InvalidInput, match="movies of kind 'dm4'"):
        EpuLayout("twin", replace(FIRST, kind="dm4"))
    with pytest.raises(InvalidInput, match="without exposures"):
        layout.session_files([])


def test_a_time_in_another_zone__is_stated_with_it() -> None:
    from datetime import timedelta, timezone

    shot: Shot = replace(FIRST, time_utc=FIRST.time_utc.astimezone(timezone(timedelta(hours=1))))
    raw = next(raw for path, raw in EpuLayout("twin", shot).side_cars(shot).items() if "_Data_" in path.name)
    assert parse_epu(raw).time == "2025-01-08T16:49:21.1049700+01:00"
    assert datetime.fromisoformat(parse_epu(raw).time).astimezone(UTC) == FIRST.time_utc
