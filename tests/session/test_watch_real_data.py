"""Real micrographs land one after another, the daemon is killed half-way: nothing is lost, nothing is done twice."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from cryoframe.data.images import CtfFit, ParticleStack
from cryoframe.errors import StoreError
from cryoframe.execution.run import Run
from cryoframe.records.database import Database
from cryoframe.records.events import Event, ItemAdmitted, RunOpened, StageFailed, StageFinished
from cryoframe.records.state import State

CONFIG = """\
[run]
name = "session"
folder = "run"
device = "cpu"
workers = 2

[optics]
voltage_kV = 300.0
cs_mm = 2.7
amplitude_contrast_frac = 0.1

[[micrographs]]
files = "land/*.mrc"

[[micrographs]]
files = "land/*.png"
pixel_size_A = 1.5

[watch]
folder = "land"
settle_s = 1.0
poll_s = 0.5

[[stage]]
id = "ctf"
run = "estimate_ctf"
use = "spectrum"
threads = 1

[[stage]]
id = "pick"
run = "pick_particles"
use = "blob"
threads = 1
params = { diameter_A = 130.0 }

[[stage]]
id = "extract"
run = "extract_particles"
use = "box"
threads = 1
params = { box_px = 160, out_box_px = 64 }
"""
STAGES = ("ctf", "pick", "extract")
COMMAND = "import sys; from cryoframe.cli.main import entry; sys.argv = ['cryoframe', *sys.argv[1:]]; sys.exit(entry())"


def copy_code(repository: Path, folder: Path) -> None:
    """Copy the packages: an edit during the session is another plugin to it, whose products are rightly made anew."""
    ignored = shutil.ignore_patterns("__pycache__", "demo_data")
    shutil.copytree(repository / "cryoframe", folder / "code" / "cryoframe", ignore=ignored)
    for package in (repository / "plugins").iterdir():
        shutil.copytree(package, folder / "code" / package.name, ignore=ignored)


def start(folder: Path, *flags: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", COMMAND, "watch", str(folder / "run.toml"), "--quiet", *flags]
    environment = {**os.environ, "PYTHONPATH": str(folder / "code"), "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment, cwd=folder, stdout=subprocess.DEVNULL)


def copy_slowly(source: Path, target: Path) -> None:
    """Write as a camera computer over a slow line does: the final name at once, the bytes bit by bit."""
    content = source.read_bytes()
    piece = len(content) // 8 + 1
    with target.open("wb") as file:
        for begin in range(0, len(content), piece):
            file.write(content[begin : begin + piece])
            file.flush()
            time.sleep(0.15)


def land_all(sources: list[Path], land: Path) -> None:
    for source in sources:
        if source.suffix == ".mrc":  # as rsync does
            shutil.copyfile(source, land / f".{source.name}.Ab12Cd")
            (land / f".{source.name}.Ab12Cd").rename(land / source.name)
        else:
            copy_slowly(source, land / source.name)
        time.sleep(0.3)


def n_done(folder: Path) -> int:
    if not (folder / "run" / "state.sqlite").exists():
        return 0
    database = Database.open(folder / "run" / "state.sqlite", read_only=True)
    try:
        counts = State(database).task_counts()
    except StoreError:
        return 0  # its tables are being made
    finally:
        database.close()
    return sum(by_status.get("done", 0) for by_status in counts.values())


@pytest.fixture(scope="module")
def sources(shared_data: Path) -> list[Path]:
    pictures = sorted((shared_data / "micrographs" / "apoferritin_EMPIAR-10146").glob("*.png"))
    assert len(pictures) == 6
    return [*pictures[:2], shared_data / "micrographs" / "epu" / "fei-extended.mrc", *pictures[2:]]


@pytest.fixture(scope="module")
def killed_and_restarted(
    sources: list[Path], repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Run]:
    folder = tmp_path_factory.mktemp("session")
    copy_code(repository, folder)
    land = folder / "land"
    land.mkdir()
    (folder / "run.toml").write_text(CONFIG)
    lander = threading.Thread(target=land_all, args=(sources, land))
    first = start(folder)
    try:
        lander.start()
        end_s = time.monotonic() + 240
        while n_done(folder) < 5:
            assert first.poll() is None, "the daemon ended by itself"
            assert time.monotonic() < end_s
            time.sleep(0.1)
    finally:
        first.kill()
        first.wait()
    assert n_done(folder) < len(STAGES) * len(sources), "the kill came too late to show anything"
    second = start(folder, "--until-idle", "6")
    lander.join()
    assert second.wait(400) == 0
    with Run.open(folder / "run.toml") as run:
        yield run


def ctf_tasks(events: list[Event]) -> list[StageFinished]:
    return [event for event in events if isinstance(event, StageFinished) and event.stage_id == "ctf"]


@pytest.mark.slow
def test_every_micrograph__went_through_every_stage_exactly_once(
    killed_and_restarted: Run, sources: list[Path]
) -> None:
    events = list(killed_and_restarted.journal.replay())
    assert sum(isinstance(event, RunOpened) for event in events) == 3
    admitted = Counter(event.item_id for event in events if isinstance(event, ItemAdmitted))
    assert admitted == {source.name: 1 for source in sources}
    versions = {
        killed_and_restarted.store.job("ctf", task.key)["plugin"]["source_digest"] for task in ctf_tasks(events)
    }
    assert len(versions) == 1, "the code was edited while the session ran"
    finished = Counter((event.stage_id, event.item_id) for event in events if isinstance(event, StageFinished))
    assert finished == {(stage, source.name): 1 for stage in STAGES for source in sources}
    assert not [event for event in events if isinstance(event, StageFailed)]
    assert killed_and_restarted.state.task_counts() == {stage: {"done": len(sources)} for stage in sorted(STAGES)}


@pytest.mark.slow
def test_the_store__holds_every_product_once_and_undamaged(killed_and_restarted: Run, sources: list[Path]) -> None:
    run = killed_and_restarted
    assert run.store.verify() == []
    assert {stage: len(list((run.folder / "stages" / stage).iterdir())) for stage in STAGES} == dict.fromkeys(STAGES, 7)
    assert list((run.folder / "scratch").iterdir()) == []
    for task in run.state.tasks("extract"):
        stack = run.store.load("extract", task.key)
        assert isinstance(stack, ParticleStack)
        assert len(stack.particles) == len(stack.images) > 0


@pytest.mark.slow
def test_the_epu_micrograph__has_the_defocus_of_the_reference_fit(killed_and_restarted: Run) -> None:
    task = killed_and_restarted.state.task("ctf", "fei-extended.mrc")
    assert task is not None
    fit = killed_and_restarted.store.load("ctf", task.key)
    assert isinstance(fit, CtfFit)
    assert abs((fit.defocus_u_A + fit.defocus_v_A) / 2 - (10541 + 10480) / 2) < 150


@pytest.mark.slow
def test_the_watched_files__are_byte_for_byte_what_landed(killed_and_restarted: Run, sources: list[Path]) -> None:
    land = killed_and_restarted.folder.parent / "land"
    assert sorted(path.name for path in land.iterdir()) == sorted(source.name for source in sources)
    for source in sources:
        digests = {hashlib.blake2b(path.read_bytes()).digest() for path in (source, land / source.name)}
        assert len(digests) == 1
