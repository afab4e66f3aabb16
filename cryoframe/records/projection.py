"""What the journal amounts to, as SQL tables, and what each event does to them. Asks nothing of them (see `state`).

The tables are a projection: folding the journal's events in order gives them again, whatever happened to them.
"""

from __future__ import annotations

from collections.abc import Mapping

from cryoframe.records import events, session_events
from cryoframe.records.events import Event
from cryoframe.records.state import Cell, cell

TABLES = """
CREATE TABLE IF NOT EXISTS files(
  root, path, size INT, mtime_ns INT, digest, status TEXT, reason, seen_utc TEXT, ctime_ns INT DEFAULT 0,
  PRIMARY KEY(root, path)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS items(
  item_id PRIMARY KEY, kind TEXT, digest TEXT, path, facts TEXT, admitted_utc TEXT) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS items_by_digest ON items(digest);
CREATE TABLE IF NOT EXISTS tasks(
  stage_id, item_id, key TEXT, status TEXT, attempts INT, error_class TEXT, message, digest TEXT, incarnation INT,
  PRIMARY KEY(stage_id, item_id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS products(key TEXT PRIMARY KEY, kind TEXT, digest TEXT, path) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS metrics(
  stage_id, item_id, name, value REAL, unit, PRIMARY KEY(stage_id, item_id, name)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS incarnations(number INTEGER PRIMARY KEY);
CREATE TABLE IF NOT EXISTS alarms(kind TEXT, subject, message, since TEXT, PRIMARY KEY(kind, subject)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS held(one INTEGER PRIMARY KEY, who, since TEXT);
CREATE TABLE IF NOT EXISTS watermarks(root PRIMARY KEY, generation INT, n_files INT, up_to_utc TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS described(
  number INTEGER PRIMARY KEY, stage_id, item_id, key TEXT, kind TEXT, path, figures TEXT, pictures TEXT, time_utc TEXT,
  UNIQUE(stage_id, item_id));
CREATE TABLE IF NOT EXISTS remarks(item_id, remark, PRIMARY KEY(item_id, remark)) WITHOUT ROWID;
"""
NAMES = (
    "files", "items", "tasks", "products", "metrics", "alarms", "held", "watermarks", "described", "remarks",
    "incarnations",
)  # fmt: skip
FORMER = ("landings", "admissions")  # of older versions
_TASK = "INSERT INTO tasks VALUES(:stage_id, :item_id, :key, {}, (SELECT max(number) FROM incarnations))"
_AGAIN = " ON CONFLICT DO UPDATE SET key=excluded.key, status=excluded.status, incarnation=excluded.incarnation"
_FILE_AGAIN = " ON CONFLICT DO UPDATE SET status=excluded.status, reason=excluded.reason"
_FILE = "INSERT INTO files VALUES(:root, :path, {}, {}, {})" + _FILE_AGAIN
#: When an item was admitted is when its content was, under whatever name.
_ADMITTED = (
    "INSERT INTO items VALUES(:item_id, :kind, :digest, :path, :facts, :time_utc) ON CONFLICT DO UPDATE SET kind=:kind,"
    " digest=:digest, path=:path, facts=:facts, admitted_utc=iif(digest=:digest, admitted_utc, :time_utc)"
)
_DONE = _TASK.format("'done', 0, '', '', :digest") + _AGAIN + ", digest=excluded.digest, error_class='', message=''"

#: What became of an attempt of which the task has gone on to another key meanwhile says nothing of the task.
_IF_CURRENT = " WHERE tasks.key=excluded.key"

#: What each event does to the tables.
FOLDS: Mapping[type[Event], str] = {
    events.RunOpened: "INSERT INTO incarnations VALUES(NULL)",
    events.FileSeen: _FILE.format(":size, :mtime_ns, '', 'seen', ''", ":time_utc", ":ctime_ns")
    + ", size=:size, mtime_ns=:mtime_ns, seen_utc=:time_utc, ctime_ns=:ctime_ns",
    events.FileSettled: _FILE.format(":size, :mtime_ns, :digest, 'settled', ''", "NULL", ":ctime_ns")
    + ", size=:size, mtime_ns=:mtime_ns, digest=:digest, ctime_ns=:ctime_ns",
    session_events.FileUnchanged: "UPDATE files SET ctime_ns=:ctime_ns "
    "WHERE root=:root AND path=:path AND digest=:digest",
    events.FileRejected: _FILE.format("0, 0, '', 'rejected', :kind || ': ' || :reason", "NULL", "0"),
    events.FileIgnored: _FILE.format("0, 0, '', 'ignored', :rule", "NULL", "0"),
    events.FileDuplicate: _FILE.format("0, 0, '', 'duplicate', :item_id", "NULL", "0"),
    # The digest tells an event that came before the file settled anew from one that came after.
    events.FileSuperseded: "UPDATE files SET status='superseded', reason='content changed' "
    "WHERE root=:root AND path=:path AND digest=:old_digest",
    events.ItemAdmitted: _ADMITTED,
    events.StageQueued: _TASK.format("'queued', 0, '', '', ''")
    + _AGAIN
    + ", attempts=iif(key=excluded.key, attempts, 0)",
    events.StageStarted: _TASK.format("'running', :attempt, '', '', ''") + _AGAIN + ", attempts=:attempt",
    events.StageFinished: _DONE + _IF_CURRENT,
    events.StageSkipped: _DONE,
    events.StageFailed: _TASK.format("'failed', :attempt, :error_class, :message, ''")
    + _AGAIN
    + ", error_class=:error_class, message=:message"
    + _IF_CURRENT,
    events.StageGivenUp: _TASK.format("'given_up', 0, '', :reason, ''") + _AGAIN + ", message=:reason" + _IF_CURRENT,
    events.StageRetried: "UPDATE tasks SET status='queued', attempts=0 WHERE stage_id=:stage_id AND item_id=:item_id",
    events.ProductSaved: "INSERT OR REPLACE INTO products VALUES(:key, :kind, :digest, :path)",
    events.ProductDescribed: "INSERT INTO described VALUES"
    "(NULL, :stage_id, :item_id, :key, :kind, :path, :figures, :pictures, :time_utc) ON CONFLICT DO UPDATE SET"
    " key=:key, kind=:kind, path=:path, figures=:figures, pictures=:pictures, time_utc=:time_utc",
    events.ItemRemarked: "INSERT OR IGNORE INTO remarks VALUES(:item_id, :remark)",
    events.MetricReported: "INSERT OR REPLACE INTO metrics VALUES(:stage_id, :item_id, :name, :value, :unit)",
    session_events.AlarmRaised: "INSERT OR REPLACE INTO alarms VALUES(:kind, :subject, :message, :time_utc)",
    session_events.AlarmCleared: "DELETE FROM alarms WHERE kind=:kind AND subject=:subject",
    session_events.RunHeld: "INSERT OR REPLACE INTO held VALUES(1, :who, :time_utc)",
    session_events.RunReleased: "DELETE FROM held",
    session_events.Reconciled: "INSERT OR REPLACE INTO watermarks VALUES(:root, :generation, :n_files, :up_to_utc)",
}


def fold(event: Event) -> tuple[str, dict[str, Cell]] | None:
    """Return the statement by which an event changes the tables, or None."""
    sql = FOLDS.get(type(event))
    return (sql, {name: cell(value) for name, value in vars(event).items()}) if sql else None
