"""Judges what a simulated session left behind, by what the microscope meant and by the log alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from simulated_executor import BESIDE, CONTENT, POISON_EVERY

from cryoframe.testing.soak import history

if TYPE_CHECKING:
    from simulated_microscope import File
    from simulated_session import Session

    from cryoframe.records.state import FileRow

LIKE = "0" * 40
#: A file that has not been there for longer than this before a rescan may have been missed by it.
SLACK_S = 1.0
#: What an event says of where the run lies.
OF_THE_PLACE = ("folder", "config_digest", "old_digest")
TABLES = ("files", "items", "tasks", "products", "alarms", "held", "watermarks", "described", "remarks")


def digest(content: bytes) -> str:
    return history.digest(content, LIKE)


def is_poison(item_digest: str) -> bool:
    return int(item_digest[:4], 16) % POISON_EVERY == 0


def undone(session: Session) -> Iterator[str]:
    """Yield what is still to be done before all that lies there is accounted for and worked on."""
    assert session.run is not None
    state = session.run.state
    rows = {row.path: row for row in state.files()}
    items = {item.digest: item.item_id for item in state.items()}
    tasks = {(task.stage_id, task.item_id): task.status for task in state.tasks()}
    stages = [name.partition(":")[2] for name in session.plan.stages]
    for path, node in session.disk.files.items():
        wrong = _unsettled(session.microscope.files.get(path), rows.get(path), node.data)
        item_digest = digest(node.data)
        if wrong:
            yield f"{path!r} {wrong}"
        elif rows[path].status in ("settled", "duplicate") and item_digest not in items:
            yield f"{path!r} settled and is no item"
        elif item_digest in items:
            yield from _tasks(items[item_digest], item_digest, stages, tasks)
    for path, row in rows.items():
        if path not in session.disk.files and row.status in ("seen", "superseded"):
            yield f"{path!r} is gone, and {row.status}"


def _unsettled(file: File | None, row: FileRow | None, content: bytes) -> str:
    """Return what is wrong with what is known of a file that lies there."""
    if row is None:
        return "has no state"
    if file is None:
        return "" if row.status == "ignored" else f"is {row.status}, not ignored"
    if file.is_cut:
        return "" if row.status == "rejected" and row.reason else f"is cut, and {row.status}"
    if row.status in ("settled", "duplicate") and row.digest == digest(content):
        return ""
    return f"is {row.status} {row.reason} with another content than lies there"


def _tasks(item: str, item_digest: str, stages: list[str], tasks: dict[tuple[str, str], str]) -> Iterator[str]:
    for stage in stages:
        status = tasks.get((stage, item), "not queued")
        if status == "given_up" and is_poison(item_digest):
            return
        if status != "done":
            yield f"{stage} of {item!r} is {status}"


def violations(session: Session) -> list[str]:
    """Return what is wrong with the log and the files of a run that is closed."""
    log = history.events(session.facility.out)
    found = history.database_violations(session.facility.out)
    found += _effects(log) + _early(session, log) + _read(session) + _watermarks(session, log)
    ids = [said["event_id"] for _, said in log]
    found += [] if ids == sorted(set(ids)) else ["the log is out of order"]
    found += [f"{name}: {said}" for name, said in log if name in ("ProductDamaged", "ListenerFailed")]
    found += [f"{path} is cut" for path in _cut(session)]
    # A disk that refused after the renaming leaves a whole product; nobody asks for it if its file is another now.
    current = {task[2] for task in history.ask(session.facility.out, "SELECT * FROM tasks")}
    left = history.file_violations(session.facility.out, log)
    return found + [one for one in left if not (one.endswith("not recorded") and one.split()[0][-40:] not in current)]


def _cut(session: Session) -> Iterator[str]:
    """Yield the products that are not what an attempt made that went well."""
    for path in session.facility.out.glob("stages/*/*/product"):
        if not (path / BESIDE).is_file() or (path / BESIDE).read_bytes() != CONTENT:
            yield str(path)


def _effects(log: history.Log) -> list[str]:
    done = Counter((said["stage_id"], said["key"], said["item_id"]) for name, said in log if name == "StageFinished")
    found = [f"{task} took effect {count} times" for task, count in done.items() if count > 1]
    return found + _causality(log)


def _causality(log: history.Log) -> list[str]:
    """An item is admitted before it is queued, queued before it starts, started before it is finished."""
    found, admitted = list[str](), set[str]()
    reached: dict[tuple[str, str, str], str] = {}
    before = {"StageStarted": ("StageQueued", "StageStarted", "StageFailed"), "StageFinished": ("StageStarted",)}
    before["StageFailed"] = ("StageStarted",)
    for name, said in log:
        if name == "ItemAdmitted":
            admitted.add(said["item_id"])
        if name not in ("StageQueued", *before):
            continue
        task = (said["stage_id"], said["item_id"], said["key"])
        if said["item_id"] not in admitted:
            found.append(f"{name} {task} before it was admitted")
        if name in before and reached.get(task) not in before[name]:
            found.append(f"{name} {task} after {reached.get(task)}")
        reached[task] = name
    return found


def _early(session: Session, log: history.Log) -> list[str]:
    """Return the files that were taken as no microscope meant them, and could have been seen not to be whole."""
    if "share_lags" in session.plan.faults:
        return []  # of what a share shows late nobody can know; what is taken early then is redone
    whole = {digest(content) for content in session.microscope.whole}
    return [
        f"{said['path']!r} was taken before it was whole"
        for name, said in log
        if name == "FileSettled" and said["digest"] not in whole and said["path"] not in session.microscope.excused
    ]


def _read(session: Session) -> list[str]:
    if "share_lags" in session.plan.faults:
        return []
    return [
        f"{read.stage_id} was given another content of {read.path} than its key says"
        for read in session.facilities.reads
        if read.wanted != read.found and read.path[len(session.disk.root) + 1 :] not in session.microscope.excused
    ]


def _watermarks(session: Session, log: history.Log) -> list[str]:
    """A watermark says that every file that was there has a state."""
    known, found = set[str](), list[str]()
    files = session.microscope.files.values()
    for name, said in log:
        if name.startswith("File"):
            known.add(said["path"])
        if name != "Reconciled":
            continue
        at_s = session.marks.get(said["up_to_utc"], 0.0)
        missed = [file.path for file in files if file.since_s < at_s - SLACK_S and file.path not in known]
        found += [
            f"the watermark of {said['up_to_utc']} says that all is known, but {path!r} was not" for path in missed
        ]
    return found


def folded(session: Session) -> list[str]:
    """Return whether the log, folded anew, gives the tables again."""
    assert session.run is not None
    before = _tables(session)
    session.run.journal.rebuild()
    after = _tables(session)
    return [f"the log does not give {name} again" for name in TABLES if before[name] != after[name]]


def _tables(session: Session) -> dict[str, list[Any]]:
    return {name: history.ask(session.facility.out, f"SELECT * FROM {name} ORDER BY 1, 2") for name in TABLES}


def story(session: Session) -> Iterator[str]:
    """Yield the log as text that is the same whenever the seed is: where it lies is not told."""
    for name, said in history.events(session.facility.out):
        told = {field: value for field, value in said.items() if field not in OF_THE_PLACE}
        yield f"{name} {told}".replace(str(session.folder), "@")
