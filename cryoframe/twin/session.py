"""What a simulated session shall be, read from TOML or from a few words; every key known, typed and bounded."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, cast

from cryoframe.data.twin import ViewPeak
from cryoframe.data.typed import build, refuse_unknown
from cryoframe.errors import ConfigError, InvalidInput, nearest
from cryoframe.kernel.config import read_toml
from cryoframe.numerics.bounds import check_bounds, check_order

Kind = Literal["tiff", "mrc", "eer"]
LayoutName = Literal["epu", "serialem", "flat"]
Distractor = Literal["", "aggregate", "broken", "contamination"]
#: One physical pixel and frame more than this is no counting any more; one Å² of ice more than this is none either.
MAX_DOSE_E_A2, MAX_EXPOSURES = 500.0, 1_000_000
_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")


@dataclass(frozen=True)
class Image:
    """What one movie is."""

    #: Physical pixels `(ny, nx)`; super-resolution files have twice as many each way.
    shape_px: tuple[int, int] = (2048, 2048)
    pixel_size_A: float = 1.0
    n_frames: int = 40
    #: Of the whole exposure; 0 = `n_frames` times the dose of a frame.
    dose_e_A2: float = 0.0
    #: 0 = 1 e/Å², or what the total gives.
    dose_per_frame_e_A2: float = 0.0
    frame_time_s: float = 0.1

    def __post_init__(self) -> None:
        check_bounds(self, pixel_size_A=(0.2, 20.0), n_frames=(1, 20_000), frame_time_s=(1e-4, 100.0))
        check_bounds(self, dose_e_A2=(0.0, MAX_DOSE_E_A2), dose_per_frame_e_A2=(0.0, MAX_DOSE_E_A2))
        if not all(64 <= edge <= 16_384 for edge in self.shape_px):
            raise InvalidInput(f"shape_px = {list(self.shape_px)} was set", expected="edges of 64 to 16384")
        if self.total_e_A2 > MAX_DOSE_E_A2:
            raise InvalidInput(
                f"{self.n_frames} frames of {self.frame_e_A2:g} e/Å² are {self.total_e_A2:g} e/Å²",
                expected=f"at most {MAX_DOSE_E_A2:g}; 30 to 60 is usual",
            )
        if self.dose_e_A2 and self.dose_per_frame_e_A2 and abs(self.dose_e_A2 / self.total_e_A2 - 1) > 1e-3:
            raise InvalidInput(
                f"dose_e_A2 = {self.dose_e_A2:g} is not {self.n_frames} frames of {self.dose_per_frame_e_A2:g} e/Å²",
                remedy="Give one of the two.",
            )

    @property
    def frame_e_A2(self) -> float:
        """Dose of a frame."""
        return self.dose_per_frame_e_A2 or (self.dose_e_A2 / self.n_frames if self.dose_e_A2 else 1.0)

    @property
    def total_e_A2(self) -> float:
        """Dose of the exposure."""
        return self.frame_e_A2 * self.n_frames


@dataclass(frozen=True)
class Microscope:
    """The microscope: a preset of the stage's, and what file names and side-cars say of it."""

    #: Empty = the stage's own default.
    preset: str = ""
    #: 0 = what the pixel and the camera make it.
    magnification: int = 0
    #: Width of the energy slit, in the physics and in side-cars; 0 = no filter; negative = as the preset.
    slit_eV: float = -1.0

    def __post_init__(self) -> None:
        check_bounds(self, magnification=(0, 10_000_000), slit_eV=(-1.0, 1000.0))


@dataclass(frozen=True)
class Camera:
    """The camera: a preset, and how its gain file lies against the frames."""

    #: Empty = the stage's own default.
    preset: str = ""
    #: The gain file is written turned so against the frames, as vendors do; undo it when reading.
    gain_turn: Literal["none", "flip_rows", "flip_columns", "rotate_90", "rotate_180", "rotate_270"] = "none"


@dataclass(frozen=True)
class Defocus:
    """How defocus varies; positive is underfocus."""

    min_A: float = 8000.0
    max_A: float = 20000.0
    #: Half the difference of the two defoci is normally distributed about 0 with this deviation.
    astigmatism_A: float = 100.0
    #: Deviation of the true defocus from the nominal one.
    error_A: float = 300.0
    phase_shift_deg: float = 0.0

    def __post_init__(self) -> None:
        check_bounds(self, min_A=(-1e5, 1e6), max_A=(-1e5, 1e6), astigmatism_A=(0, 1e5), error_A=(0, 1e5))
        check_bounds(self, phase_shift_deg=(0.0, 360.0))
        check_order(self, "min_A", "max_A")


@dataclass(frozen=True)
class Ice:
    """How ice varies from hole to hole."""

    min_A: float = 250.0
    max_A: float = 400.0
    #: Deviation of each component of the slope, Å per Å.
    ramp: float = 0.005
    #: How much thicker it is at the rim of a hole.
    rim_extra_A: float = 100.0

    def __post_init__(self) -> None:
        check_bounds(self, min_A=(10.0, 5000.0), max_A=(10.0, 5000.0), ramp=(0.0, 0.3), rim_extra_A=(0.0, 5000.0))
        check_order(self, "min_A", "max_A")


@dataclass(frozen=True)
class Grid:
    """Where exposures are taken."""

    holes_per_square: int = 12
    shots_per_hole: int = 1
    hole_radius_A: float = 6000.0
    hole_spacing_um: float = 2.0
    #: Distance of the exposures of a hole from its centre.
    image_shift_um: float = 0.35
    #: Beam tilt an image shift leaves behind (assumed).
    beam_tilt_mrad_um: float = 0.4
    #: Deviation of where a hole is found, after the stage has moved.
    stage_error_um: float = 0.05

    def __post_init__(self) -> None:
        check_bounds(self, holes_per_square=(1, 10_000), shots_per_hole=(1, 25), hole_radius_A=(500.0, 1e6))
        check_bounds(self, hole_spacing_um=(0.1, 100.0), image_shift_um=(0.0, 50.0), beam_tilt_mrad_um=(-10.0, 10.0))
        check_bounds(self, stage_error_um=(0.0, 10.0))


@dataclass(frozen=True)
class Tilt:
    """Tilt of the stage."""

    stage_tilt_deg: float = 0.0
    axis_deg: float = 0.0

    def __post_init__(self) -> None:
        check_bounds(self, stage_tilt_deg=(-70.0, 70.0), axis_deg=(-360.0, 360.0))


@dataclass(frozen=True)
class Species:
    """One ``[[specimen]]``: a file, or a distractor made of another species."""

    file: Path | None = None
    name: str = ""
    #: 0 = as much as covers a sixth of the field, shared by the species that say nothing.
    concentration_mg_mL: float = 0.0
    surface_frac: float = 0.0
    #: Tables of weight, rot_deg, tilt_deg, kappa.
    views: tuple[dict[str, Any], ...] = ()
    conformations: tuple[float, ...] = (0.0,)
    hinge: str = ""
    site_damage: bool = False
    symmetry: str = "C1"
    assembly: str = "1"
    b_factor_A2: float = -1.0
    without_residues: tuple[str, ...] = ()
    #: Empty = particles; ``contamination`` = this file, but not a particle; the others are made of the species `of`.
    distractor: Distractor = ""
    of: str = ""
    #: Distractors made of a species: their number against its number.
    fraction: float = 0.1

    def __post_init__(self) -> None:
        check_bounds(self, concentration_mg_mL=(0.0, 1000.0), surface_frac=(0.0, 1.0), fraction=(0.0, 100.0))
        check_bounds(self, b_factor_A2=(-1.0, 1e4))
        if not self.conformations or not all(0.0 <= place <= 1.0 for place in self.conformations):
            raise InvalidInput(f"conformations = {list(self.conformations)} was set", expected="numbers from 0 to 1")
        if any(peak.weight < 0 or peak.kappa < 0 for peak in self.peaks):
            raise InvalidInput("views have a negative weight or kappa", expected="0 or more")
        made = self.distractor in ("aggregate", "broken")
        if made == (self.file is not None):
            raise InvalidInput(
                f"the specimen{self.name and ' '}{self.name and repr(self.name)} has {'both' if made else 'neither'} a"
                f" file {'and' if made else 'nor'}"
                " a species it is made of",
                expected='file = "model.cif", or distractor = "aggregate" or "broken" with of = "its species"',
            )

    @property
    def peaks(self) -> tuple[ViewPeak, ...]:
        """The preferred views."""
        where = f"[[specimen]] {self.name}: views" if self.name else "[[specimen]] views"
        return tuple(build(ViewPeak, peak, where=where) for peak in self.views) or (ViewPeak(),)


@dataclass(frozen=True)
class Stage:
    """Which implementation makes the movies, and its parameters."""

    use: str = "physical"
    params: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class FaultAsked:
    """One ``[[fault]]``: its name in the catalogue, in exposures ``n``, ``n-m`` or ``n-`` (from 1), with its size."""

    name: str
    exposures: str = ""
    value: float | None = None


@dataclass(frozen=True)
class SessionConfig:
    """A whole session, checked; all paths absolute."""

    name: str = "session"
    seed: int = 0
    n_movies: int = 24
    folder: Path = Path("session")
    truth: Path = Path("truth")
    layout: LayoutName = "epu"
    kind: Kind = "tiff"
    begin_utc: str = "2026-01-05T08:00:00"
    image: Image = field(default_factory=Image)
    microscope: Microscope = field(default_factory=Microscope)
    camera: Camera = field(default_factory=Camera)
    defocus: Defocus = field(default_factory=Defocus)
    ice: Ice = field(default_factory=Ice)
    grid: Grid = field(default_factory=Grid)
    tilt: Tilt = field(default_factory=Tilt)
    specimens: tuple[Species, ...] = ()
    stage: Stage = field(default_factory=Stage)
    #: What may happen to files while they land; read where they land.
    landing: dict[str, Any] = field(default_factory=dict)
    faults: tuple[FaultAsked, ...] = ()
    plugin_files: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        check_bounds(self, n_movies=(1, MAX_EXPOSURES), seed=(0, 2**62))
        if not _NAME.match(self.name):
            raise InvalidInput(f"name = '{self.name}' was set", expected="letters, digits, _ . - (files are called so)")
        try:
            datetime.fromisoformat(self.begin_utc)
        except ValueError as error:
            raise InvalidInput(
                f"begin_utc = '{self.begin_utc}' was set", expected="a time like 2026-01-05T08:00:00"
            ) from error

    @property
    def begin(self) -> datetime:
        """When the session begins."""
        begin = datetime.fromisoformat(self.begin_utc)
        return begin.astimezone(UTC) if begin.tzinfo else begin.replace(tzinfo=UTC)


SECTIONS = {
    "image": Image, "microscope": Microscope, "camera": Camera, "defocus": Defocus, "ice": Ice, "grid": Grid,
    "tilt": Tilt,
}  # fmt: skip
_LISTS = {"specimen": Species, "fault": FaultAsked}
#: Models that come with the program are named so, from whatever folder: ``file = "shipped:5a1a.cif.gz"``.
SHIPPED, _MODELS = "shipped:", ("cli/demo_data", "bench/models")
_OWN = ("name", "seed", "n_movies", "folder", "truth", "layout", "kind", "begin_utc", "plugin_files")


def read(path: Path | str) -> dict[str, Any]:
    """Return the plain values of a session's file.

    Raises
    ------
    ConfigError
        If it cannot be read or is not TOML.
    """
    return read_toml(path, "session")


def load(path: Path | str) -> SessionConfig:
    """Read a session's file.

    Raises
    ------
    ConfigError
        Naming the file, the key, and the nearest valid key or value.
    """
    path = Path(path).expanduser().absolute()
    return from_mapping(read(path), folder=path.parent, where=path.name)


def of_models(models: Sequence[Path]) -> dict[str, Any]:
    """Return the plain values of a session of the named models or maps; everything else is at its default."""
    return {"specimen": [{"file": str(model.absolute())} for model in models]}


def from_mapping(content: Mapping[str, Any], *, folder: Path, where: str = "session") -> SessionConfig:
    """Check plain values, as a TOML parser returns them; relative paths are taken from `folder`."""
    refuse_unknown(content, ("session", "simulate", "landing", *SECTIONS, *_LISTS), where)
    own = _table(content, "session", where)
    refuse_unknown(own, _OWN, f"{where}: [session]")
    name = own.get("name", "session")
    values: dict[str, Any] = {"folder": name, "truth": f"{name}-truth"} | own
    config = cast("SessionConfig", _built(SessionConfig, values, f"{where}: [session]", folder))
    parts: dict[str, Any] = {
        name: _built(cls, _table(content, name, where), f"{where}: [{name}]", folder) for name, cls in SECTIONS.items()
    }
    parts["stage"] = _built(Stage, _table(content, "simulate", where), f"{where}: [simulate]", folder)
    parts["landing"] = _table(content, "landing", where)
    lists = {
        name: tuple(
            _built(cls, _with_shipped(table, where), f"{where}: [[{name}]] {table.get('name', index)}", folder)
            for index, table in enumerate(_tables(content, name, where), 1)
        )
        for name, cls in _LISTS.items()
    }
    return replace(config, **parts, specimens=_named(lists["specimen"], where), faults=lists["fault"])


def _with_shipped(table: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Put the path of a model that comes with the program where it is called ``shipped:NAME``."""
    asked = table.get("file")
    if not isinstance(asked, str) or not asked.startswith(SHIPPED):
        return dict(table)
    house = Path(__file__).resolve().parents[1]
    found = {path.name: path for place in _MODELS for path in (house / place).glob("*.cif.gz")}
    name = asked.removeprefix(SHIPPED)
    if name not in found:
        raise ConfigError(
            f"{where}: no model '{name}' comes with the program{nearest(name, found)}",
            expected=f"one of {', '.join(sorted(found))}, or the path of a file",
        )
    return {**table, "file": str(found[name])}


def _built(cls: type, given: Mapping[str, Any], where: str, folder: Path) -> Any:
    try:
        return build(cls, given, where=where, folder=folder.absolute())
    except InvalidInput as error:
        raise ConfigError(f"{where}: {error.what}", expected=error.expected, remedy=error.remedy) from error


def _named(species: Sequence[Species], where: str) -> tuple[Species, ...]:
    """Give each species a name, its file's where it has none; two of one name are refused."""
    named = [one if one.name else replace(one, name=_name_of(one)) for one in species]
    names = [one.name for one in named]
    for one in named:
        if names.count(one.name) > 1:
            raise ConfigError(f"{where}: two specimens are called '{one.name}'", remedy="Give each a name of its own.")
        if one.distractor in ("aggregate", "broken") and one.of not in [other.name for other in named if other.file]:
            raise ConfigError(
                f"{where}: specimen '{one.name}' is made of '{one.of}', which is none with a file",
                expected=f"of = one of {', '.join(files)}" if (files := [o.name for o in named if o.file]) else "",
                remedy="" if files else 'Add a [[specimen]] with file = "…".',
            )
        if not _NAME.match(one.name):
            raise ConfigError(
                f"{where}: a specimen is called '{one.name}'",
                expected="at most 64 letters, digits, _ . - (its map is called so)",
            )
    return tuple(named)


def _name_of(one: Species) -> str:
    if one.file is None:
        return f"{one.of}_{one.distractor}"
    return re.sub(r"[^A-Za-z0-9_.-]", "_", one.file.name.split(".")[0])[:64]


def _table(content: Mapping[str, Any], key: str, where: str) -> dict[str, Any]:
    value = content.get(key, {})
    if not isinstance(value, Mapping):
        raise ConfigError(f"{where}: {key} is {value!r}", expected=f"a table, written [{key}]")
    return dict(value)


def _tables(content: Mapping[str, Any], key: str, where: str) -> list[dict[str, Any]]:
    value = content.get(key, [])
    tables = [value] if isinstance(value, Mapping) else value
    if not isinstance(tables, list) or not all(isinstance(table, Mapping) for table in tables):
        raise ConfigError(f"{where}: {key} is not written as a list of tables", expected=f"[[{key}]]")
    return [dict(table) for table in tables]
