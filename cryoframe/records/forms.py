"""How the journal writes an event in few bytes: what events of a kind have in common is written once, as their form.

A row of ``events`` with a negative number is a form: ``[name, {what is the same in all}, [what differs]]``. Any other
row names its form and has the values of what differs, in that order; of a mapping the form has the keys and the row the
values. The moment of an event is in its id. Nothing else is needed to read the log.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from cryoframe.errors import Corrupt
from cryoframe.records.events import Event, ForeignEvent, from_content
from cryoframe.records.state import Cell, cell, text

#: Fields of few values, which are part of the form.
SHARED = frozenset({"run_id", "root", "stage_id", "kind", "device", "unit", "name", "hook"})
_LONGEST, _MOST_KEYS = 300, 40
#: So many forms share values; events beyond, of which thousands of names would each have a form, are written in full.
MOST_FORMS = 2000
TABLE = """
CREATE TABLE IF NOT EXISTS events(
  seq INTEGER PRIMARY KEY AUTOINCREMENT, event_id BLOB UNIQUE, form INT, cause BLOB, content TEXT);
CREATE VIEW IF NOT EXISTS log AS SELECT events.seq AS seq, lower(hex(events.event_id)) AS event_id,
  json_extract(forms.content, '$[0]') AS name, events.content AS content
  FROM events JOIN events AS forms ON forms.seq = events.form WHERE events.seq > 0;
"""
INSERT = "INSERT INTO events VALUES(?, ?, ?, ?, ?)"
INSERT_FORM = "INSERT INTO events(seq, content) VALUES(?, ?)"
_text = json.JSONEncoder(separators=(",", ":")).encode
COLUMNS = "seq, event_id, form, cause, content"
Written = tuple[str, Cell, Cell, str]


def encoded(event: Event, *, shares: bool = True) -> Written:
    """Return an event's form, id, cause and values, as they are kept; where it `shares` nothing, the class's form.

    A class has few forms then, whatever its events say.
    """
    said = json.loads(event.text) if isinstance(event, ForeignEvent) else vars(event)
    name = event.name if isinstance(event, ForeignEvent) else type(event).__name__
    shared: dict[str, Any] = {}
    fields: list[object] = []
    values: list[object] = []
    for field, value in said.items():
        if field in ("event_id", "cause") or (field == "time_utc" and value == moment_utc(event.event_id)):
            continue
        if shares and field in SHARED and isinstance(value, str) and len(value) <= _LONGEST:
            shared[field] = value
        elif shares and isinstance(value, Mapping) and 0 < len(value) <= _MOST_KEYS:
            fields.append([field, *value])
            values.extend(value.values())
        else:
            fields.append(field)
            values.append(value)
    return _text([name, shared, fields]), id_cell(event.event_id), id_cell(event.cause), _text(values)


class Forms:
    """The forms of one log.

    Parameters
    ----------
    written
        Number and text of those there are.
    """

    def __init__(self, written: Mapping[int, str]) -> None:
        self._read: dict[int, tuple[str, dict[str, Any], list[Any]]] = {}
        self._numbers: dict[str, int] = {}
        self._next = min(written, default=0) - 1
        for number, form in written.items():
            self.learn(number, form)

    def learn(self, number: int, form: str) -> None:
        """Take in a form that was read.

        Raises
        ------
        Corrupt
            If it is none.
        """
        try:
            name, shared, fields = json.loads(form)
            self._read[number] = (str(name), dict(shared), list(fields))
        except (ValueError, TypeError) as error:
            raise Corrupt(f"form {number} of the log cannot be read ({error})", expected="[name, {…}, […]]") from error
        self._numbers[form] = number

    def knows(self, number: object) -> bool:
        """Whether a form of that number was read or written."""
        return isinstance(number, int) and number in self._read

    def has_room_for(self, form: str) -> bool:
        """Whether a form is there, or may be added."""
        return form in self._numbers or len(self._numbers) < MOST_FORMS

    def number(self, form: str) -> tuple[int, bool]:
        """Return the number of a form, and whether it is to be written first; it counts once it is :meth:`learned`."""
        known = self._numbers.get(form)
        return (self._next, True) if known is None else (known, False)

    def copy(self) -> Forms:
        """Return the forms as they are now."""
        found = Forms({})
        found._read, found._numbers, found._next = dict(self._read), dict(self._numbers), self._next
        return found

    def learned(self, number: int, form: str) -> None:
        """Take in a form that was written."""
        self.learn(number, form)
        self._next = min(self._next, number - 1)

    def decoded(self, event_id: Cell, number: object, cause: Cell, content: Cell) -> Event:
        """Return an event that was kept.

        Raises
        ------
        Corrupt
            If it is not that.
        """
        try:
            name, shared, fields = self._read[int(str(number))]
            values = iter(json.loads(str(content)))
            said: dict[str, Any] = {"event_id": id_text(event_id), "cause": id_text(cause), **shared}
            for field in fields:
                if isinstance(field, list):
                    said[field[0]] = {key: next(values) for key in field[1:]}
                else:
                    said[field] = next(values)
            said.setdefault("time_utc", moment_utc(said["event_id"]))
        except (ValueError, TypeError, KeyError, StopIteration, RuntimeError) as error:
            raise Corrupt(f"not an event ({error})", expected="the values that its form names") from error
        return from_content(name, said)


def moment_utc(event_id: str) -> str:
    """Return when an event was made, as its id says; empty where it is no such id."""
    try:
        return datetime.fromtimestamp(int(event_id[:16], 16) / 1e9, UTC).isoformat(timespec="microseconds")
    except (ValueError, OverflowError, OSError):
        return ""


def id_cell(event_id: str) -> Cell:
    """Return an id as it is kept: half as long, where it is as :class:`Clock` makes them."""
    if not event_id:
        return None
    try:
        short = bytes.fromhex(event_id)
    except ValueError:
        return cell(event_id)
    return short if short.hex() == event_id else cell(event_id)


def id_text(kept: Cell) -> str:
    """Return an id that was kept."""
    return "" if kept is None else kept.hex() if isinstance(kept, bytes) else text(kept)
