"""What a particle or micrograph STAR file holds, as arrays in cryoframe's names; no reading or writing here."""

from __future__ import annotations

from collections.abc import Sized
from dataclasses import dataclass, field
from typing import Any, Literal

from numpy.typing import NDArray

from cryoframe.errors import InvalidInput, SchemaError

OpticsValue = float | int | str
OpticsGroup = dict[str, OpticsValue]
Column = NDArray[Any]
Dialect = Literal["3.0", "3.1", "coordinates"]


@dataclass(frozen=True)
class ParticleRecords:
    """Rows of a particle or micrograph STAR file.

    ``columns`` are arrays of equal length: float64, integers, or objects (text). Beyond the columns of
    ``star_schema`` there are ``stack``, ``stack_index`` (from 0), ``optics_group`` (its name) and, where the file
    knows them, ``pixel_size_A`` and ``box_px``. ``class_id`` counts from 0, so RELION's class 0 (none) is -1.
    """

    columns: dict[str, Column]
    optics: list[OpticsGroup]
    unmapped: dict[str, list[str]] = field(default_factory=dict)
    """Columns without a name here, as text, under RELION's name."""
    dialect: Dialect = "3.1"
    flags: tuple[str, ...] = ()

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        columns: list[Sized] = [*self.columns.values(), *self.unmapped.values()]
        return max((len(column) for column in columns), default=0)

    def optics_of(self, name: str) -> OpticsGroup:
        """Return the optics group called `name`."""
        for group in self.optics:
            if group["optics_group"] == name:
                return group
        raise SchemaError(f"no optics group {name!r}", expected=", ".join(str(g["optics_group"]) for g in self.optics))


def zernike(text: str) -> tuple[float, ...]:
    """Read RELION's ``[a,b,c]`` list of coefficients."""
    inner = text.strip()
    if not (inner.startswith("[") and inner.endswith("]")):
        raise InvalidInput(f"coefficients {text!r}", expected="[a,b,c]")
    try:
        return tuple(float(part) for part in inner[1:-1].split(",") if part.strip())
    except ValueError:
        raise InvalidInput(f"coefficients {text!r}", expected="[a,b,c] of decimal numbers") from None
