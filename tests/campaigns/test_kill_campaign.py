"""The short form of the kill campaign, and a proof that its judge sees what it is there to see."""

from __future__ import annotations

import shutil
import sqlite3
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

import history
from kill_campaign import N_MICROGRAPHS, POINTS, STAGES, Campaign

N_KILLS, BUDGET_S = 30, 25.0
ITEMS = {f"m{number}.mrc" for number in range(N_MICROGRAPHS)}


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Campaign:
    made = Campaign(tmp_path_factory.mktemp("campaign"), executor="inline", seed=5)
    yield made
    made.close()


@pytest.mark.slow
def test_killed_at_random__nothing_is_lost_done_twice_or_torn(campaign: Campaign, figure: Callable) -> None:
    campaign.at_random(N_KILLS, time.monotonic() + BUDGET_S)
    assert campaign.score.violations == []
    assert campaign.score.n_kills >= 3
    assert campaign.score.n_effects == campaign.score.n_runs * N_MICROGRAPHS * len(STAGES)
    figure("random kills", campaign.score.n_kills)
    figure("violations, 95 % bound [% a kill]", 300 / campaign.score.n_kills)


def test_the_named_points__are_at_least_twenty_five_with_those_killed_elsewhere() -> None:
    from kill_campaign import UNUSUAL

    assert len(POINTS) + len(UNUSUAL) >= 25


def _sql(statement: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        database = sqlite3.connect(folder / "state.sqlite")
        database.execute(statement)
        database.commit()
        database.close()

    return spoil


def _cut(folder: Path) -> None:
    path = next((folder / "stages").glob("*/*/product/*"))
    path.write_bytes(path.read_bytes()[:-1])


def _lose(folder: Path) -> None:
    shutil.rmtree(next((folder / "stages").glob("ctf/*")))


def _add(folder: Path) -> None:
    (folder / "scratch" / "ctf.0.1").mkdir(parents=True)


_TWICE = (
    "INSERT INTO events(event_id, name, text) SELECT event_id || 'z', name, text FROM events WHERE name='{}' LIMIT 1"
)


@pytest.mark.parametrize(
    "spoil",
    [
        _sql("DELETE FROM events WHERE seq=(SELECT min(seq) FROM events WHERE name='StageFinished')"),
        _sql("DELETE FROM events WHERE seq=(SELECT min(seq) FROM events WHERE name='ItemAdmitted')"),
        _sql("DELETE FROM events WHERE seq=(SELECT min(seq) FROM events WHERE name='StageStarted')"),
        _sql(_TWICE.format("StageFinished")),
        _sql(_TWICE.format("ItemAdmitted")),
        _cut, _lose, _add,
    ],
)  # fmt: skip
def test_the_judge__sees_each_kind_of_harm(campaign: Campaign, spoil: Callable[[Path], None], tmp_path: Path) -> None:
    whole = next(path for path in campaign._folder.iterdir() if (path / "out" / "state.sqlite").is_file()) / "out"
    assert history.violations(whole, ITEMS, STAGES) == []
    shutil.copytree(whole, tmp_path / "out")
    spoil(tmp_path / "out")
    found = history.violations(tmp_path / "out", ITEMS, STAGES)
    assert found or history.products(tmp_path / "out") != history.products(whole)
