"""Movies that are valid after every frame are handed over only with all their frames."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from watched_session import Watched, admitted, finished

from cryoframe.data.images import CorrectedMicrograph
from cryoframe.execution.run import Run
from cryoframe.records.events import Event, FileRejected, ItemAdmitted

PLUGIN = '''\
from __future__ import annotations
from dataclasses import dataclass
import numpy as np
from cryoframe import CorrectedMicrograph, Micrograph, MotionTable, Movie, StageContext, hookimpl

@dataclass(frozen=True)
class Params:
    scale: float = 1.0  # factor on the sum

@hookimpl
def correct_motion(movie: Movie, params: Params, ctx: StageContext) -> CorrectedMicrograph:
    """Add the frames up."""
    total = sum(frame.astype(np.float32) for frame in movie.frames()) * np.float32(params.scale)
    still = np.zeros(movie.n_frames, np.float32)
    motion = MotionTable.from_columns({
        "frame": np.arange(movie.n_frames, dtype=np.int32), "patch_x_A": still + np.nan, "patch_y_A": still + np.nan,
        "shift_x_A": still, "shift_y_A": still,
    })
    return CorrectedMicrograph(Micrograph(movie.movie_id, total, movie.pixel_size_A, optics=movie.optics), motion)
'''
N_FRAMES = 12
MDOC = "PixelSpacing = 0.85\nVoltage = 300\n\n[FrameSet = 0]\nPixelSpacing = 0.85\nNumSubFrames = {n_frames}\n"


@pytest.fixture
def movies(watched: Watched) -> Watched:
    text = watched.configure(long_settle_s=1.2).read_text()
    text = text.replace('kind = "micrographs"', 'kind = "movies"').replace('"*.mrc"', '"*.tif"')
    text = text.replace("trivial", "adder").replace("estimate_ctf", "correct_motion").replace('"ctf"', '"motion"')
    text += '[movies]\nfiles = "land/*.tif"\npixel_size_A = 0.85\ndose_per_frame_e_A2 = 1.0\n'
    (watched.folder / "run.toml").write_text(text)
    (watched.folder / "adder.py").write_text(PLUGIN)
    return watched


def append_frames(path: Path, pauses_s: list[float], *, value: int = 1) -> None:
    for pause_s in pauses_s:
        with tifffile.TiffWriter(path, append=path.exists()) as writer:
            writer.write(np.full((32, 32), value, np.uint8), contiguous=False, metadata=None)
        time.sleep(pause_s)


def check(movies: Watched, events: list[Event], names: list[str], value: int = 1) -> None:
    assert sorted(admitted(events)) == sorted(names)
    assert finished(events) == {("motion", name): 1 for name in names}
    with Run.open(movies.folder / "run.toml") as run:
        for name in names:
            task = run.state.task("motion", name)
            assert task is not None
            product = run.store.load("motion", task.key)
            assert isinstance(product, CorrectedMicrograph)
            assert float(product.micrograph.data.mean()) == N_FRAMES * value


@pytest.mark.slow
def test_a_movie_with_a_side_car_at_the_end__is_taken_when_the_side_car_counts_its_frames(movies: Watched) -> None:
    done_ns = []

    def land() -> None:
        append_frames(movies.land / "a.tif", [0.05, 0.4, *[0.05] * (N_FRAMES - 3), 0.4])
        (movies.land / "a.tif.mdoc").write_text(MDOC.format(n_frames=N_FRAMES))
        done_ns.append(time.time_ns())

    events = movies.session_with(land)
    check(movies, events, ["a.tif"])
    (item,) = [event for event in events if isinstance(event, ItemAdmitted)]
    assert int(item.event_id[:16], 16) > done_ns[0]


@pytest.mark.slow
def test_a_movie_that_lacks_frames_of_its_side_car__is_incomplete_until_they_come(movies: Watched) -> None:
    append_frames(movies.land / "a.tif", [0.0] * (N_FRAMES - 1))
    (movies.land / "a.tif.mdoc").write_text(MDOC.format(n_frames=N_FRAMES))
    events = movies.session()
    assert admitted(events) == []
    assert [(e.kind, "11 of 12 frames" in e.reason) for e in events if isinstance(e, FileRejected)] == [
        ("Incomplete", True)
    ]
    append_frames(movies.land / "a.tif", [0.0])
    check(movies, movies.session(), ["a.tif"])


@pytest.mark.slow
@pytest.mark.parametrize("say_so", [True, False])
def test_a_stalled_movie_without_a_side_car__is_held_by_the_count_or_by_the_long_time(
    movies: Watched, say_so: bool
) -> None:
    if say_so:
        with (movies.folder / "run.toml").open("a") as config:
            config.write(f"n_frames_expected = {N_FRAMES}\n")
    stall_s = 1.8 if say_so else 0.8  # the long settling time is 1.2 s

    def land() -> None:
        append_frames(movies.land / "a.tif", [0.05, stall_s, *[0.05] * (N_FRAMES - 2)])

    events = movies.session_with(land, until_idle_s=2.5)
    check(movies, events, ["a.tif"])


@pytest.mark.slow
def test_the_second_movie_of_a_session__is_held_by_the_frames_of_the_first(movies: Watched) -> None:
    append_frames(movies.land / "a.tif", [0.0] * N_FRAMES)

    def wait_then(land: Callable[[], None]) -> Callable[[], None]:
        def run() -> None:
            while not any(tick.counts["admitted"] for tick in movies.ticks):
                time.sleep(0.05)
            land()

        return run

    events = movies.session_with(
        wait_then(lambda: append_frames(movies.land / "b.tif", [0.05, 0.8, *[0.02] * (N_FRAMES - 2)], value=2)), 2.5
    )
    assert sorted(admitted(events)) == ["a.tif", "b.tif"]
    assert finished(events) == {("motion", "a.tif"): 1, ("motion", "b.tif"): 1}
