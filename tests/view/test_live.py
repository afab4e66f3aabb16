"""What a run does is shown as it happens: lines where nobody watches, bars on a terminal; names stay as they are."""

from __future__ import annotations

import io

from cryoframe.records import events
from cryoframe.records.bus import Bus
from cryoframe.view.live import Tally, live_progress
from cryoframe.view.tables import plain, show


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def play(bus: Bus) -> None:
    """One item that ends, one that fails and is given up."""
    bus.publish(events.StageQueued, stage_id="ctf", item_id="[red]a.mrc", key="k")
    bus.publish(events.StageStarted, stage_id="ctf", item_id="[red]a.mrc", key="k", attempt=1, worker="w", device="cpu")
    bus.publish(events.StageProgress, stage_id="ctf", item_id="[red]a.mrc", done=1, total=2, message="half way")
    bus.publish(
        events.StageFinished,
        stage_id="ctf",
        item_id="[red]a.mrc",
        key="k",
        digest="d",
        seconds=1.5,
        cpu_s=1.0,
        peak_MB=9.0,
    )
    failed = {"key": "k", "attempt": 1, "error_class": "file", "message": "torn", "traceback_file": ""}
    bus.publish(events.StageFailed, stage_id="ctf", item_id="b.mrc", **failed)
    bus.publish(events.StageGivenUp, stage_id="ctf", item_id="b.mrc", key="k", reason="torn")


def test_away_from_a_terminal__each_end_is_a_line() -> None:
    bus, stream = Bus(None, "run"), io.StringIO()
    with live_progress(bus, stream=stream):
        play(bus)
    lines = [line[9:] for line in stream.getvalue().splitlines()]
    assert lines == [
        "ctf [red]a.mrc: done in 1.5 s",
        "ctf b.mrc: attempt 1 failed (file): torn",
        "ctf b.mrc: given up: torn",
    ]


def test_on_a_terminal__there_is_a_bar_a_stage_and_failures_are_printed() -> None:
    bus, stream = Bus(None, "run"), Terminal()
    with live_progress(bus, stream=stream):
        play(bus)
    shown = stream.getvalue()
    assert "ctf" in shown
    assert "1/2" in shown
    assert "given up: torn" in shown


def test_after_the_block__nothing_more_is_shown() -> None:
    bus, stream = Bus(None, "run"), io.StringIO()
    with live_progress(bus, stream=stream):
        pass
    play(bus)
    assert stream.getvalue() == ""


def test_no_listener_fails__over_a_whole_run() -> None:
    bus, problems = Bus(None, "run"), []
    bus.subscribe(events.ListenerFailed, problems.append)
    with live_progress(bus, stream=Terminal()):
        play(bus)
        bus.publish(events.RunPaused, reason="disk")
        bus.publish(events.DeviceResolved, stage_id="ctf", asked="auto", got="cpu", why="none")
    assert problems == []


def test_a_tally__counts_running_items_by_their_fraction() -> None:
    bus, tally = Bus(None, "run"), Tally()
    bus.subscribe(events.StageEvent, tally.hear)
    bus.publish(events.StageStarted, stage_id="s", item_id="a", key="k", attempt=1, worker="w", device="cpu")
    bus.publish(events.StageProgress, stage_id="s", item_id="a", done=1, total=4, message="")
    assert (tally.done, tally.total) == (0.25, 1)
    bus.publish(events.StageSkipped, stage_id="s", item_id="a", key="k", digest="d", reason="there")
    assert (tally.done, tally.total) == (1.0, 1)


def test_a_plain_table__is_aligned_and_keeps_names_as_they_are() -> None:
    assert plain(["name", "n"], [["[bold]x", 1.23456], ["y", None]]) == "name     n\n[bold]x  1.235\ny\n"


def test_a_drawn_table__shows_markup_as_text() -> None:
    stream = Terminal()
    show(["name"], [["[bold]x"]], stream=stream)
    assert "[bold]x" in stream.getvalue()
