"""Carries a landing out: each step at its time, one after the other; stopped, it goes on where it was."""

from __future__ import annotations

import threading
from dataclasses import asdict
from pathlib import Path

from cryoframe.errors import ConfigError
from cryoframe.twin.clock import Clock
from cryoframe.twin.landing import Landing, Step
from cryoframe.twin.landing_folder import LandingFolder
from cryoframe.twin.landing_journal import LandingJournal


class Player:
    """Does steps in a folder, each once.

    Parameters
    ----------
    root
        The session's folder.
    journal
        File outside it that knows what was done.
    fingerprint
        What the landing is.

    Raises
    ------
    ConfigError
        The journal lies in the watched folder, or belongs to another landing.
    """

    def __init__(self, root: Path, journal: Path, fingerprint: str) -> None:
        if journal.resolve().is_relative_to(root.resolve()):
            raise ConfigError(
                f"journal {journal} lies in the folder that is filled",
                expected="a place outside: whoever watches must not see it",
            )
        self._folder = LandingFolder(root)
        self.journal = LandingJournal(journal, fingerprint)

    def is_done(self, step: Step) -> bool:
        """Whether the step was done, now or before a stop."""
        return step.key in self.journal.done

    def do(self, step: Step) -> None:
        """Do a step that was not done yet, and remember it.

        Raises
        ------
        EnvironmentFault
            No space left, or the system refuses; nothing is remembered, and it can be tried again.
        Refused
            A symbolic link is in the way.
        """
        if self.is_done(step):
            return
        if step.operation == "place":
            self._folder.place(step.path, step.source)
        elif step.operation == "move":
            self._folder.move(step.path, step.target)
        elif step.operation == "stamp":
            self._folder.stamp(step.path, step.skew_s)
        else:
            self._folder.write(
                step.path, step.source, span=(step.start, step.stop), offset=step.offset,
                create=step.operation == "create",
            )  # fmt: skip
        self.journal.did(step.key, step.time_s)

    def close(self) -> None:
        """Close the journal."""
        self.journal.close()


def play(landing: Landing, root: Path, clock: Clock, *, journal: Path, stop: threading.Event | None = None) -> bool:
    """Carry out a planned landing; True if all of it is done, False if it was asked to stop before.

    Parameters
    ----------
    landing
        The plan.
    root
        The session's folder; it must be there.
    clock
        The session's time; it is set to where the landing was.
    journal
        File outside `root`; with it a stopped landing goes on.
    stop
        Set it to stop after the present step.

    Raises
    ------
    ConfigError
        The journal belongs to another landing or lies in the folder.
    EnvironmentFault
        No space left, or the system refuses. Started again, it goes on with that step.
    """
    stop = stop or threading.Event()
    player = Player(root, journal, landing.fingerprint())
    try:
        if not player.journal.notes:
            for hiccup in landing.happened:
                player.journal.note({"happened": asdict(hiccup)})
        left = [step for step in landing.steps if not player.is_done(step)]
        clock.begin(player.journal.time_s)
        for step in left:
            if not clock.wait_until(step.time_s, stop):
                return False
            player.do(step)
    finally:
        player.close()
    return True
