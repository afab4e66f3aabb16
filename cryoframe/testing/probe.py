"""What runs in the sandbox: import one plugin, call it as a worker does, say what was seen. It judges nothing.

``python -m cryoframe.testing.probe ORDER.json``; the order names the job, and the report goes beside it.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import io
import json
import os
import pkgutil
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

KILLED = 137
#: Libraries that no plugin may load while it is imported.
HEAVY = ("numba", "cupy", "torch", "tensorflow", "jax", "sklearn", "matplotlib", "pandas")


@dataclass
class Order:
    """What is to be done: the job, how often to call, and when to die without a word."""

    job: str
    report: str
    n_calls: int = 1
    die_at_first_report: bool = False


@dataclass
class Report:
    """What was seen."""

    import_cpu_s: float = 0.0
    heavy: list[str] = field(default_factory=list)
    call_begun: bool = False
    error: str = ""
    error_kind: str = ""
    fingerprint: str = ""
    seconds: float = 0.0
    memory_MB: list[float] = field(default_factory=list)
    threads: list[str] = field(default_factory=list)
    children: int = 0
    handlers: int = 0
    #: What the kernel's own worker said of the same job: nothing when it accepted the result.
    refused: str = ""

    def write(self, path: str) -> None:
        """Write the report."""
        Path(path).write_text(json.dumps(asdict(self)), encoding="utf-8")


def lay_ground() -> None:
    """Import what every plugin may count on, so that its own cost is what is measured."""
    for package in ("cryoframe.data", "cryoframe.numerics", "cryoframe.formats"):
        module = importlib.import_module(package)
        for found in pkgutil.iter_modules(module.__path__):
            if not found.ispkg:
                importlib.import_module(f"{package}.{found.name}")
    for name in ("scipy.ndimage", "scipy.optimize", "cryoframe.execution.worker", "cryoframe.kernel.hookspecs"):
        importlib.import_module(name)


def main(order: Order) -> int:
    """Carry the order out."""
    lay_ground()
    import logging

    from cryoframe.execution.executor import Job
    from cryoframe.kernel.plugins import Plugins

    report, job = Report(), Job.from_json(Path(order.job).read_text(encoding="utf-8"))
    plugins = Plugins((job.offer, *(offer for offer in job.services if offer != job.offer)))
    plugins.load_services("open_movie")
    before = set(sys.modules)
    begun = time.process_time()
    try:
        plugin = plugins.load(job.offer)
    except Exception as error:
        report.error = f"{type(error).__name__}: {error}"
        report.write(order.report)
        return 1
    report.import_cpu_s = time.process_time() - begun
    loaded = {name.partition(".")[0] for name in set(sys.modules) - before}
    report.heavy = [name for name in HEAVY if name in loaded]
    report.handlers = len(logging.root.handlers)
    report.write(order.report)
    if order.n_calls:
        _call_often(order, report, job, lambda ctx: _perform(job, plugins, plugin, ctx))
        if order.n_calls > 1 and not report.error:
            report.refused = _attempt(job, plugins)
    report.write(order.report)
    return 1 if report.error else 0


def _perform(job: Any, plugins: Any, plugin: Any, ctx: Any) -> Any:
    from cryoframe.execution import worker_inputs
    from cryoframe.kernel import contract
    from cryoframe.kernel.stage import stage_specs

    inputs = worker_inputs.open_inputs(job, stage_specs()[job.offer.hook], plugins)
    params = contract.params_from(plugin.params_class, job.params) if plugin.params_class else None
    given = worker_inputs.in_convention(inputs, plugin.convention)
    return plugins.call(plugin, job.offer.hook, {**given, "params": params, "ctx": ctx})


def _call_often(order: Order, report: Report, job: Any, perform: Callable[[Any], Any]) -> None:
    from cryoframe.kernel.context import StageContext
    from cryoframe.testing import anatomy

    def hear(done: int, total: int, message: str) -> None:
        del done, total, message
        if order.die_at_first_report:
            os._exit(KILLED)

    threads = set(threading.enumerate())
    for index in range(order.n_calls):
        work = Path(job.folder) / f"work-{os.getpid()}-{index}"
        work.mkdir()
        ctx = StageContext(work, job.stage_id, job.item_id, job.seed, job.n_threads, job.device, on_report=hear)
        begun = time.perf_counter()
        report.call_begun = True
        report.write(order.report)
        try:
            result = perform(ctx)
        except Exception as error:
            report.error, report.error_kind = f"{type(error).__name__}: {error}", type(error).__name__
            return
        report.seconds = report.seconds or time.perf_counter() - begun
        report.fingerprint = report.fingerprint or anatomy.fingerprint(result)
        del result
        gc.collect()
        report.memory_MB.append(_resident_MB())
    report.threads = [thread.name for thread in threading.enumerate() if thread not in threads and not thread.daemon]
    report.children = _n_children()


def _attempt(job: Any, plugins: Any) -> str:
    """Let the kernel's worker run the same job to a stored product; return why it could not."""
    from cryoframe.execution import worker
    from cryoframe.execution.executor import RESULT

    with contextlib.redirect_stdout(io.StringIO()):  # the worker writes the attempt's log there
        worker.attempt(job, lambda message: None, plugins=plugins)
    said = json.loads((Path(job.folder) / RESULT).read_text(encoding="utf-8"))
    return "" if said["ok"] else str(said["message"])


def _resident_MB() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _n_children() -> int:
    tasks = Path("/proc/self/task").glob("*/children")
    return sum(len(path.read_text(encoding="ascii").split()) for path in tasks)


if __name__ == "__main__":
    sys.exit(main(Order(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))))
