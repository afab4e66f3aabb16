"""The load tests by name. Runs none."""

from __future__ import annotations

from collections.abc import Iterable
from types import MappingProxyType

from cryoframe.errors import ConfigError, nearest
from cryoframe.testing.soak import demand, full_disk, hours, incomplete, kills, landing, quiet, session, zoo
from cryoframe.testing.soak.score import LoadTest

_TESTS = (
    LoadTest("LT1", "a burst: 100 000 files at 1 000/s", landing.burst),
    LoadTest("LT2", "a share: 20 000 files at 200/s, found by rescans alone", landing.polled),
    LoadTest("LT3", "a burst, and the daemon killed every few seconds", landing.killed),
    LoadTest("LT4", "100 000 files there before the daemon, which is restarted five times", landing.late),
    LoadTest("LT5", "10 000 files that are not whole, or not yet", incomplete.incomplete),
    LoadTest("LT6", "2 000 random kills, and deaths at every named place", kills.kills),
    LoadTest("LT7", "a disk filled 50 times", full_disk.full_disk),
    LoadTest("LT8", "twelve plugins that misbehave beside one that does not, 2 000 tasks", zoo.zoo),
    LoadTest("LT9", "2 000 movies as EPU and SerialEM leave them, and a share that goes", session.session),
    LoadTest("LT10", "hours of it, with a fault a minute (--hours)", hours.hours),
    LoadTest("LT11", "a movie of 10 GB, and 20 of 3 GB at once", demand.big),
    LoadTest("LT12", "arrivals faster than the work: 10 000 files", demand.slow),
    LoadTest("LT13", "the same bytes for any workers, order and kill", kills.determinism),
    LoadTest("overheads", "what idling and an item cost", quiet.overheads),
)
TESTS = MappingProxyType({test.name: test for test in _TESTS})
#: Run only when it is asked for: it takes hours.
LONG = "LT10"


def chosen(names: Iterable[str]) -> list[LoadTest]:
    """Return the tests of those names; without any, all but the long one.

    Raises
    ------
    ConfigError
        If there is none of a name.
    """
    wanted = list(names) or [name for name in TESTS if name != LONG]
    known = {name.lower(): test for name, test in TESTS.items()}
    for name in wanted:
        if name.lower() not in known:
            raise ConfigError(f"no load test is called '{name}'{nearest(name, TESTS)}", expected=", ".join(TESTS))
    return [known[name.lower()] for name in wanted]
