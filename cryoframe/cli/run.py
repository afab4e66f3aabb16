"""``cryoframe run``: runs a configuration until nothing is left to do."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryoframe.cli.output import complain, emit, json_flag, say

if TYPE_CHECKING:
    from cryoframe.kernel.config import RunConfig

#: So many rejected files, and tasks given up, are listed without being asked for.
MAX_REJECTED = 20


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("config", type=Path, metavar="FILE.toml", help="the configuration")
    change_flags(parser)
    parser.add_argument("--report", type=Path, metavar="FILE.html", help="write the report here when done")
    parser.add_argument("--quiet", action="store_true", help="no progress on standard error")
    json_flag(parser)


def change_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that go before the configuration."""
    parser.add_argument("--workers", type=int, metavar="N", help="attempts at a time")
    parser.add_argument("--executor", metavar="NAME", help="where attempts run: inline, processes, dask …")
    parser.add_argument("--device", help="auto, cpu, cuda or cuda:n")


def run(options: argparse.Namespace) -> int:
    """Run; 1 when something was given up or refused, 130 when it was cancelled."""
    from cryoframe.execution.run import Run
    from cryoframe.view.keeping import kept_current
    from cryoframe.view.live import live_progress
    from cryoframe.view.remarks import alarms_of

    check_report(options.report)
    with Run.open(changed(options)) as opened:
        remark(opened.config, options)
        for line in opened.plan().explain():
            complain(line) if not options.quiet and line.startswith("  note") else None
        progress = nullcontext() if options.quiet else live_progress(opened.bus)
        with progress, kept_current(opened.bus, opened.folder):
            opened.execute()
        for line in () if options.quiet else alarms_of(opened):
            complain(line)
        if options.report:
            from cryoframe.view.report import write_report

            write_report(opened, options.report)
        status = in_order(opened.status(), [stage.id for stage in opened.config.stages])
        cancelled = opened.cancelled
    return conclude(status, options, cancelled=cancelled)


def changed(options: argparse.Namespace) -> RunConfig:
    """Return the configuration with what the command line changes."""
    import dataclasses

    from cryoframe.errors import ConfigError
    from cryoframe.kernel.attempt import BUILT_IN_EXECUTORS
    from cryoframe.kernel.config import MAX_WORKERS, check_executor, load
    from cryoframe.kernel.device import check_name

    config = load(options.config)
    given = {name: getattr(options, name) for name in ("workers", "executor", "device")}
    if given["workers"] is not None and not 1 <= given["workers"] <= MAX_WORKERS:
        raise ConfigError(f"--workers is {given['workers']}", expected=f"more than 0 and at most {MAX_WORKERS}")
    if given["device"] is not None:
        check_name(given["device"])
    config = dataclasses.replace(config, **{name: value for name, value in given.items() if value is not None})
    if given["executor"] in BUILT_IN_EXECUTORS:
        return dataclasses.replace(config, executor_settings={})
    if given["executor"] is not None:
        check_executor(config, "--executor")
    return config


def check_report(path: Path | None) -> None:
    """Refuse a report that could not be written, before the work and not after it."""
    from cryoframe.errors import ConfigError
    from cryoframe.records import folders

    if path is None:
        return
    if path.is_dir():
        raise ConfigError(f"--report: '{path}' is a directory", expected="the name of a file, e.g. report.html")
    folders.made(path.absolute().parent, "--report", remedy="Give another file.")


def remark(config: RunConfig, options: argparse.Namespace) -> None:
    """Say at the beginning what is assumed of the microscope."""
    if not options.quiet and (text := config.optics_remark()):
        complain(f"remark: {text}")


def in_order(status: dict[str, Any], stages: Sequence[str]) -> dict[str, Any]:
    """Return the status with its stages in the order of the configuration."""
    tasks = status["tasks"]
    return status | {"tasks": {stage: tasks[stage] for stage in (*stages, *tasks) if stage in tasks}}


def conclude(status: dict[str, Any], options: argparse.Namespace, *, cancelled: bool = False) -> int:
    """Say how it went."""
    from cryoframe.cli.main import EXIT_INTERRUPTED

    if options.json:
        emit(status)
    else:
        write(status)
    if cancelled:
        complain("cancelled; the same command goes on where it was")
        return EXIT_INTERRUPTED
    return int(bool(status["given_up"]) or "rejected" in status["files"])


def write(status: dict[str, Any]) -> None:
    """Write a run's status for people."""
    from cryoframe.view.tables import show

    say(f"{status['name']}: {status['folder']}")
    if status["files"]:
        say("files: " + ", ".join(f"{count} {name}" for name, count in status["files"].items()))
    names = sorted({name for counts in status["tasks"].values() for name in counts})
    if names:
        show(["stage", *names], [[stage, *(counts.get(n) for n in names)] for stage, counts in status["tasks"].items()])
    for text in status["remarks"]:
        say(f"remark: {text}")
    for stage, item, reason in status["given_up"][:MAX_REJECTED]:
        complain(f"given up: {stage} {item}: {reason}")
        if path := status["tracebacks"].get(f"{stage} {item}"):
            complain(f"  see {path}")
    if (more := len(status["given_up"]) - MAX_REJECTED) > 0:
        complain(f"given up: {more} more; `cryoframe retry` lists all")
    for entry in status["rejected"][:MAX_REJECTED]:
        complain(f"rejected: {entry['path']}: {entry['reason']}")
    if (more := len(status["rejected"]) - MAX_REJECTED) > 0:
        complain(f"rejected: {more} more; `cryoframe status --rejected` lists all")
