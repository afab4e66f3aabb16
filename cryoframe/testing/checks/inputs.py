"""Checks of what a plugin does with its inputs: leaves them alone, and copes with few, many, none and broken ones."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np

from cryoframe.errors import ConformanceError, CryoframeError
from cryoframe.testing import anatomy
from cryoframe.testing.checks.promise import Check, fail
from cryoframe.testing.checks.results import judge
from cryoframe.testing.fakes import Listener
from cryoframe.testing.sessions import Session

WITH_ROWS = (
    "extract_particles",
    "classify_2d",
    "select_particles",
    "make_initial_volume",
    "classify_3d",
    "refine_3d",
    "refine_ctf",
    "analyse_heterogeneity",
)
OF_MICROGRAPHS = ("estimate_ctf", "clean_micrograph", "pick_particles", "extract_particles")
#: Where an image lies, which may well depend on the order.
_ADDRESSES = ("stack", "stack_index")
#: Stages that hand on every particle they are given.
KEEP_ALL = ("extract_particles", "classify_2d", "classify_3d", "refine_3d", "refine_ctf")


def inputs_read_only(session: Session) -> None:
    """Inputs arrive read-only and the plugin does not mind."""
    if session.read_only_error:
        fail(
            f"it writes into its inputs: {session.read_only_error}", remedy="Work on a copy: np.array(micrograph.data)."
        )


def inputs_unchanged(session: Session) -> None:
    """Inputs that could be written to are the same after the call, in memory and on disk."""
    on_disk, given = session.input_files(), session.copies()
    before = {name: anatomy.fingerprint(value) for name, value in given.items()}
    session.remember("second call", lambda: session.call(inputs=given))
    changed = [name for name, value in given.items() if anatomy.fingerprint(value) != before[name]]
    if changed:
        fail(f"it changed {', '.join(changed)} in memory", remedy="Work on a copy.")
    if session.input_files() != on_disk:
        fail("it changed the files its inputs lie in", remedy="Inputs are read-only; write to ctx.workdir.")


def same_seed_same_bytes(session: Session) -> None:
    """Called again with the same seed, it returns the same bytes."""
    again = session.remember("second call", lambda: session.call(inputs=session.copies()))
    _same(session.nominal().result, again, "a second call")


def worker_count_same_bytes(session: Session) -> None:
    """Its result does not depend on the number of threads."""
    for n_threads in (2, 4):
        result = session.call(n_threads=n_threads, inputs=session.suited())
        _same(session.nominal().result, result, f"a call with ctx.n_threads = {n_threads}")


def _same(first: object, second: object, what: str) -> None:
    if anatomy.fingerprint(first) != anatomy.fingerprint(second):
        fail(
            f"{what} gives another result: {anatomy.first_difference(first, second)}",
            expected="the same bytes",
            remedy="Draw from ctx.rng only, and add floats in an order that does not depend on threads or time.",
        )


def empty_input(session: Session) -> None:
    """Without a particle, or with nothing but background, it returns an empty result or says why it cannot."""
    _copes(session, "empty")


def one_item(session: Session) -> None:
    """With one particle or one frame it returns a result or says why it cannot."""
    result = _copes(session, "one")
    if result is not None and session.hook == "pick_particles" and len(result) > 3:
        fail(f"{len(result)} picks on a micrograph of one particle", expected="about one")


def duplicate_item(session: Session) -> None:
    """The same image twice under two identities gives two rows; only extraction may drop one, and says so."""
    listener = Listener()
    result = _copes(session, "duplicate", listener)
    table = anatomy.particles_of(result)
    if table is None or session.hook not in KEEP_ALL:
        return
    given = anatomy.particles_of(next(iter_particles(session.inputs("duplicate"))))
    said = set(listener.dropped) if session.hook == "extract_particles" else set()
    missing = len(set(_ids(given)) - set(_ids(table)) - said)
    if missing:
        fail(f"{missing} of {len(given or ())} particles are gone where one image comes twice", expected="none")


def bad_item_refused_clearly(session: Session) -> None:
    """An image that is not a number is refused in words, or left out and said so; never answered with an invention."""
    listener = Listener()
    try:
        result = session.call("bad", listener=listener, inputs=session.suited("bad"))
    except CryoframeError as error:
        if isinstance(error, ConformanceError):
            raise
        if not (error.expected or error.remedy):
            fail(f"it refuses with '{error}' alone", remedy="Say what was expected, or what to do.")
        return
    except Exception as error:
        fail(
            f"it falls over with {type(error).__name__}: {error}",
            remedy="Check the input and raise cryoframe.errors.InvalidInput(what, expected=…, remedy=…).",
        )
    _no_invention(session, result, listener)


def impossible_image_refused(session: Session) -> None:
    """A pixel of no size, one row, and one infinite pixel are refused in words."""
    inputs = dict(session.copies())
    image = inputs["micrograph"]
    infinite = np.array(image.data)
    infinite[3, 5] = np.inf
    for name, spoilt in (
        ("a pixel of 0 Å", replace(image, pixel_size_A=0.0)),
        ("a micrograph of one row", replace(image, data=np.array(image.data[:1]))),
        ("an infinite pixel", replace(image, data=infinite)),
    ):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # arithmetic with an infinite pixel warns, and that is no fault
                result = session.call(inputs={**inputs, "micrograph": spoilt})
        except ConformanceError:
            raise
        except CryoframeError as error:
            if not (error.expected or error.remedy):
                fail(f"it refuses {name} with '{error}' alone", remedy="Say what was expected, or what to do.")
            continue
        except Exception as error:
            fail(
                f"over {name} it falls with {type(error).__name__}: {error}",
                remedy="Check the input and raise cryoframe.errors.InvalidInput(what, expected=…, remedy=…).",
            )
        if name != "an infinite pixel":
            fail(f"it returns a {type(result).__name__} for {name}", remedy="Raise InvalidInput.")
        judge(session, result, name)


def _no_invention(session: Session, result: Any, listener: Listener) -> None:
    particles = next(iter_particles(session.inputs("bad")), None)
    stack = session.inputs("bad").get("stack")
    if particles is None or stack is None:
        fail("it returns a result for an input of nothing but NaN", remedy="Raise InvalidInput; see numpy.isfinite.")
    bad = set(_ids(anatomy.particles_of(particles))[3:4])
    table = anatomy.particles_of(result)
    if table is not None and bad & set(_ids(table)) and not bad & set(listener.dropped):
        fail("it returns a row for an image of nothing but NaN", remedy="Drop it with ctx.drop, or raise InvalidInput.")
    judge(session, result, "bad")


def rows_reordered(session: Session) -> None:
    """The order of its rows does not change what it says of each particle."""
    one, other = session.house_result(), session.house_result("reordered")
    a, b = anatomy.particles_of(one), anatomy.particles_of(other)
    if a is None or b is None:
        return
    if set(_ids(a)) != set(_ids(b)):
        fail("with its rows in another order it returns other particles", remedy="Decide by values, never by position.")
    place = {item: row for row, item in enumerate(_ids(b))}
    rows = [place[item] for item in _ids(a)]
    allowed = 0.0 if session.spec.over != "set" else session.limits.order_frac
    for name in (name for name in a.names if name not in _ADDRESSES):
        changed = _changed(a.column(name), b.select(rows).column(name), is_label=name == "class_id")
        if changed > allowed:
            fail(
                f"with its rows in another order, '{name}' differs for {100 * changed:.0f} % of the particles",
                expected=f"at most {100 * allowed:g} %",
                remedy="Go by particle_id where order matters.",
            )
    images, others = getattr(one, "images", None), getattr(other, "images", None)
    if images is not None and others is not None and not np.array_equal(images, np.asarray(others)[rows]):
        fail("with its rows in another order, particles have other images", remedy="Keep images and rows together.")


def _changed(a: Any, b: Any, *, is_label: bool) -> float:
    """Fraction of rows that differ; classes may have swapped their numbers."""
    if is_label:
        labels = np.unique(a)
        agree = sum(int(np.unique(b[a == label], return_counts=True)[1].max()) for label in labels)
        return 1.0 - agree / max(len(a), 1)
    if a.dtype.kind != "f":
        return float(np.mean(a != b)) if len(a) else 0.0
    scale = float(np.abs(a).max(initial=1e-6))
    return float(np.mean(~np.isclose(a, b, rtol=1e-3, atol=1e-3 * scale))) if len(a) else 0.0


def _copes(session: Session, variant: str, listener: Listener | None = None) -> Any:
    """Call with a variant; anything but a valid result or a CryoframeError fails the check."""
    try:
        result = session.call(variant, listener=listener, inputs=session.suited(variant))
    except ConformanceError:
        raise
    except CryoframeError:
        return None
    except Exception as error:
        fail(
            f"it falls over with {type(error).__name__}: {error}",
            expected="a result, or an error of cryoframe.errors that says why there is none",
        )
    judge(session, result, variant)
    return result


def iter_particles(inputs: dict[str, Any]) -> Any:
    """Yield the inputs that hold a particle table."""
    return (value for value in inputs.values() if anatomy.particles_of(value) is not None)


def _ids(table: Any) -> list[int]:
    return [] if table is None or "particle_id" not in table.names else table.column("particle_id").tolist()


FIRST = (Check(inputs_read_only, "time"),)
CHECKS = (
    Check(inputs_unchanged),
    Check(same_seed_same_bytes),
    Check(worker_count_same_bytes),
    Check(empty_input, variant="empty"),
    Check(one_item, variant="one"),
    Check(duplicate_item, variant="duplicate"),
    Check(bad_item_refused_clearly, variant="bad"),
    Check(impossible_image_refused, hooks=OF_MICROGRAPHS),
    Check(rows_reordered, hooks=WITH_ROWS, variant="reordered"),
)
