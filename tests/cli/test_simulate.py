"""``cryoframe simulate`` and ``cryoframe score`` as people and programs use them: words, codes, nothing half made."""

from __future__ import annotations

import json
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from command_line import Cli, started

from cryoframe.formats import mrc

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "twin"))
from session_world import STAGE


@pytest.fixture
def models(tmp_path: Path) -> list[str | Path]:
    """The words that name a quick stage and a specimen it reads."""
    (tmp_path / "quick_stage.py").write_text(STAGE, encoding="utf-8")
    (tmp_path / "thing.quick").touch()
    small = ["image.shape_px=[64, 96]", "image.n_frames=5", "image.pixel_size_A=4.0", "simulate.use=quick_stage"]
    words = [word for pair in small for word in ("--set", pair)]
    return ["simulate", "thing.quick", "--plugin-file", "quick_stage.py", "--workers", "1", *words]


def test_models_alone__are_a_session_whose_truth_scores_itself(
    cli: Cli, models: list[str | Path], tmp_path: Path
) -> None:
    done = cli(*models, "--movies", "3", "--out", "out", "--truth", "truth", "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["n_made"], said["n_particles"]) == (3, 18)
    assert "movies 3/3" in done.stderr
    assert len(list((tmp_path / "out").rglob("*_fractions.tiff"))) == 3
    assert len(list((tmp_path / "out").rglob("*.xml"))) >= 3
    score = cli("score", "truth/particles.star", "truth/micrographs.star", "--truth", "truth", "--json")
    assert score.returncode == 0, score.stderr
    rows = {row["quantity"]: row["value"] for row in json.loads(score.stdout)["rows"]}
    assert rows["recall within 0.25 diameter"] == rows["precision within 0.25 diameter"] == 1.0
    assert rows["pose_angle_deg"] == pytest.approx(0, abs=1e-3)


def test_a_dry_run__says_what_it_takes_and_makes_nothing(cli: Cli, models: list[str | Path], tmp_path: Path) -> None:
    done = cli(*models, "--movies", "100", "--out", "out", "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["n_movies"] == 100
    assert said["disk_GB"] > 0 < said["wall_s"]
    assert said["particles"] == pytest.approx(100 * said["particles_per_movie"])
    assert said["species"][0]["name"] == "thing"
    assert not (tmp_path / "out").exists()
    plain = cli(*models, "--movies", "100", "--out", "out", "--dry-run")
    assert "particles expected" in plain.stdout
    assert "nothing was made" in plain.stdout


def test_the_catalogue__lists_every_fault(cli: Cli) -> None:
    rows = json.loads(cli("simulate", "--faults", "--json").stdout)
    assert {"gain_flipped", "slit_lost", "truncated_file"} <= {row["name"] for row in rows}
    assert all(row["what"] for row in rows)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--out", "out", "--truth", "out/truth"], "lies inside the session's folder"),
        (["--set", "image.dose_e_A2=9000"], "dose_e_A2 = 9000.0 was set"),
        (["--set", "image.n_frame=9"], "did you mean 'n_frames'"),
        (["--set", "n_frames=9"], "SECTION.KEY=VALUE"),
        (["--set", "specimen.name=9"], "is a list"),
        (["--fault", "stage_jmp"], "did you mean 'stage_jump'"),
        (["--fault", "stage_jump@30-40"], "30 to 40 of 24"),
        (["--fault", "stage_jump=much"], "'much' is no number"),
        (["--movies", "-1"], "n_movies = -1"),
        (["--set", "image.shape_px=[16384, 16384]", "--set", "image.n_frames=400", "--movies", "90000"], "GB free"),
        (["--live", "--speed", "0"], "--speed is 0"),
        (["--rate", "500"], "--rate is given without --live"),
        (["--workers", "0"], "0 workers"),
        (["--fault", "gain_flipped=0"], "1, or no value at all"),
        (["--fault", "truncated_file=1"], "not 1, which is no fault"),
        (["--fault", "truncated_file=0"], "from 0.01 to 1"),
        (["--set", "session.name.first=1", "--set", "session.name.first.second=1"], "a table, which has keys"),
        (["--set", "ice.min_A=20", "--set", "ice.max_A=30", "--set", "ice.rim_extra_A=0"], "is too thin for 'thing'"),
        (["--set", "microscope.slit_eV=0.0", "--fault", "slit_lost"], "slit_lost needs an energy slit"),
        (["--picture", "nowhere/p.png"], "there is no folder"),
        (["--set", "landing.rates={stalled=2.0}"], "stalled = 2.0"),
        (["--set", "landing.rates={moved_folder=1.0}", "--layout", "flat"], "a sub-folder"),
    ],
)
def test_what_cannot_be__is_said_before_anything_is_made(
    cli: Cli, models: list[str | Path], tmp_path: Path, words: list[str], expected: str
) -> None:
    before = {path.name for path in tmp_path.iterdir()}
    done = cli(*models, *words)
    assert done.returncode == 2, done.stdout + done.stderr
    assert expected in done.stderr
    assert "Traceback" not in done.stderr
    assert {path.name for path in tmp_path.iterdir()} - before <= {"__pycache__"}


def test_nothing_named_or_too_much__is_an_error(cli: Cli, tmp_path: Path) -> None:
    assert "nothing to simulate is named" in cli("simulate").stderr
    (tmp_path / "a.toml").touch()
    assert "a session and models" in cli("simulate", "a.toml", "b.cif").stderr
    empty = cli("simulate", "a.toml", "--dry-run")
    assert empty.returncode == 2
    assert "the session has no specimen" in empty.stderr


@pytest.mark.parametrize(("named", "meant"), [("krios_g33", "krios_g3"), ("falcon4i", "falcon_4i")])
def test_an_unknown_preset__is_refused_with_the_nearest_before_models_are_opened(
    cli: Cli, tmp_path: Path, named: str, meant: str
) -> None:
    done = cli("simulate", "absent.cif", "--preset", named, "--out", "out")
    assert done.returncode == 2
    assert f"did you mean '{meant}'" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--set", "image.shape_px=[9000, 9000]"], "9000 × 9000 pixels was asked for from camera k3"),
        (["--set", "image.frame_time_s=0.001", "--set", "image.dose_per_frame_e_A2=9.0"], "counts next to nothing"),
        (["--set", "landing.rate={stalled=0.5}"], "did you mean 'rates'"),
    ],
)
def test_what_the_stage_or_the_landing_refuses__is_said_before_models_are_opened(
    cli: Cli, words: list[str], expected: str
) -> None:
    done = cli("simulate", "absent.cif", "--out", "out", "--movies", "1", *words)
    assert done.returncode == 2
    assert expected in done.stderr


def test_the_presets__are_listed_with_what_they_are(cli: Cli) -> None:
    rows = {row["name"]: row for row in json.loads(cli("simulate", "--presets", "--json").stdout)}
    assert rows["glacios_200"]["kind"] == "microscope"
    assert "no energy filter" in rows["glacios_200"]["what"]
    assert rows["falcon_4i"]["kind"] == "camera"


@pytest.mark.parametrize("text", ['session = "a"', "camera = 3", "fault = 3", '[session]\nplugin_files = "a.py"'])
def test_a_section_that_is_no_table__is_an_error_and_no_traceback(cli: Cli, tmp_path: Path, text: str) -> None:
    (tmp_path / "a.toml").write_text(text, encoding="utf-8")
    words = ["--movies", "1", "--preset", "k3", "--fault", "stage_jump", "--plugin-file", "b.py"]
    done = cli("simulate", "a.toml", *words)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_a_model_that_holds_no_molecule__is_a_mistake_of_the_users(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "far.pdb").write_text(
        "ATOM      1  CA  ALA A   1         nan     nan     nan  1.00  0.00           C\n"
    )
    done = cli("simulate", "far.pdb", "--out", "out", "--movies", "1", "--set", "image.shape_px=[256, 256]")
    assert done.returncode == 2, done.stderr
    assert "far" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_picture__is_drawn_of_a_session_without_particles(cli: Cli, models: list[str | Path], tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(
        '[session]\nlayout = "flat"\nn_movies = 1\nplugin_files = ["quick_stage.py"]\n[simulate]\nuse = "quick_stage"\n'
        '[[specimen]]\nfile = "thing.quick"\ndistractor = "contamination"\n[image]\nshape_px = [64, 96]\n'
        "n_frames = 5\npixel_size_A = 4.0\n",
        encoding="utf-8",
    )
    done = cli("simulate", "s.toml", "--workers", "1", "--quiet", "--picture", "p.png")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "p.png").stat().st_size > 1000


def test_a_session_that_is_done__is_not_written_over_but_resumed(
    cli: Cli, models: list[str | Path], tmp_path: Path
) -> None:
    words = [*models, "--movies", "1", "--out", "out", "--truth", "truth", "--quiet"]
    assert cli(*words).returncode == 0
    movie = next((tmp_path / "out").rglob("*_fractions.tiff"))
    before = movie.stat()
    again = cli(*words)
    assert again.returncode == 2
    assert "--resume" in again.stderr
    assert cli(*words, "--resume").returncode == 0
    assert (movie.stat().st_ino, movie.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_live__lands_in_its_own_time_with_what_may_happen_on_the_way(
    cli: Cli, models: list[str | Path], tmp_path: Path
) -> None:
    landing = ["--set", "landing.rates={missing_side_car=1.0}"]
    live = [
        "--live",
        "--rate",
        "500",
        "--speed",
        "50",
        "--ahead",
        "3",
        "--out",
        "out",
        "--truth",
        "truth",
        "--json",
        "--quiet",
    ]
    done = cli(*models, "--movies", "3", *landing, *live)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["finished"]
    assert said["n_made"] == 3
    assert not list((tmp_path / "out").rglob("Data/*.xml"))
    faults = json.loads((tmp_path / "truth" / "faults.json").read_text())
    assert {one["kind"] for one in faults["landing"]} == {"missing_side_car"}


def test_a_live_session_that_is_stopped__says_so_and_is_finished_at_once(
    cli: Cli, models: list[str | Path], tmp_path: Path
) -> None:
    words = [*models, "--movies", "3", "--layout", "flat", "--out", "out", "--truth", "truth"]
    live = started(tmp_path, *words, "--live", "--rate", "60")
    until = time.monotonic() + 60.0
    while not list((tmp_path / "out").glob("*.tiff")) and time.monotonic() < until:
        time.sleep(0.1)
    live.send_signal(signal.SIGINT)
    _, said = live.communicate(timeout=60)
    assert live.returncode == 130, said
    assert "1 of 3 movies have landed" in said
    assert "--resume" in said
    other = cli(*words, "--resume", "--live", "--rate", "500")
    assert other.returncode == 2
    assert "was begun with --rate 60" in other.stderr
    done = cli(*words, "--resume", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["n_landed"] == 3
    assert len(list((tmp_path / "out").rglob("*.tiff"))) >= 3
    assert (tmp_path / "truth" / "particles.star").is_file()


def test_ctrl_c__says_how_to_go_on(models: list[str | Path], tmp_path: Path) -> None:
    slow = ["--movies", "90", "--set", "simulate.params.wait_s=1.0", "--out", "out", "--truth", "truth", "--quiet"]
    running = started(tmp_path, *models, *slow)
    until = time.monotonic() + 60.0
    while not list((tmp_path / "truth").glob("exposures/*")) and time.monotonic() < until:
        time.sleep(0.1)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 130, said
    assert "the same command with --resume goes on" in said
    assert "Traceback" not in said


def test_a_session_that_landed_at_once__does_not_become_live(
    cli: Cli, models: list[str | Path], tmp_path: Path
) -> None:
    words = [*models, "--movies", "1", "--out", "out", "--truth", "truth", "--quiet"]
    assert cli(*words).returncode == 0
    done = cli(*words, "--resume", "--live")
    assert done.returncode == 2
    assert "was begun without --live" in done.stderr


def test_score__refuses_what_is_no_truth_and_what_says_nothing(
    cli: Cli, models: list[str | Path], tmp_path: Path
) -> None:
    assert "no truth folder" in cli("score", "out", "--truth", "out").stderr
    assert cli(*models, "--movies", "1", "--out", "out", "--truth", "truth", "--quiet").returncode == 0
    (tmp_path / "notes.txt").touch()
    assert "says nothing of exposures" in cli("score", "notes.txt", "--truth", "truth").stderr
    other = cli("score", "nothing_here", "--truth", "truth")
    assert other.returncode == 2
    assert "Traceback" not in other.stderr


PICKERS = """
import numpy as np

from cryoframe import CtfFit, Micrograph, Movie, hookimpl
from dataclasses import dataclass


@dataclass(frozen=True)
class Params:
    beyond_A: float = 0.0  # added to the defocus


@hookimpl
def estimate_ctf(micrograph: Micrograph, params: Params) -> CtfFit:
    return CtfFit("", 10000.0 + params.beyond_A, 10000.0 + params.beyond_A, 0.0)
"""


def test_compare__pairs_errors_to_the_truth(cli: Cli, models: list[str | Path], tmp_path: Path) -> None:
    assert (
        cli(*models, "--movies", "2", "--layout", "flat", "--out", "out", "--truth", "truth", "--quiet").returncode == 0
    )

    for number in (1, 2):  # what motion correction would call them
        image = np.random.default_rng(number).standard_normal((64, 96)).astype(np.float32)
        mrc.write(tmp_path / f"session_{number:05d}.mrc", image, pixel_size_A=4.0)
    for name in ("near", "far"):
        (tmp_path / f"{name}.py").write_text(PICKERS, encoding="utf-8")
    words = ["compare", "estimate_ctf", "near", "far", "--on", "session_00001.mrc", "session_00002.mrc"]
    plugins = ["--plugin-file", "near.py", "--plugin-file", "far.py", "--set", "far:beyond_A=70000.0"]
    done = cli(*words, *plugins, "--truth", "truth", "--json")
    assert done.returncode == 0, done.stderr
    rows = {row["quantity"]: row for row in json.loads(done.stdout)["to_truth"]}
    assert rows["defocus_error_A"]["n"] == 2
    assert rows["defocus_error_A"]["mean_b"] > rows["defocus_error_A"]["mean_a"] + 4e4
    assert rows["astigmatism_error_A"]["b_minus_a"] == 0
    strangers = cli("compare", "estimate_ctf", "near", "far", "--on", "thing.mrc", *plugins, "--truth", "truth")
    assert strangers.returncode == 2
