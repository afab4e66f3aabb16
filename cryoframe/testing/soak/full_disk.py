"""A disk that is full again and again while a session works on it. LT7.

The disk is one of memory in a namespace of its own, so that nothing else fills up; run as a program this module is
inside that namespace.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

from cryoframe.testing.soak import history
from cryoframe.testing.soak.facility import Facility
from cryoframe.testing.soak.score import Line, Room, Verdict
from cryoframe.testing.soak.service import Service

DISK_MB, N_EACH = 256, 8
DONE = "SELECT count(*) FROM tasks WHERE status='done'"


def full_disk(room: Room, verdict: Verdict) -> None:
    """LT7: 50 fills, of products and database alike, to the last byte or nearly."""
    module = "cryoframe.testing.soak.full_disk"
    command = ["unshare", "-Urm", sys.executable, "-m", module, str(room.folder), str(room.size(50, 3)), str(room.seed)]
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-Urm", "true"], check=False).returncode:
        verdict.skipped = "this machine lends no namespaces, and no other disk may be filled"
        return
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    said = json.loads(done.stdout)
    verdict.lines += [Line(**line) for line in said["lines"]]
    verdict.notes += said["notes"]


def _fill_again_and_again(folder: Path, n_fills: int, seed: int) -> Verdict:
    disk, chance = folder / "disk", random.Random(seed)
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "soak", str(disk)], check=True)
    stages = {"ctf": "time.sleep(0.02)", "pick": "pass", "box": "pass"}
    watch = {"poll_s": 0.5, "settle_s": 0.2}
    facility = Facility(folder, stages=stages, run={"workers": 2}, watch=watch, where=disk / "run").write()
    verdict, waits_s, landed = Verdict("LT7", ""), [], 0
    with Service(facility) as service:
        service.until_at_work()
        for _ in range(n_fills):
            for number in range(landed, landed + N_EACH):
                facility.put(f"m{number:05d}.dat", number)
            landed += N_EACH
            time.sleep(chance.uniform(0.0, 1.5))
            _fill(disk / "filler", chance.choice([0, 0, 4096, 1 << 20, 8 << 20]))
            time.sleep(chance.uniform(0.3, 1.5))
            (disk / "filler").unlink()
            start_s = time.monotonic()
            n_wanted = landed * len(stages)
            service.until(DONE, lambda n, n_wanted=n_wanted: n >= n_wanted, 120.0)  # type: ignore[misc]
            waits_s.append(time.monotonic() - start_s)
        service.stop()
    log = history.events(facility.out)
    items = {f"m{number:05d}.dat" for number in range(landed)}
    found = history.violations(facility.out, items, list(stages), harmless=False)
    found += [f"{name}: {said}" for name, said in log if name in ("StageGivenUp", "ProductDamaged")]
    verdict.count("lost, twice, torn, left over, damaged", found, n_fills)
    verdict.figure("until all was done after room was made, worst", max(waits_s), "s", 60.0)
    verdict.figure("attempts that met a full disk", sum(name == "StageFailed" for name, _ in log))
    return verdict


def _fill(filler: Path, leave_bytes: int) -> None:
    free = shutil.disk_usage(filler.parent).free
    descriptor = os.open(filler, os.O_WRONLY | os.O_CREAT)
    try:
        with contextlib.suppress(OSError):
            os.posix_fallocate(descriptor, 0, max(1, free - leave_bytes))
        with contextlib.suppress(OSError):  # what was freed meanwhile
            while not leave_bytes:
                os.write(descriptor, bytes(4096))
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    found = _fill_again_and_again(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
    sys.stdout.write(json.dumps({"lines": [vars(line) for line in found.lines], "notes": found.notes}))
