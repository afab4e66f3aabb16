"""Which run a command is about, and looking into one that another process may have in hand. Starts nothing."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cryoframe.errors import ConfigError, EnvironmentFault

if TYPE_CHECKING:
    from cryoframe.records.database import Database
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

        return _begun(load(where).folder, where)
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


def _is_there(folder: Path) -> bool:
    try:
        return (folder / DATABASE).is_file()
    except PermissionError as error:
        raise _not_ours(folder) from error


def _not_ours(folder: Path) -> EnvironmentFault:
    """Return that a run may be looked into by its owner only: SQLite shares memory with who writes, beside the file."""
    try:
        owner = folder.owner()
    except (KeyError, OSError):
        owner = "its owner"
    return EnvironmentFault(
        f"the run in {folder} may not be looked into by this user", remedy=f"Ask as its owner: sudo -u {owner} …"
    )


def _begun(folder: Path, config: Path) -> Path:
    """Return the run folder of a configuration, which may not have been run yet."""
    if not _is_there(folder):
        raise ConfigError(
            f"{config.name} has not been run yet: there is no {folder / DATABASE}",
            remedy=f"`cryoframe run {config}` or `cryoframe watch {config}` begins.",
        )
    return folder


def _with_state(folder: Path) -> Path:
    if not _is_there(folder):
        raise ConfigError(
            f"{folder} is not a run folder", expected=f"a folder with {DATABASE}, which `cryoframe run` makes"
        )
    return folder


@contextmanager
def opened(folder: Path, *, examine: bool = False) -> Iterator[Database]:
    """Give the database of a run, read-only; whoever is in charge of it is not disturbed."""
    from cryoframe.records.database import Database

    try:
        database = Database.open(folder / DATABASE, read_only=True, examine=examine)
    except EnvironmentFault as error:
        if os.access(folder, os.R_OK | os.W_OK):
            raise
        raise _not_ours(folder) from error
    try:
        yield database
    finally:
        database.close()


@contextmanager
def looking_into(folder: Path) -> Iterator[tuple[State, Store]]:
    """Give state and store of a run, read-only; whoever is in charge of it is not disturbed."""
    from cryoframe.records.state import State
    from cryoframe.records.store import Store

    with opened(folder) as database:
        yield State(database), Store(folder)


def name_of(folder: Path, database: Database) -> str:
    """Return what the run is called, as whoever was at it last called it."""
    from cryoframe.records.journal import Journal

    event = Journal(database).last()
    return str(event.run_id) if event is not None else folder.resolve().name


def remarks(database: Database) -> list[str]:
    """Return what was assumed when work was begun last, and what of the log could not be read."""
    from cryoframe.records.signs import last_of_each

    said, _ = last_of_each(database, ("OpticsAssumed", "EventUnreadable", "ConfigRefused"))
    if not said:
        return []  # without going through the log for the rest
    later, _ = last_of_each(database, ("RunOpened", "ConfigReloaded"))
    last = {type(event).__name__: event for event in sorted([*said, *later], key=lambda event: event.event_id)}
    return [*_assumed(last), *_unreadable(last), *_refused(last)]


def _refused(last: Mapping[str, Event]) -> list[str]:
    """Return that a new configuration was refused, which a SIGHUP says to nobody, until one is in force."""
    refused = last.get("ConfigRefused")
    later = [last[name] for name in ("ConfigReloaded", "RunOpened") if name in last]
    if refused is None or any(event.event_id > refused.event_id for event in later):
        return []
    return [f"the configuration as it is now was refused at {refused.time_utc}: {getattr(refused, 'reason', '')}"]


def _unreadable(last: Mapping[str, Event]) -> list[str]:
    event = last.get("EventUnreadable")
    if event is None:
        return []
    number, named, kept_in = (getattr(event, name, "") for name in ("number", "named", "kept_in"))
    return [f"event {number} of the log ({named or 'of no known kind'}) could not be read; it is kept in {kept_in}"]


def _assumed(last: Mapping[str, Event]) -> list[str]:
    event, begun = last.get("OpticsAssumed"), last.get("RunOpened")
    if event is None or (begun is not None and event.event_id < begun.event_id):
        return []
    return [str(getattr(event, "remark", ""))]


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
