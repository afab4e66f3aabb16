"""Where a stage computes: resolves what was asked once, says why, never falls back in silence; limits threads."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import sys
from collections.abc import Sequence

from cryoframe.errors import ConfigError

_ASKED = re.compile(r"^(auto|cpu|cuda)(?::(\d+))?$")
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
)


def check_name(asked: str) -> None:
    """Refuse anything but ``auto``, ``cpu``, ``cuda``, ``cuda:n``.

    Raises
    ------
    ConfigError
        Naming what was asked.
    """
    match = _ASKED.match(asked)
    if not match or (match.group(2) is not None and match.group(1) != "cuda"):
        raise ConfigError(f"device is '{asked}'", expected="auto, cpu, cuda or cuda:n")


def resolve(asked: str, plugin_devices: Sequence[str]) -> tuple[str, str]:
    """Return the device a stage runs on and the reason.

    Parameters
    ----------
    asked
        ``auto``, ``cpu``, ``cuda`` or ``cuda:n``.
    plugin_devices
        The plugin's ``DEVICES``.

    Raises
    ------
    ConfigError
        If CUDA is asked for where there is none, or of a plugin that has none; or CPU of a plugin that has none.
    """
    check_name(asked)
    count, absence = cuda_devices()
    if asked == "auto":
        if "cuda" in plugin_devices and count:
            return "cuda:0", f"auto: {count} CUDA device(s), and the plugin can use one"
        why = absence if "cuda" in plugin_devices else "the plugin computes on the CPU only"
        asked, reason = "cpu", f"auto: {why}"
    else:
        reason = "asked for"
    kind = asked.partition(":")[0]
    if kind not in plugin_devices:
        raise ConfigError(
            f"device '{asked}' is asked of a plugin that computes on {', '.join(plugin_devices)} only",
            remedy=f'Write device = "{plugin_devices[0]}" or "auto", or use another implementation.',
        )
    if kind == "cpu":
        return "cpu", reason
    index = int(asked.partition(":")[2] or 0)
    if index >= count:
        raise ConfigError(
            f"device '{asked}' is asked for, and there is none: {absence or f'{count} device(s) are visible'}",
            remedy='Write device = "cpu" or "auto", or install the driver and `pip install cryoframe[gpu]`.',
        )
    return f"cuda:{index}", reason


def cuda_devices() -> tuple[int, str]:
    """Return how many CUDA devices can be used, and why none can where the number is 0."""
    if importlib.util.find_spec("cupy") is None:
        return 0, "CuPy is not installed"
    try:
        count = int(importlib.import_module("cupy").cuda.runtime.getDeviceCount())
    except Exception as error:  # CuPy raises its own classes, known only once it is imported
        return 0, f"CuPy finds no device ({error})"
    return count, "" if count else "no CUDA device is visible"


def limit_threads(n: int) -> None:
    """Let numeric libraries of this process use `n` threads; call it before numpy is imported."""
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, str(n)))
    numba = sys.modules.get("numba")
    if numba is not None:
        numba.set_num_threads(min(n, numba.config.NUMBA_NUM_THREADS))
