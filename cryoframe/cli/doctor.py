"""``cryoframe doctor``: looks for what is wrong with this installation and says what to do about it."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from cryoframe.cli.output import json_flag, table

Finding = tuple[str, str, str]
#: Programs that the wrappers shipped with cryoframe run; none is needed.
PROGRAMS = ("relion_refine", "relion_refine_mpi", "relion_run_motioncorr")
LIBRARIES = (
    "numpy",
    "scipy",
    "pyarrow",
    "numba",
    "apsw",
    "watchdog",
    "rich",
    "mrcfile",
    "imagecodecs",
    "gemmi",
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--quick", action="store_true", help="import no plugin")
    json_flag(parser)


def run(options: argparse.Namespace) -> int:
    """Print the findings; 1 when one is a problem."""
    findings = [*_program(), *_libraries(), *_discovery(), *_folders(), *_machine(), *_programs()]
    if not options.quick:
        findings += _plugins()
    table(options, ["what", "state", "found"], findings)
    return int(any(state == "problem" for _, state, _ in findings))


def _program() -> Iterator[Finding]:
    import cryoframe

    yield "cryoframe", "ok", f"{cryoframe.__version__} in {Path(cryoframe.__file__).parent}"
    version = sys.version.split()[0]
    yield "python", "ok" if sys.version_info >= (3, 11) else "problem", f"{version} at {sys.executable}"


def _libraries() -> Iterator[Finding]:
    from importlib import metadata

    for name in LIBRARIES:
        try:
            yield name, "ok", metadata.version(name)
        except metadata.PackageNotFoundError:
            yield name, "problem", f"not installed; python -m pip install {name}"


def _discovery() -> Iterator[Finding]:
    import configparser

    from cryoframe.kernel import discovery

    try:
        n_fast = len(list(discovery.fast_rows()))
        yield "discovery", "ok", f"{n_fast} offers in one pass"
    except (configparser.Error, UnicodeDecodeError) as error:
        first = str(error).splitlines()[0]
        found = f"a neighbour's entry points are malformed, the patient road is taken ({first})"
        yield "discovery", "note", found


def _folders() -> Iterator[Finding]:
    from cryoframe.records.database import NETWORK_FILE_SYSTEMS, file_system

    mounts = Path("/proc/self/mountinfo")
    kind, mount = (
        file_system(Path.cwd(), mounts.read_text(encoding="utf-8", errors="replace")) if mounts.exists() else ("", "")
    )
    network = kind in NETWORK_FILE_SYSTEMS
    remedy = "; give [run] a folder on a local disk" if network else ""
    yield "this folder", "note" if network else "ok", f"{kind or 'unknown'} on {mount or '/'}{remedy}"
    free_GB = shutil.disk_usage(Path.cwd()).free / 1e9
    yield "free space", "ok" if free_GB > 10 else "note", f"{free_GB:.0f} GB"
    cache = Path(os.environ.get("NUMBA_CACHE_DIR") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"))
    place = next((folder for folder in (cache, *cache.parents) if folder.is_dir()), Path("/"))
    writable = os.access(place, os.W_OK)
    yield "cache folder", "ok" if writable else "problem", f"{cache}" + ("" if writable else " cannot be written")


def _machine() -> Iterator[Finding]:
    from cryoframe.kernel.device import cuda_devices

    count, why = cuda_devices()
    yield "processors", "ok", f"{len(os.sched_getaffinity(0))} of {os.cpu_count()} usable"
    yield "CUDA", "ok" if count else "note", f"{count} devices" if count else f"none: {why}"


def _programs() -> Iterator[Finding]:
    for name in PROGRAMS:
        found = shutil.which(name)
        yield name, "ok" if found else "note", found or "not on the PATH; only its wrapper needs it"


def _plugins() -> Iterator[Finding]:
    from cryoframe.cli.plugins import collect
    from cryoframe.errors import CryoframeError

    plugins = collect()
    for offer in plugins.offers:
        if offer.wrapper:
            continue
        try:
            plugin = plugins.load(offer)
            yield f"{offer.hook} {offer.name}", "ok", f"{offer.distribution} {offer.version}"
            yield from _program_of(plugin.module)
        except CryoframeError as error:
            yield f"{offer.hook} {offer.name}", "problem", str(error)


def _program_of(module: object) -> Iterator[Finding]:
    """Say which version of a wrapper's program is here, and which it was tested with."""
    from cryoframe.external import Program

    program = getattr(module, "PROGRAM", None)
    if not isinstance(program, Program):
        return
    what, place = f"{program.name} version", program.located()
    tested = f"tested: {', '.join(program.tested) or 'none'}"
    if place is None:
        yield what, "note", f"not on this machine; {tested}. {program.install}"
        return
    version = program.installed_version(place)
    yield what, "ok" if version in program.tested else "note", f"{version} at {place}; {tested}"
