"""What an attempt is given, what is kept of it, and how often it is repeated; the runner does it."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cryoframe.data.ids import digest_bytes
from cryoframe.errors import ContractError, OutOfReach, PluginError
from cryoframe.execution import checkpoints
from cryoframe.execution.executor import LOG, TRACEBACK, Job, Outcome
from cryoframe.execution.ledger import Due
from cryoframe.kernel.attempt import BUILT_IN_EXECUTORS
from cryoframe.kernel.config import RunConfig, StageConfig
from cryoframe.kernel.plan import Node
from cryoframe.kernel.plugins import Plugins
from cryoframe.records import events
from cryoframe.records.provenance import job_record
from cryoframe.records.state import Task
from cryoframe.records.summaries import FIGURES

DESCRIPTION_S, MAX_DELAY_S = 300.0, 900.0
#: A file is tried twice; trouble of the environment does not count, but a batch run does not wait for ever.
FILE_ATTEMPTS, BATCH_ENVIRONMENT_ATTEMPTS, NEVER = 2, 8, 1 << 30
_LOG_TAIL_BYTES = 64 << 10
MAX_MESSAGE_CHARACTERS = 500
#: Folder of a run with what is known of each failed attempt.
FAILURES = "failures"
_SERVICES = ("open_movie", "open_micrograph", "open_gain", "read_metadata")


@dataclass(frozen=True)
class Running:
    """An attempt in progress; `said` is its plugin's description when it was begun."""

    due: Due
    attempt: int
    scratch: Path
    said: Mapping[str, Any]


def description(config: RunConfig, plugins: Plugins, node: Node, scratch: Path) -> Job:
    """Return the job that only asks what a stage's plugin is."""
    stage = node.stage
    services = tuple(offer for hook in _SERVICES for offer in plugins.offered(hook))
    elsewhere = config.executor not in BUILT_IN_EXECUTORS  # another machine may have another version of the code
    return Job(
        stage.id,
        node.offer,
        str(scratch),
        describe=True,
        params=stage.params,
        seed=config.seed,
        n_threads=n_threads(config, stage),
        device=stage.device or config.device,
        deadline_s=DESCRIPTION_S,
        python=str(stage.python or ""),
        source=plugins.source_digest(node.offer) if elsewhere and not stage.python else "",
        base=str(config.path.parent if config.path else Path.cwd()),
        services=services + plugins.wrappers(node.spec.hook),
    )


def job(
    config: RunConfig, plugins: Plugins, due: Due, scratch: Path, *, said: Mapping[str, Any], item_digest: str
) -> Job:
    """Return the job of one attempt at a task; `said` is its plugin's description."""
    stage = due.node.stage
    return replace(
        description(config, plugins, due.node, scratch),
        describe=False,
        inputs=due.refs,
        item_id=due.item_id,
        item_digest=item_digest,
        device=str(said["device"]),
        source=str(said["source"]) if config.executor not in BUILT_IN_EXECUTORS else "",
        deadline_s=stage.timeout_s,
        memory_MB=float(stage.memory_MB),
        summary=due.node.domain != "set",
        checkpoint=checkpoints.place_of(due, said, scratch, seed=config.seed),
    )


def n_threads(config: RunConfig, stage: StageConfig) -> int:
    """Return the threads of one attempt: as configured, else a fair share of the machine."""
    return stage.threads or max(1, (os.cpu_count() or 1) // config.workers)


def record(config: RunConfig, due: Due, said: Mapping[str, Any], outcome: Outcome, *, attempt: int) -> dict[str, Any]:
    """Return the provenance of a finished attempt; `said` is its plugin's description."""
    offer = due.node.offer
    return job_record(
        hook=offer.hook,
        use=offer.name,
        plugin={"distribution": offer.distribution, "version": offer.version, "source_digest": said["source"]},
        params=said["params"],
        inputs={name: list(digests) for name, digests in due.digests.items()},
        seed=config.seed,
        device=said["device"],
        n_threads=n_threads(config, due.node.stage),
        attempt=attempt,
        seconds=outcome.seconds,
        cpu_s=outcome.cpu_s,
        peak_MB=outcome.peak_MB,
        notes={
            "left_out": list(due.left_out),
            "interpreter": said["python"],
            FIGURES: outcome.result.get("figures", {}),
            **{name: outcome.result[name] for name in ("node",) if name in outcome.result},
            **({"so_far": True} if due.so_far else {}),
        },
    )


def require_whole(folder: Path, files: Mapping[str, int]) -> None:
    """Refuse a product of which a file is missing or was changed after the attempt wrote it down.

    Raises
    ------
    ContractError
        Naming the file.
    """
    for name, size in files.items():
        path = folder / name
        if not path.is_file() or path.stat().st_size != size:
            raise ContractError(f"file {name} of the product is missing or changed", expected=f"{size} bytes")


def limit(error_class: str, stage: StageConfig, *, live: bool) -> int:
    """Return how many failures of a class end a task."""
    if error_class == "environment":
        return NEVER if live else BATCH_ENVIRONMENT_ATTEMPTS
    return FILE_ATTEMPTS if error_class == "file" else stage.attempts


def verdict(error_class: str, outcome: Outcome) -> bool | None:
    """Return False if a failure speaks against the implementation, None if it says nothing of it."""
    is_innocent = error_class == "file" or outcome.message == "cancelled"
    return None if is_innocent or outcome.result.get("type") == OutOfReach.__name__ else False


def is_away(due: Due, away: Collection[Path]) -> bool:
    """Whether a file that a task reads lies below a folder that cannot be reached now."""
    files = (Path(file.path) for ref in due.refs for file in ref.raw) if away else ()
    return any(file.is_relative_to(folder) for file in files for folder in away)


def delay_s(backoff_s: float, key: str, n_failures: int) -> float:
    """Return the wait before the next attempt: doubled each time, and spread by key."""
    spread = 0.75 + 0.5 * int(digest_bytes(key.encode())[:4], 16) / 0xFFFF
    return min(MAX_DELAY_S, backoff_s * 2.0 ** min(n_failures - 1, 20)) * spread


def refusal(node: Node, outcome: Outcome) -> PluginError:
    """Return the error that a stage's plugin, or what is set for it, cannot be used."""
    return PluginError(f"stage '{node.id}': {node.offer.qualified} cannot be used: {outcome.message}")


def bounded(message: str, see: str = "") -> str:
    """Return what a plugin said, short enough for a log and a table; `see` names the file with all of it."""
    if len(message) <= MAX_MESSAGE_CHARACTERS:
        return message
    return message[:MAX_MESSAGE_CHARACTERS] + (f" … see {see}" if see else " …")


def kept_traceback(folder: Path, stage_id: str, key: str) -> Path | None:
    """Return the file about a task's last failure, or None where nothing was kept."""
    place = folder / FAILURES / stage_id
    found = [path for path in place.glob(f"{key}.*.txt") if path.name.split(".")[-2].isdecimal()]
    return max(found, key=lambda path: int(path.name.split(".")[-2]), default=None)


def kept_tracebacks(folder: Path, tasks: Iterable[Task]) -> dict[str, str]:
    """Return, by ``stage item``, the file about the last failure of each task of which one was kept."""
    found = {f"{task.stage_id} {task.item_id}": kept_traceback(folder, task.stage_id, task.key) for task in tasks}
    return {name: str(path) for name, path in found.items() if path is not None}


def keep_traceback(folder: Path, due: Due, scratch: Path, *, attempt: int, said: str) -> str:
    """Copy what helps to understand a failure out of the scratch folder; returns its path in the run folder."""
    place = folder / FAILURES / due.node.id / f"{due.key}.{attempt}.txt"
    texts = [f"{due.item_id}: {said}\n"]
    for name in (TRACEBACK, LOG):
        path = scratch / name
        if path.is_file():
            with path.open("rb") as file:
                file.seek(max(0, path.stat().st_size - _LOG_TAIL_BYTES))
                texts.append(f"--- {name}\n{file.read().decode('utf-8', 'replace')}")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("\n".join(texts), encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""  # a full disk is no reason to lose the failure itself
    return str(place.relative_to(folder))


def pass_on(
    message: Mapping[str, Any], due: Due, *, publish: Callable[..., object], say: Callable[..., object]
) -> None:
    """Have an attempt's progress published and its metrics said."""
    where = {"stage_id": due.node.id, "item_id": due.item_id}
    if "progress" in message:
        done, total, text = message["progress"]
        publish(events.StageProgress, **where, done=int(done), total=int(total), message=str(text))
    if "metric" in message:
        name, value, unit = message["metric"]
        say(events.MetricReported, **where, name=str(name), value=float(value), unit=str(unit))
