"""Conventions a plugin may declare, and the converters between them and the house's; pure column arithmetic.

The house's own convention is ``Convention()``; ``CONVENTIONS.md`` states it in words. A plugin that sets
``CONVENTION = Convention(position_unit="px", y_axis="down", origin="corner")`` receives and returns just that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cryoframe.data.columns import Column
from cryoframe.data.schemas import PARTICLES
from cryoframe.data.tables import ParticleTable
from cryoframe.errors import ContractError, SchemaError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

CHOICES: Final = {
    "position_unit": ("A", "px"),
    "y_axis": ("down", "up"),
    "origin": ("pixel", "corner", "centre"),
    "shift_sign": ("to_image", "of_particle"),
    "shift_unit": ("A", "px"),
    "defocus_sign": ("underfocus_positive", "underfocus_negative"),
    "defocus_unit": ("A", "um"),
    "angle_unit": ("deg", "rad"),
    "euler_sense": ("relion", "inverse"),
}


@dataclass(frozen=True)
class Convention:
    """How a plugin writes positions, shifts, defocus and angles; the defaults are the house's.

    Parameters
    ----------
    position_unit
        ``A`` (columns ``x_A``, ``y_A``) or ``px`` (``x_px``, ``y_px``).
    y_axis
        ``down``: y grows with the row index, row 0 is drawn on top. ``up``: row 0 is at the bottom of a picture
        whose y grows upwards *from the last row*, i.e. y counts rows from the end.
    origin
        ``pixel``: centre of the first pixel is 0. ``corner``: outer corner of the first pixel is 0 (its centre is
        0.5 px). ``centre``: the image's centre pixel n//2 is 0.
    shift_sign
        ``to_image``: translation applied to the image (RELION). ``of_particle``: where the particle sits.
    shift_unit, defocus_unit, angle_unit
        Units of shifts, defocus and of every angle column.
    defocus_sign
        Which sign underfocus has.
    euler_sense
        ``relion``, or ``inverse`` for the transposed rotation: (rot, tilt, psi) → (-psi, -tilt, -rot).
    """

    position_unit: str = "A"
    y_axis: str = "down"
    origin: str = "pixel"
    shift_sign: str = "to_image"
    shift_unit: str = "A"
    defocus_sign: str = "underfocus_positive"
    defocus_unit: str = "A"
    angle_unit: str = "deg"
    euler_sense: str = "relion"

    def __post_init__(self) -> None:
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ContractError(f"CONVENTION.{name} is '{getattr(self, name)}'", expected=f"one of {allowed}")

    def particles(self, **columns: ArrayLike) -> ParticleTable:
        """Return a particle table in this convention: ``CONVENTION.particles(x_px=…, y_px=…, figure_of_merit=…)``."""
        return ParticleTable.from_columns(columns, extra=foreign_columns(self))


@dataclass(frozen=True)
class ImageGeometry:
    """Shape and pixel of the image that positions refer to."""

    shape_px: tuple[int, int]
    pixel_size_A: float


Columns = dict[str, "NDArray[np.float64]"]
#: One step: columns, convention, geometry, whether towards the house → columns.
Converter = Callable[[Columns, Convention, ImageGeometry, bool], Columns]
_ANGLES = ("rot_deg", "tilt_deg", "psi_deg", "defocus_angle_deg", "phase_shift_deg")
_DEFOCI = ("defocus_u_A", "defocus_v_A")


def _axis_map(convention: Convention, n: int, *, flips: bool) -> tuple[float, float]:
    """Return (sign, offset) such that theirs = sign · index + offset, in pixels."""
    sign, offset = (-1.0, float(n - 1)) if flips else (1.0, 0.0)
    if convention.origin == "corner":
        offset += 0.5
    elif convention.origin == "centre":
        offset -= n // 2 if not flips else n - 1 - n // 2
    return sign, offset


def positions(columns: Columns, convention: Convention, geometry: ImageGeometry, home: bool) -> Columns:
    """Convert ``x``, ``y``."""
    unit, pixel = convention.position_unit, geometry.pixel_size_A
    ny, nx = geometry.shape_px
    out = dict(columns)
    for axis, n, flips in (("x", nx, False), ("y", ny, convention.y_axis == "up")):
        sign, offset = _axis_map(convention, n, flips=flips)
        scale = 1.0 if unit == "px" else pixel
        source, target = (f"{axis}_{unit}", f"{axis}_A") if home else (f"{axis}_A", f"{axis}_{unit}")
        if source in out:
            value = out.pop(source)
            out[target] = (value / scale - offset) / sign * pixel if home else (sign * value / pixel + offset) * scale
    return out


def shifts(columns: Columns, convention: Convention, geometry: ImageGeometry, home: bool) -> Columns:
    """Convert ``shift_x``, ``shift_y``."""
    out = dict(columns)
    scale = (1.0 / geometry.pixel_size_A) if convention.shift_unit == "px" else 1.0
    if convention.shift_sign == "of_particle":
        scale = -scale
    for axis in "xy":
        theirs = f"shift_{axis}_{convention.shift_unit}"
        source, target = (theirs, f"shift_{axis}_A") if home else (f"shift_{axis}_A", theirs)
        if source in out:
            out[target] = out.pop(source) * (1 / scale if home else scale)
    return out


def defocus(columns: Columns, convention: Convention, geometry: ImageGeometry, home: bool) -> Columns:
    """Convert ``defocus_u``, ``defocus_v``."""
    del geometry
    scale = (1e-4 if convention.defocus_unit == "um" else 1.0) * (
        -1.0 if convention.defocus_sign == "underfocus_negative" else 1.0
    )
    out = dict(columns)
    for name in _DEFOCI:
        theirs = name[:-1] + convention.defocus_unit
        source, target = (theirs, name) if home else (name, theirs)
        if source in out:
            out[target] = out.pop(source) * (1 / scale if home else scale)
    return out


def angles(columns: Columns, convention: Convention, geometry: ImageGeometry, home: bool) -> Columns:
    """Convert the unit of angles, then the sense of the Euler triple."""
    import math

    del geometry
    out = dict(columns)
    scale = math.pi / 180 if convention.angle_unit == "rad" else 1.0
    for name in _ANGLES:
        theirs = name[:-3] + convention.angle_unit
        source, target = (theirs, name) if home else (name, theirs)
        if source in out:
            out[target] = out.pop(source) * (1 / scale if home else scale)
    rot, tilt, psi = (f"{name}_{'deg' if home else convention.angle_unit}" for name in ("rot", "tilt", "psi"))
    if convention.euler_sense == "inverse" and rot in out:
        out[rot], out[tilt], out[psi] = -out[psi], -out[tilt], -out[rot]
    return out


#: The registered converters, composed in this order.
CONVERTERS: Final[tuple[Converter, ...]] = (positions, shifts, defocus, angles)


def to_plugin(table: ParticleTable, convention: Convention, geometry: ImageGeometry) -> ParticleTable:
    """Return the table as a plugin of this convention wants it: columns renamed and converted."""
    return _convert(table, convention, geometry, home=False)


def from_plugin(table: ParticleTable, convention: Convention, geometry: ImageGeometry) -> ParticleTable:
    """Return a plugin's table in the house's convention.

    Raises
    ------
    SchemaError
        If a converted column is not one of the house's.
    """
    return _convert(table, convention, geometry, home=True)


def foreign_columns(convention: Convention) -> tuple[Column, ...]:
    """Columns a plugin of this convention may return beyond the house's own."""
    names = [f"{axis}_{convention.position_unit}" for axis in "xy"]
    names += [f"shift_{axis}_{convention.shift_unit}" for axis in "xy"]
    names += [name[:-1] + convention.defocus_unit for name in _DEFOCI]
    names += [name[:-3] + convention.angle_unit for name in _ANGLES]
    declared = PARTICLES.columns
    return tuple(Column(name, "float32", "In the plugin's own convention.") for name in names if name not in declared)


def _convert(table: ParticleTable, convention: Convention, geometry: ImageGeometry, *, home: bool) -> ParticleTable:
    import numpy as np

    if convention == Convention():
        return table
    declared = PARTICLES.columns
    foreign = {column.name: column for column in foreign_columns(convention)}
    converted: Columns = {
        name: table.floats(name)
        for name in table.names
        if (name in foreign) or (name in declared and declared[name].dtype.startswith("float"))
    }
    before = dict(converted)
    for step in CONVERTERS if not home else reversed(CONVERTERS):
        converted = step(converted, convention, geometry, home)
    if home and (stray := [name for name in converted if name not in declared]):
        raise SchemaError(f"columns {stray} cannot be converted to the house's convention")
    result = table.without([name for name in before if name not in converted])
    changed = {
        name: values.astype(np.float32)
        for name, values in converted.items()
        if name not in before or values is not before[name]
    }
    return result.with_columns(changed, extra=() if home else tuple(foreign.values())) if changed else result
