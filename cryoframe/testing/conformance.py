"""The two doors of the kit: `run_checks` for programs, `conformance` for pytest. What is asked lives in ``checks``."""

from __future__ import annotations

import tempfile
import time
import types
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from cryoframe.errors import CryoframeError, PluginError
from cryoframe.kernel.discovery import Offer, scan
from cryoframe.kernel.plugins import Plugins
from cryoframe.testing.limits import Limits

if TYPE_CHECKING:
    from cryoframe.testing.checks.promise import Check
    from cryoframe.testing.sessions import Session


@dataclass(frozen=True)
class CheckResult:
    """One answered check."""

    check: str
    passed: bool
    message: str
    seconds: float


def run_checks(
    hook: str,
    name: str,
    *,
    offers: Iterable[Offer] | None = None,
    params: Mapping[str, object] | None = None,
    limits: Limits | None = None,
    only: Collection[str] = (),
) -> list[CheckResult]:
    """Ask an implementation everything the kit asks of its hook.

    Parameters
    ----------
    hook, name
        Which implementation; `name` may be ``distribution/name``.
    offers
        What is offered; by default everything installed.
    params
        Parameters to set besides those the phantom suggests.
    limits
        What is let pass.
    only
        Names of checks; all when empty. Checks that these build on are made too, and returned where they fail.

    Returns
    -------
    One result a check, in the order asked. What could not be asked, because something it builds on failed, is missing.

    Raises
    ------
    PluginError
        If there is no such implementation, or no such check.
    """
    with tempfile.TemporaryDirectory(prefix="cryoframe-check-") as folder:
        kit = Kit(hook, name, Path(folder), offers=offers, params=params or {}, limits=limits or Limits())
        kit.trusting = bool(only) and not _IN_SANDBOX & set(only)
        unknown = set(only) - {check.name for check in kit.checks}
        if unknown:
            names = ", ".join(check.name for check in kit.checks)
            raise PluginError(f"no check of {hook} is called {', '.join(sorted(unknown))}", expected=names)
        wanted = [kit.result(check) for check in kit.checks if not only or check.name in only]
        found = [result for result in wanted if result]
        blamed = [kit.results[check] for check in kit.broken if check not in {r.check for r in found}]
        return [*blamed, *found]


class Kit:
    """All checks of one implementation, each made once, in an order in which nothing is asked in vain."""

    def __init__(
        self,
        hook: str,
        name: str,
        folder: Path,
        *,
        offers: Iterable[Offer] | None = None,
        params: Mapping[str, object] = types.MappingProxyType({}),
        limits: Limits | None = None,
    ) -> None:
        from cryoframe.testing.sessions import Session

        plugins = Plugins(scan() if offers is None else _with_readers(offers))
        offer = plugins.select(hook, name)
        self.session: Session = Session(plugins, offer, folder, limits or Limits(), params)
        self.checks: tuple[Check, ...] = checks_of(hook)
        self.results: dict[str, CheckResult] = {}
        #: Call the plugin here without having seen it come back elsewhere: for a few chosen checks.
        self.trusting = False
        #: Failed checks that others build on.
        self.broken: list[str] = []

    def result(self, check: Check) -> CheckResult | None:
        """Return a check's result, or None when something it builds on has failed."""
        for earlier in self.checks:
            if _builds_on(check, earlier) and not (self.trusting and earlier.name in _IN_SANDBOX):
                foundation = self.result(earlier)
                if foundation is None or not foundation.passed:
                    return None
        return self._ask(check)

    def _ask(self, check: Check) -> CheckResult:
        if check.name not in self.results:
            begun = time.perf_counter()
            passed, message = _answer(check, self.session)
            self.results[check.name] = CheckResult(check.name, passed, message, time.perf_counter() - begun)
            if not passed and check.name in _FOUNDATIONS:
                self.broken.append(check.name)
        return self.results[check.name]


#: Checks that others build on → what they make possible; what depends on a failed one is not asked.
_FOUNDATIONS = types.MappingProxyType(
    {"signature": "load", "params_documented": "load", "time_bounded": "time", "runs": "call"}
)
#: Checks for which the plugin is called in a process of its own.
_IN_SANDBOX = frozenset(
    {
        "time_bounded",
        "works_in_a_worker",
        "nothing_printed",
        "nothing_outside_workdir",
        "nothing_left_running",
        "memory_growth",
        "kill_and_resume",
    }
)
_LEVELS = ("nothing", "load", "time", "call")
SERVICE_HOOKS = (
    "open_movie", "open_micrograph", "read_metadata", "open_gain",
    "open_specimen", "write_movie", "write_reference", "subscribe", "notify",
    "make_executor",
)  # fmt: skip


def _builds_on(check: Check, earlier: Check) -> bool:
    made_possible = _FOUNDATIONS.get(earlier.name)
    return (
        made_possible is not None
        and check.name != earlier.name
        and _LEVELS.index(check.needs) >= _LEVELS.index(made_possible)
    )


def _answer(check: Check, session: Session) -> tuple[bool, str]:
    """Ask; return whether it passed, and what was wrong or what is now known."""
    from cryoframe.testing.checks.promise import NotAsked

    try:
        check.function(session)
    except NotAsked as reason:
        return True, f"not asked: {reason}"
    except CryoframeError as error:
        return False, str(error)
    except Exception as error:  # whatever a plugin does is the plugin's failure, not the kit's
        return False, f"{type(error).__name__}: {error}"
    return True, check.doc


def checks_of(hook: str) -> tuple[Check, ...]:
    """Return the checks a hook gets, in the order they are made.

    Parameters
    ----------
    hook
        A stage or service.
    """
    from cryoframe.testing import cases
    from cryoframe.testing.checks import (
        boxes_physics,
        cleaning_physics,
        contract,
        ctf_physics,
        devices,
        growing,
        inputs,
        makers,
        manners,
        motion_physics,
        orientation,
        picking_physics,
        results,
        services,
        truth,
    )

    if hook in SERVICE_HOOKS:
        return (*contract.CHECKS, *services.checks_of(hook), *makers.checks_of(hook))
    stage_checks = (
        *manners.FIRST,
        *inputs.FIRST,
        *results.FIRST,
        *results.CHECKS,
        *inputs.CHECKS,
        *manners.CHECKS,
        *orientation.CHECKS,
        *truth.CHECKS,
        *motion_physics.CHECKS,
        *ctf_physics.CHECKS,
        *cleaning_physics.CHECKS,
        *picking_physics.CHECKS,
        *boxes_physics.CHECKS,
        *growing.CHECKS,
        *devices.CHECKS,
    )
    variants = cases.VARIANTS.get(hook, ())
    called = (check for check in stage_checks if check.variant in variants)
    return tuple(check for check in (*contract.CHECKS, *called) if not check.hooks or hook in check.hooks)


def _with_readers(offers: Iterable[Offer]) -> tuple[Offer, ...]:
    """Add the installed readers, which open the phantom's movie."""
    given = tuple(offers)
    known = {(offer.hook, offer.name) for offer in given}
    readers = (offer for offer in scan() if offer.hook in ("open_movie", "open_micrograph", "open_gain"))
    return (*given, *(offer for offer in readers if (offer.hook, offer.name) not in known))


@dataclass(frozen=True)
class Question:
    """One test of the pytest door."""

    hook: str
    check: str
    expected_failure: str = ""


@dataclass
class Examination:
    """What the tests of one `conformance(…)` share: a kit a hook, made when first needed."""

    name: str
    questions: tuple[Question, ...]
    params: Mapping[str, object]
    limits: Limits
    offers: Iterable[Offer] | None
    kits: dict[str, Kit] = field(default_factory=dict)

    def answer(self, question: Question, make_folder: Callable[[], Path]) -> None:
        """Make one check; raise when it fails, or when it passes though it was expected to fail."""
        if question.hook not in self.kits:
            self.kits[question.hook] = Kit(
                question.hook, self.name, make_folder(), offers=self.offers, params=self.params, limits=self.limits
            )
        kit = self.kits[question.hook]
        check = next(check for check in kit.checks if check.name == question.check)
        result = kit.result(check)
        assert result is not None, f"{check.name} was not asked, because {' and '.join(kit.broken)} failed"
        if question.expected_failure:
            assert not result.passed, f"{check.name} passes; it was expected to fail: {question.expected_failure}"
            return
        assert result.passed, result.message


def conformance(
    name: str,
    hook: str | None = None,
    *,
    offers: Iterable[Offer] | None = None,
    params: Mapping[str, object] | None = None,
    limits: Limits | None = None,
    expected_failures: Mapping[str, str] | None = None,
) -> Callable[..., None]:
    """Return a pytest test of every check of every hook an implementation offers: one line in a plugin's test file.

    Parameters
    ----------
    name
        The implementation; ``test_conformance = conformance("acme")``.
    hook
        Only this hook, where the name is offered for several.
    offers, params, limits
        As in :func:`run_checks`.
    expected_failures
        check → reason; such a check has to fail, and the reason is shown.

    Raises
    ------
    PluginError
        If nothing is offered under the name.
    """
    from cryoframe.testing.pytest_plugin import parametrised

    known = tuple(offers) if offers is not None else scan()
    hooks = [hook] if hook else sorted({o.hook for o in known if name in (o.name, o.qualified) and not o.wrapper})
    if not hooks:
        raise PluginError(f"nothing is offered under the name '{name}'", remedy="`cryoframe plugins` lists what is.")
    excused = expected_failures or {}
    questions = tuple(
        Question(each, check.name, excused.get(check.name, "")) for each in hooks for check in checks_of(each)
    )
    return parametrised(Examination(name, questions, params or {}, limits or Limits(), offers))
