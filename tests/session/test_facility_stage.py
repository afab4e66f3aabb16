"""A facility's own picker: one file of twelve lines, named in the TOML, and nothing else changes."""

from __future__ import annotations

import bz2
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

from cryoframe import ParticleTable
from cryoframe.execution.run import Run

PROGRAM = Path(sys.executable).with_name("cryoframe")


def test_the_example_picker_has_at_most_twelve_lines(repository: Path) -> None:
    lines = (repository / "examples" / "facility_stage.py").read_text(encoding="utf-8").splitlines()
    assert len([line for line in lines if line.strip() and not line.startswith('"""')]) <= 12


def test_the_example_picker_is_chosen_by_name_and_runs_on_a_real_micrograph(repository: Path, tmp_path: Path) -> None:
    for name in ("facility_stage.py", "choose_the_facility_stage.toml"):
        shutil.copy(repository / "examples" / name, tmp_path)
    (tmp_path / "micrographs").mkdir()
    packed = repository / "cryoframe" / "cli" / "demo_data" / "half_1.mrc.bz2"
    (tmp_path / "micrographs" / "half_1.mrc").write_bytes(bz2.decompress(packed.read_bytes()))
    config = tmp_path / "choose_the_facility_stage.toml"
    done = subprocess.run(
        [PROGRAM, "run", config, "--json"], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    json.loads(done.stdout)
    with Run.open(config) as run:
        (task,) = run.state.tasks("picks")
        picks = run.store.load("picks", task.key)
    assert isinstance(picks, ParticleTable)
    assert 20 < len(picks) < 1000
    x_px, y_px = (picks.floats(name) / 0.8538 for name in ("x_A", "y_A"))
    # the plugin spoke of corners and pixels; the kernel made whole pixel centres of its half-integers
    np.testing.assert_allclose(x_px, np.round(x_px), atol=1e-3)
    assert x_px.max() <= 3709
    assert y_px.max() <= 1918
