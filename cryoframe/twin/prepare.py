"""A session made ready: presets settled, specimens read, exposures planned, truth folder begun. Makes no movie."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import math
import os
import platform
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cryoframe import __version__
from cryoframe.data.ids import digest_facts, digest_file
from cryoframe.data.twin import Exposure, SimulatedMovie, Specimen
from cryoframe.errors import ConfigError, ContractError, InvalidInput, StoreError, nearest
from cryoframe.formats import mrc, products
from cryoframe.kernel.context import StageContext
from cryoframe.kernel.plugins import Plugins
from cryoframe.records import folders
from cryoframe.twin.checks import Estimate, check_folders, check_room, estimate, same_disk
from cryoframe.twin.faults import Planned, occurrences
from cryoframe.twin.growth import Piece
from cryoframe.twin.hiccups import hiccups_of
from cryoframe.twin.landing import Arrival, plan_landing
from cryoframe.twin.plan import Known, make_plan
from cryoframe.twin.session import SessionConfig
from cryoframe.twin.shot import Layout, Shot
from cryoframe.twin.species import check_ice, expected_per_A2, open_species, refusing, share_of_ice
from cryoframe.twin.workers import HOOK, Bench, stage_params

#: What a truth folder begins with: every setting, version and seed.
MANIFEST = "session.json"
#: The fullest exposure that is tried has so many standard deviations of its Poisson number more than the mean, and so
#: much more on top: whether the last particles of a nearly jammed field find room is a matter of luck.
N_SIGMA, HEADROOM = 3.0, 0.1
#: Where particles fill less than this share of the ice, they find room in thin ice as in thick.
SPARSE_FRAC = 0.1
SERVICES = ("open_specimen", "write_movie", "write_reference")


@dataclass(frozen=True)
class Ready:
    """A session that can be made."""

    config: SessionConfig
    params: Mapping[str, Any]
    specimens: tuple[Specimen, ...]
    plan: tuple[Planned, ...]
    cost: Estimate
    bench: Bench


def settled(config: SessionConfig, plugins: Plugins) -> tuple[SessionConfig, dict[str, Any]]:
    """Return the session with its presets named, and the stage's parameters.

    Raises
    ------
    ConfigError, PluginError
        If the stage, a preset or a parameter is unknown.
    """
    offer = plugins.select(HOOK, config.stage.use)
    params_class = plugins.load(offer).params_class
    known = {field.name for field in dataclasses.fields(params_class)} if params_class else set()
    camera = config.camera.preset or ("falcon_4i" if config.kind == "eer" else "")
    slit_eV = config.microscope.slit_eV if config.microscope.slit_eV >= 0.0 else None
    asked = {"microscope": config.microscope.preset, "camera": camera, "camera_seed": config.seed or None}
    for name in ("microscope", "camera"):
        if asked[name] and name not in known:
            raise ConfigError(f"[{name}] preset = '{asked[name]}', and the stage '{config.stage.use}' knows no such")
    ours: dict[str, Any] = {name: value for name, value in asked.items() if value and name in known}
    ours |= {"slit_eV": slit_eV} if slit_eV is not None and "slit_eV" in known else {}
    params = ours | config.stage.params
    checked = stage_params(plugins, config.stage.use, params)
    named = {name: str(getattr(checked, name, asked[name] or "")) for name in ("microscope", "camera")}
    _check_presets(named, presets_of(params_class))
    return replace(
        config,
        microscope=replace(config.microscope, preset=named["microscope"], slit_eV=_slit_eV(config, checked)),
        camera=replace(config.camera, preset=named["camera"]),
    ), params


def presets_of(params_class: type | None) -> dict[str, dict[str, str]]:
    """Return the presets a stage says it has, by the parameter that names one; empty where it says nothing."""
    found = getattr(params_class, "presets", None)
    return found() if callable(found) else {}


def _check_presets(named: Mapping[str, str], known: Mapping[str, Mapping[str, str]]) -> None:
    every = [name for names in known.values() for name in names]
    for kind, name in named.items():
        if name and kind in known and name not in known[kind]:
            raise ConfigError(
                f"no {kind} is called '{name}'{nearest(name, every)}",
                expected="; ".join(f"{other}s: {', '.join(names)}" for other, names in known.items()),
                remedy="--presets says what they are.",
            )


def _slit_eV(config: SessionConfig, params: object) -> float:
    """Return the width of the slit that the stage simulates; what was asked for where it does not say."""
    with refusing("[simulate]"):
        return float(getattr(params, "slit_width_eV", config.microscope.slit_eV))


def prepare(config: SessionConfig, plugins: Plugins, *, n_workers: int, resume: bool, dry: bool = False) -> Ready:
    """Check everything that can be checked, and begin the truth folder (unless `dry`).

    Raises
    ------
    ConfigError
        If anything is wrong that would end in hours for nothing.
    """
    check_folders(config, resume=resume or dry)
    config, params = settled(config, plugins)
    # What is wrong with anything but the specimens is said before models are opened, which takes its time.
    plan = make_plan(config)
    _check_landing(config, plan)
    _check_writers(plugins)
    check_room(config, estimate(config, plan, (), n_workers=n_workers))
    plan = make_plan(config, _tried(config, params, (), plugins))
    specimens = open_species(config, plugins)
    check_ice(plan, specimens)
    cost = estimate(config, plan, specimens, n_workers=n_workers)
    check_room(config, cost)
    _tried_full(config, params, specimens, plugins)
    staging = staging_of(config)
    places = tuple(config.truth.absolute() / "specimens" / f"{index:02d}" for index in range(len(specimens)))
    layout = layout_of(config, plan[0].shot)
    bench = Bench(
        config.stage.use,
        json.dumps(params, sort_keys=True, default=str),
        places,
        config.truth.absolute(),
        staging,
        config.seed,
        config.kind,
        layout.gain_path().name,
        layout.defects_path().name,
        config.camera.gain_turn,
        config.plugin_files,
        config.layout,
    )
    ready = Ready(config, params, specimens, plan, cost, bench)
    if not dry:
        _begin(ready, plugins, resume=resume)
    return ready


def layout_of(config: SessionConfig, first: Shot) -> Layout:
    """Return names and side-cars as the session's acquisition program makes them."""
    if config.layout == "epu":
        from cryoframe.twin.epu_tree import EpuLayout

        return EpuLayout(config.name, first)
    if config.layout == "serialem":
        from cryoframe.twin.serialem_tree import SerialEmLayout

        return SerialEmLayout(config.name, first)
    from cryoframe.twin.flat_tree import FlatLayout

    return FlatLayout(config.name, first)


def _first(config: SessionConfig) -> Exposure:
    return make_plan(replace(config, n_movies=1, faults=()))[0].exposure


def _tried_full(
    config: SessionConfig, params: Mapping[str, Any], specimens: tuple[Specimen, ...], plugins: Plugins
) -> None:
    """Ask the stage for fuller exposures than any of the session is likely to be, in thick ice and in thin.

    Particles that hardly find room would else find none in some exposure, hours later.
    """
    exposure = _first(config)
    ny, nx = exposure.shape_px
    mean = sum(expected_per_A2(one, config.ice.max_A) for one in specimens) * ny * nx * exposure.pixel_size_A**2
    fuller = 1.0 + HEADROOM + min(N_SIGMA / math.sqrt(max(mean, 1.0)), 1.0)
    dense = share_of_ice(specimens) * fuller > SPARSE_FRAC
    for thickness_A in {config.ice.max_A, config.ice.min_A} if dense else {config.ice.max_A}:
        full = replace(exposure, ice_thickness_A=thickness_A, concentration_factor=fuller)
        try:
            _tried(config, params, specimens, plugins, full)
        except ConfigError as error:
            if dense and "overlap" in f"{error.remedy} {error.expected}":
                error.remedy = 'Lower concentration_mg_mL, or set [simulate] params = { overlap = "free" }.'
            raise


def _tried(
    config: SessionConfig,
    params: Mapping[str, Any],
    specimens: tuple[Specimen, ...],
    plugins: Plugins,
    exposure: Exposure | None = None,
) -> Known:
    """Ask the stage for an exposure whose frames nobody reads: what it refuses, it refuses now."""
    exposure = exposure or _first(config)
    if not specimens:  # an empty hole needs none
        exposure = replace(exposure, concentration_factor=0.0, trouble=replace(exposure.trouble, empty_hole=True))
    plugin = plugins.load(plugins.select(HOOK, config.stage.use))
    checked = stage_params(plugins, config.stage.use, params)
    with tempfile.TemporaryDirectory(prefix="cryoframe-simulate-") as folder:
        ctx = StageContext(Path(folder), HOOK, exposure.exposure_id, config.seed)
        given = {"specimens": specimens, "exposure": exposure, "params": checked, "ctx": ctx}
        with refusing(f"the stage '{config.stage.use}' refuses"):
            movie = plugins.call(plugin, HOOK, given)
    if not isinstance(movie, SimulatedMovie):
        raise ContractError(f"{config.stage.use} made a {type(movie).__name__}", expected="a SimulatedMovie")
    if config.kind == "eer" and movie.events is None:
        raise ConfigError(
            f"the stage '{config.stage.use}' makes no events with this camera, and EER files hold nothing else",
            remedy='Choose a camera that writes events (falcon_4i), or kind = "tiff".',
        )
    return Known(movie.movie.optics.voltage_kV, max(1, movie.movie.shape_px[0] // exposure.shape_px[0]))


def _check_landing(config: SessionConfig, plan: tuple[Planned, ...]) -> None:
    """Plan the landing of empty files: hiccups that cannot be, and names that collide, are refused now."""
    layout, hiccups = layout_of(config, plan[0].shot), hiccups_of(config.landing)
    arrivals = [
        Arrival(planned.shot.exposure_id, float(planned.shot.number), Piece(layout.movie_path(planned.shot), b"\0" * 8))
        for planned in plan
    ]
    try:
        plan_landing(arrivals, hiccups, config.seed)
    except InvalidInput as error:
        raise ConfigError(f"[landing]: {error.what}", expected=error.expected, remedy=error.remedy) from error


def staging_of(config: SessionConfig) -> Path:
    """Return where movies wait to land: on the same disk, and where no watcher looks."""
    folder = config.folder.absolute()
    beside = folder.parent / f".{folder.name}.staging"
    if same_disk(beside, folder) or not folder.exists():
        return beside
    return config.truth.absolute() / ".staging" if same_disk(config.truth, folder) else folder / ".staging"


def take_charge(truth: Path) -> int:
    """Take charge of the truth folder, or say that another process has it; the lock goes with the process."""
    descriptor = os.open(truth / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise StoreError(
            f"another process is making the session of {truth}", remedy="Wait for it, or stop it first."
        ) from error
    return descriptor


def _check_writers(plugins: Plugins) -> None:
    for hook in ("write_movie", "write_reference"):
        if not plugins.load_services(hook):
            raise ConfigError(
                f"nothing installed implements {hook}",
                remedy="; ".join(f"{offer.qualified}: {why}" for offer, why in plugins.refused.items()),
            )


def _begin(ready: Ready, plugins: Plugins, *, resume: bool) -> None:
    config = ready.config
    folders.made(config.truth.absolute(), "--truth")
    folders.made(config.folder.absolute(), "--out")
    facts = facts_of(ready, plugins)
    manifest = config.truth / MANIFEST
    if manifest.is_file():
        _check_same(manifest, facts)
    elif resume and any(config.truth.iterdir()):
        raise ConfigError(f"{config.truth} holds no session to go on with", expected=f"a folder with {MANIFEST}")
    _save_specimens(ready)
    part = manifest.with_suffix(".part")
    part.write_text(json.dumps(facts, indent=1, default=str) + "\n", encoding="utf-8")
    part.replace(manifest)


def _check_same(manifest: Path, facts: Mapping[str, Any]) -> None:
    try:
        known = json.loads(manifest.read_text(encoding="utf-8"))["digest"]
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(f"{manifest} cannot be read ({error})", remedy="Give another --truth.") from error
    if known != facts["digest"]:
        raise ConfigError(
            f"{manifest.parent} is the truth of another session: a setting, a file or a version differs",
            remedy="Go on with the settings it was begun with, or give another --out and --truth.",
        )


def _save_specimens(ready: Ready) -> None:
    maps = ready.config.truth / "maps"
    maps.mkdir(exist_ok=True)
    for place, name, specimen in zip(ready.bench.specimens, map_names(ready.specimens), ready.specimens, strict=True):
        if not (place / products.MANIFEST).is_file():
            part = place.with_name(f".{place.name}")
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            products.save(specimen, part)
            part.rename(place)
        if not (maps / name).is_file():
            mrc.write(maps / name, specimen.volume.data, pixel_size_A=specimen.volume.pixel_size_A)


def map_names(specimens: Sequence[Specimen]) -> list[str]:
    """Return the file name of each specimen's map; places on a conformational series are told apart."""
    names = [one.name for one in specimens]
    return [
        f"{one.name}.mrc" if names.count(one.name) == 1 else f"{one.name}_{one.conformation:.3f}.mrc"
        for one in specimens
    ]


def facts_of(ready: Ready, plugins: Plugins) -> dict[str, Any]:
    """Return everything that decides the session, and the digest that tells two sessions apart."""
    config = ready.config
    settings = dataclasses.asdict(config)
    offers = [plugins.select(HOOK, config.stage.use), *(o for hook in SERVICES for o in plugins.offered(hook))]
    decisive = {name: value for name, value in settings.items() if name not in ("folder", "truth", "landing")}
    decisive["specimens"] = [
        {**one, "file": digest_file(one["file"]) if one["file"] else ""} for one in decisive["specimens"]
    ]
    facts = {
        "cryoframe": __version__,
        "settings": settings,
        "params": dict(ready.params),
        "plugins": {f"{o.hook} {o.name}": f"{o.qualified} {o.version} {plugins.source_digest(o)}" for o in offers},
        "species": [
            {
                "name": one.name,
                "truth_class": one.truth_class,
                "mass_kDa": one.mass_kDa,
                "radius_A": one.radius_A,
                "concentration_mg_mL": one.concentration_mg_mL,
                "conformation": one.conformation,
                "symmetry": one.volume.symmetry,
                "map": f"maps/{name}",
            }
            for name, one in zip(map_names(ready.specimens), ready.specimens, strict=True)
        ],
        "faults": [
            {
                "name": one.fault.name,
                "kind": one.fault.kind,
                "doc": one.fault.doc,
                "value": one.value,
                "exposures": [ready.plan[number - 1].shot.exposure_id for number in sorted(one.numbers)],
            }
            for one in occurrences(config.faults, config.n_movies)
        ],
    }
    decided = {**facts, "settings": decisive}
    facts["digest"] = digest_facts(json.loads(json.dumps(decided, default=str)))
    facts["versions"] = {"python": platform.python_version(), "numpy": np.__version__, "machine": platform.machine()}
    return facts
