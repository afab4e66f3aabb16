"""Checks of a result's form: class, columns, units, finite numbers, identities, half-sets; not of its truth."""

from __future__ import annotations

from typing import Any

import numpy as np

from cryoframe.data.frames import foreign_columns
from cryoframe.data.tables import ParticleTable
from cryoframe.errors import CryoframeError, SchemaError
from cryoframe.testing import anatomy
from cryoframe.testing.checks.promise import Check, fail
from cryoframe.testing.sessions import Session

KERNEL_OWNED = ("half", "micrograph_id", "optics_group")
#: Values that are rightly NaN: whole-frame rows of motion, curves without a mask.
_MAY_BE_NAN = ("patch_x_A", "patch_y_A", "fsc_masked", "fsc_corrected")
#: Stages that may leave particles out by their nature.
MAY_DROP = ("select_particles", "extract_particles")


def runs(session: Session) -> None:
    """A call on the nominal phantom returns."""
    try:
        session.nominal()
    except CryoframeError:
        raise
    except Exception as error:
        fail(f"it raised {type(error).__name__}: {error}", expected=session.spec.produces.__name__)


def result_type(session: Session) -> None:
    """The result is of the class the hookspec promises, its arrays of the declared type and shape."""
    result = session.nominal().result
    if type(result) is not session.spec.produces:
        fail(f"it returns a {type(result).__name__}", expected=session.spec.produces.__name__)
    for place, part in anatomy.parts(result):
        if isinstance(part, np.ndarray) and part.dtype.kind == "f" and part.dtype != np.float32:
            fail(f"{place} is {part.dtype}", expected="float32", remedy="array.astype(np.float32)")
    images, table = getattr(result, "images", None), anatomy.particles_of(result)
    if images is not None and table is not None and len(images) != len(table):
        fail(f"{len(images)} images for {len(table)} rows", expected="as many")


def schema_valid(session: Session) -> None:
    """Tables keep their schema: groups whole, types right, keys unique; the kernel accepts the result."""
    done = session.nominal()
    for place, table in anatomy.tables(done.result):
        try:
            table.check(partial=isinstance(table, ParticleTable))
        except SchemaError as error:
            fail(f"{place}: {error}")
    if type(done.result) is session.spec.produces:
        try:
            session.accept(done.result, listener=done.listener)
        except CryoframeError as error:
            fail(f"the kernel refuses the result: {error}")


def columns_declared(session: Session) -> None:
    """Every column is declared with its type and unit: by the schema, by the plugin's convention, or by the plugin."""
    foreign = {column.name for column in foreign_columns(session.plugin.convention)}
    for place, table in anatomy.tables(session.nominal().result):
        declared = table.schema.columns
        for name in table.names:
            field = table.arrow.schema.field(name)
            stated = {key.decode() for key in (field.metadata or {})}
            if name not in declared and name not in foreign and "doc" not in stated:
                fail(
                    f"{place} has an undeclared column '{name}'",
                    remedy="from_columns(…, extra=[Column(name, dtype, doc)]) with the unit in the name.",
                )
            wanted = (
                {"float32": "float", "float64": "double"}.get(declared[name].dtype, declared[name].dtype)
                if (name in declared)
                else str(field.type)
            )
            if str(field.type) != wanted:
                fail(f"{place} column '{name}' is {field.type}", expected=wanted)


def finite(session: Session) -> None:
    """Every number of the result is finite."""
    _finite(session.nominal().result)


def _finite(result: Any) -> None:
    for place, array in anatomy.arrays(result):
        named = place.rpartition("column ")[2].strip("'")
        if array.dtype.kind == "f" and named not in _MAY_BE_NAN and not np.isfinite(array).all():
            n_bad = int(array.size - np.isfinite(array).sum())
            fail(f"{n_bad} of {array.size} values of {place} are not finite", remedy="Find the division by zero.")
    for place, part in anatomy.parts(result):
        if isinstance(part, float) and not np.isfinite(part):
            fail(f"{place} is {part}", expected="a finite number")


def ids_preserved(session: Session) -> None:
    """Particles come back under their own identity: none invented, none twice, none lost without a word."""
    done = session.nominal()
    table, given = anatomy.particles_of(done.result), _given(session)
    if table is None or given is None:
        return
    if "particle_id" not in table.names:
        fail("its particles have no column 'particle_id'", remedy="Carry the column over from the input.")
    known, found = set(given.column("particle_id").tolist()), table.column("particle_id").tolist()
    if len(set(found)) != len(found):
        fail(f"{len(found) - len(set(found))} identities come twice", expected="each particle once")
    if strangers := set(found) - known:
        fail(f"{len(strangers)} of {len(found)} identities were not handed in", expected="only those of the input")
    lost = known - set(found) - set(done.listener.dropped)
    if lost and session.hook not in MAY_DROP:
        fail(f"{len(lost)} of {len(known)} particles are gone without a word", remedy="Say it: ctx.drop(ids, reason).")
    if lost and session.hook == "extract_particles":
        fail(f"{len(lost)} particles far from every edge are gone", remedy="Say it: ctx.drop(ids, reason).")


def half_column_untouched(session: Session) -> None:
    """Columns that the kernel owns come back as they were: half-set, micrograph, optics group."""
    table, given = anatomy.particles_of(session.nominal().result), _given(session)
    if table is None:
        return
    if given is None:
        if "half" in table.names:
            fail("it assigns half-sets", remedy="Leave the column out; the kernel assigns it once.")
        return
    if "particle_id" not in table.names:
        return
    place = {item: row for row, item in enumerate(given.column("particle_id").tolist())}
    rows = [(row, place[item]) for row, item in enumerate(table.column("particle_id").tolist()) if item in place]
    for name in KERNEL_OWNED:
        if name in table.names and rows:
            mine, theirs = zip(*rows, strict=True)
            changed = int(np.sum(table.column(name)[list(mine)] != given.column(name)[list(theirs)]))
            if changed:
                fail(
                    f"it changed '{name}' of {changed} particles", remedy="Leave that column alone; the kernel owns it."
                )


def judge(session: Session, result: Any, variant: str) -> None:
    """Judge the form of a result on another phantom: class, schema, finite numbers."""
    if type(result) is not session.spec.produces:
        fail(f"with {variant} input it returns a {type(result).__name__}", expected=session.spec.produces.__name__)
    for place, table in anatomy.tables(result):
        try:
            table.check(partial=True)
        except SchemaError as error:
            fail(f"with {variant} input, {place}: {error}")
    _finite(result)


def _given(session: Session) -> ParticleTable | None:
    """Return the particles that were handed in."""
    inputs = session.inputs()
    found = [value for value in inputs.values() if isinstance(value, ParticleTable)]
    return next((anatomy.particles_of(v) for v in [*found, *inputs.values()] if anatomy.particles_of(v)), None)


FIRST = (Check(runs, "time"),)
CHECKS = (
    Check(result_type),
    Check(schema_valid),
    Check(columns_declared),
    Check(finite),
    Check(ids_preserved),
    Check(half_column_untouched),
)
