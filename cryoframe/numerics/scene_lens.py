"""Transfer of a scene's lens and camera for its half transforms, made anew as the defocus drifts; no specimen here."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

import numpy as np

from cryoframe.errors import InvalidInput
from cryoframe.numerics.aberrations import symmetric_phase, true_frequencies
from cryoframe.numerics.backend import C64, F32, Reals, native
from cryoframe.numerics.ctf import Envelope, amplitude_phase_rad, wavelength_A
from cryoframe.numerics.detector_response import spread_transfer
from cryoframe.numerics.ice import VITREOUS_ICE
from cryoframe.numerics.lens import Lens, aperture_1_A, odd_factor, phase_per_potential_A
from cryoframe.numerics.scene import Scene
from cryoframe.numerics.scene_grid import SceneGrid


def loops() -> ModuleType:
    """Return the compiled loops; loaded late, so that importing the numerics compiles nothing."""
    module = native(np, "scene")
    if module is None:
        raise InvalidInput("the compiled loops of scenes are missing", expected="cryoframe.numerics._numba.scene")
    return module


@dataclass(frozen=True)
class Filters:
    """Factors of half transforms of potential that give contrast as the camera's pixels see it.

    `even` for what lies at z = 0, `odd` for what :class:`scene_particles.DepthField` holds beside it, `ice` for white
    noise of unit power as :class:`scene_ice.MovingIce` makes it.
    """

    even: F32
    odd: F32
    ice: F32


class SceneLens:
    """Filters of a scene at any change of defocus; those of the last one are kept.

    The response of the camera's square pixel and of its random spread is within them: electrons expected in a pixel,
    wherever they entered, follow from it exactly, since scattering of Poisson arrivals leaves Poisson arrivals.
    """

    def __init__(self, scene: Scene, grid: SceneGrid, *, ice_thickness_A: float, elastic_share: float) -> None:
        self._scene, self._grid = scene, grid
        self._common = self._radial(ice_thickness_A, elastic_share)
        self._kept: tuple[float, Filters] | None = None
        self._heights: dict[float, F32] = {}
        kx, ky = grid.kx[None, :].astype(np.float64), grid.ky[:, None].astype(np.float64)
        aberrations = scene.lens.aberrations
        self._extra: Reals = np.zeros((1, 1))
        if aberrations is not None and aberrations.changes_gamma:
            self._extra = np.ascontiguousarray(symmetric_phase(*true_frequencies(kx, ky, aberrations), aberrations))
        factor = odd_factor(kx, ky, scene.lens)
        #: Antisymmetric aberrations, which all that is scattered suffers alike.
        self.factor: C64 | None = None if factor is None else np.asarray(factor, dtype=np.complex64)

    def quantised_A(self, change_A: float) -> float:
        """Change of defocus that the filters are made for."""
        step = self._scene.refresh_defocus_A
        return float(np.round(change_A / step) * step)

    def at(self, change_A: float) -> Filters:
        """Filters at a change of defocus; those for another one are given up."""
        if self._kept is None or self._kept[0] != change_A:
            self._kept = None
            self._heights.clear()
            self._kept = (change_A, self._made(change_A))
        return self._kept[1]

    def ice_at(self, change_A: float, height_A: float) -> F32:
        """The filter of ice at a height."""
        middle = self.at(change_A).ice
        if height_A == 0.0:
            return middle
        if height_A not in self._heights:
            self._heights[height_A] = self._made(change_A + height_A).ice
        return self._heights[height_A]

    def _made(self, change_A: float) -> Filters:
        grid, lens = self._grid, self._scene.lens.at(change_A)
        even, odd, ice = (np.empty(grid.half, dtype=np.float32) for _ in range(3))
        matrix = ((1.0, 0.0), (0.0, 1.0)) if lens.aberrations is None else lens.aberrations.magnification
        numbers = self._numbers(lens)
        loops().fill_filters(
            even, odd, ice, grid.kx, grid.ky, np.array(matrix, dtype=np.float64), self._extra, numbers, self._common
        )
        # A phase plate turns the scattered wave; a uniform phase is not scattered.
        even[0, 0] = self._common[0, 0] * lens.amplitude_contrast
        odd[0, 0] = ice[0, 0] = 0.0
        ice[:, grid.even_columns()] *= np.float32(np.sqrt(2.0))
        return Filters(even, odd, ice)

    def _numbers(self, lens: Lens) -> Reals:
        envelope = lens.envelope or Envelope()
        return np.array(
            [
                wavelength_A(lens.voltage_kV),
                lens.cs_mm * 1e7,
                lens.defocus_u_A,
                lens.defocus_v_A,
                np.radians(lens.defocus_angle_deg),
                amplitude_phase_rad(lens.amplitude_contrast) + np.radians(lens.phase_shift_deg),
                lens.b_factor_A2,
                envelope.focal_spread_A,
                envelope.source_angle_mrad * 1e-3,
                aperture_1_A(lens),
                self._grid.pixel_size_A,
                self._grid.scale_A,
            ]
        )

    def _radial(self, thickness_A: float, elastic_share: float) -> F32:
        """Strength and spread; amplitude of the ice; how far its depth washes out the phase: `(3, n)` tables.

        Ice at all depths of a thickness t has the power ⟨sin²(χ − a)⟩ = ½·(1 − cos 2χ·sinc(λk²t)).
        """
        scene, grid = self._scene, self._grid
        k = grid.radial_1_A
        blurred = np.exp(-2.0 * (np.pi * scene.loss.sigma_A * k) ** 2)
        common = (
            -2.0
            * phase_per_potential_A(scene.lens.voltage_kV)
            * spread_transfer(scene.sensor.camera, k * grid.pixel_size_A)
        )
        common = common * (elastic_share + (1.0 - elastic_share) * blurred)
        power = VITREOUS_ICE.power_1_A(k) * thickness_A / grid.pixel_size_A**2 * grid.n_pixels
        washed = np.sinc(wavelength_A(scene.lens.voltage_kV) * k * k * thickness_A)
        return np.stack([common, np.sqrt(power), washed]).astype(np.float32)
