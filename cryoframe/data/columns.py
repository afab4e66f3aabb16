"""What a table column is: name, type, unit, frame, origin, axis order, sign, hand, source. No data here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

from cryoframe.data.units import unit_of
from cryoframe.errors import SchemaError

#: Arrow types a column may have.
DTYPES = ("bool", "uint8", "int32", "int64", "uint64", "float32", "float64", "string")


@dataclass(frozen=True)
class Column:
    """One declared column: documentation, validator and Arrow metadata in one object.

    Parameters
    ----------
    name
        Column name; a physical quantity carries its unit as suffix (:mod:`cryoframe.data.units`).
    dtype
        One of `DTYPES`.
    doc
        One sentence on what the value means.
    unit
        Read from the suffix when left empty.
    frame
        The image or object the value lives in: ``micrograph``, ``box``, ``map``, ``movie``.
    origin
        What zero is, for positions and shifts.
    axis_order
        Which axes, in which order, for values that belong to an axis.
    sign
        What a positive value means.
    handedness
        The hand of rotations or of the frame.
    source
        Where the definition comes from (DOI, program, or "definition").
    """

    name: str
    dtype: str
    doc: str
    unit: str = ""
    frame: str = ""
    origin: str = ""
    axis_order: str = ""
    sign: str = ""
    handedness: str = ""
    source: str = "definition"

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise SchemaError(f"column '{self.name}' has type '{self.dtype}'", expected=f"one of {', '.join(DTYPES)}")
        if not self.unit:
            object.__setattr__(self, "unit", unit_of(self.name))

    def metadata(self) -> dict[str, str]:
        """Return what is written beside the column in Arrow files: every stated property that is not empty."""
        return {
            field.name: text
            for field in fields(self)
            if field.name not in ("name", "dtype") and (text := str(getattr(self, field.name)))
        }


@dataclass(frozen=True)
class ColumnGroup:
    """Columns that are present together or not at all."""

    name: str
    columns: tuple[Column, ...]

    def __iter__(self) -> Iterator[Column]:
        return iter(self.columns)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns, in order."""
        return tuple(column.name for column in self.columns)


@dataclass(frozen=True)
class Schema:
    """A table's declared shape: required and optional groups, and the column that identifies a row."""

    name: str
    version: int
    key: str
    required: tuple[ColumnGroup, ...]
    optional: tuple[ColumnGroup, ...] = ()

    @property
    def columns(self) -> dict[str, Column]:
        """All declared columns by name."""
        return {column.name: column for group in (*self.required, *self.optional) for column in group}

    @property
    def label(self) -> str:
        """``name/version`` as written in Arrow files."""
        return f"{self.name}/{self.version}"

    def group(self, name: str) -> ColumnGroup:
        """Return the group called `name`."""
        for group in (*self.required, *self.optional):
            if group.name == name:
                return group
        raise SchemaError(f"schema {self.label} has no column group '{name}'")
