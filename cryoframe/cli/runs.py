"""Which run a command is about, and looking into one that another process may have in hand. Starts nothing."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cryoframe.errors import ConfigError

if TYPE_CHECKING:
    from cryoframe.records.events import Event
    from cryoframe.records.state import State
    from cryoframe.records.store import Store

DATABASE = "state.sqlite"


def run_argument(parser: argparse.ArgumentParser, *, flag: bool = False) -> None:
    """Add the run: a configuration or a run folder."""
    text = "configuration or run folder; found by itself where there is one here"
    if flag:
        parser.add_argument("--run", dest="where", type=Path, metavar="RUN", help=text)
    else:
        parser.add_argument("where", nargs="?", type=Path, metavar="RUN", help=text)


def folder_of(where: Path | None) -> Path:
    """Return the run folder a person means.

    Parameters
    ----------
    where
        A configuration, a run folder, or None for the one run below the current folder.

    Raises
    ------
    ConfigError
        If there is none, or more than one.
    """
    if where is not None and where.suffix == ".toml":
        from cryoframe.kernel.config import load

        return _with_state(load(where).folder)
    if where is not None:
        return _with_state(where)
    here = Path()
    found = sorted(
        {path.parent for pattern in (DATABASE, f"*/{DATABASE}", f"runs/*/{DATABASE}") for path in here.glob(pattern)}
    )
    if len(found) == 1:
        return found[0]
    names = ", ".join(str(path) for path in found)
    raise ConfigError(
        f"there are {len(found)} runs here: {names}" if found else "there is no run here",
        expected="the name of a configuration or of a run folder",
    )


def _with_state(folder: Path) -> Path:
    if not (folder / DATABASE).is_file():
        raise ConfigError(
            f"{folder} is not a run folder", expected=f"a folder with {DATABASE}, which `cryoframe run` makes"
        )
    return folder


@contextmanager
def looking_into(folder: Path) -> Iterator[tuple[State, Store]]:
    """Give state and store of a run, read-only; whoever is in charge of it is not disturbed."""
    from cryoframe.records.database import Database
    from cryoframe.records.state import State
    from cryoframe.records.store import Store

    database = Database.open(folder / DATABASE, read_only=True)
    try:
        yield State(database), Store(folder)
    finally:
        database.close()


def name_of(folder: Path) -> str:
    """Return what the run is called, as whoever was at it last called it."""
    event = _last(folder, "RunOpened")
    return str(event.run_id) if event is not None else folder.resolve().name


def remarks(folder: Path) -> list[str]:
    """Return what was assumed when work was begun last, and what of the log could not be read."""
    return [*_assumed(folder), *_unreadable(folder), *_refused(folder)]


def _refused(folder: Path) -> list[str]:
    """Return that a new configuration was refused, which a SIGHUP says to nobody, until one is in force."""
    refused = _last(folder, "ConfigRefused")
    later = [event for name in ("ConfigReloaded", "RunOpened") if (event := _last(folder, name)) is not None]
    if refused is None or any(event.event_id > refused.event_id for event in later):
        return []
    return [f"the configuration as it is now was refused at {refused.time_utc}: {getattr(refused, 'reason', '')}"]


def _unreadable(folder: Path) -> list[str]:
    event = _last(folder, "EventUnreadable")
    if event is None:
        return []
    number, named, kept_in = (getattr(event, name, "") for name in ("number", "named", "kept_in"))
    return [f"event {number} of the log ({named or 'of no known kind'}) could not be read; it is kept in {kept_in}"]


def _assumed(folder: Path) -> list[str]:
    event, opened = _last(folder, "OpticsAssumed"), _last(folder, "RunOpened")
    if event is None or (opened is not None and event.event_id < opened.event_id):
        return []
    return [str(getattr(event, "remark", ""))]


def _last(folder: Path, name: str) -> Event | None:
    from cryoframe.records.database import Database
    from cryoframe.records.journal import Journal

    database = Database.open(folder / DATABASE, read_only=True)
    try:
        return Journal(database).last(name)
    finally:
        database.close()


def in_charge(folder: Path) -> str:
    """Return which process has the run in hand, or an empty string."""
    import fcntl

    lock = folder / "lock"
    if not lock.is_file():
        return ""
    with lock.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return file.read(200).decode(errors="replace").strip() or "another process"
    return ""
