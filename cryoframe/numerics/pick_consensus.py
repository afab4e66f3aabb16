"""Picks of several pickers brought together: maximal cliques of mutually near picks, at most one of each picker."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from cryoframe.errors import InvalidInput
from cryoframe.numerics.backend import Floats, Ints, Reals


class Consensus(NamedTuple):
    """Places on which pickers agree.

    Parameters
    ----------
    members
        `(m, n)` row of each of n pickers' picks in each of m places, -1 where it has none; best first.
    positions
        `(m, 2)` (x, y), mean of the members.
    weight
        `(m,)` sum over pairs of members of how much they overlap, times their mean confidence.
    """

    members: Ints
    positions: Reals
    weight: Reals

    @property
    def n_agreeing(self) -> Ints:
        """How many pickers picked each place."""
        count: Ints = (self.members >= 0).sum(axis=1)
        return count


def ranks(scores: Floats) -> Reals:
    """Confidence `(m,)` from 0 to 1 by rank: scores of different pickers have different units."""
    order = np.argsort(np.argsort(np.asarray(scores), kind="stable"), kind="stable")
    return np.asarray((order + 1.0) / max(len(order), 1))


def overlap_frac(distance: Floats, diameter: float) -> Reals:
    """Intersection over union of two discs of one diameter whose centres are `distance` apart."""
    u = np.clip(np.asarray(distance, dtype=np.float64) / diameter, 0.0, 1.0)
    shared = (2.0 / np.pi) * (np.arccos(u) - u * np.sqrt(1.0 - u * u))
    return np.asarray(shared / (2.0 - shared))


def consensus(
    positions: Sequence[Floats], scores: Sequence[Floats], *, diameter: float, least_overlap_frac: float = 0.3
) -> Consensus:
    """Match the picks of n pickers.

    Parameters
    ----------
    positions
        For each picker `(m_i, 2)` (x, y).
    scores
        For each picker `(m_i,)`, higher is better, in any unit.
    diameter
        Of the particle, in the unit of the positions.
    least_overlap_frac
        Two picks mean the same particle if discs of that diameter have at least this intersection over union.

    Returns
    -------
    Every pick in exactly one place. Cliques are taken in the order of size, then of weight; what is left of the others
    stands alone or in smaller cliques.

    References
    ----------
    REPIC: Cameron et al., Commun. Biol. 7, 1421 (2024), doi 10.1038/s42003-024-07045-0: cliques of the overlap graph,
    weighted; here chosen greedily instead of by integer programming. Cliques: Bron & Kerbosch, Commun. ACM 16, 575
    (1973), doi 10.1145/362342.362367.
    """
    if len(positions) != len(scores) or not positions:
        raise InvalidInput(f"{len(positions)} lists of positions and {len(scores)} of scores", expected="as many")
    if not diameter > 0 or not 0.0 < least_overlap_frac < 1.0:
        raise InvalidInput(
            f"a diameter of {diameter} and an overlap of {least_overlap_frac} were asked for",
            expected="more than 0; between 0 and 1",
        )
    picker = np.concatenate([np.full(len(one), i, dtype=np.int64) for i, one in enumerate(positions)])
    row = np.concatenate([np.arange(len(one), dtype=np.int64) for one in positions])
    place = np.concatenate([np.asarray(one, dtype=np.float64).reshape(-1, 2) for one in positions])
    confidence = np.concatenate([ranks(one) for one in scores]) if len(place) else np.empty(0)
    edges = _edges(place, picker, diameter, least_overlap_frac)
    chosen = _greedy(edges, confidence, len(place))
    members = np.full((len(chosen), len(positions)), -1, dtype=np.int64)
    for i, (clique, _) in enumerate(chosen):
        members[i, picker[list(clique)]] = row[list(clique)]
    middles = np.array([place[list(clique)].mean(axis=0) for clique, _ in chosen]).reshape(-1, 2)
    return Consensus(members, middles, np.array([weight for _, weight in chosen]))


def _edges(place: Reals, picker: Ints, diameter: float, least: float) -> list[dict[int, float]]:
    """For each pick the picks of other pickers that overlap it enough, and by how much."""
    edges: list[dict[int, float]] = [{} for _ in place]
    order = np.argsort(place[:, 0], kind="stable")
    ahead = np.searchsorted(place[order, 0], place[order, 0] + diameter, side="right")
    for i, first in enumerate(order.tolist()):
        others = order[i + 1 : ahead[i]]
        shared = overlap_frac(np.hypot(*(place[others] - place[first]).T), diameter)
        for other, overlap in zip(others.tolist(), shared.tolist(), strict=True):
            if overlap >= least and picker[other] != picker[first]:
                edges[first][other] = edges[other][first] = overlap
    return edges


def _greedy(edges: list[dict[int, float]], confidence: Reals, n: int) -> list[tuple[tuple[int, ...], float]]:
    """Disjoint cliques: the largest first, among these the heaviest; what loses members is looked at again."""
    free = set(range(n))
    chosen: list[tuple[tuple[int, ...], float]] = []
    while free:
        found = [tuple(sorted(clique)) for clique in _cliques(edges, free)]
        weighed = [(clique, _weight(clique, edges, confidence)) for clique in found]
        weighed.sort(key=lambda item: (-len(item[0]), -item[1], item[0]))
        for clique, weight in weighed:
            if free.issuperset(clique):
                free.difference_update(clique)
                chosen.append((clique, weight))
    chosen.sort(key=lambda item: (-len(item[0]), -item[1], item[0]))
    return chosen


def _weight(clique: tuple[int, ...], edges: list[dict[int, float]], confidence: Reals) -> float:
    overlaps = sum(edges[a][b] for i, a in enumerate(clique) for b in clique[i + 1 :])
    return float(max(overlaps, 1e-9) * confidence[list(clique)].mean())


def _cliques(edges: list[dict[int, float]], among: set[int]) -> Iterator[set[int]]:
    """All maximal cliques of the graph restricted to some of its vertices, connected part by connected part."""
    seen: set[int] = set()
    for start in sorted(among):
        if start in seen:
            continue
        part, front = {start}, [start]
        while front:
            for near in edges[front.pop()]:
                if near in among and near not in part:
                    part.add(near)
                    front.append(near)
        seen |= part
        yield from _extended(edges, set(), part, set())


def _extended(edges: list[dict[int, float]], clique: set[int], may: set[int], done: set[int]) -> Iterator[set[int]]:
    if not may and not done:
        yield clique
        return
    pivot = max(sorted(may | done), key=lambda vertex: len(may & edges[vertex].keys()))
    for vertex in sorted(may - edges[pivot].keys()):
        near = edges[vertex].keys()
        yield from _extended(edges, clique | {vertex}, may & near, done & near)
        may = may - {vertex}
        done = done | {vertex}


def agreement(found: Consensus) -> Ints:
    """How many places each pair of pickers shares `(n, n)`; on the diagonal how many picks each has."""
    has = (found.members >= 0).astype(np.int64)
    shared: Ints = has.T @ has
    return shared
