"""The record beside every product: what made it, from what, with what, where. Collects facts, interprets none."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from typing import Any

import cryoframe


def job_record(
    *,
    hook: str,
    use: str,
    plugin: Mapping[str, str],
    params: Mapping[str, Any],
    inputs: Mapping[str, Any],
    seed: int,
    device: str,
    n_threads: int,
    attempt: int = 1,
    seconds: float = 0.0,
    cpu_s: float = 0.0,
    peak_MB: float = 0.0,
    notes: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the provenance of one attempt as plain values.

    Parameters
    ----------
    hook, use
        The stage hook and the implementation's name.
    plugin
        ``distribution``, ``version`` and ``source_digest`` of the implementation.
    params
        Every parameter with its value, defaults included.
    inputs
        Digest (or digests) of each input by argument name.
    seed, device, n_threads
        What the call was given.
    attempt, seconds, cpu_s, peak_MB
        Which attempt it was and what it took.
    notes
        Anything else worth keeping (executor, wrappers, another interpreter).
    """
    return {
        "hook": hook,
        "use": use,
        "plugin": dict(plugin),
        "params": dict(params),
        "inputs": dict(inputs),
        "seed": seed,
        "device": device,
        "n_threads": n_threads,
        "attempt": attempt,
        "seconds": round(seconds, 3),
        "cpu_s": round(cpu_s, 3),
        "peak_MB": round(peak_MB, 1),
        "finished_utc": datetime.now(UTC).isoformat(timespec="microseconds"),
        "machine": dict(_machine()),
        **(notes or {}),
    }


@cache
def _machine() -> tuple[tuple[str, str], ...]:
    facts = {"cryoframe": cryoframe.__version__, "python": platform.python_version()}
    facts |= {name: _version(name) for name in ("numpy", "numba", "pyarrow")}
    facts |= {"platform": f"{sys.platform}-{platform.machine()}", "host": platform.node()}
    return tuple(facts.items())


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "absent"
