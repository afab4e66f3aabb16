"""Scores against the truth: each is zero for the truth itself, has the size it must for a known error, and its sign."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cryoframe.compare.truth import DONE, EXPOSURES, SESSION, Truth
from cryoframe.compare.truth_answers import Answer, Answers, Fate, said_of
from cryoframe.compare.truth_scores import ctf_scores, motion_scores, pick_counts, pose_scores
from cryoframe.compare.truth_table import score
from cryoframe.data.images import CtfFit
from cryoframe.data.optics import Optics
from cryoframe.data.tables import MotionTable, ParticleTable
from cryoframe.data.twin import Exposure, ExposureTruth
from cryoframe.errors import ConfigError
from cryoframe.formats import products
from cryoframe.numerics import rotations

EXPOSURE = Exposure(
    "s_00001", shape_px=(500, 1000), pixel_size_A=2.0, n_frames=20, defocus_u_A=12000.0, defocus_v_A=11000.0,
    defocus_angle_deg=30.0,
)  # fmt: skip
POSE = ("rot_deg", "tilt_deg", "psi_deg", "shift_x_A", "shift_y_A")


def _motion(shift: NDArray[np.float64], places: NDArray[np.float64] | None = None) -> MotionTable:
    """Whole-frame motion `(n, 2)` and, at places `(p, 2)`, that times 1 + x·y/10⁶."""
    rows = [(np.nan, np.nan, 1.0)]
    rows += [(x, y, 1 + x * y / 1e6) for x, y in (places if places is not None else [])]
    n = len(shift)
    return MotionTable.from_columns(
        {
            "frame": np.tile(np.arange(n), len(rows)).astype(np.int32),
            "patch_x_A": np.repeat([row[0] for row in rows], n).astype(np.float32),
            "patch_y_A": np.repeat([row[1] for row in rows], n).astype(np.float32),
            **{
                f"shift_{axis}_A": np.concatenate([row[2] * shift[:, k] for row in rows]).astype(np.float32)
                for k, axis in enumerate("xy")
            },
        }
    )


def _particles(xy: NDArray[np.float64], classes: list[str] | None = None, **more: NDArray[np.float64]) -> ParticleTable:
    n = len(xy)
    columns = {"particle_id": np.arange(n, dtype=np.uint64), "micrograph_id": ["s_00001"] * n,
               "optics_group": ["opticsGroup1"] * n, "half": np.zeros(n, dtype=np.uint8),
               "x_A": xy[:, 0].astype(np.float32), "y_A": xy[:, 1].astype(np.float32)}  # fmt: skip
    pose = dict.fromkeys(POSE, np.zeros(n)) | more
    columns |= {name: pose[name].astype(np.float32) for name in POSE}
    if classes is not None:
        columns |= {"z_A": np.zeros(n, dtype=np.float32), "species": ["thing"] * n,
                    "conformation_frac": np.zeros(n, dtype=np.float32), "truth_class": classes}  # fmt: skip
    return ParticleTable.from_columns(columns)


GRID = np.array([(x, y) for x in (0.0, 1000.0, 2000.0) for y in (0.0, 500.0, 1000.0)])
DRIFT = np.stack([np.linspace(0, 8, 20), np.linspace(0, -4, 20)], axis=-1)


def _truth(particles: ParticleTable | None = None, exposure: Exposure = EXPOSURE) -> ExposureTruth:
    table = particles if particles is not None else _particles(np.zeros((0, 2)), [])
    ice = np.full((2, 2), 300.0, dtype=np.float32)
    return ExposureTruth(exposure, Optics(), table, _motion(DRIFT, GRID), ice, 0 * ice, 500.0, 0.8, 4.0, 4.0)


# -- motion ---------------------------------------------------------------------------------------------------------
def test_the_true_motion__has_no_error_wherever_it_was_measured() -> None:
    elsewhere = np.array([(300.0, 700.0), (1700.0, 100.0), (900.0, 900.0)])
    scores = motion_scores(_motion(DRIFT, elsewhere), _truth())
    assert scores == pytest.approx(dict.fromkeys(scores, 0.0), abs=1e-5)
    assert set(scores) == {"motion_rms_A", "motion_frame_rms_A", "motion_local_rms_A"}


def test_another_zero__is_no_error() -> None:
    assert motion_scores(_motion(DRIFT + 5.0, GRID), _truth())["motion_rms_A"] == pytest.approx(0, abs=1e-5)


def test_noise_of_a_shift__is_measured_as_it_is() -> None:
    rng = np.random.default_rng(1)
    found = [
        motion_scores(_motion(DRIFT + 0.5 * rng.standard_normal(DRIFT.shape)), _truth())["motion_rms_A"] ** 2
        for _ in range(400)
    ]
    expected = 2 * 0.25 * (1 - 1 / 20)  # two axes, the mean over frames taken out
    assert np.mean(found) == pytest.approx(expected, rel=4 * np.sqrt(2 / (38 * 400)))


def test_motion_without_places__is_held_against_the_local_one() -> None:
    scores = motion_scores(_motion(DRIFT), _truth())
    beyond = GRID.prod(axis=1) / 1e6
    spread = ((DRIFT - DRIFT.mean(axis=0)) ** 2).sum(axis=-1).mean()
    assert scores["motion_local_rms_A"] == pytest.approx(np.sqrt((beyond**2).mean() * spread), rel=1e-4)
    assert scores["motion_rms_A"] == pytest.approx(0, abs=1e-5)


# -- CTF ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("fit", "defocus", "astigmatism"),
    [
        ((12000, 11000, 30), 0, 0),
        ((12000, 11000, -150), 0, 0),
        ((12300, 11300, 30), 300, 0),
        ((12000, 11000, 120), 0, 2000),
        ((11500, 11500, 77), 0, 1000),
        ((12000, 11000, 75), 0, 1000 * np.sqrt(2)),
    ],
)
def test_defocus_and_astigmatism__are_told_apart(
    fit: tuple[float, float, float], defocus: float, astigmatism: float
) -> None:
    scores = ctf_scores(CtfFit("", *fit), _truth())
    assert scores["defocus_error_A"] == pytest.approx(defocus)
    assert scores["astigmatism_error_A"] == pytest.approx(astigmatism, abs=1e-9)


@pytest.mark.parametrize("change_A", [1000.0, -150.0])
def test_a_defocus_that_changes__is_held_against_its_mean(change_A: float) -> None:
    changing = replace(_truth(), defocus_change_A=change_A)
    fit = CtfFit("", 12000 + change_A, 11000 + change_A, 30)
    assert ctf_scores(fit, changing)["defocus_error_A"] == pytest.approx(0)
    assert ctf_scores(CtfFit("", 12000, 11000, 30), changing)["defocus_error_A"] == pytest.approx(abs(change_A))


# -- picks ----------------------------------------------------------------------------------------------------------
def test_picks__are_told_apart_by_what_they_are_on() -> None:
    xy = np.array([(500.0, 300.0), (900.0, 300.0), (1300.0, 300.0), (700.0, 700.0), (5.0, 500.0)])
    truth = _truth(_particles(xy, ["particle", "particle", "particle", "aggregate", "particle"]))
    picks = np.concatenate([xy[[0, 1, 3, 4]] + 10.0, [(1800.0, 800.0)], [xy[0] - 12.0]])  # the last one a second time
    counts = pick_counts(_particles(picks), truth, radius_A=50.0, edge_A=60.0)
    assert (counts.n_true, counts.n_found, counts.n_matched) == (3, 5, 2)  # the one at the edge is asked of nobody
    assert counts.by_class == {"particle": 2, "aggregate": 1, "background": 2}
    assert counts.scores() == pytest.approx({"precision": 0.4, "recall": 2 / 3, "f1": 0.5})
    assert pick_counts(_particles(picks), truth, radius_A=12.0, edge_A=60.0).n_matched == 0


def test_no_picks_and_nothing_there__are_no_numbers_rather_than_zeros() -> None:
    scores = pick_counts(_particles(np.zeros((0, 2))), _truth(), radius_A=10.0, edge_A=0.0).scores()
    assert all(np.isnan(value) for value in scores.values())


# -- poses ----------------------------------------------------------------------------------------------------------
def test_poses__are_matched_by_place_and_measured_by_angle() -> None:
    rng = np.random.default_rng(2)
    n = 50
    xy = np.stack([rng.uniform(100, 1900, n), rng.uniform(100, 900, n)], axis=-1)
    angles = {
        "rot_deg": rng.uniform(-180, 180, n),
        "tilt_deg": rng.uniform(5, 175, n),
        "psi_deg": rng.uniform(0, 170, n),
    }
    truth = _truth(_particles(xy, ["particle"] * n, **angles))
    order = rng.permutation(n)
    turned = {name: values[order] for name, values in angles.items()} | {"psi_deg": angles["psi_deg"][order] + 10.0}
    # A box cut 6 Å beyond the particle shifts it back: the particle sits at the box minus the shift.
    moved = {"shift_x_A": np.full(n, 6.0), "shift_y_A": np.full(n, -3.0)}
    found = _particles(xy[order] + (6.0, -3.0), **turned, **moved)
    scores = pose_scores(found, truth, radius_A=1.0, point_group="C1")
    assert scores["pose_angle_deg"] == pytest.approx(10.0, abs=1e-2)
    assert scores["pose_shift_A"] == pytest.approx(0.0, abs=1e-3)


def test_poses_that_symmetry_carries_into_each_other__are_one() -> None:
    xy = np.array([(500.0, 500.0)])
    half = rotations.matrix_to_euler(rotations.euler_to_matrix(20.0, 60.0, 30.0) @ np.diag([-1.0, -1.0, 1.0]))
    truth = _truth(_particles(xy, ["particle"], **dict(zip(POSE, np.atleast_2d([20.0, 60.0, 30.0]).T, strict=False))))
    found = _particles(xy, **dict(zip(POSE, np.asarray(half, dtype=float).reshape(3, 1), strict=False)))
    angle = {g: pose_scores(found, truth, radius_A=5.0, point_group=g)["pose_angle_deg"][0] for g in ("C1", "D2")}
    assert angle["C1"] == pytest.approx(180.0, abs=0.1)
    assert angle["D2"] == pytest.approx(0.0, abs=0.1)


# -- the folder and the table ---------------------------------------------------------------------------------------
def _folder(tmp_path: Path, faults: dict[int, tuple[str, ...]], n: int = 8) -> Truth:
    species = [{"name": "thing", "truth_class": "particle", "radius_A": 40.0, "symmetry": "C1"}]
    (tmp_path / SESSION).write_text(json.dumps({"species": species, "faults": []}), encoding="utf-8")
    for number in range(1, n + 1):
        name = f"s_{number:05d}"
        place = tmp_path / EXPOSURES / name
        place.mkdir(parents=True)
        products.save(_truth(exposure=replace(EXPOSURE, exposure_id=name, faults=faults.get(number, ()))), place)
        movie = f"FoilHole_{number}_Data_1_1_20260105_0800{number:02d}_fractions.tiff"
        (place / DONE).write_text(json.dumps({"movie": movie}), encoding="utf-8")
    return Truth.open(tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "FoilHole_3_Data_1_1_20260105_080003_fractions.tiff",
        "MotionCorr/job002/Images-Disc1/FoilHole_3_Data_1_1_20260105_080003_fractions.mrc",
        "FoilHole_3_Data_1_1_20260105_080003_fractions_DW.mrc",
        "000012@Extract/job004/FoilHole_3_Data_1_1_20260105_080003_fractions.mrcs",
        "s_00003",
    ],
)
def test_an_exposure__is_known_by_the_names_that_programs_give_its_files(tmp_path: Path, name: str) -> None:
    assert _folder(tmp_path, {}).exposure_of(name) == "s_00003"


def test_a_strangers_name__is_of_no_exposure(tmp_path: Path) -> None:
    assert _folder(tmp_path, {}).exposure_of("FoilHole_33_Data_1_1_20260105_080003_fractions.tiff") is None


def test_a_folder_without_truth__is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no truth folder"):
        Truth.open(tmp_path)


def test_faults__are_refused_or_show_in_a_number_or_go_unseen(tmp_path: Path) -> None:
    truth = _folder(tmp_path, {6: ("truncated_file",), 7: ("crystalline_ice",), 8: ("wrong_dose",)})
    rng = np.random.default_rng(3)
    fits = {name: CtfFit(name, 12000, 11000, 30, fit_resolution_A=5.0 + 0.1 * rng.standard_normal()) for name in truth}
    fits["s_00007"] = replace(fits["s_00007"], fit_resolution_A=12.0)
    answers = [answer for name in truth if name != "s_00006" for answer in said_of(fits[name], "ctf", truth, name=name)]
    fates = {name: Fate("done") for name in truth} | {"s_00006": Fate("rejected", "Incomplete: ends early")}
    scores = score(Answers(tuple(answers), fates), truth)
    rows = {row.fault: (row.n_refused, row.n_show, row.n_unseen, row.where) for row in scores.faults}
    assert rows == {
        "truncated_file": (1, 0, 0, "refused (1)"),
        "crystalline_ice": (0, 1, 0, "ctf fit_resolution_A (1)"),
        "wrong_dose": (0, 0, 1, ""),
        "none": (0, 0, 5, ""),
    }
    assert scores.fates == {"done": 7, "rejected": 1}
    assert list(scores.lost) == ["s_00006"]


def test_rows__come_in_the_order_of_the_beam(tmp_path: Path) -> None:
    truth = _folder(tmp_path, {}, n=1)
    picks = Answer("a_picks", "s_00001", _particles(np.array([(500.0, 500.0)])).without(POSE))
    answers = (picks, Answer("b_ctf", "s_00001", CtfFit("", 1, 1, 0)), Answer("c_motion", "s_00001", _motion(DRIFT)))
    rows = score(Answers(answers), truth).rows
    assert list(dict.fromkeys(row.stage for row in rows)) == ["c_motion", "b_ctf", "a_picks"]
