"""``cryoframe warmup``: compiles the numeric kernels into the user's cache by running each stage once on a phantom."""

from __future__ import annotations

import argparse
import time

from cryoframe.cli.output import json_flag, table


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("hook", nargs="*", metavar="HOOK", help="these stages only")
    json_flag(parser)


def run(options: argparse.Namespace) -> int:
    """Run the conformance kit's first call of every stage: on its small phantom, each kernel is compiled once."""
    from cryoframe.cli.plugins import collect
    from cryoframe.kernel.stage import stage_specs
    from cryoframe.testing import run_checks

    plugins = collect()
    rows = []
    for hook in options.hook or stage_specs():
        for offer in plugins.offered(hook):
            begun = time.perf_counter()
            results = run_checks(hook, offer.qualified, only=["runs"])
            failed = [result.message for result in results if not result.passed]
            seconds = time.perf_counter() - begun
            rows.append(
                [hook, offer.name, round(seconds, 1), failed[0] if failed else "ready" if results else "no phantom"]
            )
    table(options, ["stage", "implementation", "seconds", "state"], rows)
    return 0
