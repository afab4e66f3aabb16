"""The power goes on a real ext4 file system: an image of its device as it is at that moment is mounted and looked at.

The device is a file in memory behind a loop; what the file system has not flushed is not in it. The writer is stopped
while the image is copied, so that the copy is of one moment.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cryoframe.errors import CryoframeError
from cryoframe.records.database import Database
from cryoframe.records.journal import Journal
from cryoframe.records.store import Store

SIZE_MB = 48
WRITER = """\
import sys
from pathlib import Path
import numpy as np
from cryoframe.data.images import CtfFit
from cryoframe.formats import products
from cryoframe.records.bus import Bus
from cryoframe.records.database import Database
from cryoframe.records.events import ProductSaved, StageFinished
from cryoframe.records.folders import made
from cryoframe.records.journal import Journal
from cryoframe.records.store import Store
folder = made(Path(sys.argv[1]) / "deep" / "run", "run")
bus, store = Bus(Journal(Database.open(folder / "state.sqlite")), "run"), Store(folder)
for number in range(100_000):
    key = f"{number:040x}"
    scratch = store.scratch("ctf", key, 1)
    (scratch / "product").mkdir()
    products.save(CtfFit("m", 2.0, 1.0, number, profile=np.ones((3, 8), np.float32)), scratch / "product")
    done = store.commit(scratch, "ctf", "m", key, job={"hook": "estimate_ctf"})
    spent = {"seconds": 1.0, "cpu_s": 1.0, "peak_MB": 1.0}
    bus.publish(StageFinished, stage_id="ctf", item_id=f"{number}", key=key, digest=done.digest, **spent)
    print(key, flush=True)
"""


@contextmanager
def _mounted(image: Path, place: Path) -> Iterator[Path]:
    place.mkdir(exist_ok=True)
    done = subprocess.run(["mount", "-o", "loop", image, place], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no loop devices here: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def _judge(image: Path, place: Path, acknowledged: list[str]) -> None:
    """Everything that was acknowledged is there and whole; what is there besides is whole too."""
    with _mounted(image, place):
        folder = place / "deep" / "run"
        if not acknowledged and not (folder / "state.sqlite").exists():
            return
        database = Database.open(folder / "state.sqlite")
        assert database.read("PRAGMA integrity_check") == [("ok",)]
        finished = [event.key for event in Journal(database).replay()]  # type: ignore[attr-defined]
        database.close()
        assert finished[: len(acknowledged)] == acknowledged, "acknowledged and lost"
        store = Store(folder)
        assert [key for key in finished if not store.has("ctf", key)] == [], "an event without its product"
        assert store.verify() == []


def _cut_again_and_again(folder: Path, writer: str, n_cuts: int) -> list[int]:
    """Stop the writer, take the device as it is, look at it, go on; returns what had been acknowledged each time."""
    if os.geteuid() != 0 or shutil.which("mkfs.ext4") is None or not Path("/dev/shm").is_dir():
        pytest.skip("no right to mount, no ext4, or no memory to put it in")
    memory = Path("/dev/shm") / f"cryoframe-power-{os.getpid()}"
    memory.mkdir()
    image, copy, said, n_acknowledged = memory / "device", memory / "copy", folder / "said", []
    try:
        with image.open("wb") as file:
            file.truncate(SIZE_MB << 20)
        subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
        with _mounted(image, folder / "disk") as disk, said.open("wb") as out:
            process = subprocess.Popen([sys.executable, "-c", writer, str(disk)], stdout=out)
            try:
                while not said.stat().st_size:
                    assert process.poll() is None
                    time.sleep(0.01)
                for _ in range(n_cuts):
                    time.sleep(0.03)
                    process.send_signal(signal.SIGSTOP)
                    assert process.poll() is None, "it is still writing"
                    keys = said.read_text().rpartition("\n")[0].split()
                    shutil.copyfile(image, copy)
                    _judge(copy, folder / "found", keys)
                    process.send_signal(signal.SIGCONT)  # only now: the device is small
                    n_acknowledged.append(len(keys))
            finally:
                process.kill()
                process.wait()
    finally:
        shutil.rmtree(memory)
    return n_acknowledged


@pytest.mark.parametrize("n_cuts", [12])
def test_the_power_goes_on_a_real_file_system__what_was_acknowledged_is_there(
    tmp_path: Path, n_cuts: int, figure: Callable[[str, object], None]
) -> None:
    n_acknowledged = _cut_again_and_again(tmp_path, WRITER, n_cuts)
    assert n_acknowledged[-1] > n_acknowledged[0] > 0
    figure("cuts of power on a real file system; lost", f"{n_cuts}; 0")


def test_a_writer_that_does_not_sync__is_found_out_on_the_device(tmp_path: Path) -> None:
    careless = "import os\nos.fsync = lambda descriptor: None\n" + WRITER.replace(
        'Journal(Database.open(folder / "state.sqlite"))', "Journal(base)"
    ).replace(
        "bus, store",
        "base = Database.open(folder / 'state.sqlite'); base._connection.execute('PRAGMA synchronous=OFF')\nbus, store",
    )
    with pytest.raises((AssertionError, CryoframeError)):
        _cut_again_and_again(tmp_path, careless, 4)
