"""Contrast of a scene in each of its frames, as the pixels of the camera see it; electrons are in scene_frames."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from cryoframe.numerics.backend import C64, F32, Reals
from cryoframe.numerics.exposure import slab_thickness_A
from cryoframe.numerics.fourier import add_irfft2
from cryoframe.numerics.scene import Scene
from cryoframe.numerics.scene_grid import SceneGrid, on_pixels
from cryoframe.numerics.scene_ice import MovingIce
from cryoframe.numerics.scene_lens import Filters, SceneLens, loops
from cryoframe.numerics.scene_particles import depth_fields
from cryoframe.numerics.warp import warp

#: Nodes of the grid of displacements along an axis; motion is correlated over thousands of Å.
_N_NODES = 33
#: A field whose places differ by less than this in displacement is moved as a whole.
_LEAST_WARP_PX = 0.01
#: Relative scatter of the ice's amplitude over the field below which it is taken as even.
_EVEN = 1e-3
#: Filters for ice at different heights of a tilted film, at most; each costs a transform a frame. Between two of them
#: their mean is taken, which is too weak by cos² of half the phase between them: 0.96 at 4 Å, 0.9 at 3 Å where the film
#: spans up to 1600 Å in height, and less where it spans more.
_MOST_LAYERS = 16
_LAYER_RESOLUTION_A = 4.0


class SceneContrast:
    """I/I₀ − 1 of a scene frame by frame, with the transfer of the camera's pixel and random spread."""

    def __init__(self, scene: Scene, grid: SceneGrid, elastic_share: float) -> None:
        self._scene, self._grid = scene, grid
        path = scene.beam_path_A(grid.whole)
        thickness = float(scene.beam_path_A(grid.shape).mean())
        self._lens = SceneLens(scene, grid, ice_thickness_A=thickness, elastic_share=elastic_share)
        # Room that is used for every frame: fresh memory costs more than what is computed in it.
        self._image = grid.empty()
        self._total: C64 = np.empty(grid.half, dtype=np.complex64)
        self._layer: C64 = np.empty(grid.half, dtype=np.complex64)
        self._fields = depth_fields(scene, grid)
        self._defocus_A = scene.defocus_change_A()
        centre = (0.5 * scene.extent_A[1], 0.5 * scene.extent_A[0])
        self._whole_A: Reals = scene.displacement_A(*centre)
        self._streak_A = scene.streak_A(*centre)
        self._layers: list[_Layer] = []
        self._ice: MovingIce | None = None
        if scene.effects.ice and thickness > 0.0:
            self._layers = _layers(scene, grid, np.sqrt(path / thickness))
            self._ice = MovingIce(scene, grid)

    def contrast(self, index: int) -> F32:
        """Contrast `(ny, nx)` of a frame on the grid; overwritten by the next call."""
        change = self._lens.quantised_A(float(self._defocus_A[index]))
        self._image.fill(0.0)
        total = self._particles(index, self._lens.at(change))
        if self._ice is not None:
            self._add_ice(self._ice.mean(index), total, index, change)
        self._move(total, index)
        add_irfft2(self._image, total)
        return self._warped(self._image, index)

    def _add_ice(self, ice: C64, total: C64, index: int, change_A: float) -> None:
        """Add even ice to the half transform `total`, uneven ice to the image."""
        if self._layers[0].amplitude is None:
            loops().add_product(total, ice, self._lens.at(change_A).ice)
            return
        moved = ice.copy()
        self._move(moved, index)
        for layer in self._layers:
            seen = loops().product(self._layer, moved, self._lens.ice_at(change_A, layer.height_A))
            add_irfft2(self._image, seen, weight=layer.weight)

    def _particles(self, index: int, filters: Filters) -> C64:
        """Half transform of what is in the ice; overwritten by the next call."""
        scene, grid = self._scene, self._grid
        start, stop = (float(edge) for edge in scene.dose_edges_e_A2[index : index + 2])
        scale = np.float32(grid.scale_A)
        self._total.fill(0.0)
        for field in self._fields:
            left = field.left(scene, grid.radial_1_A, start, stop)
            sides = (field.even, field.odd, filters.even, filters.odd)
            loops().add_part(self._total, *sides, grid.kx, grid.ky, left, scale)
        return self._total

    def _move(self, total: C64, index: int) -> None:
        """Move and blur a half transform as the field's centre, in place, with the odd aberrations."""
        grid = self._grid
        if self._lens.factor is not None:
            total *= self._lens.factor
        streak = self._streak_A[index] if self._scene.effects.blur else np.zeros(2)
        ramp_x, ramp_y = grid.ramps(self._whole_A[index])
        loops().move(total, ramp_x, ramp_y, grid.kx, grid.ky, np.float32(streak[0]), np.float32(streak[1]))

    def _warped(self, image: F32, index: int) -> F32:
        """Image with what each place moves more than the centre."""
        shift = self.local_shift_px(index)
        return image if float(np.abs(shift).max()) < _LEAST_WARP_PX else warp(image, shift)

    def local_shift_px(self, index: int) -> Reals:
        """Displacement against that of the centre at places of arrival, an even grid over the field, `(gy, gx, 2)`."""
        ny, nx = self._grid.whole
        y, x = np.meshgrid(np.linspace(0.0, ny - 1.0, _N_NODES), np.linspace(0.0, nx - 1.0, _N_NODES), indexing="ij")
        pixel = self._grid.pixel_size_A
        came: Reals = np.zeros((*x.shape, 2))
        # What arrives at x came from x − d(where it came from).
        for _ in range(3):
            came = self._scene.displacement_A(x * pixel - came[..., 0], y * pixel - came[..., 1])[..., index, :]
        local: Reals = (came - self._whole_A[index]) / pixel
        return local


@dataclass(frozen=True)
class _Layer:
    """Ice seen with the filter of one height: everywhere in the same strength where `amplitude` is None.

    `place` is the number of the nearest layers at each pixel, None where there is one layer.
    """

    height_A: float
    amplitude: F32 | None
    place: F32 | None = None
    number: int = 0

    def weight(self, rows: slice) -> F32:
        """Factor on some rows; amplitudes fade from the filter of one height into that of the next."""
        strength: F32 = np.ones((1, 1), dtype=np.float32) if self.amplitude is None else self.amplitude[rows]
        if self.place is None:
            return strength
        near = np.maximum(np.float32(1.0) - np.abs(self.place[rows] - np.float32(self.number)), np.float32(0.0))
        faded: F32 = near * strength
        return faded


def _layers(scene: Scene, grid: SceneGrid, amplitude: Reals) -> list[_Layer]:
    """Heights that filters of the ice are made for; `amplitude` is that of the ice on the lattice of the grid."""
    height = scene.height_A(grid.whole)
    highest = float(np.abs(height).max())
    apart = slab_thickness_A(_LAYER_RESOLUTION_A, scene.lens.voltage_kV)
    n_side = min(math.ceil(highest / apart - 0.5), _MOST_LAYERS // 2)
    if n_side == 0 and scene.ice_amount is None and float(np.abs(amplitude - 1.0).max()) < _EVEN:
        return [_Layer(0.0, None)]
    strength = on_pixels(amplitude, grid.whole)
    if scene.ice_amount is not None:
        grid.crop(strength)[...] *= np.sqrt(scene.ice_amount)
    if n_side == 0:
        return [_Layer(0.0, strength)]
    apart = highest / n_side
    place = on_pixels(height / apart, grid.whole)
    return [_Layer(number * apart, strength, place, number) for number in range(-n_side, n_side + 1)]
