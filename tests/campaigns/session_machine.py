"""A model of a session, and a machine that does to the real one whatever it likes, in any order, and compares.

The tests run some tens of sequences; ``python tests/campaigns/session_machine.py --runs 2000 --steps 50`` a night's.
What is real: journal, database, store, ledger, runner, lock, on a disk. What is modelled: which contents lie under
which names, and that each was to be worked on once. A crash is an exception at a named place that nobody catches.
"""

from __future__ import annotations

import argparse
import errno
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

from hypothesis import HealthCheck, Phase, settings, stateful
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cryoframe.data.images import CtfFit
from cryoframe.errors import EnvironmentFault, StoreError
from cryoframe.execution import executors
from cryoframe.execution.executor import Inline, Job, Outcome, Voice, mute
from cryoframe.execution.run import Run
from cryoframe.formats import products
from cryoframe.kernel.config import load
from cryoframe.kernel.discovery import Offer, local_offers
from cryoframe.kernel.plugins import Plugins
from cryoframe.records import crash
from cryoframe.records.store import PRODUCT
from cryoframe.testing.soak import history
from cryoframe.testing.soak.facility import Facility
from cryoframe.testing.soak.kills import POINTS

STAGES = ("first", "second")
NAMES = tuple(f"m{number}.dat" for number in range(5))
QUICK = Path("/dev/shm")
_REAL_NS = time.time_ns


class Instant:
    """Runs attempts without the attempt: what a plugin is was found out once, and what it makes is there at once."""

    described: ClassVar[dict[tuple[str, str], Outcome]] = {}

    def __init__(self, voice: Voice = mute) -> None:
        self._real, self._ended, self._n_jobs = Inline(voice), [], 0

    def submit(self, job: Job) -> str:
        self._n_jobs += 1
        ticket = f"instant-{self._n_jobs}"
        self._ended.append(replace(self._described(job) if job.describe else self._made(job), ticket=ticket))
        return ticket

    def poll(self, timeout_s: float) -> list[Outcome]:
        ended, self._ended = self._ended, []
        return ended

    def cancel(self, ticket: str) -> None:
        """Nothing is ever in progress."""

    def retire(self, offers: Sequence[Offer]) -> None:
        """Nothing was imported."""

    def another(self) -> Instant:
        return Instant()

    def close(self) -> None:
        """Nothing is open."""

    def _described(self, job: Job) -> Outcome:
        name = (job.stage_id, job.offer.name)
        if name not in self.described:
            self._real.submit(job)
            (self.described[name],) = self._real.poll(0.0)
        return self.described[name]

    def _made(self, job: Job) -> Outcome:
        folder = Path(job.folder) / PRODUCT
        folder.mkdir()
        products.save(CtfFit(job.item_digest, 1e4, 9e3, 1.0), folder)
        files = {path.relative_to(folder).as_posix(): path.stat().st_size for path in folder.rglob("*")}
        return Outcome("", {"files": files})


class Killed(BaseException):
    """The process is no more."""


def _die(status: int) -> None:
    raise Killed(status)


def _instant(*words: object) -> Instant:
    """Make what the configuration asks for; of `words` the last is the runner's voice, where there is one."""
    return Instant(words[-1]) if len(words) > 1 else Instant()  # type: ignore[arg-type]


class Session(RuleBasedStateMachine):
    """A session and what is known of it."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="machine", dir=QUICK if QUICK.is_dir() else None))
        self.facility = Facility(
            self.folder,
            stages=dict.fromkeys((f"ctf:{name}" for name in STAGES), "pass"),
            run={"workers": 2},
            watch=None,
            inputs='[micrographs]\nfiles = "land/*.dat"\npixel_size_A = 1.0',
        ).write()
        self.disk: dict[str, int] = {}
        self.admitted: dict[str, int] = {}
        self.n_contents = 0
        self.offset_s = 0.0
        self.is_full = False
        self.run: Run | None = None
        self._patches = [
            mock.patch.object(crash.os, "_exit", _die),
            mock.patch.object(executors, "chosen", _instant),
            mock.patch.object(executors, "here", _instant),
            mock.patch("time.time_ns", self._now_ns),
        ]
        for patch in self._patches:
            patch.start()

    def _now_ns(self) -> int:
        return _REAL_NS() + int(1e9 * self.offset_s)

    # -- the life of the process ----------------------------------------------------------------------------------
    @initialize(n_files=st.integers(1, 3))
    def begin(self, n_files: int) -> None:
        for name in NAMES[:n_files]:
            self.land_or_rewrite(name)
        self._open()

    @rule()
    def close_and_open(self) -> None:
        self._make_room()
        if self.run is not None:
            self.run.close()
        self._open()

    @rule(name=st.sampled_from(NAMES), point=st.sampled_from(POINTS), passage=st.integers(1, 3))
    def crash(self, name: str, point: str, passage: int) -> None:
        """Die at a named place while a file is taken in and worked on; open again."""
        self.land_or_rewrite(name)
        self._make_room()
        with mock.patch.dict(os.environ, {crash.VARIABLE: f"{point}:{passage}"}):
            try:
                self._admit_all()
                self._work()
            except Killed:
                self._bury()
        if self.run is None:
            self._open()

    @precondition(lambda self: self.run is not None)
    @rule()
    def second_process(self) -> None:
        """Nobody else may take charge."""
        with suppress(StoreError):
            self._made().close()
            raise AssertionError("two processes have the run in charge")

    @rule(offset_s=st.sampled_from([0.0, 3600.0, -3600.0, 1.5e8, -1.5e8]))
    def clock_jumps(self, offset_s: float) -> None:
        self.offset_s = offset_s

    # -- the microscope ---------------------------------------------------------------------------------------------
    @rule(name=st.sampled_from(NAMES))
    def land_or_rewrite(self, name: str) -> None:
        self.n_contents += 1
        self.facility.put(name, self.n_contents)
        self.disk[name] = self.n_contents

    @rule(name=st.sampled_from(NAMES), to=st.sampled_from(NAMES))
    def rename(self, name: str, to: str) -> None:
        if name in self.disk and to not in self.disk:
            (self.facility.land / name).rename(self.facility.land / to)
            self.disk[to] = self.disk.pop(name)

    # -- the daemon ---------------------------------------------------------------------------------------------------
    @precondition(lambda self: self.run is not None and self.disk)
    @rule(data=st.data())
    def admit_one(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.disk)))
        with self._enduring():
            self._admit(name)

    @precondition(lambda self: self.run is not None)
    @rule(n_steps=st.integers(1, 3))
    def work(self, n_steps: int) -> None:
        with self._enduring():
            for _ in range(n_steps):
                self._runner().step(0.0)

    @precondition(lambda self: self.run is not None)
    @rule(name=st.sampled_from(NAMES), n_whole=st.integers(0, 12), refusal=st.sampled_from([errno.ENOSPC, errno.EIO]))
    def sync_is_refused(self, name: str, n_whole: int, refusal: int) -> None:
        """From some call on the disk of the store refuses, for a while."""
        self.land_or_rewrite(name)
        calls = iter([None] * n_whole)
        real = os.fsync

        def fsync(descriptor: int) -> None:
            if next(calls, refusal):
                raise OSError(refusal, os.strerror(refusal))
            real(descriptor)

        self._admit_all()
        with mock.patch("os.fsync", fsync):
            self._work()

    @rule()
    def disk_fills_up(self) -> None:
        if self.run is not None and not self.is_full:
            self.is_full = True
            self._pages(1)

    @rule()
    def room_is_made(self) -> None:
        self._make_room()

    # -- what must hold -----------------------------------------------------------------------------------------
    @invariant()
    def every_effect_is_there_once(self) -> None:
        if self.run is None:
            return
        log = history.events(self.facility.out)
        done = Counter((said["stage_id"], said["key"]) for name, said in log if name == "StageFinished")
        assert all(count == 1 for count in done.values()), f"took effect twice: {done}"
        ids = [said["event_id"] for _, said in log]
        assert ids == sorted(set(ids)), "the log is out of order"
        digests = {said["digest"] for name, said in log if name == "ItemAdmitted"}
        wanted = {self._digest(content) for content in self.admitted.values()}
        assert wanted <= digests, "what was acknowledged is not in the log"

    def teardown(self) -> None:
        """Whatever happened: with room on the disk, all there is gets done, and nothing is left over."""
        try:
            self._settle()
        finally:
            for patch in self._patches:
                patch.stop()
            if self.run is not None:
                self._bury()
            shutil.rmtree(self.folder, ignore_errors=True)

    def _settle(self) -> None:
        self._make_room()
        if self.run is None:
            self._open()
        self._admit_all()
        assert self.run is not None
        runner = self.run.runner(live=False)
        runner.look()
        for _ in range(500):
            if not runner.step(0.01):
                break
        else:
            raise AssertionError(f"it does not come to an end: {self.run.status()}")
        assert self.run is not None
        tasks = {(task.stage_id, task.item_id): task.status for task in self.run.state.tasks()}
        wanted = {self._digest(content) for content in self.disk.values()}
        items = {item.digest: item.item_id for item in self.run.state.items()}
        assert wanted <= items.keys(), "a content that lies there is not known"
        undone = [
            (stage, items[digest]) for stage in STAGES for digest in wanted if tasks[stage, items[digest]] != "done"
        ]
        assert not undone, f"not done: {undone}"
        assert self.run.store.verify() == []
        before = self._projection()
        self.run.journal.rebuild()
        assert self._projection() == before, "the log does not give the state again"
        log = history.events(self.facility.out)
        harm = [name for name, _ in log if name in ("StageGivenUp", "ProductDamaged")]
        assert not harm, harm
        self.run.close()
        self.run = None
        # A disk that refused after the renaming leaves a whole product; nobody asks for it if its file is another now.
        current = {task[2] for task in history.ask(self.facility.out, "SELECT * FROM tasks")}
        stale = {said["key"] for name, said in log if name == "StageFailed"} - current
        found = history.file_violations(self.facility.out, log)
        found = [
            one for one in found if not (one.endswith("not recorded") and one.split()[0].rpartition("/")[2] in stale)
        ]
        assert not found, found

    # -- inside -----------------------------------------------------------------------------------------------------
    def _made(self) -> Run:
        config = load(self.facility.config)
        return Run(config, Plugins(local_offers(config.plugin_files)))

    def _open(self) -> None:
        self.run = None
        run = self._made()
        run.backoff_s = 1e-4
        self.run, self.is_full = run, False

    def _bury(self) -> None:
        """Let go of what the kernel would have taken back."""
        run, self.run, self.is_full = self.run, None, False
        if run is not None:
            run._database._connection.close(True)
            os.close(run._lock)

    def _runner(self) -> Any:
        assert self.run is not None
        return self.run.runner(live=True)

    def _work(self) -> None:
        with self._enduring():
            for _ in range(6):
                if not self._runner().step(0.0):
                    return

    def _admit(self, name: str) -> None:
        assert self.run is not None
        self._runner()
        self.run.admit_file(self.facility.land / name, "Micrograph", root=self.facility.land)
        self.admitted[name] = self.disk[name]

    def _admit_all(self) -> None:
        with self._enduring():
            for name in sorted(self.disk):
                self._admit(name)

    @contextmanager
    def _enduring(self) -> Iterator[None]:
        """A full disk may refuse anything, and nothing else may."""
        try:
            yield
        except EnvironmentFault:
            assert self.is_full

    def _pages(self, n_pages: int) -> None:
        assert self.run is not None
        self.run._database._connection.execute(f"PRAGMA max_page_count={n_pages}")

    def _make_room(self) -> None:
        if self.run is not None and self.is_full:
            self._pages(1 << 30)
        self.is_full = False

    def _projection(self) -> dict[str, list[Any]]:
        tables = ("files", "items", "tasks", "products")
        found = {name: history.ask(self.facility.out, f"SELECT * FROM {name} ORDER BY 1, 2") for name in tables}
        return found

    @staticmethod
    def _digest(content: int) -> str:
        from cryoframe.testing.soak.facility import image

        return history.digest(image(content), "0" * 40)


def play(n_runs: int, n_steps: int, *, shrink: bool = True) -> None:
    """Play sequences; one that fails is raised, or with `shrink` the shortest there is."""
    chosen = settings(
        max_examples=n_runs,
        stateful_step_count=n_steps,
        deadline=None,
        database=None,
        derandomize=n_runs < 100,
        phases=[Phase.generate, *([Phase.shrink] if shrink else [])],
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    stateful.run_state_machine_as_test(Session, settings=chosen)


def main(words: Sequence[str]) -> int:
    """Play a night's sequences."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--steps", type=int, default=50)
    options = parser.parse_args(words)
    start_s = time.monotonic()
    play(options.runs, options.steps)
    sys.stdout.write(f"{options.runs} sequences of up to {options.steps} steps: nothing lost, twice or torn ")
    sys.stdout.write(f"(95 %: ≤ {300 / options.runs:.2g} % a sequence), {time.monotonic() - start_s:.0f} s\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
