"""Particle tables of several pickers brought together, micrograph by micrograph; the matching is in numerics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cryoframe.data.tables import ParticleTable
from cryoframe.errors import ConfigError
from cryoframe.numerics import pick_consensus


def agree(
    tables: Mapping[str, Sequence[ParticleTable]], *, diameter_A: float, least_pickers: int = 0
) -> tuple[ParticleTable, list[dict[str, Any]]]:
    """Bring picks together.

    Parameters
    ----------
    tables
        For each picker one table a micrograph, in the same order.
    diameter_A
        Of the particle.
    least_pickers
        How many pickers must agree on a place for it to be kept; 0 = more than half.

    Returns
    -------
    Consensus picks, at the mean of the members' positions and with the clique's weight as figure of merit; identities
    and whatever else a row says are those of the member of the first picker that has one. And one row for each pair of
    pickers: how many picks each has, how many they share, and the share of both.
    """
    names = list(tables)
    if len({len(found) for found in tables.values()}) != 1:
        raise ConfigError("pickers looked at different micrographs", expected="one table of each for each micrograph")
    needed = least_pickers or len(names) // 2 + 1
    shared = np.zeros((len(names), len(names)), dtype=np.int64)
    kept = []
    for of_one in zip(*tables.values(), strict=True):
        found = pick_consensus.consensus(
            [np.stack([table.floats("x_A"), table.floats("y_A")], axis=1) for table in of_one],
            [table.floats("figure_of_merit") for table in of_one],
            diameter=diameter_A,
        )
        shared += pick_consensus.agreement(found)
        kept.append(_rows(of_one, found, needed))
    rows = [
        {
            "a": names[i],
            "b": names[j],
            "picks_a": int(shared[i, i]),
            "picks_b": int(shared[j, j]),
            "shared": int(shared[i, j]),
            "jaccard": float(shared[i, j] / max(shared[i, i] + shared[j, j] - shared[i, j], 1)),
        }
        for i in range(len(names))
        for j in range(i + 1, len(names))
    ]
    return ParticleTable.concat([table for table in kept if len(table)] or kept[:1]), rows


def _rows(tables: Sequence[ParticleTable], found: pick_consensus.Consensus, needed: int) -> ParticleTable:
    places = np.flatnonzero(found.n_agreeing >= needed)
    first = np.argmax(found.members >= 0, axis=1)
    parts = []
    for i, table in enumerate(tables):
        mine = places[first[places] == i]
        rows = table.select(found.members[mine, i])
        parts.append(
            rows.with_columns(
                {
                    "x_A": found.positions[mine, 0].astype(np.float32),
                    "y_A": found.positions[mine, 1].astype(np.float32),
                    "figure_of_merit": found.weight[mine].astype(np.float32),
                }
            )
        )
    return ParticleTable.concat(parts)
