"""The page of exposures shows every row with its pictures and what to look at, and follows a run while it works."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from cryoframe.data.tables import ExposureTable
from cryoframe.execution.exposures import TABLE
from cryoframe.formats.png import png
from cryoframe.records import events
from cryoframe.records.bus import Bus
from cryoframe.records.database import Database
from cryoframe.records.journal import Journal
from cryoframe.view import keeping
from cryoframe.view.exposures import PAGE, embedded, page, table_html, totals
from cryoframe.view.keeping import kept_current

ROWS = [
    {
        "micrograph_id": "grid/a<b>.tiff", "path": "/x/grid/a<b>.tiff", "status": "done", "warnings": "tilted & thick",
        "landed_utc": "2026-01-05T08:00:00+00:00", "finished_utc": "2026-01-05T08:00:30+00:00", "defocus_u_A": 12345.6,
        "ctf_accepted": False, "n_picks": 7, "picks_png": "stages/pick/k y/shown/picks.png",
    },
    {
        "micrograph_id": "c.tiff", "path": "/x/c.tiff", "status": "refused", "reason": "torn", "warnings": "",
        "landed_utc": "2026-01-05T09:00:00+00:00",
    },
]  # fmt: skip


def test_the_page__has_each_row_the_latest_first_and_escapes_names() -> None:
    text = page("a & b", ExposureTable.from_rows(ROWS), reload_s=7)
    assert text.index("c.tiff") < text.index("a&lt;b&gt;.tiff")
    assert '<meta http-equiv="refresh" content="7">' in text
    assert "<title>a &amp; b</title>" in text
    assert 'src="stages/pick/k%20y/shown/picks.png"' in text
    assert 'data-v="12345.6">12346<' in text
    assert "tilted &amp; thick" in text
    assert "torn" in text
    assert 'data-v="30.0">30<' in text  # from landing to the end
    assert re.search(r'<tr class="done warned">.*rejected', text)
    assert not re.search(r"<(script|link|img)[^>]+https?:", text)


def test_columns_that_nobody_filled__are_left_out() -> None:
    head = table_html(ROWS, lambda path: path).partition("</thead>")[0]
    assert "<th>picks</th>" in head
    assert "<th>defocus U [Å]</th>" in head
    assert "motion" not in head
    assert "drift" not in head


def test_every_row__has_a_cell_for_every_heading() -> None:
    text = table_html(ROWS, lambda path: path)
    rows = re.findall(r"<tr.*?</tr>", text)
    assert len(rows) == 3
    assert len({len(re.findall(r"<t[hd]", row)) for row in rows}) == 1


def test_embedded_pictures__are_so_many_and_no_more(tmp_path: Path) -> None:
    import numpy as np

    (tmp_path / "a.png").write_bytes(png(np.zeros((2, 2), dtype=np.uint8)))
    address = embedded(tmp_path, most=2)
    assert address("a.png").startswith("data:image/png;base64,iVBOR")
    assert address("missing.png") == ""
    assert address("a.png") == ""


def test_totals__tell_states_and_how_many_an_hour() -> None:
    ended = [{"status": "done", "finished_utc": f"2026-01-05T08:{minute:02}:00+00:00"} for minute in range(0, 30, 10)]
    assert totals([]) == "nothing yet"
    assert totals([*ended, {"status": "set_aside"}]) == "3 done, 1 set aside; the last 3 at 6 an hour"


def wait_for(path: Path, n_rows: int) -> ExposureTable:
    """Return the table once it has so many rows."""
    until_s = time.monotonic() + 60
    while time.monotonic() < until_s:
        if path.is_file() and len(table := ExposureTable.read(path)) == n_rows:
            return table
        time.sleep(0.02)
    raise AssertionError(f"{path} has not come to {n_rows} rows")


@pytest.mark.parametrize("apart", [False, True], ids=["here", "apart"])
def test_table_and_page__follow_the_run_and_are_whole_at_its_end(
    tmp_path: Path, apart: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "SHARE", 1.0)  # a test has no work to spare the core for
    database = Database.open(tmp_path / "state.sqlite")
    bus = Bus(Journal(database), "night")
    bus.publish(events.RunOpened, folder=str(tmp_path), config_digest="d")
    with kept_current(bus, tmp_path, gap_s=0.01, apart=apart):
        wait_for(tmp_path / TABLE, 0)
        bus.publish(events.ItemAdmitted, item_id="a", kind="Movie", digest="d", path="/x/a", facts={"n_frames": 3})
        assert wait_for(tmp_path / TABLE, 1).rows()[0]["n_frames"] == 3
        said = {"stage_id": "s", "item_id": "a", "key": "k", "kind": "CtfFit", "path": "stages/s/k/shown"}
        bus.publish(events.ProductDescribed, **said, figures={"defocus_u_A": 1e4}, pictures={"ctf.png": "digest"})
    (row,) = ExposureTable.read(tmp_path / TABLE).rows()
    assert (row["defocus_u_A"], row["ctf_png"]) == (10000.0, "stages/s/k/shown/ctf.png")
    text = (tmp_path / PAGE).read_text(encoding="utf-8")
    assert "stages/s/k/shown/ctf.png" in text
    assert "<h1>night</h1>" in text
    database.close()


@pytest.mark.parametrize("apart", [False, True], ids=["here", "apart"])
def test_a_table_that_cannot_be_written__is_said_once_and_the_work_goes_on(tmp_path: Path, apart: bool) -> None:
    database = Database.open(tmp_path / "state.sqlite")
    bus = Bus(Journal(database), "night")
    heard: list[events.ListenerFailed] = []
    bus.subscribe(events.ListenerFailed, heard.append)
    (tmp_path / TABLE).mkdir()  # in its way
    with kept_current(bus, tmp_path, gap_s=0.01, apart=apart):
        for name in "ab":
            bus.publish(events.ItemAdmitted, item_id=name, kind="Movie", digest=name, path=name, facts={})
            time.sleep(0.1)
    assert [event.listener for event in heard] == ["table of exposures"]
    database.close()


@pytest.mark.parametrize("words", ["defocus 20000 Å where 10000 Å was applied"])
def test_live_lines__say_what_to_look_at(words: str) -> None:
    import io

    from cryoframe.view.live import live_progress

    bus, stream = Bus(None, "run"), io.StringIO()
    with live_progress(bus, stream=stream):
        said = {"stage_id": "s", "item_id": "a", "key": "k", "kind": "CtfFit", "path": "p", "pictures": {}}
        figures = {"defocus_u_A": 2e4, "defocus_v_A": 2e4, "applied_defocus_A": 1e4}
        bus.publish(events.ProductDescribed, **said, figures=figures)
        bus.publish(events.ProductDescribed, **said, figures={"n_picks": 3})
        bus.publish(events.ItemRemarked, item_id="a", remark="pixel_size_A is 1 by one and 2 by another")
    lines = [line[9:] for line in stream.getvalue().splitlines()]
    assert lines[0].startswith(f"a: {words}")
    assert lines[1:] == ["a: pixel_size_A is 1 by one and 2 by another"]
