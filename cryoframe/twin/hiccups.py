"""What may go wrong while files land, how often and to whom; how it is done is ``landing``'s."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final, Literal

from cryoframe.data.typed import build, refuse_unknown
from cryoframe.errors import ConfigError, InvalidInput
from cryoframe.numerics.bounds import check_bounds
from cryoframe.numerics.noise import generator

#: What can happen to an exposure, with what it means.
KINDS: Final = {
    "stalled": "the writer pauses in mid-file",
    "temporary": "written under a temporary name, then renamed",
    "frame_by_frame": "a TIFF grows by whole frames and is readable all the time",
    "early_side_car": "the side-car comes before the movie",
    "late_side_car": "the side-car comes long after the movie",
    "missing_side_car": "no side-car",
    "duplicate_same": "the same file is written again",
    "duplicate_other": "another file is written first under the same name",
    "truncated": "the file ends early, for good",
    "out_of_order": "it lands after exposures taken later",
    "clock_skew": "the writer's clock is wrong: names, side-cars and file times",
    "moved_folder": "the folder gets another name when the session is over",
}
TEMPORARY: Final = {"part": "{}.part", "tmp": "{}.tmp", "hidden": ".{}.Xq3T9a"}


@dataclass(frozen=True)
class Hiccup:
    """What happened to one exposure; a record for the truth."""

    exposure_id: str
    #: One of ``KINDS``.
    kind: str
    #: The file or folder, relative to the session's.
    path: str
    #: Seconds, bytes or a share, as the kind has it.
    amount: float = 0.0


@dataclass(frozen=True)
class Hiccups:
    """How files land and how often what happens; the ``[landing]`` table of a session.

    Parameters
    ----------
    rates
        Probability by kind, for each exposure independently.
    certain
        Exposures by kind to which it surely happens, besides those drawn.
    bandwidth_MB_s
        At which movies are written, piece by piece; 0 = at once.
    chunk_kB
        Size of a piece.
    """

    rates: dict[str, float] = field(default_factory=dict)
    certain: dict[str, Any] = field(default_factory=dict)
    bandwidth_MB_s: float = 0.0
    chunk_kB: int = 4096
    temporary_name: Literal["part", "tmp", "hidden"] = "hidden"
    stall_s: float = 30.0
    early_s: float = 10.0
    late_s: float = 120.0
    duplicate_s: float = 60.0
    out_of_order_s: float = 120.0
    clock_skew_s: float = -3600.0
    truncated_at_frac: float = 0.6
    moved_after_s: float = 30.0

    def __post_init__(self) -> None:
        for name in ("rates", "certain"):
            try:
                refuse_unknown(getattr(self, name), KINDS, name)
            except ConfigError as error:
                raise InvalidInput(error.what, expected=error.expected) from error
        for kind, rate in self.rates.items():
            if not (isinstance(rate, (int, float)) and 0 <= rate <= 1):
                raise InvalidInput(f"rates: {kind} = {rate!r} was set", expected="0 to 1")
        for kind, names in self.certain.items():
            if isinstance(names, str) or not all(isinstance(name, str) for name in names):
                raise InvalidInput(f"certain: {kind} = {names!r} was set", expected="a list of exposures' names")
        check_bounds(self, bandwidth_MB_s=(0.0, 1e5), chunk_kB=(1, 1 << 20), clock_skew_s=(-1e8, 1e8))
        for name in ("stall_s", "early_s", "late_s", "duplicate_s", "out_of_order_s", "moved_after_s"):
            check_bounds(self, **{name: (0.0, 1e6)})
        check_bounds(self, truncated_at_frac=(0.0, 0.999))

    def drawn(self, exposure_id: str, seed: int) -> frozenset[str]:
        """Return what happens to an exposure: the same for the same seed, whatever happens to others."""
        stream = int.from_bytes(blake2b(exposure_id.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
        draws = generator(seed, stream).random(len(KINDS))
        happens = {kind for kind, draw in zip(KINDS, draws, strict=True) if draw < self.rates.get(kind, 0.0)}
        happens |= {kind for kind, names in self.certain.items() if exposure_id in names}
        return frozenset(happens)


def hiccups_of(table: Mapping[str, object], *, where: str = "[landing]") -> Hiccups:
    """Return the settings of a ``[landing]`` table.

    Raises
    ------
    ConfigError
        Naming the key and the nearest valid one.
    """
    try:
        settings: Hiccups = build(Hiccups, table, where=where)
    except InvalidInput as error:
        raise ConfigError(f"{where}: {error.what}", expected=error.expected, remedy=error.remedy) from error
    return settings
