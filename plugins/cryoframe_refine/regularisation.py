"""How maps are kept from growing noise between iterations: one signal-to-noise ratio a shell, or one a place too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from cryoframe.numerics import cross_validated_filter, fsc, reconstruction
from cryoframe.numerics.insertion import Accumulator
from cryoframe_refine.half import Geometry

F32 = npt.NDArray[np.float32]
Reals = npt.NDArray[np.float64]
Pair = tuple[F32, F32]


class Regulariser(Protocol):
    """Strategy of a refiner.

    Both methods are handed the sums of the half-sets, their maps without regularisation, and their FSC in the mask.
    """

    @property
    def flatten_solvent(self) -> bool:
        """Whether each half-set's reference is cut to what stands out of the solvent in it."""

    def half_maps(self, sums: Sequence[Accumulator], plain: Pair, curve: Reals, geometry: Geometry) -> Sequence[F32]:
        """Maps `(n, n, n)` that the half-sets are aligned to next."""

    def full_map(self, sums: Sequence[Accumulator], plain: Pair, curve: Reals, geometry: Geometry) -> F32:
        """Map `(n, n, n)` of all particles; the sums are of no use afterwards."""


@dataclass(frozen=True)
class ByShell:
    """One signal-to-noise ratio a shell, from the FSC.

    References
    ----------
    Scheres, J. Struct. Biol. 180, 519 (2012), doi:10.1016/j.jsb.2012.09.006, eq. 8.
    """

    @property
    def flatten_solvent(self) -> bool:
        """One ratio a shell keeps the solvent's noise as it keeps the protein."""
        return True

    def half_maps(self, sums: Sequence[Accumulator], plain: Pair, curve: Reals, geometry: Geometry) -> Sequence[F32]:
        """Solve each half with the ratio of a half-map."""
        ssnr = fsc.ssnr_from_fsc(reliable(curve))
        return [reconstruction.solve(part, ssnr=ssnr) for part in sums]

    def full_map(self, sums: Sequence[Accumulator], plain: Pair, curve: Reals, geometry: Geometry) -> F32:
        """Solve the sums of both with the ratio of the full map."""
        both, other = sums
        # In place: a third set of sums would be a third of the memory of a large box.
        np.add(both.numerator, other.numerator, out=both.numerator)
        np.add(both.weight, other.weight, out=both.weight)
        volume: F32 = reconstruction.solve(both, ssnr=fsc.ssnr_from_fsc(reliable(curve), of_full_map=True))
        return volume


@dataclass(frozen=True)
class ByPlace:
    """One ratio a shell and a place, chosen by how well each half-map predicts the other there.

    Attributes
    ----------
    window_frac
        Width of the windows in units of the resolution.
    """

    window_frac: float

    @property
    def flatten_solvent(self) -> bool:
        """Weights by place keep some of the solvent's noise too."""
        return True

    def half_maps(self, sums: Sequence[Accumulator], plain: Pair, curve: Reals, geometry: Geometry) -> Sequence[F32]:
        """Filter each half with the weights that predict the other best."""
        weights = self._weights(plain, curve, geometry)
        return [cross_validated_filter.apply(volume, weights) for volume in plain]

    def full_map(self, sums: Sequence[Accumulator], plain: Pair, curve: Reals, geometry: Geometry) -> F32:
        """Filter the mean of both with the weights of twice the data."""
        weights = self._weights(plain, curve, geometry)
        return cross_validated_filter.apply(0.5 * (plain[0] + plain[1]), weights, of_full_map=True)

    def _weights(self, plain: Pair, curve: Reals, geometry: Geometry) -> cross_validated_filter.LocalWeights:
        return cross_validated_filter.local_weights(
            *plain, reliable(curve), window_frac=self.window_frac, mask=geometry.volume_mask
        )


def reliable(curve: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """FSC that, once below 0.143, never counts for more again: chance correlations must not pass into the maps."""
    kept = np.clip(curve, 1e-3, 0.999)
    below = np.flatnonzero(curve[1:] < 0.143)
    if len(below):
        first = int(below[0]) + 1
        kept[first:] = np.minimum(kept[first:], kept[first])
    return kept
