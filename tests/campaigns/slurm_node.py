"""A real Slurm of one node, started in a folder with its own munge and ports, and ended with the block it is for."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol", "scancel")
CONF = """
ClusterName=campaign
SlurmctldHost={host}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
CredType=cred/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
ReturnToService=2
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldPort={port}
SlurmdPort={other_port}
SlurmdSpoolDir={folder}/spool
StateSaveLocation={folder}/state
SlurmUser=root
SlurmdUser=root
SwitchType=switch/none
SchedulerType=sched/backfill
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
KillWait=5
JobRequeue=1
NodeName={host} CPUs=8 RealMemory=4000 State=UNKNOWN
PartitionName=work Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str:
    """Return why there can be no Slurm here, or nothing."""
    absent = [name for name in PROGRAMS if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") is None]
    if absent:
        return f"{', '.join(absent)} not installed (apt-get install slurm-wlm munge)"
    return "" if os.geteuid() == 0 else "only root can start a Slurm of its own"


@contextmanager
def slurm(folder: Path) -> Iterator[None]:
    """Run munge and Slurm, all in a folder, as long as the block lasts."""
    for name in ("spool", "state"):
        (folder / name).mkdir(parents=True)
    folder.chmod(0o755)
    (folder / "munge.key").write_bytes(os.urandom(1024))
    (folder / "munge.key").chmod(0o400)
    port, other_port = _free_port(), _free_port()
    conf = folder / "slurm.conf"
    host = socket.gethostname().split(".")[0]
    conf.write_text(CONF.format(host=host, folder=folder, port=port, other_port=other_port), encoding="ascii")
    os.environ["SLURM_CONF"] = str(conf)
    os.environ["PATH"] += ":/usr/sbin"
    files = [f"--{name}-file={folder}/munge.{end}" for name, end in (("key", "key"), ("pid", "pid"), ("log", "log"))]
    commands = [
        ["munged", "-F", "-f", f"--socket={folder}/munge.sock", f"--seed-file={folder}/munge.seed", *files],
        ["slurmctld", "-D"],
        ["slurmd", "-D"],
    ]
    processes = []
    try:
        for words in commands:
            with (folder / f"{words[0]}.out").open("wb") as log:
                processes.append(subprocess.Popen(words, stdout=log, stderr=log, start_new_session=True))
            time.sleep(1.0)
        wait_for(lambda: "idle" in command("sinfo", "-h", "-o", "%T"), 60)
        yield
    finally:
        command("scancel", "--user=root")
        time.sleep(2.0)
        for process in reversed(processes):
            process.terminate()
        for process in processes:
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()


def command(*words: str) -> str:
    """Return what a command of Slurm says."""
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout


def running_jobs() -> list[str]:
    """Return the ids of the jobs that run."""
    return command("squeue", "-h", "-t", "R", "-o", "%A").split()


def wait_for(true: Callable[[], object], limit_s: float) -> None:
    """Return when it is so."""
    until_s = time.monotonic() + limit_s
    while not true():
        if time.monotonic() > until_s:
            raise TimeoutError("it did not come about in time")
        time.sleep(0.2)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])
