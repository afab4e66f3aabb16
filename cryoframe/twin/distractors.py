"""Specimens that are no single whole particles, made of those that are; arithmetic is in ``numerics.distractors``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cryoframe.data.twin import Specimen
from cryoframe.numerics.distractors import arranged, plan_aggregate, plan_break

_Change = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def aggregate_of(specimen: Specimen, *, n_copies: int, rng: np.random.Generator) -> Specimen:
    """Several copies of a specimen, turned at random and touching, as one specimen of class ``aggregate``.

    Its name is the parent's with ``_aggregate``; concentration and views stay the parent's.

    Raises
    ------
    InvalidInput
        A number of copies out of bounds.
    """
    pixel_size_A = specimen.volume.pixel_size_A
    plan = plan_aggregate(specimen.volume.data, pixel_size_A, n_copies=n_copies, rng=rng)
    return replace(
        _changed(specimen, lambda data: arranged(data, pixel_size_A, plan)),
        name=f"{specimen.name}_aggregate",
        truth_class="aggregate",
        mass_kDa=n_copies * specimen.mass_kDa,
        radius_A=plan.radius_A,
    )


def broken_of(specimen: Specimen, *, kept_frac: float, rng: np.random.Generator) -> Specimen:
    """What is left of a specimen broken along a rough plane, as a specimen of class ``broken``, named ``…_broken``.

    Raises
    ------
    InvalidInput
        A share that is not between 0.05 and 0.95.
    """
    found = plan_break(specimen.volume.data, specimen.volume.pixel_size_A, kept_frac=kept_frac, rng=rng)
    return replace(
        _changed(specimen, found.applied),
        name=f"{specimen.name}_broken",
        truth_class="broken",
        mass_kDa=kept_frac * specimen.mass_kDa,
        radius_A=min(found.radius_A, specimen.radius_A),
    )


def _changed(specimen: Specimen, change: _Change) -> Specimen:
    """The specimen with its map and the maps of the parts that fade changed alike; it has no symmetry any more."""
    volume = replace(specimen.volume, data=change(specimen.volume.data), symmetry="C1")
    fading = tuple(
        replace(part, volume=replace(part.volume, data=change(part.volume.data), symmetry="C1"))
        for part in specimen.fading
    )
    return replace(specimen, volume=volume, fading=fading)
