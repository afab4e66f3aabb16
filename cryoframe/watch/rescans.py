"""When each root is looked through and how far that is: no root waits for another, and the daemon for none of them.

What a rescan finds is taken in page by page, as it comes, between other things; it counts once it is whole. A scanner
that hangs costs its own root an outage at its deadline, and nobody else anything.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from cryoframe.watch import child
from cryoframe.watch.roots import Root, Said

#: A rescan that takes long is not begun again before so many times what it took; a hint brings it forward, but to no
#: less than so many times what going through all files took of a processor (what is new costs once, however often).
SCANS_APART, HINTS_APART = 3.0, 15.0
MIN_GAP_S = 0.1
#: So long is waited for what was just asked, since most answers come at once; and for the next page of many.
LINGER_S = 0.05
#: What a rescan finds is taken in for so long before others have their turn.
TAKE_S = 0.3


class Round:
    """The rescans of one root, one after the other."""

    def __init__(self, root: Root) -> None:
        self.root = root
        #: How many are over.
        self.n_over = 0
        #: When the next is due, the last was over, and the last that is over began.
        self.next_s, self.last_s, self.looked_s = 0.0, 0.0, float("-inf")
        #: The present one: when it began, and what it took, without the waiting.
        self.start_s, self.up_to_utc, self.took_s = 0.0, "", 0.0
        self.is_under_way = self.is_in = False
        self._gap_s, self._is_hinted = MIN_GAP_S, False

    @property
    def gap_s(self) -> float:
        """How far apart hints may bring two rescans."""
        return self._gap_s

    @property
    def due_s(self) -> float:
        """Return when something can be begun; infinite while the scanner has something else to do."""
        return float("inf") if self.is_under_way or self.root.is_asked else self.next_s

    def hint(self) -> None:
        """Bring the next one forward: something may have landed."""
        self._is_hinted = self.is_under_way
        self.next_s = min(self.next_s, self.last_s + self._gap_s)

    def begin(self, now_s: float, now_utc: str) -> None:
        """Have the root looked through."""
        self.start_s, self.up_to_utc, self.took_s = now_s, now_utc, 0.0
        self.is_under_way = True
        self.root.begin_rescan(now_s)

    def over(self, now_s: float, poll_s: float, used_s: float) -> None:
        """Take note that the present one is over, which took `used_s` of a processor, and say when the next is due."""
        self.is_under_way = self.is_in = False
        self.n_over += 1
        self.last_s, self.looked_s, self._gap_s = now_s, self.start_s, max(MIN_GAP_S, HINTS_APART * used_s)
        self.next_s = now_s + max(poll_s, SCANS_APART * self.took_s)
        if self._is_hinted:
            self.hint()


class Rescans:
    """The rescans of all roots.

    Parameters
    ----------
    roots
        What is watched.
    publish
        Called with what is to be said; if it raises, what was said is kept by it.
    changed
        Called with the time when a rescan that found a change began.
    """

    def __init__(
        self, roots: Sequence[Root], publish: Callable[[list[Said]], None], changed: Callable[[float], None]
    ) -> None:
        self.rounds = [Round(root) for root in roots]
        self._publish, self._changed = publish, changed

    @property
    def is_pressed(self) -> bool:
        """Whether there is more to be had of a rescan at once."""
        more = [one.is_under_way and one.took_s > 0.0 and not one.root.is_silent for one in self.rounds]
        return any(more) or any(one.is_in for one in self.rounds)

    @property
    def due_s(self) -> float:
        """Return when the next is due."""
        return min(one.due_s for one in self.rounds)

    @property
    def looked_s(self) -> float:
        """Return when the oldest of the last whole rescans began."""
        return min(one.looked_s for one in self.rounds)

    def begin(self, now_s: float, now_utc: str) -> None:
        """Begin what is due, and wait a little for it."""
        begun = [one for one in self.rounds if one.due_s <= now_s]
        for one in begun:
            one.begin(now_s, now_utc)
        linger([one.root for one in begun], LINGER_S)

    def go_on(self) -> list[Round]:
        """Take in what has come; returns the rounds that are whole, or ended in an outage.

        Raises
        ------
        EnvironmentFault
            If what was found cannot be published now; it is not lost, and the rest is taken in at the next call.
        """
        for one in self.rounds:
            end_s = time.monotonic() + TAKE_S
            while one.is_under_way and not one.is_in and self._take(one) and time.monotonic() < end_s:
                pass
        return [one for one in self.rounds if one.is_in]

    def hint(self) -> None:
        """Something may have landed."""
        for one in self.rounds:
            one.hint()

    def now(self) -> None:
        """Have all looked through anew as soon as can be."""
        for one in self.rounds:
            one.next_s = 0.0

    def _take(self, one: Round) -> bool:
        """Take in a page; returns whether there was one."""
        start_s = time.monotonic()
        page = one.root.page(LINGER_S if one.took_s else 0.0)  # after the first one the next is soon there
        if page is None:
            return False
        start_s = max(start_s, page.came_s)
        one.is_in = page.is_last
        if page.changed:
            self._changed(one.start_s)
        self._publish(page.said)
        one.took_s += page.scan_s + time.monotonic() - start_s
        return True


def linger(roots: Sequence[Root], timeout_s: float) -> None:
    """Wait until one of these roots' scanners has answered, if one was asked; no longer than that."""
    asked = [root.scanner.channel for root in roots if root.is_asked and root.scanner.channel is not None]
    if asked and timeout_s > 0.0:
        child.wait_for_any(asked, timeout_s)
