"""Waits until all that an attempt left elsewhere can be seen from here as it was made there. Commits nothing."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from cryoframe.errors import EnvironmentFault
from cryoframe_dask import words

LOOK_S, MAX_LOOK_S = 0.02, 1.0


def await_files(folder: Path, promised: Mapping[str, Sequence[object]], *, visible_s: float) -> None:
    """Return when every file is here with the bytes it was made of.

    Parameters
    ----------
    folder
        The attempt's.
    promised
        (size, digest) by name.
    visible_s
        How long the share may take.

    Raises
    ------
    EnvironmentFault
        Naming the first file that is missing or differs when the time is over.
    """
    until_s, wait_s, left = time.monotonic() + visible_s, LOOK_S, dict(promised)
    while True:
        wrong = ""
        for name, (size, digest) in list(left.items()):
            wrong = _wrong(folder / name, int(str(size)), str(digest))
            if wrong:
                break
            del left[name]
        if not wrong:
            return
        if time.monotonic() >= until_s:
            raise EnvironmentFault(
                f"{folder / name} {wrong}, {visible_s:g} s after it was finished elsewhere",
                remedy="See to the share; if its caches are that slow, raise [executor] visible_s.",
            )
        time.sleep(wait_s)
        wait_s = min(2 * wait_s, MAX_LOOK_S)


def _wrong(path: Path, size: int, digest: str) -> str:
    """Say what is wrong with a file, or nothing."""
    try:
        with contextlib.suppress(OSError):
            os.listdir(path.parent)  # noqa: PTH208  makes a network file system ask its server
        found, state = words.digest(path)
    except OSError as error:
        return f"cannot be read here ({error.strerror})"
    if found != size:
        return f"has {found} of {size} bytes here"
    return "" if state == digest else "has other bytes here than there"


def take_over(source: Path, target: Path, *, leave_out: str) -> None:
    """Move what a finished attempt left into another attempt's folder."""
    for path in source.iterdir():
        if path.name != leave_out:
            path.rename(target / path.name)
    shutil.rmtree(source, ignore_errors=True)
