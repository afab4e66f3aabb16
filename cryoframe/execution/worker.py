"""One attempt, from written job to written result, inside whatever process it was given; decides nothing afterwards."""

from __future__ import annotations

import errno
import json
import shutil
import socket
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

from cryoframe.data.ids import digest_file
from cryoframe.errors import ContractError, CryoframeError, EnvironmentFault, OutOfReach
from cryoframe.execution import checkpoints, summary, worker_inputs, worker_results
from cryoframe.execution.executor import RESULT, TRACEBACK, Job
from cryoframe.execution.remarks import remark
from cryoframe.formats import products
from cryoframe.kernel import contract, device
from cryoframe.kernel.context import StageContext
from cryoframe.kernel.plugins import Plugin, Plugins
from cryoframe.kernel.stage import StageSpec, stage_specs

Tell = Callable[[Mapping[str, Any]], None]
PRODUCT, WORK = "product", "work"
#: Progress is passed on no more often than this, but for the last of it.
REPORT_S = 0.1
#: The disk, the share, the memory or the node is to blame, not the file and not the plugin.
_ENVIRONMENT_ERRNOS = frozenset(
    (
        errno.EIO,
        errno.ESTALE,
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EROFS,
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOTCONN,
        errno.EHOSTDOWN,
        errno.ETIMEDOUT,
        errno.EAGAIN,
        errno.ENODEV,
    )
)


def attempt(
    job: Job, tell: Tell, is_cancelled: Callable[[], bool] = lambda: False, *, plugins: Plugins | None = None
) -> None:
    """Do what the job says and leave a result; whatever a plugin raises becomes part of the result.

    Parameters
    ----------
    job
        Its folder receives ``result.json``, on success ``product/``, on failure ``traceback.txt``.
    tell
        Receives progress and metrics while the stage runs.
    is_cancelled
        Asked whenever the stage reports.
    plugins
        What :func:`preload` returned for such a job.
    """
    folder = Path(job.folder)
    plugins = plugins or plugins_of(job)
    try:
        result = _asked(job, plugins) if job.describe else _run(job, plugins, tell, is_cancelled)
    except BaseException as error:  # SystemExit and KeyboardInterrupt of a plugin are failures of the plugin
        (folder / TRACEBACK).write_text(traceback.format_exc(), encoding="utf-8")
        error = _cause(error, job)
        result = {"ok": False, "error_class": error_class(error), "message": f"{type(error).__name__}: {error}"}
        result |= {"type": type(error).__name__, "what": getattr(error, "what", str(error))}
        result |= {name: getattr(error, name, "") for name in ("expected", "remedy")}
    part = folder / f"{RESULT}.part"
    part.write_text(json.dumps(result), encoding="utf-8")
    part.replace(folder / RESULT)


def _cause(error: BaseException, job: Job) -> BaseException:
    """Return what an attempt failed of: if the share went while a plugin read, neither it nor the file is to blame."""
    try:
        worker_inputs.require_unchanged(job)
    except OutOfReach as gone:
        return gone
    except CryoframeError:
        pass  # it changed, and is admitted anew; what was raised says more
    return error


def error_class(error: BaseException) -> str:
    """Say who is to blame: file, environment, user or bug (the plugin)."""
    if isinstance(error, CryoframeError):
        return error.kind
    if isinstance(error, OSError) and error.errno in _ENVIRONMENT_ERRNOS:
        return "environment"
    return "bug"


def preload(job: Job) -> Plugins:
    """Import what attempts of this kind need, so that the processes forked from this one need not."""
    plugins = plugins_of(job)
    plugins.load(job.offer)
    for hook in ("open_movie", "open_micrograph"):
        plugins.load_services(hook)
    return plugins


def plugins_of(job: Job) -> Plugins:
    """Return the plugins a job knows of, none of them imported yet."""
    return Plugins((job.offer, *(offer for offer in job.services if offer != job.offer)))


def _asked(job: Job, plugins: Plugins) -> dict[str, Any]:
    said = probe(job, plugins) if job.inputs else describe(job, plugins)
    return {"ok": True, "n_os_threads": len(list(Path("/proc/self/task").iterdir())), **said}


def probe(job: Job, plugins: Plugins) -> dict[str, Any]:
    """Read the header of a user's file and return what it says, without its pixels."""
    wanted = job.inputs[0]
    facts = header_of(plugins, f"open_{wanted.kind.lower()}", Path(wanted.raw[0].path))
    return {"facts": facts, "device": "cpu"}


def header_of(plugins: Plugins, hook: str, path: Path) -> dict[str, Any]:
    """Return what the first reader that knows a file says of it, without its pixels."""
    source = worker_inputs.read_first(plugins, hook, str(path))
    ny_px, nx_px = source.shape_px
    facts = {"ny_px": int(ny_px), "nx_px": int(nx_px)}
    for name in ("n_frames", "pixel_size_A", "voltage_kV", "dose_e_A2"):
        value = getattr(source, name, None)
        facts |= {} if value is None else {name: value}
    return facts


def describe(job: Job, plugins: Plugins) -> dict[str, Any]:
    """Import the plugin, check it and its parameters, and return all that enters a key, without running it."""
    plugin = _load(job, plugins)
    params = _params(job, plugin)
    # Resolved here and not by the runner: asking the driver starts threads, and may take the process down.
    got, why = device.resolve(job.device, plugin.devices)
    files = {name: digest_file(path) for name, path in contract.file_params(params).items()}
    return {
        "params": {name: str(value) if isinstance(value, Path) else value for name, value in _plain(params).items()},
        "files": files,
        "device": got,
        "why": why,
        "source": plugin.source_digest,
        "python": sys.version.split()[0],
        "carries_on": contract.plugin_attribute(plugin.module, "CARRIES_ON", False),
    }


def _load(job: Job, plugins: Plugins) -> Plugin:
    """Import the plugin, which has to be the code that the run knows: a node may have another version of it."""
    plugin = plugins.load(job.offer)
    if job.source not in ("", plugin.source_digest):
        raise EnvironmentFault(
            f"{job.offer.qualified} is not the same on {socket.gethostname()} as where the run was begun:"
            f" source {plugin.source_digest[:12]} here, {job.source[:12]} ({job.offer.version}) there",
            remedy="Install the same version everywhere; after an edit, `cryoframe reload`.",
        )
    return plugin


def _params(job: Job, plugin: Plugin) -> Any:
    if plugin.params_class is None:
        return None
    where = f"[[stage]] {job.stage_id}: params"
    return contract.params_from(plugin.params_class, dict(job.params), where=where, folder=Path(job.base))


def _plain(params: object) -> dict[str, Any]:
    return asdict(params) if is_dataclass(params) and not isinstance(params, type) else {}


def _run(job: Job, plugins: Plugins, tell: Tell, is_cancelled: Callable[[], bool]) -> dict[str, Any]:
    plugin = _load(job, plugins)
    spec, params = stage_specs()[job.offer.hook], _params(job, plugin)
    worker_inputs.require_unchanged(job)
    inputs = worker_inputs.open_inputs(job, spec, plugins)
    notes = worker_results.Notes()
    ctx = _context(job, tell, notes, is_cancelled)
    given = worker_inputs.in_convention(inputs, plugin.convention)
    value = plugins.call(plugin, job.offer.hook, {**given, "params": params, "ctx": ctx})
    worker_inputs.require_unchanged(job)
    if value is None:
        raise ContractError(f"{job.offer.name} returned nothing", expected=spec.produces.__name__)
    product, notes = worker_results.accept(value, job, spec, inputs=inputs, plugin=plugin, params=params, notes=notes)
    figures = summary.leave(product, inputs, Path(job.folder)) if job.summary else {}
    return {"ok": True, "figures": figures, **_save(job, spec, product, notes)}


def _context(job: Job, tell: Tell, notes: worker_results.Notes, is_cancelled: Callable[[], bool]) -> StageContext:
    work = Path(job.folder) / WORK
    work.mkdir(exist_ok=True)

    last_s = [0.0]

    def report(done: int, total: int, message: str) -> None:
        if done >= total or time.monotonic() - last_s[0] >= REPORT_S:
            last_s[0] = time.monotonic()
            tell({"progress": [done, total, message]})

    return StageContext(
        workdir=work,
        stage_id=job.stage_id,
        item_id=job.item_id,
        seed=job.seed,
        n_threads=job.n_threads,
        device=job.device,
        on_report=report,
        on_metric=lambda name, value, unit: tell({"metric": [name, value, unit]}),
        on_log=lambda message: print_line(job, message),
        on_drop=notes.drop,
        is_cancelled=is_cancelled,
        checkpoint_dir=checkpoints.made(job.checkpoint),
    )


def print_line(job: Job, message: str) -> None:
    """Add a line to the attempt's log, among what the plugin printed."""
    sys.stdout.write(remark(job.stage_id, job.item_id, message))


def _save(job: Job, spec: StageSpec, product: object, notes: worker_results.Notes) -> dict[str, Any]:
    folder = Path(job.folder) / PRODUCT
    folder.mkdir()
    written = products.save(product, folder)
    written += notes.write(folder, Path(job.folder) / WORK, product)
    shutil.rmtree(Path(job.folder) / WORK, ignore_errors=True)
    for joined in Path(job.folder).glob("*.images"):
        joined.unlink()
    return {"kind": spec.produces.__name__, "files": {path.name: path.stat().st_size for path in written}}
