"""One seed played: a storm of faults, then calm in which all has to come to its end, then the verdict."""

from __future__ import annotations

import hashlib
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from simulated_judge import folded, story, undone, violations
from simulated_nemesis import HOUR_S, drawn
from simulated_session import Session
from simulated_world import Violation, World

from cryoframe.errors import ConfigError

#: After the storm all has to be done, all alarms to be over within this; the longest wait is for a trial after many.
CALM_S, LOOK_S, IDLE_S = 12 * HOUR_S, 120.0, 600.0
#: A restart finds nothing to do, and says so within this.
RESTART_S = 4 * HOUR_S
MOST_TURNS = 400_000


@dataclass
class Result:
    """What came of a seed."""

    seed: int
    violation: str = ""
    signature: str = ""
    simulated_s: float = 0.0
    cpu_s: float = 0.0
    n_lives: int = 0
    n_files: int = 0
    n_effects: int = 0
    lines: list[str] = field(default_factory=list)
    schedule: list[str] = field(default_factory=list)
    met: dict[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        how = self.violation.splitlines()[0] if self.violation else "well"
        told = (
            f"{self.simulated_s / HOUR_S:.1f} h, {self.n_lives} lives, {self.n_files} files, {self.n_effects} effects"
        )
        return f"seed {self.seed}: {how} ({told}, {self.cpu_s:.2f} CPU-s) {self.signature}"


def play(seed: int, *, tell: Callable[[str], None] | None = None) -> Result:
    """Play a seed from its beginning to the verdict."""
    start_s = time.process_time()
    world, plan = World(seed, tell=tell), drawn(seed)
    session, result = Session(world, plan), Result(seed)
    try:
        with session.patched():
            Day(session).play()
        result.violation = "\n".join(violations(session))
        lines = list(story(session))
        result.n_effects = sum(line.startswith("StageFinished") for line in lines)
        told = world.signature() + "".join(lines)
        result.signature = hashlib.sha256(told.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    except Violation as error:
        result.violation = _worded(error)
    except Exception:
        result.violation = (
            f"the daemon raised {traceback.format_exc(limit=-1).splitlines()[-1]}\n{traceback.format_exc()}"
        )
    finally:
        session.close()
    result.simulated_s, result.n_lives, result.n_files = world.now_s, session.n_lives, len(session.microscope.files)
    result.lines, result.schedule, result.met = list(world.lines), session.nemesis.schedule, world.met
    result.cpu_s = time.process_time() - start_s
    return result


def _worded(error: Violation) -> str:
    """Return what is wrong, and where it was found out if something was raised."""
    cause = "".join(traceback.format_exception(error.__cause__)) if error.__cause__ else ""
    return f"{error}\n{cause}".rstrip()


class Day:
    """The course of a simulated day.

    Parameters
    ----------
    session
        Whose.
    """

    def __init__(self, session: Session) -> None:
        self._its, self._world, self._is_done = session, session.world, False
        self._chance = self._world.chance("day")

    def play(self) -> None:
        """Play storm, calm and a restart."""
        its, world = self._its, self._world
        end_s = world.now_s + its.plan.storm_s
        its.microscope.acquire(its.plan.n_files, end_s)
        its.nemesis.arm(end_s)
        world.at(end_s, "calm", self._calm)
        while not self._is_done:
            self._live()
            if not self._is_done:
                world.advance(self._chance.choice((0.1, 20.0, 1000.0)) * self._chance.random())
        its.until_idle_s = IDLE_S
        with self._deadline(RESTART_S, "a restart with nothing to do does not end"):
            while not its.live():
                pass
        self._judge()

    def _live(self) -> None:
        try:
            self._its.nemesis.was_refused = bool(self._its.refuses)
            self._its.live()
        except ConfigError as error:
            self._world.say(f"somebody mends the configuration: {error}")
            if self._its.run is not None:
                self._its.bury()
            self._its.write_configuration()

    @contextmanager
    def _deadline(self, seconds: float, else_: str) -> Iterator[None]:
        over: list[bool] = []

        def late() -> None:
            if not over:
                open_ = [str(task) for task in self._its.run.state.tasks() if task.status not in ("done", "given_up")]
                raise Violation("\n".join([else_, *self._left(), *open_]))

        self._world.after(seconds, "", late)
        yield
        over.append(True)

    # -- after the storm ----------------------------------------------------------------------------------------------
    def _calm(self) -> None:
        self._its.nemesis.end()
        self._until_s = self._world.now_s + CALM_S
        habits = self._its.plan.habits
        self._world.after(30 * habits.settle_s + 3 * habits.long_settle_s + 2500.0, "", self._look)

    def _left(self) -> list[str]:
        if self._its.run is None:
            return ["nobody has the run in charge"]
        alarms = [f"alarm {one.kind} {one.subject}: {one.message}" for one in self._its.run.state.alarms()]
        return [*undone(self._its), *alarms, *([held] if (held := self._its.run.state.held()) else [])]

    def _look(self) -> None:
        """See whether all is done; help along what only people can."""
        left = self._left()
        if self._its.daemon is not None and not left:
            self._its.daemon.check_arithmetic()
            self._is_done = True
            self._its.daemon.stop()
            return
        if self._world.now_s > self._until_s:
            raise Violation("\n".join(["it does not come to an end", *left]))
        if any("paused by" in one for one in left):
            self._its.ask("resume")
        if any("given_up" in one for one in left):
            self._its.ask("retry")
        self._world.after(LOOK_S, "", self._look)

    def _judge(self) -> None:
        its = self._its
        its._begin()
        try:
            left = [*self._left(), *folded(its), *(str(one) for one in its.run.store.verify())]  # type: ignore[union-attr]
        finally:
            its._end()
        if left:
            raise Violation("\n".join(["after a restart not all is well", *left]))
