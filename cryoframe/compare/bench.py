"""One stage, n implementations, the same files: run each, time each, and set the answers side by side."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryoframe.compare.inputs import Bound
from cryoframe.errors import ConfigError
from cryoframe.execution.attempts import bounded
from cryoframe.execution.executor import TRACEBACK, Executor, Inline, Job, Outcome
from cryoframe.execution.processes import Processes
from cryoframe.execution.remarks import remarks_in
from cryoframe.formats import products
from cryoframe.kernel import contract, device
from cryoframe.kernel.discovery import Offer
from cryoframe.kernel.plugins import Plugins

SERVICES = ("open_movie", "open_micrograph", "open_gain", "read_metadata")


@dataclass(frozen=True)
class Setting:
    """How every call of a bench is made."""

    params: Mapping[str, Any] = field(default_factory=dict)
    device: str = "auto"
    seed: int = 0
    n_threads: int = 1
    timeout_s: float = 0.0
    in_process: bool = False
    #: Have the helper process import the implementation before the first call, as in a run that goes on for days.
    warm: bool = False


@dataclass(frozen=True)
class Attempted:
    """One implementation's answer for one item; `product` is the folder of the product, None where it failed."""

    offer: Offer
    item_id: str
    product: Path | None
    seconds: float
    cpu_s: float
    peak_MB: float
    error_class: str = ""
    message: str = ""
    traceback: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    #: What the stage said, line by line.
    remarks: tuple[str, ...] = ()

    def load(self) -> Any:
        """Return the product."""
        if self.product is None:
            raise ConfigError(f"{self.offer.qualified} made nothing of {self.item_id}")
        return products.load(self.product)


def attempt(
    offer: Offer,
    items: Sequence[Bound],
    plugins: Plugins,
    *,
    setting: Setting,
    scratch: Path,
    report: Any = None,
    executor: Executor | None = None,
) -> list[Attempted]:
    """Run one implementation on every item; what fails is said in the answer, never raised.

    Parameters
    ----------
    offer
        The implementation.
    items
        From :func:`cryoframe.compare.inputs.bind`.
    plugins
        Where readers and wrappers come from.
    setting
        Parameters, device, seed, threads, deadline.
    scratch
        One folder a call is made in it.
    report
        Called with (item_id, done, total, message) while a stage runs.
    executor
        Where calls are made, of several benches one after the other; whoever gives it closes it, and hears the
        attempts. One of its own when None.

    Raises
    ------
    ConfigError
        If the parameters or the device cannot be had.
    PluginError, ContractError
        If the implementation cannot be loaded.
    """
    plugin = plugins.load(offer)
    if plugin.params_class is not None:
        contract.params_from(plugin.params_class, dict(setting.params), where=f"--set for {offer.qualified}")
    got, _ = device.resolve(setting.device, plugin.devices)
    voice = _Voice(report)
    place = executor or (Inline(voice) if setting.in_process else Processes(voice, folder=scratch))
    try:
        if setting.warm:
            _describe(offer, plugins, place, scratch)
        return [_one(offer, item, plugins, place, voice, setting=setting, scratch=scratch, got=got) for item in items]
    finally:
        if executor is None:
            place.close()


class _Voice:
    """Hears one call at a time: its progress and its metrics."""

    def __init__(self, report: Any) -> None:
        self.report, self.item_id = report, ""
        self.metrics: dict[str, float] = {}

    def __call__(self, ticket: str, message: Mapping[str, Any]) -> None:
        del ticket
        if "metric" in message:
            name, value, _ = message["metric"]
            self.metrics[str(name)] = float(value)
        if "progress" in message and self.report is not None:
            self.report(self.item_id, *message["progress"])


def _one(
    offer: Offer,
    item: Bound,
    plugins: Plugins,
    executor: Executor,
    voice: _Voice,
    *,
    setting: Setting,
    scratch: Path,
    got: str,
) -> Attempted:
    folder = scratch / f"{offer.name}-{len(list(scratch.iterdir()))}"
    folder.mkdir()
    voice.item_id, voice.metrics = item.item_id, {}
    job = Job(
        stage_id=offer.hook,
        offer=offer,
        folder=str(folder),
        params=dict(setting.params),
        inputs=item.refs,
        item_id=item.item_id,
        item_digest=item.digest,
        seed=setting.seed,
        n_threads=setting.n_threads,
        device=got,
        deadline_s=setting.timeout_s,
        base=str(Path.cwd()),
        services=_services(offer, plugins),
    )
    outcome = _outcome(executor, executor.submit(job))
    trace = ""
    with contextlib.suppress(OSError):
        trace = (folder / TRACEBACK).read_text(encoding="utf-8")
    made = None if outcome.error_class else folder / "product"
    spent = (outcome.seconds, outcome.cpu_s, outcome.peak_MB)
    metrics, said = dict(voice.metrics), tuple(remarks_in(folder, offer.hook, item.item_id))
    return Attempted(
        offer, item.item_id, made, *spent, outcome.error_class, bounded(outcome.message), trace, metrics, said
    )


def _services(offer: Offer, plugins: Plugins) -> tuple[Offer, ...]:
    return (*plugins.wrappers(offer.hook), *(service for hook in SERVICES for service in plugins.offered(hook)))


def _describe(offer: Offer, plugins: Plugins, executor: Executor, scratch: Path) -> None:
    """Ask what the implementation is: a helper that has answered keeps it imported."""
    folder = scratch / f"description-{len(list(scratch.iterdir()))}"
    folder.mkdir()
    job = Job(offer.hook, offer, str(folder), describe=True, base=str(Path.cwd()), services=_services(offer, plugins))
    _outcome(executor, executor.submit(job))


def _outcome(executor: Executor, ticket: str) -> Outcome:
    while True:
        for outcome in executor.poll(1.0):
            if outcome.ticket == ticket:
                return outcome


def numbers(attempted: Attempted) -> dict[str, float]:
    """Return what can be compared of an answer: the plain numbers of its product, row counts, reported metrics."""
    if attempted.product is None:
        return {}
    content = json.loads((attempted.product / products.MANIFEST).read_text(encoding="utf-8"))["value"]
    found = dict(_leaves(content, "")) if isinstance(content, dict) else {}
    found |= {f"metric {name}": value for name, value in attempted.metrics.items()}
    table = getattr(attempted.load(), "particles", attempted.load())
    if hasattr(table, "n_rows"):
        found["n_particles"] = float(table.n_rows)
    return found


def _leaves(tree: Mapping[str, Any], prefix: str) -> list[tuple[str, float]]:
    found: list[tuple[str, float]] = []
    for name, value in tree.items():
        if isinstance(value, bool) or name == "optics":
            continue
        if isinstance(value, (int, float)):
            found.append((prefix + name, float(value)))
        elif isinstance(value, dict):
            found += _leaves(value, f"{prefix}{name}.")
    return found
