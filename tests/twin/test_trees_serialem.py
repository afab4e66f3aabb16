"""SerialEM's names and mdocs as real ones, and movies alone in a folder."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest
from shots import FIRST, shots

from cryoframe.errors import InvalidInput
from cryoframe.twin.flat_tree import FlatLayout
from cryoframe.twin.serialem_tree import SerialEmLayout
from cryoframe_formats import mdoc
from cryoframe_formats.mdoc_text import parse_mdoc


@pytest.fixture
def layout() -> SerialEmLayout:
    return SerialEmLayout("twin", FIRST)


def sections(raw: bytes) -> list[dict[str, str]]:
    """Split an mdoc by a reader that shares nothing with the project's: lines, brackets, the first equals sign."""
    found: list[dict[str, str]] = [{}]
    for line in raw.decode("ascii").splitlines():
        if line.startswith("["):
            found.append({"": line})
        elif "=" in line:
            key, _, value = line.partition(" = ")
            found[-1][key] = value
    return found


def test_an_mdoc__says_what_the_shot_says(layout: SerialEmLayout, tmp_path: Path) -> None:
    ((path, raw),) = layout.side_cars(FIRST).items()
    assert path == PurePosixPath("frames/twin_00000_Jan08_15.49.21.tif.mdoc")
    parsed = parse_mdoc(raw)
    (section,) = parsed.sections
    assert (parsed.kind, parsed.voltage_kV, parsed.flags) == ("frame_set", 300.0, ())
    assert (section.n_frames, section.frame_doses) == (50, ((0.81, 50),))
    assert (section.dose_e_A2, section.exposure_s) == (40.5, 0.89)
    assert section.pixel_size_A == pytest.approx(1.0559 / 2), "of the frames that are saved, in super-resolution"
    assert section.number_of("Binning") == 0.5
    assert section.target_defocus_A == pytest.approx(27000.0)
    assert section.defocus_A == pytest.approx(27000.0)
    assert (section.stage_um, section.image_shift_um) == ((-97.153, -152.723), (0.5, -0.25))
    assert section.tilt_deg == 12.5
    assert section.frames_file == layout.movie_path(FIRST).name
    assert section.values["DateTime"] == "08-Jan-25  15:49:21"
    assert section.values["GainReference"] == layout.gain_path().name == "SuperRef_twin_00000_Jan08_15.49.21.mrc"
    assert section.values["DefectFile"] == "defects_twin.txt"
    assert section.values["MultishotHoleAndPosition"] == "9015883 0"
    file = tmp_path / path.name
    file.write_bytes(raw)
    known = mdoc.read_metadata(file)
    assert known is not None
    assert (known.n_frames, known.dose_e_A2, known.image_shift_x_um) == (50, 40.5, 0.5)


def test_an_eer_file__has_no_frames_before_it_is_read() -> None:
    shot = replace(FIRST, kind="eer", camera="falcon_4i", super_resolution=1)
    (section,) = parse_mdoc(next(iter(SerialEmLayout("twin", shot).side_cars(shot).values()))).sections
    assert (section.n_frames, section.frame_doses, section.dose_e_A2) == (None, (), 40.5)


def test_keys_and_their_form__are_those_of_a_real_mdoc(layout: SerialEmLayout, shared_data: Path) -> None:
    folder = shared_data
    real: dict[str, str] = {}
    for name in ("epu/mdcatch/img_h1_s2_i374_movie_00001_Jul30_07.56.47.tif.mdoc", "mdoc/frame_set_single.mdoc"):
        raw = (folder / name).read_bytes()
        assert b"\r\n" in raw
        for section in sections(raw):
            real |= section
    (raw,) = layout.side_cars(replace(FIRST, phase_plate=True)).values()
    assert raw.count(b"\n") == raw.count(b"\r\n")
    head, ours = sections(raw)
    assert head.keys() <= real.keys()
    assert ours.keys() - real.keys() == {"MultishotHoleAndPosition"}

    def form(value: str) -> str:
        return re.sub(r"-?\d+(\.\d+)?(e[+-]\d+)?", "#", value)

    for key in ours.keys() & real.keys() - {"SubFramePath", "GainReference", "DefectFile", "T"}:
        month = r"[A-Z][a-z]{2}"
        assert re.sub(month, "M", form(ours[key])) == re.sub(month, "M", form(real[key])), key
    assert ours["SubFramePath"].startswith("X:\\")


def test_movies_and_references__can_be_told_apart_by_the_layouts_pattern() -> None:
    for kind in ("tiff", "mrc", "eer"):
        shot = replace(FIRST, kind=kind)
        for layout in (SerialEmLayout("twin", shot), FlatLayout("twin", shot)):
            assert layout.movie_path(shot).match(layout.movie_pattern)
            assert not layout.gain_path().match(layout.movie_pattern)
            assert layout.session_files([shot]) == {}
            assert layout.side_cars_last


def test_a_flat_folder__has_movies_and_nothing_else() -> None:
    layout = FlatLayout("twin", FIRST)
    assert layout.movie_path(FIRST) == PurePosixPath("twin_00001.tiff")
    assert layout.side_cars(FIRST) == {}
    assert len({layout.movie_path(shot) for shot in shots(9)}) == 9


def test_names_that_would_leave_the_folder__are_refused() -> None:
    for kind in (SerialEmLayout, FlatLayout):
        with pytest.raises(InvalidInput, match="session name"):
            kind("../twin", FIRST)
        with pytest.raises(InvalidInput, match="movies of kind"):
            kind("twin", replace(FIRST, kind="dm4"))


def test_a_reader_of_others__agrees(layout: SerialEmLayout, tmp_path: Path) -> None:
    mdocfile = pytest.importorskip("mdocfile", reason="mdocfile (BSD-3) is not installed")
    ((path, raw),) = layout.side_cars(FIRST).items()
    (tmp_path / path.name).write_bytes(raw)
    table = mdocfile.read(tmp_path / path.name)
    assert int(table["NumSubFrames"].iloc[0]) == 50
    assert float(table["TargetDefocus"].iloc[0]) == -2.7
    assert tuple(table["StagePosition"].iloc[0]) == (-97.153, -152.723)
