"""Kills a run again and again, at random and at every named point, and has an independent judge look at what is left.

``python tests/campaigns/kill_campaign.py --kills 200`` before a change that touches the store, ``--kills 2000`` before
a release; the tests run a short form, ``cryoframe soak LT6`` another. Every figure depends on the seed alone, but for
the moments of the random kills.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from cryoframe.testing.soak.kills import POINTS, Campaign, tell
from cryoframe.testing.soak.score import Verdict

#: Memory, where there is some: a kill loses nothing that was written, synced or not, so the disk only costs time.
QUICK = Path("/dev/shm")


def main(words: Sequence[str]) -> int:
    """Run a campaign and print its figures; 1 if there was a violation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--executor", choices=("inline", "processes"), default="inline")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--no-points", action="store_true")
    parser.add_argument("--limit-s", type=float, default=float("inf"), help="end after so long, with what there is")
    parser.add_argument("--folder", type=Path, default=QUICK if QUICK.is_dir() else None)
    options = parser.parse_args(words)
    start_s = time.monotonic()
    verdict = Verdict("kills", "at random and at every named point")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        campaign = Campaign(Path(folder), executor=options.executor, seed=options.seed)
        campaign.at_points([] if options.no_points else POINTS)
        campaign.at_random(options.kills, start_s + options.limit_s)
        campaign.close()
    tell(campaign.score, verdict, points=not options.no_points)
    verdict.seconds = time.monotonic() - start_s
    sys.stdout.write("\n".join([*verdict.text(), ""]))
    return int(bool(campaign.score.violations))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
