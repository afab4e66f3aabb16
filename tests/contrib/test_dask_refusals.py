"""What the Dask executor does not believe: late answers, unfit nodes, half products, dead schedulers."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

distributed = pytest.importorskip("distributed", reason="distributed is not installed: pip install 'cryoframe[dask]'")
from cryoframe import ExecutorRequest, Job, Outcome  # noqa: E402
from cryoframe.errors import ConfigError, EnvironmentFault, InvalidInput  # noqa: E402
from cryoframe.kernel.discovery import Offer  # noqa: E402
from cryoframe_dask import arrival, errand, keeper, node, words  # noqa: E402
from cryoframe_dask.head import DaskExecutor  # noqa: E402
from cryoframe_dask.plugin import Params, make_executor  # noqa: E402

OFFER = Offer("estimate_ctf", "spectrum", "cryoframe_ctf.plugin", "cryoframe", "0.1.0")
HERE = {"node": "n1", "worker": "tcp://n1:1"}


class Future:
    """A future that is answered by hand."""

    status = "pending"

    def __init__(self) -> None:
        self.answer: object = None
        self.told: Callable[[Any], None] = lambda _: None

    def add_done_callback(self, told: Callable[[Any], None]) -> None:
        self.told = told

    def give(self, answer: object) -> None:
        self.answer, self.status = answer, "finished"
        self.told(self)

    def result(self, timeout: float) -> str:
        if isinstance(self.answer, Exception):
            raise self.answer
        return json.dumps(self.answer)

    def release(self) -> None:
        pass

    cancel = release


class Ships:
    """A cluster and its client, by hand."""

    name = "the ships"

    def __init__(self) -> None:
        self.orders: list[tuple[dict[str, Any], dict[str, Any], Future]] = []
        self.told: list[tuple[Any, ...]] = []
        self.there = True
        self._run = None

    def client(self) -> Ships:
        return self

    def is_connected(self) -> bool:
        return self.there

    def close(self) -> None:
        pass

    def subscribe_topic(self, topic: str, heard: object) -> None:
        pass

    def nthreads(self) -> dict[str, int]:
        return {"tcp://n1:1": 1, "tcp://n2:1": 1}

    def sync(self, run: object, what: object, *arguments: object, **_: object) -> None:
        self.told.append((what, *arguments))

    def submit(self, function: object, order: str, **chosen: Any) -> Future:
        assert function is errand.run
        self.orders.append((json.loads(order), chosen, Future()))
        return self.orders[-1][2]


@pytest.fixture
def ships() -> Ships:
    return Ships()


@pytest.fixture
def executor(tmp_path: Path, ships: Ships, monkeypatch: pytest.MonkeyPatch) -> DaskExecutor:
    monkeypatch.setattr("cryoframe_dask.head.LOOK_S", 0.01)
    return made(tmp_path, ships)


def made(folder: Path, ships: Ships) -> DaskExecutor:
    places = [folder / "out", folder / "out/scratch", folder / "out/elsewhere"]
    for place in places:
        place.mkdir(parents=True, exist_ok=True)
    request = ExecutorRequest(*places, voice=lambda _, __: None)
    return DaskExecutor(request, Params(visible_s=0.5, lost_s=5.0), ships)  # type: ignore[arg-type]


def job(folder: Path, name: str = "ctf.1") -> Job:
    place = folder / "out/scratch" / name
    place.mkdir(parents=True, exist_ok=True)
    return Job("ctf", OFFER, str(place), item_id="m1", source="abc")


def done(folder: Path, files: dict[str, bytes]) -> dict[str, Any]:
    """Leave files as an attempt does, and return the answer that goes with them."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    outcome = asdict(Outcome("x", {"ok": True, "files": {}}))
    digests = {name: words.digest(folder / name) for name in files}
    return {**HERE, "outcome": outcome, "metrics": [["mean", 1.0, ""]], "digests": digests}


def ended(executor: DaskExecutor) -> Outcome:
    (outcome,) = executor.poll(10.0)
    return outcome


# -- answers ----------------------------------------------------------------------------------------------------------
def test_an_answer_in_time__names_its_node(tmp_path: Path, executor: DaskExecutor, ships: Ships) -> None:
    ticket = executor.submit(job(tmp_path))
    order, _, future = ships.orders[0]
    future.give(done(Path(json.loads(order["job"])["folder"]), {"product/a": b"abc"}))
    outcome = ended(executor)
    assert (outcome.ticket, outcome.error_class) == (ticket, "")
    assert outcome.result["node"] == "n1 (tcp://n1:1)"


def test_an_answer_that_nobody_waits_for_any_more__is_dropped(
    tmp_path: Path, executor: DaskExecutor, ships: Ships
) -> None:
    ticket = executor.submit(job(tmp_path))
    executor.cancel(ticket)
    assert (ended(executor).message, executor.poll(0.0)) == ("cancelled", [])
    ships.orders[0][2].give(done(tmp_path / "out/scratch/ctf.1", {"product/a": b"late"}))
    assert executor.poll(0.3) == []
    executor.close()
    assert (node.cancel, "ctf.1") in ships.told


def test_a_product_with_other_bytes_than_promised__is_refused(
    tmp_path: Path, executor: DaskExecutor, ships: Ships
) -> None:
    executor.submit(job(tmp_path))
    answer = done(tmp_path / "out/scratch/ctf.1", {"product/a": b"as it was made"})
    (tmp_path / "out/scratch/ctf.1/product/a").write_bytes(b"as it is found")
    ships.orders[0][2].give(answer)
    outcome = ended(executor)
    assert outcome.error_class == "environment"
    assert "has other bytes here than there" in outcome.message


def test_a_product_that_is_seen_late_and_in_pieces__is_waited_for(tmp_path: Path) -> None:
    content = bytes(range(256)) * 40
    (tmp_path / "there").write_bytes(content)
    promised = {"product/a": words.digest(tmp_path / "there")}

    def appear() -> None:
        time.sleep(0.1)
        (tmp_path / "product").mkdir()
        for part in (content[:100], bytes(len(content)), content):
            (tmp_path / "product/a").write_bytes(part)
            time.sleep(0.1)

    writer = threading.Thread(target=appear)
    writer.start()
    arrival.await_files(tmp_path, promised, visible_s=10.0)
    assert (tmp_path / "product/a").read_bytes() == content
    writer.join()


def test_a_worker_that_died_with_it__is_named(tmp_path: Path, executor: DaskExecutor, ships: Ships) -> None:
    executor.submit(job(tmp_path))
    worker = SimpleNamespace(address="tcp://n7:1")
    ships.orders[0][2].give(distributed.KilledWorker("ctf-1", worker, 3))
    outcome = ended(executor)
    assert outcome.error_class == "environment"
    assert "tcp://n7:1" in outcome.message


def test_a_scheduler_that_is_gone__ends_all_that_was_in_hand(
    tmp_path: Path, executor: DaskExecutor, ships: Ships
) -> None:
    executor.submit(job(tmp_path))
    ships.there = False
    outcome = ended(executor)
    assert (outcome.error_class, outcome.message) == ("environment", "the ships was lost, with its attempts")


# -- nodes ------------------------------------------------------------------------------------------------------------
def test_a_node_with_another_version__gets_no_more_and_is_named_when_it_was_the_last(
    tmp_path: Path, executor: DaskExecutor, ships: Ships
) -> None:
    for number, worker in enumerate(("tcp://n1:1", "tcp://n2:1")):
        executor.submit(job(tmp_path, f"ctf.{number}"))
        refused = {"refused": "other versions: numpy 1 here, 2 where the run was begun", "unfit": True}
        ships.orders[number][2].give({**refused, "node": "n", "worker": worker})
        assert ended(executor).error_class == "environment"
    assert ships.orders[0][1].get("workers") is None
    assert ships.orders[1][1]["workers"] == ["tcp://n2:1"]
    executor.submit(job(tmp_path, "ctf.9"))
    outcome = ended(executor)
    assert len(ships.orders) == 2
    assert outcome.message.startswith("no node is fit: n (tcp://n1:1): other versions: numpy 1 here, 2 where")


def test_an_attempt_whose_last_fit_node_is_gone__does_not_wait_for_ever(
    tmp_path: Path, executor: DaskExecutor, ships: Ships, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor.submit(job(tmp_path))
    ships.orders[0][2].give({"refused": "other versions", "unfit": True, **HERE})
    ended(executor)
    executor.submit(job(tmp_path))
    assert ships.orders[1][1]["workers"] == ["tcp://n2:1"]
    assert executor.poll(0.05) == []
    monkeypatch.setattr(ships, "nthreads", lambda: {"tcp://n1:1": 1, "tcp://n3:1": 1})
    assert ended(executor).message == "every node that was fit for it is gone"
    executor.submit(job(tmp_path))
    assert ships.orders[2][1]["workers"] == ["tcp://n3:1"]


def test_a_file_that_nobody_can_see__is_not_the_node_s_fault(
    tmp_path: Path, executor: DaskExecutor, ships: Ships
) -> None:
    for path, n_excluded in ((tmp_path / "gone", 0), (tmp_path, 1)):
        executor.submit(job(tmp_path))
        refused = {"refused": f"{path} cannot be seen", "unfit": True, "missing": str(path)}
        ships.orders[-1][2].give({**refused, **HERE})
        assert "cannot be seen" in ended(executor).message
        executor.submit(job(tmp_path))
        assert len(ships.orders[-1][1].get("workers", "12")) == 2 - n_excluded


@pytest.fixture
def at_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    worker = SimpleNamespace(address="tcp://n1:1", local_directory=str(tmp_path), log_event=lambda *_: None)
    monkeypatch.setattr(distributed, "get_worker", lambda: worker)
    return worker


def order(folder: Path, **other: object) -> str:
    wanted = job(folder)
    wanted.write()
    place = str(folder / "out/elsewhere/ctf.1")
    given = {"job": wanted.to_json(), "facts": node.facts(), "place": place, "likeness": words.likeness(wanted)}
    return json.dumps({**given, "ticket": "t", "topic": "x", "visible_s": 0.0, **other})


@pytest.mark.usefixtures("at_node")
def test_a_node_with_other_versions__refuses_and_says_both(tmp_path: Path) -> None:
    said = json.loads(node.run(order(tmp_path, facts={**node.facts(), "cryoframe": "9.9 (abc)", "numpy": "1.0"})))
    assert said["unfit"]
    assert "9.9 (abc) where the run was begun" in said["refused"]
    assert f"numpy {node.facts()['numpy']} here, 1.0 where" in said["refused"]


@pytest.mark.usefixtures("at_node")
def test_a_node_that_does_not_see_the_run__refuses_and_names_the_folder(tmp_path: Path) -> None:
    text = order(tmp_path)
    (tmp_path / "out").rename(tmp_path / "unmounted")
    said = json.loads(node.run(text))
    assert said["missing"] == str(tmp_path / "out/scratch/ctf.1")
    assert "cannot be seen" in said["refused"]
    assert said["remedy"].startswith("Mount the same share")


@pytest.mark.usefixtures("at_node")
def test_an_attempt_that_another_has_claimed__is_left_alone(tmp_path: Path) -> None:
    assert words.claim(tmp_path / "out/elsewhere/ctf.1", {"node": "n9", "worker": "tcp://n9:1"})
    said = json.loads(node.run(order(tmp_path)))
    assert not said["unfit"]
    assert said["refused"] == "begun on n9 (tcp://n9:1), which was then lost"
    assert [path.name for path in (tmp_path / "out/scratch/ctf.1").iterdir()] == [node.ORDER]


@pytest.mark.usefixtures("at_node")
def test_a_node_without_the_plugin__says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("cryoframe_dask.node")
    monkeypatch.setitem(sys.modules, "cryoframe_dask.node", None)
    said = json.loads(errand.run("{}"))
    assert said["unfit"]
    assert "cannot import cryoframe_dask" in said["refused"]
    assert "cryoframe[dask]" in said["remedy"]


# -- what a dead daemon left ------------------------------------------------------------------------------------------
def orphan(folder: Path, *, pid: int, host: str, landed: bool) -> Job:
    """Leave an attempt that an earlier process ordered."""
    wanted = job(folder, "ctf.old")
    place = folder / "out/elsewhere/ctf.old"
    facts = {"node": host, "worker": "tcp://n1:1", "pid": pid, "likeness": words.likeness(wanted)}
    assert words.claim(place, facts)
    if landed:
        words.land(place, done(Path(wanted.folder), {"product/a": b"made while nobody looked"}))
    return job(folder, "ctf.new")


def test_a_finished_attempt__is_taken_up(tmp_path: Path, ships: Ships) -> None:
    wanted = orphan(tmp_path, pid=1, host="n1", landed=True)
    executor = made(tmp_path, ships)
    executor.submit(wanted)
    assert ended(executor).error_class == ""
    assert not ships.orders
    assert (Path(wanted.folder) / "product/a").read_bytes() == b"made while nobody looked"
    assert not (tmp_path / "out/scratch/ctf.old").exists()
    assert not (tmp_path / "out/elsewhere/ctf.old").exists()


def test_a_finished_attempt_that_was_changed_since__is_made_again(tmp_path: Path, ships: Ships) -> None:
    wanted = orphan(tmp_path, pid=1, host="n1", landed=True)
    (tmp_path / "out/scratch/ctf.old/product/a").write_bytes(b"x")
    executor = made(tmp_path, ships)
    executor.submit(wanted)
    assert ended(executor).error_class == "environment"
    executor.submit(job(tmp_path, "ctf.third"))
    assert len(ships.orders) == 1


def test_a_live_attempt__is_waited_for_and_a_dead_one_made_again(
    tmp_path: Path, ships: Ships, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cryoframe_dask.head.LOOK_S", 0.01)
    dead = 2**22 + 1
    assert not Path(f"/proc/{dead}").exists()
    for pid, n_orders in ((os.getpid(), 0), (dead, 1)):
        folder = tmp_path / str(pid)
        wanted = orphan(folder, pid=pid, host=socket.gethostname(), landed=False)
        executor = made(folder, ships)
        executor.submit(wanted)
        assert executor.poll(0.2) == []
        assert len(ships.orders) == n_orders
        executor.close()


# -- settings ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("given", "says"), [({"jobs_most": 0}, "jobs_most"), ({"jobs_least": 9}, "jobs_least")])
def test_settings_that_cannot_be_meant__are_refused_by_name(given: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        Params(**given)


def test_half_of_the_credentials__are_refused() -> None:
    with pytest.raises(ConfigError, match="tls_ca, tls_cert, tls_key"):
        Params(tls_ca=Path("ca.pem"))


def test_a_cluster_that_is_no_address__is_refused(tmp_path: Path) -> None:
    request = ExecutorRequest(tmp_path, tmp_path, tmp_path, lambda _, __: None, settings=Params(cluster="slurrm"))
    with pytest.raises(ConfigError, match="cluster is 'slurrm'") as caught:
        make_executor(request)
    assert "local, slurm" in caught.value.expected


def test_without_dask__it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    monkeypatch.delitem(sys.modules, "cryoframe_dask.cluster")
    monkeypatch.delattr("cryoframe_dask.cluster")
    request = ExecutorRequest(tmp_path, tmp_path, tmp_path, lambda _, __: None, settings=Params())
    with pytest.raises(EnvironmentFault, match=r"cryoframe\[dask\]"):
        make_executor(request)


def test_what_is_asked_of_slurm__is_what_was_set(tmp_path: Path) -> None:
    settings = asdict(Params(walltime_s=5400.0, partition="gpu", cores=8, directives=("--gres=gpu:1",)))
    asked = keeper._asked(tmp_path, settings)
    assert (asked["walltime"], asked["queue"], asked["account"], asked["cores"]) == ("01:30:00", "gpu", None, 8)
    assert asked["job_extra_directives"] == ["--requeue", "--gres=gpu:1"]


def test_the_credentials_of_a_keeper__are_for_its_user_alone_and_demanded_of_all(tmp_path: Path) -> None:
    security = keeper._made_security(tmp_path)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.glob("*.pem")} == {0o600}
    assert len(list(tmp_path.glob("*.pem"))) == 3
    for role in ("client", "scheduler", "worker"):
        assert security.get_connection_args(role)["require_encryption"]
        assert security.get_tls_config_for_role(role)["key"] == str(tmp_path / "key.pem")
    assert "BEGIN" in (tmp_path / "cert.pem").read_text()
