"""Noise of the ice of a scene, frame by frame: white in space, with the memory that moving water has; no lens here.

Each frequency of the ice is an Ornstein-Uhlenbeck process in exposure: it keeps exp(−κk²N) of itself after N e/Å²
(:func:`cryoframe.numerics.ice.ice_memory`). A frame sees the process's mean. Given both ends of a frame the mean is
normal about (tanh(α/2)/α)·(start + end), α = κk²N of the frame, with the variance that the mean's own,
2·(α − 1 + e^−α)/α² (Uhlenbeck & Ornstein, Phys. Rev. 36, 823 (1930), doi 10.1103/PhysRev.36.823), leaves; so one draw
for the end and one for the mean are exact for frames of any exposure.
"""

from __future__ import annotations

import numpy as np

from cryoframe.numerics.backend import C64, F32, Reals
from cryoframe.numerics.detector_response import normal_quantiles
from cryoframe.numerics.ice import ice_displacement_A2, ice_memory
from cryoframe.numerics.noise import generator
from cryoframe.numerics.scene import Scene, stream_names
from cryoframe.numerics.scene_grid import SceneGrid
from cryoframe.numerics.scene_lens import loops

_STREAM = 2
_NOT_BEGUN = -1
#: Below it the closed forms lose their digits and their series are taken.
_SMALL = 1e-3


def frame_memory(frequency_1_A: Reals, dose_e_A2: float, voltage_kV: float = 300.0) -> F32:
    """What the ice does in a frame, `(n, 4)`: share kept, share that is new, weight of each end in the mean, its rest.

    The squares of the last but for the ends' correlation add up to the variance of the mean.
    """
    kept = ice_memory(frequency_1_A, dose_e_A2, displacement_A2=ice_displacement_A2(voltage_kV))
    alpha = -np.log(np.maximum(kept, 1e-300))
    safe = np.maximum(alpha, _SMALL)
    ends = np.where(alpha < _SMALL, 0.5 - alpha**2 / 24.0, np.tanh(0.5 * safe) / safe)
    variance = 2.0 * (safe + np.expm1(-safe)) / safe**2
    path = np.where(alpha < _SMALL, alpha / 6.0, variance - 2.0 * ends**2 * (1.0 + kept))
    table = np.stack([kept, np.sqrt(-np.expm1(-2.0 * alpha)), ends, np.sqrt(np.maximum(path, 0.0))], axis=1)
    return table.astype(np.float32)


class MovingIce:
    """The ice's half transform in one frame after the other: unit power, divided by the root of the pixels.

    Later frames follow from earlier ones; going back begins anew.
    """

    def __init__(self, scene: Scene, grid: SceneGrid) -> None:
        self._scene, self._grid = scene, grid
        self._normal = (normal_quantiles() * np.sqrt(0.5)).astype(np.float32)
        self._state: C64 = np.empty(grid.half, dtype=np.complex64)
        self._mean: C64 = np.empty(grid.half, dtype=np.complex64)
        self._at = _NOT_BEGUN

    def mean(self, index: int) -> C64:
        """Mean of the ice during a frame, `(ny, nx//2+1)`; overwritten when another frame is asked for."""
        if index == self._at - 1:
            return self._mean
        if index < self._at or self._at == _NOT_BEGUN:
            loops().start_ice(self._state, self._key(0), self._normal)
            self._at = 0
        while self._at <= index:
            self._advance(self._mean if self._at == index else self._mean[:0])
        return self._mean

    def _advance(self, mean: C64) -> None:
        grid, edges = self._grid, self._scene.dose_edges_e_A2
        dose_e_A2 = float(edges[self._at + 1] - edges[self._at]) if self._scene.effects.ice_motion else 0.0
        memory = frame_memory(grid.radial_1_A, dose_e_A2, self._scene.lens.voltage_kV)
        key = self._key(self._at + 1)
        loops().advance_ice(self._state, mean, key, self._normal, grid.kx, grid.ky, memory, grid.scale_A)
        self._at += 1

    def _key(self, number: int) -> np.uint64:
        names = stream_names(self._scene.name)
        return generator(self._scene.seed, *names, _STREAM, number).integers(0, 2**64, dtype=np.uint64)
