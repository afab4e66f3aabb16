"""Which earlier product, or input section, serves each argument of a stage. Judges one stage at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from cryoframe.data.catalogue import PRODUCTS
from cryoframe.errors import ConfigError, HalfSetError, nearest
from cryoframe.kernel.config import RunConfig, StageConfig
from cryoframe.kernel.discovery import Offer
from cryoframe.kernel.plugins import Plugins
from cryoframe.kernel.stage import Input, StageSpec, stage_specs

#: What an input section provides, and per which unit of work.
INPUT_KINDS: Mapping[str, str] = {
    "movies": "Movie",
    "micrographs": "Micrograph",
    "particles": "ParticleStack",
    "volumes": "Volume",
    "optics": "Optics",
}
_REMEDIES = {
    "Movie": "add a [movies] section, or [watch] with kind = \"movies\"",
    "Micrograph": "add a [micrographs] section, or a correct_motion stage over [movies]",
    "CtfFit": "add an estimate_ctf stage before it",
    "ParticleTable": "add a pick_particles stage before it",
    "ParticleStack": "add an extract_particles stage before it, or a [particles] section with a STAR file",
    "Volume": "add a make_initial_volume stage before it, or a [volumes] section with a map",
    "Mask": "add a make_mask stage before it",
    "HalfMaps": "add a refine_3d stage before it",
    "Refinement": "add a refine_3d stage before it",
    "SharpenedMap": "add a postprocess stage before it",
    "Classes2D": "add a classify_2d stage before it",
}  # fmt: skip


@dataclass(frozen=True)
class Source:
    """Where an input comes from.

    Parameters
    ----------
    origin
        A stage's id, or ``input:movies|micrographs|particles|volumes|optics``.
    field
        The product's field that is meant, or empty for the product itself.
    updates
        Tables of later stages to be joined to a particle stack, oldest first; rows they lack are dropped.
    """

    origin: str
    field: str = ""
    updates: tuple[Source, ...] = ()

    def __str__(self) -> str:
        return f"{self.origin}.{self.field}" if self.field else self.origin


@dataclass(frozen=True)
class Node:
    """One stage of the plan; `domain` is ``movies``, ``micrographs`` or ``set``."""

    stage: StageConfig
    spec: StageSpec
    offer: Offer
    wires: Mapping[str, Source]
    domain: str = "set"
    notes: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """The stage's id."""
        return self.stage.id


@dataclass(frozen=True)
class _Candidate:
    source: Source
    domain: str
    node: Node | None = None


class Wiring:
    """Finds the sources of one stage among the nodes before it."""

    def __init__(self, config: RunConfig, stage: StageConfig, earlier: tuple[Node, ...], plugins: Plugins) -> None:
        self.config, self.stage, self.earlier = config, stage, earlier
        if stage.run not in stage_specs():
            raise ConfigError(
                f"stage '{stage.id}': no stage hook is called '{stage.run}'{nearest(stage.run, stage_specs())}",
                expected=f"one of {', '.join(stage_specs())}",
            )
        self.spec = stage_specs()[stage.run]
        self.offer = plugins.select(stage.run, stage.use)
        self.chosen = self._chosen()

    def node(self) -> Node:
        """Return the wired node."""
        wires: dict[str, Source] = {}
        domains: dict[str, str] = {}
        for wanted in self.spec.consumes:
            candidate = self._choose(wanted)
            if candidate is None:
                continue
            source = candidate.source
            if wanted.kind.__name__ == "ParticleStack":
                source = dataclasses.replace(source, updates=tuple(self._updates(candidate)))
            wires[wanted.name], domains[wanted.name] = source, candidate.domain
        self._check_from(wires)
        domain = self._domain(domains)
        return Node(self.stage, self.spec, self.offer, wires, domain, tuple(self._notes(wires)))

    def _chosen(self) -> tuple[str, ...]:
        known = [node.id for node in self.earlier]
        names = tuple(name.removeprefix("input:") for name in self.stage.from_)
        for name in names:
            if name not in known and name not in INPUT_KINDS:
                later = any(stage.id == name for stage in self.config.stages)
                why = "comes after it or cannot be planned" if later else f"does not exist{nearest(name, known)}"
                raise ConfigError(
                    f"stage '{self.stage.id}': from = '{name}' {why}", expected=f"one of {', '.join(known)}"
                )
        return names

    def _candidates(self, kind: str) -> list[_Candidate]:
        """Everything before this stage that provides a kind, oldest first."""
        found = []
        for section, provided in INPUT_KINDS.items():
            if section == "optics" or self.config.input(section) or self.config.watched_kind == section:
                domain = section if section in ("movies", "micrographs") else "set"
                found += [
                    _Candidate(Source(f"input:{section}", name), domain) for name in fields_giving(provided, kind)
                ]
        for node in self.earlier:
            found += [
                _Candidate(Source(node.id, name), node.domain, node)
                for name in fields_giving(node.spec.produces.__name__, kind, to=self.spec.hook)
            ]
        per_item = self.spec.over != "set"
        return [
            item
            for item in found
            if not (per_item and item.domain == "set" and kind not in ("Volume", "Mask", "Optics"))
        ]

    def _choose(self, wanted: Input) -> _Candidate | None:
        kind = wanted.kind.__name__
        everything = self._candidates(kind)
        named = [item for item in everything if item.source.origin.removeprefix("input:") in self.chosen]
        candidates = named or [item for item in everything if self._is_default(item)]
        if not candidates:
            if wanted.optional:
                return None
            raise ConfigError(
                f"stage '{self.stage.id}' ({self.spec.hook}) needs a {kind} as '{wanted.name}',"
                " and nothing before it makes one",
                remedy=f"To mend it, {_REMEDIES.get(kind, 'add a stage that makes one')}.",
            )
        best = candidates[-1]
        rivals = [
            item
            for item in candidates[:-1]
            if item.node and best.node and not _feeds(item.node, best.node, self.earlier)
        ]
        if rivals:
            names = ", ".join(sorted({item.source.origin for item in (*rivals, best)}))
            raise ConfigError(
                f"stage '{self.stage.id}': '{wanted.name}' may come from {names}",
                remedy=f'Say which: from = ["{best.source.origin}"].',
            )
        return best

    def _is_default(self, item: _Candidate) -> bool:
        return not (item.node and item.node.spec.hook == "denoise_micrograph" and self.spec.hook != "pick_particles")

    def _updates(self, stack: _Candidate) -> Iterator[Source]:
        """Tables made after the stack that select from it or refine it, and any that ``from`` names."""
        after = self.earlier.index(stack.node) + 1 if stack.node else 0
        for node in self.earlier[after:]:
            gives = fields_giving(node.spec.produces.__name__, "ParticleTable")
            table = node.spec.produces.__name__ == "ParticleTable" and node.domain == "set"
            if not gives or not (table or node.id in self.chosen) or node.domain != "set":
                continue
            if node.spec.halves == "joint" and self.spec.halves == "per_half":
                raise HalfSetError(
                    f"stage '{self.stage.id}' keeps the half-sets apart, and '{node.id}' aligned them together",
                    expected="poses from stages that keep them apart",
                    remedy=f"Remove '{node.id}' from its from = […].",
                )
            yield Source(node.id, gives[0])

    def _check_from(self, wires: Mapping[str, Source]) -> None:
        used = {source.origin for wire in wires.values() for source in (wire, *wire.updates)}
        for name in self.chosen:
            if name not in used and f"input:{name}" not in used:
                wanted = ", ".join(item.kind.__name__ for item in self.spec.consumes)
                raise ConfigError(
                    f"stage '{self.stage.id}': from = '{name}' gives nothing it needs", expected=f"one of {wanted}"
                )

    def _domain(self, domains: Mapping[str, str]) -> str:
        if self.spec.over == "set":
            return "set"
        found = sorted({domain for domain in domains.values() if domain != "set"})
        if len(found) > 1:
            said = ", ".join(f"{name} by {domain}" for name, domain in domains.items())
            raise ConfigError(
                f"stage '{self.stage.id}' mixes inputs of different origin: {said}", remedy="Wire it with from = […]."
            )
        return found[0] if found else "set"

    def _notes(self, wires: Mapping[str, Source]) -> Iterator[str]:
        reference = wires.get("reference")
        makers = [node for node in self.earlier if reference and node.id == reference.origin]
        if (
            self.spec.halves == "per_half"
            and makers
            and makers[0].spec.produces.__name__ in ("Refinement", "Classes3D")
        ):
            yield f"its reference mixes both half-sets ({reference}); it low-passes it to where it cannot bind them"


def fields_giving(produced: str, kind: str, *, to: str = "") -> tuple[str, ...]:
    """How a product provides a kind: ``""`` for itself, else the field that holds one (its first).

    A product may say in ``PARTS`` that the stage hook `to` is given another part of it.
    """
    if produced == kind:
        return ("",)
    cls = next((cls for cls in PRODUCTS if cls.__name__ == produced), None)
    if cls is None or produced == "HalfMaps" or not dataclasses.is_dataclass(cls):
        return ()
    found = tuple(item.name for item in dataclasses.fields(cls) if str(item.type) == kind)[:1]
    return (special,) if found and (special := special_part(cls, to)) else found


def special_part(cls: type, hook: str) -> str:
    """Return the part of a product that a stage hook is given instead of the usual one, or nothing."""
    parts: Mapping[str, str] = getattr(cls, "PARTS", {})
    return parts.get(hook, "")


def _feeds(node: Node, later: Node, nodes: tuple[Node, ...]) -> bool:
    """Whether a node's product reaches a later one, however far."""
    if node.id == later.id:
        return True
    origins = {source.origin for wire in later.wires.values() for source in (wire, *wire.updates)}
    return any(_feeds(node, between, nodes) for between in nodes if between.id in origins)
