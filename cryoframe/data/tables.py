"""Tables: Arrow data with a declared schema. Reading, writing, joining and checking; no meaning of its own."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from cryoframe.data import schemas
from cryoframe.data.columns import Column, Schema
from cryoframe.errors import Corrupt, SchemaError, Unsupported, nearest

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import ArrayLike, NDArray

SCHEMA_KEY = b"cryoframe.schema"


class Table:
    """Rows with declared columns; immutable.

    Parameters
    ----------
    arrow
        The Arrow table. Use :meth:`from_columns`, :meth:`read` or :meth:`empty` rather than this.

    Notes
    -----
    A stage may return a partial table: the key and the columns it changed. `check(partial=True)` accepts that;
    the kernel joins it to what it had.
    """

    schema: ClassVar[Schema]

    def __init__(self, arrow: pa.Table) -> None:
        self.arrow = arrow

    # -- making -----------------------------------------------------------------------------------------
    @classmethod
    def from_columns(cls, columns: Mapping[str, ArrayLike], *, extra: Sequence[Column] = ()) -> Self:
        """Build a table from arrays of equal length; `extra` declares columns beyond the schema.

        Raises
        ------
        SchemaError
            If a column is not declared, has the wrong type, or lengths differ.
        """
        import pyarrow as pa

        declared = cls.schema.columns | {column.name: column for column in extra}
        arrays, fields = [], []
        for name, values in columns.items():
            if name not in declared:
                raise SchemaError(
                    f"{cls.schema.label} has no column '{name}'{nearest(name, declared)}",
                    remedy="Declare it: from_columns(…, extra=[Column(…)]).",
                )
            column = declared[name]
            arrays.append(_to_arrow(values, column))
            fields.append(_field(column))
        lengths = {len(array) for array in arrays}
        if len(lengths) > 1:
            sizes = {name: len(array) for name, array in zip(columns, arrays, strict=True)}
            raise SchemaError(f"columns of {cls.schema.label} differ in length: {sizes}")
        return cls(
            pa.Table.from_arrays(arrays, schema=pa.schema(fields, metadata={SCHEMA_KEY: cls.schema.label.encode()}))
        )

    @classmethod
    def empty(cls, groups: Iterable[str] = ()) -> Self:
        """Return a table of no rows with the required columns and those of the named optional groups."""
        chosen = [*cls.schema.required, *(cls.schema.group(name) for name in groups)]
        return cls.from_columns({column.name: [] for group in chosen for column in group})

    @classmethod
    def concat(cls, tables: Sequence[Self]) -> Self:
        """Stack tables; columns that not all of them have are dropped with their whole group."""
        import pyarrow as pa

        if not tables:
            return cls.empty()
        shared = [name for name in tables[0].names if all(name in table.names for table in tables)]
        joined = pa.concat_tables([table.arrow.select(shared) for table in tables])
        return cls(joined.replace_schema_metadata({SCHEMA_KEY: cls.schema.label.encode()}))

    # -- looking ----------------------------------------------------------------------------------------
    def __len__(self) -> int:
        return int(self.arrow.num_rows)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} rows: {', '.join(self.names)})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Table) and self.schema == other.schema and bool(self.arrow.equals(other.arrow))

    __hash__ = None  # type: ignore[assignment]

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self)

    @property
    def names(self) -> list[str]:
        """Column names in order."""
        return list(self.arrow.column_names)

    def has(self, group: str) -> bool:
        """Whether every column of the group is there."""
        return all(name in self.names for name in self.schema.group(group).names)

    def column(self, name: str) -> NDArray[np.generic]:
        """Return one column as a read-only numpy array; strings as an object array.

        Raises
        ------
        SchemaError
            If the table has no such column, naming the nearest.
        """
        if name not in self.names:
            raise SchemaError(
                f"this {self.schema.label} table has no column '{name}'{nearest(name, self.names)}",
                expected=f"one of {', '.join(self.names)}",
            )
        values = self.arrow.column(name).to_numpy()
        values.flags.writeable = False
        return values  # type: ignore[no-any-return]

    def floats(self, name: str) -> NDArray[np.float64]:
        """Return one numeric column as float64."""
        import numpy as np

        return np.asarray(self.column(name), dtype=np.float64)

    # -- changing (a new table each) ----------------------------------------------------------------------
    def with_columns(self, columns: Mapping[str, ArrayLike], *, extra: Sequence[Column] = ()) -> Self:
        """Return the table with columns added or replaced."""
        added = type(self).from_columns(columns, extra=extra)
        if self.names and len(added) != len(self):
            raise SchemaError(f"{len(added)} values for a table of {len(self)} rows")
        arrow = self.arrow
        for name in added.names:
            field, values = added.arrow.schema.field(name), added.arrow.column(name)
            place = arrow.schema.get_field_index(name)
            arrow = arrow.append_column(field, values) if place < 0 else arrow.set_column(place, field, values)
        return type(self)(arrow)

    def without(self, names: Iterable[str]) -> Self:
        """Return the table without the named columns."""
        dropped = set(names)
        return type(self)(self.arrow.select([name for name in self.names if name not in dropped]))

    def select(self, rows: ArrayLike) -> Self:
        """Return the rows where a boolean array is true, or those of an index array, in that order."""
        import numpy as np
        import pyarrow as pa

        chosen = np.asarray(rows)
        if chosen.dtype == bool:
            chosen = np.flatnonzero(chosen)
        return type(self)(self.arrow.take(pa.array(chosen.astype(np.int64))))

    def join(self, changed: Self) -> Self:
        """Put the columns of `changed` in, row by key; rows that `changed` lacks are dropped, order is kept.

        Raises
        ------
        SchemaError
            If keys repeat or `changed` has a key this table lacks.
        """
        import numpy as np

        key = self.schema.key
        mine, theirs = self.column(key), changed.column(key)
        order = np.argsort(theirs, kind="stable")
        ordered = theirs[order]
        if len(ordered) > 1 and bool(np.any(ordered[1:] == ordered[:-1])):
            raise SchemaError(f"key '{key}' repeats in the table to be joined", expected="each key once")
        place = np.searchsorted(ordered, mine)
        place_in_range = np.minimum(place, max(len(ordered) - 1, 0))
        found = (ordered[place_in_range] == mine) if len(ordered) else np.zeros(len(mine), dtype=bool)
        if int(found.sum()) != len(theirs):
            raise SchemaError(
                f"{len(theirs) - int(found.sum())} of {len(theirs)} keys are unknown to or repeated in the receiver",
                expected="only rows that were handed in",
            )
        kept = self.select(found)
        rows = changed.select(order[place_in_range[found]])
        arrow = kept.arrow
        for name in rows.names:
            if name == key:
                continue
            field, values = rows.arrow.schema.field(name), rows.arrow.column(name)
            at = arrow.schema.get_field_index(name)
            arrow = arrow.append_column(field, values) if at < 0 else arrow.set_column(at, field, values)
        return type(self)(arrow)

    def ordered_like(self, other: Self) -> Self:
        """Return the rows that `other` has too, in the order of `other`, by key."""
        import numpy as np

        place = {item: row for row, item in enumerate(self.column(self.schema.key).tolist())}
        rows = [place[item] for item in other.column(self.schema.key).tolist() if item in place]
        return self.select(np.array(rows, dtype=np.int64))

    # -- checking and keeping ------------------------------------------------------------------------------
    def check(self, *, partial: bool = False) -> None:
        """Check the table against its schema: groups whole, types right, key unique.

        Raises
        ------
        SchemaError
            Naming the first column that is not as declared.
        """
        declared = self.schema.columns
        if not partial:
            for group in self.schema.required:
                missing = [name for name in group.names if name not in self.names]
                if missing:
                    raise SchemaError(
                        f"{self.schema.label} lacks {', '.join(missing)}", expected=f"all of {', '.join(group.names)}"
                    )
        for name in self.names:
            if name in declared and str(self.arrow.schema.field(name).type) != _arrow_name(declared[name].dtype):
                raise SchemaError(
                    f"column '{name}' is {self.arrow.schema.field(name).type}", expected=declared[name].dtype
                )
        key = self.schema.key
        if key and key in self.names and self.arrow.column(key).combine_chunks().unique().__len__() != len(self):
            raise SchemaError(f"key column '{key}' repeats", expected="each row once")

    def write(self, path: Path) -> None:
        """Write an Arrow IPC file."""
        import pyarrow as pa

        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, self.arrow.schema) as writer:
            writer.write_table(self.arrow.combine_chunks())

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read an Arrow IPC file, memory-mapped and fully validated.

        Raises
        ------
        Corrupt
            If the file is not a valid Arrow file (offsets are checked before any value is touched).
        Unsupported
            If its schema or major version is another.
        """
        import pyarrow as pa

        try:
            with pa.memory_map(str(path), "r") as source:
                arrow = pa.ipc.open_file(source).read_all()
            arrow.validate(full=True)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise Corrupt(f"not a valid Arrow file ({error})", path=path, expected=cls.schema.label) from error
        label = (arrow.schema.metadata or {}).get(SCHEMA_KEY, b"").decode(errors="replace")
        if label != cls.schema.label:
            raise Unsupported(
                f"table is '{label or 'of no stated schema'}'",
                path=path,
                expected=cls.schema.label,
                remedy="Upgrade it with `cryoframe schema --upgrade FILE`.",
            )
        return cls(arrow)


def _arrow_name(dtype: str) -> str:
    return {"float32": "float", "float64": "double"}.get(dtype, dtype)


def _field(column: Column) -> pa.Field:
    import pyarrow as pa

    kind = pa.string() if column.dtype == "string" else pa.type_for_alias(column.dtype)
    return pa.field(column.name, kind, metadata={k: v.encode() for k, v in column.metadata().items()})


def _to_arrow(values: ArrayLike, column: Column) -> pa.Array:
    import numpy as np
    import pyarrow as pa

    if column.dtype == "string":
        return pa.array([str(value) for value in np.asarray(values, dtype=object).ravel()], type=pa.string())
    array = np.asarray(values)
    if array.ndim != 1:
        raise SchemaError(f"column '{column.name}' has {array.ndim} dimensions", expected="one value a row")
    wanted = np.dtype(column.dtype)
    if array.size and not np.can_cast(array.dtype, wanted, casting="same_kind"):
        whole = (
            array.dtype.kind in "iu"
            and wanted.kind in "iu"
            and int(array.min()) >= int(np.iinfo(wanted).min)
            and int(array.max()) <= int(np.iinfo(wanted).max)
        )
        if not whole:
            raise SchemaError(f"column '{column.name}' got {array.dtype} values", expected=column.dtype)
    return pa.array(np.ascontiguousarray(array.astype(wanted)))


class ParticleTable(Table):
    """One row a particle: identity, and as far as known position, image, CTF, pose, class."""

    schema = schemas.PARTICLES


class MotionTable(Table):
    """Shift of each frame, for the whole frame (patch NaN) and for patches."""

    schema = schemas.MOTION


class CtfTable(Table):
    """One CTF fit a row, by micrograph."""

    schema = schemas.CTF_FITS


class ClassTable(Table):
    """One class a row."""

    schema = schemas.CLASSES


class FscTable(Table):
    """A Fourier shell correlation curve."""

    schema = schemas.FSC

    @classmethod
    def of_shells(cls, frequency_1_A: ArrayLike, n_samples: ArrayLike, **curves: ArrayLike) -> Self:
        """Build the table from shells of the full transform; a curve that is not given is NaN."""
        import numpy as np

        nothing = np.full(np.shape(frequency_1_A), np.nan)
        columns = {name: nothing for name in ("fsc_unmasked", "fsc_masked", "fsc_corrected")} | curves
        rows = {name: np.asarray(one, np.float32) for name, one in ({"frequency_1_A": frequency_1_A} | columns).items()}
        # Hermitian mates count once in the table and twice in the transform.
        return cls.from_columns(rows | {"n_voxels": np.rint(np.asarray(n_samples) / 2).astype(np.int64)})

    def resolution_A(self, threshold: float = 0.143, *, curve: str = "fsc_unmasked") -> float:
        """Spacing where the curve first falls below `threshold`, linear between shells; Nyquist if it never does.

        A shell without a value is below; a curve without any raises SchemaError.
        """
        import numpy as np

        frequency, fsc = self.floats("frequency_1_A"), self.floats(curve)
        if not np.isfinite(fsc).any():
            raise SchemaError(f"this table holds no values of {curve}", expected="a curve that was computed")
        below = np.flatnonzero(~(fsc >= threshold) & (frequency > 0))
        at = int(below[0]) if len(below) else -1
        if at <= 0 or frequency[at - 1] <= 0 or not np.isfinite(fsc[at]):
            return float(1.0 / frequency[at])
        step = (fsc[at - 1] - threshold) / (fsc[at - 1] - fsc[at])
        return float(1.0 / (frequency[at - 1] + step * (frequency[at] - frequency[at - 1])))


class IterationTable(Table):
    """What each iteration of a refinement reached."""

    schema = schemas.ITERATIONS


class ExposureTable(Table):
    """One micrograph a row, from landing to verdict; what is not known of it is a null."""

    schema = schemas.EXPOSURES

    @classmethod
    def from_rows(cls, rows: Sequence[Mapping[str, str | int | float | bool | None]]) -> Self:
        """Build the table from what is known of each micrograph; other names than the columns' are left out."""
        import pyarrow as pa

        fields = [_field(column) for column in cls.schema.columns.values()]
        arrays = [pa.array([row.get(field.name) for row in rows], type=field.type) for field in fields]
        metadata = {SCHEMA_KEY: cls.schema.label.encode()}
        return cls(pa.Table.from_arrays(arrays, schema=pa.schema(fields, metadata=metadata)))

    def rows(self) -> list[dict[str, str | int | float | bool | None]]:
        """Return the rows as plain values, nulls as None."""
        return list(self.arrow.to_pylist())


TABLES: tuple[type[Table], ...] = (
    ParticleTable, MotionTable, CtfTable, ClassTable, FscTable, IterationTable, ExposureTable
)  # fmt: skip


def describe(schema: Schema) -> str:
    """Return the schema as JSON text: every column with every stated property (for ``cryoframe schema``)."""
    groups = {
        group.name: {column.name: {"dtype": column.dtype, **column.metadata()} for column in group}
        for group in (*schema.required, *schema.optional)
    }
    return json.dumps({"schema": schema.label, "key": schema.key, "groups": groups}, indent=2, ensure_ascii=False)
