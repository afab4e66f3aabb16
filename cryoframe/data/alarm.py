"""An alarm, as it is handed to whoever sends it on; when one is due is not decided here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

AlarmKind = Literal["stall", "silence", "share", "queue", "plugin", "disk", "quarantine"]
ALARM_KINDS: tuple[str, ...] = get_args(AlarmKind)


@dataclass(frozen=True)
class Alarm:
    """Something that a person should look at, or (`raised` False) that is over.

    Parameters
    ----------
    kind
        ``stall``: work is queued and nothing comes of it; ``silence``: no new file; ``share``: a watched folder does
        not answer; ``queue``: more is waiting than was set; ``plugin``: an implementation keeps failing; ``disk``: the
        run folder is short of room; ``quarantine``: much is being set aside.
    subject
        What it is about: a folder, a stage; empty where there is but one.
    message
        One sentence with the cause.
    raised
        Whether it begins; else it is over.
    run_id, folder
        Which run, and where.
    time_utc
        When, in ISO 8601.
    settings
        The notifier's own ``Params``, made of ``params`` of its ``[[alarm]]``; that table itself if it has none.
    """

    kind: str
    subject: str
    message: str
    raised: bool
    run_id: str
    folder: str
    time_utc: str
    settings: object = None

    @property
    def line(self) -> str:
        """The alarm in one line, for a subject, a log, a chat."""
        state = "ALARM" if self.raised else "over"
        about = f" {self.subject}" if self.subject else ""
        text = " ".join(f"cryoframe {self.run_id}: {state}: {self.kind}{about}: {self.message}".split())
        return text.encode("utf-8", "backslashreplace").decode("utf-8")
