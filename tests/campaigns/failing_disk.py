"""A disk that refuses one call, or every call from one on: nothing is called done that it does not have.

``python tests/campaigns/failing_disk.py --calls 50``: for k = 1…50, the k-th fsync ends in EIO; writes fail from the
k-th on with ENOSPC or EDQUOT, under the journal and under the store. One short process a trial, under strace.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "records"))

from test_journal import WRITER, check_whole
from test_store import COMMITTER, KEY

from cryoframe.records.store import Store

N_GROUPS = 30


@dataclass(frozen=True)
class Trial:
    """What was injected where, whether it was met, and what is wrong, if anything is."""

    where: str
    calls: str
    error: str
    when: str
    met: bool
    wrong: str


def _run(folder: Path, code: str, words: Sequence[str], calls: str, error: str, when: str) -> tuple[str, str, str]:
    inject = f"inject={calls}:error={error}:when={when}"
    trace = folder / "trace.txt"
    command = ["strace", "-f", "-qq", "-y", "-e", f"trace={calls},write", "-e", inject, "-o", str(trace)]
    done = subprocess.run([*command, sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    return done.stdout, done.stderr, trace.read_text(encoding="utf-8", errors="replace")


def journal(folder: Path, calls: str, error: str, when: str) -> Trial:
    """Write thirty groups of events; those that were acknowledged must be there."""
    path = folder / "run" / "state.sqlite"
    path.parent.mkdir()
    out, said, trace = _run(folder, WRITER, (str(path), str(N_GROUPS)), calls, error, when)
    # After the last acknowledgement the log is only tidied up: what fails there has been promised to nobody.
    promised = trace.rpartition("write(1<")[0] if out.count("\n") == N_GROUPS else trace
    failed = [line for line in promised.splitlines() if "(INJECTED)" in line and str(path) in line]
    wrong = "" if not failed or "EnvironmentFault" in said else f"believed: {said[-200:]}"
    if path.exists() and path.stat().st_size:
        try:
            check_whole(path, [one for line in out.splitlines() if len(line) == 74 for one in line.split()])
        except AssertionError as fault:
            wrong = f"not whole: {fault}"[:300]
    return Trial("journal", calls, error, when, bool(failed), wrong)


def store(folder: Path, calls: str, error: str, when: str) -> Trial:
    """Commit a product; it is there whole or not at all, and is called committed only if it is there."""
    out, said, trace = _run(folder, COMMITTER, (str(folder / "run"),), calls, error, when)
    failed = [line for line in trace.splitlines() if "(INJECTED)" in line and f"{folder}/run" in line]
    wrong, place = "", Store(folder / "run")
    if problems := place.verify():
        wrong = f"torn: {problems[0]}"
    elif "committed" in out and not place.has("ctf", KEY):
        wrong = "called committed and not there"
    elif failed and "committed" in out:
        wrong = f"believed: {said[-200:]}"
    return Trial("store", calls, error, when, bool(failed), wrong)


KINDS = (
    (journal, "fsync,fdatasync", "EIO", "{k}"),
    (journal, "pwrite64", "ENOSPC", "{k}+"),
    (journal, "pwrite64", "EDQUOT", "{k}"),
    (store, "fsync", "EIO", "{k}"),
    (store, "write,pwrite64", "ENOSPC", "{k}+"),
    (store, "rename,mkdir", "EIO", "{k}"),
)


def trials(calls: Sequence[int]) -> Iterator[Trial]:
    """Make each kind of trial at each of the calls."""
    for make, names, error, when in KINDS:
        for k in calls:
            with tempfile.TemporaryDirectory() as folder:
                yield make(Path(folder), names, error, when.format(k=k))


def main(words: Sequence[str]) -> int:
    """Print a line a kind; 1 if something was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=50)
    options = parser.parse_args(words)
    if shutil.which("strace") is None:
        sys.stdout.write("skipped: strace is not installed\n")
        return 0
    found: dict[tuple[str, str, str], list[Trial]] = {}
    for trial in trials(range(1, options.calls + 1)):
        found.setdefault((trial.where, trial.calls, trial.error), []).append(trial)
        if trial.wrong:
            sys.stdout.write(f"WRONG {trial}\n")
    n_met, n_wrong = 0, 0
    for (where, calls, error), made in found.items():
        met, wrong = sum(trial.met for trial in made), sum(bool(trial.wrong) for trial in made)
        n_met, n_wrong = n_met + met, n_wrong + wrong
        sys.stdout.write(f"{where:8} {calls:16} {error:7} {len(made)} trials, {met} met the fault, {wrong} wrong\n")
    bound = f" (95 %: ≤ {300 / n_met:.2g} %)" if n_met and not n_wrong else ""
    sys.stdout.write(f"{n_wrong} wrong of {n_met} trials that met the fault{bound}\n")
    return int(bool(n_wrong))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
