"""A product is in the store whole or not at all, and stays what it was."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from cryoframe.data.images import CtfFit, Micrograph
from cryoframe.errors import EnvironmentFault, InvalidInput, StoreError
from cryoframe.formats import products
from cryoframe.records import crash
from cryoframe.records.bus import Bus
from cryoframe.records.crash import STORE_POINTS, VARIABLE
from cryoframe.records.events import ProductDamaged
from cryoframe.records.provenance import job_record
from cryoframe.records.store import Committed, Store

KEY = "ab" * 20
FIT = CtfFit("m1", 12000.0, 11000.0, 45.0, profile=np.ones((3, 8), np.float32))

COMMITTER = """\
import sys
from pathlib import Path
import numpy as np
from cryoframe.data.images import CtfFit
from cryoframe.formats import products
from cryoframe.records.store import Store
store = Store(Path(sys.argv[1]))
scratch = store.scratch("ctf", "ab" * 20, 1)
(scratch / "product").mkdir()
products.save(CtfFit("m1", 12000.0, 11000.0, 45.0, profile=np.ones((3, 8), np.float32)), scratch / "product")
(scratch / "log.txt").write_text("well")
done = store.commit(scratch, "ctf", "m1", "ab" * 20, job={"hook": "estimate_ctf"})
print("committed", done.digest, flush=True)
store.sweep()
"""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "run")


def prepare(store: Store, product: object = FIT, *, key: str = KEY) -> Path:
    scratch = store.scratch("ctf", key, 1)
    (scratch / "product").mkdir()
    products.save(product, scratch / "product")
    (scratch / "log.txt").write_text("well")
    return scratch


def commit(store: Store, product: object = FIT, *, key: str = KEY) -> Committed:
    return store.commit(prepare(store, product, key=key), "ctf", "m1", key, job={"hook": "estimate_ctf"})


def test_a_committed_product__is_there_whole_with_its_provenance(store: Store) -> None:
    done = commit(store)
    assert store.has("ctf", KEY)
    assert done.path == store.folder / "stages" / "ctf" / KEY
    assert sorted(path.name for path in done.path.iterdir()) == ["job.json", "log.txt", "product"]
    loaded = store.load("ctf", KEY)
    assert isinstance(loaded, CtfFit)
    assert (loaded.micrograph_id, loaded.defocus_u_A) == ("m1", 12000.0)
    job = store.job("ctf", KEY)
    assert (job["hook"], job["item_id"], job["kind"], job["digest"]) == ("estimate_ctf", "m1", "CtfFit", done.digest)
    assert list((store.folder / "scratch").iterdir()) == []
    assert store.verify() == []


def test_the_digest__is_of_the_product_alone(store: Store) -> None:
    first, second = commit(store), commit(store, key="cd" * 20)
    assert first.digest == second.digest
    other = CtfFit("m1", 12000.1, 11000.0, 45.0, profile=np.ones((3, 8), np.float32))
    assert commit(store, other, key="ef" * 20).digest != first.digest


def test_what_is_not_there__cannot_be_loaded(store: Store) -> None:
    assert not store.has("ctf", KEY)
    with pytest.raises(StoreError, match="no product ctf/"):
        store.load("ctf", KEY)


@pytest.mark.parametrize("name", ["", "..", ".hidden", "a/b", "a\0b"])
def test_a_name_that_leads_elsewhere__is_refused(store: Store, name: str) -> None:
    with pytest.raises(InvalidInput, match="cannot name a folder"):
        store.scratch(name, KEY, 1)


def test_the_second_finisher__loses_and_gets_the_first_ones_product(store: Store) -> None:
    first, second = prepare(store), prepare(store)
    done = store.commit(first, "ctf", "m1", KEY, job={"attempt": 1})
    late = store.commit(second, "ctf", "m1", KEY, job={"attempt": 2})
    assert not done.reused
    assert late == Committed(done.key, done.kind, done.digest, done.path, reused=True)
    assert store.job("ctf", KEY)["attempt"] == 1
    assert list((store.folder / "scratch").iterdir()) == []


def test_many_finishers_at_once__leave_one_product(store: Store) -> None:
    folders = [prepare(store) for _ in range(8)]
    results: list[Committed] = []
    threads = [
        threading.Thread(target=lambda f=f: results.append(store.commit(f, "ctf", "m1", KEY, job={}))) for f in folders
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [done.reused for done in results].count(False) == 1
    assert len({done.digest for done in results}) == 1
    assert store.verify() == []


def test_a_second_finisher_that_meets_damage__puts_it_aside_and_wins(store: Store) -> None:
    heard: list[ProductDamaged] = []
    bus = Bus(None, "run")
    bus.subscribe(ProductDamaged, heard.append)
    store = Store(store.folder, bus)
    first = commit(store)
    flip(first.path / "product" / "product.json")
    second = commit(store)
    assert not second.reused
    assert store.verify() == []
    assert [event.key for event in heard] == [KEY]
    assert len(list((store.folder / "damaged").glob(f"*/{KEY}/job.json"))) == 1


def flip(path: Path, at: int = -3) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["product/product.json", "product/CtfFit.profile.mrc", "log.txt", "job.json"])
def test_a_flipped_bit__is_found_in_every_file(store: Store, name: str) -> None:
    done = commit(store)
    commit(store, key="cd" * 20)
    flip(done.path / name)
    problems = store.verify()
    assert len(problems) == 1
    assert problems[0].path == done.path / name


def test_a_file_missing_or_added__is_found(store: Store) -> None:
    done = commit(store)
    (done.path / "log.txt").unlink()
    (done.path / "more.txt").write_text("x")
    assert [problem.what for problem in store.verify("ctf")] == ["log.txt is missing", "more.txt was added"]
    (done.path / "job.json").unlink()
    assert "cannot be read" in store.verify("ctf")[0].what


def test_sweep__removes_what_dead_attempts_left_and_nothing_else(store: Store) -> None:
    commit(store)
    prepare(store, key="cd" * 20)
    prepare(store, key="ef" * 20)
    assert store.sweep() == 2
    assert list((store.folder / "scratch").iterdir()) == []
    assert store.verify() == []
    assert store.has("ctf", KEY)


def test_scratch_folders__are_private_to_an_attempt(store: Store) -> None:
    assert len({store.scratch("ctf", KEY, 1) for _ in range(20)}) == 20


def run_committer(folder: Path, point: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, VARIABLE: point}
    command = [sys.executable, "-c", COMMITTER, str(folder)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


DIRECT_POINTS = [
    name for name in STORE_POINTS if name not in ("store.lost_race", "store.set_aside", "store.before_sweep")
]


@pytest.mark.parametrize("point", DIRECT_POINTS)
def test_dead_at_each_point_of_a_commit__whole_or_absent_and_it_can_be_done_again(tmp_path: Path, point: str) -> None:
    folder = tmp_path / "run"
    assert run_committer(folder, point).returncode == 137
    store = Store(folder)
    renamed = point in ("store.renamed", "store.parent_synced")
    assert store.has("ctf", KEY) is renamed
    assert store.verify() == []
    store.sweep()
    done = commit(store)
    assert done.reused is renamed
    assert store.verify() == []
    assert sum(1 for _ in (folder / "stages").glob("*/*")) == 1


@pytest.mark.parametrize("damaged", [False, True])
@pytest.mark.parametrize("point", ["store.lost_race", "store.set_aside", "store.before_sweep"])
def test_dead_while_losing_the_race__the_product_is_whole_or_made_again(
    tmp_path: Path, point: str, damaged: bool
) -> None:
    folder = tmp_path / "run"
    first = commit(Store(folder))
    if damaged:
        flip(first.path / "product" / "product.json")
    prepare(Store(folder), key="cd" * 20)
    died = run_committer(folder, point).returncode == 137
    assert died is (point != "store.set_aside" or damaged)
    store = Store(folder)
    store.sweep()
    again = commit(store)
    assert again.digest == first.digest
    assert store.verify() == []


def test_crash_points__are_at_least_twentyfive_and_named_once() -> None:
    points = [*crash.JOURNAL_POINTS, *crash.STORE_POINTS, *crash.RUNNER_POINTS, *crash.GROUP_POINTS]
    assert len(points) >= 25
    assert len(set(points)) == len(points)


def test_a_full_disk__is_an_environment_fault_and_leaves_no_trace_in_the_store(tmp_path: Path) -> None:
    code = (
        COMMITTER.split("done =")[0]
        + """
import resource, signal
from cryoframe.errors import EnvironmentFault
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
try:
    store.commit(scratch, "ctf", "m1", "ab" * 20, job={"hook": "x" * 1000})
except EnvironmentFault as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(store.has("ctf", "ab" * 20))
print(store.commit(scratch, "ctf", "m1", "ab" * 20, job={}).reused)
"""
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert "Make room" in lines[0]
    assert lines[1:] == ["False", "False"]
    assert Store(tmp_path).verify() == []


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small tmpfs needs root")
def test_a_small_tmpfs__fills_and_recovers(tmp_path: Path) -> None:
    mount = tmp_path / "small"
    mount.mkdir()
    tried = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", mount], capture_output=True, check=False)
    if tried.returncode:
        pytest.skip(f"mounting is not allowed here: {tried.stderr.decode().strip()}")
    try:
        store = Store(mount / "run")
        filler = mount / "filler"
        scratch = prepare(store)
        with pytest.raises(OSError, match="No space left"):
            filler.write_bytes(b"x" * (4 << 20))
        with pytest.raises(EnvironmentFault, match="refuses"):
            store.commit(scratch, "ctf", "m1", KEY, job={})
        assert not store.has("ctf", KEY)
        filler.unlink()
        assert not store.commit(scratch, "ctf", "m1", KEY, job={}).reused
        assert store.verify() == []
    finally:
        subprocess.run(["umount", mount], check=True)


def test_arrays__come_back_read_only_and_bit_for_bit(store: Store) -> None:
    image = np.random.default_rng(1).normal(size=(40, 30)).astype(np.float32)
    commit(store, Micrograph("m1", image, 1.1))
    loaded = store.load("ctf", KEY)
    assert isinstance(loaded, Micrograph)
    np.testing.assert_array_equal(loaded.data, image)
    with pytest.raises(ValueError, match="read-only"):
        loaded.data[0, 0] = 1.0


def test_the_provenance__says_what_made_it_from_what_and_where() -> None:
    record = job_record(
        hook="estimate_ctf", use="spectrum", plugin={"distribution": "cryoframe", "version": "1", "source_digest": "s"},
        params={"box_px": 512}, inputs={"micrograph": "d1"}, seed=7, device="cpu", n_threads=2, seconds=1.23456,
        notes={"python": ""},
    )  # fmt: skip
    assert record["params"] == {"box_px": 512}
    assert record["seconds"] == 1.235
    assert set(record["machine"]) == {"cryoframe", "python", "numpy", "numba", "pyarrow", "platform", "host"}
    assert record["machine"]["numpy"] == np.__version__
    assert json.loads(json.dumps(record)) == record


def test_a_folder_without_its_provenance__is_no_product(store: Store) -> None:
    folder = commit(store).path
    (folder / "job.json").unlink()
    assert not store.has("ctf", KEY)
