"""The short form of the Slurm campaign: jobs queued again, and a head that dies while jobs end."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
import slurm

WHY = slurm.missing() or ("" if find_spec("dask_jobqueue") else "dask-jobqueue is not installed: cryoframe[dask]")
if not WHY and not os.environ.get("CRYOFRAME_SLURM"):
    WHY = "it takes minutes: set CRYOFRAME_SLURM=1, or run tests/campaigns/slurm.py"


@pytest.mark.slow
@pytest.mark.skipif(bool(WHY), reason=WHY)
def test_requeued_jobs_and_a_dead_head__lose_nothing_and_do_nothing_twice(tmp_path: Path) -> None:
    chosen = [trial for trial in slurm.TRIALS if trial.act in (slurm.requeue, slurm.kill_head)]
    with slurm.slurm(tmp_path / "slurm"):
        wrong = {line: found for line, found in slurm.run(tmp_path, chosen) if found}
    assert len(chosen) == 2
    assert not wrong


def test_products_seen_late_and_in_pieces__are_no_failures() -> None:
    assert slurm.late_files(6) == []
