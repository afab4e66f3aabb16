"""Each product says of its micrograph what the table of exposures has columns for; contradictions are worded."""

from __future__ import annotations

import numpy as np
import pytest

from cryoframe.data.figures import FIGURES, disputes, figures_of, warnings_of
from cryoframe.data.images import CorrectedMicrograph, CtfFit, Micrograph, MicrographVerdict, ParticleStack
from cryoframe.data.schemas import EXPOSURES
from cryoframe.data.tables import ExposureTable, MotionTable, ParticleTable


def corrected(*, dose_e_A2: float = 8.0, weighted: bool = True) -> CorrectedMicrograph:
    """Four frames that move by 3-4-5 triangles, one patch that ends 2 Å from the whole frame."""
    whole = np.array([[0, 0], [3, 4], [6, 8], [6, 9]], dtype=np.float32)
    patch = whole + np.array([[0, 0], [0, 0], [0, 0], [0, 2]], dtype=np.float32)
    shifts = np.concatenate([whole, patch])
    motion = MotionTable.from_columns(
        {
            "frame": np.tile(np.arange(4, dtype=np.int32), 2),
            "patch_x_A": np.repeat(np.array([np.nan, 5], dtype=np.float32), 4),
            "patch_y_A": np.repeat(np.array([np.nan, 5], dtype=np.float32), 4),
            "shift_x_A": shifts[:, 0],
            "shift_y_A": shifts[:, 1],
        }
    )
    plain = Micrograph("m", np.full((4, 4), 7.0, dtype=np.float32), 1.0, dose_e_A2)
    if not weighted:
        return CorrectedMicrograph(plain, motion)
    return CorrectedMicrograph(Micrograph("m", plain.data * 0, 1.0, dose_e_A2, True), motion, plain)


def test_motion__is_the_way_of_the_whole_frame_parted_at_four_electrons() -> None:
    said = figures_of(corrected())  # 2 e/Å² a frame: the step to the second frame ends at 3, the next at 5
    assert said["motion_total_A"] == pytest.approx(11.0)
    assert said["motion_early_A"] == pytest.approx(5.0)
    assert said["motion_late_A"] == pytest.approx(6.0)
    assert said["motion_local_A"] == pytest.approx(2.0)
    assert said["motion_step_A"] == pytest.approx(5.0)
    assert (said["n_frames"], said["dose_e_A2"], said["counts_1_px"]) == (4, 8.0, 7.0)


def test_without_a_dose__early_and_late_are_not_known() -> None:
    said = figures_of(corrected(dose_e_A2=0.0, weighted=False))
    assert "motion_early_A" not in said
    assert "dose_e_A2" not in said
    assert said["counts_1_px"] == 7.0


def test_every_figure__is_a_column_and_every_number_is_plain() -> None:
    products: list[object] = [
        corrected(),
        CtfFit("m", 2e4, 1.9e4, 30.0, confidence_frac=0.9, ice_thickness_A=float("nan"), tilt_deg=3.0),
        MicrographVerdict("m", np.ones((2, 2), dtype=np.float32), 100.0, "good", usable_frac=0.75),
        ParticleTable.empty(["position"]),
        ParticleStack(np.zeros((0, 4, 4), dtype=np.float32), ParticleTable.empty(), 1.0),
    ]
    assert {type(product) for product in products} == set(FIGURES)
    for product in products:
        said = figures_of(product)
        assert said
        assert set(said) <= set(EXPOSURES.columns)
        assert {type(value) for value in said.values()} <= {str, int, float, bool}
    assert "ice_thickness_A" not in figures_of(products[1])
    assert figures_of(products[2])["excluded_frac"] == 0.25


def test_a_product_of_no_one_micrograph__says_nothing() -> None:
    assert figures_of(object()) == {}


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"ctf_accepted": False, "ctf_verdict": "no rings"}, "CTF fit not accepted: no rings"),
        ({"ctf_accepted": True, "ctf_verdict": "crystalline ice"}, "CTF: crystalline ice"),
        ({"ctf_accepted": True, "fit_resolution_A": 29.0}, "to 29 Å only: is a phase shift"),
        ({"defocus_u_A": 2.1e4, "defocus_v_A": 1.9e4, "applied_defocus_A": -1e4}, "where 10000 Å was applied"),
        ({"counts_1_px": 10.0, "dose_e_A2": 40.0, "pixel_size_A": 1.0}, "dose or pixel size is wrong"),
        ({"counts_1_px": 50.0, "dose_e_A2": 40.0, "pixel_size_A": 1.0}, "dose or pixel size is wrong"),
        ({"counts_1_px": 10.0, "pixel_size_A": 1.0}, "no dose is stated"),
        ({"tilt_deg": 2.0, "stage_tilt_deg": -30.0}, "where the stage says -30"),
        ({"ice_thickness_A": 1100.0}, "ice is 110 nm thick"),
        ({"motion_step_A": 81.0}, "jumped 81 Å from one frame to the next"),
        ({"verdict": "crystalline"}, "micrograph is crystalline"),
    ],
)
def test_what_contradicts_itself__is_said(row: dict[str, str | float | bool], words: str) -> None:
    assert len(said := warnings_of(row)) == 1
    assert words in said[0]


def test_what_agrees__is_not_mentioned() -> None:
    row: dict[str, str | float | bool] = {
        "ctf_accepted": True, "ctf_verdict": "", "defocus_u_A": 1.2e4, "defocus_v_A": 1.1e4, "applied_defocus_A": 1e4,
        "counts_1_px": 30.0, "dose_e_A2": 40.0, "pixel_size_A": 1.0, "tilt_deg": -28.0, "stage_tilt_deg": 30.0,
        "verdict": "good", "motion_step_A": 25.0,
    }  # fmt: skip
    assert warnings_of(row) == []
    assert warnings_of({}) == []


def test_a_dispute__names_who_said_what_and_what_is_used() -> None:
    ours = {"pixel_size_A": 1.0, "voltage_kV": 300.0, "dose_e_A2": 0.0}
    theirs = {"pixel_size_A": 1.05, "voltage_kV": 300.0, "dose_e_A2": 40.0, "time": "noon"}
    assert disputes(theirs, ours, by="the side-car", instead="the configuration") == [
        "pixel_size_A is 1.05 by the side-car and 1 by the configuration, which is used"
    ]


def test_rows__keep_what_is_not_known_as_null() -> None:
    table = ExposureTable.from_rows([{"micrograph_id": "a", "n_picks": 0}, {"micrograph_id": "b", "unheard_of": 1}])
    table.check()
    first, second = table.rows()
    assert (first["n_picks"], second["n_picks"], first["defocus_u_A"]) == (0, None, None)
