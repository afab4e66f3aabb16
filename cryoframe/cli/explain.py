"""``cryoframe explain``: a particle's passport: where from, who touched it, why dropped."""

from __future__ import annotations

import argparse
import dataclasses

from cryoframe.cli.output import emit, json_flag, say
from cryoframe.cli.runs import folder_of, looking_into, run_argument


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("particle_id", type=int, metavar="PARTICLE_ID", help="as in any of the run's particle tables")
    run_argument(parser, flag=True)
    json_flag(parser)


def run(options: argparse.Namespace) -> int:
    """Tell the particle's way."""
    from cryoframe.errors import ConfigError, InvalidInput
    from cryoframe.kernel.lineage import explain

    with looking_into(folder_of(options.where)) as (state, store):
        try:
            passport = explain(state, store, options.particle_id)
        except InvalidInput as error:
            raise ConfigError(error.what, expected=error.expected) from error
    if options.json:
        emit({**dataclasses.asdict(passport), "dropped": passport.dropped})
        return 0
    say(
        f"particle {passport.particle_id} of {passport.micrograph_id} at x {passport.x_A:.1f} Å, y {passport.y_A:.1f} Å"
    )
    for stamp in passport.stamps:
        by = f"{stamp.hook} {stamp.use} ({stamp.plugin})"
        say(f"  {stamp.stage_id}: {stamp.fate} by {by}" + _why(stamp.reason, stamp.value, stamp.threshold))
    say("it was dropped" if passport.dropped else "it is in use")
    return 0


def _why(reason: str, value: float | None, threshold: float | None) -> str:
    if not reason:
        return ""
    compared = "" if value is None else f", {value:.4g}"
    return f": {reason}{compared}" + ("" if threshold is None else f" against {threshold:.4g}")
