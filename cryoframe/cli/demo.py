"""``cryoframe demo``: a small real session, watched, from micrograph to map, and its report. Data are shipped."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

from cryoframe.cli.output import complain, emit, json_flag, say

if TYPE_CHECKING:
    from cryoframe.execution.run import Run

#: Nothing new for this long, with all work done, ends the demo's session.
IDLE_S = 4.0


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "--out", type=Path, default=Path("cryoframe-demo"), metavar="DIR", help="where to work (default: %(default)s)"
    )
    json_flag(parser)


def run(options: argparse.Namespace) -> int:
    """Watch two micrographs land, refine 593 particles, write the report; exit code 1 when something was set aside."""
    from cryoframe.cli import demo_session
    from cryoframe.execution.run import Run
    from cryoframe.view.live import live_progress
    from cryoframe.view.report import write_report

    began, cpu_began = time.monotonic(), _cpu_s()
    config = demo_session.prepare(options.out.resolve())
    complain(f"Two micrographs land in {options.out / 'incoming'}; 593 particles are refined meanwhile.")
    with Run.open(config) as session:
        microscope = demo_session.Microscope(options.out.resolve())
        microscope.start()
        with live_progress(session.bus):
            _watch(session)
        microscope.join()
        extra, numbers = demo_session.comparison(session)
        report = write_report(session, options.out.resolve() / "report.html", extras=(extra,))
        counts = session.state.task_counts()
    numbers |= {"wall_s": time.monotonic() - began, "cpu_s": _cpu_s() - cpu_began}
    failed = sum(by_status.get("given_up", 0) for by_status in counts.values())
    if options.json:
        emit({"report": str(report), "stages": counts, "numbers": numbers})
    else:
        _say(numbers, counts, report)
    return 1 if failed or "angle_median_deg" not in numbers else 0


def _watch(session: Run) -> None:
    from cryoframe.watch.daemon import watch

    watch(session, until_idle_s=IDLE_S)


def _cpu_s() -> float:
    import resource

    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def _say(numbers: dict[str, float], counts: dict[str, dict[str, int]], report: Path) -> None:
    done = ", ".join(f"{stage} {by_status.get('done', 0)}" for stage, by_status in counts.items())
    say(f"done      {done}")
    if "angle_median_deg" in numbers:
        say(
            f"map       unmasked half-map FSC 0.143 at {numbers['resolution_A']:.2f} Å; "
            "median error to the published poses "
            f"{numbers['angle_median_deg']:.2f}° and {numbers['shift_median_A']:.2f} Å (RELION 5: 1.50° and 1.22 Å)"
        )
    else:
        say("map       not reached; the report says why")
    say(f"time      {numbers['wall_s']:.0f} s, {numbers['cpu_s']:.0f} CPU s")
    say(f"report    {report}")
