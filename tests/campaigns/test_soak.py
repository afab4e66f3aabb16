"""`cryoframe soak`: what it says, when it fails, and two of its tests in small; the others are run by hand."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from cryoframe.cli import main
from cryoframe.testing.soak import history, incomplete, share
from cryoframe.testing.soak.catalogue import TESTS, chosen
from cryoframe.testing.soak.score import Line, LoadTest, Room, Verdict
from cryoframe_formats import mrc_movie, tiff_movie


def _verdict(run: object, tmp_path: Path, scale: float = 0.001) -> Verdict:
    return LoadTest("T", "a test", run).judged(Room(tmp_path, scale))  # type: ignore[arg-type]


def test_every_load_test__has_a_name_of_the_plan() -> None:
    assert {f"LT{number}" for number in range(1, 14)} <= set(TESTS)
    assert [test.name for test in chosen(["lt5", "LT1"])] == ["LT5", "LT1"]
    assert "LT10" not in [test.name for test in chosen([])]


def test_the_list__is_printed_and_nothing_is_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["soak", "--list", "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)) == set(TESTS)


def test_an_unknown_test__is_refused_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["soak", "LT99"]) == 2
    assert "LT9" in capsys.readouterr().err


def test_a_zero__has_its_bound_beside_it() -> None:
    assert "0 of 200 (95 %: ≤ 1.5 %)" in Line("lost", 0, limit=0, n_trials=200).text()
    assert "95 %" not in Line("lost", 1, limit=0, n_trials=200).text()


@pytest.mark.parametrize(
    ("line", "passed"),
    [
        (Line("a", 1.0), True), (Line("a", 2.0, limit=1.0), False), (Line("a", 1.0, limit=1.0), True),
        (Line("a", 2.0, limit=1.0, at_least=True), True), (Line("a", 0.5, limit=1.0, at_least=True), False),
    ],
)  # fmt: skip
def test_a_line__keeps_its_limit_or_not(line: Line, passed: bool) -> None:
    assert line.passed is passed


def test_a_test_that_raises_or_says_nothing__has_failed(tmp_path: Path) -> None:
    def broken(room: Room, verdict: Verdict) -> None:
        raise ValueError("nothing works")

    assert not _verdict(broken, tmp_path).passed
    assert not _verdict(lambda room, verdict: None, tmp_path).passed


def test_a_failed_line__is_the_exit_status_and_is_written_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from cryoframe.testing.soak import catalogue

    def bad(room: Room, verdict: Verdict) -> None:
        verdict.count("lost", ["a.mrc"], 3)

    monkeypatch.setattr(catalogue, "TESTS", {"LT1": LoadTest("LT1", "bad", bad)})
    out = tmp_path / "out.json"
    assert main.main(["soak", "LT1", "--out", str(out)]) == 1
    assert "lost: 1 of 3" in capsys.readouterr().out
    assert json.loads(out.read_text())["tests"][0]["passed"] is False


def test_the_judge_of_landings__sees_what_is_lost_twice_early_and_from_nowhere() -> None:
    def said(name: str, number: int, **content: str) -> tuple[str, dict[str, str]]:
        return name, {"event_id": f"{number:016x}00000000", **content}

    log = [
        said("FileSettled", 1, path="a", digest="x"), said("ItemAdmitted", 2, item_id="a"),
        said("ItemAdmitted", 3, item_id="a"), said("ItemAdmitted", 4, item_id="stray"),
    ]  # fmt: skip
    found = history.landing_violations(log, ["a", "b"])
    assert len(found) == 3
    assert history.landing_violations([*log, log[0]], ["a", "b"])[-1] == "the log is out of order"
    assert history.early(log, {"a": {"y"}}) == ["a"]
    assert history.early(log, {"a": {"x"}}) == []


def test_the_movies_of_the_load_tests__are_whole_for_their_readers(tmp_path: Path) -> None:
    for name, content, reader in (("a.mrc", incomplete.mrc(3), mrc_movie), ("a.tif", incomplete.tiff(3), tiff_movie)):
        (tmp_path / name).write_bytes(content)
        assert reader.open_movie(tmp_path / name).n_frames == incomplete.N_FRAMES


@pytest.mark.slow
def test_files_that_are_not_whole__in_small(tmp_path: Path) -> None:
    verdict = _verdict(incomplete.incomplete, tmp_path, scale=0.0)
    assert verdict.passed, "\n".join(verdict.text())


def test_a_folder_that_is_not_there__is_made_and_one_that_cannot_be_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from cryoframe.testing.soak import catalogue

    def seen(room: Room, verdict: Verdict) -> None:
        verdict.count("elsewhere", [] if room.folder.parent == tmp_path / "new" / "one" else ["it is"], 1)

    monkeypatch.setattr(catalogue, "TESTS", {"LT1": LoadTest("LT1", "a test", seen)})
    assert main.main(["soak", "LT1", "--folder", str(tmp_path / "new" / "one")]) == 0
    (tmp_path / "file").write_text("x")
    assert main.main(["soak", "LT1", "--folder", str(tmp_path / "file" / "below")]) == 2
    assert f"--folder {tmp_path / 'file' / 'below'} cannot be made" in capsys.readouterr().err


def test_a_share_of_the_load_tests__shows_what_is_written_behind_it_and_is_gone_afterwards(tmp_path: Path) -> None:
    if shutil.which("bindfs") is None or not Path("/dev/fuse").exists():
        pytest.skip("bindfs is not installed: there is no share to mount")
    back, front = tmp_path / "back", tmp_path / "front"
    with share.mounted(back, front, 0.1):
        (back / "a").write_text("1")
        assert (front / "a").read_text() == "1"
    assert not os.path.ismount(front)
    assert list(front.iterdir()) == []
