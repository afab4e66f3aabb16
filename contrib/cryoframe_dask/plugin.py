"""Hook: make_executor ``dask``. Says what can be set, and imports Dask only when an executor is made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cryoframe import Executor, ExecutorRequest, hookimpl
from cryoframe.errors import ConfigError, EnvironmentFault
from cryoframe.numerics.bounds import check_bounds, check_order

DAY_S = 86400.0


@dataclass(frozen=True)
class Params:
    """Where the attempts are to run: ``[executor]`` of a configuration with ``[run] executor = "dask"``."""

    cluster: str = "local"  # "local", "slurm", the address of a scheduler (tls://head:8786), or its scheduler file
    tls_ca: Path | None = None  # certificate of who signed the others', for a scheduler at tls://
    tls_cert: Path | None = None  # certificate
    tls_key: Path | None = None  # its key
    connect_s: float = 20.0  # a scheduler that does not answer for so long is away
    visible_s: float = 60.0  # what one machine wrote may take so long to be seen by another (caches of the share)
    lost_s: float = 60.0  # a node that gives no sign of life for so long is lost
    jobs_most: int = 4  # Slurm jobs at a time
    jobs_least: int = 0  # Slurm jobs kept though there is nothing to do
    cores: int = 1  # of a Slurm job; it does as many attempts at a time
    memory_MB: int = 4096  # of a Slurm job
    walltime_s: float = 14400.0  # of a Slurm job
    partition: str = ""  # for Slurm; its default where empty
    account: str = ""  # for Slurm; its default where empty
    directives: tuple[str, ...] = ()  # further lines after #SBATCH
    prologue: tuple[str, ...] = ()  # shell lines before the worker starts, e.g. "module load python"
    keep_s: float = 7200.0  # Slurm jobs outlive the death of who asked for them by so long

    def __post_init__(self) -> None:
        check_bounds(
            self,
            connect_s=(0.1, 600.0),
            visible_s=(0.0, 3600.0),
            lost_s=(5.0, DAY_S),
            jobs_most=(1, 100_000),
            jobs_least=(0, 100_000),
            cores=(1, 4096),
            memory_MB=(64, 1 << 26),
            walltime_s=(60.0, 365 * DAY_S),
            keep_s=(0.0, 365 * DAY_S),
        )
        check_order(self, "jobs_least", "jobs_most")
        if len({path is None for path in (self.tls_ca, self.tls_cert, self.tls_key)}) > 1:
            raise ConfigError("one of tls_ca, tls_cert, tls_key is missing", expected="all three, or none")


@hookimpl
def make_executor(request: ExecutorRequest) -> Executor:
    """Connect to the cluster, or start it."""
    if not isinstance(request.settings, Params):
        raise ConfigError(f"settings are {request.settings!r}", expected="cryoframe_dask.plugin.Params")
    try:
        from cryoframe_dask import cluster, head
    except ImportError as error:
        raise EnvironmentFault(
            f"executor 'dask' needs a package that is not installed ({error.name})",
            remedy="pip install 'cryoframe[dask]', here and on every node.",
        ) from error
    return head.DaskExecutor(request, request.settings, cluster.reach(request, request.settings))
