"""``cryoframe watch``: processes files as they land, until a signal; what a stop interrupts is taken up again."""

from __future__ import annotations

import argparse
from contextlib import nullcontext
from pathlib import Path

from cryoframe.cli import numbers
from cryoframe.cli.output import complain, json_flag
from cryoframe.errors import ConfigError


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    from cryoframe.cli.run import change_flags

    parser.add_argument("config", type=Path, metavar="FILE.toml", help="the configuration, with a [watch] section")
    change_flags(parser)
    parser.add_argument(
        "--until-idle", type=numbers.not_negative, metavar="s", help="end when nothing has changed for so long"
    )
    parser.add_argument("--report", type=Path, metavar="FILE.html", help="write the report here at the end")
    parser.add_argument("--quiet", action="store_true", help="no progress on standard error")
    json_flag(parser)


def run(options: argparse.Namespace) -> int:
    """Watch; 0 after a signal, which is the usual end; 130 when cancelled, so that no service starts it again.

    Else, once idle, 1 when something was given up or refused.
    """
    from cryoframe.cli.run import changed, check_report, conclude, in_order, remark
    from cryoframe.execution import places
    from cryoframe.execution.run import Run
    from cryoframe.view.keeping import kept_current
    from cryoframe.view.live import live_progress
    from cryoframe.watch.daemon import watch_until_stopped

    config = changed(options)
    if not config.watch.folders:
        raise ConfigError(f"{options.config} watches no folder", remedy='Add [watch] with folder = "…".')
    check_report(options.report)
    for line in places.remarks(config):
        complain(f"remark: {line}")
    with Run.open(config) as opened:
        remark(config, options)
        progress = nullcontext() if options.quiet else live_progress(opened.bus)
        with progress, kept_current(opened.bus, opened.folder, apart=True):
            stopped = watch_until_stopped(opened, until_idle_s=options.until_idle)
        if options.report:
            from cryoframe.view.report import write_report

            write_report(opened, options.report)
        status = in_order(opened.status(), [stage.id for stage in config.stages])
        cancelled = opened.cancelled
    failed = conclude(status, options, cancelled=cancelled)
    return 0 if stopped and not cancelled else failed
