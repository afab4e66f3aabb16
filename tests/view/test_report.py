"""The report of a run says what was assumed, and draws picks where they are whatever the header says."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from cryoframe.execution.run import Run
from cryoframe.formats import mrc
from cryoframe.view.report import write_report

PICKER = '''
from dataclasses import dataclass
from cryoframe import Micrograph, ParticleTable, hookimpl

@dataclass(frozen=True)
class Params:
    """Nothing to set."""

@hookimpl
def pick_particles(micrograph: Micrograph, params: Params) -> ParticleTable:
    pixel = micrograph.pixel_size_A
    return ParticleTable.from_columns({"x_A": [40 * pixel], "y_A": [10 * pixel], "figure_of_merit": [1.0]})
'''
FIT = '''
from dataclasses import dataclass
from cryoframe import CtfFit, Micrograph, hookimpl

@dataclass(frozen=True)
class Params:
    """Nothing to set."""

@hookimpl
def estimate_ctf(micrograph: Micrograph, params: Params) -> CtfFit:
    return CtfFit(micrograph.micrograph_id, 1e4, 9e3, 0.0)
'''
CONFIG = """
[run]
name = "r"
folder = "run"
executor = "inline"
[plugins]
files = ["picker.py", "fit.py"]
[micrographs]
files = "m.mrc"
pixel_size_A = 2.5
[[stage]]
id = "ctf"
run = "estimate_ctf"
use = "fit"
[[stage]]
id = "picks"
run = "pick_particles"
use = "picker"
"""


def test_picks_are_drawn_by_the_configured_pixel__and_assumed_optics_are_said(tmp_path: Path) -> None:
    image = np.random.default_rng(0).normal(size=(50, 80)).astype(np.float32)
    mrc.write(tmp_path / "m.mrc", image, pixel_size_A=1.0)  # the header is wrong
    for name, text in (("picker.py", PICKER), ("fit.py", FIT), ("run.toml", CONFIG)):
        (tmp_path / name).write_text(text, encoding="utf-8")
    with Run.open(tmp_path / "run.toml") as run:
        run.execute()
        text = write_report(run, tmp_path / "report.html").read_text(encoding="utf-8")
    (circle,) = re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', text)
    assert [float(value) for value in circle] == [40.5, 10.5]
    assert "300 kV" in text
