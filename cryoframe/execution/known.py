"""What is known of each task, in little memory: a hundred thousand items have half a million. Decides nothing."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass

#: Item id of tasks over the whole set.
SET = "set"
#: What may be known of a task. `WAITING` has to be looked at; one `TOLD` waits too, and the log has it queued already.
DONE, GIVEN_UP, WAITING, TOLD = "done", "given_up", "waiting", "told"
_MOST_ATTEMPTS = 255


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a task."""

    key: str
    status: str
    digest: str = ""
    attempts: int = 0


class KnownTasks:
    """What is known by stage and item, with the number of done tasks of each stage kept on the way.

    A done task is kept as the bytes of its key and digest: that is what there are most of.
    """

    def __init__(self) -> None:
        self._stages: dict[str, dict[str, Known | bytes]] = {}
        self.n_done: Counter[str] = Counter()

    def get(self, name: tuple[str, str]) -> Known | None:
        """Return what is known of the task of a stage and an item."""
        found = self._stages.get(name[0], {}).get(name[1])
        return _unpacked(found) if isinstance(found, bytes) else found

    def __getitem__(self, name: tuple[str, str]) -> Known:
        known = self.get(name)
        if known is None:
            raise KeyError(name)
        return known

    def __setitem__(self, name: tuple[str, str], known: Known) -> None:
        self.forget(*name)
        self.n_done[name[0]] += known.status == DONE
        packed = _packed(known) if known.status == DONE else None
        self._stages.setdefault(name[0], {})[sys.intern(name[1])] = known if packed is None else packed

    def is_done(self, stage_id: str, item_id: str) -> bool:
        """Whether a task is done, as far as is known."""
        found = self._stages.get(stage_id, {}).get(item_id)
        return isinstance(found, bytes) or (found is not None and found.status == DONE)

    def forget(self, stage_id: str, item_id: str) -> None:
        """Know nothing of a task any more."""
        if self.is_done(stage_id, item_id):
            self.n_done[stage_id] -= 1
        self._stages.get(stage_id, {}).pop(item_id, None)


def _packed(known: Known) -> bytes | None:
    """Return a done task as bytes; None where its names are not digests."""
    try:
        key, digest = bytes.fromhex(known.key), bytes.fromhex(known.digest)
    except ValueError:
        return None
    if (key.hex(), digest.hex()) != (known.key, known.digest) or len(key) > 255 or known.attempts > _MOST_ATTEMPTS:
        return None
    return bytes((known.attempts, len(key))) + key + digest


def _unpacked(packed: bytes) -> Known:
    end = 2 + packed[1]
    return Known(packed[2:end].hex(), DONE, packed[end:].hex(), packed[0])
