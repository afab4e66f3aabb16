"""When a disk is short of room, and when it is so no longer; what is then done is not decided here."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

#: Once short, a disk stays so until this much of the mark is free: else work would begin and stop at every byte.
RELIEF = 1.2


def is_short(free: float, mark: float, *, was_short: bool) -> bool:
    """Return whether free space is below the mark, or was and has not come back by a fifth more than it.

    Parameters
    ----------
    free, mark
        Free space and the mark, in one unit.
    was_short
        What the last answer was.
    """
    return free < mark or (was_short and free <= RELIEF * mark)


def shortage(scratch: Path, mark_MB: float, *, was_short: bool) -> str:
    """Return why no attempt can be begun in a folder, or an empty string; one that somebody removed is made again.

    Parameters
    ----------
    scratch
        The folder of attempts; it may be on a share that goes away.
    mark_MB
        Free space that is wanted.
    was_short
        Whether the last answer was a reason.
    """
    with suppress(OSError):
        scratch.mkdir(exist_ok=True)
    try:
        free_MB = shutil.disk_usage(scratch).free / 2**20
    except OSError as error:
        return f"{scratch} is not there ({error.strerror})"
    short = is_short(free_MB, mark_MB, was_short=was_short)
    return f"only {free_MB:.0f} MB are free in {scratch.parent}" if short else ""
