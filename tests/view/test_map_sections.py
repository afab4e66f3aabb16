"""Sections of maps: a local resolution is drawn on one scale, classes in three dimensions a map each."""

from __future__ import annotations

import re

import numpy as np

from cryoframe.data.images import Classes2D
from cryoframe.data.maps import LocalResolution, Volume
from cryoframe.data.results import Classes3D
from cryoframe.data.tables import ClassTable, ParticleTable
from cryoframe.view import pictures, sections


def table(ids: list[int], counts: list[int]) -> ClassTable:
    return ClassTable.from_columns(
        {
            "class_id": np.array(ids, np.int32),
            "n_particles": np.array(counts, np.int64),
            "resolution_A": np.full(len(ids), 8.0, np.float32),
            "class_score": np.ones(len(ids), np.float32),
        }
    )


def test_local_resolution__is_shaded_from_fine_to_coarse_and_black_where_nothing_is_resolved() -> None:
    view = np.array([[3.0, 5.0, 4.0, 50.0]])
    assert sections._shaded(view, 3.0, 5.0, 50.0).tolist() == [[255, 60, 157, 0, 255, 255]]
    data = np.full((8, 8, 8), 50.0, np.float32)
    data[2:6, 2:6, 2:6] = np.linspace(3.0, 5.0, 64).reshape(4, 4, 4)
    filtered = Volume(np.random.default_rng(0).standard_normal((8, 8, 8)).astype(np.float32), 1.0)
    body = sections.draw(sections.Shown("set", LocalResolution(data, 1.0, filtered)))
    assert "white is 3.1 Å or finer, dark grey 4.9 Å or coarser" in body
    assert "low-passed voxel by voxel" in body
    assert body.count("<img") == 2
    assert "<rect" in body


def test_local_resolution_of_nothing__is_said() -> None:
    body = sections.draw(sections.Shown("set", LocalResolution(np.full((8, 8, 8), 50.0, np.float32), 1.0)))
    assert body == "<p>set: nothing is resolved.</p>"


def test_three_dimensional_classes__are_drawn_with_their_sizes_the_largest_first() -> None:
    rng = np.random.default_rng(1)
    volumes = tuple(
        Volume(rng.standard_normal((8, 8, 8)).astype(np.float32), 2.0, provenance="a map") for _ in range(2)
    )
    classes = Classes3D(volumes, table([0, 1], [3, 9]), ParticleTable.empty())
    body = sections.draw(sections.Shown("set", classes))
    assert re.findall(r"class (\d), (\d) particles", body) == [("1", "9"), ("0", "3")]
    assert body.count("a map") == 2
    assert body.count("<img") == 2


def test_averages__are_those_of_their_rows_whatever_the_classes_are_called() -> None:
    averages = np.random.default_rng(2).standard_normal((2, 8, 8)).astype(np.float32)
    classes = Classes2D(averages, table([7, 4], [3, 9]), ParticleTable.empty(), 2.0)
    body = sections.draw(sections.Shown("set", classes))
    sheet = pictures.enlarge(pictures.montage(averages[[1, 0]], n_columns=2), 2)
    assert pictures.data_uri(sheet) in body
