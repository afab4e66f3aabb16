"""``cryoframe stage``: runs any one stage on any files, without a configuration; for scripts and other programs."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryoframe.cli import numbers
from cryoframe.cli.output import complain, emit, json_flag, say
from cryoframe.errors import ConfigError

if TYPE_CHECKING:
    from cryoframe.compare.bench import Attempted
    from cryoframe.compare.inputs import Bound, Given
    from cryoframe.kernel.plugins import Plugin

EPILOG = """
FILES are bound to the stage's arguments by type: movies and micrographs (MRC, TIFF, EER, PNG), STAR files (particles,
picks, micrographs with CTF), maps (MRC; reference first, mask second), and folders that an earlier `cryoframe stage`
wrote. Where order does not say enough, write argument=PATH. Values of --set are TOML: --set low_A=30
--set 'patches=[5, 5]'; --set optics.voltage_kV=200 sets the microscope.
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = EPILOG
    parser.add_argument("hook", metavar="HOOK", help="the stage, e.g. estimate_ctf")
    parser.add_argument("name", metavar="NAME", help="the implementation, as `cryoframe plugins HOOK` lists it")
    parser.add_argument("files", metavar="FILE", nargs="+", help="inputs")
    parser.add_argument(
        "--out", type=Path, default=None, metavar="DIR", help="where products go; nothing is kept without it"
    )
    parser.add_argument("--force", action="store_true", help="replace what --out holds")
    input_flags(parser)
    json_flag(parser)


def input_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say more of the files and of the call."""
    add = parser.add_argument
    add(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a parameter, or optics.KEY=VALUE; in compare also NAME:KEY=VALUE, for one implementation alone",
    )
    add(
        "--pixel-size",
        type=numbers.pixel_size_A,
        metavar="Å",
        help="pixel size where a file states none or a wrong one",
    )
    add(
        "--dose",
        type=numbers.not_negative,
        default=0.0,
        metavar="e/Å²",
        help="dose of a micrograph, or of one frame of a movie",
    )
    add("--gain", default="", metavar="FILE", help="gain reference of movies")
    add("--symmetry", default="C1", help="of maps")
    add("--root", type=Path, metavar="DIR", help="where names of stacks in STAR files start")
    add("--plugin-file", type=Path, action="append", default=[], metavar="FILE", help="a one-file plugin")
    add("--seed", type=numbers.seed, default=0, help="of randomness and half-sets")
    add("--threads", type=numbers.n_threads, default=1, help="threads the stage may use")
    add("--device", default="auto", help="auto, cpu, cuda or cuda:n")
    add("--timeout", type=numbers.not_negative, default=0.0, metavar="s", help="end a call after this time")
    add(
        "--isolate",
        action="store_true",
        help="run each call in a process of its own; else in this one, which a crash takes along",
    )


def run(options: argparse.Namespace) -> int:
    """Run the stage on every item; 1 when one failed."""
    from cryoframe.compare.bench import attempt
    from cryoframe.compare.inputs import bind

    plugins = collection(options)
    offer = plugins.select(options.hook, options.name)
    params, optics = settings(options.set)
    tell_assumed(options.hook, optics)
    results = []
    with tempfile.TemporaryDirectory(prefix="cryoframe-stage-") as made:
        scratch = Path(made)
        (scratch / "inputs").mkdir()
        (scratch / "calls").mkdir()
        asked = arguments_of([plugins.load(offer)])
        items = bind(options.hook, options.files, given(options, optics), scratch / "inputs", asked=asked)
        _check_target(options, items)
        setting = bench_setting(options, params)
        for item in items:
            done = attempt(offer, [item], plugins, setting=setting, scratch=scratch / "calls", report=_report)[0]
            results.append(_record(done, item, options, many=len(items) > 1))
            if not options.json:
                _show(results[-1])
    if options.json:
        emit({"hook": options.hook, "use": offer.qualified, "version": offer.version, "results": results})
    return int(any(result["error"] for result in results))


def collection(options: argparse.Namespace) -> Any:
    """Return the installed plugins and the one-file ones of the command line."""
    from cryoframe.kernel.discovery import local_offers, scan
    from cryoframe.kernel.plugins import Plugins

    return Plugins((*scan(), *local_offers(options.plugin_file)))


def arguments_of(plugins: Sequence[Plugin]) -> set[str]:
    """Return the arguments that the functions of any of the implementations have."""
    import inspect

    functions = [getattr(plugin.module, plugin.offer.hook) for plugin in plugins]
    return {name for function in functions for name in inspect.signature(function).parameters}


def settings(pairs: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return (parameters, optics) of ``--set``; values are TOML, what is not is text.

    Raises
    ------
    ConfigError
        If a pair has no ``=``, or names an unknown setting of the optics.
    """
    import dataclasses
    import tomllib

    from cryoframe.data.optics import Optics
    from cryoframe.data.typed import build

    params: dict[str, Any] = {}
    optics: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise ConfigError(f"--set {pair}", expected="KEY=VALUE")
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text
        (optics if key.startswith("optics.") else params)[key.removeprefix("optics.").strip()] = value
    checked = dataclasses.asdict(build(Optics, optics, where="--set optics"))
    return params, {key: checked[key] for key in optics}


def tell_assumed(hook: str, optics: dict[str, Any]) -> None:
    """Say which settings of the microscope are assumed, where images come in: a wrong voltage gives wrong numbers."""
    from cryoframe.data.images import Micrograph, Movie
    from cryoframe.data.optics import Optics
    from cryoframe.kernel.config import ASSUMED
    from cryoframe.kernel.stage import stage_specs

    spec = stage_specs().get(hook)
    if spec is None or not any(part.kind in (Micrograph, Movie) for part in spec.consumes):
        return
    said = [words.format(getattr(Optics(), name)) for name, words in ASSUMED.items() if name not in optics]
    if said:
        complain(f"optics assumed: {', '.join(said)}; set with --set optics.KEY=VALUE")


def given(options: argparse.Namespace, optics: dict[str, Any]) -> Given:
    """Return what the flags say of the files."""
    from cryoframe.compare.inputs import Given

    return Given(
        pixel_size_A=options.pixel_size,
        dose_e_A2=options.dose,
        dose_per_frame_e_A2=options.dose,
        gain=str(Path(options.gain).absolute()) if options.gain else "",
        symmetry=options.symmetry,
        root=options.root,
        seed=options.seed,
        optics=optics,
    )


def bench_setting(options: argparse.Namespace, params: dict[str, Any], *, isolate: bool = False) -> Any:
    """Return how calls are made."""
    from cryoframe.compare.bench import Setting

    return Setting(
        params=params,
        device=options.device,
        seed=options.seed,
        n_threads=options.threads,
        timeout_s=options.timeout,
        in_process=not (options.isolate or isolate or options.timeout),
    )


def _check_target(options: argparse.Namespace, items: Sequence[Bound]) -> None:
    """Refuse before the work, not after it; the folders are made."""
    from cryoframe.records import folders

    for item in items:
        target = _target(options, item, many=len(items) > 1)
        if target is None:
            continue
        folders.made(target, "--out", remedy="Give another --out.")
        if not options.force and any(target.iterdir()):
            raise ConfigError(f"folder {target} is not empty", remedy="Give another --out, or --force.")


def _target(options: argparse.Namespace, item: Bound, *, many: bool) -> Path | None:
    return (options.out / Path(item.item_id).stem if many else options.out) if options.out else None


def _record(done: Attempted, item: Bound, options: argparse.Namespace, *, many: bool) -> dict[str, Any]:
    from cryoframe.cli.stage_output import place, summary

    record: dict[str, Any] = {"item": done.item_id, "seconds": round(done.seconds, 3), "peak_MB": round(done.peak_MB)}
    record |= {"error_class": done.error_class, "error": done.message, "metrics": dict(done.metrics), "out": None}
    record |= {"remarks": list(done.remarks)}
    if done.product is not None:
        target = _target(options, item, many=many)
        if target is not None:
            pixel = _micrograph_pixel(item)
            record["out"] = str(place(done.product, target, force=options.force, micrograph_pixel_size_A=pixel))
        record["product"] = summary(done.product)
    elif (made := _target(options, item, many=many)) is not None and not any(made.iterdir()):
        made.rmdir()  # it was made to see whether it can be
    return record


def _micrograph_pixel(item: Bound) -> float | None:
    """Return the pixel size of the micrograph a call was about, where it was one."""
    from cryoframe.execution.worker_inputs import part_of

    for ref in item.refs:
        if ref.kind == "Micrograph" and ref.raw:
            stated = ref.raw[0].facts.get("pixel_size_A")
            return float(stated) if stated else _stated_pixel(Path(ref.raw[0].path))
        if ref.kind == "Micrograph":
            return float(part_of(ref.folders[0], ref.field).pixel_size_A)
    return None


def _stated_pixel(path: Path) -> float | None:
    from cryoframe.errors import CryoframeError
    from cryoframe.kernel.discovery import scan
    from cryoframe.kernel.plugins import Plugins

    try:
        return Plugins(scan()).ask("open_micrograph", {"path": path}).pixel_size_A  # type: ignore[attr-defined, no-any-return]
    except CryoframeError:
        return None


def _report(item_id: str, done: int, total: int, message: str) -> None:
    import sys

    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{item_id}: {done}/{total} {message}" + ("\r\x1b[K" if done >= total else ""))


def _show(record: dict[str, Any]) -> None:
    if record["error"]:
        complain(f"{record['item']}: {record['error_class']}: {record['error']}")
        return
    facts = record["product"]
    shown = ", ".join(f"{name} {_short(value)}" for name, value in facts.items() if name != "kind" and value != "")
    say(f"{record['item']}: {facts['kind']} in {record['seconds']:.2f} s: {shown}")
    for line in record["remarks"]:
        say(f"  {line}")
    if record["out"]:
        say(f"  → {record['out']}")


def _short(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
