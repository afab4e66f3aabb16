"""Checks of how a plugin behaves as a guest: time, memory, files, output, cancellation; not of its results."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

from cryoframe.errors import Cancelled
from cryoframe.testing.checks.promise import Check, fail
from cryoframe.testing.fakes import Listener
from cryoframe.testing.sandbox import Sandbox, Visit
from cryoframe.testing.sessions import Session, TimedOut

N_CALLS = 5


def time_bounded(session: Session) -> None:
    """A call on the phantom ends before the deadline."""
    if worked(session).timed_out:
        fail(
            f"not back after {session.limits.deadline_s:g} s in a process of its own",
            expected="a result from the small phantom within that time",
            remedy="Bound every loop; state a longer limit if the work really takes that long.",
        )


def works_in_a_worker(session: Session) -> None:
    """The plugin survives the way to a worker process and does its work there."""
    visit = worked(session)
    if visit.report.error:
        fail(
            f"in a worker process it raised {visit.report.error}", remedy="Run `cryoframe stage` to see the traceback."
        )
    if visit.report.refused:
        fail(f"the kernel's worker does not accept its result: {visit.report.refused}")
    if visit.returncode:
        fail(f"its worker process ended with status {visit.returncode}", expected="0")


def nothing_printed(session: Session) -> None:
    """A call prints nothing."""
    text = worked(session).printed.strip()
    if text:
        fail(f"it prints {text[:200]!r}", remedy="Use ctx.log, ctx.report or ctx.metric.")


def nothing_outside_workdir(session: Session) -> None:
    """A call writes nowhere but into its work folder: not where it was started, not at home, not beside its inputs."""
    left = worked(session).left
    if left:
        fail(f"it wrote or removed {', '.join(sorted(left)[:5])}", remedy="Write only to ctx.workdir.")


def nothing_left_running(session: Session) -> None:
    """A call leaves no thread and no process behind."""
    report = worked(session).report
    if report.threads:
        fail(f"threads left running: {', '.join(report.threads)}", remedy="Join them before returning.")
    if report.children:
        fail(f"{report.children} processes left running", remedy="Wait for them, or end them, before returning.")


def memory_growth(session: Session) -> None:
    """Repeated calls do not keep memory."""
    used_MB = worked(session).report.memory_MB
    steps = [after - before for before, after in itertools.pairwise(used_MB[1:])]
    # An allocator takes a block now and then; what leaks grows with every call.
    kept_MB = min(steps, default=0.0)
    if kept_MB > session.limits.growth_MB:
        fail(
            f"each call keeps {kept_MB:.1f} MB more",
            expected=f"less than {session.limits.growth_MB:g} MB",
            remedy="Keep no module-level caches or lists that grow.",
        )


def kill_and_resume(session: Session) -> None:
    """After a call was killed half-way, the next one works and gives the same bytes."""
    killed_first, undisturbed = worked(session).report, session.nominal()
    if killed_first.error:
        fail(f"after a killed call it raised {killed_first.error}", remedy="Keep nothing between calls.")
    from cryoframe.testing import anatomy

    if killed_first.fingerprint != anatomy.fingerprint(undisturbed.result):
        fail("after a killed call, in a new process, the result has other bytes", remedy="Keep nothing between calls.")


def cancellation(session: Session) -> None:
    """A cancelled call stops: `ctx.report` raises, and nobody swallows that."""
    listener = Listener(cancels=True)
    limit_s = max(session.limits.cancel_s, 0.5 * session.nominal().seconds)
    begun = time.perf_counter()
    try:
        session.call(listener=listener, inputs=session.suited(), seconds=limit_s + 1.0)
    except Cancelled:
        if time.perf_counter() - begun > limit_s:
            fail(f"it took {time.perf_counter() - begun:.1f} s to notice", expected=f"{limit_s:.1f} s")
        return
    except TimedOut:
        fail(
            f"a cancelled call went on for more than {limit_s:.1f} s",
            remedy="Call ctx.report(done, total) or look at ctx.cancelled() in every loop.",
        )
    if listener.n_questions:
        fail(
            "it was told to stop and returned a result all the same",
            remedy="Let Cancelled, raised by ctx.report, pass; do not catch Exception around it.",
        )
    if time.perf_counter() - begun > limit_s:
        fail(f"it never asked in {limit_s:.1f} s", remedy="Call ctx.report(done, total) in every loop.")


def progress_reported(session: Session) -> None:
    """A long call says how far it is."""
    done = session.nominal()
    if done.seconds > session.limits.silent_s and not done.listener.reports:
        fail(f"silent for {done.seconds:.1f} s", remedy="Call ctx.report(done, total) in its outer loop.")
    for count, total, _ in done.listener.reports:
        if not 0 <= count <= max(total, 0):
            fail(f"it reported {count} of {total}", expected="done ≤ total")


def worked(session: Session) -> Visit:
    """Return the visit in which the plugin was called several times, after a visit that was killed half-way."""
    return session.remember("work", lambda: _work(session))


def _work(session: Session) -> Visit:
    sandbox, job = Sandbox(session.fresh_folder("sandbox-work")), session.needed("nominal")
    inputs = tuple(Path(folder) for ref in job.inputs for folder in ref.folders)
    raw = tuple(Path(file.path).parent for ref in job.inputs for file in ref.raw)
    limit_s = session.limits.deadline_s
    killed = sandbox.visit(job, timeout_s=limit_s, die_at_first_report=True, n_calls=1)
    if killed.timed_out:
        return killed
    n_calls = N_CALLS if killed.report.seconds < 1.0 else N_CALLS - 1
    visit = sandbox.visit(job, timeout_s=limit_s * 2, watched=(*inputs, *raw), n_calls=n_calls)
    visit.left = [*killed.left, *(name for name in visit.left if name not in killed.left)]
    return visit


FIRST = (Check(time_bounded, "load"),)
CHECKS = (
    Check(works_in_a_worker),
    Check(nothing_printed),
    Check(nothing_outside_workdir),
    Check(nothing_left_running),
    Check(memory_growth),
    Check(kill_and_resume),
    Check(cancellation),
    Check(progress_reported),
)
