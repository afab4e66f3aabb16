"""Exposures are drawn from the seed alone, and faults change what they say they change."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from session_world import small

from cryoframe.errors import ConfigError
from cryoframe.twin.faults import CATALOGUE, parse
from cryoframe.twin.plan import make_plan

#: The faults that a session's catalogue must have.
ASKED = {
    "gain_flipped", "wrong_pixel_size", "wrong_dose", "beam_tilt_swapped", "ice_ramp", "stage_jump", "truncated_file",
    "dead_block", "charging", "empty_hole", "crystalline_ice", "defocus_drift", "slit_lost",
}  # fmt: skip


def test_the_same_seed__gives_the_same_plan_and_another_another(tmp_path: Path) -> None:
    first, again = (make_plan(small(tmp_path)) for _ in range(2))
    other = make_plan(small(tmp_path, session={"seed": 6}))
    assert first == again
    assert all(a.exposure.defocus_u_A != b.exposure.defocus_u_A for a, b in zip(first, other, strict=True))


def test_a_longer_session__begins_with_the_shorter_one(tmp_path: Path) -> None:
    short, long = (make_plan(small(tmp_path, session={"n_movies": n})) for n in (5, 50))
    assert long[:5] == short


def test_every_place_of_a_hole__has_its_own_image_shift_beam_tilt_and_group(tmp_path: Path) -> None:
    plan = make_plan(small(tmp_path, session={"n_movies": 12}, grid={"shots_per_hole": 4, "image_shift_um": 0.5}))
    groups = {one.exposure.optics_group for one in plan}
    assert len(groups) == 4
    for one in plan:
        shift, tilt = np.array(one.shot.image_shift_um), np.array(one.shot.beam_tilt_mrad)
        assert np.hypot(*shift) == pytest.approx(0.5)
        assert tilt == pytest.approx(0.4 * shift)
        assert (one.exposure.beam_tilt_x_mrad, one.exposure.beam_tilt_y_mrad) == pytest.approx(tuple(tilt))
    assert len({one.shot.foil_hole for one in plan}) == 3
    assert len({one.exposure.ice_thickness_A for one in plan}) == 3  # of the hole, not of the exposure


def test_defocus__is_spread_as_asked_and_positive_is_the_major_axis(tmp_path: Path) -> None:
    plan = make_plan(small(tmp_path, session={"n_movies": 700}, defocus={"min_A": 5000, "max_A": 25000}))
    middle = np.array([0.5 * (one.exposure.defocus_u_A + one.exposure.defocus_v_A) for one in plan])
    nominal = np.array([one.shot.nominal_defocus_A for one in plan])
    assert all(one.exposure.defocus_u_A >= one.exposure.defocus_v_A for one in plan)
    assert (nominal.min(), nominal.max()) == (5000, 25000)
    assert (middle - nominal).std() == pytest.approx(300, rel=4 / np.sqrt(2 * 700))  # 4 deviations of a deviation


def test_the_catalogue__has_every_fault_with_a_doc() -> None:
    assert set(CATALOGUE) >= ASKED
    assert all(fault.doc.endswith(".") and fault.least <= fault.value <= fault.largest for fault in CATALOGUE.values())


@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_a_fault__changes_what_its_kind_says_where_it_is_and_nothing_else(tmp_path: Path, name: str) -> None:
    grid = {"shots_per_hole": 2}
    well = make_plan(small(tmp_path, grid=grid))
    ill = make_plan(small(tmp_path, grid=grid, fault=[{"name": name, "exposures": "2-3"}]))
    kind = CATALOGUE[name].kind
    for before, after in zip(well, ill, strict=True):
        if before.shot.number not in (2, 3):
            assert after == before
            continue
        assert after.exposure.faults == (name,)
        physics = [getattr(after.exposure, key) != value for key, value in vars(before.exposure).items()
                   if key != "faults"]  # fmt: skip
        assert any(physics) == (kind == "physics")
        assert (after.shot != before.shot) == (kind == "statement")
        assert after.gain_flipped == (kind == "camera")
        assert (after.kept_frac < 1) == (kind == "files")


def test_swapped_groups__permute_the_stated_tilts(tmp_path: Path) -> None:
    fault = [{"name": "beam_tilt_swapped", "exposures": "1-3"}]
    plan = make_plan(small(tmp_path, session={"n_movies": 3}, grid={"shots_per_hole": 3}, fault=fault))
    assert all(
        one.shot.beam_tilt_mrad != (one.exposure.beam_tilt_x_mrad, one.exposure.beam_tilt_y_mrad) for one in plan
    )


def test_faults_where_nobody_says_where__are_where_the_catalogue_says(tmp_path: Path) -> None:
    faults = [{"name": "gain_flipped"}, {"name": "empty_hole"}, {"name": "wrong_dose"}]
    plan = make_plan(small(tmp_path, session={"n_movies": 4}, fault=faults))
    assert [one.exposure.faults for one in plan] == [
        ("wrong_dose",), ("wrong_dose",), ("gain_flipped", "empty_hole", "wrong_dose"), ("gain_flipped", "wrong_dose"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("stage_jump", ("stage_jump", "", None)),
        ("stage_jump=80@3-5", ("stage_jump", "3-5", 80.0)),
        ("empty_hole@7-", ("empty_hole", "7-", None)),
    ],
)
def test_a_fault_of_the_command_line__is_read(text: str, parts: tuple[str, str, float | None]) -> None:
    asked = parse(text)
    assert (asked.name, asked.exposures, asked.value) == parts


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"name": "stage_jum"}, "did you mean 'stage_jump'"),
        ({"name": "stage_jump", "value": -5.0}, "has the value -5"),
        ({"name": "stage_jump", "exposures": "3-9"}, "3 to 9 of 4"),
        ({"name": "stage_jump", "exposures": "first"}, "names no exposures"),
        ({"name": "beam_tilt_swapped"}, "needs places to swap"),
    ],
)
def test_a_fault_that_cannot_be__is_refused(tmp_path: Path, fault: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make_plan(small(tmp_path, fault=[fault]))
