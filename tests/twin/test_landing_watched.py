"""What lands by plan, as the watch sees it: nothing is taken before it is whole, everything whole is taken.

The clock is the session's, so hours pass in seconds; readers, rescans and rules are the watch's own.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pytest
import tifffile
from fake_clock import FakeClock
from shots import shots

from cryoframe.data.twin import Recording
from cryoframe.errors import EnvironmentFault, FileError, Incomplete
from cryoframe.kernel.config import WatchConfig
from cryoframe.twin.epu_tree import EpuLayout
from cryoframe.twin.flat_tree import FlatLayout
from cryoframe.twin.hiccups import KINDS, Hiccups
from cryoframe.twin.landing import Arrival, Landing, arrival_of, plan_landing
from cryoframe.twin.play import play
from cryoframe.twin.serialem_tree import SerialEmLayout
from cryoframe.twin.shot import Layout
from cryoframe.watch.doorstep import Doorstep
from cryoframe.watch.roots import Root
from cryoframe.watch.scanner import AtOnce, Changes, Look, Seen, Tree
from cryoframe_formats import eer_movie, eer_write, epu, mdoc, mrc_movie, tiff_movie

N_FRAMES = 12
LAYOUTS: dict[str, Callable[..., Any]] = {"epu": EpuLayout, "serialem": SerialEmLayout, "flat": FlatLayout}
#: Without a count nothing can tell a TIFF that pauses between frames from one that is done: it settles for long.
POLL_S, SETTLE_S, LONG_S = 5.0, 20.0, 300.0


class Here(AtOnce):
    """The watch's scanner without its process, and by the session's clock: a scan takes no time of it."""

    def __init__(self, root: Path, clock: Callable[[], float]) -> None:
        self.tree = Tree(str(root), clock=clock)

    def scan(self) -> Changes:
        said = self.tree.answer({"scan": True})
        changed = {path: Seen(*seen) for path, seen in said["changed"].items()}
        return Changes(said["fresh"], changed, said["gone"], said["n_files"], said["unreadable"])

    def look(self, paths: list[str]) -> dict[str, Look | str]:
        looks = self.tree.answer({"look": paths})["looks"]
        return {path: look if isinstance(look, str) else Look(*look) for path, look in looks.items()}


class Readers:
    """The project's own readers."""

    def n_frames(self, path: Path) -> int:
        reader = {".mrc": mrc_movie, ".eer": eer_movie}.get(path.suffix, tiff_movie)
        movie = reader.open_movie(path)
        if movie is None:
            raise Incomplete("no movie yet", path=path)
        return movie.n_frames

    def metadata(self, path: Path) -> dict[str, Any]:
        said = (epu if path.suffix == ".xml" else mdoc).read_metadata(path)
        return (
            {name: value for name, value in dataclasses.asdict(said).items() if value not in (None, "")} if said else {}
        )


class Watch:
    """Polls as the daemon does and notes what each file held when it was taken."""

    def __init__(self, folder: Path, pattern: str, *, n_frames: int | None, metadata: str) -> None:
        config = WatchConfig(
            settle_s=SETTLE_S, long_settle_s=LONG_S, poll_s=POLL_S, patterns=(pattern,),
            metadata=metadata, metadata_timeout_s=120.0,
        )  # type: ignore[arg-type]  # fmt: skip
        here = Here(folder, lambda: self.next_s)
        self.root = Root(folder, "Movie", config, [], scanner=here)  # type: ignore[arg-type]
        self.door = Doorstep(config, n_frames, Readers())
        self.root.required_s = partial(self.door.required_s, self.root)
        self.taken: list[tuple[float, str, bytes, dict[str, Any]]] = []
        self.next_s = 0.0

    def until(self, time_s: float) -> None:
        while self.next_s <= time_s:
            self._poll(self.next_s)
            self.next_s += POLL_S

    def _poll(self, now_s: float) -> None:
        self.root.rescan(now_s)
        self.root.look(now_s)
        for entry in self.root.ripe(()):
            if entry.not_before_s > now_s:
                continue
            try:
                facts = self.door.facts(self.root, entry, now_s)
            except EnvironmentFault:
                continue
            except FileError as error:
                self.root.reject(entry, type(error).__name__, str(error.what))
                continue
            if facts is not None:
                entry.status = "admitted"
                self.root.decided(entry)
                self.taken.append((now_s, entry.path, self.root.path(entry).read_bytes(), facts))


class WatchedClock(FakeClock):
    """Between two steps the watch goes on polling."""

    def __init__(self, watch: Watch) -> None:
        super().__init__(watch.until)

    def wait_until(self, time_s: float, stop: threading.Event) -> bool:
        self.waited(time_s - 1e-3)
        self.time_s = max(self.time_s, time_s)
        return True


def write_movie(path: Path, k: int) -> None:
    frames = np.random.default_rng(k).poisson(0.7, (N_FRAMES, 40, 48))
    if path.suffix == ".eer":
        events = [np.argwhere(frame)[:, :2].astype(np.int32) * 4 for frame in frames]
        facts = {"camera": "falcon_4i"}
        written = Recording("eer", N_FRAMES, (40, 48), "uint8", 1.0, 1.0, events=iter(events), facts=facts)
        assert eer_write.write_movie(path, written)
        return
    if path.suffix == ".tiff":
        with tifffile.TiffWriter(path) as writer:
            for frame in frames.astype(np.uint8):
                writer.write(frame, contiguous=False, metadata=None, compression="lzw")
        return
    with mrcfile.new(path) as file:
        file.set_data(frames.astype(np.int8))
        file.set_image_stack()


def stage(folder: Path, name: str, kind: str, n: int, hiccups: Hiccups, seed: int) -> tuple[Layout, list[Arrival]]:
    folder.mkdir()
    planned = shots(n, kind=kind, camera="k3" if kind == "tiff" else "falcon_4i", n_frames=N_FRAMES, super_resolution=1)
    layout: Layout = LAYOUTS[name]("twin", planned[0])
    paths = [folder / f"{k:03d}.{kind}" for k in range(n)]
    for k, path in enumerate(paths):
        write_movie(path, k)
    arrivals = [
        arrival_of(shot, layout, paths[k], 20.0 * k, hiccups=hiccups, seed=seed, spare=paths[k - 1])
        for k, shot in enumerate(planned)
    ]
    return layout, arrivals


def landed(tmp_path: Path, name: str, kind: str, hiccups: Hiccups, *, n: int, seed: int, **how: Any) -> tuple[
    Watch, list[Arrival], Landing
]:  # fmt: skip
    root = tmp_path / "watched"
    root.mkdir()
    layout, arrivals = stage(tmp_path / "staged", name, kind, n, hiccups, seed)
    landing = plan_landing(arrivals, hiccups, seed)
    how = {"n_frames": N_FRAMES if name == "flat" else None, "metadata": "none" if name == "flat" else "optional"} | how
    watch = Watch(root, layout.movie_pattern, **how)
    assert play(landing, root, WatchedClock(watch), journal=tmp_path / "journal")
    watch.until(landing.steps[-1].time_s + 2 * LONG_S)
    return watch, arrivals, landing


ANYTHING = {kind: 0.25 for kind in KINDS if kind not in ("moved_folder", "truncated")} | {"truncated": 0.1}


def nothing_can_tell(exposure_id: str, landing: Landing) -> bool:
    """Whether a file ends early between two frames and no side-car says how many there should be."""
    happened = {hiccup.kind for hiccup in landing.happened if hiccup.exposure_id == exposure_id}
    return happened >= {"truncated", "frame_by_frame", "missing_side_car"}


@pytest.mark.parametrize("kind", ["tiff", "mrc", "eer"])
@pytest.mark.parametrize("name", LAYOUTS)
def test_with_every_hiccup__nothing_is_taken_early_and_all_that_is_whole_is_taken(
    name: str, kind: str, tmp_path: Path, figure: Callable[[str, object], None]
) -> None:
    hiccups = Hiccups(rates=ANYTHING, bandwidth_MB_s=0.0008, chunk_kB=1, stall_s=61.0, late_s=200.0)
    watch, arrivals, landing = landed(tmp_path, name, kind, hiccups, n=24, seed=5)
    cut = {hiccup.exposure_id for hiccup in landing.happened if hiccup.kind == "truncated"}
    other = {hiccup.exposure_id for hiccup in landing.happened if hiccup.kind == "duplicate_other"}
    assert cut
    assert other
    whole = {str(one.movie.path): one for one in arrivals}
    n_early = 0
    for taken_s, path, held, _ in watch.taken:
        one = whole[path]
        versions = [one.movie.read(0, 1 << 30)]
        if one.exposure_id in other:
            versions.append(one.spare.read_bytes())  # type: ignore[union-attr]
        if nothing_can_tell(one.exposure_id, landing) and held not in versions:
            assert taken_s - one.time_s >= LONG_S, "a whole TIFF of fewer frames that nothing counts, after patience"
            continue
        n_early += held not in versions
    assert n_early == 0
    last = {path: held for _, path, held, _ in watch.taken}
    for one in arrivals:
        if one.exposure_id not in cut:
            assert last[str(one.movie.path)] == one.movie.read(0, 1 << 30), one.exposure_id
        else:
            assert last.get(str(one.movie.path)) != one.movie.read(0, 1 << 30)
    figure(f"{name} {kind}: taken early of {len(watch.taken)} with {len(landing.happened)} hiccups", n_early)


@pytest.mark.parametrize("name", ["epu", "serialem"])
def test_side_cars_in_time__are_found_beside_their_movies(name: str, tmp_path: Path) -> None:
    watch, arrivals, _ = landed(tmp_path, name, "tiff", Hiccups(bandwidth_MB_s=0.0008, chunk_kB=1), n=6, seed=0)
    assert len(watch.taken) == len(arrivals)
    for _, _, _, facts in watch.taken:
        assert facts["pixel_size_A"] == 1.0559
        assert facts["dose_e_A2"] == 40.5
        assert "metadata_missing" not in facts


def test_a_tiff_that_pauses_between_frames__is_held_by_the_count_of_its_side_car(tmp_path: Path) -> None:
    hiccups = Hiccups(rates={"frame_by_frame": 1.0, "stalled": 1.0, "early_side_car": 1.0}, stall_s=1000.0)
    watch, arrivals, _ = landed(tmp_path, "serialem", "tiff", hiccups, n=5, seed=0)
    assert [held for _, _, held, _ in sorted(watch.taken, key=lambda one: one[1])] == [
        one.movie.read(0, 1 << 30) for one in arrivals
    ]


def test_without_any_count__a_pause_longer_than_the_long_time_is_redone(tmp_path: Path) -> None:
    hiccups = Hiccups(rates={"frame_by_frame": 1.0, "stalled": 1.0}, stall_s=1000.0)
    watch, arrivals, _ = landed(tmp_path, "flat", "tiff", hiccups, n=3, seed=0, n_frames=None)
    last = {path: held for _, path, held, _ in watch.taken}
    assert len(watch.taken) > len(last), "taken too early, as nothing can tell, and taken again when it grew"
    for one in arrivals:
        assert last[str(one.movie.path)] == one.movie.read(0, 1 << 30)


def test_a_folder_that_is_renamed__has_whole_movies_under_its_new_name(tmp_path: Path) -> None:
    hiccups = Hiccups(certain={"moved_folder": ["exposure_00001"]}, bandwidth_MB_s=0.01)
    watch, arrivals, _ = landed(tmp_path, "epu", "tiff", hiccups, n=8, seed=0)
    held = {one.movie.read(0, 1 << 30) for one in arrivals}
    assert {raw for _, _, raw, _ in watch.taken} == held
    moved = [path for _, path, _, _ in watch.taken if "_moved/" in path]
    assert len(moved) == 6


@pytest.mark.slow
def test_of_thousands_of_movies__none_is_taken_early_and_all_soon_after_they_are_whole(
    tmp_path: Path, figure: Callable[[str, object], None]
) -> None:
    n, n_staged = 2_000, 50  # 10 000 give the same figures in four minutes
    hiccups = Hiccups(
        rates={
            "stalled": 0.05, "temporary": 0.1, "frame_by_frame": 0.3, "early_side_car": 0.1, "late_side_car": 0.05,
            "missing_side_car": 0.02, "duplicate_same": 0.02, "out_of_order": 0.1, "clock_skew": 0.2,
        },
        bandwidth_MB_s=0.002, chunk_kB=2, stall_s=61.0, late_s=60.0,
    )  # fmt: skip
    root, folder = tmp_path / "watched", tmp_path / "staged"
    root.mkdir()
    folder.mkdir()
    paths = [folder / f"{k:03d}.tiff" for k in range(n_staged)]
    for k, path in enumerate(paths):
        write_movie(path, k)
    planned = shots(n, n_frames=N_FRAMES, super_resolution=1)
    layout = SerialEmLayout("twin", planned[0])
    arrivals = [
        arrival_of(shot, layout, paths[k % n_staged], 0.1 * k, hiccups=hiccups) for k, shot in enumerate(planned)
    ]
    landing = plan_landing(arrivals, hiccups)
    watch = Watch(root, layout.movie_pattern, n_frames=None, metadata="optional")
    assert play(landing, root, WatchedClock(watch), journal=tmp_path / "journal")
    watch.until(landing.steps[-1].time_s + 2 * LONG_S)
    content = {str(one.movie.path): one.movie.read(0, 1 << 30) for one in arrivals}
    n_early = sum(held != content[path] for _, path, held, _ in watch.taken)
    taken = {path: taken_s for taken_s, path, _, _ in watch.taken}
    assert taken.keys() == content.keys()
    whole_s = {step.target or step.path: step.time_s for step in landing.steps if step.operation != "stamp"}
    bare = {hiccup.exposure_id for hiccup in landing.happened if "side_car" in hiccup.kind}
    plain = [
        taken[str(one.movie.path)] - whole_s[str(one.movie.path)] for one in arrivals if one.exposure_id not in bare
    ]
    figure(f"taken early of {len(watch.taken)}, with {len(landing.happened)} hiccups", n_early)
    figure(
        "from whole to taken, side-car in time: median and 99 % [s]", np.percentile(plain, (50, 99)).round(1).tolist()
    )
    figure(
        "from whole to taken, whatever the side-car: longest [s]", round(max(taken[p] - whole_s[p] for p in taken), 1)
    )
    assert n_early == 0
    assert np.percentile(plain, 99) <= SETTLE_S + 2 * POLL_S
