"""examples/watch_folder in miniature: a simulated session lands live, the daemon processes it, one table scores it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

PROGRAM = Path(sys.executable).with_name("cryoframe")
N_MOVIES = 6
#: What the miniature changes of the example: size, how fast things settle, and where the faults are.
SMALLER = {
    "session.toml": [
        ("n_movies = 24", f"n_movies = {N_MOVIES}"),
        ("shape_px = [1024, 1024]", "shape_px = [512, 512]"),
        ("n_frames = 12", "n_frames = 8"),
        ("pixel_size_A = 1.5", "pixel_size_A = 3.0"),
        ("frame_time_s = 0.25", "frame_time_s = 2.0"),  # wide pixels: as many electrons a pixel and second as before
        ('exposures = "9"', 'exposures = "3"'),
        ('exposures = "17"', 'exposures = "5"'),
    ],
    "watch.toml": [
        ("workers = 2", "workers = 1"),
        ("settle_s = 5.0\nlong_settle_s = 60.0", "settle_s = 1.0\nlong_settle_s = 4.0"),
        ("poll_s = 2.0", "poll_s = 0.5"),
        ("dose_per_frame_e_A2 = 3.3333", "dose_per_frame_e_A2 = 5.0"),
        ("pixel_size_A = 1.5", "pixel_size_A = 3.0"),
        ("box_px = 192", "box_px = 96"),
    ],
}


def _example(repository: Path, folder: Path) -> None:
    for name, changes in SMALLER.items():
        text = (repository / "examples" / "watch_folder" / name).read_text(encoding="utf-8")
        for old, new in changes:
            assert old in text, f"{name} no longer says {old}"
            text = text.replace(old, new)
        (folder / name).write_text(text, encoding="utf-8")


@pytest.mark.slow
def test_the_watch_folder_example__processes_every_movie_and_scores_it(
    repository: Path, tmp_path: Path, figure: Callable[[str, object], None]
) -> None:
    _example(repository, tmp_path)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "HOME": str(tmp_path)}
    live = ["simulate", "session.toml", "--live", "--rate", "1200", "--ahead", str(N_MOVIES)]
    microscope = subprocess.Popen(
        [str(PROGRAM), *live, "--workers", "1", "--json", "--quiet"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    # All movies are made before the first one lands: on a busy machine the daemon would be idle between two.
    deadline, incoming = time.monotonic() + 300, tmp_path / "incoming"
    while not any(incoming.rglob("*.tiff")) and microscope.poll() is None and time.monotonic() < deadline:
        time.sleep(0.2)
    watch = [str(PROGRAM), "watch", "watch.toml", "--until-idle", "30", "--quiet", "--json"]
    watched = subprocess.run(
        watch, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=400, check=False
    )
    said, complaint = microscope.communicate(timeout=120)
    assert microscope.returncode == 0, complaint
    made = json.loads(said)
    assert made["n_made"] == N_MOVIES
    status = json.loads(watched.stdout)
    assert status["tasks"] == {stage: {"done": N_MOVIES - 1} for stage in ("motion", "ctf", "picks", "boxes")}
    assert [Path(entry["path"]).suffix for entry in status["rejected"]] == [".tiff"]  # the truncated one, with a reason
    score = subprocess.run(
        [str(PROGRAM), "score", "watch.toml", "--truth", "truth", "--json"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert score.returncode == 0, score.stderr
    scored = json.loads(score.stdout)
    assert scored["movies"] == {"done": N_MOVIES - 1, "rejected": 1}
    assert list(scored["lost"]) == ["twin_00003"]
    assert {row["stage"] for row in scored["rows"]} == {"motion", "ctf", "picks", "boxes"}
    rows = {(row["stage"], row["quantity"]): row["value"] for row in scored["rows"]}
    figure("movies an hour that landed", round(made["movies_per_hour"]))
    figure("motion RMS, median [Å]", round(rows["motion", "motion_rms_A"], 2))
    figure("picks, f1 within half a diameter", round(rows["picks", "f1 within 0.5 diameter"], 2))
    assert rows["motion", "motion_rms_A"] < 1.5  # half a pixel: frames are aligned, not merely summed
    assert rows["picks", "f1 within 0.5 diameter"] > 0.5  # places are those of the truth: by chance it would be 0.1
    truncated = next(row for row in scored["faults"] if row["fault"] == "truncated_file")
    assert truncated["n_refused"] == 1
