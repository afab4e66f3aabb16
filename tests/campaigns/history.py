"""Judges what a run left behind, from its log and its files alone; shares no code with the program it judges."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections import Counter
from pathlib import Path

DONE = ("StageFinished", "StageSkipped")


def events(folder: Path) -> list[tuple[str, dict]]:
    """Return (name, content) of every event in the order in which it was kept."""
    database = sqlite3.connect(f"file:{folder / 'state.sqlite'}?mode=ro", uri=True)
    try:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        rows = database.execute("SELECT name, text FROM events ORDER BY seq").fetchall()
    finally:
        database.close()
    return [(name, json.loads(text)) for name, text in rows]


def products(folder: Path) -> dict[str, str]:
    """Return the digest of each file of each product; provenance, which tells times, left out."""
    files = (path for path in (folder / "stages").glob("*/*/product/**/*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def violations(folder: Path, items: set[str], stages: list[str]) -> list[str]:
    """Return what is wrong with a finished run: lost, done twice, out of order, torn, left over.

    Parameters
    ----------
    folder
        The run folder.
    items
        Every item that was there to be done.
    stages
        Stages over items, each of which had to be done for each.
    """
    log = events(folder)
    return [*_counts(log, items, stages), *_order(log), *_files(folder, log)]


def _counts(log: list[tuple[str, dict]], items: set[str], stages: list[str]) -> list[str]:
    admitted = Counter(content["item_id"] for name, content in log if name == "ItemAdmitted")
    done = Counter((content["stage_id"], content["item_id"]) for name, content in log if name in DONE)
    wanted = {(stage, item) for stage in stages for item in items}
    found = [f"{item} was lost" for item in sorted(items - admitted.keys())]
    found += [f"{item} was admitted {count} times" for item, count in admitted.items() if count > 1]
    found += [f"{task} was lost" for task in sorted(wanted - done.keys())]
    found += [f"{task} took effect {count} times" for task, count in done.items() if count > 1]
    found += [
        f"{name}: {content}" for name, content in log if name in ("StageFailed", "StageGivenUp", "ProductDamaged")
    ]
    ids = [content["event_id"] for _, content in log]
    return found + ([] if ids == sorted(set(ids)) else ["the log is out of order"])


def _order(log: list[tuple[str, dict]]) -> list[str]:
    """An item is admitted before it is queued, queued before it starts, started before it is finished."""
    found, reached = [], Counter()
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


def _files(folder: Path, log: list[tuple[str, dict]]) -> list[str]:
    saved = {content["path"] for name, content in log if name == "ProductSaved"}
    there = {path.relative_to(folder).as_posix() for path in (folder / "stages").glob("*/*")}
    found = [f"{path} is recorded and not there" for path in sorted(saved - there)]
    found += [f"{path} is there and not recorded" for path in sorted(there - saved)]
    found += [
        f"{path} has no product.json" for path in sorted(there) if not list((folder / path).rglob("product.json"))
    ]
    left = [path.name for path in (folder / "scratch").glob("*")] if (folder / "scratch").is_dir() else []
    return found + [f"scratch {name} is left over" for name in left]
