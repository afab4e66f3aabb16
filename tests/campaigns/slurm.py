"""A real Slurm of one node, started here, and what becomes of a run on it when nodes, jobs, commands and the head fail.

``python tests/campaigns/slurm.py`` as root on a machine with Debian's ``slurm-wlm`` and ``munge``; it starts its own
daemons on ports of its own and leaves none. Each scenario ends with a judgement from the log and the files alone.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "contrib"), str(HERE.parent / "execution"), str(HERE)]

from slurm_node import command, missing, running_jobs, slurm, wait_for  # noqa: E402

from cryoframe.testing.soak import history  # noqa: E402

N_ITEMS, ATTEMPT_S, LIMIT_S = 6, 3.0, 400.0
DONE = ("StageFinished", "StageSkipped")
DRIVER = """
import sys, json
from pathlib import Path
sys.path[:0] = {path!r}
from dask_world import DaskWorld
if __name__ == "__main__":
    made = DaskWorld(Path({folder!r}), **json.loads({given!r}))
    with made.open(backoff_s=1.0) as run:
        run.execute()
"""


@dataclass
class Scenario:
    """A run on Slurm, and what is done to it."""

    name: str
    folder: Path
    attempt_s: float = ATTEMPT_S
    n_items: int = N_ITEMS
    settings: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    daemon: subprocess.Popen[bytes] | None = None
    start_s: float = field(default_factory=time.monotonic)

    def begin(self) -> None:
        """Start the daemon of the run."""
        self.folder.mkdir(parents=True, exist_ok=True)
        mark = f"Path('{self.folder}/started.' + micrograph.micrograph_id + '.' + str(time.monotonic_ns())).touch()"
        lines = ["jobs_most = 2", "cores = 3", "memory_MB = 500", "lost_s = 15.0", "keep_s = 300.0", *self.settings]
        given = {
            "stages": ["ctf", "pick"],
            "body": {"ctf": f"{mark}; time.sleep({self.attempt_s})"},
            "n_micrographs": self.n_items,
            "workers": 6,
            "products": "shared",
            "settings": "\n".join(['cluster = "slurm"', *lines]),
        }
        text = DRIVER.format(path=sys.path[:2], folder=str(self.folder), given=json.dumps(given))
        script = self.folder / "driver.py"
        script.write_text(text, encoding="utf-8")
        with (self.folder / "driver.log").open("ab") as log:
            self.daemon = subprocess.Popen(
                [sys.executable, str(script)], stdout=log, stderr=log, env=os.environ | self.environment
            )

    def started(self) -> Counter[str]:
        """Return how often each item's attempt was begun."""
        return Counter(path.name.split(".")[1] for path in self.folder.glob("started.*"))

    def wait_started(self, n_items: int) -> None:
        """Wait until so many items were begun."""
        wait_for(lambda: len(self.started()) >= n_items, LIMIT_S)

    def finish(self) -> list[str]:
        """Wait for the end; returns what is wrong with it."""
        assert self.daemon is not None
        try:
            status = self.daemon.wait(timeout=LIMIT_S)
        except subprocess.TimeoutExpired:
            self.daemon.kill()
            return [f"it did not end within {LIMIT_S:g} s"]
        wrong = [f"it ended with {status}"] if status else []
        return [*wrong, *self.violations()]

    def violations(self) -> list[str]:
        """Judge: lost, done twice, given up, left over."""
        log = events(self.folder / "out")
        done = Counter((said["stage_id"], said["item_id"]) for name, said in log if name in DONE)
        wanted = {(stage, f"m{number}.mrc") for stage in ("ctf", "pick") for number in range(self.n_items)}
        wrong = [f"{task} was lost" for task in sorted(wanted - done.keys())]
        wrong += [f"{task} took effect {count} times" for task, count in done.items() if count > 1]
        wrong += [f"given up: {said['reason']}" for name, said in log if name == "StageGivenUp"]
        wrong += [f"a false failure: {said['message']}" for name, said in log
                  if name == "StageFailed" and said["error_class"] != "environment"]  # fmt: skip
        left = [path for name in ("scratch", "elsewhere") for path in (self.folder / "shared" / name).iterdir()]
        return wrong + [f"{path} is left over" for path in left]


def events(folder: Path) -> list[tuple[str, dict]]:
    """Return (name, content) of every event in the order in which it was kept."""
    return history.events(folder)


def digests(folder: Path) -> dict[tuple[str, str], str]:
    """Return the digest of each product that took effect, by stage and item."""
    return {(said["stage_id"], said["item_id"]): said["digest"] for name, said in events(folder) if name in DONE}


# -- what is done to runs ---------------------------------------------------------------------------------------------
def nothing(scenario: Scenario) -> None:
    """Do nothing."""


def lose_node(scenario: Scenario) -> None:
    """C3: Slurm takes the node for dead, kills its jobs and queues them again; then it comes back."""
    scenario.wait_started(2)
    host = socket.gethostname().split(".")[0]
    command("scontrol", "update", f"nodename={host}", "state=down", "reason=campaign")
    time.sleep(3.0)
    command("scontrol", "update", f"nodename={host}", "state=resume")


def kill_workers(scenario: Scenario) -> None:
    """C3: every process of the jobs dies at once, as if the power went."""
    scenario.wait_started(2)
    for job in running_jobs():
        command("scancel", "--signal=KILL", "--full", job)


def requeue(scenario: Scenario) -> None:
    """C3: an operator queues running jobs again."""
    scenario.wait_started(2)
    for job in running_jobs():
        command("scontrol", "requeue", job)


def preempt(scenario: Scenario) -> None:
    """C3: SIGTERM to all, as before a preemption, and SIGKILL after the grace."""
    scenario.wait_started(2)
    jobs = running_jobs()
    for job in jobs:
        command("scancel", "--signal=TERM", "--full", job)
    time.sleep(5.0)
    for job in jobs:
        command("scancel", "--signal=KILL", "--full", job)


def kill_head(scenario: Scenario) -> None:
    """C4: the daemon dies while jobs work; they end; then it is started again."""
    scenario.wait_started(scenario.n_items)
    assert scenario.daemon is not None
    scenario.daemon.kill()
    scenario.daemon.wait()
    landed = scenario.folder / "shared" / "elsewhere"
    wait_for(lambda: len(list(landed.glob("*/landed.json"))) >= scenario.n_items, 120)
    time.sleep(2.0)
    scenario.begin()


def kill_head_early(scenario: Scenario) -> None:
    """C4: the daemon dies while jobs work and is back before they end: they are waited for."""
    scenario.wait_started(scenario.n_items)
    assert scenario.daemon is not None
    scenario.daemon.kill()
    scenario.daemon.wait()
    scenario.begin()


def kill_keeper(scenario: Scenario) -> None:
    """C3: the scheduler and who asks for jobs die at once; the jobs are orphans and their work is lost."""
    scenario.wait_started(2)
    os.kill(int(json.loads((scenario.folder / "shared/dask/keeper.json").read_text())["pid"]), signal.SIGKILL)


def fakes(folder: Path, **scripts: str) -> dict[str, str]:
    """Return an environment in which these commands are scripts."""
    folder.mkdir(parents=True)
    for name, script in scripts.items():
        path = folder / name
        path.write_text(f"#!/bin/bash\n{script}\n", encoding="ascii")
        path.chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


def late_files(n_products: int, *, seed: int = 1) -> list[str]:
    """C5: products that are seen late, in pieces, with other bytes first; returns the false failures."""
    from cryoframe_dask import arrival, words

    chance, wrong = random.Random(seed), []
    with tempfile.TemporaryDirectory() as name:
        for number in range(n_products):
            folder = Path(name) / str(number)
            contents = {f"file{index}": chance.randbytes(chance.randrange(1, 5000)) for index in range(3)}
            for file, content in contents.items():
                (Path(name) / file).write_bytes(content)
            promised = {file: words.digest(Path(name) / file) for file in contents}
            writer = threading.Thread(target=_write_late, args=(folder, contents, chance.random()))
            writer.start()
            try:
                arrival.await_files(folder, promised, visible_s=10.0)
            except Exception as error:
                wrong.append(str(error))
            if {file: (folder / file).read_bytes() for file in contents} != contents:
                wrong.append(f"product {number} was taken before it was whole")
            writer.join()
    return wrong


def _write_late(folder: Path, contents: dict[str, bytes], pace_s: float) -> None:
    time.sleep(0.05 * pace_s)
    folder.mkdir()
    for file, content in contents.items():
        (folder / file).write_bytes(content[: len(content) // 2])
        time.sleep(0.05 * pace_s)
        (folder / file).write_bytes(bytes(len(content)))
        time.sleep(0.05 * pace_s)
        (folder / file).write_bytes(content)


@dataclass(frozen=True)
class Trial:
    """What one scenario is, apart from its folder."""

    row: str
    what: str
    act: Callable[[Scenario], None]
    settings: tuple[str, ...] = ()
    n_items: int = N_ITEMS
    fakes: tuple[tuple[str, str], ...] = ()
    attempt_s: float = ATTEMPT_S


LOSES_ANSWER = 'real=$(PATH=/usr/bin:/usr/sbin which sbatch); "$real" "$@" >/dev/null; sleep 3; exit 1'
SAYS_NOTHING = "sleep 1; exit 1"
TRIALS = (
    Trial("-", "undisturbed", nothing),
    Trial("C1", "sbatch runs the job and says that it failed", nothing, fakes=(("sbatch", LOSES_ANSWER),)),
    Trial("C2", "squeue, sacct, sinfo fail", nothing,
          fakes=tuple((name, SAYS_NOTHING) for name in ("squeue", "sacct", "sinfo"))),
    Trial("C3", "node down and back", lose_node),
    Trial("C3", "every process of the jobs killed", kill_workers),
    Trial("C3", "running jobs requeued", requeue),
    Trial("C3", "preempted: SIGTERM, then SIGKILL", preempt),
    Trial("C3", "time limit of a minute reached", nothing, settings=("walltime_s = 60.0",), n_items=24, attempt_s=15.0),
    Trial("C3", "scheduler and keeper of jobs killed", kill_keeper),
    Trial("C4", "head killed while jobs end, then started", kill_head),
    Trial("C4", "head killed and started while jobs work", kill_head_early),
)  # fmt: skip


def run(folder: Path, trials: Sequence[Trial]) -> Iterator[tuple[str, list[str]]]:
    """Run the trials; yields a line of figures and what was wrong."""
    quiet: dict[tuple[str, str], str] = {}
    for number, trial in enumerate(trials):
        environment = fakes(folder / f"fakes{number}", **dict(trial.fakes)) if trial.fakes else {}
        scenario = Scenario(
            trial.what, folder / f"run{number}", trial.attempt_s, trial.n_items, trial.settings, environment=environment
        )
        scenario.begin()
        trial.act(scenario)
        wrong = scenario.finish()
        found = digests(scenario.folder / "out") if (scenario.folder / "out/state.sqlite").exists() else {}
        quiet = quiet or reference(folder / "near", max(trial.n_items for trial in trials))
        wrong += [f"{task} differs from one machine's" for task in found if found[task] != quiet[task]]
        begun = sum(scenario.started().values())
        log = events(scenario.folder / "out")
        n_lost = sum(name == "StageFailed" for name, _ in log)
        seconds = time.monotonic() - scenario.start_s
        yield (
            f"{trial.row:3} {trial.what:48} {2 * trial.n_items} tasks, {len(found)} effects, {len(wrong)} violations,"
            f" {begun - trial.n_items} of {trial.n_items} computed again, {n_lost} attempts lost, {seconds:.0f} s",
            wrong,
        )
        if not wrong:
            shutil.rmtree(scenario.folder)


def reference(folder: Path, n_items: int) -> dict[tuple[str, str], str]:
    """Return the digests of the same run on one machine."""
    from run_world import World

    with World(folder, n_micrographs=n_items).open() as opened:
        opened.execute()
    return digests(folder / "out")


def main(words: Sequence[str]) -> int:
    """Run the campaign and print its figures; 1 if there was a violation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="trials whose row or name contains this")
    parser.add_argument("--keep", type=Path, help="folder to leave everything in")
    options = parser.parse_args(words)
    if why := missing():
        sys.stdout.write(f"skipped: {why}\n")
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    n_wrong, n_trials = 0, 0
    chosen = [trial for trial in TRIALS if options.only in f"{trial.row} {trial.what}"]
    folder = options.keep or Path(tempfile.mkdtemp(prefix="slurm-campaign-"))
    with slurm(folder / "slurm"):
        for line, wrong in run(folder, chosen):
            n_wrong, n_trials = n_wrong + len(wrong), n_trials + 1
            sys.stdout.write("\n     ".join([line, *wrong[:8]]) + "\n")
            sys.stdout.flush()
    late = late_files(200)
    sys.stdout.write(f"C5  products seen late and in pieces: 200, {len(late)} false failures\n")
    sys.stdout.write(f"{n_trials} trials, {n_wrong + len(late)} violations\n")
    if not options.keep and not n_wrong:
        shutil.rmtree(folder, ignore_errors=True)
    return int(bool(n_wrong or late))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
