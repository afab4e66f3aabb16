"""How fast a session goes and what was set aside, of its table of exposures: counted by columns, however long it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cryoframe.data.figures import Figure
from cryoframe.data.tables import ExposureTable

if TYPE_CHECKING:
    import pyarrow as pa

MOST_ASIDE = 12
_ASIDE = ("set_aside", "refused")


@dataclass(frozen=True)
class Pace:
    """Numbers of a session; `aside` are the rows that were set aside or refused last."""

    n_rows: int
    n_done: int
    n_waiting: int
    n_set_aside: int
    n_refused: int
    landed_1_h: int
    finished_1_h: int
    newest_utc: str
    aside: Sequence[dict[str, Figure | None]]


def pace(table: ExposureTable, now: datetime | None = None) -> Pace:
    """Count.

    Parameters
    ----------
    table
        Of the session.
    now
        The moment that the last hour goes up to.
    """
    from pyarrow import array, compute, string

    arrow = table.arrow
    counts = {row["values"]: row["counts"] for row in compute.value_counts(arrow["status"]).to_pylist()}
    since = ((now or datetime.now(UTC)) - timedelta(hours=1)).isoformat(timespec="seconds")
    few = arrow.select(["micrograph_id", "status", "reason", "landed_utc", "admitted_utc", "path"])
    aside = few.filter(compute.is_in(few["status"], value_set=array(_ASIDE, string())))
    newest = compute.max(arrow["finished_utc"]).as_py()
    return Pace(
        len(table),
        int(counts.get("done", 0)),
        int(counts.get("waiting", 0)),
        int(counts.get("set_aside", 0)),
        int(counts.get("refused", 0)),
        _after(arrow["landed_utc"], since),
        _after(arrow["finished_utc"], since),
        str(newest or ""),
        _latest(aside),
    )


def _after(times: pa.ChunkedArray, since_utc: str) -> int:
    """Return how many of these times are later: texts of one form, which sort as the times do."""
    from pyarrow import compute

    return int(compute.sum(compute.greater(times, since_utc)).as_py() or 0)


def _latest(aside: pa.Table) -> list[dict[str, Figure | None]]:
    keys = [("landed_utc", "descending"), ("path", "descending")]
    return list(aside.sort_by(keys).slice(0, MOST_ASIDE).to_pylist())
