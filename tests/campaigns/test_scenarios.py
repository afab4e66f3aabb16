"""The short form of the campaign of scenarios: one small session whose configuration states half the dose."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import scenarios

from cryoframe.data.tables import ExposureTable
from cryoframe.execution.exposures import TABLE

#: Wide pixels and long frames: as many electrons a pixel and second as before.
SMALLER = {"image": {"shape_px": [512, 512], "pixel_size_A": 3.0, "n_frames": 8, "frame_time_s": 1.5}}


@pytest.mark.slow
def test_a_session_with_a_wrong_dose__is_processed_and_told_of(
    tmp_path: Path, figure: Callable[[str, object], None]
) -> None:
    outcome = scenarios.play("wrong_dose_configured", tmp_path / "wrong_dose", smaller=SMALLER)
    assert outcome.problems == []
    for name, value in outcome.figures.items():
        figure(name, round(value, 2))
    rows = ExposureTable.read(tmp_path / "wrong_dose" / "run" / TABLE).rows()
    assert [row["status"] for row in rows] == ["done", "done"]
    for row in rows:
        said = str(row["warnings"])
        assert "dose_per_frame_e_A2 is 5 by the side-car and 2 by the configuration, which is used" in said
        assert "dose or pixel size is wrong" in said  # the counts say so too, whatever anybody states
        assert all(row[f"{name}_png"] for name in ("sum", "drift", "ctf", "picks", "usable"))
        assert float(row["motion_total_A"] or 0) > 0


def test_every_scenario__says_what_it_is_and_what_is_asked_of_it() -> None:
    for scenario in scenarios.SCENARIOS.values():
        assert scenario.doc
        assert scenario.most or scenario.told
