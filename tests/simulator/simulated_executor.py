"""Attempts that take simulated time, fail, die, hang, answer late, twice or wrongly; what they read is noted."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from simulated_disk import Disk, Hangs
from simulated_world import World

from cryoframe.data.images import CtfFit
from cryoframe.execution.executor import IDENTITY, Inline, Job, Outcome, Voice, mute
from cryoframe.formats import products
from cryoframe.kernel.discovery import Offer
from cryoframe.records.store import PRODUCT

#: Contents of which every attempt at one of the stages fails.
POISON_EVERY = 17
#: A file of every product, which an attempt that lies leaves cut.
BESIDE, CONTENT = "beside.dat", bytes(range(16))
CANCELLED = ("environment", "cancelled")


@dataclass
class Toil:
    """How long attempts take, and how likely it is that one goes wrong; `p_wrong` is of each way."""

    usual_s: float = 30.0
    p_wrong: float = 0.0
    p_no_start: float = 0.0


@dataclass(frozen=True)
class Read:
    """What an attempt that went well was given, and the digest of what it read."""

    at_s: float
    stage_id: str
    path: str
    wanted: str
    found: str


@dataclass
class _Attempt:
    job: Job
    ends_s: float = float("inf")
    read: tuple[Read, ...] = ()


class Facilities:
    """What all executors of a seed share: the machine, in which attempts may outlive who started them."""

    def __init__(self, world: World, disk: Disk) -> None:
        self.world, self.disk, self.toil = world, disk, Toil()
        self.reads: list[Read] = []
        self.executors: list[Simulated] = []
        self.n_jobs = 0
        #: Free room for results: attempts fail where there is none.
        self.is_full = False

    def made(self, *words: object) -> Simulated:
        """Make what the configuration asks for; of `words` the last is the runner's voice, where there is one."""
        voice = words[-1] if len(words) > 1 else mute
        self.executors.append(Simulated(self, voice))  # type: ignore[arg-type]
        return self.executors[-1]

    def end_all(self) -> None:
        """Let the attempts of a process that is no more end with it, if they do."""
        for executor in self.executors:
            executor.close()
        self.executors.clear()


class Simulated:
    """An executor."""

    described: ClassVar[dict[tuple[str, str, str], Outcome]] = {}

    def __init__(self, facilities: Facilities, voice: Voice) -> None:
        self._its, self._world, self._voice = facilities, facilities.world, voice
        self._attempts: dict[str, _Attempt] = {}
        self._ended: list[Outcome] = []
        self._spoken: list[tuple[str, dict[str, object]]] = []

    # -- what an executor has ---------------------------------------------------------------------------------------
    def submit(self, job: Job) -> str:
        self._its.n_jobs += 1
        ticket = f"simulated-{self._its.n_jobs}"
        if job.describe:
            self._ended.append(replace(self._described(job), ticket=ticket))
            return ticket
        if self._world.happens("attempt cannot be started", self._its.toil.p_no_start) or self._its.is_full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._attempts[ticket] = attempt = _Attempt(job)
        chance = self._world.chance("executor")
        self._world.after(0.2 * chance.random(), "", lambda: self._begin(ticket, attempt))
        return ticket

    def poll(self, timeout_s: float) -> list[Outcome]:
        self._world.alive()
        self._world.wait(self._world.now_s + timeout_s, lambda: bool(self._ended) or not self._attempts)
        self._world.alive()
        spoken, self._spoken = self._spoken, []
        for ticket, said in spoken:
            self._voice(ticket, said)
        ended, self._ended = self._ended, []
        self._world.chance("executor").shuffle(ended)
        if len(ended) > 1 and self._world.happens("outcomes one by one", 0.3):
            ended, self._ended = ended[:1], ended[1:]
        return ended

    def cancel(self, ticket: str) -> None:
        if ticket in self._attempts and not self._world.happens("cancelled too late", 0.3):
            self._world.after(5 * self._world.chance("executor").random(), "", lambda: self._end(ticket, *CANCELLED))

    def retire(self, offers: Sequence[Offer]) -> None:
        for ticket, attempt in list(self._attempts.items()):
            if attempt.job.offer in offers:
                self._end(ticket, "environment", "the helper process died")

    def another(self) -> Simulated:
        return Simulated(self._its, mute)

    def close(self) -> None:
        """Its attempts end with it, but for those that go on writing where nobody listens."""
        if not self._world.happens("attempts outlive their process", 0.2):
            self._attempts.clear()

    def _described(self, job: Job) -> Outcome:
        name = (job.stage_id, job.offer.name, Path(job.offer.path).read_text(encoding="utf-8"))
        if name not in self.described:
            was, self._world.is_still = self._world.is_still, True
            try:
                real = Inline(mute)
                real.submit(job)
                (self.described[name],) = real.poll(0.0)
            finally:
                self._world.is_still = was
        return self.described[name]

    # -- an attempt -------------------------------------------------------------------------------------------------
    def _begin(self, ticket: str, attempt: _Attempt) -> None:
        toil, chance = self._its.toil, self._world.chance("executor")
        took_s = toil.usual_s * chance.lognormvariate(0.0, 0.7)
        try:
            attempt.read = tuple(self._read(attempt.job))
        except (OSError, Hangs, _Changed) as error:
            self._fails(ticket, error)
            return
        wrong = chance.random() < toil.p_wrong
        way = chance.choice((self._dies, self._fails_itself, self._hangs, self._lost, self._lies)) if wrong else None
        if way is not None:
            self._world.note(f"attempt {way.__name__.strip('_')}")
            self._world.after(took_s, "", lambda: way(ticket))
        else:
            self._world.after(took_s, "", lambda: self._finish(ticket))
        if chance.random() < 0.1:
            said = {"progress": [1, 2, "half"]} if chance.random() < 0.5 else {"metric": ["drift", took_s, "A"]}
            self._world.after(0.5 * took_s, "", lambda: self._spoken.append((ticket, said)))

    def _read(self, job: Job) -> list[Read]:
        """Read the user's files, which have to be those that were admitted."""
        found = []
        for file in (file for ref in job.inputs for file in ref.raw):
            self._require_unchanged(file.path, file.facts)
            digest = hashlib.blake2b(self._its.disk.content(file.path), digest_size=20).hexdigest()
            found.append(Read(self._world.now_s, job.stage_id, file.path, job.item_digest, digest))
        return found

    def _require_unchanged(self, path: str, facts: object) -> None:
        stat = self._its.disk.stat(path)
        admitted = tuple(facts.get(name) for name in IDENTITY)  # type: ignore[attr-defined]
        if admitted != (stat.st_size, stat.st_mtime_ns):
            raise _Changed

    def _finish(self, ticket: str) -> None:
        attempt = self._attempts.get(ticket)
        if attempt is None:
            return
        job, poisoned = attempt.job, int(attempt.job.item_digest[:4] or "1", 16) % POISON_EVERY == 0
        if poisoned and job.stage_id == "first":
            self._end(ticket, "bug", "ValueError: it is poison")
            return
        try:
            for file in (file for ref in job.inputs for file in ref.raw):
                self._require_unchanged(file.path, file.facts)
            files = self._write(job)
        except (OSError, Hangs, _Changed) as error:
            self._fails(ticket, error)
            return
        self._its.reads += attempt.read
        self._end(ticket, files=files)
        if self._world.happens("an outcome comes twice", 0.02):
            self._ended.append(replace(self._ended[-1], message="again"))

    def _write(self, job: Job) -> dict[str, int]:
        if self._its.is_full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        folder = Path(job.folder) / PRODUCT
        folder.mkdir()
        products.save(CtfFit(job.item_digest or "set", 1e4, 9e3, 1.0), folder)
        (folder / BESIDE).write_bytes(CONTENT)
        return {path.relative_to(folder).as_posix(): path.stat().st_size for path in folder.rglob("*")}

    def _end(
        self, ticket: str, error_class: str = "", message: str = "", *, files: dict[str, int] | None = None
    ) -> None:
        if self._attempts.pop(ticket, None) is not None:
            self._ended.append(Outcome(ticket, {"files": files or {}}, error_class, message, 1.0, 1.0, 1.0))

    # -- ways in which it goes wrong ----------------------------------------------------------------------------------
    def _fails(self, ticket: str, error: BaseException) -> None:
        changed = isinstance(error, _Changed)
        self._end(ticket, "file" if changed else "environment", "Incomplete: it changed" if changed else repr(error))

    def _dies(self, ticket: str) -> None:
        self._end(ticket, "bug", "died of signal 11")

    def _fails_itself(self, ticket: str) -> None:
        self._end(ticket, self._world.pick("executor", ("bug", "environment", "file")), "ValueError: by chance")

    def _hangs(self, ticket: str) -> None:
        attempt = self._attempts.get(ticket)
        if attempt is not None:
            limit_s = attempt.job.deadline_s or 3600.0
            self._world.after(limit_s, "", lambda: self._end(ticket, "bug", "killed: past its time limit"))

    def _lost(self, ticket: str) -> None:
        """The helper dies with all it has in hand."""
        for other in list(self._attempts):
            self._end(other, "environment", "the helper process died")

    def _lies(self, ticket: str) -> None:
        """It says it went well, and what it made is not there, or is not what it says."""
        attempt = self._attempts.get(ticket)
        if attempt is None:
            return
        try:
            files = self._write(attempt.job)
            if self._world.pick("executor", (True, False)):
                (Path(attempt.job.folder) / PRODUCT / BESIDE).write_bytes(CONTENT[:-5])
            else:
                files["absent.npy"] = 10
        except OSError as error:
            self._fails(ticket, error)
            return
        self._end(ticket, files=files)


class _Changed(Exception):
    """The file is not what was admitted."""
