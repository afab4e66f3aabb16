"""The model of a session in small: whatever is done to it, in any order, nothing is lost, twice or torn."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from session_machine import play

N_RUNS, N_STEPS = 25, 20


@pytest.mark.slow
def test_a_session_to_which_anything_happens__does_all_once() -> None:
    play(N_RUNS, N_STEPS, shrink=False)
