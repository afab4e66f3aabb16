"""The last event of each of some rare kinds, found without going through a log of millions where there was none."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cryoframe.records import forms
from cryoframe.records.database import Database
from cryoframe.records.events import Event, from_json
from cryoframe.records.forms import Forms
from cryoframe.records.journal import Journal


def last_of_each(database: Database, names: Iterable[str], *, after: int = 0) -> tuple[list[Event], int]:
    """Return the last event of each form of the named classes, in the order of the log.

    Parameters
    ----------
    database
        Of the run; of an older version as well.
    names
        Of classes of events.
    after
        Only events of a greater number.

    Returns
    -------
    The events, and the number of the last event of the log: what the next call may look `after`. What events of a class
    share (`forms.SHARED`: the stage, the root, the kind) tells its forms apart, so there is one event of each stage.
    """
    wanted = set(names)
    if _is_in_full(database):
        journal = Journal(database)
        found = [event for name in sorted(wanted) if (event := journal.last(name)) is not None]
        return sorted(found, key=lambda event: event.event_id), 0
    up_to = int(str(database.read("SELECT coalesce(max(seq), 0) FROM events")[0][0]))
    known, rare = _forms(database, wanted)
    if not rare:
        return [], up_to
    last = f"SELECT max(seq) FROM events WHERE seq>? AND form IN ({_marks(rare)}) GROUP BY form"
    rows = database.read(
        f"SELECT {forms.COLUMNS} FROM events WHERE seq IN ({last}) ORDER BY seq", [max(after, 0), *rare]
    )
    return [known.decoded(*row[1:]) for row in rows], up_to


def last_but(database: Database, names: Iterable[str]) -> Event | None:
    """Return the last event of the log that is none of the named classes."""
    wanted = sorted(set(names))
    if _is_in_full(database):
        sql = f"SELECT name, text FROM events WHERE name NOT IN ({_marks(wanted)}) ORDER BY seq DESC LIMIT 1"
        rows = database.read(sql, wanted)
        return from_json(str(rows[0][0]), str(rows[0][1])) if rows else None
    known, passed = _forms(database, set(wanted))
    sql = f"SELECT {forms.COLUMNS} FROM events WHERE seq>0 AND form NOT IN ({_marks(passed)}) ORDER BY seq DESC LIMIT 1"
    rows = database.read(sql, passed)
    return known.decoded(*rows[0][1:]) if rows else None


def _is_in_full(database: Database) -> bool:
    """Whether it is of an older version, which wrote every event in full."""
    return any(row[1] == "text" for row in database.read("PRAGMA table_info(events)"))


def _forms(database: Database, names: set[str]) -> tuple[Forms, list[int]]:
    """Return the forms of a log, and the numbers of those of the named classes."""
    kept = database.read("SELECT seq, content FROM events WHERE seq<0 ORDER BY seq")
    known = Forms({int(str(seq)): str(form) for seq, form in kept})
    return known, [int(str(seq)) for seq, form in kept if _name_of(str(form)) in names]


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))


def _name_of(form: str) -> str:
    """Return the class of a form, ``["Name",…``."""
    return form.partition('"')[2].partition('"')[0]
