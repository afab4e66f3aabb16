"""A session as microscopes make it: two acquisition programs, side-cars late, missing or early, a lost share. LT9."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cryoframe.testing.soak import history
from cryoframe.testing.soak.demand import STREAM
from cryoframe.testing.soak.facility import Facility
from cryoframe.testing.soak.incomplete import N_FRAMES, mrc_header
from cryoframe.testing.soak.score import Room, Verdict
from cryoframe.testing.soak.service import Service

XML = (
    '<?xml version="1.0"?><MicroscopeImage><microscopeData><gun><AccelerationVoltage>300000</AccelerationVoltage></gun>'
    "</microscopeData></MicroscopeImage>"
)
MDOC = f"PixelSpacing = 0.85\nVoltage = 300\n\n[FrameSet = 0]\nPixelSpacing = 0.85\nNumSubFrames = {N_FRAMES}\n"
TIMEOUT_S, RATE_1_S, OUTAGE_S = 6.0, 20.0, 8.0
DECIDED = "SELECT count(*) FROM files WHERE status IN ('settled', 'rejected')"


@dataclass(frozen=True)
class Exposure:
    """A movie: by which program, how it ends, and when its side-car is there."""

    name: str
    side_car: str
    number: int
    side_px: int
    #: Left half-written for ever.
    is_cut: bool
    #: Seconds after the movie; before it if negative; None: never.
    side_car_s: float | None

    def content(self) -> bytes:
        """Return its bytes, each number's of another content."""
        cell_A = (float(self.side_px), float(self.side_px), float(N_FRAMES))
        frame = (self.number.to_bytes(4, "little") * (self.side_px**2 // 4)).translate(bytes(i & 7 for i in range(256)))
        ids = bytes(self.number >> 2 * at & 3 for at in range(16))
        return mrc_header(self.side_px, N_FRAMES, cell_A) + ids + (frame * N_FRAMES)[16:]


def session(room: Room, verdict: Verdict) -> None:
    """LT9: 2 000 movies of 2 to 20 MB, named and timed as EPU and SerialEM do, sixty times as fast, and one outage."""
    exposures = list(_exposures(room.size(2000, 40), random.Random(room.seed), min(1.0, room.scale)))
    watch = {"kind": "movies", "patterns": "*.mrc", "metadata": "optional", "metadata_timeout_s": TIMEOUT_S}
    facility = Facility(
        room.folder,
        stages={"motion": STREAM},
        watch=watch | {"share_s": 2.0, "settle_s": 1.0},
        inputs="[movies]\npixel_size_A = 0.85",
    ).write()
    whole = [one for one in exposures if not one.is_cut]
    with Service(facility) as service:
        service.until_at_work()
        share = threading.Thread(target=_outage, args=(facility.land, len(exposures) / RATE_1_S / 2))
        share.start()
        _land(facility.folder / "microscope", facility.land, exposures)
        share.join()
        service.until(DECIDED, lambda n: n >= len(exposures))
        service.until("SELECT count(*) FROM tasks WHERE status='done'", lambda n: n >= len(whole))
        time.sleep(max([2.0, *(one.side_car_s or 0.0 for one in exposures)]))
        service.until("SELECT count(*) FROM files WHERE status IN ('seen', 'superseded')", lambda n: n == 0)
        service.stop()
    _judge(verdict, facility, exposures)
    verdict.figure("daemon's memory", service.peak_MB(), "MB", 300.0)


def _exposures(n: int, chance: random.Random, scale: float) -> list[Exposure]:
    made = []
    for number in range(n):
        side_px = 4 * round((chance.uniform(2e6, 20e6) * scale / N_FRAMES) ** 0.5 / 4)
        place = f"grid{number % 5}"
        if number % 2:
            name = f"{place}/FoilHole_{1000 + number // 4}_Data_{number}_{number % 9}_20260101_Fractions.mrc"
            side_car = name.replace("_Fractions.mrc", ".xml")
        else:
            name = f"{place}/session_{number:05d}.mrc"
            side_car = f"{name}.mdoc"
        late_s = chance.choice([-0.5, 0.0, 0.2, 1.0, 3.0, 2 * TIMEOUT_S]) if chance.random() > 0.05 else None
        made.append(Exposure(name, side_car, number, side_px, chance.random() < 0.03, late_s))
    return made


def _land(microscope: Path, land: Path, exposures: list[Exposure]) -> None:
    """Write movies and side-cars at their times; a share that is away is waited for, as acquisition does."""
    microscope.mkdir()
    plan: list[tuple[float, int, Callable[[], None]]] = []
    for at, one in enumerate(exposures):
        movie_s = 0.5 + at / RATE_1_S
        plan.append((movie_s, 2 * at, partial(_write, microscope, land, one)))
        if one.side_car_s is not None:
            text = XML if one.side_car.endswith(".xml") else MDOC
            plan.append((movie_s + one.side_car_s, 2 * at + 1, partial(_put, land / one.side_car, text.encode())))
    start_s = time.monotonic()
    for due_s, _, write in sorted(plan, key=lambda step: step[:2]):
        time.sleep(max(0.0, start_s + due_s - time.monotonic()))
        write()


def _write(microscope: Path, land: Path, one: Exposure) -> None:
    content = one.content()
    if one.is_cut:
        _put(land / one.name, content[: len(content) * 2 // 3])
    elif one.number % 2:  # as a transfer does it
        part = microscope / f"{one.number}"
        part.write_bytes(content)
        _retried(lambda: (land / one.name).parent.mkdir(exist_ok=True))
        _retried(lambda: part.rename(land / one.name))
    else:
        _put(land / one.name, content)


def _put(path: Path, content: bytes) -> None:
    _retried(lambda: path.parent.mkdir(exist_ok=True))
    _retried(lambda: path.write_bytes(content))


def _retried(do: Callable[[], object]) -> None:
    while True:
        try:
            do()
            return
        except OSError:
            time.sleep(0.2)


def _outage(land: Path, after_s: float) -> None:
    time.sleep(after_s)
    away = land.with_name("away")
    land.rename(away)
    time.sleep(OUTAGE_S)
    away.rename(land)


def _judge(verdict: Verdict, facility: Facility, exposures: list[Exposure]) -> None:
    log = history.events(facility.out)
    files = {
        path: (status, reason)
        for path, status, reason in history.ask(facility.out, "SELECT path, status, reason FROM files")
    }
    whole, cut = [one for one in exposures if not one.is_cut], [one for one in exposures if one.is_cut]
    verdict.count(
        "movies not processed", [o.name for o in whole if files.get(o.name, ("",))[0] != "settled"], len(whole)
    )
    contents = {one.name: {history.digest(one.content(), "0" * 40)} for one in whole}
    verdict.count("taken before it was whole", history.early(log, contents), len(exposures))
    wrong = [one.name for one in cut if files.get(one.name, ("", ""))[0] != "rejected" or not files[one.name][1]]
    verdict.count("cut movies without a reason", wrong, max(1, len(cut)))
    on_disk = {path.relative_to(facility.land).as_posix() for path in facility.land.rglob("*") if path.is_file()}
    verdict.count("files without a state, states without a file", sorted(on_disk ^ files.keys()), len(on_disk))
    facts = {said["item_id"]: said["facts"] for name, said in log if name == "ItemAdmitted"}
    bare = [o.name for o in whole if bool(facts.get(o.name, {}).get("metadata_missing")) != (o.side_car_s is None)]
    verdict.count("wrong about the side-car", bare, len(whole))
    done = {said["item_id"] for name, said in log if name in history.DONE}
    verdict.count("movies without a result", [one.name for one in whole if one.name not in done], len(whole))
    lost = sum(name == "RootLost" for name, _ in log)
    verdict.figure("outages told", lost, "", 1, least=True)
    vanished = [path for path, (_, reason) in files.items() if "vanished" in (reason or "")]
    verdict.count("files taken for deleted in the outage", vanished, len(files))
