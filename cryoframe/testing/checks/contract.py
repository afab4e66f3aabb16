"""Checks of what a plugin declares and what importing it costs; nothing of it is called."""

from __future__ import annotations

from cryoframe.errors import CryoframeError
from cryoframe.kernel import contract
from cryoframe.kernel.stage import stage_specs
from cryoframe.testing.checks.promise import Check, fail
from cryoframe.testing.sandbox import Sandbox, Visit
from cryoframe.testing.sessions import Session


def signature(session: Session) -> None:
    """Argument names, product types and the result are those of the hookspec."""
    found = [text for text in contract.faults(session.implementation, session.hook) if "Params" not in text]
    if found:
        fail("; ".join(found), remedy=f"`cryoframe schema {session.hook}` prints the exact signature.")


def params_documented(session: Session) -> None:
    """Params is a frozen dataclass; every field has a default, a doc and, where it is a quantity, a unit."""
    if session.hook not in stage_specs():
        return
    found = contract.params_faults(contract.params_class(session.implementation))
    if found:
        fail(
            "; ".join(found),
            remedy="@dataclass(frozen=True) with `name_unit: float = …  # what it means` in each line.",
        )


def import_cost(session: Session) -> None:
    """Importing the plugin takes little time of its own."""
    limit_s = session.limits.import_s
    seconds = imported(session).report.import_cpu_s
    for _ in range(2):  # other processes share the machine; the cheapest import is the one that measures the plugin
        if seconds > limit_s:
            seconds = min(seconds, _import_again(session).report.import_cpu_s)
    if seconds > limit_s:
        fail(
            f"importing takes {1000 * seconds:.0f} ms of CPU time",
            expected=f"less than {1000 * limit_s:.0f} ms",
            remedy="Import large libraries and read files inside the function that needs them.",
        )


def import_heavy(session: Session) -> None:
    """Importing the plugin loads no compiler, no GPU library and no learning framework."""
    found = imported(session).report.heavy
    if found:
        fail(f"importing it loads {', '.join(found)}", remedy="Import it inside the function that needs it.")


def import_quiet(session: Session) -> None:
    """Importing the plugin prints nothing, writes nothing and leaves logging alone."""
    visit = imported(session)
    if visit.printed.strip():
        fail(f"importing it prints {visit.printed.strip()[:200]!r}", remedy="Use ctx.log inside the stage.")
    if visit.left:
        fail(f"importing it writes {', '.join(visit.left)}", remedy="Write only to ctx.workdir, inside the stage.")
    if visit.report.handlers:
        fail("importing it configures logging", remedy="Leave logging to the program.")


def imported(session: Session) -> Visit:
    """Return the visit in which the plugin was only imported, made once."""
    return session.remember("import", lambda: _import_again(session))


def _import_again(session: Session) -> Visit:
    sandbox = Sandbox(session.fresh_folder("sandbox-import"))
    visit = sandbox.visit(session.any_job(), timeout_s=session.limits.deadline_s, n_calls=0)
    if visit.timed_out:
        fail("importing it does not end", remedy="Do no work at import.")
    if visit.report.error:
        raise CryoframeError(visit.report.error)
    return visit


CHECKS = (
    Check(signature, "nothing"),
    Check(params_documented, "nothing"),
    Check(import_cost, "load"),
    Check(import_heavy, "load"),
    Check(import_quiet, "load"),
)
