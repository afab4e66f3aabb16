"""What a misbehaving plugin can do to others in a process of its own: nothing."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest
from run_world import World, alive, processes_with

from cryoframe.execution.executor import Job

pytestmark = pytest.mark.usefixtures("no_discovery")
#: So long is waited for what must come, on a machine that many share.
PATIENCE_S = 240.0
#: What a plugin does, and what is said of it.
MISDEEDS = (
    ("time.sleep(3600)", "longer than its limit of"),
    ("signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(3600)", "longer than its limit of"),
    ("ctypes.CDLL(None).pause()", "longer than its limit of"),
    ("os._exit(0)", "ended without a result"),
    ("os._exit(3)", "exit status 3"),
    ("os.kill(os.getpid(), signal.SIGSEGV)", "signal 11"),
    ("ctypes.string_at(0)", "signal 11"),
    ("ctypes.CDLL(None).abort()", "signal 6"),
    ("sys.exit(0)", "systemexit"),
    ("raise KeyboardInterrupt", "keyboardinterrupt"),
    ("raise BaseExceptionGroup('both', [SystemExit(1), ValueError('x')])", "both"),
    ("hoard = [np.ones(2**22) for _ in range(1000)]", "memory"),
    ("hoard = np.ones(2**34)", "memoryerror"),
    ("return 'a fit'", "returned a str"),
    ("return None", "returned nothing"),
    ("return CtfFit('m', float('nan'), 1.0, 1.0)", "finite"),
    ("return CtfFit('m', 1.0, 1.0, 1.0, profile=np.ones((3, 4)))", "float32"),
    ("return CtfFit('m', 1.0, 1.0, 1.0, profile=np.full((3, 4), np.inf, np.float32))", "finite"),
)


def test_a_plugin_that_fails_on_some_items__harms_those_alone(tmp_path: Path) -> None:
    lines = ["at = int(micrograph.micrograph_id[1:-4])"]
    lines += [f"if at == {at}: {statement}" for at, (statement, _) in enumerate(MISDEEDS)]
    n = len(MISDEEDS)
    limit_s = _patience_for_one(tmp_path / "one")
    limits = {"ctf": f"attempts = 1\ntimeout_s = {limit_s:.1f}\nmemory_MB = 300"}
    body = {"ctf": "\n    ".join(lines)}
    world = World(tmp_path, executor="processes", body=body, extra=limits, n_micrographs=n + 5, workers=4)
    with world.open() as run:
        counts = run.execute()
        said = {task.item_id: task for task in run.state.tasks("ctf", "given_up")}
        longest = max(event.seconds for event in run.journal.replay() if type(event).__name__ == "StageFinished")  # type: ignore[attr-defined]
    wrong = {
        text: said[f"m{at}.mrc"].message
        for at, (text, why) in enumerate(MISDEEDS)
        if why not in said[f"m{at}.mrc"].message.lower()
    }
    assert not wrong
    assert counts == {"ctf": {"done": 5, "given_up": n}, "pick": {"done": 5}}
    assert {task.attempts for task in said.values()} == {1}
    assert longest < limit_s


def _patience_for_one(folder: Path) -> float:
    """Return a limit that only an attempt that hangs can reach, on this machine as it is used now."""
    folder.mkdir()
    with World(folder, executor="processes", stages=("ctf",), n_micrographs=2, workers=1).open() as run:
        run.execute()
        seconds = [event.seconds for event in run.journal.replay() if type(event).__name__ == "StageFinished"]  # type: ignore[attr-defined]
    return max(5.0, 20.0 * max(seconds))


def test_what_a_plugin_prints__goes_to_its_log_from_python_and_from_c(tmp_path: Path) -> None:
    body = {"ctf": "os.write(1, b'by descriptor\\n'); print('to stderr', file=sys.stderr); ctx.log('by context')"}
    world = World(tmp_path, executor="processes", body=body, n_micrographs=1)
    with world.open() as run:
        run.execute()
        log = (run.store.path("ctf", run.state.tasks("ctf")[0].key) / "log.txt").read_text(encoding="utf-8")
    for text in ("fitting m0.mrc", "by descriptor", "to stderr", "by context"):
        assert text in log


def test_a_plugin_that_floods_its_log__is_not_blocked_and_the_log_stays_small(tmp_path: Path) -> None:
    body = {"ctf": "[os.write(1, b'x' * 2**20) for _ in range(200)]; time.sleep(0.3)"}
    world = World(tmp_path, executor="processes", body=body, n_micrographs=1)
    with world.open() as run:
        assert run.execute()["ctf"] == {"done": 1}
        log = run.store.path("ctf", run.state.tasks("ctf")[0].key) / "log.txt"
        assert log.stat().st_size < 80 * 2**20


def test_stdin__is_closed(tmp_path: Path) -> None:
    world = World(tmp_path, executor="processes", body={"ctf": "assert sys.stdin.read() == ''"}, n_micrographs=1)
    assert world.execute()["ctf"] == {"done": 1}


def test_every_attempt__has_a_session_of_its_own(tmp_path: Path) -> None:
    world = World(tmp_path, executor="processes", body={"ctf": "assert os.getsid(0) == os.getpid()"}, n_micrographs=1)
    assert world.execute()["ctf"] == {"done": 1}


@pytest.mark.parametrize("detach", ["", "start_new_session=True"])
def test_children_a_plugin_leaves_behind__end_with_its_attempt(tmp_path: Path, detach: str) -> None:
    start = f"p = subprocess.Popen(['sleep', '100'], {detach})"
    body = {"ctf": f"{start}; Path({str(tmp_path / 'pid')!r}).write_text(str(p.pid))"}
    world = World(tmp_path, executor="processes", body=body, n_micrographs=1)
    assert world.execute()["ctf"] == {"done": 1}
    assert not alive(int((tmp_path / "pid").read_text()))


def test_no_process__is_left_when_the_run_is_closed_in_mid_attempt(tmp_path: Path) -> None:
    body = {
        "ctf": f"Path({str(tmp_path)!r}, 'pid' + micrograph.micrograph_id).write_text(str(os.getpid())); time.sleep(50)"
    }
    world = World(tmp_path, executor="processes", body=body, n_micrographs=2)
    with world.open() as run:
        runner = run.runner()
        run.admit_inputs()
        _step_until(runner, lambda: len(list(tmp_path.glob("pid*"))) == 2)
    assert not any(alive(int(path.read_text())) for path in tmp_path.glob("pid*"))


def test_when_the_runner_is_killed__every_helper_and_attempt_dies(tmp_path: Path) -> None:
    body = {"ctf": f"Path({str(tmp_path)!r}, 'pids').write_text(f'{{os.getpid()}} {{os.getppid()}}'); time.sleep(50)"}
    world = World(tmp_path, executor="processes", body=body, n_micrographs=1, workers=1)
    world.write()
    script = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); from pathlib import Path\n"
        f"from run_world import World\nw = World(Path({str(tmp_path)!r}), executor='processes', n_micrographs=1,"
        f" workers=1, body={body!r})\nw.execute()"
    )
    process = subprocess.Popen([sys.executable, "-c", script])
    try:
        # Two interpreters start, import and describe before there is an attempt: a minute and more where many share.
        _wait_until(lambda: (tmp_path / "pids").exists() and (tmp_path / "pids").read_text().count(" ") == 1)
        pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
        assert all(alive(pid) for pid in pids)
    finally:
        process.kill()
        process.wait()
    _wait_until(lambda: not any(alive(pid) for pid in pids))


@pytest.mark.parametrize("victim", ["runner", "helper"])
def test_what_an_attempt_detaches_while_its_runner_or_helper_is_killed__dies_too(tmp_path: Path, victim: str) -> None:
    mark = f"cryoframe-detached-{os.getpid()}-{tmp_path.name}"
    fork = f"subprocess.Popen(['setsid', '-f', 'sh', '-c', 'sleep 1000; : {mark}'])"
    note = f"Path({str(tmp_path)!r}, 'pid').write_text(f'{{os.getppid()}} ')"
    once = f"once = Path({str(tmp_path)!r}, 'once')\n    if once.exists(): return CtfFit('m', 1.0, 1.0, 1.0)"
    body = {
        "ctf": f"{once}\n    once.touch(); {fork}.wait(); {note}\n    for _ in range(200): {fork}\n    time.sleep(1000)"
    }
    script = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); from pathlib import Path\n"
        f"from run_world import World\nw = World(Path({str(tmp_path)!r}), executor='processes', n_micrographs=1,"
        f" workers=1, stages=('ctf',), body={body!r})\nw.write()\nw.execute()"
    )
    (tmp_path / "driver.py").write_text(script)
    process = subprocess.Popen([sys.executable, str(tmp_path / "driver.py")])
    try:
        _wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().endswith(" "))
        assert processes_with(mark)
        os.kill(process.pid if victim == "runner" else int((tmp_path / "pid").read_text()), 9)
        _wait_until(lambda: not processes_with(mark))
        if victim == "helper":
            assert process.wait() == 0, "the attempt was made again"
    finally:
        process.kill()
        process.wait()


def test_a_cancelled_attempt__may_end_in_good_order_and_is_due_again(tmp_path: Path) -> None:
    flag = tmp_path / "slow"
    body = {
        "ctf": f"[(time.sleep(0.02), ctx.report(i, 2000)) for i in range(2000 if Path({str(flag)!r}).exists() else 1)]"
    }
    world = World(tmp_path, executor="processes", body=body, n_micrographs=1)
    flag.touch()
    with world.open() as run:
        runner = run.runner()
        run.admit_inputs()
        _step_until(runner, lambda: bool(runner.running()))
        time.sleep(0.3)
        runner.cancel()
        flag.unlink()
        runner.run_until_idle()
        assert run.state.task_counts()["ctf"] == {"done": 1}
        failed = [event for event in run.journal.replay() if type(event).__name__ == "StageFailed"]
        assert [event.error_class for event in failed] == ["environment"]  # type: ignore[attr-defined]


def test_a_killed_helper__costs_no_attempt(tmp_path: Path) -> None:
    once = f"p = Path({str(tmp_path / 'once')!r})"
    body = {"ctf": f"{once}\n    if not p.exists(): p.touch(); os.kill(os.getppid(), 9); time.sleep(9)"}
    world = World(tmp_path, executor="processes", body=body, n_micrographs=1)
    with world.open() as run:
        assert run.execute()["ctf"] == {"done": 1}
        task = run.state.task("ctf", "m0.mrc")
        assert task is not None
        assert task.attempts == 1


def test_progress_and_metrics__reach_listeners_while_the_stage_runs(tmp_path: Path) -> None:
    from cryoframe.records.events import MetricReported, StageProgress

    heard: list[object] = []
    with World(tmp_path, executor="processes", n_micrographs=2).open() as run:
        run.bus.subscribe((StageProgress, MetricReported), heard.append)
        run.execute()
        assert sum(isinstance(event, StageProgress) for event in heard) == 2
        assert sum(isinstance(event, MetricReported) for event in heard) == 2
        assert abs(run.state.metrics("ctf", "m0.mrc")["mean"][0]) < 0.2


def test_the_runner__survives_a_job_it_cannot_start_a_process_for(tmp_path: Path) -> None:
    world = World(tmp_path, executor="processes", extra={"ctf": "python = '/nowhere/python'"}, n_micrographs=1)
    from cryoframe.errors import EnvironmentFault, PluginError

    with world.open() as run, pytest.raises((EnvironmentFault, PluginError), match="nowhere"):
        run.execute()


def test_a_job__is_the_same_after_it_was_written_and_read(tmp_path: Path) -> None:
    from cryoframe.execution.executor import InputRef, RawFile
    from cryoframe.kernel.discovery import Offer

    offer = Offer("estimate_ctf", "a", "b", "c", "1")
    raw = RawFile("i", "/p", {"pixel_size_A": 1.0, "optics": {"cs_mm": 2.7}})
    refs = (InputRef("m", "Micrograph", raw=(raw,)), InputRef("s", "ParticleStack", ("a", "b"), updates=(("f", "x"),)))
    job = Job("s", offer, "/tmp/x", params={"a": 1}, inputs=refs, services=(offer,))
    assert Job.from_json(job.to_json()) == job


def test_helpers__have_a_single_thread_when_they_fork(tmp_path: Path) -> None:
    body = {"ctf": "ctx.metric('threads', len(os.listdir(f'/proc/{os.getppid()}/task')))"}
    with World(tmp_path, executor="processes", body=body).open() as run:
        run.execute()
        assert {run.state.metrics("ctf", f"m{at}.mrc")["threads"][0] for at in range(3)} == {1.0}


@pytest.mark.bench
def test_overhead_of_a_process_for_each_item__is_printed(tmp_path: Path, record_property: object) -> None:
    world = World(tmp_path, stages=("ctf",), executor="processes", workers=1, n_micrographs=60)
    with world.open() as run:
        runner = run.runner()
        run.admit_inputs()
        start = time.perf_counter()
        runner.run_until_idle()
        wall_ms = 1e3 * (time.perf_counter() - start) / 60
        finished = [event for event in run.journal.replay() if type(event).__name__ == "StageFinished"]
    attempt_ms = 1e3 * statistics.median(event.seconds for event in finished)  # type: ignore[attr-defined]
    cpu_ms = 1e3 * statistics.median(event.cpu_s for event in finished)  # type: ignore[attr-defined]
    sys.stderr.write(f"\noverhead: {wall_ms:.1f} ms an item, of it process {attempt_ms:.1f} ms ({cpu_ms:.1f} ms CPU)\n")
    assert len(finished) == 60


def _step_until(runner: object, condition: object, timeout_s: float = PATIENCE_S) -> None:
    until = time.monotonic() + timeout_s
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < until
        runner.step(0.05)  # type: ignore[attr-defined]


def _wait_until(condition: object, timeout_s: float = PATIENCE_S) -> None:
    until = time.monotonic() + timeout_s
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < until
        time.sleep(0.02)


def test_a_file_that_takes_its_reader_down__is_rejected_and_the_others_go_on(tmp_path: Path) -> None:
    world = World(tmp_path, executor="processes")
    with world.open() as run:
        reader = tmp_path / "reader.py"
        crash = "    if path.name == 'm1.mrc': ctypes.string_at(0)\n    return Source(path)"
        reader.write_text(
            reader.read_text(encoding="utf-8").replace("    return Source(path)", crash), encoding="utf-8"
        )
        assert run.execute()["ctf"] == {"done": 2}
        (row,) = run.state.files("rejected")
        assert row.path == "m1.mrc"
        assert "signal 11" in row.reason


def test_what_a_plugin_imports_late__is_imported_for_the_attempts_that_follow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "late_library.py").write_text("import os\nPID = os.getpid()\n", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "lib"))
    body = {"ctf": "import late_library; ctx.metric('mine', float(late_library.PID == os.getpid())); time.sleep(0.1)"}
    with World(tmp_path, executor="processes", stages=("ctf",), body=body, n_micrographs=5, workers=1).open() as run:
        run.execute()
        mine = [run.state.metrics("ctf", f"m{at}.mrc")["mine"][0] for at in range(5)]
    assert mine[0] == 1.0
    assert mine[2:] == [0.0] * 3


def test_a_late_import_that_starts_a_thread__does_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lib").mkdir()
    thread = "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
    (tmp_path / "lib" / "late_library.py").write_text(thread, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "lib"))
    count = "ctx.metric('threads', len(os.listdir(f'/proc/{os.getppid()}/task')))"
    body = {"ctf": f"import late_library; {count}"}
    with World(tmp_path, executor="processes", stages=("ctf",), body=body, n_micrographs=6).open() as run:
        assert run.execute() == {"ctf": {"done": 6}}
        assert {run.state.metrics("ctf", f"m{at}.mrc")["threads"][0] for at in range(6)} == {1.0}
        assert "StageGivenUp" not in [type(event).__name__ for event in run.journal.replay()]


def test_a_plugin_that_reports_without_end__does_not_drown_the_run(tmp_path: Path) -> None:
    from cryoframe.records.events import StageProgress

    heard: list[StageProgress] = []
    body = {"ctf": "[ctx.report(i, 200000) for i in range(200001)]"}
    with World(tmp_path, executor="processes", stages=("ctf",), body=body, n_micrographs=1).open() as run:
        run.bus.subscribe(StageProgress, heard.append)
        assert run.execute() == {"ctf": {"done": 1}}
    assert len(heard) < 200
    assert heard[-1].done == heard[-1].total
