"""Which run a command is about, and looking into one that another process may have in hand. Starts nothing."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cryoframe.errors import ConfigError

if TYPE_CHECKING:
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
