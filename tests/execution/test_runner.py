"""Who is to blame decides what is tried again; what cannot be mended is set aside with its reason, until asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
from run_world import World, digests, names

from cryoframe.errors import ContractError
from cryoframe.execution.attempts import require_whole
from cryoframe.execution.executor import Job
from cryoframe.records.events import StageQueued, StageStarted

pytestmark = pytest.mark.usefixtures("no_discovery")


def _failing(folder: Path, statement: str, n_times: int = 10**6) -> dict[str, str]:
    """Make `ctf` do something on its first attempts at m1, as many as asked for."""
    count = f"p = Path({str(folder / 'count')!r}); n = int(p.read_text()) if p.exists() else 0"
    return {
        "ctf": f"{count}\n    if micrograph.micrograph_id == 'm1.mrc' and n < {n_times}:"
        f"\n        p.write_text(str(n + 1)); {statement}"
    }


@pytest.mark.parametrize(
    ("statement", "n_attempts", "kind"),
    [
        ("raise Corrupt('bad strip')", 2, "file"),
        ("raise ValueError('index')", 3, "bug"),
        ("raise OSError(28, 'no space')", 8, "environment"),
        ("raise EnvironmentFault('licence server')", 8, "environment"),
        ("raise ConfigError('needs a mask')", 1, "bug"),
    ],
)
def test_the_number_of_attempts__follows_who_is_to_blame(
    tmp_path: Path, statement: str, n_attempts: int, kind: str
) -> None:
    with World(tmp_path, body=_failing(tmp_path, statement)).open() as run:
        counts = run.execute()
        failed = [event for event in run.journal.replay() if type(event).__name__ == "StageFailed"]
        (task,) = run.state.tasks(status="given_up")
    assert counts == {"ctf": {"done": 2, "given_up": 1}, "pick": {"done": 2}}
    assert [event.error_class for event in failed] == [kind] * n_attempts  # type: ignore[attr-defined]
    assert int((tmp_path / "count").read_text()) == n_attempts
    assert task.message.startswith(f"{kind}, after {n_attempts} attempts")


@pytest.mark.parametrize(("statement", "n_times"), [("raise ValueError('x')", 2), ("raise OSError(5, 'disk')", 7)])
def test_trouble_that_passes__costs_nothing_but_time(tmp_path: Path, statement: str, n_times: int) -> None:
    with World(tmp_path, body=_failing(tmp_path, statement, n_times)).open() as run:
        assert run.execute() == {"ctf": {"done": 3}, "pick": {"done": 3}}
        assert "StageGivenUp" not in names(run)


def test_trouble_of_the_environment__is_waited_out_in_a_live_session(tmp_path: Path) -> None:
    with World(tmp_path, body=_failing(tmp_path, "raise OSError(5, 'disk')", 12)).open(backoff_s=1e-5) as run:
        runner = run.runner(live=True)
        run.admit_inputs()
        while runner.step(0.05):
            pass
        assert run.state.task_counts() == {"ctf": {"done": 3}, "pick": {"done": 3}}


def test_a_configured_number_of_attempts__is_kept(tmp_path: Path) -> None:
    world = World(tmp_path, body=_failing(tmp_path, "raise ValueError('x')"), extra={"ctf": "attempts = 5"})
    world.execute()
    assert int((tmp_path / "count").read_text()) == 5


def test_what_was_given_up__stays_so_until_it_is_retried(tmp_path: Path) -> None:
    world = World(tmp_path, body=_failing(tmp_path, "raise ValueError('x')", 4))
    with world.open() as run:
        run.execute()
    with world.open() as run:
        assert run.execute() == {"ctf": {"done": 2, "given_up": 1}, "pick": {"done": 2}}
        assert int((tmp_path / "count").read_text()) == 3
        assert run.retry("ctf", "m0.mrc") == 0
        assert run.retry("ctf", "m1.mrc") == 1
        run.runner().run_until_idle()
        assert run.state.task_counts() == {"ctf": {"done": 3}, "pick": {"done": 3}}


def test_a_retry_before_the_run_is_prepared__is_found_when_it_is(tmp_path: Path) -> None:
    world = World(tmp_path, body=_failing(tmp_path, "raise ValueError('x')", 3))
    world.execute()
    with world.open() as run:
        assert run.retry() == 1
    assert world.execute() == {"ctf": {"done": 3}, "pick": {"done": 3}}


def test_an_item_that_was_given_up__is_left_out_of_the_set_and_that_is_said(tmp_path: Path) -> None:
    stages = ("ctf", "pick", "box", "classes")
    with World(tmp_path, stages=stages, body=_failing(tmp_path, "raise Corrupt('x')")).open() as run:
        assert run.execute()["classes"] == {"done": 1}
        (task,) = run.state.tasks("classes")
        assert run.store.job("classes", task.key)["left_out"] == ["m1.mrc"]
        assert run.state.metrics("classes", "set")["items_left_out"][0] == 1


def test_when_the_item_is_mended__the_set_is_done_again_with_it(tmp_path: Path) -> None:
    stages = ("ctf", "pick", "box", "classes")
    world = World(tmp_path, stages=stages, body=_failing(tmp_path, "raise Corrupt('x')", 2))
    world.execute()
    with world.open() as run:
        run.retry()
        run.execute()
        (task,) = run.state.tasks("classes")
        assert run.store.job("classes", task.key)["left_out"] == []


def test_a_traceback_and_the_log__are_kept_of_every_failure(tmp_path: Path) -> None:
    with World(tmp_path, body=_failing(tmp_path, "raise ValueError('odd')")).open() as run:
        run.execute()
        failed = [event for event in run.journal.replay() if type(event).__name__ == "StageFailed"]
        texts = [(run.folder / event.traceback_file).read_text(encoding="utf-8") for event in failed]  # type: ignore[attr-defined]
    assert len(texts) == 3
    assert all("ValueError: odd" in text and "fitting m1.mrc" in text for text in texts)
    assert not list((tmp_path / "out" / "scratch").iterdir())


def test_events_of_a_task__name_the_one_before_as_their_cause(tmp_path: Path) -> None:
    with World(tmp_path, n_micrographs=1, stages=("ctf",)).open() as run:
        run.execute()
        story = [
            event for event in run.journal.replay() if getattr(event, "stage_id", "") and hasattr(event, "item_id")
        ]
    chain = [type(event).__name__ for event in story]
    assert chain == ["StageQueued", "StageStarted", "MetricReported", "ProductDescribed", "StageFinished"]
    assert [event.cause for event in story[1:]] == [event.event_id for event in story[:-1]]


def test_a_file_of_a_product_that_vanished__is_noticed_before_it_is_committed(tmp_path: Path) -> None:
    world = World(tmp_path, n_micrographs=1, stages=("ctf",), extra={"ctf": "attempts = 1"}, executor="processes")
    hide = "import threading; d = ctx.workdir.parent / 'product'; threading.Thread(target=lambda: [time.sleep(0.001) or"
    world.body["ctf"] = (
        f"{hide} (d / 'product.json').unlink(missing_ok=True) for _ in range(10**6)], daemon=True).start(); "
        "time.sleep(0.01)"
    )
    with world.open() as run:
        counts = run.execute()["ctf"]
        assert counts in ({"given_up": 1}, {"done": 1})
        for task in run.state.tasks("ctf", "done"):
            assert not run.store.verify("ctf")
            assert run.store.load("ctf", task.key)


def test_a_nearly_full_disk__pauses_the_run_and_room_resumes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil
    from collections import namedtuple

    usage = namedtuple("usage", "total used free")
    free = [10 << 20]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1 << 40, 0, free[0]))
    with World(tmp_path).open() as run:
        runner = run.runner()
        run.admit_inputs()
        for _ in range(3):
            assert runner.step(0.01)
        assert "RunPaused" in names(run)
        assert "StageStarted" not in names(run)
        free[0] = 1 << 40
        runner.run_until_idle()
        assert names(run).count("RunPaused") == names(run).count("RunResumed") == 1
        assert run.state.task_counts()["pick"] == {"done": 3}


def test_an_attempt_cut_short_by_the_end_of_the_runner__does_not_count(tmp_path: Path) -> None:
    world = World(tmp_path, n_micrographs=1, stages=("ctf",), body={"ctf": "raise ValueError('odd')"})
    with world.open() as run:
        run.admit_inputs()
        run.runner().look()
        key = next(event.key for event in run.journal.replay() if isinstance(event, StageQueued))
        run.bus.publish(StageStarted, stage_id="ctf", item_id="m0.mrc", key=key, attempt=1, worker="w", device="cpu")
    with world.open() as run:
        run.execute()
        assert names(run).count("StageFailed") == 3, "as many as if it had never begun"


def test_a_product_that_is_not_as_its_attempt_left_it__is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12")
    require_whole(tmp_path, {"a": 2})
    for files in ({"a": 3}, {"a": 2, "b": 1}):
        with pytest.raises(ContractError, match="missing or changed"):
            require_whole(tmp_path, files)


def test_another_seed__is_another_result_and_not_the_one_there(tmp_path: Path) -> None:
    found = []
    for seed in (7, 8, 7):
        with World(tmp_path, n_micrographs=1, stages=("ctf",), seed=seed).open() as run:
            run.execute()
            found.append(digests(run))
    assert found[0] == found[2] != found[1]


def test_a_disk_too_full_for_an_order__is_trouble_of_the_machine_and_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with World(tmp_path, n_micrographs=1, stages=("ctf",)).open() as run:
        executor = run.runner().executor
        real, refusals = executor.submit, iter([OSError(28, "No space left on device")])

        def submit(job: Job) -> str:
            for error in refusals:
                raise error
            return real(job)

        monkeypatch.setattr(executor, "submit", submit)
        assert run.execute() == {"ctf": {"done": 1}}
        failed = [event for event in run.journal.replay() if type(event).__name__ == "StageFailed"]
    assert [event.error_class for event in failed] == ["environment"]  # type: ignore[attr-defined]
