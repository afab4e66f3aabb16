"""Written movies of every kind: never taken for whole before they are, nothing left of a failure, checks by name."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from recordings import SUFFIX, disk_of, events, frames, recording, watched

from cryoframe import FrameSource, Recording
from cryoframe.errors import EnvironmentFault, Incomplete, InvalidInput, Refused
from cryoframe_formats import eer_movie, eer_write, mrc_movie, mrc_movie_write, tiff_movie, tiff_write
from cryoframe_formats.sink import Sink

WRITERS = {"tiff": tiff_write, "mrc": mrc_movie_write, "eer": eer_write}
READERS: dict[str, ModuleType] = {"tiff": tiff_movie, "mrc": mrc_movie, "eer": eer_movie}
KINDS = pytest.mark.parametrize("kind", list(WRITERS))


def write(folder: Path, given: Recording) -> Path:
    path = folder / f"movie{SUFFIX[given.kind]}"
    assert WRITERS[given.kind].write_movie(path, given) is True
    return path


def read(path: Path, kind: str) -> FrameSource | None:
    """Ask the reader; a file of zeros is nobody's, which is as good as incomplete."""
    return READERS[kind].open_movie(path)


@KINDS
def test_other_kinds__are_declined_and_nothing_is_written(tmp_path: Path, kind: str) -> None:
    others = {"tiff": "mrc", "mrc": "eer", "eer": "hologram"}
    assert WRITERS[kind].write_movie(tmp_path / "m", recording(others[kind])) is None
    assert not list(tmp_path.iterdir())


@KINDS
def test_a_file_that_is_being_written__is_never_taken_for_whole(tmp_path: Path, kind: str) -> None:
    snapshots = tmp_path / "snapshots"
    snapshots.mkdir()
    given, path = recording(kind, n=4), tmp_path / f"movie{SUFFIX[kind]}"
    source = "events" if kind == "eer" else "frames"
    slow = watched(path, getattr(given, source), snapshots)
    write(tmp_path, dataclasses.replace(given, **{source: slow}))
    assert read(path, kind) is not None
    taken = sorted(snapshots.iterdir())
    assert len(taken) == 5
    for snapshot in taken:
        try:
            assert read(snapshot, kind) is None
        except Incomplete:
            continue


@KINDS
def test_a_copy_cut_at_every_percent__is_incomplete(tmp_path: Path, kind: str) -> None:
    raw = write(tmp_path, recording(kind, n=5)).read_bytes()
    cut = tmp_path / f"cut{SUFFIX[kind]}"
    for length in {len(raw) * percent // 100 for percent in range(100)}:
        cut.write_bytes(raw[:length])
        try:
            assert read(cut, kind) is None
            assert length < 1024
        except Incomplete:
            continue


@KINDS
@pytest.mark.parametrize("change", [-1, 1])
def test_other_than_the_announced_number_of_frames__is_refused_and_nothing_is_left(
    tmp_path: Path, kind: str, change: int
) -> None:
    wrong = dataclasses.replace(recording(kind), n_frames=3 + change)
    with pytest.raises(InvalidInput, match="3 frames were given" if change > 0 else "more than 2 frames"):
        WRITERS[kind].write_movie(tmp_path / f"m{SUFFIX[kind]}", wrong)
    assert not list(tmp_path.iterdir())


@KINDS
def test_a_full_disk__is_named_and_nothing_is_left(tmp_path: Path, kind: str) -> None:
    whole = write(tmp_path, recording(kind, (64, 64), n=8))
    size = whole.stat().st_size
    for at in (0, 100, size // 2, size - 1):
        path = tmp_path / f"full{SUFFIX[kind]}"
        with disk_of(at), pytest.raises(EnvironmentFault, match="cannot be written after") as caught:
            WRITERS[kind].write_movie(path, recording(kind, (64, 64), n=8))
        assert str(path) in str(caught.value)
        assert not path.exists()


@KINDS
def test_a_folder_that_is_not_there__is_the_environments_fault(tmp_path: Path, kind: str) -> None:
    with pytest.raises(EnvironmentFault, match="No such file"):
        WRITERS[kind].write_movie(tmp_path / "away" / "m", recording(kind))


@KINDS
def test_a_failure_of_what_makes_the_frames__passes_and_leaves_nothing(tmp_path: Path, kind: str) -> None:
    class BrokenError(Exception):
        pass

    def broken() -> object:
        yield from list(getattr(recording(kind), "events" if kind == "eer" else "frames"))[:2]
        raise BrokenError

    given = dataclasses.replace(recording(kind), frames=broken(), events=broken())
    with pytest.raises(BrokenError):
        WRITERS[kind].write_movie(tmp_path / "m", given)
    assert not list(tmp_path.iterdir())


def test_a_failure_over_an_older_file__leaves_no_part_that_could_be_taken_for_it(tmp_path: Path) -> None:
    path = write(tmp_path, recording("tiff"))
    with pytest.raises(InvalidInput):
        tiff_write.write_movie(path, dataclasses.replace(recording("tiff"), n_frames=4))
    assert path.stat().st_size == 0


def test_what_is_no_file__is_not_written_to(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="regular file"):
        tiff_write.write_movie(tmp_path, recording("tiff"))


def test_room_that_is_known_to_be_missing__is_said_before_a_frame_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=3000))

    def never() -> object:
        raise AssertionError("a frame was asked for")
        yield

    given = dataclasses.replace(recording("mrc"), frames=never())
    with pytest.raises(EnvironmentFault, match="less free"):
        mrc_movie_write.write_movie(tmp_path / "m.mrc", given)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["tiff", "mrc"])
@pytest.mark.parametrize(
    ("dtype", "value"), [("uint8", 256), ("uint8", -1), ("uint16", 65536), ("int16", 40000), ("int16", -32769)]
)
def test_counts_that_the_type_cannot_hold__name_their_frame(tmp_path: Path, kind: str, dtype: str, value: int) -> None:
    given = frames((8, 6), "int64")
    given[1, 2, 3] = value
    with pytest.raises(InvalidInput, match=rf"frame 2 holds values from .*{value}.* what {dtype} can hold"):
        WRITERS[kind].write_movie(
            tmp_path / "m", dataclasses.replace(recording(kind, (8, 6), dtype=dtype), frames=given)
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["tiff", "mrc"])
def test_frames_of_another_kind_or_shape__are_refused(tmp_path: Path, kind: str) -> None:
    good = recording(kind, (8, 6))
    turned = [frame.T for frame in good.frames]
    for wrong, words in (
        (dataclasses.replace(good, frames=turned), r"frame 1 has the shape \(6, 8\)"),
        (dataclasses.replace(good, frames=[np.full((8, 6), 0.5)] * 3), "frame 1 holds fractions"),
        (dataclasses.replace(good, frames=[np.full((8, 6), np.nan)] * 3), "frame 1 holds values"),
        (dataclasses.replace(good, frames=[np.zeros((8, 6), complex)] * 3), "frame 1 holds complex"),
        (dataclasses.replace(good, dtype="float32", frames=[np.full((8, 6), 1e300)] * 3), "frame 1 holds values"),
        (dataclasses.replace(good, dtype="complex64"), "complex64"),
        (dataclasses.replace(good, n_frames=0), "0 frames"),
        (dataclasses.replace(good, shape_px=(0, 6)), r"\(0, 6\)"),
        (dataclasses.replace(good, pixel_size_A=0.0), "a pixel of 0.0"),
        (dataclasses.replace(good, pixel_size_A=float("nan")), "a pixel of nan"),
    ):
        with pytest.raises(InvalidInput, match=words):
            WRITERS[kind].write_movie(tmp_path / "m", wrong)
    assert not list(tmp_path.iterdir())


def test_an_eer_frame_with_two_events_in_a_pixel__is_named(tmp_path: Path) -> None:
    wrong = events((24, 20))
    wrong[1] = np.array([[4, 4], [5, 5]], np.int32)
    given = dataclasses.replace(recording("eer"), events=wrong)
    with pytest.raises(InvalidInput, match="internal frame 2: event 2 at row 1"):
        eer_write.write_movie(tmp_path / "m.eer", given)
    with pytest.raises(InvalidInput, match="eer_compression '9'"):
        eer_write.write_movie(tmp_path / "m.eer", dataclasses.replace(given, facts={"eer_compression": "9"}))
    assert not list(tmp_path.iterdir())


def test_a_sink__writes_all_of_what_the_system_takes_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Sink(tmp_path / "s") as sink:

        class Slow:
            def __init__(self, file: object) -> None:
                self.file = file

            def write(self, raw: memoryview) -> int:
                return self.file.write(raw[:3])

            def __getattr__(self, name: str) -> object:
                return getattr(self.file, name)

        monkeypatch.setattr(sink, "_file", Slow(sink._file))
        assert sink.append(b"0123456789") == 0
        assert sink.append(b"abcdef") == 10
        sink.patch(2, b"XXXXX")
        sink.append(b"!")
    assert (tmp_path / "s").read_bytes() == b"01XXXXX789abcdef!"
