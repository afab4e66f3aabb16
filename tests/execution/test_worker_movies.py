"""Movies through a run: frames read where they lie, gain applied, the sum handed on to stages over micrographs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from run_world import CTF, HEAD, digests, products_of

from cryoframe.data.images import CorrectedMicrograph
from cryoframe.execution.run import Run
from cryoframe.formats import mrc
from cryoframe.kernel.config import load
from cryoframe.kernel.discovery import local_offers
from cryoframe.kernel.plugins import Plugins

pytestmark = pytest.mark.usefixtures("no_discovery")
READER = (
    HEAD
    + """
from cryoframe import FrameSource, GainReference, Movie, CorrectedMicrograph, MotionTable

class Frames:
    pixel_size_A = None

    def __init__(self, path):
        self.frames = mrc.open_mapped(path)
        self.n_frames, self.shape_px = len(self.frames), self.frames.shape[1:]

    def read_frame(self, index):
        return np.asarray(self.frames[index])

@hookimpl
def open_movie(path: Path) -> FrameSource | None:
    return Frames(path)

@hookimpl
def open_gain(path: Path) -> GainReference | None:
    return GainReference(np.load(path), str(path))
"""
)
MOTION = (
    READER[: READER.index("class Frames")]
    + """
@dataclass(frozen=True)
class Params:
    pass

@hookimpl
def correct_motion(movie: Movie, params: Params, ctx: StageContext) -> CorrectedMicrograph:
    total = sum(movie.frames())
    assert movie.optics.voltage_kV == 200.0
    n, nan = movie.n_frames, np.full(movie.n_frames, np.nan)
    zero = np.zeros(n)
    rows = {"frame": np.arange(n), "patch_x_A": nan, "patch_y_A": nan, "shift_x_A": zero, "shift_y_A": zero}
    dose = n * movie.dose_per_frame_e_A2
    summed = Micrograph("whatever", total.astype(np.float32), movie.pixel_size_A, dose, False)
    return CorrectedMicrograph(summed, MotionTable.from_columns(rows))
"""
)


def _run(folder: Path, *, gain: float) -> Run:
    (folder / "raw").mkdir(exist_ok=True)
    for number in range(2):
        path = folder / "raw" / f"movie{number}.mrc"
        if not path.exists():
            frames = np.random.default_rng(number).poisson(2.0, size=(4, 16, 20)).astype(np.float32)
            mrc.write(path, frames, pixel_size_A=1.0, is_stack=True)
    np.save(folder / "gain.npy", np.full((16, 20), gain, np.float32))
    (folder / "reader.py").write_text(READER, encoding="utf-8")
    (folder / "motion.py").write_text(MOTION, encoding="utf-8")
    (folder / "ctf.py").write_text(CTF.format(body="ctx.metric('dose', micrograph.dose_e_A2)"), encoding="utf-8")
    text = """
[run]
folder = "out"
executor = "inline"
[plugins]
files = ["reader.py", "motion.py", "ctf.py"]
[optics]
voltage_kV = 200.0
[movies]
files = "raw/*.mrc"
gain = "gain.npy"
pixel_size_A = 0.8
dose_per_frame_e_A2 = 1.25
[[stage]]
run = "correct_motion"
[[stage]]
run = "estimate_ctf"
"""
    (folder / "run.toml").write_text(text, encoding="utf-8")
    config = load(folder / "run.toml")
    return Run(config, Plugins(local_offers(config.plugin_files)))


def test_movies__are_summed_with_gain_and_handed_on(tmp_path: Path) -> None:
    with _run(tmp_path, gain=2.0) as run:
        assert run.execute() == {"correct_motion": {"done": 2}, "estimate_ctf": {"done": 2}}
        item = run.state.item("movie0.mrc")
        assert item is not None
        assert item.facts["n_frames"] == 4
        corrected = products_of(run, "correct_motion")[0]
        assert isinstance(corrected, CorrectedMicrograph)
        assert corrected.micrograph.micrograph_id == "movie0.mrc"
        assert corrected.micrograph.optics.voltage_kV == 200.0
        assert corrected.micrograph.data.shape == (16, 20)
        np.testing.assert_allclose(corrected.micrograph.data, 2 * mrc.read(tmp_path / "raw/movie0.mrc")[0].sum(axis=0))
        assert run.state.metrics("estimate_ctf", "movie0.mrc")["dose"][0] == 5.0


def test_another_gain_reference__redoes_everything(tmp_path: Path) -> None:
    with _run(tmp_path, gain=2.0) as run:
        run.execute()
        old = digests(run, "correct_motion")
    with _run(tmp_path, gain=3.0) as run:
        run.execute()
        new = digests(run, "correct_motion")
    assert not set(old.values()) & set(new.values())
