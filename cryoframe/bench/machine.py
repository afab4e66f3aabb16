"""Which machine and versions a benchmark ran on, and whether it has room for one."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import numpy as np

from cryoframe.bench.sizes import PARTS, Sizes
from cryoframe.errors import EnvironmentFault

_LIBRARIES = ("cryoframe", "numpy", "scipy", "numba")


def facts(n_threads: int) -> dict[str, str]:
    """Return machine, versions and date, as words."""
    found = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": f"{_cpu()}, {os.cpu_count()} cores, {_memory_MB('MemTotal') / 1024:.0f} GB",
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }
    found |= {name: metadata.version(name) for name in _LIBRARIES}
    load = os.getloadavg()[0]
    return found | {"threads": str(n_threads), "load at the start": f"{load:.1f}"}


def check_room(sizes: Sizes, folder: Path, parts: Sequence[str] = PARTS) -> None:
    """Refuse a benchmark that the disk or the memory has no room for.

    Raises
    ------
    EnvironmentFault
        Naming what is needed and what is there.
    """
    free_MB = shutil.disk_usage(folder).free / 1e6
    if free_MB < sizes.disk_MB:
        raise EnvironmentFault(
            f"the disk of {folder} has {free_MB:.0f} MB free",
            expected=f"{sizes.disk_MB:.0f} MB",
            remedy="Give another --out, or --quick.",
        )
    there_MB = _memory_MB("MemAvailable")
    if np.isfinite(there_MB) and there_MB < sizes.memory_MB(parts):
        raise EnvironmentFault(
            f"{there_MB:.0f} MB of memory are available",
            expected=f"{sizes.memory_MB(parts):.0f} MB",
            remedy="Give --quick, or --only without motion, or end what else is running.",
        )


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def _memory_MB(name: str) -> float:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return float("nan")
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:")), float("nan"))
