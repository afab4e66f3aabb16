"""Side-car files: every real mdoc and EPU XML with its facts, and hostile ones refused."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryoframe.errors import Corrupt, FileError, Incomplete, Refused, Unsupported
from cryoframe_formats import epu, mdoc
from cryoframe_formats.epu_xml import parse_epu, read_epu
from cryoframe_formats.mdoc_text import parse_mdoc, read_mdoc
from cryoframe_formats.xml_items import walk

MDOCS = {
    "frame_set_single.mdoc": ("frame_set", 1, 300.0),
    "frame_set_multiple.mdoc": ("frame_set", 21, 300.0),
    "montage_section.mdoc": ("montage", 63, 300.0),
    "montage_section_multiple.mdoc": ("montage", 100, 300.0),
    "murfey_test_1.mdoc": ("tilt_series", 11, 300.0),
    "tilt_series.mdoc": ("tilt_series", 41, None),
    "img_h1_s2_i374_movie_00001_Jul30_07.56.47.tif.mdoc": ("frame_set", 1, 300.0),
}


def test_every_real_mdoc_is_read(shared_data: Path) -> None:
    files = {path.name: path for path in shared_data.rglob("*.mdoc")}
    assert set(files) == set(MDOCS)
    for name, (kind, n_sections, voltage_kV) in MDOCS.items():
        parsed = read_mdoc(files[name])
        assert (parsed.kind, len(parsed.sections), parsed.voltage_kV) == (kind, n_sections, voltage_kV)
        assert parsed.flags == ()
        assert parsed.titles[0].startswith("SerialEM: ")
        for section in parsed.sections:
            assert section.n_frames is None or section.n_frames > 0


def test_a_frame_set__has_its_facts_in_our_units(shared_data: Path) -> None:
    path = shared_data / "epu/mdcatch/img_h1_s2_i374_movie_00001_Jul30_07.56.47.tif.mdoc"
    (section,) = read_mdoc(path).sections
    assert (section.n_frames, section.frame_doses) == (40, ((0.0, 40),))
    assert (section.dose_e_A2, section.exposure_s, section.pixel_size_A) == (30.0, 1.0, 0.50226)
    assert section.target_defocus_A == pytest.approx(23_000.0)
    assert section.frames_file == "00000_Aug11_14.13.17.tif"
    assert section.values["OpticalGroup"] == "hole2-shot3"
    assert section.number_of("Cs") == 2.7
    known = mdoc.read_metadata(path)
    assert known is not None
    assert (known.source, known.exposure_id, known.n_frames) == ("mdoc", "00000_Aug11_14.13.17", 40)
    assert (known.voltage_kV, known.applied_defocus_A, known.stage_x_um) == (300.0, 23_000.0, -114.718)


def test_a_tilt_series__has_a_section_a_tilt(shared_data: Path) -> None:
    parsed = read_mdoc(shared_data / "mdoc/tilt_series.mdoc")
    tilts = [section.tilt_deg for section in parsed.sections]
    assert tilts[1] == 3.00113
    assert len(set(tilts)) == 41
    assert parsed.sections[0].dose_e_A2 is None  # SerialEM's 0 is "not calibrated"
    assert mdoc.read_metadata(shared_data / "mdoc/tilt_series.mdoc") is None
    montage = read_mdoc(shared_data / "mdoc/montage_section.mdoc")
    assert montage.of_kind("ZValue")[0].floats("PieceCoordinates", 3) == (0.0, 0.0, 0.0)
    assert len(montage.of_kind("MontSection")) >= 1


GOOD = b"T = SerialEM: x\nVoltage = 300\n\n[FrameSet = 0]\nTiltAngle = 1\nNumSubFrames = 3\n"


@pytest.mark.parametrize(
    ("raw", "kind", "words"),
    [
        (GOOD[:-1], Incomplete, "line 6: the last line has no newline"),
        (b"", Incomplete, "no newline"),
        (b"Voltage = 300\n", Incomplete, "no section"),
        (GOOD + b"TiltAngle = 2\n", Corrupt, "line 7: second entry 'TiltAngle'"),
        (GOOD + b"[FrameSet = 0]\n", Corrupt, "line 7: second section"),
        (GOOD + b"no entry\n", Corrupt, "line 7: line 'no entry'"),
        (GOOD + b"A = \0\n", Corrupt, "line 7: NUL"),
        (GOOD + b"A = " + b"x" * (2**20 + 1) + b"\n", Refused, "line 7: line of"),
    ],
)
def test_broken_mdocs__are_errors_with_the_line(raw: bytes, kind: type[FileError], words: str) -> None:
    with pytest.raises(kind, match=words):
        parse_mdoc(raw)


def test_entries_that_contradict_each_other__are_corrupt() -> None:
    for text in (b"FrameDosesAndNumber = 1.0 4\n", b"FrameDosesAndNumber = 1.0\n"):
        with pytest.raises(Corrupt):
            _ = parse_mdoc(GOOD + text).sections[0].n_frames
    with pytest.raises(Corrupt, match="line 5: TiltAngle = one"):
        _ = parse_mdoc(GOOD.replace(b"= 1\n", b"= one\n")).sections[0].tilt_deg
    for wrong in (b"-3", b"2.5"):
        with pytest.raises(Corrupt, match="NumSubFrames"):
            _ = parse_mdoc(GOOD.replace(b"= 3\n", b"= " + wrong + b"\n")).sections[0].n_frames


def test_line_ends_and_encodings__are_understood_and_flagged() -> None:
    parsed = parse_mdoc(GOOD.replace(b"\n", b"\r\n") + b"Note = 3 \xb5m\r\n")
    assert parsed.flags == ("not UTF-8; read as Windows-1252",)
    assert parsed.sections[0].values["Note"] == "3 µm"
    assert parsed.sections[0].n_frames == 3


def test_a_huge_mdoc__is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "big.mdoc"
    with path.open("wb") as stream:
        stream.truncate(2**30)
    with pytest.raises(Refused):
        read_mdoc(path)


EPU = {  # file name: pixel [Å], dose [e/Å²], applied defocus [Å], fractions, software
    "FoilHole_18890345_Data_18881924_18881926_20200320_090200.xml": (1.06847, 40.054, 32_500.0, 40, "EPU 2.6.1.69"),
    "FoilHole_22011316_Data_19957701_19957703_20200323_100235.xml": (1.18367, 25.179, 22_000.0, 40, "EPU 2.6.1.69"),
    "FoilHole_19513699_Data_19508496_19508498_20230919_154056.xml": (1.05588, 39.923, 20_000.0, 50, "EPU 3.4.0.5704"),
    "FoilHole_9015883_Data_9017347_6_20250108_154915.xml": (1.05588, 14.411, 27_000.0, 50, "EPU 3.9.1.8206"),
    "FoilHole_9028219_Data_9017354_50_20250109_062624.xml": (1.05588, 14.154, 15_000.0, 50, "EPU 3.9.1.8206"),
    "GridSquare_20230919_140816.xml": (337.38189, 1.565e-4, 2_500_000.0, None, "EPU 3.4.0.5704"),
    "Atlas_19493264.xml": (4824.64967, None, 10_000_000.0, None, "TemAppCommon 5.14.0.5305"),
}


def test_every_real_epu_xml_is_read(shared_data: Path) -> None:
    files = sorted(shared_data.rglob("*.xml"))
    assert len(files) == 16
    for path in files:
        image = read_epu(path)
        assert image.voltage_kV == 300.0
        assert image.alpha_tilt_deg == pytest.approx(0.0, abs=0.1)
        known = epu.read_metadata(path)
        assert known is not None
        assert (known.exposure_id, known.pixel_size_A) == (path.stem, image.pixel_size_A)
        assert known.time_utc is not None
        assert known.time_utc.endswith("+00:00")
        if path.name in EPU:
            pixel, dose, defocus, n, software = EPU[path.name]
            assert image.pixel_size_A == pytest.approx(pixel, abs=1e-5)
            assert image.dose_e_A2 == (None if dose is None else pytest.approx(dose, rel=1e-3))
            assert image.applied_defocus_A == pytest.approx(defocus)
            assert (image.n_fractions, image.software) == (n, software)
    assert set(EPU) <= {path.name for path in files}


def test_camera_facts_of_a_k3_exposure(shared_data: Path) -> None:
    (path,) = shared_data.rglob("FoilHole_19513699_Data_19508496_19508498_20230919_154056.xml")
    image = read_epu(path)
    assert (image.detector, image.super_resolution_factor, image.counting) == ("BioQuantum K3", 2, True)
    assert (image.slit_inserted, image.slit_width_eV, image.phase_plate) == (True, 10.0, False)
    assert (image.exposure_s, image.magnification) == (0.75, 165_000.0)
    assert image.stage_x_um == pytest.approx(267.9873)
    assert image.beam_shift == pytest.approx((-0.0944923, -0.0117230), abs=1e-6)


def test_session_files_are_of_another_kind(shared_data: Path) -> None:
    files = [path for path in shared_data.rglob("*.dm") if path.is_file()]
    assert len(files) == 6
    for path in files:
        assert epu.read_metadata(path) is None
        assert mdoc.read_metadata(path) is None
        with pytest.raises(Unsupported, match="root element"):
            read_epu(path)


def test_xml_cut_at_every_percent__is_incomplete(shared_data: Path) -> None:
    (path,) = shared_data.rglob("FoilHole_18890345_Data_18881924_18881926_20200320_090200.xml")
    raw = path.read_bytes().rstrip()
    for length in {*(len(raw) * percent // 100 for percent in range(100)), len(raw) - 1}:
        with pytest.raises(Incomplete):
            parse_epu(raw[:length])


BOMB = b"<!DOCTYPE x [" + b"".join(
    b"<!ENTITY a%d '%s'>" % (i, b"&a%d;" % (i - 1) * 10 if i else b"lol") for i in range(9)
) + b"]><MicroscopeImage>&a8;</MicroscopeImage>"  # fmt: skip


@pytest.mark.parametrize(
    ("raw", "kind", "words"),
    [
        (BOMB, Refused, "document type"),
        (b"<!DOCTYPE x SYSTEM 'file:///etc/passwd'><MicroscopeImage/>", Refused, "document type"),
        (b"<MicroscopeImage>" + b"<a>" * 100_000, Refused, "nested too deeply"),
        (b"<MicroscopeImage>" + b" " * (17 * 2**20), Refused, "at most"),
        (b"<MicroscopeImage>&undefined;</MicroscopeImage>", Corrupt, "line 1"),
        (b"<MicroscopeImage></Other>", Corrupt, "line 1"),
        (b"", Incomplete, "no element"),
        (b"<Other/>", Unsupported, "'Other'"),
    ],
)
def test_hostile_xml__is_refused_quickly_and_small(raw: bytes, kind: type[FileError], words: str) -> None:
    tracemalloc.start()
    with pytest.raises(kind, match=words):
        parse_epu(raw)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * 2**20


def test_utf_16_is_read__as_its_own_declaration_says(shared_data: Path, tmp_path: Path) -> None:
    (path,) = shared_data.rglob("FoilHole_22011316_Data_19957701_19957703_20200323_100235.xml")
    text = path.read_text(encoding="utf-8-sig")
    (tmp_path / "u.xml").write_bytes(text.encode("utf-16"))
    assert read_epu(tmp_path / "u.xml") == read_epu(path)
    assert epu.read_metadata(tmp_path / "u.xml") is not None


def test_values_that_cannot_be__are_refused(shared_data: Path) -> None:
    (path,) = shared_data.rglob("FoilHole_22011316_Data_19957701_19957703_20200323_100235.xml")
    raw = path.read_bytes()
    for old, new, kind in (
        (b">300000<", b">-300000<", Refused),
        (b">300000<", b">many<", Corrupt),
        (b"<numericValue>1.18", b"<numericValue>-1.18", Refused),
    ):
        assert old in raw
        with pytest.raises(kind):
            parse_epu(raw.replace(old, new, 1))
    infinite = parse_epu(raw.replace(b">300000<", b">inf<"))
    assert infinite.voltage_kV is None


@given(st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_any_bytes__end_in_one_of_the_declared_errors(raw: bytes) -> None:
    for parse in (parse_epu, parse_mdoc, lambda data: walk(data, "", lambda *_: None)):
        try:
            parse(raw)
        except FileError as error:
            assert error.kind == "file"  # noqa: PT017


def test_pipes__never_block_a_hook(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for hook in (mdoc.read_metadata, epu.read_metadata):
        with pytest.raises(Refused):
            hook(tmp_path / "pipe")


@pytest.mark.parametrize("encoding", ["uvf-8", "u-8", "shift_jis", "zip", "idna", "undefined"])
def test_xml_of_an_unknown_or_absurd_encoding__is_corrupt(encoding: str) -> None:
    raw = f'<?xml version="1.0" encoding="{encoding}"?><MicroscopeImage><a>\x80</a></MicroscopeImage>'.encode("latin-1")
    with pytest.raises(Corrupt):
        parse_epu(raw)
