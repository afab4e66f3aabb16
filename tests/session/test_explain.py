"""The passport of a particle dropped by a shipped stage, from a real run: who dropped it, and why."""

from __future__ import annotations

import bz2
import json
import subprocess
import sys
from pathlib import Path

PROGRAM = Path(sys.executable).with_name("cryoframe")
CONFIG = """
[run]
name = "r"
folder = "run"
[optics]
voltage_kV = 300.0
cs_mm = 2.7
amplitude_contrast_frac = 0.1
[micrographs]
files = "half_1.mrc"
pixel_size_A = 0.8538
[[stage]]
id = "ctf"
run = "estimate_ctf"
use = "spectrum"
[[stage]]
id = "picks"
run = "pick_particles"
use = "blob"
params = { diameter_A = 110.0 }
[[stage]]
id = "boxes"
run = "extract_particles"
use = "box"
params = { box_px = 256 }
"""


def cryoframe(folder: Path, *words: str) -> str:
    done = subprocess.run(
        [PROGRAM, *words], cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_a_particle_too_near_the_edge__is_explained(repository: Path, tmp_path: Path) -> None:
    packed = repository / "cryoframe" / "cli" / "demo_data" / "half_1.mrc.bz2"
    (tmp_path / "half_1.mrc").write_bytes(bz2.decompress(packed.read_bytes()))
    (tmp_path / "run.toml").write_text(CONFIG, encoding="utf-8")
    cryoframe(tmp_path, "run", "run.toml")
    (said,) = (tmp_path / "run").glob("stages/boxes/*/product/dropped.json")
    dropped = json.loads(said.read_text(encoding="utf-8"))[0]
    text = cryoframe(tmp_path, "explain", str(dropped["particle_id"][0]), "--run", "run.toml")
    assert dropped["reason"] in text
    assert "in use" not in text
    assert json.loads(cryoframe(tmp_path, "explain", str(dropped["particle_id"][0]), "--run", "run.toml", "--json"))[
        "dropped"
    ]
