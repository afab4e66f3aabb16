"""A folder as it is seen over a network: a FUSE mount that keeps attributes and names for a while. Judges nothing."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from cryoframe.errors import EnvironmentFault

PATIENCE_S = 10.0


@contextlib.contextmanager
def mounted(back: Path, front: Path, cache_s: float) -> Iterator[None]:
    """Show the folder `back` at `front`, by ``bindfs``, for as long as the block takes.

    Parameters
    ----------
    back
        Where files are written; made if need be.
    front
        Where they are seen.
    cache_s
        For so long the kernel believes what it was told of an attribute, of a name, and of a name that is not there.

    Raises
    ------
    EnvironmentFault
        If there is no FUSE to be had.
    """
    program = shutil.which("bindfs")
    if program is None:
        raise EnvironmentFault("bindfs is not installed", remedy="Install bindfs to emulate a share's caches.")
    for folder in (back, front):
        folder.mkdir(parents=True, exist_ok=True)
    options = ",".join(f"{what}_timeout={cache_s}" for what in ("attr", "entry", "negative"))
    process = subprocess.Popen(
        [program, "-f", "-o", options, os.fspath(back), os.fspath(front)], stderr=subprocess.PIPE, text=True
    )
    try:
        _wait(process, front)
        yield
    finally:
        subprocess.run(["umount", "-l", os.fspath(front)], capture_output=True, check=False)
        process.kill()
        process.communicate()


def _wait(process: subprocess.Popen[str], front: Path) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not os.path.ismount(front):
        if process.poll() is not None or time.monotonic() > end_s:
            process.kill()
            why = (process.communicate()[1] or "it does not come up").strip()
            raise EnvironmentFault(f"bindfs cannot mount here ({why})", remedy="A share's caches need /dev/fuse.")
        time.sleep(0.02)
