"""The catalogue of faults: each by one name, as data and a small function on a planned exposure. Makes nothing.

A fault of kind ``physics`` changes what is true, ``statement`` what side-cars say, ``camera`` how the sensor answers
against its gain reference, ``files`` what lands.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

import numpy as np

from cryoframe.data.twin import Exposure, Trouble
from cryoframe.errors import ConfigError, nearest
from cryoframe.twin.session import FaultAsked, SessionConfig
from cryoframe.twin.shot import Shot

Kind = Literal["physics", "statement", "camera", "files"]


@dataclass(frozen=True)
class Planned:
    """One exposure as it is, as side-cars state it, and what befalls its movie's file."""

    exposure: Exposure
    shot: Shot
    #: The sensor's sensitivities lie against the gain reference as if it were turned over its rows.
    gain_flipped: bool = False
    #: Share of the movie's file that lands.
    kept_frac: float = 1.0


Change = Callable[[Planned, float, SessionConfig], Planned]


@dataclass(frozen=True)
class Fault:
    """One fault; `value` says how much, between `least` and `largest`, `value_doc` in which words."""

    name: str
    kind: Kind
    doc: str
    change: Change
    value: float = 1.0
    value_doc: str = ""
    least: float = 0.0
    largest: float = 1e6
    #: The value with which it would be no fault at all.
    idle: float = 0.0
    #: Where it is when nobody says where: from the middle of the session on, in one exposure in the middle, or in all.
    where: Literal["from_middle", "middle", "all"] = "middle"


def _exposure(**by_name: Callable[[float, Exposure], object]) -> Change:
    def change(planned: Planned, value: float, _: SessionConfig) -> Planned:
        new = {name: make(value, planned.exposure) for name, make in by_name.items()}
        return replace(planned, exposure=replace(planned.exposure, **new))  # type: ignore[arg-type]

    return change


def _trouble(**by_name: Callable[[float, Exposure], object]) -> Change:
    def trouble(value: float, exposure: Exposure) -> Trouble:
        new = {name: make(value, exposure) for name, make in by_name.items()}
        return replace(exposure.trouble, **new)  # type: ignore[arg-type]

    return _exposure(trouble=trouble)


def _shot(**by_name: Callable[[float, Shot], object]) -> Change:
    def change(planned: Planned, value: float, _: SessionConfig) -> Planned:
        new = {name: make(value, planned.shot) for name, make in by_name.items()}
        return replace(planned, shot=replace(planned.shot, **new))  # type: ignore[arg-type]

    return change


def _flip_gain(planned: Planned, *_: object) -> Planned:
    return replace(planned, gain_flipped=True)


def _lose_slit(planned: Planned, _: float, config: SessionConfig) -> Planned:
    if config.microscope.slit_eV == 0.0:  # negative: a stage that says nothing of its slit
        raise ConfigError(
            f"slit_lost needs an energy slit, and the microscope '{config.microscope.preset}' has none",
            remedy="Choose another [microscope] preset, or set its slit_eV.",
        )
    trouble = replace(planned.exposure.trouble, slit_lost=True)
    return replace(planned, exposure=replace(planned.exposure, trouble=trouble))


def _truncate(planned: Planned, value: float, _: SessionConfig) -> Planned:
    return replace(planned, kept_frac=value)


def _swap_groups(planned: Planned, _: float, config: SessionConfig) -> Planned:
    from cryoframe.twin.plan import place_shift_um, tilt_of_shift

    grid = config.grid
    if grid.shots_per_hole < 2:
        raise ConfigError(
            "beam_tilt_swapped needs places to swap, and each hole has one exposure",
            remedy="Set [grid] shots_per_hole to 2 or more.",
        )
    other = grid.shots_per_hole - 1 - planned.shot.place_in_hole
    if other == planned.shot.place_in_hole:  # the middle one of an odd number has nobody to swap with
        other = 0
    shift = place_shift_um(grid, other)
    return replace(planned, shot=replace(planned.shot, image_shift_um=shift, beam_tilt_mrad=tilt_of_shift(grid, shift)))


def _block(value: float, exposure: Exposure) -> tuple[int, int, int, int]:
    ny, nx = exposure.shape_px
    rows, columns = max(1, round(value * ny)), max(1, round(value * nx))
    return (ny // 3, nx // 3, min(rows, ny - ny // 3), min(columns, nx - nx // 3))


_ALL: tuple[Fault, ...] = (
    Fault("gain_flipped", "camera", "The gain reference lies turned over its rows against the sensor.", _flip_gain,
          where="from_middle", least=1.0, largest=1.0),
    Fault("wrong_pixel_size", "statement", "Side-cars and headers state another pixel size than the true one.",
          _shot(pixel_size_A=lambda v, s: s.pixel_size_A * v), 1.05, "stated over true", 0.1, 10.0, idle=1.0,
          where="all"),
    Fault("wrong_dose", "statement", "Side-cars state another dose than the specimen got.",
          _shot(dose_e_A2=lambda v, s: s.dose_e_A2 * v), 0.5, "stated over true", 0.01, 100.0, idle=1.0, where="all"),
    Fault("beam_faded", "physics", "The beam gives another dose than was asked for and stated.",
          _trouble(dose_factor=lambda v, _: v), 0.5, "true over stated", 0.01, 10.0, idle=1.0,
          where="from_middle"),
    Fault("beam_tilt_swapped", "statement", "Side-cars state the image shifts of other places of the hole, so that"
          " beam-tilt groups are mixed up.", _swap_groups, where="from_middle", least=1.0, largest=1.0),
    Fault("ice_ramp", "physics", "The ice is a steep wedge.",
          _exposure(ice_ramp=lambda v, e: (v, 0.5 * v)), 0.08, "Å per Å", 0.0, 0.3),
    Fault("stage_jump", "physics", "The stage jumps a third into the exposure.",
          _trouble(stage_jump_A=lambda v, _: v, stage_jump_frame=lambda _, e: max(1, e.n_frames // 3)), 60.0, "Å",
          0.0, 1e5),
    Fault("truncated_file", "files", "The movie's file ends early.", _truncate, 0.6, "share that lands", 0.01, 1.0,
          idle=1.0),
    Fault("dead_block", "physics", "A block of the sensor gives nothing.",
          _trouble(dead_block_px=_block), 0.125, "edge, share of the sensor's", 0.0, 1.0, where="from_middle"),
    Fault("charging", "physics", "The specimen charges and pulls the image out of its middle as dose is given.",
          _trouble(charging_A3_e=lambda v, _: v), 0.5, "Å per e/Å²", 0.0, 100.0),
    Fault("empty_hole", "physics", "There is neither ice nor a particle in the hole.",
          _trouble(empty_hole=lambda v, _: bool(v)), least=1.0, largest=1.0),
    Fault("crystalline_ice", "physics", "Part of the ice is crystalline.",
          _trouble(crystalline_ice_frac=lambda v, _: v), 0.5, "share of the field", 0.0, 1.0),
    Fault("defocus_drift", "physics", "Defocus drifts while the exposure lasts.",
          _trouble(defocus_drift_A=lambda v, _: v), 3000.0, "Å at the last frame against the first", -1e5, 1e5),
    Fault("slit_lost", "physics", "The energy slit is out, and says it is in.",
          _lose_slit, least=1.0, largest=1.0, where="from_middle"),
)  # fmt: skip
#: Every fault by name.
CATALOGUE: Mapping[str, Fault] = MappingProxyType({fault.name: fault for fault in _ALL})
_RANGE = re.compile(r"^(\d+)(?:(-)(\d*))?$")


@dataclass(frozen=True)
class Occurrence:
    """A fault in a session: which one, how much of it, in which exposures (from 1)."""

    fault: Fault
    value: float
    numbers: frozenset[int]


def parse(text: str) -> FaultAsked:
    """Read ``name``, ``name=value``, ``name@n``, ``name@n-m`` or ``name=value@n-`` of the command line."""
    head, at, exposures = text.partition("@")
    name, equals, number = head.partition("=")
    try:
        value = float(number) if equals else None
    except ValueError as error:
        raise ConfigError(f"--fault {text}: '{number}' is no number", expected="NAME[=value][@n-m]") from error
    if at and not _RANGE.match(exposures):
        raise ConfigError(f"--fault {text}: '{exposures}' names no exposures", expected="n, n-m or n-")
    return FaultAsked(name, exposures, value)


def occurrences(asked: Sequence[FaultAsked], n_movies: int) -> tuple[Occurrence, ...]:
    """Look up each fault and where it is.

    Raises
    ------
    ConfigError
        For an unknown name, a value out of bounds, or exposures the session does not have.
    """
    return tuple(_occurrence(one, n_movies) for one in asked)


def afflicted(planned: Planned, found: Sequence[Occurrence], config: SessionConfig) -> Planned:
    """Return the exposure with every fault that is in it, their names noted."""
    names = []
    for occurrence in found:
        if planned.shot.number in occurrence.numbers:
            planned = occurrence.fault.change(planned, occurrence.value, config)
            names.append(occurrence.fault.name)
    return replace(planned, exposure=replace(planned.exposure, faults=tuple(names))) if names else planned


def _occurrence(asked: FaultAsked, n_movies: int) -> Occurrence:
    fault = CATALOGUE.get(asked.name)
    if fault is None:
        raise ConfigError(
            f"no fault is called '{asked.name}'{nearest(asked.name, CATALOGUE)}", expected=", ".join(CATALOGUE)
        )
    value = fault.value if asked.value is None else asked.value
    if not (np.isfinite(value) and fault.least <= value <= fault.largest) or value == fault.idle:
        raise ConfigError(f"fault {fault.name} has the value {value:g}", expected=_meant(fault))
    return Occurrence(fault, value, _numbers(asked, fault, n_movies))


def _meant(fault: Fault) -> str:
    if fault.least == fault.largest:
        return f"{fault.least:g}, or no value at all"
    inside = fault.least <= fault.idle <= fault.largest
    none = f", not {fault.idle:g}, which is no fault" if inside else ""
    return f"{fault.value_doc} from {fault.least:g} to {fault.largest:g}{none}"


def _numbers(asked: FaultAsked, fault: Fault, n_movies: int) -> frozenset[int]:
    middle = n_movies // 2 + 1
    defaults = {"all": (1, n_movies), "from_middle": (middle, n_movies), "middle": (middle, middle)}
    first, last = defaults[fault.where]
    if asked.exposures:
        match = _RANGE.match(asked.exposures)
        if match is None:
            raise ConfigError(
                f"fault {fault.name}: '{asked.exposures}' names no exposures", expected='exposures = "n", "n-m" or "n-"'
            )
        first = int(match[1])
        last = int(match[3]) if match[3] else n_movies if match[2] else first
    if not 1 <= first <= last <= n_movies:
        raise ConfigError(
            f"fault {fault.name} is to be in exposures {first} to {last} of {n_movies}",
            expected=f"1 to {n_movies}",
            remedy=f"Make {last} movies or more, or say elsewhere where the fault is.",
        )
    return frozenset(range(first, last + 1))
