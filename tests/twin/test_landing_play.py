"""The player puts every byte where the plan says, can be stopped and started at any step, and stays in its folder."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
from fake_clock import FakeClock
from shots import FIRST, shots

from cryoframe.errors import ConfigError, EnvironmentFault, InvalidInput, Refused
from cryoframe.twin import landing_folder
from cryoframe.twin.clock import RealClock
from cryoframe.twin.epu_tree import EpuLayout
from cryoframe.twin.growth import Piece
from cryoframe.twin.hiccups import KINDS, Hiccups
from cryoframe.twin.landing import Arrival, Landing, arrival_of, plan_landing
from cryoframe.twin.play import Player, play

HARMLESS = [kind for kind in KINDS if kind not in ("truncated", "missing_side_car", "moved_folder")]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "watched"
    folder.mkdir()
    return folder


def staged(tmp_path: Path, n: int, hiccups: Hiccups, size: int = 40_000) -> list[Arrival]:
    (tmp_path / "staged").mkdir(exist_ok=True)
    layout = EpuLayout("twin", FIRST)
    made = []
    for k, shot in enumerate(shots(n)):
        movie = tmp_path / "staged" / f"{shot.exposure_id}.tiff"
        movie.write_bytes(np.random.default_rng(k).bytes(size + k))
        made.append(arrival_of(shot, layout, movie, 10.0 * k, hiccups=hiccups))
    return made


def files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def expected(made: list[Arrival]) -> dict[str, bytes]:
    pieces = [piece for arrival in made for piece in (arrival.movie, *arrival.side_cars)]
    return {str(piece.path): piece.read(0, 1 << 30) for piece in pieces}


def test_at_once__movies_are_links_to_what_is_staged(root: Path, tmp_path: Path) -> None:
    made = staged(tmp_path, 3, Hiccups())
    assert play(plan_landing(made), root, FakeClock(), journal=tmp_path / "journal")
    assert files(root) == expected(made)
    for arrival in made:
        assert (root / arrival.movie.path).samefile(tmp_path / "staged" / f"{arrival.exposure_id}.tiff")


def test_where_links_cannot_be__it_copies(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.EXDEV, "across file systems")

    monkeypatch.setattr(os, "link", refuse)
    made = staged(tmp_path, 2, Hiccups())
    assert play(plan_landing(made), root, FakeClock(), journal=tmp_path / "journal")
    assert files(root) == expected(made)
    assert not any((root / arrival.movie.path).stat().st_nlink > 1 for arrival in made)


@pytest.mark.parametrize("kind", [*HARMLESS, "all"])
def test_with_hiccups__files_are_whole_in_the_end_and_staged_ones_untouched(
    kind: str, root: Path, tmp_path: Path
) -> None:
    rates = dict.fromkeys(HARMLESS, 0.5) if kind == "all" else {kind: 1.0}
    hiccups = Hiccups(rates=rates, bandwidth_MB_s=0.01, chunk_kB=7)
    made = staged(tmp_path, 6, hiccups)
    before = files(tmp_path / "staged")
    assert play(plan_landing(made, hiccups), root, FakeClock(), journal=tmp_path / "journal")
    assert files(root) == expected(made)
    assert files(tmp_path / "staged") == before


def test_writing_anew_into_a_linked_file__spares_the_staged_one(root: Path, tmp_path: Path) -> None:
    (made,) = staged(tmp_path, 1, Hiccups())
    folder = landing_folder.LandingFolder(root)
    assert isinstance(made.movie.source, Path)
    folder.place("a.tiff", made.movie.source)
    folder.write("a.tiff", b"short", span=(0, 5), offset=0, create=True)
    assert (root / "a.tiff").read_bytes() == b"short"
    assert made.movie.source.stat().st_size == 40_000
    folder.place("a.tiff", made.movie.source)
    folder.place("a.tiff", made.movie.source)
    assert [path.name for path in root.iterdir()] == ["a.tiff"]


def test_a_wrong_clock__is_in_the_files_times(root: Path, tmp_path: Path) -> None:
    hiccups = Hiccups(rates={"clock_skew": 1.0}, clock_skew_s=-7200.0)
    made = staged(tmp_path, 1, hiccups)
    play(plan_landing(made, hiccups), root, FakeClock(), journal=tmp_path / "journal")
    for path in files(root):
        assert (root / path).stat().st_mtime == pytest.approx(time.time() - 7200.0, abs=30.0)


def plan(tmp_path: Path) -> tuple[list[Arrival], Landing]:
    rates = dict.fromkeys(HARMLESS, 0.6)
    hiccups = Hiccups(rates=rates, bandwidth_MB_s=0.01, chunk_kB=9)
    made = staged(tmp_path, 3, hiccups)
    return made, plan_landing(made, hiccups)


def test_stopped_after_any_step__it_goes_on_and_comes_to_the_same(root: Path, tmp_path: Path) -> None:
    made, landing = plan(tmp_path)
    stop, clock, rounds = threading.Event(), FakeClock(), 0

    def after_three(_: float, count: list[int] = [0]) -> None:  # noqa: B006
        count[0] += 1
        if count[0] % 4 == 0:
            stop.set()

    clock.waited = after_three
    while not play(landing, root, clock, journal=tmp_path / "journal", stop=stop):
        stop.clear()
        rounds += 1
    assert rounds == len(landing.steps) // 3 - (len(landing.steps) % 3 == 0)
    assert files(root) == expected(made)
    lines = (tmp_path / "journal").read_text().splitlines()
    assert sum('"step"' in line for line in lines) == len(landing.steps), "each step once"
    assert sum('"happened"' in line for line in lines) == len(landing.happened)


@pytest.mark.parametrize("fault", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk__is_said_and_gone_on_from_at_every_write(
    fault: int, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, landing = plan(tmp_path)
    pwrite, calls = os.pwrite, []

    def fail_every_other(descriptor: int, block: Any, offset: int) -> int:
        calls.append(offset)
        if len(calls) % 2:
            pwrite(descriptor, bytes(block)[: len(block) // 2], offset)  # half a write, then no more room
            raise OSError(fault, "full")
        return pwrite(descriptor, block, offset)

    monkeypatch.setattr(os, "pwrite", fail_every_other)
    said: list[str] = []

    def finished() -> bool:
        try:
            return play(landing, root, FakeClock(), journal=tmp_path / "journal")
        except EnvironmentFault as error:
            said.append(str(error))
            return False

    while not finished():
        assert len(said) <= len(landing.steps)
    assert len(said) > 10
    assert all("no space left" in text and "--resume" in text for text in said)
    assert files(root) == expected(made)


def test_a_killed_player__loses_a_torn_line_at_most(root: Path, tmp_path: Path) -> None:
    made, landing = plan(tmp_path)
    journal = tmp_path / "journal"
    half = Landing(landing.steps[: len(landing.steps) // 2], landing.happened)
    player = Player(root, journal, landing.fingerprint())
    for step in half.steps:
        player.do(step)
    player.close()
    torn = journal.read_bytes()[:-7]
    journal.write_bytes(torn)
    assert play(landing, root, FakeClock(), journal=journal)
    assert files(root) == expected(made)


def test_the_clock__goes_on_where_the_landing_was(root: Path, tmp_path: Path) -> None:
    _, landing = plan(tmp_path)
    stop, clock = threading.Event(), FakeClock()
    half_s = landing.steps[-1].time_s / 2
    clock.waited = lambda now_s: stop.set() if now_s >= half_s else None
    assert not play(landing, root, clock, journal=tmp_path / "journal", stop=stop)
    later = FakeClock()
    begun: list[float] = []
    later.begin = begun.append  # type: ignore[method-assign]
    play(landing, root, later, journal=tmp_path / "journal")
    assert 0 < begun[0] <= half_s


def test_another_landings_journal__is_refused(root: Path, tmp_path: Path) -> None:
    made, landing = plan(tmp_path)
    play(plan_landing(made[:1]), root, FakeClock(), journal=tmp_path / "journal")
    with pytest.raises(ConfigError, match="belongs to another landing"):
        play(landing, root, FakeClock(), journal=tmp_path / "journal")
    (tmp_path / "other").write_text("no journal\n")
    with pytest.raises(ConfigError, match="line 1: no journal of a landing"):
        play(landing, root, FakeClock(), journal=tmp_path / "other")


def test_a_journal_in_the_watched_folder__is_refused(root: Path, tmp_path: Path) -> None:
    _, landing = plan(tmp_path)
    with pytest.raises(ConfigError, match="lies in the folder that is filled"):
        play(landing, root, FakeClock(), journal=root / "sub" / "journal")


def landing_at(path: str) -> Landing:
    return plan_landing([Arrival("a", 0.0, Piece(PurePosixPath(path), b"x" * 100))])


@pytest.mark.parametrize("links", ["folder", "file"])
def test_symbolic_links__are_never_followed(links: str, root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a.mrc").write_bytes(b"precious")
    folder = landing_folder.LandingFolder(root)
    if links == "folder":
        (root / "sub").symlink_to(outside)
        with pytest.raises(Refused, match="a symbolic link or a file is in the way"):
            play(landing_at("sub/a.mrc"), root, FakeClock(), journal=tmp_path / "journal")
        with pytest.raises(Refused, match="in the way"):
            folder.move("sub/a.mrc", "b.mrc")
    else:
        (root / "sub").mkdir()
        (root / "sub/a.mrc").symlink_to(outside / "a.mrc")
        with pytest.raises(Refused, match="in the way"):
            folder.write("sub/a.mrc", b"x", span=(0, 1), offset=0, create=True)
        folder.stamp("sub/a.mrc", -1e6)
        assert (outside / "a.mrc").stat().st_mtime > time.time() - 1e5
        folder.place("sub/a.mrc", b"new")  # takes the link's place
        assert not (root / "sub/a.mrc").is_symlink()
    assert (outside / "a.mrc").read_bytes() == b"precious"
    assert list(outside.iterdir()) == [outside / "a.mrc"]


def test_what_is_in_the_way__is_named(root: Path, tmp_path: Path) -> None:
    folder = landing_folder.LandingFolder(root)
    for path in ("../a", "/a", "."):
        with pytest.raises(Refused, match="leaves the session's folder"):
            folder.write(path, b"", span=(0, 0), offset=0, create=True)
    os.mkfifo(root / "pipe")
    with pytest.raises((Refused, EnvironmentFault)):
        folder.write("pipe", b"x", span=(0, 1), offset=0, create=True)
    (root / "short").write_bytes(b"ab")
    with pytest.raises(EnvironmentFault, match="has 2 bytes where this player had written 5"):
        folder.write("short", b"x" * 9, span=(5, 9), offset=5, create=False)
    with pytest.raises(EnvironmentFault, match="cannot be written"):
        landing_folder.LandingFolder(root / "absent").place("a", b"x")
    (tmp_path / "staged").write_bytes(b"abc")
    with pytest.raises(EnvironmentFault, match="ends at byte 3"):
        folder.write("b", tmp_path / "staged", span=(0, 10), offset=0, create=True)
    with pytest.raises(EnvironmentFault, match="No such file"):
        folder.move("nothing", "something")


def test_in_real_time__steps_are_done_when_they_are_due(root: Path, tmp_path: Path) -> None:
    speed = 20.0
    hiccups = Hiccups(bandwidth_MB_s=0.01, chunk_kB=4)
    made = staged(tmp_path, 3, hiccups)
    landing = plan_landing(made, hiccups)
    begun = time.monotonic()
    sizes: list[int] = []
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            sizes.append(sum(len(raw) for raw in files(root).values()))

    watcher = threading.Thread(target=watch)
    watcher.start()
    assert play(landing, root, RealClock(speed), journal=tmp_path / "journal")
    done.set()
    watcher.join()
    took_s, due_s = time.monotonic() - begun, landing.steps[-1].time_s / speed
    assert due_s <= took_s < due_s + 1.0
    assert sizes == sorted(sizes)
    assert len(set(sizes)) > 10, "files are seen growing"
    assert files(root) == expected(made)


def test_a_request_to_stop__ends_waiting_at_once(root: Path, tmp_path: Path) -> None:
    landing = plan_landing([Arrival("a", 1000.0, Piece(PurePosixPath("a"), b"x"))])
    stop = threading.Event()
    threading.Timer(0.2, stop.set).start()
    begun = time.monotonic()
    assert not play(landing, root, RealClock(), journal=tmp_path / "journal", stop=stop)
    assert time.monotonic() - begun < 5.0
    assert files(root) == {}


def test_a_clock_that_stands_still__is_refused() -> None:
    with pytest.raises(InvalidInput, match="speed 0"):
        RealClock(0.0)


def test_a_journal_on_a_full_disk__says_so(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, landing = plan(tmp_path)
    player = Player(root, tmp_path / "journal", landing.fingerprint())
    player.do(landing.steps[0])

    class Full:
        def write(self, line: bytes) -> int:
            return len(line) // 2

    stream, player.journal._stream = player.journal._stream, Full()  # type: ignore[assignment]
    with pytest.raises(EnvironmentFault, match="no space left"):
        player.do(landing.steps[1])
    assert not player.is_done(landing.steps[1])
    stream.close()
    assert play(landing, root, FakeClock(), journal=tmp_path / "journal")
    assert files(root) == expected(made)


def test_a_staged_movie_that_is_gone__is_named(tmp_path: Path) -> None:
    (made,) = staged(tmp_path, 1, Hiccups())
    assert isinstance(made.movie.source, Path)
    made.movie.source.unlink()
    for hiccups in (Hiccups(), Hiccups(rates={"frame_by_frame": 1.0})):
        with pytest.raises(EnvironmentFault, match=r"staged file .* cannot be read"):
            plan_landing([made], hiccups)


KILLED = """
import sys
from pathlib import Path
from cryoframe.twin.clock import RealClock
from cryoframe.twin.growth import Piece
from cryoframe.twin.hiccups import Hiccups
from cryoframe.twin.landing import Arrival, plan_landing
from cryoframe.twin.play import play
from pathlib import PurePosixPath

folder, speed = Path(sys.argv[1]), float(sys.argv[2])
hiccups = Hiccups(rates={"temporary": 0.5, "duplicate_same": 0.5}, bandwidth_MB_s=0.01, chunk_kB=1)
pieces = [Piece(PurePosixPath(f"d/{k}.mrc"), folder / "staged") for k in range(6)]
arrivals = [Arrival(f"e{k}", 5.0 * k, piece) for k, piece in enumerate(pieces)]
print("begun", flush=True)
assert play(plan_landing(arrivals, hiccups, 1), folder / "watched", RealClock(speed), journal=folder / "journal")
"""


def test_killed_in_the_midst_again_and_again__it_comes_to_the_same(root: Path, tmp_path: Path) -> None:
    (tmp_path / "staged").write_bytes(np.random.default_rng(0).bytes(30_000))
    journal, size = tmp_path / "journal", 0
    for _ in range(3):
        player = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path), "20"], stdout=subprocess.PIPE)
        assert player.stdout is not None
        assert player.stdout.readline() == b"begun\n"
        until_s = time.monotonic() + 60.0
        while not journal.exists() or journal.stat().st_size < size + 400:
            assert time.monotonic() < until_s, "each goes on where the last one was"
            time.sleep(0.02)
        player.kill()
        player.communicate()
        assert player.returncode == -signal.SIGKILL
        size = journal.stat().st_size
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), "1e6"], check=True, timeout=60)
    content = (tmp_path / "staged").read_bytes()
    assert files(root) == {f"d/{k}.mrc": content for k in range(6)}
