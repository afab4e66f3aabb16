"""The executor: hands attempts to a Dask cluster, takes their answers, and refuses those nobody waits for any more."""

from __future__ import annotations

import contextlib
import itertools
import json
import queue
import shutil
import socket
import time
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cloudpickle
import distributed

from cryoframe import Executor, ExecutorRequest, Job, Outcome
from cryoframe.errors import CryoframeError, EnvironmentFault
from cryoframe_dask import arrival, errand, node, orphans, words
from cryoframe_dask.cluster import Cluster

if TYPE_CHECKING:
    from cryoframe_dask.plugin import Params

#: What the cluster itself may say is asked for no more often than this.
LOOK_S = 1.0
N_ARRIVALS, CLOSE_S = 4, 10.0
#: A node that could not see a file is tried again after this; one with another version never under the same address.
UNFIT_S = 300.0


@dataclass
class _Hand:
    """An attempt that somebody waits for: in the cluster as `future`, or begun before this process as `orphan`."""

    job: Job
    place: Path
    future: Any = None
    orphan: orphans.Orphan | None = None
    arriving: bool = False
    #: The only workers it may go to, where others are unfit.
    workers: frozenset[str] = frozenset()


class DaskExecutor:
    """Runs attempts on a Dask cluster.

    Parameters
    ----------
    request
        Of the run.
    settings
        Of the configuration.
    cluster
        Where to.
    first
        Whether attempts of a process that has died are this one's to see to, and the cluster to close.
    """

    def __init__(self, request: ExecutorRequest, settings: Params, cluster: Cluster, *, first: bool = True) -> None:
        self._request, self._settings, self._cluster, self._first = request, settings, cluster, first
        self._topic = f"cryoframe-{uuid.uuid4().hex}"
        self._numbers = itertools.count(1)
        self._hands: dict[str, _Hand] = {}
        self._ended: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
        self._said: queue.SimpleQueue[tuple[str, Mapping[str, Any]]] = queue.SimpleQueue()
        self._pool = ThreadPoolExecutor(N_ARRIVALS, thread_name_prefix="arrivals")
        self._unfit: dict[str, tuple[float, str]] = {}
        self._done: set[tuple[Path, Path]] = set()
        self._sources: dict[tuple[str, str], str] = {}
        self._looked_s = 0.0
        self._heard: object = None
        cloudpickle.register_pickle_by_value(errand)
        self._orphans = orphans.find(request.elsewhere, request.scratch) if first else {}
        self._client()

    # -- what a runner asks -----------------------------------------------------------------------------------------
    def submit(self, job: Job) -> str:
        """Hand an attempt over.

        Raises
        ------
        EnvironmentFault
            If the cluster cannot be reached.
        """
        job = _seen_from_afar(job)
        ticket = f"dask-{next(self._numbers)}-{Path(job.folder).name}"
        hand = _Hand(job, self._request.elsewhere / Path(job.folder).name)
        job.write()
        if not job.describe and (orphan := self._orphans.pop(words.likeness(job), None)) is not None:
            hand.orphan = orphan
            self._hands[ticket] = hand
            self._looked_s = 0.0
        else:
            self._send(ticket, hand)
        return ticket

    def poll(self, timeout_s: float) -> list[Outcome]:
        """Wait at most `timeout_s` for attempts to end and return those that did."""
        until_s, found = time.monotonic() + timeout_s, []
        while True:
            self._look()
            wait_s = min(until_s - time.monotonic(), LOOK_S)
            with contextlib.suppress(queue.Empty):
                found.append(self._ended.get(timeout=max(wait_s, 0.0)) if wait_s > 0 else self._ended.get_nowait())
                while True:
                    found.append(self._ended.get_nowait())
            with contextlib.suppress(queue.Empty):
                while True:
                    self._request.voice(*self._said.get_nowait())
            if found or time.monotonic() >= until_s:
                return found

    def cancel(self, ticket: str) -> None:
        """Ask an attempt to stop; what it does until then nobody will see."""
        hand = self._hands.get(ticket)
        if hand is not None:
            self._call_off(ticket, hand)
            self._end(ticket, Outcome(ticket, {}, "environment", "cancelled"))

    def retire(self, offers: Sequence[Any]) -> None:
        """Have every node let go of code; attempts that run it end."""
        jobs = [Job("", offer, "").to_json() for offer in offers]
        with contextlib.suppress(Exception):  # a node that cannot be told is lost, and its attempts with it
            self._tell(node.retire, jobs)

    def another(self) -> Executor:
        """Return one more on the same cluster."""
        quiet = replace(self._request, voice=lambda _, __: None)
        return DaskExecutor(quiet, self._settings, self._cluster, first=False)

    def close(self) -> None:
        """Stop what is in hand, and the cluster if it was started for this run."""
        for ticket, hand in list(self._hands.items()):
            self._call_off(ticket, hand)
        self._hands.clear()
        self._pool.shutdown(wait=True, cancel_futures=False)
        self._forget_done()
        for place, _ in self._done:
            shutil.rmtree(place, ignore_errors=True)
        if self._first:
            for orphan in self._orphans.values():
                if orphan.landed() is not None or not orphan.is_alive(self._settings.lost_s):
                    orphan.forget()
            self._cluster.close()

    # -- to the cluster ---------------------------------------------------------------------------------------------
    def _send(self, ticket: str, hand: _Hand) -> None:
        client, job = self._client(), hand.job
        order = {
            "job": job.to_json(),
            "ticket": ticket,
            "likeness": words.likeness(job),
            "place": str(hand.place),
            "topic": self._topic,
            "facts": node.facts(),
            "visible_s": self._settings.visible_s,
        }
        chosen: dict[str, Any] = {}
        try:
            if unfit := self._unfit_now():
                chosen["workers"] = [address for address in client.nthreads() if address not in unfit]
                if not chosen["workers"]:
                    self._hands[ticket] = hand
                    reason = next(iter(unfit.values()))
                    self._end(ticket, Outcome(ticket, {}, "environment", f"no node is fit: {reason}"))
                    return
            hand.workers = frozenset(chosen.get("workers", ()))
            key = f"{job.stage_id or 'attempt'}-{uuid.uuid4().hex}"
            hand.future = client.submit(errand.run, json.dumps(order), key=key, pure=False, retries=0, **chosen)
        except Exception as error:
            raise EnvironmentFault(f"{self._cluster.name} takes no work ({type(error).__name__}: {error})") from error
        self._hands[ticket] = hand
        hand.future.add_done_callback(lambda future: self._pool.submit(self._answered, ticket, future))

    def _client(self) -> Any:
        client = self._cluster.client()
        if client is not self._heard:
            client.subscribe_topic(self._topic, self._hear)
            self._heard = client
        return client

    def _hear(self, event: tuple[float, Mapping[str, Any]]) -> None:
        message = dict(event[1])
        self._said.put((str(message.pop("ticket")), message))

    def _call_off(self, ticket: str, hand: _Hand) -> None:
        del ticket
        if hand.future is not None:
            with contextlib.suppress(Exception):
                hand.future.cancel()
        name = (hand.orphan.scratch if hand.orphan else Path(hand.job.folder)).name
        self._pool.submit(self._tell, node.cancel, name)

    def _tell(self, what: Any, *arguments: object) -> None:
        """Have every worker do something, and wait a little for it."""
        client = self._cluster.client()
        client.sync(client._run, what, *arguments, on_error="ignore", callback_timeout=CLOSE_S)

    # -- from the cluster -------------------------------------------------------------------------------------------
    def _answered(self, ticket: str, future: Any) -> None:
        """Take an answer, on a thread of the pool."""
        hand = self._hands.get(ticket)
        if hand is None or hand.future is not future or hand.arriving:
            return  # a late one; what it made is in a folder that nobody looks at
        hand.arriving = True
        try:
            answer = json.loads(future.result(timeout=self._settings.connect_s))
        except (Exception, distributed.CancelledError) as error:
            self._end(ticket, Outcome(ticket, {}, "environment", _lost(error, self._cluster.name)))
            return
        future.release()
        self._judge(ticket, hand, answer)

    def _judge(self, ticket: str, hand: _Hand, answer: Mapping[str, Any]) -> None:
        where = f"{answer['node']} ({answer['worker']})"
        if "refused" in answer:
            self._refused(ticket, where, answer)
            return
        said = dict(answer["outcome"]) | {"ticket": ticket}
        for name, value, unit in answer["metrics"]:
            self._said.put((ticket, {"metric": [name, value, unit]}))
        outcome = Outcome(**said)
        if outcome.error_class == "environment":
            outcome = replace(outcome, message=f"{outcome.message} (on {where})")
        if not outcome.error_class and not hand.job.describe:
            outcome = replace(outcome, result={**outcome.result, "node": where})
            try:
                arrival.await_files(Path(hand.job.folder), answer["digests"], visible_s=self._settings.visible_s)
            except CryoframeError as error:
                outcome = Outcome(ticket, {}, "environment", str(error))
        self._end(ticket, outcome)

    def _refused(self, ticket: str, where: str, answer: Mapping[str, Any]) -> None:
        reason = f"{where}: {answer['refused']}"
        if answer.get("remedy"):
            reason = f"{reason}. {answer['remedy']}"
        missing = str(answer.get("missing", ""))
        if answer["unfit"] and (
            not missing or Path(missing).exists()
        ):  # else nobody can see it, and no node is to blame
            until_s = time.monotonic() + UNFIT_S if missing else float("inf")
            self._unfit[str(answer["worker"])] = (until_s, reason)
        self._end(ticket, Outcome(ticket, {}, "environment", reason))

    def _end(self, ticket: str, outcome: Outcome) -> None:
        hand = self._hands.pop(ticket, None)
        if hand is not None:  # else it was cancelled meanwhile
            self._done.add((hand.place, Path(hand.job.folder)))
            self._ended.put(outcome)

    # -- now and then -----------------------------------------------------------------------------------------------
    def _look(self) -> None:
        """Notice what nobody reports: a scheduler that is gone, an orphan that ended or died."""
        if time.monotonic() - self._looked_s < LOOK_S:
            return
        self._looked_s = time.monotonic()
        there = self._workers_there()
        for ticket, hand in list(self._hands.items()):
            if hand.arriving:
                continue
            if hand.workers and there is not None and hand.workers.isdisjoint(there):  # it would wait for ever
                self._call_off(ticket, hand)
                self._end(ticket, Outcome(ticket, {}, "environment", "every node that was fit for it is gone"))
                continue
            if hand.orphan is not None:
                self._look_after(ticket, hand, hand.orphan)
            elif hand.future is not None and (
                hand.future.status in ("lost", "cancelled") or not self._cluster.is_connected()
            ):
                self._end(
                    ticket, Outcome(ticket, {}, "environment", f"{self._cluster.name} was lost, with its attempts")
                )
        self._forget_done()

    def _workers_there(self) -> set[str] | None:
        """Return the workers there are, if it matters and can be known."""
        if any(hand.workers for hand in self._hands.values()):
            with contextlib.suppress(Exception):
                return set(self._cluster.client().nthreads())
        return None

    def _look_after(self, ticket: str, hand: _Hand, orphan: orphans.Orphan) -> None:
        landed = orphan.landed()
        if landed is not None and not landed["outcome"]["error_class"]:
            hand.arriving = True
            self._pool.submit(self._adopt, ticket, hand, orphan, landed)
        elif landed is not None or not orphan.is_alive(self._settings.lost_s):
            orphan.forget()
            hand.orphan = None
            try:
                self._send(ticket, hand)
            except EnvironmentFault as error:
                self._end(ticket, Outcome(ticket, {}, "environment", str(error)))

    def _adopt(self, ticket: str, hand: _Hand, orphan: orphans.Orphan, landed: Mapping[str, Any]) -> None:
        """Take up what was finished while nobody was there to take it."""
        try:
            arrival.await_files(orphan.scratch, landed["digests"], visible_s=self._settings.visible_s)
            arrival.take_over(orphan.scratch, Path(hand.job.folder), leave_out=node.ORDER)
            shutil.rmtree(orphan.place, ignore_errors=True)
        except (CryoframeError, OSError) as error:
            orphan.forget()
            self._end(ticket, Outcome(ticket, {}, "environment", f"what {orphan.claim['node']} left: {error}"))
            return
        self._judge(ticket, hand, landed)

    def _forget_done(self) -> None:
        """Remove word of attempts whose folder is gone: committed, or thrown away."""
        for place, folder in [entry for entry in self._done if not entry[1].exists()]:
            shutil.rmtree(place, ignore_errors=True)
            self._done.discard((place, folder))

    def _unfit_now(self) -> dict[str, str]:
        now_s = time.monotonic()
        self._unfit = {address: entry for address, entry in self._unfit.items() if entry[0] > now_s}
        return {address: reason for address, (_, reason) in self._unfit.items()}


def _seen_from_afar(job: Job) -> Job:
    """Return the job with every path of the run as other machines know it: links are this machine's alone."""
    inputs = tuple(
        replace(
            wanted,
            folders=tuple(str(Path(folder).resolve()) for folder in wanted.folders),
            updates=tuple((str(Path(folder).resolve()), part) for folder, part in wanted.updates),
        )
        for wanted in job.inputs
    )
    return replace(job, folder=str(Path(job.folder).resolve()), inputs=inputs)


def _lost(error: BaseException, cluster: str) -> str:
    """Say in words why there is no answer."""
    if isinstance(error, distributed.KilledWorker):
        return f"its workers died: {error.task} was with {error.last_worker.address} last"
    if isinstance(error, (distributed.CancelledError, TimeoutError)):
        return f"{cluster} dropped it ({type(error).__name__}; seen from {socket.gethostname()})"
    return f"no answer from {cluster} ({type(error).__name__}: {error})"
