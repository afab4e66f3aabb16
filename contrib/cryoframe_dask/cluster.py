"""Reaches a Dask cluster: one that is there, one of this machine, or the Slurm jobs of a `keeper`. Orders no work."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import dask
import distributed

from cryoframe import ExecutorRequest
from cryoframe.errors import ConfigError, EnvironmentFault

if TYPE_CHECKING:
    from cryoframe_dask.plugin import Params

#: After a failure to connect, who asks again sooner than this gets the same answer at once.
AGAIN_S, START_S, STOP_S, LOOK_S = 5.0, 60.0, 20.0, 0.2
#: Files of the keeper, in a folder that the nodes see too.
SCHEDULER, SETTINGS, WORD, LOG = "scheduler.json", "settings.json", "keeper.json", "keeper.log"
TLS = ("ca.pem", "cert.pem", "key.pem")


class Cluster(Protocol):
    """A cluster, or the way to it."""

    name: str

    def client(self) -> Any:
        """Return a client that is connected, or raise EnvironmentFault."""

    def is_connected(self) -> bool:
        """Whether the last client still is."""

    def close(self) -> None:
        """Let go of it, and end it if it was started for us."""


def reach(request: ExecutorRequest, settings: Params) -> Cluster:
    """Return the cluster that is set.

    Raises
    ------
    ConfigError
        If nothing of the kind can be meant.
    """
    if settings.cluster == "local":
        return Local(request.n_attempts, settings)
    if settings.cluster == "slurm":
        return Slurm(request.elsewhere.parent / "dask", settings)
    if "://" not in settings.cluster and not settings.cluster.endswith(".json"):
        raise ConfigError(
            f"[executor] cluster is '{settings.cluster}'",
            expected="local, slurm, the address of a scheduler (tcp://head:8786), or its scheduler file (….json)",
        )
    return There(settings)


class There:
    """A cluster that somebody else has started."""

    def __init__(self, settings: Params) -> None:
        self._settings = settings
        self._client: Any = None
        self._failed: tuple[float, str] = (0.0, "")
        self.name = f"the Dask scheduler at {settings.cluster}"

    def client(self) -> Any:
        """Return a client; connects anew if the last one is lost."""
        if not self.is_connected():
            failed_s, why = self._failed
            if why and time.monotonic() - failed_s < AGAIN_S:
                raise EnvironmentFault(why)
            self._drop()
            try:
                self._client = self._connect()
            except Exception as error:
                why = f"{self.name} does not answer ({type(error).__name__}: {error})"
                self._failed = (time.monotonic(), why)
                raise EnvironmentFault(why, remedy="Start it, or set [executor] cluster.") from error
        return self._client

    def is_connected(self) -> bool:
        """Whether the last client still is."""
        return self._client is not None and self._client.status == "running"

    def close(self) -> None:
        """Disconnect."""
        self._drop()

    def _connect(self) -> Any:
        settings = self._settings
        where = {"address": settings.cluster} if "://" in settings.cluster else {"scheduler_file": settings.cluster}
        paths = (settings.tls_ca, settings.tls_cert, settings.tls_key)
        return _client(settings, security=_security(*paths) if settings.tls_ca else None, **where)

    def _drop(self) -> None:
        if self._client is not None:
            with contextlib.suppress(Exception):
                self._client.close(timeout=2)
            self._client = None


class Local(There):
    """A cluster of this machine, which ends with this process; it hears on the loopback interface alone."""

    def __init__(self, n_attempts: int, settings: Params) -> None:
        super().__init__(settings)
        self._n_attempts = n_attempts
        self._cluster: Any = None
        self.name = "the local Dask cluster"

    def _connect(self) -> Any:
        self._end()
        with dask.config.set({"distributed.scheduler.worker-ttl": f"{self._settings.lost_s:g}s"}):
            self._cluster = distributed.LocalCluster(
                n_workers=1,
                threads_per_worker=self._n_attempts,
                host="127.0.0.1",
                dashboard_address=None,
                memory_limit=0,
                silence_logs=logging.CRITICAL,
            )
        return _client(self._settings, address=self._cluster)

    def close(self) -> None:
        """Disconnect, and end it."""
        super().close()
        self._end()

    def _end(self) -> None:
        if self._cluster is not None:
            with contextlib.suppress(Exception):
                self._cluster.close(timeout=STOP_S)
            self._cluster = None


class Slurm(There):
    """Slurm jobs, each a Dask worker, and the keeper that asks for them and outlives us."""

    def __init__(self, folder: Path, settings: Params) -> None:
        super().__init__(settings)
        self._folder = folder
        self.name = "the Dask scheduler of the Slurm jobs"

    def _connect(self) -> Any:
        if self._is_kept():
            with contextlib.suppress(OSError, TimeoutError):
                return self._reached()
        self._start()
        return self._reached()

    def close(self) -> None:
        """End the keeper, which ends its jobs."""
        super().close()
        word = _word(self._folder)
        if word and word["host"] == socket.gethostname():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(int(word["pid"]), signal.SIGTERM)
            until_s = time.monotonic() + STOP_S
            while self._is_kept() and time.monotonic() < until_s:
                time.sleep(LOOK_S)

    def _reached(self) -> Any:
        security = _security(*(self._folder / name for name in TLS))
        return _client(self._settings, scheduler_file=str(self._folder / SCHEDULER), security=security)

    def _is_kept(self) -> bool:
        word = _word(self._folder)
        if word is None:
            return False
        return word["host"] != socket.gethostname() or _is_keeper(int(word["pid"]))

    def _start(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._folder.chmod(0o700)
        for name in (SCHEDULER, WORD):
            (self._folder / name).unlink(missing_ok=True)
        (self._folder / SETTINGS).write_text(json.dumps(asdict(self._settings), default=str), encoding="utf-8")
        with (self._folder / LOG).open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "cryoframe_dask.keeper", str(self._folder)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,
            )
        until_s = time.monotonic() + START_S
        while not (self._folder / SCHEDULER).exists():
            if process.poll() is not None or time.monotonic() > until_s:
                lines = (self._folder / LOG).read_text(encoding="utf-8", errors="replace").strip().splitlines()
                raise EnvironmentFault(
                    f"the keeper of Slurm jobs did not start: {lines[-1] if lines else 'it said nothing'}",
                    remedy=f"See {self._folder / LOG}.",
                )
            time.sleep(LOOK_S)


def _client(settings: Params, **where: Any) -> Any:
    return distributed.Client(timeout=settings.connect_s, set_as_default=False, name="cryoframe", **where)


def _security(ca: Path | None, cert: Path | None, key: Path | None) -> Any:
    roles = {f"tls_{role}_{part}": str(path) for role in ("client", "scheduler", "worker")
             for part, path in (("cert", cert), ("key", key))}  # fmt: skip
    return distributed.Security(tls_ca_file=str(ca), require_encryption=True, **roles)


def _word(folder: Path) -> dict[str, Any] | None:
    try:
        return dict(json.loads((folder / WORD).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None


def _is_keeper(pid: int) -> bool:
    try:
        return b"cryoframe_dask.keeper" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
