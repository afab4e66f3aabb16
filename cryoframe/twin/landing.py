"""How files land: a plan of timed steps, made without touching a disk; ``play`` carries it out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import count
from pathlib import Path, PurePosixPath
from typing import Literal

from cryoframe.data.ids import digest_bytes
from cryoframe.errors import InvalidInput
from cryoframe.twin.growth import Piece, Writing, is_tiff, written
from cryoframe.twin.hiccups import TEMPORARY, Hiccup, Hiccups
from cryoframe.twin.shot import Layout, Shot

Operation = Literal["create", "write", "place", "move", "stamp"]


@dataclass(frozen=True)
class Arrival:
    """One exposure's files, ready to land."""

    exposure_id: str
    #: When the movie begins to land, in seconds of the session.
    time_s: float
    movie: Piece
    side_cars: tuple[Piece, ...] = ()
    #: Whether the side-car is written when the movie is done (SerialEM), or when it begins (EPU).
    side_cars_last: bool = True
    clock_skew_s: float = 0.0
    #: Another movie, for ``duplicate_other``; without one the first version lacks its second half.
    spare: Path | None = None


@dataclass(frozen=True)
class Step:
    """One thing that is done to the session's folder. Doing it twice is the same as doing it once."""

    time_s: float
    operation: Operation
    #: Relative to the session's folder.
    path: str
    exposure_id: str
    #: Within its exposure.
    number: int = 0
    source: Path | bytes = b""
    #: Bytes of the source, and where they go in the file.
    start: int = 0
    stop: int = 0
    offset: int = 0
    #: Where a move ends.
    target: str = ""
    #: File time against the clock, for ``stamp``.
    skew_s: float = 0.0

    @property
    def key(self) -> str:
        """Name of the step within its session."""
        return f"{self.exposure_id}:{self.number}"


@dataclass(frozen=True)
class Landing:
    """Steps in the order of time, and what happened to whom."""

    steps: tuple[Step, ...]
    happened: tuple[Hiccup, ...] = field(default=())

    def fingerprint(self) -> str:
        """Return a key of what the steps do, whatever their times."""
        facts = [
            (step.key, step.operation, step.path, step.target, step.start, step.stop, step.offset, step.skew_s)
            for step in self.steps
        ]
        return digest_bytes(json.dumps(facts).encode())


def arrival_of(
    shot: Shot, layout: Layout, movie: Path, time_s: float, *, hiccups: Hiccups | None = None, seed: int = 0,
    spare: Path | None = None,
) -> Arrival:  # fmt: skip
    """Return an exposure's files as a layout names them; a wrong clock shows in names and side-cars.

    Parameters
    ----------
    shot
        The exposure as stated.
    layout
        The acquisition program.
    movie
        The staged movie.
    time_s
        When it begins to land.
    hiccups, seed
        As for :func:`plan_landing`.
    spare
        Another staged movie, for a duplicate with other bytes.
    """
    skew_s = 0.0
    if hiccups is not None and "clock_skew" in hiccups.drawn(shot.exposure_id, seed):
        skew_s = hiccups.clock_skew_s
        shot = replace(shot, time_utc=shot.time_utc + timedelta(seconds=skew_s))
    cars = tuple(Piece(path, content) for path, content in sorted(layout.side_cars(shot).items()))
    piece = Piece(layout.movie_path(shot), movie)
    return Arrival(shot.exposure_id, time_s, piece, cars, layout.side_cars_last, skew_s, spare)


def plan_landing(
    arrivals: Sequence[Arrival], hiccups: Hiccups | None = None, seed: int = 0, *, folders_stay: bool = False
) -> Landing:
    """Plan how exposures land.

    Parameters
    ----------
    arrivals
        Exposures in the order of their times.
    hiccups
        What may go wrong; None = nothing, and at once.
    seed
        Decides what happens to which exposure, one by one: planning them apart or together is the same.
    folders_stay
        Plan no move of folders: more is to come (see :func:`plan_moves`).

    Raises
    ------
    InvalidInput
        Two exposures of one name or path, or a path that leaves the folder.
    """
    hiccups = hiccups or Hiccups()
    _check(arrivals)
    steps: list[Step] = []
    happened: list[Hiccup] = []
    for arrival in arrivals:
        one = _One(arrival, hiccups, hiccups.drawn(arrival.exposure_id, seed))
        one.land()
        steps += one.numbered()
        happened += one.happened
    if not folders_stay:
        until_s = max((step.time_s for step in steps), default=0.0)
        moves = plan_moves(arrivals, hiccups, seed, after_s=until_s)
        steps += moves.steps
        happened += moves.happened
    return Landing(tuple(sorted(steps, key=lambda step: step.time_s)), tuple(happened))


def plan_moves(arrivals: Sequence[Arrival], hiccups: Hiccups, seed: int, *, after_s: float) -> Landing:
    """Plan the renaming of folders after everything has landed.

    Raises
    ------
    InvalidInput
        Movies lie in the session's folder itself, which is not renamed.
    """
    first: dict[PurePosixPath, str] = {}
    happened: list[Hiccup] = []
    for arrival in arrivals:
        if "moved_folder" in hiccups.drawn(arrival.exposure_id, seed):
            folder = _folder(arrival.movie.path)
            first.setdefault(folder, arrival.exposure_id)
            happened.append(Hiccup(arrival.exposure_id, "moved_folder", str(folder), hiccups.moved_after_s))
    time_s = after_s + hiccups.moved_after_s
    steps = [
        Step(time_s, "move", str(folder), exposure_id, number=-1, target=f"{folder}_moved")
        for folder, exposure_id in first.items()
    ]
    return Landing(tuple(steps), tuple(happened))


def _folder(movie: PurePosixPath) -> PurePosixPath:
    """Return the folder a person would move: that of the grid square, or of the frames."""
    folder = movie.parent.parent if movie.parent.name == "Data" else movie.parent
    if not folder.name:
        raise InvalidInput(
            f"moved_folder with movies like {movie.name} in the session's folder itself", expected="a sub-folder"
        )
    return folder


def _check(arrivals: Iterable[Arrival]) -> None:
    names: set[str] = set()
    paths: set[PurePosixPath] = set()
    for arrival in arrivals:
        if arrival.exposure_id in names or arrival.movie.path in paths:
            raise InvalidInput(f"{arrival.exposure_id} or {arrival.movie.path} lands twice", expected="each once")
        names.add(arrival.exposure_id)
        paths.add(arrival.movie.path)
        for piece in (arrival.movie, *arrival.side_cars):
            if piece.path.is_absolute() or ".." in piece.path.parts or not piece.path.name:
                raise InvalidInput(f"path {str(piece.path)!r}", expected="a path within the session's folder")


class _One:
    """The steps of one exposure."""

    def __init__(self, arrival: Arrival, hiccups: Hiccups, drawn: frozenset[str]) -> None:
        self.arrival, self.hiccups, self.drawn = arrival, hiccups, drawn
        self.steps: list[Step] = []
        self.happened: list[Hiccup] = []

    def numbered(self) -> Iterator[Step]:
        numbers = count()
        for step in sorted(self.steps, key=lambda step: step.time_s):
            yield replace(step, number=next(numbers))

    def land(self) -> None:
        begin_s = self.arrival.time_s
        if "out_of_order" in self.drawn:
            begin_s += self.hiccups.out_of_order_s
            self._note("out_of_order", self.hiccups.out_of_order_s)
        end_s = self._movie(begin_s)
        self._side_cars(begin_s, end_s)

    def _note(self, kind: str, amount: float, path: PurePosixPath | None = None) -> None:
        self.happened.append(Hiccup(self.arrival.exposure_id, kind, str(path or self.arrival.movie.path), amount))

    def _add(self, time_s: float, operation: Operation, path: PurePosixPath, **more: object) -> None:
        step = Step(time_s, operation, str(path), self.arrival.exposure_id)
        self.steps.append(replace(step, **more))  # type: ignore[arg-type]

    # -- the movie -----------------------------------------------------------------------------------------------
    def _movie(self, begin_s: float) -> float:
        """Plan the movie and return when it is whole."""
        movie = self.arrival.movie
        if "duplicate_other" in self.drawn:
            other = Piece(movie.path, self.arrival.spare or movie.source)
            stop = other.size if self.arrival.spare else other.size // 2
            done_s = self._write(other, begin_s, stop)
            begin_s = done_s + self.hiccups.duplicate_s
            self._note("duplicate_other", self.hiccups.duplicate_s)
        end_s = self._write(movie, begin_s, self._stop(movie))
        if "duplicate_same" in self.drawn and "duplicate_other" not in self.drawn:
            end_s = self._write(movie, end_s + self.hiccups.duplicate_s, self._stop(movie, again=True))
            self._note("duplicate_same", self.hiccups.duplicate_s)
        return end_s

    def _stop(self, movie: Piece, *, again: bool = False) -> int:
        if "truncated" not in self.drawn:
            return movie.size
        stop = min(int(movie.size * self.hiccups.truncated_at_frac), movie.size - 1)
        if not again:
            self._note("truncated", stop)
        return stop

    def _write(self, piece: Piece, begin_s: float, stop: int) -> float:
        hiccups, final = self.hiccups, piece.path
        handled = self.drawn & {"stalled", "temporary", "truncated", "frame_by_frame", "duplicate_same",
                                "duplicate_other"}  # fmt: skip
        skew_s = self.arrival.clock_skew_s
        if not (handled or hiccups.bandwidth_MB_s or skew_s):
            self._add(begin_s, "place", final, source=piece.source, stop=stop)
            return begin_s
        again = any(step.path == str(final) or step.target == str(final) for step in self.steps)
        path = final
        if "temporary" in self.drawn:
            path = final.with_name(TEMPORARY[hiccups.temporary_name].format(final.name))
        end_s = begin_s
        for writing in written(piece, self._writing(stop), begin_s):
            operation: Operation = "create" if writing.first else "write"
            self._add(
                writing.time_s, operation, path, source=writing.source, start=writing.start, stop=writing.stop,
                offset=writing.offset,
            )  # fmt: skip
            end_s = writing.time_s
        if path != final:
            self._add(end_s, "move", path, target=str(final))
        if skew_s:
            self._add(end_s, "stamp", final, skew_s=skew_s)
        if not again:
            self._noted(skew_s)
        return end_s

    def _noted(self, skew_s: float) -> None:
        if "stalled" in self.drawn:
            self._note("stalled", self.hiccups.stall_s)
        if "temporary" in self.drawn:
            self._note("temporary", 0.0)
        if "frame_by_frame" in self.drawn and is_tiff(self.arrival.movie):
            self._note("frame_by_frame", 0.0)
        if skew_s:
            self._note("clock_skew", skew_s)

    def _writing(self, stop: int) -> Writing:
        return Writing(
            stop, self.hiccups.bandwidth_MB_s * 1e6, self.hiccups.chunk_kB * 1024,
            self.hiccups.stall_s if "stalled" in self.drawn else 0.0, "frame_by_frame" in self.drawn,
        )  # fmt: skip

    # -- its side-cars -------------------------------------------------------------------------------------------
    def _side_cars(self, begin_s: float, end_s: float) -> None:
        if not self.arrival.side_cars:
            return
        time_s = end_s if self.arrival.side_cars_last else begin_s
        first = self.arrival.side_cars[0].path
        if "missing_side_car" in self.drawn:
            self._note("missing_side_car", 0.0, first)
            return
        if "late_side_car" in self.drawn:
            time_s = end_s + self.hiccups.late_s
            self._note("late_side_car", self.hiccups.late_s, first)
        elif "early_side_car" in self.drawn:
            time_s = begin_s - self.hiccups.early_s
            self._note("early_side_car", self.hiccups.early_s, first)
        for piece in self.arrival.side_cars:
            self._add(time_s, "create", piece.path, source=piece.source, stop=piece.size)
            if self.arrival.clock_skew_s:
                self._add(time_s, "stamp", piece.path, skew_s=self.arrival.clock_skew_s)
