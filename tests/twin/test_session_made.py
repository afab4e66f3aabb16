"""Making a session: the same bytes whatever the workers, nothing lost to a kill, a truth that other programs read."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import tifffile
from session_world import contents, made, plugins_of, settings, small

from cryoframe.compare.truth import Truth
from cryoframe.compare.truth_answers import gathered
from cryoframe.compare.truth_table import score
from cryoframe.data.tables import ParticleTable
from cryoframe.errors import ConfigError, ContractError
from cryoframe.formats.star_motion import motion_from_star
from cryoframe.twin.deliver import land_live_session, landed_path
from cryoframe.twin.live import Arrived
from cryoframe.twin.make import make_all
from cryoframe.twin.prepare import prepare


def _moved(config_folder: Path) -> dict[str, bytes]:
    return contents(config_folder / "out") | contents(config_folder / "truth")


def test_the_number_of_workers__changes_no_byte(tmp_path: Path) -> None:
    found = []
    for n_workers in (1, 3):
        folder = tmp_path / str(n_workers)
        folder.mkdir()
        made(small(folder), n_workers=n_workers)
        found.append(_moved(folder))
    assert found[0] == found[1]
    assert len([name for name in found[0] if name.endswith(".tiff")]) == 4


DRIVER = """
import sys
from pathlib import Path
sys.path[:0] = sys.argv[2].split(":")
from session_world import made, small
if __name__ == "__main__":
    made(small(Path(sys.argv[1]), simulate={"params": {"wait_s": 0.4}}), n_workers=2, resume=True)
"""


@pytest.mark.slow
def test_a_session_killed_at_any_time__goes_on_and_is_the_same(tmp_path: Path) -> None:
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    made(small(tmp_path / "whole", simulate={"params": {"wait_s": 0.4}}), n_workers=2)
    driver = tmp_path / "driver.py"
    driver.write_text(DRIVER, encoding="utf-8")
    here = str(Path(__file__).parent)
    settings(tmp_path / "killed")
    finished = tmp_path / "killed" / "truth" / "exposures"
    for n_done in (1, 3):  # killed twice: as soon as so many exposures are committed
        process = subprocess.Popen([sys.executable, str(driver), str(tmp_path / "killed"), here])
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and process.poll() is None and len(list(finished.glob("*"))) < n_done:
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    survivors = {path.name: path.stat().st_mtime_ns for path in finished.glob("*/exposure.json")}
    done = subprocess.run([sys.executable, str(driver), str(tmp_path / "killed"), here], check=False, timeout=120)
    assert done.returncode == 0
    assert _moved(tmp_path / "killed") == _moved(tmp_path / "whole")
    kept = {path.name: path.stat().st_mtime_ns for path in finished.glob("*/exposure.json")}
    assert {name: kept[name] for name in survivors} == survivors  # what was committed is not made anew
    assert not (tmp_path / "killed" / ".out.staging").exists()


def test_a_session_that_is_done__is_resumed_without_making_anything(tmp_path: Path) -> None:
    config = small(tmp_path)
    made(config)
    before = _moved(tmp_path)
    made(config, resume=True)
    assert _moved(tmp_path) == before


def test_another_sessions_truth__is_not_gone_on_with(tmp_path: Path) -> None:
    made(small(tmp_path, session={"n_movies": 1}))
    other = small(tmp_path, session={"n_movies": 1, "seed": 6})
    with pytest.raises(ConfigError, match="the truth of another session"):
        prepare(other, plugins_of(other), n_workers=1, resume=True)


def test_the_truth_folder__has_everything_that_was_set_and_drawn(tmp_path: Path) -> None:
    specimens = [{"file": "thing.quick", "conformations": [0.0, 0.5]}, {"distractor": "broken", "of": "thing"}]
    ready = made(small(tmp_path, specimen=specimens))
    truth = tmp_path / "truth"
    session = json.loads((truth / "session.json").read_text())
    assert session["settings"]["seed"] == 5
    assert [one["truth_class"] for one in session["species"]] == ["particle", "particle", "broken"]
    assert all("quick_stage" in text or "cryoframe" in text for text in session["plugins"].values())
    for one in session["species"]:
        assert mrcfile.validate(truth / one["map"])
    table = ParticleTable.read(truth / "particles.arrow")
    assert len(table) == 4 * 6
    assert {str(name) for name in table.column("micrograph_id")} == {one.shot.exposure_id for one in ready.plan}


def test_scoring_the_truth_against_itself__finds_nothing_wrong(tmp_path: Path) -> None:
    made(small(tmp_path, grid={"shots_per_hole": 2}))
    folder = tmp_path / "truth"
    truth = Truth.open(folder)
    stars = [folder / "particles.star", folder / "micrographs.star", *sorted((folder / "motion").glob("*.star"))]
    scores = score(gathered(stars, truth), truth)
    errors = {row.quantity: row.worst for row in scores.rows if row.unit in ("Å", "°")}
    assert {"motion_rms_A", "motion_local_rms_A", "defocus_error_A", "pose_angle_deg"} <= set(errors)
    assert errors == pytest.approx(dict.fromkeys(errors, 0.0), abs=2e-3)  # tables are float32
    exact = {row.quantity: row.value for row in scores.rows if "within" in row.quantity}
    assert set(exact.values()) == {1.0}


def test_the_motion_star__holds_the_true_shifts_and_a_model_that_fits_them(tmp_path: Path) -> None:
    made(small(tmp_path, session={"n_movies": 1}))
    motion = motion_from_star(tmp_path / "truth" / "motion" / "small_00001.star")
    time_ = np.arange(5)
    assert motion.shift_x_px == pytest.approx(0.8 * time_ / 4.0)
    assert motion.shift_y_px == pytest.approx(-0.3 * time_ / 4.0)
    assert motion.local is not None
    x, y = motion.model_shift_px(motion.local.frame, motion.local.x_px, motion.local.y_px)
    assert x == pytest.approx(motion.local.shift_x_px, abs=1e-5)  # x·y·t is within the model
    assert y == pytest.approx(motion.local.shift_y_px, abs=1e-5)


def test_a_truncated_file__lands_short_and_the_others_whole(tmp_path: Path) -> None:
    made(small(tmp_path, fault=[{"name": "truncated_file", "exposures": "2", "value": 0.5}]))
    sizes = {path.name: path.stat().st_size for path in (tmp_path / "out").glob("*.tiff")}
    others = [size for name, size in sizes.items() if "00002" not in name]
    assert sizes["small_00002.tiff"] == pytest.approx(0.5 * np.mean(others), rel=0.05)
    assert Truth.open(tmp_path / "truth").faults() == {"small_00002": ("truncated_file",)}


def test_a_flipped_gain__leaves_the_reference_and_turns_the_sensor(tmp_path: Path) -> None:
    image = {"shape_px": [64, 96], "n_frames": 400}
    made(small(tmp_path, session={"n_movies": 2}, image=image, fault=[{"name": "gain_flipped", "exposures": "2"}]))
    gain = mrcfile.read(tmp_path / "out" / "gain.mrc")
    sums = [tifffile.imread(tmp_path / "out" / f"small_{n:05d}.tiff").sum(axis=0, dtype=float) for n in (1, 2)]
    correlations = [
        [np.corrcoef(total.ravel(), (1 / one).ravel())[0, 1] for one in (gain, gain[::-1])]
        for total in (sums[0][::-1], sums[1][::-1])  # TIFF holds the last row first
    ]
    assert correlations[0][0] > 0.8 > 0.2 > abs(correlations[0][1])
    assert correlations[1][1] > 0.8 > 0.2 > abs(correlations[1][0])
    assert sums[1].mean() == pytest.approx(sums[0].mean(), rel=0.01)


def test_a_stage_whose_gain_changes__is_found_out(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="another gain reference"):
        made(small(tmp_path, simulate={"params": {"moody": True}}))


def test_an_event_camera_is_asked_for__where_files_hold_events(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="makes no events"):
        made(small(tmp_path, session={"n_movies": 1, "kind": "eer"}))


def test_a_live_session_that_is_stopped__goes_on_and_lands_everything_once(tmp_path: Path) -> None:
    config = small(tmp_path)
    landed: list[str] = []

    def live(n_before_stop: int, *, resume: bool) -> bool:
        ready = prepare(config, plugins_of(config), n_workers=1, resume=resume)
        stop = threading.Event()

        def said(one: Arrived) -> None:
            landed.append(one.exposure_id)
            if len(landed) >= n_before_stop:
                stop.set()

        making = make_all(ready, n_workers=1, landed=lambda planned: landed_path(ready, planned.shot))
        report, _ = land_live_session(ready, making, movies_per_hour=3600, speed=10, stop=stop, said=said)
        return report.finished

    assert not live(2, resume=False)
    first = {path.name: path.stat().st_ino for path in (tmp_path / "out").glob("*.tiff")}
    assert 1 <= len(first) <= 2
    assert live(99, resume=True)
    found = {path.name: path.stat().st_ino for path in (tmp_path / "out").glob("*.tiff")}
    assert len(found) == 4
    assert {name: found[name] for name in first} == first
    assert (tmp_path / "out" / "gain.mrc").is_file()
    assert not (tmp_path / ".out.staging").exists()


@pytest.mark.relion
def test_relion__reads_the_truth(tmp_path: Path) -> None:
    import shutil

    program = shutil.which("relion_star_handler")
    if program is None:
        pytest.skip("relion_star_handler is not installed")
    made(small(tmp_path, grid={"shots_per_hole": 3}))
    for name in ("particles.star", "micrographs.star"):
        out = tmp_path / f"read_{name}"
        done = subprocess.run(
            [program, "--i", str(tmp_path / "truth" / name), "--o", str(out), "--select", "rlnDefocusU",
             "--minval", "-1e9", "--maxval", "1e9"],
            capture_output=True, text=True, check=False, cwd=tmp_path,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        assert "rlnBeamTiltX" in out.read_text()
