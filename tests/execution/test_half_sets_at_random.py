"""Half-sets under random plans and under plugins that swap, merge, re-split: kept as they were, or refused."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from cryoframe.data.tables import ParticleTable
from cryoframe.errors import ConfigError, CryoframeError, HalfSetError
from cryoframe.execution.worker_results import _updated
from cryoframe.kernel import config
from cryoframe.kernel.discovery import Offer
from cryoframe.kernel.plan import make_plan
from cryoframe.kernel.plugins import Plugins
from cryoframe.kernel.stage import stage_specs

pytestmark = pytest.mark.usefixtures("no_discovery")
OVER_SETS = (
    "classify_2d", "select_particles", "make_initial_volume", "classify_3d", "refine_3d", "make_mask", "refine_ctf",
    "polish_particles", "analyse_heterogeneity", "postprocess",
)  # fmt: skip


def _random_stages(chance: random.Random, hooks: list[str]) -> list[dict[str, object]]:
    stages: list[dict[str, object]] = []
    for number in range(chance.randrange(2, 9)):
        stage: dict[str, object] = {"id": f"s{number}", "run": chance.choice(hooks)}
        if stages and chance.random() < 0.6:
            earlier = [str(one["id"]) for one in stages]
            stage["from"] = chance.sample(earlier, min(len(earlier), chance.randrange(1, 4)))
        stages.append(stage)
    return stages


@pytest.mark.parametrize("n_plans", [500])
def test_random_plans__never_give_poses_of_mixed_halves_to_a_stage_that_keeps_them_apart(
    n_plans: int, figure: Callable[[str, object], None]
) -> None:
    specs = stage_specs()
    hooks = [hook for hook in OVER_SETS if hook in specs]
    plugins = Plugins([Offer(hook, "own", "nowhere", "facility", "1.0") for hook in specs], ())
    sections = {"particles": {"file": "p.star"}, "volumes": {"file": "m.mrc"}}
    chance, n_wired, n_refused = random.Random(9), 0, 0
    for _ in range(n_plans):
        made = config.from_mapping({**sections, "stage": _random_stages(chance, hooks)}, folder=Path("/session"))
        plan = make_plan(made, plugins)
        joint = {node.id for node in plan.nodes if node.spec.halves == "joint"}
        for node in plan.nodes:
            if node.spec.halves == "per_half":
                for wire in node.wires.values():
                    n_wired += 1
                    assert not joint & {source.origin for source in wire.updates}
        n_refused += any(isinstance(problem, HalfSetError) for problem in plan.problems)
        if any(isinstance(problem, HalfSetError) for problem in plan.problems):
            with pytest.raises((HalfSetError, ConfigError)):
                plan.require()
    assert n_refused > n_plans // 100
    assert n_wired > n_plans // 10
    figure("random plans; refused for mixing half-sets; accepted that mix", f"{n_plans}; {n_refused}; 0")


@dataclass
class Notes:
    dropped: list[dict[str, object]] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)

    def drop(self, ids: list[int], reason: str, values: object, threshold: object) -> None:
        self.dropped.append({"particle_id": ids, "reason": reason})


def _with_half(table: ParticleTable, half: np.ndarray) -> ParticleTable:
    return table.with_columns({"half": half.astype(np.uint8)})


def _one_turned(chance: np.random.Generator, table: ParticleTable) -> ParticleTable:
    half = np.array(table.column("half"))
    half[chance.integers(len(half))] ^= 3
    return _with_half(table, half)


def _other_names(chance: np.random.Generator, table: ParticleTable) -> ParticleTable:
    return table.with_columns({"particle_id": chance.permutation(np.array(table.column("particle_id")))})


#: What a plugin may do to the half-sets: swap, merge, re-split, mix; leave out, repeat, reorder, rename particles.
MISDEEDS: tuple[Callable[[np.random.Generator, ParticleTable], ParticleTable], ...] = (
    lambda chance, table: _with_half(table, 3 - np.array(table.column("half"))),
    lambda chance, table: _with_half(table, np.ones(len(table))),
    lambda chance, table: _with_half(table, chance.integers(1, 3, len(table))),
    lambda chance, table: _with_half(table, chance.permutation(np.array(table.column("half")))),
    _one_turned,
    _other_names,
    lambda chance, table: table.select(chance.permutation(len(table))),
    lambda chance, table: table.select(chance.integers(0, len(table), len(table))),
    lambda chance, table: table.select(np.flatnonzero(chance.random(len(table)) < 0.7)),
)


def _spoilt(chance: np.random.Generator, table: ParticleTable) -> ParticleTable:
    """Return what a plugin that does one or several of these returns."""
    for _ in range(int(chance.integers(1, 4))):
        if len(table):
            table = MISDEEDS[chance.integers(len(MISDEEDS))](chance, table)
    return table.without(["half"]) if len(table) and chance.random() < 0.2 else table


@pytest.mark.parametrize("n_plugins", [800])
def test_random_plugins__have_the_half_sets_as_they_were_or_are_refused(
    n_plugins: int, figure: Callable[[str, object], None]
) -> None:
    chance, n_refused = np.random.default_rng(11), 0
    job = SimpleNamespace(offer=SimpleNamespace(name="own"))
    for _ in range(n_plugins):
        n = int(chance.integers(1, 30))
        base = ParticleTable.from_columns({
            "particle_id": chance.choice(10**6, n, replace=False).astype(np.uint64),
            "half": chance.integers(1, 3, n).astype(np.uint8), "x_A": chance.random(n), "y_A": chance.random(n),
        })  # fmt: skip
        wanted = dict(zip(base.column("particle_id").tolist(), base.column("half").tolist(), strict=True))
        try:
            kept = _updated(_spoilt(chance, base), base, job, Notes())  # type: ignore[arg-type]
        except CryoframeError:
            n_refused += 1
            continue
        found = dict(zip(kept.column("particle_id").tolist(), kept.column("half").tolist(), strict=True))
        assert len(found) == len(kept)
        assert all(wanted[item] == half for item, half in found.items())
    assert n_plugins // 4 < n_refused < n_plugins
    figure("random plugins; refused; accepted with half-sets changed", f"{n_plugins}; {n_refused}; 0")
