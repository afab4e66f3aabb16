"""When an implementation keeps failing, nothing more of it is begun but one attempt now and then; blames no file."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from cryoframe.execution.ledger import Due
from cryoframe.kernel.plan import Node
from cryoframe.records import session_events
from cryoframe.records.events import Event, Value

#: Of so many tasks tried last, more than half have to fail; one item that fails again and again counts once.
WINDOW = 20
#: An attempt is risked after so long, then after twice as long, at most after the second.
TRIAL_S, MAX_TRIAL_S = 60.0, 3600.0


def implementation(node: Node) -> str:
    """Return what is counted: two stages that use the same implementation share its record."""
    return f"{node.offer.hook}:{node.offer.qualified}"


@dataclass
class _Record:
    """How the last tasks of an implementation went; `trial_at_s` is when the next one is risked, once it is held."""

    went_well: dict[str, bool] = field(default_factory=dict)
    reason: str = ""
    wait_s: float = TRIAL_S
    trial_at_s: float = 0.0
    on_trial: bool = False


class Breaker:
    """Counts attempts by implementation.

    Parameters
    ----------
    clock
        The monotonic clock [s].
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._records: dict[str, _Record] = {}

    def allows(self, name: str) -> bool:
        """Whether an attempt may begin now."""
        record = self._records.get(name)
        if record is None or not record.reason:
            return True
        return not record.on_trial and self._clock() >= record.trial_at_s

    def begun(self, name: str) -> None:
        """Take note that an attempt began; of a held implementation it is the trial."""
        record = self._records.get(name)
        if record is not None and record.reason:
            record.on_trial = True

    def told(
        self, due: Due, attempt: int, *, went_well: bool | None, why: str = ""
    ) -> tuple[type[Event], dict[str, Value]] | None:
        """Count an attempt for or against its implementation; returns what is to be said, if anything changes."""
        plugin, stage_id = implementation(due.node), due.node.id
        change = self.ended(plugin, f"{stage_id} {due.item_id}", went_well=went_well, why=why, again=attempt > 1)
        if change == "held":
            return session_events.StageHeld, {"stage_id": stage_id, "plugin": plugin, "reason": self.failing()[plugin]}
        said: dict[str, Value] = {"stage_id": stage_id, "plugin": plugin, "reason": "an attempt went well"}
        return (session_events.StageReleased, said) if change else None

    def ended(self, name: str, task: str, *, went_well: bool | None, why: str = "", again: bool = False) -> str:
        """Take note of an attempt's end.

        Parameters
        ----------
        name
            The implementation.
        task
            What it was tried on.
        went_well
            None where the file was to blame, could not be reached, or somebody stopped the attempt: that says nothing
            of the implementation.
        why
            The last failure's message.
        again
            The task had failed before. That it does so again tells nothing new: what is tried first after a restart
            are those that failed before it.

        Returns
        -------
        ``"held"`` or ``"released"`` if it is so from now on, else an empty string.
        """
        record = self._records.setdefault(name, _Record())
        was_trial, record.on_trial = record.on_trial, False
        if went_well is None:
            return ""
        if went_well and record.reason:
            self.release(name)
            return "released"
        if went_well or was_trial or not again or task in record.went_well:
            record.went_well[task] = went_well
        while len(record.went_well) > WINDOW:
            del record.went_well[next(iter(record.went_well))]
        if record.reason:
            if was_trial:
                record.wait_s = min(MAX_TRIAL_S, 2 * record.wait_s)
                record.trial_at_s = self._clock() + record.wait_s
            return ""
        n_failed = list(record.went_well.values()).count(False)
        if 2 * n_failed <= WINDOW:
            return ""
        record.reason = f"{n_failed} of the last {len(record.went_well)} items failed, the last: {why}"
        record.trial_at_s = self._clock() + record.wait_s
        return "held"

    def release(self, name: str) -> bool:
        """Let an implementation go on with a clean record; returns whether it was held."""
        record = self._records.pop(name, None)
        return record is not None and bool(record.reason)

    def failing(self) -> Mapping[str, str]:
        """Return what is held, with the reason."""
        return {name: record.reason for name, record in self._records.items() if record.reason}
