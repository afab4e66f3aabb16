"""Finished exposures landed as acquisition software would; ``landing`` decides when and how."""

from __future__ import annotations

import itertools
import json
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path, PurePosixPath

from cryoframe.data.ids import digest_facts
from cryoframe.errors import ConfigError
from cryoframe.twin.clock import RealClock
from cryoframe.twin.faults import Planned
from cryoframe.twin.hiccups import Hiccups, hiccups_of
from cryoframe.twin.landing import Arrival, Landing, arrival_of, plan_landing
from cryoframe.twin.landing_folder import LandingFolder
from cryoframe.twin.live import Ahead, Arrived, LiveReport, due_s, land_live
from cryoframe.twin.play import Player, play
from cryoframe.twin.prepare import Ready, layout_of
from cryoframe.twin.shot import Layout, Shot
from cryoframe.twin.workers import Made

#: A landing without waiting goes so many times faster than the world.
AT_ONCE = 1e6
#: Exposures made ahead of their landing.
SUPPLY_DEPTH = 8
JOURNAL, HAPPENED = "landing.jsonl", "landing.json"
#: How a live session was begun; not there for any other.
LIVE = "live.json"


def begun_live(truth: Path) -> float | None:
    """Return the movies an hour that a live session was begun with; None where none was begun live."""
    try:
        return float(json.loads((truth / LIVE).read_text(encoding="utf-8"))["movies_per_hour"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def check_goes_on(truth: Path, *, live: bool, movies_per_hour: float | None) -> None:
    """Refuse to go on with a landing in another way than it was begun.

    A live session may be finished at once; one that lands at once cannot become live.

    Raises
    ------
    ConfigError
        Naming what differs.
    """
    if not live:
        return
    begun = begun_live(truth)
    if begun is not None and movies_per_hour is not None and movies_per_hour != begun:
        raise ConfigError(
            f"this session was begun with --rate {begun:g}, and --rate {movies_per_hour:g} is given",
            expected=f"--rate {begun:g}, or none",
            remedy="Leave out --live and --rate to land what is left at once.",
        )
    if begun is None and (truth / JOURNAL).is_file():
        raise ConfigError(
            "this session was begun without --live, and its files have begun to land",
            remedy="Leave out --live to go on, or give another --out and --truth.",
        )


def hiccups_asked(ready: Ready) -> Hiccups:
    """Return what may happen while files land."""
    return hiccups_of(ready.config.landing)


def shots_of(ready: Ready) -> tuple[tuple[Shot, ...], Layout]:
    """Return every exposure as side-cars state it, and the layout."""
    shots = tuple(planned.shot for planned in ready.plan)
    return shots, layout_of(ready.config, shots[0])


def begin_folder(ready: Ready) -> None:
    """Write what is in the session's folder before the first movie: the program's own files, gain and defects."""
    shots, layout = shots_of(ready)
    folder = LandingFolder(ready.config.folder.absolute())
    for path, content in layout.session_files(shots).items():
        folder.place(str(path), content)
    kept = ready.config.truth / "references"
    kept.mkdir(parents=True, exist_ok=True)
    places = ((ready.bench.gain_path, layout.gain_path()), (ready.bench.defects_path, layout.defects_path()))
    for waiting, path in places:
        if waiting.is_file():  # else it has landed, and the session with it
            folder.place(str(path), waiting.read_bytes())
            shutil.copyfile(waiting, kept / path.name)


def arrival(ready: Ready, shot: Shot, layout: Layout, time_s: float) -> Arrival:
    """Return one exposure's files, ready to land."""
    movie = ready.bench.movie_of(shot.exposure_id, layout.movie_path(shot).name)
    if not movie.is_file():  # everything has landed before
        movie = landed_path(ready, shot)
    return arrival_of(shot, layout, movie, time_s, hiccups=hiccups_asked(ready), seed=ready.config.seed)


def land_all(ready: Ready) -> Mapping[str, str]:
    """Land every exposure at once, hiccups and all; returns where each movie is now, by exposure.

    What landed before an interruption is not landed again.
    """
    shots, layout = shots_of(ready)
    begin_folder(ready)
    zero = shots[0].time_utc
    arrivals = [arrival(ready, shot, layout, (shot.time_utc - zero).total_seconds()) for shot in shots]
    landing = plan_landing(arrivals, hiccups_asked(ready), ready.config.seed)
    play(landing, ready.config.folder.absolute(), RealClock(AT_ONCE), journal=ready.config.truth / JOURNAL)
    keep_happened(ready, landing)
    shutil.rmtree(ready.bench.staging, ignore_errors=True)
    return movies_of(arrivals, landing)


def land_live_session(
    ready: Ready,
    making: Iterator[tuple[Planned, Made]],
    *,
    movies_per_hour: float,
    speed: float,
    stop: threading.Event,
    n_ahead: int = 0,
    said: Callable[[Arrived], None] | None = None,
) -> tuple[LiveReport, dict[str, str]]:
    """Land exposures in the session's time while they are made; returns the report and where movies are.

    Parameters
    ----------
    ready
        The session.
    making
        Finished exposures in order, from :func:`cryoframe.twin.make.make_all`.
    movies_per_hour
        0 = as the session's own clock has them.
    speed
        The session's time against real time.
    stop
        Set it to stop; the session can then be resumed.
    n_ahead
        So many exposures are made before the first one lands, for machines that do not keep up.
    said
        Told of each exposure as it begins to land.
    """
    clock = RealClock(speed)
    making = _drawn_ahead(making, n_ahead)
    landed: list[Arrival] = []
    supply = Ahead(_arrivals(ready, making, movies_per_hour, landed), depth=SUPPLY_DEPTH)
    hiccups, seed = hiccups_asked(ready), ready.config.seed
    live = {"movies_per_hour": movies_per_hour}
    (ready.config.truth / LIVE).write_text(json.dumps(live) + "\n", encoding="utf-8")
    fingerprint = digest_facts({"live": ready.config.name, "seed": seed, "rate": movies_per_hour})
    player = Player(ready.config.folder.absolute(), ready.config.truth / JOURNAL, fingerprint)
    try:
        report = land_live(supply, player, clock, hiccups=hiccups, seed=seed, stop=stop, said=said)
        report.n_landed = sum(_is_whole(one, player, hiccups, seed) for one in landed)
        notes = [note["happened"] for note in player.journal.notes if "happened" in note]
    finally:
        supply.close()
        player.close()
    (ready.config.truth / HAPPENED).write_text(json.dumps(notes, indent=1) + "\n", encoding="utf-8")
    movies = movies_of(landed, plan_landing(landed, hiccups, seed))
    if report.finished:
        shutil.rmtree(ready.bench.staging, ignore_errors=True)
    return report, movies


def _is_whole(one: Arrival, player: Player, hiccups: Hiccups, seed: int) -> bool:
    steps = plan_landing([one], hiccups, seed, folders_stay=True).steps
    return all(player.is_done(step) for step in steps)


def _drawn_ahead(making: Iterator[tuple[Planned, Made]], n: int) -> Iterator[tuple[Planned, Made]]:
    yield from list(itertools.islice(making, n))
    yield from making


def _arrivals(
    ready: Ready, making: Iterator[tuple[Planned, Made]], movies_per_hour: float, landed: list[Arrival]
) -> Iterator[Arrival]:
    shots: tuple[Shot, ...] = ()
    for index, (planned, _) in enumerate(making):
        if not index:
            shots, layout = shots_of(ready)
            begin_folder(ready)
        shot = shots[planned.shot.number - 1]
        own_s = (shot.time_utc - shots[0].time_utc).total_seconds()
        landed.append(arrival(ready, shot, layout, due_s(index, movies_per_hour) if movies_per_hour else own_s))
        yield landed[-1]


def keep_happened(ready: Ready, landing: Landing) -> None:
    """Remember in the truth what happened while files landed."""
    text = json.dumps([asdict(one) for one in landing.happened], indent=1)
    (ready.config.truth / HAPPENED).write_text(text + "\n", encoding="utf-8")


def movies_of(arrivals: Sequence[Arrival], landing: Landing) -> dict[str, str]:
    """Return the path of each movie below the session's folder, after all moves."""
    moves = {step.path: step.target for step in landing.steps if step.operation == "move" and step.number == -1}
    found = {}
    for one in arrivals:
        path = one.movie.path
        for old, new in moves.items():
            if path.is_relative_to(old):
                path = PurePosixPath(new) / path.relative_to(old)
        found[one.exposure_id] = str(path)
    return found


def landed_path(ready: Ready, shot: Shot) -> Path:
    """Return where a movie is once it has landed."""
    layout = layout_of(ready.config, ready.plan[0].shot)
    return Path(ready.config.folder, layout.movie_path(shot))
