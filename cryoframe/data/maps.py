"""Three-dimensional products: volumes, half-maps, masks. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Volume:
    """A map, `(n, n, n)` float32 (z, y, x), origin at voxel n//2, protein bright, RELION's hand."""

    data: NDArray[np.float32]
    pixel_size_A: float
    symmetry: str = "C1"
    #: Where it comes from: "" = from this data alone; "reference-derived: …" is carried on by every later map.
    provenance: str = ""


@dataclass(frozen=True)
class Mask:
    """A mask in [0, 1], `(n, n, n)` float32."""

    data: NDArray[np.float32]
    pixel_size_A: float


@dataclass(frozen=True)
class HalfMaps:
    """Maps of the two half-sets, which share no particle."""

    first: Volume
    second: Volume


@dataclass(frozen=True)
class LocalResolution:
    """Resolution at each voxel, `(n, n, n)` float32 [Å]."""

    data: NDArray[np.float32]
    pixel_size_A: float
    #: The map low-passed voxel by voxel at that resolution, where a stage makes one.
    filtered: Volume | None = None
