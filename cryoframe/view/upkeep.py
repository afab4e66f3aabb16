"""Makes table and page of a session, again and again: what was read before is kept in mind. Asked by `keeping`.

As a program it writes once for each line it is sent, and answers with a line of JSON. When nobody can send it anything
any more, whoever had the session in hand is gone without a word: the page says so, and it ends.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from pathlib import Path

from cryoframe.errors import CryoframeError
from cryoframe.execution.exposure_table import Kept
from cryoframe.execution.exposures import TABLE
from cryoframe.execution.known import SET
from cryoframe.records.database import Database
from cryoframe.records.lookups import Some
from cryoframe.view import condition, wall
from cryoframe.view.exposures import PAGE
from cryoframe.view.pace import pace
from cryoframe.view.wall_pictures import Pictures

DATABASE = "state.sqlite"
RELOAD_S = 15
#: The table is written whole: so long after the last time for each MB of it, so that a disk has little to do.
SECONDS_A_MB = 6.0
AGAIN, LAST, BROKEN = "again", "last", "broken"


class Upkeep:
    """Table and page of one run.

    Parameters
    ----------
    run_id
        Of the run.
    folder
        Of the run.
    """

    def __init__(self, run_id: str, folder: Path) -> None:
        self._run_id, self._folder = run_id, folder
        self._kept = Kept(folder / TABLE)
        self._watcher = condition.Watcher(folder)
        self._pictures = Pictures(folder)
        self._next_table_s = 0.0
        #: Who had the run in hand when this began.
        self._holder = condition.locked_by(folder)[1]
        for left in (path for name in (TABLE, PAGE) for path in folder.glob(f".{name}.*.part")):
            left.unlink(missing_ok=True)  # of one that was killed in the middle

    @property
    def due_s(self) -> float:
        """After how long the table is to be written, if it was put off."""
        return max(0.0, self._next_table_s - time.monotonic()) if self._kept.is_due else math.inf

    def write(self, *, ended: bool = False, lost: bool = False) -> str:
        """Write what is due; return what went wrong: a full disk passes, the work goes on, and they are made again.

        Parameters
        ----------
        ended
            It is the last time: the work ends in good order.
        lost
            Whoever was at work is gone without a word; nothing is written if another has taken over already.
        """
        try:
            if lost and condition.locked_by(self._folder)[1] != self._holder:
                return ""
            database = Database.open(self._folder / DATABASE, read_only=True, examine=False)
            try:
                self._write(database, "ended" if ended else "lost" if lost else "")
            finally:
                database.close()
        except OSError as error:  # the name of the unfinished file is another each time; the cause is said once
            return f"{type(error).__name__}: {error.strerror}: {self._folder}"
        except CryoframeError as error:
            return f"{type(error).__name__}: {error}"
        return ""

    def _write(self, database: Database, end: str) -> None:
        self._kept.update(database)
        going, of_set = pace(self._kept.table), Some(database, [SET], []).tasks()
        n_left = going.n_waiting + sum(task.status in ("queued", "running", "failed") for task in of_set)
        now = self._watcher.look(database, n_left=n_left, end=end)
        shown = wall.Shown(self._run_id, now, going, self._kept.latest(wall.MOST_ROWS), self._pictures.of(of_set))
        text = wall.page(shown, reload_s=RELOAD_S)  # after the end as well: somebody may begin again
        part = self._folder / f".{PAGE}.{os.getpid()}.part"
        try:
            part.write_text(text, encoding="utf-8", errors="backslashreplace")
            part.replace(self._folder / PAGE)
        finally:
            part.unlink(missing_ok=True)
        if self._kept.is_due and (end or time.monotonic() >= self._next_table_s):
            size = self._kept.write()
            self._next_table_s = time.monotonic() + SECONDS_A_MB * size / 1e6


def serve(run_id: str, folder: str) -> int:
    """Write whenever a line comes, until the last one; 1 when there was no last one."""
    import pyarrow as pa

    upkeep = Upkeep(run_id, Path(folder))
    before_s = time.process_time()
    for word in sys.stdin:
        ended = word.strip() != AGAIN
        error = upkeep.write(ended=word.strip() == LAST, lost=word.strip() == BROKEN)
        pa.default_memory_pool().release_unused()
        now_s = time.process_time()
        sys.stdout.write(json.dumps({"error": error, "cpu_s": now_s - before_s, "due_s": upkeep.due_s}) + "\n")
        sys.stdout.flush()
        before_s = now_s
        if ended:
            return 0
    upkeep.write(lost=True)
    return 1


if __name__ == "__main__":
    sys.exit(serve(*sys.argv[1:]))
