"""``cryoframe simulate``: a session of a simulated microscope: movies as they land, and the truth in a folder apart."""

from __future__ import annotations

import argparse
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryoframe.cli import numbers
from cryoframe.cli.output import complain, emit, json_flag, say
from cryoframe.errors import ConfigError

#: What a program that Ctrl-C ended returns.
EXIT_INTERRUPTED = 130

if TYPE_CHECKING:
    from cryoframe.twin.faults import Planned
    from cryoframe.twin.live import Arrived
    from cryoframe.twin.prepare import Ready
    from cryoframe.twin.session import SessionConfig
    from cryoframe.twin.workers import Made

EPILOG = """
WHAT is a session's TOML, or atomic models and maps (every setting then has its default). Values of --set are TOML and
are called as in the session's file: --set image.shape_px='[1024, 1024]' --set defocus.max_A=15000. The folder of
--truth must be where the pipeline never looks. `cryoframe score` compares a run with it.
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = EPILOG
    add = parser.add_argument
    add("what", metavar="WHAT", nargs="*", type=Path, help="SESSION.toml, or models and maps")
    add("--out", type=Path, metavar="DIR", help="the session's folder, which a pipeline may watch")
    add("--truth", type=Path, metavar="DIR", help="where the truth goes")
    add("--movies", type=int, metavar="N", help="number of movies")
    add("--seed", type=numbers.seed, help="of everything that is drawn")
    add("--preset", action="append", default=[], metavar="NAME", help="a microscope or a camera, of --presets; twice")
    add("--kind", choices=("tiff", "mrc", "eer"), help="of the movies' files")
    add("--layout", choices=("epu", "serialem", "flat"), help="names and side-cars")
    add("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="any setting of the session's file")
    add("--fault", action="append", default=[], metavar="NAME[=VALUE][@n-m]", help="a fault of the catalogue, where")
    add("--faults", action="store_true", help="list the catalogue of faults")
    add("--presets", action="store_true", help="list the microscopes and cameras there are")
    add("--plugin-file", type=Path, action="append", default=[], metavar="FILE", help="a one-file plugin")
    add("--workers", type=numbers.n_workers, metavar="N", help="processes that make movies (default: one a core)")
    add("--live", action="store_true", help="land movies in real time")
    add("--rate", type=numbers.not_negative, metavar="N", help="live: movies an hour of the session's time")
    add("--speed", type=numbers.not_negative, metavar="X", help="live: the session's time against real time (1)")
    add("--ahead", type=int, metavar="N", help="live: so many movies are made before the first one lands")
    add("--resume", action="store_true", help="go on with a session that was interrupted")
    add("--dry-run", action="store_true", help="say what it would take, and make nothing")
    add("--picture", type=Path, metavar="FILE.png", help="draw the first exposure, its spectrum and its truth")
    add("--quiet", action="store_true", help="no progress on standard error")
    json_flag(parser)


def run(options: argparse.Namespace) -> int:
    """Make the session; 2 when it cannot be, before anything is made; 130 when it was stopped."""
    if options.faults:
        return _catalogue(options)
    if options.presets:
        return _presets(options)
    _check_words(options)
    return _session(options)


def _check_words(options: argparse.Namespace) -> None:
    if options.speed is not None and options.speed <= 0:
        raise ConfigError("--speed is 0", expected="more than 0; 1 is real time")
    for name in () if options.live else ("rate", "speed", "ahead"):
        if getattr(options, name) is not None:
            raise ConfigError(f"--{name} is given without --live", remedy="It is for sessions that land in real time.")
    if options.picture is not None and not options.picture.absolute().parent.is_dir():
        raise ConfigError(f"--picture: there is no folder '{options.picture.absolute().parent}'")


def _session(options: argparse.Namespace) -> int:
    from cryoframe.cli.stage import collection
    from cryoframe.twin.checks import remarks
    from cryoframe.twin.deliver import check_goes_on
    from cryoframe.twin.make import n_workers_default
    from cryoframe.twin.prepare import prepare

    config = configured(options)
    if options.resume:
        check_goes_on(config.truth, live=options.live, movies_per_hour=options.rate)
    n_workers = options.workers or n_workers_default()
    plugins = collection(argparse.Namespace(plugin_file=list(config.plugin_files)))
    ready = prepare(config, plugins, n_workers=n_workers, resume=options.resume, dry=options.dry_run)
    facts: dict[str, Any] = {"folder": str(config.folder), "truth": str(config.truth), **ready.cost.facts()}
    facts["remarks"] = remarks(ready.config, ready.plan, ready.specimens)
    if not options.quiet:
        for remark in facts["remarks"]:
            complain(f"remark: {remark}")
    if options.dry_run:
        _tell(facts, ready, options)
        return 0
    if not options.quiet:
        complain(_cost_line(ready))
    facts |= _made(ready, options, n_workers)
    if options.picture and facts.get("finished", True):
        from cryoframe.cli.simulate_picture import draw

        draw(ready, plugins, options.picture)
    if options.json:
        emit(facts)
    if not facts.get("finished", True):
        return EXIT_INTERRUPTED
    if not options.json:
        say(f"{facts['n_made']} movies in {config.folder}, {facts['n_particles']} particles; truth in {config.truth}")
    return 0


def configured(options: argparse.Namespace) -> SessionConfig:
    """Return the session of the command line.

    Raises
    ------
    ConfigError
        If nothing, or a mixture, is named.
    """
    from cryoframe.twin.session import from_mapping, of_models, read

    tomls = [path for path in options.what if path.suffix == ".toml"]
    if not options.what or (tomls and len(options.what) > 1):
        raise ConfigError(
            "several sessions or a session and models are named" if options.what else "nothing to simulate is named",
            expected="one SESSION.toml, or one or more models",
        )
    content = read(tomls[0]) if tomls else of_models(options.what)
    where = tomls[0].name if tomls else "simulate"
    folder = tomls[0].absolute().parent if tomls else Path.cwd()
    for pair in options.set:
        _set(content, pair)
    _overlay(content, options)
    return from_mapping(content, folder=folder, where=where)


def _overlay(content: dict[str, Any], options: argparse.Namespace) -> None:
    from cryoframe.numerics.camera_presets import cameras
    from cryoframe.twin.faults import parse

    own = _section(content, "session")
    given = {"n_movies": options.movies, "seed": options.seed, "kind": options.kind, "layout": options.layout}
    own.update({name: value for name, value in given.items() if value is not None})
    for name, path in (("folder", options.out), ("truth", options.truth)):
        if path is not None:
            own[name] = str(path.absolute())
    if options.out is not None and options.truth is None and "truth" not in own:
        own["truth"] = str(options.out.absolute()) + "-truth"
    if options.plugin_file:
        own["plugin_files"] = [*_list(own, "plugin_files"), *(str(path.absolute()) for path in options.plugin_file)]
    for name in options.preset:
        _section(content, "camera" if name in cameras() else "microscope")["preset"] = name
    asked = [vars(parse(text)) for text in options.fault]
    told = [{name: value for name, value in one.items() if value not in (None, "")} for one in asked]
    if told:
        content["fault"] = [*_list(content, "fault"), *told]


def _section(content: dict[str, Any], name: str) -> dict[str, Any]:
    found = content.setdefault(name, {})
    if not isinstance(found, dict):
        raise ConfigError(f"{name} is {found!r}", expected=f"a table, written [{name}]")
    return found


def _list(content: dict[str, Any], name: str) -> list[Any]:
    found = content.get(name, [])
    if isinstance(found, dict):
        return [found]
    if not isinstance(found, list):
        raise ConfigError(f"{name} is {found!r}", expected="a list")
    return found


def _set(content: dict[str, Any], pair: str) -> None:
    import tomllib

    key, equals, text = pair.partition("=")
    section, dot, name = key.strip().partition(".")
    if not (equals and dot and section and name):
        raise ConfigError(f"--set {pair}", expected="SECTION.KEY=VALUE, e.g. image.n_frames=20")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    table: Any = content
    *path, last = (section, *name.split("."))
    for part in path:
        table = table.setdefault(part, {})
        if isinstance(table, list):
            raise ConfigError(f"--set {pair}: [[{part}]] is a list", remedy="Set it in the session's file.")
        if not isinstance(table, dict):
            raise ConfigError(f"--set {pair}: {part} is {table!r}", expected="a table, which has keys")
    table[last] = value


def _made(ready: Ready, options: argparse.Namespace, n_workers: int) -> dict[str, Any]:
    from contextlib import nullcontext

    from cryoframe.twin.deliver import begun_live, land_all, landed_path
    from cryoframe.twin.make import GOES_ON, make_all
    from cryoframe.twin.prepare import take_charge
    from cryoframe.twin.truth_folder import gather
    from cryoframe.view.making import making_progress

    take_charge(ready.config.truth)  # the lock goes with the process
    bar = nullcontext(lambda _, __: None) if options.quiet else making_progress("movies", len(ready.plan))
    making = make_all(ready, n_workers=n_workers, landed=lambda planned: landed_path(ready, planned.shot))
    if options.live or begun_live(ready.config.truth) is not None:
        return _live(ready, making, options, bar)
    made = []
    try:
        with bar as tell:
            for planned, one in making:
                made.append(one)
                tell(len(made), planned.shot.exposure_id)
        gather(ready.config.truth, land_all(ready))
    except KeyboardInterrupt:
        complain(f"stopped. {GOES_ON}")
        raise
    return {"n_made": len(made), "n_particles": sum(one.n_particles for one in made)}


def _live(
    ready: Ready,
    making: Iterator[tuple[Planned, Made]],
    options: argparse.Namespace,
    bar: AbstractContextManager[Callable[[int, str], None]],
) -> dict[str, Any]:
    from cryoframe.compare.truth import Truth
    from cryoframe.twin.deliver import AT_ONCE, begun_live, land_live_session
    from cryoframe.twin.make import GOES_ON
    from cryoframe.twin.truth_folder import gather

    begun = begun_live(ready.config.truth)  # one that goes on keeps its rate; without --live what is left lands at once
    rate = options.rate if options.rate is not None else begun or 0.0
    landed: list[str] = []
    with _stopping() as stop, bar as tell:

        def said(one: Arrived) -> None:
            landed.append(one.exposure_id)
            tell(len(landed), f"{one.exposure_id}, {one.late_s:.0f} s late" if one.late else one.exposure_id)

        report, movies = land_live_session(
            ready,
            making,
            movies_per_hour=rate,
            speed=(options.speed or 1.0) if options.live else AT_ONCE,
            stop=stop,
            n_ahead=options.ahead or 0,
            said=said,
        )
    if not report.finished:
        complain(f"stopped: {report.n_landed} of {len(ready.plan)} movies have landed. {GOES_ON}")
    elif not options.quiet:
        complain(report.summary())
    if report.finished:
        gather(ready.config.truth, movies)
    truth = Truth.open(ready.config.truth)
    return {
        "n_made": len(truth.made),
        "n_landed": report.n_landed,
        "n_particles": sum(int(one["n_particles"]) for one in truth.made.values()),
        "movies_per_hour": report.movies_per_hour,
        "n_late": len(report.late),
        "worst_s": report.worst_s,
        "finished": report.finished,
    }


@contextmanager
def _stopping() -> Iterator[threading.Event]:
    """Give an event that Ctrl-C and a request to end set."""
    import signal

    stop = threading.Event()
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _catalogue(options: argparse.Namespace) -> int:
    from cryoframe.cli.output import table
    from cryoframe.twin.faults import CATALOGUE

    rows = [[one.name, one.kind, one.value, one.value_doc, one.where, one.doc] for one in CATALOGUE.values()]
    table(options, ["name", "kind", "value", "of", "where", "what"], rows)
    return 0


def _presets(options: argparse.Namespace) -> int:
    from cryoframe.cli.output import table
    from cryoframe.cli.stage import collection
    from cryoframe.twin.prepare import presets_of
    from cryoframe.twin.workers import HOOK

    plugins = collection(argparse.Namespace(plugin_file=options.plugin_file))
    rows = [
        [kind, name, what, offer.name]
        for offer in plugins.offered(HOOK)
        for kind, presets in presets_of(plugins.load(offer).params_class).items()
        for name, what in presets.items()
    ]
    table(options, ["kind", "name", "what", "stage"], rows)
    return 0


def _tell(facts: dict[str, Any], ready: Ready, options: argparse.Namespace) -> None:
    if options.json:
        emit(facts | {"species": _species(ready.specimens)})
        return
    say(_cost_line(ready))
    for one in _species(ready.specimens):
        say(f"  {one['name']}: {one['truth_class']}, {one['concentration_mg_mL']:.3g} mg/mL, {one['mass_kDa']:.0f} kDa")
    say(f"  into {facts['folder']}, truth into {facts['truth']}; nothing was made")


def _species(specimens: Sequence[Any]) -> list[dict[str, Any]]:
    names = ("name", "truth_class", "concentration_mg_mL", "mass_kDa", "radius_A")
    return [{name: getattr(one, name) for name in names} for one in specimens]


def _cost_line(ready: Ready) -> str:
    cost, image = ready.cost, ready.config.image
    return (
        f"{cost.n_movies} movies of {image.shape_px[1]} × {image.shape_px[0]} × {image.n_frames}, {cost.disk_GB:.2g} GB"
        f" ({cost.free_GB:.3g} GB free), about {cost.wall_s:.0f} s,"
        f" {cost.particles:.0f} particles expected ({cost.particles_per_movie:.0f} a movie)"
    )
