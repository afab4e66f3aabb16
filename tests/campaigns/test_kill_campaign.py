"""The short form of the kill campaign, and a proof that its judge sees what it is there to see."""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cryoframe.testing.soak import history
from cryoframe.testing.soak.kills import N_MICROGRAPHS, POINTS, STAGES, Campaign

#: On two free cores all the kills fit into the time; on a busy machine there are fewer, and the figure says how many.
N_KILLS, BUDGET_S = 200, 38.0
QUICK = Path("/dev/shm")
ITEMS = {f"m{number:03d}.dat" for number in range(N_MICROGRAPHS)}


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Campaign]:
    folder = tmp_path_factory.mktemp("campaign")
    if QUICK.is_dir():  # a kill loses nothing that was written, so a disk would cost time alone
        folder = QUICK / f"cryoframe-{folder.parent.name}-{time.time_ns()}"
    made = Campaign(folder, seed=5)
    yield made
    made.close()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
def test_killed_at_random__nothing_is_lost_done_twice_or_torn(campaign: Campaign, figure: Callable) -> None:
    campaign.at_random(N_KILLS, time.monotonic() + BUDGET_S)
    assert campaign.score.violations == []
    assert campaign.score.n_kills >= 3
    assert campaign.score.n_effects == campaign.score.n_runs * N_MICROGRAPHS * len(STAGES)
    figure("random kills", campaign.score.n_kills)
    figure("violations, 95 % bound [% a kill]", 300 / campaign.score.n_kills)


def test_a_death_at_each_named_place__is_survived(campaign: Campaign, figure: Callable) -> None:
    assert len(POINTS) >= 25
    for point in POINTS:
        before = campaign.score.n_points
        campaign.at_points([point])
        assert campaign.score.n_points > before, f"{point} is not passed"
    assert campaign.score.violations == []
    figure("deaths at named places", campaign.score.n_points)


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
    "INSERT INTO events(event_id, form, cause, content) SELECT CAST(x'ff' || event_id AS BLOB), form, cause, content "
    "FROM events WHERE seq=(SELECT min(seq) FROM log WHERE name='{}')"
)


@pytest.mark.parametrize(
    "spoil",
    [
        _sql("DELETE FROM events WHERE seq=(SELECT min(seq) FROM log WHERE name='StageFinished')"),
        _sql("DELETE FROM events WHERE seq=(SELECT min(seq) FROM log WHERE name='ItemAdmitted')"),
        _sql("DELETE FROM events WHERE seq=(SELECT min(seq) FROM log WHERE name='StageStarted')"),
        _sql(_TWICE.format("StageFinished")),
        _sql(_TWICE.format("ItemAdmitted")),
        _cut, _lose, _add,
    ],
)  # fmt: skip
def test_the_judge__sees_each_kind_of_harm(campaign: Campaign, spoil: Callable[[Path], None], tmp_path: Path) -> None:
    whole = next(path for path in campaign.folder.iterdir() if (path / "run" / "state.sqlite").is_file()) / "run"
    assert history.violations(whole, ITEMS, STAGES) == []
    shutil.copytree(whole, tmp_path / "run")
    spoil(tmp_path / "run")
    assert history.violations(tmp_path / "run", ITEMS, STAGES)
