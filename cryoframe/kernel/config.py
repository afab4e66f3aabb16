"""TOML → RunConfig, every key known and typed; a wrong one is an error naming file, key and the nearest valid key."""

from __future__ import annotations

import fnmatch
import glob
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, cast

from cryoframe.data.alarm import ALARM_KINDS
from cryoframe.data.ids import digest_facts
from cryoframe.data.optics import Optics
from cryoframe.data.typed import build, refuse_unknown
from cryoframe.errors import ConfigError, nearest
from cryoframe.kernel import discovery
from cryoframe.kernel.attempt import BUILT_IN_EXECUTORS
from cryoframe.kernel.device import check_name

InputKind = Literal["movies", "micrographs", "particles", "volumes"]
#: Keys each input section may have.
INPUT_KEYS: dict[str, tuple[str, ...]] = {
    "movies": ("files", "pixel_size_A", "dose_per_frame_e_A2", "gain", "n_frames_expected"),
    "micrographs": ("files", "pixel_size_A", "dose_e_A2"),
    "particles": ("file", "root"),
    "volumes": ("file", "pixel_size_A", "symmetry"),
}
SECTIONS = ("run", "executor", "plugins", "optics", *INPUT_KEYS, "watch", "stage", "alarm")
#: Settings of the microscope that every CTF needs, and the words for them where they are assumed.
ASSUMED = MappingProxyType(
    {
        "voltage_kV": "{:g} kV (but for files that state it)",
        "cs_mm": "Cs {:g} mm",
        "amplitude_contrast_frac": "amplitude contrast {:g}",
    }
)
#: More attempts at a time, or larger pixels, are slips of the pen.
MAX_WORKERS, MAX_PIXEL_A = 4096, 100.0
_ID = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")


@dataclass(frozen=True)
class InputConfig:
    """One input section; `files` are absolute patterns, `pixel_size_A` None = from the file's header."""

    kind: InputKind
    files: tuple[str, ...] = ()
    file: Path | None = None
    root: Path | None = None
    pixel_size_A: float | None = None
    dose_e_A2: float = 0.0
    dose_per_frame_e_A2: float = 0.0
    gain: Path | None = None
    n_frames_expected: int | None = None
    symmetry: str = "C1"

    def nothing(self) -> str:
        """Return the words for patterns that match no file; what they do match is named."""
        found = sorted({name for pattern in self.files for name in glob.glob(pattern, recursive=True)})  # noqa: PTH207
        what = [f"'{Path(name).name}' is {'a directory' if Path(name).is_dir() else 'no file'}" for name in found[:3]]
        return f"[{self.kind}] files match nothing: {', '.join(self.files)}" + "".join(f"; {one}" for one in what)

    def instead(self) -> str:
        """Return what to write where a pattern names a folder."""
        folders = [pattern for pattern in self.files if Path(pattern).is_dir()]
        return f"For the files in it write '{folders[0].rstrip('/')}/*'." if folders else ""

    def paths(self) -> tuple[tuple[Path, Path], ...]:
        """Return (root, path) of every file that matches now, sorted; the root is the pattern's fixed part."""
        if self.file is not None:
            return ((self.file.parent, self.file),)
        found: dict[Path, Path] = {}
        for pattern in self.files:
            for name in glob.glob(pattern, recursive=True):  # noqa: PTH207 - patterns are absolute
                found.setdefault(Path(name), _fixed_part(pattern))
        return tuple((root, path) for path, root in sorted(found.items()) if path.is_file())


@dataclass(frozen=True)
class WatchConfig:
    """What is watched, and when a file counts as complete."""

    folders: tuple[Path, ...] = ()
    patterns: tuple[str, ...] = ()
    kind: Literal["", "movies", "micrographs"] = ""
    settle_s: float = 20.0
    long_settle_s: float = 300.0
    poll_s: float = 5.0
    observer: Literal["auto", "native", "polling"] = "auto"
    metadata: Literal["none", "optional", "required"] = "none"
    metadata_timeout_s: float = 600.0
    #: What is done about an admitted file whose ctime alone changes. ``ctime``: it is read again while nothing else is
    #: to be read, and redone if its content is another. ``never``: nothing, where a share changes ctimes all the time.
    recheck: Literal["ctime", "never"] = "ctime"
    #: Which files are worked on first when more arrive than can be done.
    order: Literal["oldest", "newest"] = "oldest"
    #: When alarms are raised: work that is queued and does not move; no new file (0 = never mind); a folder away;
    #: tasks waiting; items set aside within an hour.
    stall_s: float = 1800.0
    silence_s: float = 0.0
    share_s: float = 60.0
    queue_most: int = 2000
    quarantine_most: int = 20


@dataclass(frozen=True)
class AlarmConfig:
    """One ``[[alarm]]``: the notifier `use` is told of alarms of these kinds; of all, if none is named."""

    use: str
    params: dict[str, Any] = field(default_factory=dict)
    kinds: tuple[str, ...] = ()


@dataclass(frozen=True)
class StageConfig:
    """One ``[[stage]]``: `run` names the hook, `use` the implementation; `every` = new items between re-runs."""

    id: str
    run: str
    use: str = ""
    params: dict[str, Any] = field(default_factory=dict)
    from_: tuple[str, ...] = ()
    every: int = 0
    attempts: int = 3
    timeout_s: float = 86400.0
    memory_MB: int = 0
    threads: int = 0
    python: Path | None = None
    device: str = ""


@dataclass(frozen=True)
class RunConfig:
    """A whole configuration, checked; all paths absolute."""

    name: str
    folder: Path
    device: str = "auto"
    seed: int = 0
    workers: int = 1
    #: Built in, or the name of an offer of ``make_executor``; `executor_settings` are what ``[executor]`` says.
    executor: str = "processes"
    executor_settings: Mapping[str, Any] = field(default_factory=dict)
    #: Folder of products and of attempts at work, if it is not to be the run's own: what other machines see too.
    products: Path | None = None
    plugin_files: tuple[Path, ...] = ()
    blocked: tuple[str, ...] = ()
    optics: Optics = field(default_factory=Optics)
    #: Fields of the optics that matter to the images of this run and that the configuration does not state.
    assumed_optics: tuple[str, ...] = ()
    inputs: tuple[InputConfig, ...] = ()
    watch: WatchConfig = field(default_factory=WatchConfig)
    stages: tuple[StageConfig, ...] = ()
    alarms: tuple[AlarmConfig, ...] = ()
    path: Path | None = None
    digest: str = ""

    def input(self, kind: str) -> InputConfig | None:
        """Return the first input section of a kind."""
        return next((section for section in self.inputs if section.kind == kind), None)

    def section_of(self, kind: str, path: str) -> InputConfig | None:
        """Return the input section a file belongs to: the first whose patterns match it, else the first of its kind."""
        found = [section for section in self.inputs if section.kind == kind]
        matching = (section for section in found if any(fnmatch.fnmatch(path, pattern) for pattern in section.files))
        return next(matching, found[0] if found else None)

    def optics_remark(self) -> str:
        """Return a sentence on settings of the microscope that are assumed, or nothing."""
        said = [words.format(getattr(self.optics, name)) for name, words in ASSUMED.items()]
        chosen = [text for name, text in zip(ASSUMED, said, strict=True) if name in self.assumed_optics]
        return f"optics assumed: {', '.join(chosen)}; set [optics]" if chosen else ""

    @property
    def watched_kind(self) -> Literal["", "movies", "micrographs"]:
        """What a watched file is: as [watch] says, else the one image input there is, else micrographs."""
        if not self.watch.folders or self.watch.kind:
            return self.watch.kind
        return "movies" if self.input("movies") and not self.input("micrographs") else "micrographs"


def read_toml(path: Path | str, what: str) -> dict[str, Any]:
    """Return the plain values of a TOML file; `what` it is, a configuration or a session, for the error.

    Raises
    ------
    ConfigError
        If it cannot be read or is not TOML.
    """
    path = Path(path).expanduser().absolute()
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{what} {path} cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:  # not TOML, not text, numbers too long or nesting too deep for it
        raise ConfigError(f"{what} {path} is not TOML: {error}") from error


def load(path: Path | str) -> RunConfig:
    """Read a configuration file.

    Raises
    ------
    ConfigError
        Naming the file, the key, and the nearest valid key or value.
    """
    path = Path(path).expanduser().absolute()
    return from_mapping(read_toml(path, "configuration"), folder=path.parent, where=path.name, path=path)


def from_mapping(
    content: Mapping[str, Any], *, folder: Path, where: str = "configuration", path: Path | None = None
) -> RunConfig:
    """Check plain values, as a TOML parser returns them; relative paths are taken from `folder`."""
    refuse_unknown(content, SECTIONS, where)
    folder = folder.absolute()
    run = _table(content, "run", where)
    refuse_unknown(run, ("name", "folder", "products", "device", "seed", "workers", "executor"), f"{where}: [run]")
    plugins = _table(content, "plugins", where)
    refuse_unknown(plugins, ("files", "blocked"), f"{where}: [plugins]")
    name = run.get("name", path.stem if path else "run")
    values: dict[str, Any] = {"name": name, "folder": f"runs/{name}", "workers": os.cpu_count() or 1} | run
    values |= {"plugin_files": plugins.get("files", []), "blocked": plugins.get("blocked", [])}
    made = cast("RunConfig", build(RunConfig, values, where=f"{where}: [run]", folder=folder))
    inputs = (_input(kind, table, where, folder) for kind in INPUT_KEYS for table in _tables(content, kind, where))
    stages = (_stage(table, index, where, folder) for index, table in enumerate(_tables(content, "stage", where)))
    stated = _table(content, "optics", where)
    of_images = any(section in content for section in ("movies", "micrographs", "watch"))
    config = replace(
        made,
        executor_settings=_table(content, "executor", where),
        optics=build(Optics, stated, where=f"{where}: [optics]"),
        assumed_optics=tuple(name for name in ASSUMED if of_images and name not in stated),
        inputs=tuple(inputs),
        watch=_watch(_table(content, "watch", where), where, folder),
        stages=tuple(stages),
        alarms=tuple(_alarm(table, where, folder) for table in _tables(content, "alarm", where)),
        path=path,
        digest=digest_facts(content),
    )
    _check(config, where)
    return config


def _table(content: Mapping[str, Any], key: str, where: str) -> dict[str, Any]:
    value = content.get(key, {})
    if not isinstance(value, Mapping):
        raise ConfigError(f"{where}: {key} is {value!r}", expected=f"a table, written [{key}]")
    return dict(value)


def _tables(content: Mapping[str, Any], key: str, where: str) -> list[dict[str, Any]]:
    value = content.get(key, [])
    tables = [value] if isinstance(value, Mapping) and key != "stage" else value
    if not isinstance(tables, list) or not all(isinstance(table, Mapping) for table in tables):
        raise ConfigError(f"{where}: {key} is not written as a table", expected=f"[[{key}]]")
    return [dict(table) for table in tables]


def _input(kind: str, table: dict[str, Any], where: str, folder: Path) -> InputConfig:
    label = f"{where}: [{kind}]"
    refuse_unknown(table, INPUT_KEYS[kind], label)
    if isinstance(table.get("files"), str):
        table["files"] = [table["files"]]
    section = cast("InputConfig", build(InputConfig, {"kind": kind, **table}, where=label, folder=folder))
    if "file" in INPUT_KEYS[kind] and section.file is None:
        raise ConfigError(f"{label}: 'file' is missing", remedy="Say which with file = …")
    patterns = tuple(str(folder / Path(pattern).expanduser()) for pattern in section.files)
    return replace(section, files=patterns)


def _watch(table: dict[str, Any], where: str, folder: Path) -> WatchConfig:
    label = f"{where}: [watch]"
    if "folder" in table and "folders" not in table:
        table["folders"] = [table.pop("folder")]
    if isinstance(table.get("patterns"), str):
        table["patterns"] = [table["patterns"]]
    return cast("WatchConfig", build(WatchConfig, table, where=label, folder=folder))


def _stage(table: dict[str, Any], index: int, where: str, folder: Path) -> StageConfig:
    label = f"{where}: [[stage]] {table.get('id', index + 1)}"
    if isinstance(table.get("from"), str):
        table["from"] = [table["from"]]
    if "id" not in table and isinstance(table.get("run"), str):
        table["id"] = table["run"]
    return cast("StageConfig", build(StageConfig, table, where=label, folder=folder))


def _alarm(table: dict[str, Any], where: str, folder: Path) -> AlarmConfig:
    label = f"{where}: [[alarm]] {table.get('use', '')}".rstrip()
    made = cast("AlarmConfig", build(AlarmConfig, table, where=label, folder=folder))
    if wrong := [kind for kind in made.kinds if kind not in ALARM_KINDS]:
        raise ConfigError(
            f"{label} kinds: no alarm is called '{wrong[0]}'{nearest(wrong[0], ALARM_KINDS)}",
            expected=", ".join(ALARM_KINDS),
        )
    return made


def _fixed_part(pattern: str) -> Path:
    parts = Path(pattern).parts[:-1]
    fixed = next((index for index, part in enumerate(parts) if glob.has_magic(part)), len(parts))
    return Path(*parts[:fixed])


def check_executor(config: RunConfig, label: str) -> None:
    """Refuse an executor that is neither built in nor offered, and settings for one that has none.

    Raises
    ------
    ConfigError
        With the nearest name.
    """
    name = config.executor
    if name in BUILT_IN_EXECUTORS:
        if config.executor_settings:
            raise ConfigError(f"{label} is '{name}', which has no settings", remedy="Remove [executor].")
        return
    offers = (*discovery.scan(), *discovery.local_offers(config.plugin_files))
    offered = {word for offer in offers if offer.hook == "make_executor" for word in (offer.name, offer.qualified)}
    if name not in offered:
        known = (*BUILT_IN_EXECUTORS, *sorted(word for word in offered if "/" not in word))
        raise ConfigError(f"{label} is '{name}'{nearest(name, known)}", expected=f"one of {', '.join(known)}")


def _check(config: RunConfig, where: str) -> None:
    check_name(config.device)
    check_executor(config, f"{where}: [run] executor")
    ids = [stage.id for stage in config.stages]
    for stage in config.stages:
        label = f"{where}: [[stage]] {stage.id}"
        if stage.device:
            check_name(stage.device)
        if not _ID.match(stage.id) or stage.id.startswith("input"):
            raise ConfigError(
                f"{label}: not a usable id", expected="letters, digits, _ . -, not beginning with 'input'"
            )
        if ids.count(stage.id) > 1:
            raise ConfigError(f"{label}: two stages have this id", remedy="Give each [[stage]] its own id.")
        _positive(label, attempts=stage.attempts, timeout_s=stage.timeout_s)
    _positive(f"{where}: [run]", workers=config.workers)
    _at_most(f"{where}: [run]", MAX_WORKERS, workers=config.workers)
    _positive(f"{where}: [optics]", voltage_kV=config.optics.voltage_kV)
    _positive(f"{where}: [watch]", settle_s=config.watch.settle_s, poll_s=config.watch.poll_s)
    limits = {name: getattr(config.watch, name) for name in ("stall_s", "share_s", "queue_most", "quarantine_most")}
    _positive(f"{where}: [watch]", **limits)
    for section in config.inputs:
        if not (section.file or section.files or config.watch.folders):
            raise ConfigError(
                f"{where}: [{section.kind}]: 'files' is missing", remedy="Say which with files = …, or watch a folder."
            )
        if section.pixel_size_A is not None:
            _positive(f"{where}: [{section.kind}]", pixel_size_A=section.pixel_size_A)
            _at_most(f"{where}: [{section.kind}]", MAX_PIXEL_A, pixel_size_A=section.pixel_size_A)
    if not 0 <= config.optics.amplitude_contrast_frac <= 1:
        raise ConfigError(
            f"{where}: [optics] amplitude_contrast_frac is {config.optics.amplitude_contrast_frac}", expected="0 to 1"
        )


def _positive(label: str, **values: float) -> None:
    for key, value in values.items():
        if not 0 < value < float("inf"):
            raise ConfigError(f"{label} {key} is {value}", expected="more than 0, and finite")


def _at_most(label: str, most: float, **values: float) -> None:
    for key, value in values.items():
        if value > most:
            raise ConfigError(f"{label} {key} is {value}", expected=f"at most {most:g}")
