"""Results of whole-set stages: 3-D classes, refinements, sharpened maps, heterogeneity, atomic models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryoframe.data.maps import HalfMaps, Volume
from cryoframe.data.tables import ClassTable, FscTable, IterationTable, ParticleTable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Classes3D:
    """One volume a class, their table, and the particles with class and pose."""

    volumes: tuple[Volume, ...]
    classes: ClassTable
    particles: ParticleTable


@dataclass(frozen=True)
class Refinement:
    """A refined map, its independent halves, their FSC, and the particles' poses."""

    volume: Volume
    half_maps: HalfMaps
    fsc: FscTable
    particles: ParticleTable
    iterations: IterationTable


@dataclass(frozen=True)
class SharpenedMap:
    """A sharpened map with the B-factor that was applied and the masked, corrected FSC."""

    volume: Volume
    b_factor_A2: float
    fsc: FscTable


@dataclass(frozen=True)
class Heterogeneity:
    """Latent coordinates `(n, d)` float32 in the order of `particle_id`, and volumes along them."""

    particle_id: NDArray[np.uint64]
    latent: NDArray[np.float32]
    volumes: tuple[Volume, ...] = ()


@dataclass(frozen=True)
class AtomicModel:
    """An atomic model in an mmCIF file."""

    path: str
    chains: tuple[str, ...] = ()
    completeness_frac: float = 0.0
