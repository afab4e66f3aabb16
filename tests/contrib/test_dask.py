"""Attempts on a Dask cluster: the same products as on one machine, whatever becomes of nodes and schedulers."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from dask_world import DaskWorld, Fleet, fleet, wait_for
from run_world import World, alive, digests, names

from cryoframe.errors import EnvironmentFault
from cryoframe.execution.run import Run

pytestmark = pytest.mark.skipif(
    find_spec("distributed") is None, reason="distributed is not installed: cryoframe[dask]"
)
STAGES = ("ctf", "pick", "box")
#: What a plugin does, and what is said of it: on a node as on one machine.
MISDEEDS = (
    ("time.sleep(60)", "longer than its limit of 3 s"),
    ("hoard = [np.ones(2**22) for _ in range(1000)]", "emory"),  # the limit, or MemoryError before it is looked at
    ("os._exit(3)", "exit status 3"),
)


@pytest.fixture(scope="module")
def ships(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with fleet(tmp_path_factory.mktemp("fleet"), n_workers=2) as made:
        yield made


def world(folder: Path, ships: Fleet, **given: object) -> DaskWorld:
    settings = f'cluster = "{ships.file}"\nvisible_s = 30.0\nlost_s = 20.0\nconnect_s = 30.0'
    return DaskWorld(folder, settings=settings, **given)  # type: ignore[arg-type]


def started(folder: Path) -> list[Path]:
    return sorted(folder.glob("started.*"))


def step_until_started(run: Run) -> None:
    until_s = time.monotonic() + 60
    while not started(run.folder.parent):
        assert run.runner().step(0.1), [task.message for task in run.state.tasks()]
        assert time.monotonic() < until_s, [task.message for task in run.state.tasks()]


def test_a_cluster__gives_the_products_of_one_machine_and_says_which_node_made_them(
    tmp_path: Path, ships: Fleet
) -> None:
    far = world(tmp_path / "far", ships, stages=STAGES, products="shared", n_micrographs=2)
    with far.open() as run:
        assert run.execute() == {stage: {"done": 2} for stage in STAGES}
        found, events = digests(run), names(run)
        task = run.state.tasks("ctf", "done")[0]
        assert "tcp://" in run.store.job("ctf", task.key)["node"]
        assert run.state.metrics("ctf", task.item_id)["mean"]
    with World(tmp_path / "near", stages=STAGES, n_micrographs=2).open() as run:
        run.execute()
        assert digests(run) == found
    assert "StageFailed" not in events
    assert (far.folder / "out" / "stages").resolve() == far.folder / "shared" / "stages"
    assert not (far.folder / "shared" / "state.sqlite").exists()
    assert not [*(far.folder / "shared/scratch").iterdir(), *(far.folder / "shared/elsewhere").iterdir()]


def test_what_a_plugin_does_to_itself__ends_there_as_on_one_machine(tmp_path: Path, ships: Fleet) -> None:
    lines = ["at = int(micrograph.micrograph_id[1:-4])"]
    lines += [f"if at == {at}: {statement}" for at, (statement, _) in enumerate(MISDEEDS)]
    limits = {"ctf": "attempts = 1\ntimeout_s = 3.0\nmemory_MB = 300"}
    body = {"ctf": "\n    ".join(lines)}
    with world(tmp_path, ships, stages=("ctf",), body=body, extra=limits, n_micrographs=4).open() as run:
        assert run.execute() == {"ctf": {"done": 1, "given_up": 3}}
        said = {task.item_id: task.message for task in run.state.tasks("ctf", "given_up")}
    assert not {at: said[f"m{at}.mrc"] for at, (_, why) in enumerate(MISDEEDS) if why not in said[f"m{at}.mrc"]}


def test_an_attempt_in_hand_when_the_run_is_closed__leaves_no_process(tmp_path: Path, ships: Fleet) -> None:
    note = f"Path('{tmp_path}/started.' + str(os.getpid())).touch(); time.sleep(60)"
    with world(tmp_path, ships, stages=("ctf",), body={"ctf": note}, n_micrographs=1).open() as run:
        run.runner()
        run.admit_inputs()
        step_until_started(run)
        pid = int(started(tmp_path)[0].suffix[1:])
        assert alive(pid)
    wait_for(lambda: not alive(pid), 20)


def test_a_killed_worker__costs_no_attempt_and_its_work_is_done_elsewhere(tmp_path: Path, ships: Fleet) -> None:
    note = f"first = not list(Path('{tmp_path}').glob('started.*'))"
    note += f"; Path('{tmp_path}/started.' + str(os.getppid()) + '.' + str(os.getpid())).touch()"
    body = {"ctf": f"{note}; time.sleep(60 if first else 0)"}
    ships.add()
    with world(tmp_path, ships, stages=("ctf",), body=body, n_micrographs=1).open() as run:
        runner = run.runner()
        run.admit_inputs()
        step_until_started(run)
        time.sleep(0.5)
        victims = [worker for worker in ships.workers if worker.poll() is None and _is_at_work(worker.pid)]
        assert len(victims) == 1
        victims[0].send_signal(signal.SIGKILL)
        runner.run_until_idle()
        failed = [event for event in run.journal.replay() if type(event).__name__ == "StageFailed"]
        assert run.state.task_counts() == {"ctf": {"done": 1}}
        assert run.state.tasks()[0].attempts == 1
    assert {event.error_class for event in failed} == {"environment"}  # type: ignore[attr-defined]
    assert "begun on" in failed[0].message  # type: ignore[attr-defined]
    assert "lost" in failed[0].message  # type: ignore[attr-defined]
    assert len(started(tmp_path)) == 2


def _is_at_work(pid: int) -> bool:
    """Whether a worker has an attempt: a helper of a helper of it has a child."""
    family, at_work = [(pid, 0)], False
    for member, depth in family:
        kept = Path(f"/proc/{member}/task/{member}/children").read_text().split() if alive(member) else []
        tasks = Path(f"/proc/{member}/task").glob("*/children") if alive(member) else []
        children = {int(child) for task in tasks for child in task.read_text().split()} | {int(one) for one in kept}
        family += [(child, depth + 1) for child in children]
        at_work |= depth >= 3
    return at_work


DRIVER = """
import sys
from pathlib import Path
sys.path[:0] = {path!r}
from dask_world import DaskWorld
made = DaskWorld(Path({folder!r}), stages=("ctf",), body={body!r}, n_micrographs=2, settings={settings!r})
with made.open() as run:
    run.execute()
"""


def test_work_that_ends_while_the_daemon_is_dead__is_taken_up_and_not_done_again(tmp_path: Path, ships: Fleet) -> None:
    mark = f"Path('{tmp_path}/started.' + str(os.getpid())).touch()"
    body = {"ctf": f"{mark}; time.sleep(0 if Path('{tmp_path}/go').exists() else 3)"}
    made = world(tmp_path, ships, stages=("ctf",), body=body, n_micrographs=2)
    text = DRIVER.format(path=sys.path[:], folder=str(tmp_path), body=body, settings=made.settings)
    daemon = subprocess.Popen([sys.executable, "-c", text])
    wait_for(lambda: len(started(tmp_path)) == 2, 60)
    daemon.send_signal(signal.SIGKILL)
    daemon.wait()
    wait_for(lambda: len(list(tmp_path.glob("out/elsewhere/*/landed.json"))) == 2, 30)
    with made.open() as run:
        assert run.execute() == {"ctf": {"done": 2}}
        assert {task.attempts for task in run.state.tasks()} == {1}
    assert len(started(tmp_path)) == 2
    assert not [*tmp_path.glob("out/scratch/*"), *tmp_path.glob("out/elsewhere/*")]


def test_a_lost_scheduler__costs_no_attempt_when_another_takes_its_place(tmp_path: Path) -> None:
    first, second = Fleet(tmp_path / "fleet"), Fleet(tmp_path / "fleet")
    mark = f"Path('{tmp_path}/started.' + str(os.getpid())).touch()"
    body = {"ctf": f"{mark}; time.sleep(0 if Path('{tmp_path}/go').exists() else 60)"}
    try:
        first.start()
        with world(tmp_path, first, stages=("ctf",), body=body, n_micrographs=1).open(backoff_s=0.5) as run:
            runner = run.runner()
            run.admit_inputs()
            step_until_started(run)
            (tmp_path / "go").touch()
            first.close()
            first.file.unlink(missing_ok=True)
            second.start()
            wait_for(second.file.exists, 30)
            runner.run_until_idle()
            assert run.state.task_counts() == {"ctf": {"done": 1}}
            assert run.state.tasks()[0].attempts == 1
    finally:
        first.close()
        second.close()


def test_a_scheduler_that_is_not_there__is_said_in_words(tmp_path: Path) -> None:
    settings = 'cluster = "tcp://127.0.0.1:9"\nconnect_s = 0.5'
    with (
        DaskWorld(tmp_path, settings=settings).open() as run,
        pytest.raises(EnvironmentFault, match=r"tcp://127.0.0.1:9 does not answer"),
    ):
        run.execute()
