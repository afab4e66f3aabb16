"""Files that are not whole yet, or never will be: none may be taken before it is. LT5."""

from __future__ import annotations

import mmap
import os
import random
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cryoframe.testing.soak import history
from cryoframe.testing.soak.facility import Facility
from cryoframe.testing.soak.landing import ADMITTED
from cryoframe.testing.soak.score import Room, Verdict
from cryoframe.testing.soak.service import Service, order

N_FRAMES, SIDE_PX = 4, 32
#: The daemon's times are those of the field divided by twenty: 20 s and 300 s of settling; so are the writers' pauses.
SETTLE_S, LONG_SETTLE_S, POLL_S = 1.0, 15.0, 0.25
STALLS_S = (0.05, 0.25, 1.5, 3.0, 6.0)
N_AT_ONCE = 40
#: What was rewritten last is taken anew within this, what is cut is refused within this, on a busy machine too.
REDO_S = 60.0
REFUSED = "SELECT count(*) FROM files WHERE status='rejected'"


@dataclass(frozen=True)
class File:
    """A movie that is written in some way; `whole` are the contents with which it may be taken."""

    name: str
    kind: str
    content: bytes
    at: int
    stall_s: float
    whole: tuple[bytes, ...]


def incomplete(room: Room, verdict: Verdict) -> None:
    """LT5: cut at every percent, stalled, preallocated, mapped, appended frame by frame, rewritten after acceptance."""
    times = {"settle_s": SETTLE_S, "long_settle_s": LONG_SETTLE_S, "poll_s": POLL_S, "kind": "movies"}
    facility = Facility(
        room.folder,
        stages={"motion": "raise ValueError"},
        watch=times | {"patterns": ["*.mrc", "*.tif"]},
        inputs=f"[movies]\nn_frames_expected = {N_FRAMES}\npixel_size_A = 1.0",
    ).write()
    files = list(_files(room.size(10_000, 42), random.Random(room.seed)))
    with Service(facility) as service:
        service.until_at_work()
        order("pause", facility)
        _write_all(facility.land, files)
        wanted = [file for file in files if file.whole]
        service.until(ADMITTED, lambda n: n >= len(wanted))
        time.sleep(2 * SETTLE_S + 2 * POLL_S)
        rewritten, n_cut = [file for file in wanted if len(file.whole) > 1], len(files) - len(wanted)
        _until(lambda: not _lost(history.events(facility.out), rewritten, last=True))
        _until(lambda: history.ask(facility.out, REFUSED)[0][0] >= n_cut)
        service.stop()
    log = history.events(facility.out)
    verdict.count("taken before it was whole", _early(log, files), len(files))
    n_whole = len(wanted)
    verdict.count("lost", _lost(log, wanted), n_whole)
    verdict.count("rewritten and not redone", _lost(log, rewritten, last=True), max(1, len(rewritten)))
    states = dict(history.ask(facility.out, "SELECT path, reason FROM files WHERE status='rejected'"))
    silent = [file.name for file in files if not file.whole and not states.get(file.name)]
    verdict.count("not whole and without a reason", silent, max(1, len(files) - n_whole))
    for kind in sorted(_WRITERS):
        verdict.figure(f"files {kind}", sum(file.kind == kind for file in files))


def _until(condition: Callable[[], bool]) -> None:
    """Wait until it is so, and no longer than the last file may take."""
    end_s = time.monotonic() + REDO_S
    while not condition() and time.monotonic() < end_s:
        time.sleep(1.0)


def _early(log: history.Log, files: list[File]) -> list[str]:
    return history.early(log, {file.name: {_digest(content) for content in file.whole} for file in files})


def _lost(log: history.Log, files: list[File], *, last: bool = False) -> list[str]:
    taken = {(content["path"], content["digest"]) for name, content in log if name == "FileSettled"}
    return [
        file.name
        for file in files
        if not any((file.name, _digest(whole)) in taken for whole in (file.whole[-1:] if last else file.whole))
    ]


def _digest(content: bytes) -> str:
    return history.digest(content, "0" * 40)


def _files(n_files: int, chance: random.Random) -> Iterator[File]:
    kinds = sorted(_WRITERS)
    for number in range(n_files):
        kind = kinds[number % len(kinds)]
        is_tiff = kind == "appended" or (kind in ("cut", "stalled") and number % 2 == 1)
        content = tiff(number) if is_tiff else mrc(number)
        at = max(1, len(content) * (1 + (number // len(kinds)) % 99) // 100)
        whole: tuple[bytes, ...] = () if kind == "cut" else (content,)
        if kind == "rewritten":
            whole = (content, mrc(number + 10_000_000))
        stall_s = chance.choice(STALLS_S)
        yield File(f"{number:05d}-{kind}.{'tif' if is_tiff else 'mrc'}", kind, content, at, stall_s, whole)


def _write_all(land: Path, files: list[File]) -> None:
    free = threading.Semaphore(N_AT_ONCE)

    def write(file: File) -> None:
        try:
            _WRITERS[file.kind](land / file.name, file)
        finally:
            free.release()

    threads = []
    for file in files:
        free.acquire()
        threads.append(threading.Thread(target=write, args=(file,)))
        threads[-1].start()
    for thread in threads:
        thread.join()


# -- writers -----------------------------------------------------------------------------------------------------
def _cut(path: Path, file: File) -> None:
    path.write_bytes(file.content[: file.at])


def _stalled(path: Path, file: File) -> None:
    with path.open("wb", buffering=0) as out:
        out.write(file.content[: file.at])
        time.sleep(file.stall_s)
        out.write(file.content[file.at :])


def _preallocated(path: Path, file: File) -> None:
    """Reserve it all with an old time, then fill it; pauses stay below the long settling time."""
    with path.open("wb", buffering=0) as out:
        out.truncate(len(file.content))
        os.utime(path, (1e9, 1e9))
        out.write(file.content[: file.at])
        os.utime(path, (1e9, 1e9))
        time.sleep(min(file.stall_s, LONG_SETTLE_S / 2))
        out.write(file.content[file.at :])


def _mapped(path: Path, file: File) -> None:
    with path.open("w+b", buffering=0) as out:
        out.truncate(len(file.content))
        view = mmap.mmap(out.fileno(), len(file.content))
    view[: file.at] = file.content[: file.at]
    view.flush()
    time.sleep(min(file.stall_s, LONG_SETTLE_S / 2))
    view[file.at :] = file.content[file.at :]
    view.flush()
    view.close()


def _appended(path: Path, file: File) -> None:
    """A TIFF that is a whole movie, of fewer frames, at every moment: the last frame is linked when it is there."""
    step = len(file.content) // N_FRAMES
    with path.open("wb", buffering=0) as out:
        for frame in range(N_FRAMES):
            piece = file.content[frame * step : (frame + 1) * step]
            out.write(piece[:-4] + bytes(4))
            if frame:
                os.pwrite(out.fileno(), file.content[frame * step - 4 : frame * step], frame * step - 4)
            time.sleep(file.stall_s / N_FRAMES)


def _rewritten(path: Path, file: File) -> None:
    """Other bytes, the same size, the old time, after it was taken."""
    path.write_bytes(file.content)
    before = path.stat()
    time.sleep(4 * SETTLE_S)
    path.write_bytes(file.whole[-1])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def _renamed(path: Path, file: File) -> None:
    part = path.with_name(f".{path.name}.x1Y2z3")
    _stalled(part, file)
    part.rename(path)


_WRITERS: dict[str, Callable[[Path, File], None]] = {
    "appended": _appended, "cut": _cut, "mapped": _mapped, "preallocated": _preallocated, "renamed": _renamed,
    "rewritten": _rewritten, "stalled": _stalled,
}  # fmt: skip


# -- movies ------------------------------------------------------------------------------------------------------
def _frames(number: int) -> list[bytes]:
    state = random.Random(number)
    return [bytes(state.choices(range(1, 8), k=SIDE_PX * SIDE_PX)) for _ in range(N_FRAMES)]


def mrc(number: int, *, side_px: int = SIDE_PX, n_frames: int = N_FRAMES) -> bytes:
    """Return an MRC movie of signed bytes."""
    cell_A = (float(side_px), float(side_px), float(n_frames))
    return mrc_header(side_px, n_frames, cell_A) + b"".join(_frames(number))


def mrc_header(side_px: int, n_frames: int, cell_A: tuple[float, float, float], mode: int = 0) -> bytes:
    """Return the 1 024 bytes before the frames (MRC2014, mode 0: signed bytes)."""
    sizes = (side_px, side_px, n_frames)
    head = struct.pack("<10i", *sizes, mode, 0, 0, 0, *sizes)
    head += struct.pack("<6f3i3f2i", *cell_A, 90, 90, 90, 1, 2, 3, 0, 7, 3, 0, 0)
    head = head.ljust(108, b"\0") + struct.pack("<i", 20140)
    return head.ljust(208, b"\0") + b"MAP DD\0\0" + struct.pack("<fi", 1.0, 0) + bytes(800)


def tiff(number: int) -> bytes:
    """Return a TIFF movie whose every frame but the last is followed by room for the next: equal pieces."""
    pieces, piece = [], 8 + SIDE_PX * SIDE_PX + 2 + 9 * 12 + 4
    for frame, pixels in enumerate(_frames(number)):
        start = frame * piece
        tags = [
            (256, SIDE_PX), (257, SIDE_PX), (258, 8), (259, 1), (262, 1), (273, start + 8), (277, 1), (278, SIDE_PX),
            (279, SIDE_PX * SIDE_PX),
        ]  # fmt: skip
        table = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
        last = frame == N_FRAMES - 1
        after = 0 if last else start + piece + 8 + SIDE_PX * SIDE_PX
        head = struct.pack("<2sHI", b"II", 42, 8 + SIDE_PX * SIDE_PX) if frame == 0 else bytes(8)
        pieces.append(head + pixels + table + struct.pack("<I", after))
    return b"".join(pieces)
