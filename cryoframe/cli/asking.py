"""Asking the process that has a run in hand for something, or doing it where nobody has; the verbs say what."""

from __future__ import annotations

import argparse
import getpass
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from cryoframe.cli.output import emit, say
from cryoframe.cli.runs import DATABASE, folder_of, in_charge
from cryoframe.errors import ConfigError, EnvironmentFault

if TYPE_CHECKING:
    from cryoframe.records.bus import Bus
    from cryoframe.records.state import State

ANSWER_S = 20.0


def whoami() -> str:
    """Return who asks, for the journal."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"


def ask(folder: Path, verb: str, *, stage: str = "", item: str = "", timeout_s: float = ANSWER_S) -> str:
    """Leave a request to the process in charge and return what it answers.

    Raises
    ------
    ConfigError
        If it refuses.
    EnvironmentFault
        If it does not answer in time; the request stands.
    """
    from cryoframe.execution.control import Request, answer
    from cryoframe.execution.control import ask as leave

    place = leave(folder, Request(verb, whoami(), in_charge(folder), stage, item))
    found = answer(place, timeout_s)
    if found is None:
        raise EnvironmentFault(
            f"no answer in {timeout_s:g} s; it is asked for and will be obeyed",
            remedy="`cryoframe status` shows when.",
        )
    ok, said = found
    if not ok:
        raise ConfigError(said)
    return said


def ask_at_work(options: argparse.Namespace, verb: str, *, otherwise: str, timeout_s: float = ANSWER_S) -> int:
    """Ask the process at work on the run that the options name, and say its answer.

    Raises
    ------
    ConfigError
        If nobody is at work, with what to do `otherwise`; or if it refuses.
    EnvironmentFault
        If it does not answer in time; the request stands.
    """
    folder = folder_of(options.where)
    if not in_charge(folder):
        raise ConfigError(f"nobody is at work on {folder}", remedy=otherwise)
    return report(options, ask(folder, verb, timeout_s=timeout_s))


def alone(folder: Path, do: Callable[[Bus, State], str]) -> str:
    """Do something to the journal of a run nobody is at."""
    import fcntl

    from cryoframe.records.bus import Bus
    from cryoframe.records.database import Database
    from cryoframe.records.journal import Journal
    from cryoframe.records.state import State

    with (folder / "lock").open("rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise EnvironmentFault("a process has just taken charge of the run", remedy="Ask again.") from error
        database = Database.open(folder / DATABASE)
        try:
            return do(Bus(Journal(database), folder.resolve().name), State(database))
        finally:
            database.close()


def report(options: argparse.Namespace, said: str) -> int:
    """Say what came of it."""
    emit({"said": said}) if options.json else say(said)
    return 0
