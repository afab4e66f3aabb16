"""Room on the run folder's disk: a reserve for the last commits, and a mark below which nothing new begins."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from cryoframe.execution.room import is_short

GB, MB = 2**30, 2**20
RESERVE = "reserve"


class DiskGuard:
    """Watches the free space.

    Parameters
    ----------
    folder
        The run folder.
    low_bytes
        Free space below which nothing new begins; 10 GB or 5 % of the disk, whichever is less, when None.
    reserve_bytes
        Size of the file that is given up so that what is under way can be brought to its end.
    """

    def __init__(self, folder: Path, *, low_bytes: int | None = None, reserve_bytes: int = 64 * MB) -> None:
        self._folder, self._reserve_bytes = folder, reserve_bytes
        self.low_bytes = min(10 * GB, shutil.disk_usage(folder).total // 20) if low_bytes is None else low_bytes
        #: Why nothing new may begin, or empty.
        self.reason = ""

    def check(self) -> str:
        """Return why nothing new may begin now; once low, it stays so until there is a fifth more than the mark."""
        free = shutil.disk_usage(self._folder).free
        if free < self.low_bytes:  # said anew each time, with what is free now
            self.reason = (
                f"only {free / GB:.2f} GB are free for {self._folder}; {self.low_bytes / GB:.2f} GB are wanted"
            )
            self.release()
        elif not is_short(free, self.low_bytes, was_short=bool(self.reason)):
            self.reason = ""
            self._make_reserve(free)
        return self.reason

    def release(self) -> None:
        """Give up the reserve."""
        with contextlib.suppress(OSError):
            (self._folder / RESERVE).unlink()

    def _make_reserve(self, free: int) -> None:
        path = self._folder / RESERVE
        if path.exists() or free < self.low_bytes + 2 * self._reserve_bytes:
            return
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            os.posix_fallocate(descriptor, 0, self._reserve_bytes)
        except OSError:
            self.release()
        finally:
            os.close(descriptor)
