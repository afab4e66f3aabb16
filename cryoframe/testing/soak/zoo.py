"""Twelve plugins that misbehave, each in its way, beside one that does not. LT8."""

from __future__ import annotations

from types import MappingProxyType

from cryoframe.testing.soak import history
from cryoframe.testing.soak.facility import Facility
from cryoframe.testing.soak.score import Room, Verdict
from cryoframe.testing.soak.service import PATIENCE_S, Service

#: What each does to every image it is given.
BEASTS = MappingProxyType(
    {
        "sleeps": "time.sleep(60)",
        "deaf": "signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)",
        "hangs_in_c": "ctypes.CDLL(None).pause()",
        "leaves": "os._exit(0)",
        "segfaults": "ctypes.string_at(0)",
        "aborts": "ctypes.CDLL(None).abort()",
        "exits": "sys.exit(0)",
        "raises": "raise BaseExceptionGroup('both', [SystemExit(1), ValueError('x')])",
        "hoards": "hoard = [np.ones(2**22) for _ in range(1000)]",
        "lies": "return 'a fit'",
        "nan": "return CtfFit('m', float('nan'), 1.0, 1.0)",
        "floods": "[os.write(1, b'x' * 2**20) for _ in range(300)]; raise ValueError('flooded')",
    }
)
GOOD, ATTEMPTS = "time.sleep(0.05)", 3
WORKERS, TIMEOUT_S = 4, 1.0


def zoo(room: Room, verdict: Verdict) -> None:
    """LT8: 2 000 tasks, one in thirteen of which is meant well."""
    n_items = room.size(2000 // 13, 2)
    alone_s = _run(room, "alone", {}, n_items)[1]
    log, beside_s, service = _run(room, "zoo", dict(BEASTS), n_items)
    items = [f"m{number:03d}.dat" for number in range(n_items)]
    done = {(said["stage_id"], said["item_id"]) for name, said in log if name == "StageFinished"}
    given_up = {(said["stage_id"], said["item_id"]): said["reason"] for name, said in log if name == "StageGivenUp"}
    tries: dict[tuple[str, str], int] = {}
    for name, said in log:
        if name == "StageStarted":
            task = (said["stage_id"], said["item_id"])
            tries[task] = max(tries.get(task, 0), int(said["attempt"]))
    bad = [(beast, item) for beast in BEASTS for item in items]
    verdict.count("good tasks lost", [item for item in items if ("good", item) not in done], n_items)
    verdict.count("bad tasks that passed", [str(task) for task in bad if task in done], len(bad))
    verdict.count("bad tasks without a reason", [str(task) for task in bad if not given_up.get(task)], len(bad))
    verdict.figure("tries of a bad task, most", max(tries[task] for task in bad), "", ATTEMPTS)
    verdict.figure("a good task's time alone over that in the zoo", 100 * alone_s / beside_s, "%", 95.0, least=True)
    verdict.figure("the run's own memory", service.peak_MB(), "MB", 300.0)


def _run(room: Room, name: str, beasts: dict[str, str], n_items: int) -> tuple[history.Log, float, Service]:
    """Run it; returns the log, the good plugin's mean time of an attempt, and what the process used."""
    bad = {f"ctf:{beast}": body for beast, body in beasts.items()}
    half = len(bad) // 2
    stages = dict([*list(bad.items())[:half], ("ctf:good", GOOD), *list(bad.items())[half:]])
    facility = Facility(
        room.folder / name,
        stages=stages,
        run={"executor": "processes", "workers": WORKERS},
        watch=None,
        stage={"attempts": ATTEMPTS, "timeout_s": TIMEOUT_S, "memory_MB": 300},
        inputs='[micrographs]\nfiles = "land/*.dat"\npixel_size_A = 1.0',
    ).write()
    for number in range(n_items):
        facility.put(f"m{number:03d}.dat", number)
    with Service(facility, verb="run") as service:
        service.ended(PATIENCE_S + n_items * len(bad) * ATTEMPTS * TIMEOUT_S)
    log = history.events(facility.out)
    spent = [said["seconds"] for kind, said in log if kind == "StageFinished" and said["stage_id"] == "good"]
    return log, sorted(spent)[len(spent) // 2] if spent else float("inf"), service
