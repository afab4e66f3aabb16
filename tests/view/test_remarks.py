"""What a stage over the whole set says reaches people: its alarms in the report, and on the screen."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from cryoframe.execution.remarks import is_alarm, remark, remarks_in
from cryoframe.execution.run import Run
from cryoframe.formats import mrc
from cryoframe.testing import phantoms
from cryoframe.view import remarks
from cryoframe.view.report import write_report

CONFIG = """
[run]
name = "r"
folder = "run"
executor = "inline"
[plugins]
files = ["talker.py"]
[volumes]
file = "map.mrc"
[[stage]]
id = "mask"
run = "make_mask"
use = "talker"
"""
TALKER = '''
from dataclasses import dataclass
import numpy as np
from cryoframe import Mask, StageContext, Volume, hookimpl

@dataclass(frozen=True)
class Params:
    """Nothing to set."""

@hookimpl
def make_mask(volume: Volume, params: Params, ctx: StageContext) -> Mask:
    print("[mask] a program's own talk")
    ctx.log("the threshold was 0.3 <of the map>")
    ctx.log("ALARM: the contrast may be inverted")
    return Mask(np.ones(volume.data.shape, np.float32), volume.pixel_size_A)
'''


def test_lines_of_a_stage__are_told_from_what_its_plugin_prints(tmp_path: Path) -> None:
    lines = ["noise\n", remark("mask", "set", "first"), "[mask other] no\n", remark("mask", "set", "warning: second")]
    (tmp_path / "log.txt").write_text("".join(lines), encoding="utf-8")
    assert remarks_in(tmp_path, "mask", "set") == ["first", "warning: second"]
    assert remarks_in(tmp_path / "nowhere", "mask", "set") == []
    assert [is_alarm(text) for text in ("ALARM: a", "warning: b", "no alarm", "")] == [True, True, False, False]


def test_alarms__stand_before_the_rest_which_is_folded_away() -> None:
    html = remarks.drawn(["plain <1>", "ALARM: look"])
    assert html.startswith("<p><strong>ALARM: look</strong></p>")
    assert "<details" in html
    assert "plain &lt;1&gt;" in html
    assert remarks.drawn([]) == ""
    assert "<details" not in remarks.drawn(["warning: only this"])
    many = remarks.drawn([f"line {number}" for number in range(remarks.MAX_LINES + 5)])
    assert "line 4<" not in many
    assert f"the last {remarks.MAX_LINES} of {remarks.MAX_LINES + 5} lines" in many


def test_what_a_stage_says__is_in_the_report_and_its_alarms_are_known_of_the_run(tmp_path: Path) -> None:
    mrc.write(tmp_path / "map.mrc", phantoms.molecule().data, pixel_size_A=4.0)
    (tmp_path / "talker.py").write_text(TALKER, encoding="utf-8")
    (tmp_path / "run.toml").write_text(CONFIG, encoding="utf-8")
    with Run.open(tmp_path / "run.toml") as run:
        run.execute()
        assert remarks.alarms_of(run) == ["mask: ALARM: the contrast may be inverted"]
        page = write_report(run, tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<strong>ALARM: the contrast may be inverted</strong>" in page
    assert "the threshold was 0.3 &lt;of the map&gt;" in page
    assert "a program's own talk" not in page


def test_a_stage_on_its_own__says_it_on_the_screen(tmp_path: Path) -> None:
    mrc.write(tmp_path / "map.mrc", -phantoms.molecule().data, pixel_size_A=4.0)
    command = [str(Path(sys.executable).with_name("cryoframe")), "stage", "make_mask", "threshold", "map.mrc"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "contrast may be inverted" in done.stdout
