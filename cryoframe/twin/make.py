"""Makes a session with n workers, every exposure that is not done yet; the number of workers changes no byte."""

from __future__ import annotations

import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from cryoframe.errors import ContractError, CryoframeError, EnvironmentFault
from cryoframe.twin import workers
from cryoframe.twin.faults import Planned
from cryoframe.twin.prepare import Ready, layout_of
from cryoframe.twin.workers import Bench, Made

#: So many exposures are handed out ahead of the workers: they are made in order of acquisition, for who waits.
AHEAD = 2
#: What people are told when a session ends early.
GOES_ON = "What is made is kept: the same command with --resume goes on."


def finished(bench: Bench, planned: Planned) -> Made | None:
    """Return what a finished exposure's manifest says; None where it is to be made (anew)."""
    return Made.read(bench.truth_of(planned.exposure.exposure_id))


def make_all(
    ready: Ready, *, n_workers: int, landed: Callable[[Planned], Path] | None = None
) -> Iterator[tuple[Planned, Made]]:
    """Make what is not done yet, and yield every exposure of the session in order of acquisition, done before or now.

    Parameters
    ----------
    ready
        The session.
    n_workers
        Processes that make exposures; none are started where all is done.
    landed
        Where an exposure's movie has landed or will land; one that is neither there nor waiting is made anew.

    Raises
    ------
    EnvironmentFault
        If a worker process was ended from outside.
    ContractError
        If two exposures are of cameras with different gain references.
    """
    bench = ready.bench
    shutil.rmtree(bench.truth / ".making", ignore_errors=True)
    names = _names(ready)
    done = {
        planned.shot.number: made
        for planned in ready.plan
        if (made := finished(bench, planned)) is not None and _is_there(bench, planned, made, landed)
    }
    todo = [planned for planned in ready.plan if planned.shot.number not in done]
    making = _made(bench, todo, names, n_workers) if todo else iter(())
    gain_digests: set[str] = set()
    for planned in ready.plan:
        while planned.shot.number not in done:
            number, made = next(making)
            done[number] = made
        gain_digests.add(done[planned.shot.number].gain_digest)
        if len(gain_digests) > 1:
            raise ContractError(
                f"{bench.use} gives {planned.exposure.exposure_id} another gain reference than the exposures before",
                expected="one camera a session: a gain that follows from the parameters alone",
            )
        yield planned, done[planned.shot.number]


def _names(ready: Ready) -> dict[int, str]:
    layout = layout_of(ready.config, ready.plan[0].shot)
    return {planned.shot.number: layout.movie_path(planned.shot).name for planned in ready.plan}


def _is_there(bench: Bench, planned: Planned, made: Made, landed: Callable[[Planned], Path] | None) -> bool:
    places = [bench.movie_of(made.exposure_id, made.movie)]
    if landed is not None:
        places.append(landed(planned))
    return any(place.is_file() and place.stat().st_size == made.n_bytes for place in places)


def _made(bench: Bench, todo: Sequence[Planned], names: dict[int, str], n_workers: int) -> Iterator[tuple[int, Made]]:
    context = multiprocessing.get_context("spawn")
    waiting = list(reversed(todo))
    running: dict[Future[Made], int] = {}
    with ProcessPoolExecutor(
        min(n_workers, len(todo)), mp_context=context, initializer=workers.begin, initargs=(1,)
    ) as pool:
        try:
            while waiting or running:
                while waiting and len(running) < n_workers + AHEAD:
                    planned = waiting.pop()
                    number = planned.shot.number
                    running[pool.submit(workers.make, bench, planned, names[number])] = number
                ended, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in ended:
                    yield running.pop(future), _result(future)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _result(future: Future[Made]) -> Made:
    try:
        return future.result()
    except BrokenProcessPool as error:
        raise EnvironmentFault(
            "a worker process was ended from outside", remedy=f"Look for too little memory. {GOES_ON}"
        ) from error
    except CryoframeError as error:
        if error.kind == "environment":
            error.remedy = f"{error.remedy} {GOES_ON}".strip()
        raise
    except OSError as error:
        raise EnvironmentFault(f"{error.filename or 'disk'}: {error.strerror or error}", remedy=GOES_ON) from error


def n_workers_default() -> int:
    """Return how many workers there are where nobody says."""
    return os.cpu_count() or 1
