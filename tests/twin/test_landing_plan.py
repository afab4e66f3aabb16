"""What is planned: every byte in its place, each hiccup as asked, the same for the same seed, told to the truth."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from shots import FIRST, shots

from cryoframe.errors import ConfigError, InvalidInput
from cryoframe.twin.epu_tree import EpuLayout
from cryoframe.twin.flat_tree import FlatLayout
from cryoframe.twin.growth import Piece
from cryoframe.twin.hiccups import KINDS, Hiccups, hiccups_of
from cryoframe.twin.landing import Arrival, Landing, arrival_of, plan_landing
from cryoframe.twin.serialem_tree import SerialEmLayout


def arrivals(n: int, *, size: int = 1000, first_s: float = 100.0, hiccups: Hiccups | None = None) -> list[Arrival]:
    made = []
    layout = SerialEmLayout("twin", FIRST)
    for k, shot in enumerate(shots(n)):
        movie = Piece(layout.movie_path(shot), np.random.default_rng(k).bytes(size))
        cars = tuple(Piece(path, raw) for path, raw in layout.side_cars(shot).items())
        skewed = hiccups is not None and "clock_skew" in hiccups.drawn(shot.exposure_id, 0)
        skew_s = hiccups.clock_skew_s if hiccups is not None and skewed else 0.0
        made.append(Arrival(shot.exposure_id, first_s + 10.0 * k, movie, cars, True, skew_s))
    return made


def result(landing: Landing, *, until_s: float = 1e9) -> dict[str, bytes]:
    """Carry the steps out on a mapping from names to bytes."""
    files: dict[str, bytes] = {}
    for step in landing.steps:
        if step.time_s > until_s:
            break
        raw = step.source if isinstance(step.source, bytes) else step.source.read_bytes()
        part = raw[step.start : step.stop]
        if step.operation == "create":
            assert step.offset == 0
            files[step.path] = part
        elif step.operation == "write":
            old = files[step.path]
            assert step.offset <= len(old), "no holes"
            files[step.path] = old[: step.offset] + part + old[step.offset + len(part) :]
        elif step.operation == "place":
            files[step.path] = raw
        elif step.operation == "move":
            for path in [path for path in files if path == step.path or path.startswith(f"{step.path}/")]:
                files[step.target + path[len(step.path) :]] = files.pop(path)
    return files


def test_without_hiccups__everything_appears_whole_at_its_time() -> None:
    made = arrivals(3)
    landing = plan_landing(made)
    assert landing.happened == ()
    files = result(landing)
    for arrival in made:
        for piece in (arrival.movie, *arrival.side_cars):
            assert files[str(piece.path)] == piece.source
    assert [step.time_s for step in landing.steps if step.operation == "place"] == [100.0, 110.0, 120.0]
    assert len(files) == 6


def test_at_a_bandwidth__a_movie_grows_in_pieces_at_that_rate() -> None:
    made = arrivals(1, size=100_000)
    landing = plan_landing(made, Hiccups(bandwidth_MB_s=0.01, chunk_kB=10))
    writes = [step for step in landing.steps if step.path == str(made[0].movie.path)]
    assert [step.operation for step in writes] == ["create"] + ["write"] * 9
    assert [step.time_s for step in writes] == pytest.approx([100 + min(k * 1.024, 10.0) for k in range(1, 11)])
    assert result(landing)[writes[0].path] == made[0].movie.source
    half = result(landing, until_s=105.2)[writes[0].path]
    assert len(half) == 5 * 10_240
    side_car = next(step for step in landing.steps if step.path.endswith(".mdoc"))
    assert side_car.time_s == pytest.approx(110.0), "an mdoc is written after the last frame"


@pytest.mark.parametrize("kind", sorted(KINDS.keys() - {"truncated", "missing_side_car", "moved_folder"}))
def test_whatever_happens__the_files_are_whole_in_the_end(kind: str) -> None:
    hiccups = Hiccups(rates={kind: 1.0}, bandwidth_MB_s=0.001)
    made = arrivals(4, size=5000, hiccups=hiccups)
    landing = plan_landing(made, hiccups)
    files = result(landing)
    for arrival in made:
        for piece in (arrival.movie, *arrival.side_cars):
            assert files.pop(str(piece.path)) == piece.source
    assert files == {}
    expected = [] if kind == "frame_by_frame" else [kind] * 4  # these movies are no TIFF files
    assert [hiccup.kind for hiccup in landing.happened] == expected


def timeline(kind: str, **settings: float) -> tuple[Arrival, list[tuple[float, str, str]], Landing]:
    hiccups = Hiccups(certain={kind: [FIRST.exposure_id]}, **settings)  # type: ignore[arg-type]
    (made,) = arrivals(1, hiccups=hiccups)
    landing = plan_landing([made], hiccups)
    return made, [(step.time_s, step.operation, PurePosixPath(step.path).suffix) for step in landing.steps], landing


def test_side_cars_come_early_late_or_never() -> None:
    made, steps, _ = timeline("early_side_car", early_s=5.0)
    assert steps == [(95.0, "create", ".mdoc"), (100.0, "place", ".tif")]
    _, steps, landing = timeline("late_side_car", late_s=600.0)
    assert steps == [(100.0, "place", ".tif"), (700.0, "create", ".mdoc")]
    assert landing.happened[0].amount == 600.0
    assert landing.happened[0].path == str(made.side_cars[0].path)
    _, steps, landing = timeline("missing_side_car")
    assert steps == [(100.0, "place", ".tif")]
    assert [hiccup.kind for hiccup in landing.happened] == ["missing_side_car"]


def test_a_stalled_writer__pauses_after_half() -> None:
    _, steps, landing = timeline("stalled", stall_s=61.0)
    assert steps[:2] == [(100.0, "create", ".tif"), (161.0, "write", ".tif")]
    assert len(result(landing, until_s=150.0)[landing.steps[0].path]) == 500


@pytest.mark.parametrize(("name", "shape"), [("part", "{}.part"), ("tmp", "{}.tmp"), ("hidden", ".{}.Xq3T9a")])
def test_a_temporary_name__is_given_up_by_renaming(name: str, shape: str) -> None:
    hiccups = Hiccups(rates={"temporary": 1.0}, temporary_name=name)  # type: ignore[arg-type]
    (made,) = arrivals(1)
    steps = [step for step in plan_landing([made], hiccups).steps if not step.path.endswith(".mdoc")]
    assert [step.operation for step in steps] == ["create", "move"]
    assert PurePosixPath(steps[0].path).name == shape.format(made.movie.path.name)
    assert steps[1].target == str(made.movie.path)


def test_duplicates__are_written_again_in_place() -> None:
    made, steps, landing = timeline("duplicate_same", duplicate_s=30.0)
    assert steps == [(100.0, "create", ".tif"), (130.0, "create", ".tif"), (130.0, "create", ".mdoc")]
    made, _, landing = timeline("duplicate_other", duplicate_s=30.0)
    path = str(made.movie.path)
    assert result(landing, until_s=120.0)[path] != made.movie.source
    assert result(landing)[path] == made.movie.source


def test_a_duplicate_of_other_bytes__is_another_movie_where_there_is_one(tmp_path: Path) -> None:
    (made,) = arrivals(1)
    (tmp_path / "spare").write_bytes(b"another")
    hiccups = Hiccups(rates={"duplicate_other": 1.0})
    landing = plan_landing([replace(made, spare=tmp_path / "spare")], hiccups)
    assert result(landing, until_s=100.0)[str(made.movie.path)] == b"another"
    assert result(landing)[str(made.movie.path)] == made.movie.source


def test_a_truncated_file__ends_early_and_stays_so() -> None:
    made, _, landing = timeline("truncated", truncated_at_frac=0.25)
    assert result(landing)[str(made.movie.path)] == bytes(made.movie.source)[:250]  # type: ignore[arg-type]
    assert (landing.happened[0].kind, landing.happened[0].amount) == ("truncated", 250.0)


def test_an_exposure_out_of_order__lands_after_later_ones() -> None:
    hiccups = Hiccups(certain={"out_of_order": ["exposure_00002"]}, out_of_order_s=25.0)
    landing = plan_landing(arrivals(5), hiccups)
    order = [step.exposure_id[-1] for step in landing.steps if step.operation == "place"]
    assert order == ["1", "3", "4", "2", "5"]


def test_a_wrong_clock__shows_in_names_side_cars_and_file_times(tmp_path: Path) -> None:
    movie = tmp_path / "staged.tiff"
    movie.write_bytes(b"x" * 10)
    hiccups = Hiccups(rates={"clock_skew": 1.0}, clock_skew_s=-3600.0)
    arrival = arrival_of(FIRST, EpuLayout("twin", FIRST), movie, 0.0, hiccups=hiccups)
    assert arrival.movie.path.name.endswith("_20250108_144921_fractions.tiff")
    assert b"2025-01-08T14:49:21" in b"".join(bytes(piece.source) for piece in arrival.side_cars)  # type: ignore[arg-type]
    stamps = [step for step in plan_landing([arrival], hiccups).steps if step.operation == "stamp"]
    assert {step.skew_s for step in stamps} == {-3600.0}
    assert {step.path for step in stamps} == {str(p.path) for p in (arrival.movie, *arrival.side_cars)}
    plain = arrival_of(FIRST, EpuLayout("twin", FIRST), movie, 0.0)
    assert plain.movie.path.name.endswith("_20250108_154921_fractions.tiff")
    assert not plain.side_cars_last


def test_a_folder_that_is_renamed__has_everything_in_it_first() -> None:
    hiccups = Hiccups(certain={"moved_folder": ["exposure_00001"], "late_side_car": ["exposure_00003"]}, late_s=500.0)
    landing = plan_landing(arrivals(3), hiccups)
    last = landing.steps[-1]
    assert (last.operation, last.path, last.target) == ("move", "frames", "frames_moved")
    assert len(result(landing)) == 6
    assert all(path.startswith("frames_moved/") for path in result(landing))
    layout = FlatLayout("twin", FIRST)
    flat = Arrival("exposure_00001", 0.0, Piece(layout.movie_path(FIRST), b"x"))
    with pytest.raises(InvalidInput, match="in the session's folder itself"):
        plan_landing([flat], hiccups)


def test_the_folder_of_an_epu_exposure__is_its_grid_squares(tmp_path: Path) -> None:
    movie = tmp_path / "staged.tiff"
    movie.write_bytes(b"x" * 10)
    arrival = arrival_of(FIRST, EpuLayout("twin", FIRST), movie, 0.0)
    last = plan_landing([arrival], Hiccups(rates={"moved_folder": 1.0})).steps[-1]
    assert last.target == "Images-Disc1/GridSquare_8999138_moved"


def test_hiccups__are_drawn_at_their_rates_and_each_exposure_for_itself() -> None:
    hiccups = Hiccups(rates={"late_side_car": 0.3, "temporary": 0.1})
    names = [f"exposure_{k:05d}" for k in range(4000)]
    counts = Counter(kind for name in names for kind in hiccups.drawn(name, 7))
    for kind, rate in hiccups.rates.items():
        assert abs(counts[kind] / 4000 - rate) < 4 * (rate * (1 - rate) / 4000) ** 0.5
    assert set(counts) == set(hiccups.rates)
    assert [hiccups.drawn(name, 7) for name in names[:50]] == [hiccups.drawn(name, 7) for name in names[:50]]
    assert [hiccups.drawn(name, 7) for name in names[:50]] != [hiccups.drawn(name, 8) for name in names[:50]]
    made = arrivals(40)
    together = plan_landing(made, hiccups, 7)
    apart = [plan_landing([arrival], hiccups, 7) for arrival in made]
    assert {step.key: step for step in together.steps} == {step.key: step for one in apart for step in one.steps}
    assert list(together.happened) == [hiccup for one in apart for hiccup in one.happened]
    assert together.fingerprint() == plan_landing(made, hiccups, 7).fingerprint()
    assert together.fingerprint() != plan_landing(made, hiccups, 8).fingerprint()


def test_steps__have_names_of_their_own() -> None:
    landing = plan_landing(arrivals(20), Hiccups(rates=dict.fromkeys(KINDS, 0.5), bandwidth_MB_s=0.0003, chunk_kB=1), 3)
    keys = [step.key for step in landing.steps]
    assert len(keys) == len(set(keys))
    assert [step.time_s for step in landing.steps] == sorted(step.time_s for step in landing.steps)


def test_an_empty_movie__lands_as_an_empty_file() -> None:
    (made,) = arrivals(1, size=0)
    landing = plan_landing([made], Hiccups(bandwidth_MB_s=1.0))
    assert result(landing)[str(made.movie.path)] == b""


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"rates": {"late_sidecar": 0.1}}, "unknown key 'late_sidecar' — did you mean 'late_side_car'"),
        ({"rates": {"stalled": 1.5}}, "stalled = 1.5 was set"),
        ({"rates": {"stalled": "often"}}, "stalled = 'often' was set"),
        ({"certain": {"stalled": "exposure_1"}}, "expected a list of exposures"),
        ({"bandwith_MB_s": 1.0}, "did you mean 'bandwidth_MB_s'"),
        ({"stall_s": -1.0}, "stall_s = -1.0 was set"),
        ({"truncated_at_frac": 1.0}, "truncated_at_frac"),
        ({"temporary_name": "bak"}, "'bak'"),
    ],
)
def test_settings_that_mean_nothing__are_refused_by_name(table: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        hiccups_of(table)
    assert words in str(caught.value)


def test_a_landing_table__becomes_settings() -> None:
    settings = hiccups_of({"bandwidth_MB_s": 20, "rates": {"stalled": 0.1}, "certain": {"truncated": ["a"]}})
    assert (settings.bandwidth_MB_s, settings.rates) == (20.0, {"stalled": 0.1})
    assert settings.drawn("a", 0) >= {"truncated"}
    assert not Hiccups().drawn("a", 0)


def test_paths_that_leave_the_folder_and_doubles__are_refused() -> None:
    for path in ("../x.tif", "/x.tif", "a/../../x.tif"):
        with pytest.raises(InvalidInput, match="path"):
            plan_landing([Arrival("a", 0.0, Piece(PurePosixPath(path), b"x"))])
    (made,) = arrivals(1)
    with pytest.raises(InvalidInput, match="lands twice"):
        plan_landing([made, replace(made, exposure_id="other")])
