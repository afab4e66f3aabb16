"""When a disk is short of room, and when it is so no longer; what is then done is not decided here."""

from __future__ import annotations

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
