"""Judges what a run left behind, from its log and its files alone; shares no code with the program it judges."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

DONE = ("StageFinished", "StageSkipped")
#: What must not be in the log of a run whose files and plugins were all good.
HARM = ("StageFailed", "StageGivenUp", "ProductDamaged")
Log = list[tuple[str, dict[str, Any]]]


def events(folder: Path) -> Log:
    """Return (name, content) of every event in the order in which it was kept."""
    forms: dict[int, tuple[str, dict[str, Any], list[Any]]] = {}
    log: Log = []
    for seq, event_id, form, cause, text in ask(
        folder, "SELECT seq, event_id, form, cause, content FROM events ORDER BY seq"
    ):
        if seq < 0:  # what events of a kind have in common; it comes before them
            forms[seq] = json.loads(text)
            continue
        name, shared, fields = forms[form]
        log.append((name, {**shared, **_filled(fields, json.loads(text)), "event_id": _hex(event_id)}))
        log[-1][1]["cause"] = _hex(cause) if cause else ""
    return log


def _filled(fields: Sequence[Any], values: Sequence[Any]) -> dict[str, Any]:
    rest, said = list(values), {}
    for field in fields:
        if isinstance(field, str):
            said[field] = rest.pop(0)
        else:
            said[field[0]] = dict(zip(field[1:], rest, strict=False))
            del rest[: len(field) - 1]
    if rest:
        raise ValueError(f"{len(rest)} values more than {fields}")
    return said


def _hex(kept: Any) -> str:
    return kept.hex() if isinstance(kept, bytes) else str(kept)


def ask(folder: Path, sql: str) -> list[tuple[Any, ...]]:
    """Return the rows of a question to a run's database, which another process may be writing."""
    database = sqlite3.connect(f"file:{folder / 'state.sqlite'}?mode=ro", uri=True, timeout=20.0)
    try:
        return database.execute(sql).fetchall()
    finally:
        database.close()


def at_ns(content: Mapping[str, Any]) -> int:
    """Return when an event was made, by the clock of the machine."""
    return int(content["event_id"][:16], 16)


def products(folder: Path) -> dict[str, str]:
    """Return the digest of each file of each product; provenance, which tells times, left out."""
    files = (path for path in (folder / "stages").glob("*/*/product/**/*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def violations(folder: Path, items: set[str], stages: Sequence[str], *, harmless: bool = True) -> list[str]:
    """Return what is wrong with a finished run: lost, done twice, out of order, torn, left over.

    Parameters
    ----------
    folder
        The run folder.
    items
        Every item that was there to be done.
    stages
        Stages over items, each of which had to be done for each.
    harmless
        Whether no attempt may have failed.
    """
    log = events(folder)
    return [
        *database_violations(folder),
        *_counts(log, items, stages),
        *(f"{name}: {content}" for name, content in log if harmless and name in HARM),
        *_order(log),
        *file_violations(folder, log),
    ]


def database_violations(folder: Path) -> list[str]:
    """Return what SQLite itself finds wrong."""
    found = [str(row[0]) for row in ask(folder, "PRAGMA integrity_check")]
    return [] if found == ["ok"] else [f"database: {one}" for one in found]


def landing_violations(log: Log, landed: Iterable[str]) -> list[str]:
    """Return which landed files were lost or admitted more than once, and what was admitted that did not land."""
    names = set(landed)
    settled = Counter(content["path"] for name, content in log if name == "FileSettled")
    admitted = Counter(content["item_id"] for name, content in log if name == "ItemAdmitted")
    found = [f"{name} was lost" for name in sorted(names - admitted.keys())]
    found += [f"{name} was admitted {count} times" for name, count in sorted(admitted.items()) if count > 1]
    found += [f"{name} settled {count} times" for name, count in sorted(settled.items()) if count > 1]
    found += [f"{name} did not land" for name in sorted(admitted.keys() - names)]
    return found + _ids(log)


def early(log: Log, digests: Mapping[str, set[str]]) -> list[str]:
    """Return the files that were taken with a content which was not whole.

    Parameters
    ----------
    log
        The events.
    digests
        Of each file, the SHA-256 names of whole contents are not known to the log; these are BLAKE2b as it keeps them.
    """
    settled = [(content["path"], content["digest"]) for name, content in log if name == "FileSettled"]
    return [path for path, digest in settled if digest not in digests.get(path, set())]


def digest(content: bytes, like: str = "0" * 32) -> str:
    """Return the BLAKE2b digest of a file's content, as long as `like`."""
    return hashlib.blake2b(content, digest_size=len(like) // 2).hexdigest()


def most_at_once(log: Log) -> int:
    """Return how many attempts were in progress at most."""
    running: set[tuple[str, str]] = set()
    most = 0
    for name, content in log:
        if name == "RunOpened":
            running.clear()
        elif name == "StageStarted":
            running.add((content["stage_id"], content["item_id"]))
            most = max(most, len(running))
        elif name in ("StageFinished", "StageFailed", "StageGivenUp"):
            running.discard((content["stage_id"], content["item_id"]))
    return most


def _counts(log: Log, items: set[str], stages: Sequence[str]) -> list[str]:
    admitted = Counter(content["item_id"] for name, content in log if name == "ItemAdmitted")
    done = Counter((content["stage_id"], content["item_id"]) for name, content in log if name in DONE)
    wanted = {(stage, item) for stage in stages for item in items}
    found = [f"{item} was lost" for item in sorted(items - admitted.keys())]
    found += [f"{item} was admitted {count} times" for item, count in admitted.items() if count > 1]
    found += [f"{task} was lost" for task in sorted(wanted - done.keys())]
    found += [f"{task} took effect {count} times" for task, count in done.items() if count > 1]
    return found + _ids(log)


def _ids(log: Log) -> list[str]:
    ids = [content["event_id"] for _, content in log]
    return [] if ids == sorted(set(ids)) else ["the log is out of order"]


def _order(log: Log) -> list[str]:
    """An item is admitted before it is queued, queued before it starts, started before it is finished."""
    found: list[str] = []
    reached: Counter[tuple[str, str]] = Counter()
    rank = {"StageQueued": 1, "StageStarted": 2, "StageFinished": 3}
    admitted: set[str] = set()
    for name, content in log:
        if name == "ItemAdmitted":
            admitted.add(content["item_id"])
        if name not in rank:
            continue
        task = (content["stage_id"], content["item_id"])
        if content["item_id"] != "set" and content["item_id"] not in admitted:
            found.append(f"{task}: {name} before it was admitted")
        if reached[task] < rank[name] - 1:
            found.append(f"{task}: {name} too early")
        reached[task] = rank[name]
    return found


def file_violations(folder: Path, log: Log) -> list[str]:
    """Return products that are recorded and not there, there and not recorded, torn, or left over."""
    saved = {content["path"] for name, content in log if name == "ProductSaved"}
    there = {path.relative_to(folder).as_posix() for path in (folder / "stages").glob("*/*")}
    found = [f"{path} is recorded and not there" for path in sorted(saved - there)]
    found += [f"{path} is there and not recorded" for path in sorted(there - saved)]
    for path in sorted(there):
        found += _torn(folder / path)
    left = [path.name for path in (folder / "scratch").glob("*")] if (folder / "scratch").is_dir() else []
    return found + [f"scratch {name} is left over" for name in left]


def _torn(place: Path) -> list[str]:
    """Compare a product's files with the digests that were written down when it was committed."""
    if not list(place.rglob("product.json")):
        return [f"{place.name} has no product.json"]
    try:
        written = json.loads((place / "job.json").read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, KeyError) as error:
        return [f"{place.name}/job.json: {error}"]
    there = {path.relative_to(place).as_posix(): path for path in place.rglob("*") if path.is_file()}
    there.pop("job.json", None)
    wrong = sorted(written.keys() ^ there.keys())
    wrong += [
        name
        for name in there.keys() & written.keys()
        if digest(there[name].read_bytes(), written[name]) != written[name]
    ]
    return [f"{place.name}/{name} is torn" for name in wrong]
