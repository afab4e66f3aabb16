"""Which poses are looked at, and to which resolution: the schedule of a search. No scoring here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Level:
    """One refinement of candidate poses: a lattice of `per_axis`^3 rotations and the translations of a disc."""

    step_deg: float
    per_axis: int
    shift_step_px: float
    limit_A: float
    n_keep: int


@dataclass(frozen=True)
class Plan:
    """A search: over the whole asymmetric unit first where `coarse_step_deg` is not 0, then level by level."""

    coarse_step_deg: float
    coarse_limit_A: float
    n_coarse: int
    levels: tuple[Level, ...]


def limit_of(step_deg: float, diameter_A: float) -> float:
    """Finest spacing that poses half a step away still agree on, at the rim of a particle.

    Half a step moves the rim by ``D/2 * step/2``; a quarter of the spacing is allowed.
    """
    return diameter_A * float(np.radians(step_deg))


def make_plan(*, whole: bool, coarse_step_deg: float, diameter_A: float, resolution_A: float) -> Plan:
    """Lay out a search.

    Parameters
    ----------
    whole
        Search the whole asymmetric unit; else around the poses known.
    coarse_step_deg
        Step of the whole search.
    diameter_A
        Of the particle.
    resolution_A
        Finest spacing to score at.

    Returns
    -------
    Levels that halve the step down to where it no longer matters at that resolution.
    """

    def limit(step_deg: float) -> float:
        return max(resolution_A, limit_of(step_deg, diameter_A))

    levels = []
    if whole:
        # Two rotations an axis: the centres of the eight cells that a cell of the coarser lattice splits into.
        levels = [
            Level(coarse_step_deg / 2, 2, 1.0, limit(0.6 * coarse_step_deg), 6),
            Level(coarse_step_deg / 4, 2, 0.5, limit(0.4 * coarse_step_deg), 3),
        ]
    else:
        levels = [
            Level(0.4 * coarse_step_deg, 5, 1.0, limit(0.6 * coarse_step_deg), 3),
            Level(0.2 * coarse_step_deg, 3, 0.5, limit(0.4 * coarse_step_deg), 2),
        ]
    step = coarse_step_deg / 8
    enough = float(np.degrees(0.5 * resolution_A / diameter_A))
    while True:
        last = step <= enough
        levels.append(Level(step, 3, 0.25, resolution_A, 128 if last else 2))
        if last:
            return Plan(coarse_step_deg if whole else 0.0, limit(coarse_step_deg), 12, tuple(levels))
        step /= 2
