"""RunConfig + stage specs → which stage eats whose product; explains itself. Imports no plugin, runs nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cryoframe.errors import ConfigError, CryoframeError, HalfSetError, nearest
from cryoframe.kernel.config import RunConfig
from cryoframe.kernel.plugins import Plugins
from cryoframe.kernel.wiring import INPUT_KINDS, Node, Source, Wiring, fields_giving

__all__ = ["INPUT_KINDS", "Node", "Plan", "Source", "fields_giving", "make_plan"]


@dataclass(frozen=True)
class Plan:
    """The graph, in the order of the file; `problems` say why it cannot run as it stands."""

    nodes: tuple[Node, ...]
    problems: tuple[CryoframeError, ...] = ()
    domains: Mapping[str, str] = field(default_factory=dict)

    def node(self, stage_id: str) -> Node:
        """Return one stage's node."""
        for node in self.nodes:
            if node.id == stage_id:
                return node
        known = [node.id for node in self.nodes]
        raise ConfigError(f"no stage is called '{stage_id}'{nearest(stage_id, known)}", expected=", ".join(known))

    def require(self) -> None:
        """Raise the first half-set problem, else all problems as one ConfigError."""
        for problem in self.problems:
            if isinstance(problem, HalfSetError):
                raise problem
        if self.problems:
            raise ConfigError("the plan cannot run:\n  " + "\n  ".join(str(problem) for problem in self.problems))

    def explain(self) -> list[str]:
        """Return the plan in words, one line a stage, then its notes and problems."""
        lines = []
        for node in self.nodes:
            made = node.spec.produces.__name__
            wires = ", ".join(f"{name} from {source}" + _said(source) for name, source in node.wires.items())
            per = "the whole set" if node.domain == "set" else f"each of {node.domain}"
            lines.append(
                f"{node.id}: {node.spec.hook} by {node.offer.qualified} {node.offer.version},"
                f" over {per}: {wires} → {made}"
            )
            lines += [f"  note: {note}" for note in node.notes]
        return lines + [f"problem: {problem}" for problem in self.problems]


def make_plan(config: RunConfig, plugins: Plugins) -> Plan:
    """Wire the stages of a configuration by product type; problems are gathered, not raised.

    The nearest earlier producer of a type wins; two earlier stages of which neither feeds the other are ambiguous
    unless ``from`` names one. A denoised micrograph is wired to pickers only.
    """
    nodes: list[Node] = []
    problems: list[CryoframeError] = []
    for stage in config.stages:
        try:
            nodes.append(Wiring(config, stage, tuple(nodes), plugins).node())
        except CryoframeError as error:
            problems.append(error)
    if not config.stages:
        problems.append(
            ConfigError("no [[stage]] is configured", remedy='Add one, e.g. [[stage]] run = "estimate_ctf".')
        )
    return Plan(tuple(nodes), tuple(problems), {node.id: node.domain for node in nodes})


def _said(source: Source) -> str:
    return f" with {', '.join(map(str, source.updates))}" if source.updates else ""
