"""The page of a session tells its state in one word, what stands still and why, how it goes, and asks no network."""

from __future__ import annotations

import fcntl
import os
import re
import socket
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from cryoframe.data.images import Classes2D
from cryoframe.data.tables import ClassTable, ExposureTable, ParticleTable
from cryoframe.execution.exposures import TABLE
from cryoframe.formats import products
from cryoframe.records import events, session_events
from cryoframe.records.bus import Bus
from cryoframe.records.database import Database
from cryoframe.records.journal import Journal
from cryoframe.records.state import Standing, Task, Watermark
from cryoframe.records.store import Store
from cryoframe.view import wall
from cryoframe.view.condition import NOBODY, Condition, Sign, Watcher
from cryoframe.view.exposures import PAGE
from cryoframe.view.keeping import kept_current
from cryoframe.view.pace import pace
from cryoframe.view.upkeep import Upkeep
from cryoframe.view.wall import Shown, page
from cryoframe.view.wall_pictures import Pictures

NOW = datetime.now(UTC)


def utc(ago_s: float) -> str:
    return (NOW - timedelta(seconds=ago_s)).isoformat(timespec="seconds")


ROWS = [
    {"micrograph_id": "grid/a b.tiff", "path": "/x/grid/a b.tiff", "status": "done", "landed_utc": utc(4000),
     "finished_utc": utc(3700), "picks_png": "stages/p/k/a b.png", "n_picks": 7, "ctf_png": "stages/c/k/ctf.png",
     "defocus_u_A": 12345.0, "fit_resolution_A": 3.5},
    {"micrograph_id": "b.tiff", "path": "/x/b.tiff", "status": "done", "landed_utc": utc(100), "finished_utc": utc(40)},
    {"micrograph_id": "c.tiff", "path": "/x/c.tiff", "status": "waiting", "landed_utc": utc(10)},
    {"micrograph_id": "d's.tiff", "path": "/x/d's.tiff", "status": "set_aside", "reason": "ctf: <torn>",
     "landed_utc": utc(50)},
    {"micrograph_id": "e.tiff (refused)", "path": "/x/e.tiff", "status": "refused", "reason": "Truncated: short",
     "landed_utc": utc(60)},
]  # fmt: skip


def shown(now: Condition, rows: list[dict[str, object]] = ROWS) -> str:
    table = ExposureTable.from_rows(rows)  # type: ignore[arg-type]
    return page(Shown("grid <3>", now, pace(table), table.rows()), reload_s=15)


def word(text: str) -> tuple[str, str]:
    found = re.search(r'<header class="(\w+)".*?class="words">([^<]*)<', text)
    assert found is not None
    return found[1], found[2]


ALARM = Standing("share", "/share/<x>", "it has not answered for 130 s", utc(200))


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (Condition(holder="p", n_left=3), ("working", "at work")),
        (Condition(holder="p"), ("waiting", "waiting")),
        (Condition(holder="p", n_left=3, held=f"paused by anna at {utc(60)}"), ("paused", "paused")),
        (Condition(holder="p", stands=[Sign("disk", "", "only 1 GB", utc(9))]), ("paused", "paused")),
        (Condition(holder="p", stands=[Sign("stage", "ctf", "11 of 20 failed", utc(9))]), ("alarm", "alarm")),
        (Condition(holder="p", held=f"paused by anna at {utc(60)}", alarms=[ALARM]), ("alarm", "alarm")),
        (Condition(end="ended", last_utc=utc(9)), ("ended", "ended")),
        (Condition(end="lost", last_utc=utc(9), alarms=[ALARM]), ("nobody", "nobody at work")),
    ],
)
def test_the_state__is_one_word_by_what_matters_most(now: Condition, expected: tuple[str, str]) -> None:
    assert word(shown(now)) == expected


def test_everything_that_stands_still__is_said_once_with_since_when_and_what_to_do() -> None:
    stands = [
        Sign("share", "/share/<x>", "no such device", utc(100)),  # the alarm says it
        Sign("stage", "picks", "11 of the last 20 failed", utc(90)),
        Sign("disk", "", "only 1 GB is free", utc(80)),
    ]
    held = f"paused by anna at {utc(60)}"
    text = shown(Condition(folder="/runs/my run", holder="p", alarms=[ALARM], stands=stands, held=held))
    lines = re.findall(r"<li.*?</li>", text)
    assert [re.sub(r"<[^>]+>", " ", line).split()[0] for line in lines] == ["Share", "Stage", "Disk", "Paused"]
    assert "/share/&lt;x&gt;" in lines[0]
    assert f'data-at="{ALARM.since}"' in lines[0]
    assert "<code>cryoframe resume &#x27;/runs/my run&#x27; --stage picks</code>" in lines[1]
    assert "by anna" in lines[3]
    assert "Share offline, Stage held, Disk, Paused." in text


def test_tiles__count_backlog_and_pace() -> None:
    going = pace(ExposureTable.from_rows(ROWS), NOW)  # type: ignore[arg-type]
    assert (going.n_rows, going.n_done, going.n_waiting, going.n_set_aside, going.n_refused) == (5, 2, 1, 1, 1)
    assert (going.landed_1_h, going.finished_1_h, going.newest_utc) == (4, 1, utc(40))
    text = shown(Condition(holder="p"))
    assert f'<span data-at="{utc(40)}">' in text
    assert '<div class="bad"><span class="big">2</span><span class="what">set aside or refused' in text


def test_what_was_set_aside__comes_with_its_reason_and_the_command_that_retries_it() -> None:
    text = shown(Condition(folder="/runs/a", holder="p"))
    assert "ctf: &lt;torn&gt;" in text
    assert "cryoframe retry /runs/a --item &#x27;d&#x27;&quot;&#x27;&quot;&#x27;s.tiff&#x27;" in text
    assert "taken again once the file changes" in text
    many = [{**ROWS[3], "micrograph_id": f"m{number}", "path": f"/m{number}"} for number in range(40)]
    assert "the latest 12 of 40" in shown(Condition(holder="p"), many)


def test_the_newest_pictures__are_there_by_path_and_nothing_asks_the_network() -> None:
    text = shown(Condition(holder="p", watermarks=[Watermark("/share", 4, 77, utc(30))], disk_GB=(5.0, 10.0)))
    assert 'src="stages/p/k/a%20b.png"' in text
    assert "7 picks" in text
    assert "1.23\u00a0µm, to 3.5\u00a0Å" in text
    assert "/share: 77 files" in text
    assert "5 of 10 GB free" in text
    assert not re.search(r"https?://|<link|@import|src=\"//", text)
    assert "<title>grid &lt;3&gt;</title>" in text


def test_a_page_of_somebody_at_work__says_by_itself_when_nobody_writes_it_any_more() -> None:
    assert re.search(rf'<header [^>]*data-most="{wall.MOST_AGE_S}"', shown(Condition(holder="p")))
    assert '<meta http-equiv="refresh" content="15">' in shown(Condition(end="ended"))
    assert 'data-most="0"' in shown(Condition(end="ended"))


def test_a_large_session__has_a_page_no_longer_than_a_small_one() -> None:
    rows = [{**ROWS[0], "micrograph_id": f"m{number}", "path": f"/m{number}"} for number in range(wall.MOST_ROWS + 1)]
    table = ExposureTable.from_rows(rows)  # type: ignore[arg-type]
    text = page(Shown("n", Condition(), pace(table), table.rows()[: wall.MOST_ROWS]))
    assert f"The latest {wall.MOST_ROWS} of {wall.MOST_ROWS + 1} are shown" in text
    assert len(text) < 2_000_000


def test_class_averages__are_shown_the_largest_first_and_drawn_once(tmp_path: Path) -> None:
    store = Store(tmp_path)
    classes = ClassTable.from_columns(
        {"class_id": np.arange(3), "n_particles": [5, 0, 9], "resolution_A": np.full(3, 9.0, np.float32)}
    )
    averages = np.random.default_rng(1).standard_normal((3, 16, 16)).astype(np.float32)
    product = Classes2D(averages, classes, ParticleTable.empty(), 3.0)
    scratch = store.scratch("classes", "key", 1)
    (scratch / "product").mkdir()
    products.save(product, scratch / "product")
    store.commit(scratch, "classes", "set", "key", job={})
    pictures = Pictures(tmp_path)
    task = Task("classes", "set", "key", "done", 1, "", "", "d")
    (drawn,) = pictures.of([task, Task("other", "set", "gone", "done", 1, "", "", "d")])
    assert [n_particles for _, n_particles in drawn.averages] == [9, 5]
    (again,) = pictures.of([task])
    assert again is drawn
    text = page(Shown("n", Condition(), pace(ExposureTable.from_rows([])), [], [drawn]))
    assert text.count('alt="class average" src="data:image/png;base64,') == 2


def test_the_page_of_a_run__says_what_the_log_says_and_that_its_keeper_was_left_alone(tmp_path: Path) -> None:
    database = Database.open(tmp_path / "state.sqlite")
    bus = Bus(Journal(database), "night")
    began = time.strftime("%F %T %z", time.localtime(0))
    (tmp_path / "lock").write_text(f"process {os.getpid()} on {socket.gethostname()} since {began}", encoding="ascii")
    bus.publish(events.RunOpened, folder=str(tmp_path), config_digest="d")
    bus.publish(events.ItemAdmitted, item_id="a\udce9", kind="Movie", digest="d", path="/x/a\udce9", facts={})
    bus.publish(session_events.AlarmRaised, kind="stall", subject="", message="nothing came for 900 s \udce9")
    (tmp_path / f".{TABLE}.7.part").write_text("of one that was killed", encoding="ascii")
    upkeep = Upkeep("night", tmp_path)
    with (tmp_path / "lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert upkeep.write() == ""
        text = (tmp_path / PAGE).read_text(encoding="utf-8")
        assert word(text) == ("alarm", "alarm")
        assert "Nothing moves" in text
        bus.publish(session_events.AlarmCleared, kind="stall", subject="")
        assert upkeep.write() == ""
        assert word((tmp_path / PAGE).read_text(encoding="utf-8")) == ("working", "at work")
    assert upkeep.write(lost=True) == ""
    assert word((tmp_path / PAGE).read_text(encoding="utf-8")) == ("nobody", "nobody at work")
    assert not list(tmp_path.glob(".*.part"))
    assert len(ExposureTable.read(tmp_path / TABLE)) == 1
    database.close()


def test_numbers_of_one__are_said_so() -> None:
    row = {**ROWS[2], "picks_png": "a.png", "n_picks": 1}
    text = shown(Condition(holder="p", n_left=1, watermarks=[Watermark("/share", 4, 1, utc(30))]), [row])
    assert "1 micrograph in work." in text
    assert "1 pick<" in text
    assert "/share: 1 file, " in text


NASTY = "<script>alert(1)</script>\"'`\udce9\n\u202e"


def test_hostile_names_and_messages__are_text_everywhere() -> None:
    long = NASTY * 5000
    plain = NASTY.replace("\udce9", "\\udce9")  # the table has UTF-8 only
    rows: list[dict[str, object]] = [
        {**ROWS[0], "micrograph_id": plain, "path": f"/x/{plain}", "picks_png": f"s/{plain}.png", "warnings": plain},
        {**ROWS[3], "micrograph_id": plain, "path": f"/y/{plain}", "reason": plain * 5000},
    ]
    stands = [Sign(kind, NASTY, long, utc(9)) for kind in ("disk", "stage", "share")]
    marks, alarms = [Watermark(NASTY, 1, 2, utc(3))], [Standing(NASTY, NASTY, long, utc(9))]
    now = Condition(
        folder=NASTY, holder=NASTY, held=f"paused by {NASTY} at {utc(9)}", cancelled=NASTY, stands=stands,
        alarms=alarms, watermarks=marks,
    )  # fmt: skip
    table = ExposureTable.from_rows(rows)  # type: ignore[arg-type]
    text = page(Shown(NASTY, now, pace(table), table.rows()), reload_s=15)
    assert text.count("<script>") == 1, "its own"
    assert "&lt;script&gt;" in text
    assert text.encode("utf-8", "backslashreplace")


def _began(folder: Path, moment: datetime) -> None:
    words = f"process {os.getpid()} on {socket.gethostname()} since {moment:%Y-%m-%d %H:%M:%S %z}"
    (folder / "lock").write_text(words, encoding="ascii")


def test_a_process_that_was_killed__is_not_taken_for_cancelled_because_an_earlier_one_was(tmp_path: Path) -> None:
    database = Database.open(tmp_path / "state.sqlite")
    bus = Bus(Journal(database), "night")
    _began(tmp_path, datetime.now(UTC) - timedelta(seconds=60))
    bus.publish(events.RunOpened, folder=str(tmp_path), config_digest="d")
    bus.publish(session_events.RunCancelled, who="anna")
    bus.publish(events.RunFinished, reason="cancelled")
    assert Watcher(tmp_path).look(database).end == "cancelled"
    _began(tmp_path, datetime.now(UTC) + timedelta(seconds=60))
    bus.publish(events.RunOpened, folder=str(tmp_path), config_digest="d")
    now = Watcher(tmp_path).look(database)
    assert (now.word, now.end, now.cancelled) == (NOBODY, "lost", "")
    database.close()


def test_the_keeper_of_one_that_is_gone__does_not_write_over_the_page_of_the_next(tmp_path: Path) -> None:
    database = Database.open(tmp_path / "state.sqlite")
    Bus(Journal(database), "night").publish(events.RunOpened, folder=str(tmp_path), config_digest="d")
    _began(tmp_path, NOW)
    left = Upkeep("night", tmp_path)
    _began(tmp_path, NOW + timedelta(seconds=9))
    (tmp_path / PAGE).write_text("of the next", encoding="ascii")
    assert left.write(lost=True) == ""
    assert (tmp_path / PAGE).read_text(encoding="ascii") == "of the next"
    database.close()


@pytest.mark.parametrize("apart", [False, True])
def test_work_that_breaks_off__leaves_no_page_that_says_it_ended_in_good_order(tmp_path: Path, apart: bool) -> None:
    database = Database.open(tmp_path / "state.sqlite")
    bus = Bus(Journal(database), "night")
    bus.publish(events.RunOpened, folder=str(tmp_path), config_digest="d")

    def work() -> None:
        with kept_current(bus, tmp_path, apart=apart):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    assert word((tmp_path / PAGE).read_text(encoding="utf-8")) == ("nobody", "nobody at work")
    bus.publish(events.RunFinished, reason=f"{events.FAILED}ZeroDivisionError: by zero")
    now = Watcher(tmp_path).look(database)
    assert (now.word, now.end, now.failed) == (NOBODY, "failed", "ZeroDivisionError: by zero")
    assert "broke off" in shown(now)
    database.close()
