"""A process of its own that asks Slurm for Dask workers, as many as there is work for; it outlives who started it.

``python -m cryoframe_dask.keeper FOLDER``. So jobs go on, and end well, while the process that ordered their work is
dead, and a new one finds them again. It ends when told to, or when nobody has been connected for ``keep_s``. Nothing is
asked of Slurm's accounting or queue: a worker is there when it says so itself.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import dask
import distributed

from cryoframe_dask.cluster import SCHEDULER, SETTINGS, TLS, WORD

#: A worker without work for so many looks is let go of.
LOOK_S, IDLE_S = 1.0, 60


async def keep(folder: Path, settings: dict[str, Any]) -> None:
    """Keep the jobs until it is time to end."""
    from dask_jobqueue import SLURMCluster

    security = _made_security(folder)
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    cluster = await SLURMCluster(asynchronous=True, security=security, **_asked(folder, settings))
    try:
        cluster.adapt(
            minimum_jobs=settings["jobs_least"], maximum_jobs=settings["jobs_most"], interval=LOOK_S, wait_count=IDLE_S
        )
        _leave(folder / WORD, {"host": socket.gethostname(), "pid": os.getpid()})
        _leave(folder / SCHEDULER, cluster.scheduler.identity())
        await _until_not_wanted(cluster, told, settings["keep_s"])
    finally:
        (folder / SCHEDULER).unlink(missing_ok=True)
        await cluster.close()
        (folder / WORD).unlink(missing_ok=True)


async def _until_not_wanted(cluster: Any, told: asyncio.Event, keep_s: float) -> None:
    loop, wanted_s = asyncio.get_running_loop(), asyncio.get_running_loop().time()
    while not told.is_set() and loop.time() - wanted_s <= keep_s:
        if any(name != "fire-and-forget" for name in cluster.scheduler.clients):
            wanted_s = loop.time()
        try:
            await asyncio.wait_for(told.wait(), LOOK_S)
        except TimeoutError:
            continue


def _asked(folder: Path, settings: dict[str, Any]) -> dict[str, Any]:
    minutes = int(-(-settings["walltime_s"] // 60))
    return {
        "cores": settings["cores"],
        "processes": 1,
        "memory": f"{settings['memory_MB']}MiB",
        "walltime": f"{minutes // 60:02d}:{minutes % 60:02d}:00",
        "queue": settings["partition"] or None,
        "account": settings["account"] or None,
        "job_extra_directives": ["--requeue", *settings["directives"]],
        "job_script_prologue": list(settings["prologue"]),
        "job_name": "cryoframe",
        "log_directory": str(folder / "logs"),
        "death_timeout": max(60, int(settings["lost_s"])),
        # Attempts are processes of their own, with limits of their own; the worker's own memory is small.
        "worker_extra_args": ["--memory-limit", "0", "--no-dashboard"],
        "scheduler_options": {"dashboard": False, "dashboard_address": None, "port": 0},
        "shared_temp_directory": str(folder),
    }


def _made_security(folder: Path) -> Any:
    """Return credentials made for this keeper, as files that the user's own processes alone can read."""
    made = distributed.Security.temporary()
    role = made.get_tls_config_for_role("scheduler")
    for name, text in zip(TLS, (role["ca_file"], role["cert"], role["key"]), strict=True):
        path = folder / name
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(text)
    ca, cert, key = (str(folder / name) for name in TLS)
    roles = {f"tls_{who}_{part}": path for who in ("client", "scheduler", "worker")
             for part, path in (("cert", cert), ("key", key))}  # fmt: skip
    return distributed.Security(tls_ca_file=ca, require_encryption=True, **roles)


def _leave(path: Path, content: object) -> None:
    part = path.with_name(f"{path.name}.part")
    part.write_text(json.dumps(content, default=str), encoding="utf-8")
    part.replace(path)


def main(folder: Path) -> int:
    """Keep jobs, unless somebody does already."""
    os.umask(0o077)
    with (folder / "keeper.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            sys.stderr.write("another keeper is at work here\n")
            return 1
        settings = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
        with dask.config.set({"distributed.scheduler.worker-ttl": f"{settings['lost_s']:g}s"}):
            asyncio.run(keep(folder, settings))
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
