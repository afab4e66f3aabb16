"""Written gains and defect maps: read back as given by us, by tifffile and mrcfile; lists of defects there and back."""

from __future__ import annotations

from pathlib import Path

import mrcfile
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from recordings import disk_of

from cryoframe import ReferenceImage
from cryoframe.errors import Corrupt, EnvironmentFault, FileError, InvalidInput, Refused
from cryoframe_formats.defect_list import defect_list_text, defects_from_text
from cryoframe_formats.gain import open_gain
from cryoframe_formats.reference_write import write_reference

SHAPE = (23, 37)


def a_gain() -> np.ndarray:
    return np.random.default_rng(9).normal(1.0, 0.05, SHAPE).astype(np.float32)


def a_map() -> np.ndarray:
    defects = np.zeros(SHAPE, np.bool_)
    defects[:, 5:7] = defects[20] = defects[2:9, 10:14] = defects[11, 30] = True
    defects[3:8, 33] = True
    return defects


@pytest.mark.parametrize("name", ["g.mrc", "g.tif", "g.TIFF", "g.gain"])
def test_gains__are_read_back_as_given(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    gain = a_gain()
    assert write_reference(ReferenceImage(tmp_path / name, gain.astype(np.float64), 0.83)) is True
    found = open_gain(tmp_path / name)
    assert found is not None
    assert np.array_equal(found.data, gain)
    if name.endswith("mrc"):
        assert mrcfile.validate(tmp_path / name), capsys.readouterr().out
        assert np.array_equal(mrcfile.read(tmp_path / name), gain)
    else:
        flipped = gain if name.endswith("gain") else gain[::-1]
        assert np.array_equal(tifffile.imread(tmp_path / name), flipped)


@pytest.mark.parametrize("name", ["d.mrc", "d.tif"])
@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32"])
def test_defect_maps__are_bytes(tmp_path: Path, name: str, dtype: str) -> None:
    defects = a_map().astype(dtype)
    assert write_reference(ReferenceImage(tmp_path / name, defects)) is True
    if name.endswith("mrc"):
        assert mrcfile.validate(tmp_path / name)
        assert np.array_equal(mrcfile.read(tmp_path / name), defects.astype(np.int8))
    else:
        assert np.array_equal(tifffile.imread(tmp_path / name), defects[::-1].astype(np.uint8))


def test_names_of_others__are_declined(tmp_path: Path) -> None:
    for name in ("g.dm4", "g.txt", "g", "g.png"):
        assert write_reference(ReferenceImage(tmp_path / name, a_gain())) is None
    assert not list(tmp_path.iterdir())


def test_references_that_would_spoil_movies__are_refused(tmp_path: Path) -> None:
    gain = a_gain()
    gain[3, 4] = np.nan
    with pytest.raises(Refused, match="1 pixels are not finite"):
        write_reference(ReferenceImage(tmp_path / "g.mrc", gain))
    for wrong, words in (
        (np.ones((2, 3, 4), np.float32), "shape"),
        (np.ones((0, 4), np.float32), "shape"),
        (np.ones((3, 4), complex), "complex"),
        (np.full((3, 4), 200), "200"),
        (np.full((3, 4), -1), "-1"),
    ):
        with pytest.raises(InvalidInput, match=words):
            write_reference(ReferenceImage(tmp_path / "d.tif", wrong))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["g.mrc", "g.tif", "g.gain", "defects.txt"])
def test_a_full_disk__leaves_nothing(tmp_path: Path, name: str) -> None:
    with disk_of(100), pytest.raises(EnvironmentFault, match="cannot be written"):
        write_reference(ReferenceImage(tmp_path / name, a_gain() if name != "defects.txt" else a_map()))
    assert not list(tmp_path.iterdir())


def test_a_list_of_defects__is_as_serialem_writes_it(tmp_path: Path) -> None:
    path = tmp_path / "defects_K3.txt"
    assert write_reference(ReferenceImage(path, a_map())) is True
    lines = path.read_text().splitlines()
    assert lines[:2] == ["CameraSizeX 37", "CameraSizeY 23"]
    # Rows from the top: row r of the map is y = 22 - r.
    assert "UsableArea 0 0 0 0" in lines
    assert "PartialBadColumn 10 4 14 20" in lines
    assert "PartialBadColumn 33 1 15 19" in lines
    assert "BadPixels 30 11" in lines
    assert "BadColumns 5 6" in lines
    assert "BadRows 2" in lines
    assert np.array_equal(defects_from_text(path.read_text()), a_map())


@given(hnp.arrays(np.bool_, st.tuples(st.integers(1, 25), st.integers(1, 25))))
@settings(max_examples=150, deadline=None)
def test_any_map__comes_back_from_its_list(defects: np.ndarray) -> None:
    assert np.array_equal(defects_from_text(defect_list_text(defects)), defects)


def test_long_lists__have_lines_of_a_bounded_length() -> None:
    scattered = np.indices((60, 60)).sum(axis=0) % 2 == 1
    text = defect_list_text(scattered)
    assert max(map(len, text.splitlines())) < 512  # what SerialEM's reader takes
    assert np.array_equal(defects_from_text(text), scattered)


def test_partial_rows__of_serialem_are_read() -> None:
    text = "CameraSizeX 8\nCameraSizeY 5\nPartialBadRow 1 2 3 5\n"
    expected = np.zeros((5, 8), np.bool_)
    expected[2:4, 3:6] = True  # y 1 and 2 from the top
    assert np.array_equal(defects_from_text(text), expected)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("BadPixels 3", "line 3"),
        ("BadPixels 8 0", "line 3"),
        ("BadColumns 8", "line 3"),
        ("BadRows -1", "whole numbers"),
        ("BadRows 1.5", "whole numbers"),
        ("PartialBadColumn 1 2 3", "line 3"),
        ("PartialBadColumn 7 2 0 1", "a place on the camera"),
        ("PartialBadRow 1 1 5 3", "a place on the camera"),
        ("UsableArea 1 1 4 6", "usable area"),
        ("Nonsense 1", "keyword"),
    ],
)
def test_lines_that_make_no_sense__are_corrupt(line: str, words: str) -> None:
    with pytest.raises(Corrupt, match=words):
        defects_from_text(f"CameraSizeX 8\nCameraSizeY 5\n{line}\n", "d.txt")


def test_lists_without_a_sane_size__are_refused() -> None:
    with pytest.raises(Corrupt, match="camera size"):
        defects_from_text("BadRows 1\n")
    with pytest.raises(Refused, match="edges"):
        defects_from_text("CameraSizeX 99999999\nCameraSizeY 9999999\n")


@given(st.text(alphabet="CameraSizeXY BadPixelsRowsColumnsPartial 0123456789\n-.", max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_text__is_read_or_refused(text: str) -> None:
    try:
        found = defects_from_text("CameraSizeX 8\nCameraSizeY 5\n" + text)
    except FileError:
        return
    assert found.dtype == np.bool_
