"""Which task is due, from which products, under which key: a pure look at plan, state and store. Starts nothing."""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from typing import Any

from cryoframe.data.ids import digest_facts, digest_file
from cryoframe.data.optics import Optics
from cryoframe.errors import StoreError
from cryoframe.execution.executor import IDENTITY, InputRef, RawFile
from cryoframe.execution.known import DONE, GIVEN_UP, SET, TOLD, WAITING, Known, KnownTasks
from cryoframe.kernel.config import ASSUMED, RunConfig
from cryoframe.kernel.plan import INPUT_KINDS, Node, Plan, Source
from cryoframe.kernel.wiring import special_part
from cryoframe.records.state import Item, State, TaskState
from cryoframe.records.store import PRODUCT, Store

#: Stage ids under which products made from input files are stored.
IMPORTED = {"input:particles": "input-particles", "input:volumes": "input-volumes"}
#: Items kept in memory as they are: those that arrived last, or were asked for last. The others are in the state.
_RECENT = 256


@dataclass(frozen=True)
class Due:
    """A task that can run now."""

    node: Node
    item_id: str
    key: str
    refs: tuple[InputRef, ...]
    digests: Mapping[str, tuple[str, ...]]
    left_out: tuple[str, ...] = ()
    #: Of a stage that carries on, while items arrive: the product depends on how the set grew.
    so_far: bool = False


@dataclass(frozen=True)
class _Part:
    """One product, or one raw file, that a task would be given."""

    digest: str
    folder: str = ""
    raw: RawFile | None = None


class Ledger:
    """The tasks of a run as the plan wants them; the runner writes into `known` what becomes of each."""

    def __init__(self, plan: Plan, config: RunConfig, state: State, store: Store) -> None:
        self.plan, self.config, self.store, self._state = plan, config, store, state
        self.known = KnownTasks()
        self.described: dict[str, Mapping[str, Any]] = {}
        #: Why stages are left out of a live session: nothing of them is ever due.
        self.left_out: dict[str, str] = {}
        self._items: dict[str, set[str]] = {}
        self._recent: OrderedDict[str, tuple[Item, _Part]] = OrderedDict()
        self._last_sizes: dict[str, int] = {}
        #: Of each stage over the set, the item it was last seen waiting for: while that waits, no other is looked at.
        self._blockers: dict[tuple[str, str], str] = {}
        for task in state.task_states():
            found = task.status != DONE or store.has(task.stage_id, task.key)
            status = _STATUS.get(task.status, WAITING) if found else WAITING
            digest = task.digest if status == DONE else ""
            self.known[task.stage_id, task.item_id] = Known(task.key, status, digest, _counted(task))
        for item_id, kind in state.item_kinds():
            self._items.setdefault(_section(kind), set()).add(sys.intern(item_id))

    def answered(self, node: Node, said: Mapping[str, Any], refused: str) -> None:
        """Take in what a stage's plugin said of itself, or why it cannot be used."""
        if refused:
            self.left_out[node.id] = refused
        else:
            self.described[node.id] = said

    def add(self, item: Item) -> None:
        """Take in an item, new or changed."""
        self._items.setdefault(_section(item.kind), set()).add(sys.intern(item.item_id))
        self._recent.pop(item.item_id, None)
        self._keep(item)

    def go_on_from(self, other: Ledger) -> None:
        """Remember how large the sets were when they were last worked on, as another ledger of the run knows it."""
        self._last_sizes = dict(other._last_sizes)

    def content_digest(self, node: Node, item_id: str) -> str:
        """Return the digest of an item's file, which identifies its micrograph whatever it is called."""
        return self._item(item_id)[0].digest if item_id in self._items.get(node.domain, ()) else ""

    def units(self, node: Node) -> list[str]:
        """Return the item ids a stage runs over, in the order of their names."""
        return [SET] if node.domain == "set" else sorted(self._items.get(node.domain, ()))

    def due(self, node: Node, unit: str, *, live: bool = False) -> Due | None:
        """Return the task if all it needs is there; None if it has to wait or can never run."""
        if live and node.domain == "set" and self._too_few(node):
            return None
        wires: dict[str, list[_Part]] = {}
        updates: list[tuple[str, str]] = []
        left_out: set[str] = set()
        for name, source in node.wires.items():
            parts = self._parts(node, unit, source, left_out, live=live)
            if not parts:
                self._wait(node, unit)
                return None
            wires[name] = parts
            for update in source.updates:
                known = self._fresh(update.origin, SET)
                if known is None:
                    self._wait(node, unit)
                    return None
                updates.append((str(self._folder(update.origin, known.key)), update.field))
                wires[f"{name}+{update}"] = [_Part(known.digest)]
        if node.domain == "set" and live and not self._enough(node, wires):
            return None
        digests = {name: tuple(part.digest for part in parts) for name, parts in wires.items()}
        refs = tuple(self._ref(node, name, source, wires[name], updates) for name, source in node.wires.items())
        key = self._key(node, digests)
        so_far = live and self._carries_on(node) and not self.store.has(node.id, key)
        key = digest_facts({"so_far": key}) if so_far else key
        return Due(node, unit, key, refs, digests, tuple(sorted(left_out)), so_far)

    def _carries_on(self, node: Node) -> bool:
        """Whether what a stage makes of a growing set depends on how it grew; see ``checkpoints``."""
        return node.domain == "set" and bool(self.described[node.id].get("carries_on"))

    def _wait(self, node: Node, unit: str) -> None:
        """Note that what a task made is out of date until what it needs is there again."""
        known = self.known.get((node.id, unit))
        if known is not None and known.status == DONE:
            self.known[node.id, unit] = replace(known, status=WAITING)

    def status(self, node: Node, unit: str) -> str:
        """Return done, given_up (itself or something it needs), or waiting."""
        if self.known.is_done(node.id, unit):
            return DONE
        known = self.known.get((node.id, unit))
        if known is not None and known.status == GIVEN_UP:
            return GIVEN_UP
        for source in node.wires.values():
            if not source.origin.startswith("input:"):
                origin = self.plan.node(source.origin)
                if self.status(origin, unit if origin.domain != "set" else SET) == GIVEN_UP:
                    return GIVEN_UP
        return WAITING

    def note_started(self, due: Due) -> None:
        """Remember how large a set was when it was last worked on."""
        if due.node.domain == "set":
            self._last_sizes[due.node.id] = max(len(digests) for digests in due.digests.values())

    # -- parts ----------------------------------------------------------------------------------------------------
    def _parts(self, node: Node, unit: str, source: Source, left_out: set[str], *, live: bool) -> list[_Part]:
        """Return what one wire brings; empty if the task has to wait."""
        if source.origin.startswith("input:"):
            section = self._items.get(source.origin.removeprefix("input:"), set())
            if node.domain == "set":
                return [self._item(item_id)[1] for item_id in sorted(section)]
            return [self._item(unit)[1]] if unit in section else []
        origin = self.plan.node(source.origin)
        if origin.domain == "set" or node.domain != "set":
            known = self._fresh(origin.id, SET if origin.domain == "set" else unit)
            return [self._product(origin.id, known)] if known else []
        blocker = self._blockers.get((node.id, origin.id), "")
        if not live and blocker and self.status(origin, blocker) == WAITING:
            return []
        parts = []
        for item_id in self.units(origin):
            status = self.status(origin, item_id)
            if status == DONE:
                parts.append(self._product(origin.id, self.known[origin.id, item_id]))
            elif status == GIVEN_UP:
                left_out.add(item_id)
            elif not live:
                self._blockers[node.id, origin.id] = item_id
                return []
        return parts

    def _fresh(self, stage_id: str, unit: str) -> Known | None:
        known = self.known.get((stage_id, unit))
        return known if known is not None and known.status == DONE else None

    def _product(self, stage_id: str, known: Known) -> _Part:
        return _Part(known.digest, str(self._folder(stage_id, known.key)))

    def _folder(self, stage_id: str, key: str) -> Any:
        return self.store.path(stage_id, key) / PRODUCT

    def _enough(self, node: Node, wires: Mapping[str, list[_Part]]) -> bool:
        """While a session is live, a stage over items waits for `every` new ones; without `every`, for its end."""
        origins = {source.origin for source in node.wires.values()}
        if not any(origin in ("input:movies", "input:micrographs") or self._is_per_item(origin) for origin in origins):
            return True
        size = max(len(parts) for parts in wires.values())
        return node.stage.every > 0 and size - self._last_sizes.get(node.id, 0) >= node.stage.every

    def _too_few(self, node: Node) -> bool:
        """Whether there cannot be enough for a stage over items; asked whenever one ends, so nothing is listed."""
        sizes = []
        for source in node.wires.values():
            if source.updates or not self._is_per_item(source.origin):
                return False
            sizes.append(self.known.n_done[source.origin])
        most = max(sizes, default=0)
        return most > 0 and (node.stage.every <= 0 or most - self._last_sizes.get(node.id, 0) < node.stage.every)

    def _is_per_item(self, origin: str) -> bool:
        return not origin.startswith("input:") and self.plan.node(origin).domain != "set"

    def _ref(
        self, node: Node, name: str, source: Source, parts: list[_Part], updates: list[tuple[str, str]]
    ) -> InputRef:
        wanted = next(item for item in node.spec.consumes if item.name == name)
        kind = wanted.kind.__name__
        return InputRef(
            name,
            kind,
            tuple(part.folder for part in parts if part.folder),
            source.field,
            tuple(part.raw for part in parts if part.raw),
            wanted.many,
            tuple(updates) if kind == "ParticleStack" else (),
        )

    def _item(self, item_id: str) -> tuple[Item, _Part]:
        """Return an item and what it is as an input."""
        if (recent := self._recent.get(item_id)) is not None:
            self._recent.move_to_end(item_id)
            return recent
        item = self._state.item(item_id)
        if item is None:
            raise StoreError(f"item '{item_id}' is not in the state", remedy="Run `cryoframe rebuild`.")
        return self._keep(item)

    def _keep(self, item: Item) -> tuple[Item, _Part]:
        kept = self._recent[item.item_id] = (item, self._raw(item, _section(item.kind)))
        if len(self._recent) > _RECENT:
            self._recent.popitem(last=False)
        return kept

    def _raw(self, item: Item, section: str) -> _Part:
        """Return an input file with everything the configuration says of it; that enters the key, its name does not."""
        if stage_id := IMPORTED.get(f"input:{section}"):
            return _Part(item.digest, str(self._folder(stage_id, str(item.facts["key"]))))
        config = self.config.section_of(section, item.path)
        facts: dict[str, Any] = dict(item.facts)
        if config is not None:
            said = {name: getattr(config, name) for name in ("pixel_size_A", "dose_e_A2", "dose_per_frame_e_A2")}
            facts |= {name: value for name, value in said.items() if value}
        facts["optics"] = self._optics[0] | {name: item.facts[name] for name in self._optics[1] & item.facts.keys()}
        content = {name: value for name, value in facts.items() if name not in IDENTITY}
        digest = digest_facts({"digest": item.digest, "facts": content, "gain": self._gain_digest})
        if section == "movies" and config is not None and config.gain is not None:
            facts["gain"] = str(config.gain)
        return _Part(digest, raw=RawFile(item.item_id, item.path, facts))

    @cached_property
    def _optics(self) -> tuple[dict[str, Any], set[str]]:
        """Return what the configuration says of the microscope, and what of it a file may say otherwise."""
        default, ours = Optics(), self.config.optics
        stated = set(ASSUMED) - set(self.config.assumed_optics)  # also where it is the usual value: a file may lie
        unsaid = {item.name for item in fields(Optics) if getattr(ours, item.name) == getattr(default, item.name)}
        return asdict(ours), unsaid - stated

    @cached_property
    def _gain_digest(self) -> tuple[str, ...]:
        return tuple(digest_file(section.gain) for section in self.config.inputs if section.gain is not None)

    def _key(self, node: Node, digests: Mapping[str, tuple[str, ...]]) -> str:
        said = self.described[node.id]
        offer = node.offer
        facts = {
            "hook": node.spec.hook,
            "distribution": offer.distribution,
            "version": offer.version,
            "source": said["source"],
            "params": said["params"],
            "files": said["files"],
            "inputs": digests,
            "seed": self.config.seed,
        }
        if parts := self._special_parts(node):  # the digest of a product does not tell which part of it is meant
            facts["parts"] = parts
        if said["files"]:  # a file parameter counts by its content, not by where it lies
            facts["params"] = {name: value for name, value in said["params"].items() if name not in said["files"]}
        return digest_facts(facts)

    def _special_parts(self, node: Node) -> dict[str, str]:
        """Return the arguments that are given another part of a product than other stages are."""
        found: dict[str, str] = {}
        for name, source in node.wires.items():
            if source.field and not source.origin.startswith("input:"):
                special = special_part(self.plan.node(source.origin).spec.produces, node.spec.hook)
                found |= {name: special} if special == source.field else {}
        return found


#: What becomes of the tasks of an earlier process.
_STATUS = {DONE: DONE, GIVEN_UP: GIVEN_UP, "queued": TOLD}


def _section(kind: str) -> str:
    return next((name for name, its in INPUT_KINDS.items() if its == kind), "")


def _counted(task: TaskState) -> int:
    """Attempts cut short by the end of the runner itself, or by the environment, do not count."""
    cut_short = task.status == "running" or task.error_class == "environment"
    return max(task.attempts - 1, 0) if cut_short else task.attempts


def dependents(plan: Plan, unit: str) -> Iterator[Node]:
    """Yield the stages to look at anew when something became of a unit: its own, then those over the set."""
    for node in plan.nodes:
        if node.domain == "set" or unit != SET:
            yield node
