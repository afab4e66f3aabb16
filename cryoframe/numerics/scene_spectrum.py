"""Contrast of a scene in each of its frames, as the pixels of the camera see it; electrons are in scene_frames."""

from __future__ import annotations

import math

import numpy as np

from cryoframe.numerics.backend import C64, F32, Reals
from cryoframe.numerics.exposure import slab_thickness_A
from cryoframe.numerics.field import beam_path_A
from cryoframe.numerics.fourier import irfft2
from cryoframe.numerics.ice import pixel_positions_A
from cryoframe.numerics.scene import Scene
from cryoframe.numerics.scene_grid import SceneGrid
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
#: Filters for ice at different heights of a tilted film, at most; each costs a transform a frame.
_MOST_LAYERS = 16
_LAYER_RESOLUTION_A = 4.0


class SceneContrast:
    """I/I₀ − 1 of a scene frame by frame, with the transfer of the camera's pixel and random spread."""

    def __init__(self, scene: Scene, grid: SceneGrid, elastic_share: float) -> None:
        self._scene, self._grid = scene, grid
        x, y = pixel_positions_A(grid.whole, grid.pixel_size_A)
        path = np.broadcast_to(beam_path_A(scene.film, x, y, scene.extent_A, scene.stage), grid.whole)
        thickness = float(grid.crop(path.astype(np.float32)).mean())
        self._lens = SceneLens(scene, grid, ice_thickness_A=thickness, elastic_share=elastic_share)
        self._fields = depth_fields(scene, grid)
        self._defocus_A = scene.defocus_change_A()
        centre = (0.5 * scene.extent_A[1], 0.5 * scene.extent_A[0])
        self._whole_A: Reals = scene.displacement_A(*centre)
        self._streak_A = scene.streak_A(*centre)
        self._layers: list[tuple[float, F32 | None]] = []
        self._ice: MovingIce | None = None
        if scene.effects.ice and thickness > 0.0:
            amount = np.ones(grid.whole) if scene.ice_amount is None else grid.wide(scene.ice_amount, 1.0)
            self._layers = _layers(scene, grid, np.sqrt(path / thickness * amount).astype(np.float32))
            self._ice = MovingIce(scene, grid)

    def contrast(self, index: int) -> F32:
        """Contrast `(ny, nx)` of a frame on the grid."""
        change = self._lens.quantised_A(float(self._defocus_A[index]))
        total = self._particles(index, self._lens.at(change))
        ice = None if self._ice is None else self._ice.mean(index)
        image: F32 | None = None
        for height, weight in self._layers if ice is not None else ():
            filters = self._lens.at(change) if height == 0.0 else self._lens.made(change + height)
            if weight is None:
                loops().add_product(total, ice, filters.ice)
                continue
            layer = np.zeros(self._grid.half, dtype=np.complex64)
            loops().add_product(layer, ice, filters.ice)
            seen = self._moved(layer, index)
            seen *= weight
            image = seen if image is None else np.add(image, seen, out=image)
        rest = self._moved(total, index)
        return self._warped(rest if image is None else np.add(rest, image, out=rest), index)

    def _particles(self, index: int, filters: Filters) -> C64:
        """Half transform of what is in the ice."""
        scene, grid = self._scene, self._grid
        start, stop = (float(edge) for edge in scene.dose_edges_e_A2[index : index + 2])
        total: C64 = np.zeros(grid.half, dtype=np.complex64)
        for field in self._fields:
            left = field.left(scene, grid.radial_1_A, start, stop)
            loops().add_part(
                total,
                field.even,
                field.odd,
                filters.even,
                filters.odd,
                grid.kx,
                grid.ky,
                left,
                np.float32(grid.scale_A),
            )
        return total

    def _moved(self, total: C64, index: int) -> F32:
        """Image of a half transform, moved and blurred as the field's centre; the transform is used up."""
        grid = self._grid
        if self._lens.factor is not None:
            total *= self._lens.factor
        streak = self._streak_A[index] if self._scene.effects.blur else np.zeros(2)
        ramp_x, ramp_y = grid.ramps(self._whole_A[index])
        loops().move(total, ramp_x, ramp_y, grid.kx, grid.ky, np.float32(streak[0]), np.float32(streak[1]))
        image: F32 = irfft2(total, grid.whole).astype(np.float32, copy=False)
        return image

    def _warped(self, image: F32, index: int) -> F32:
        """Image with what each place moves more than the centre."""
        shift = self.local_shift_px(index)
        return image if float(np.abs(shift).max()) < _LEAST_WARP_PX else warp(image, shift)

    def local_shift_px(self, index: int) -> Reals:
        """Displacement against that of the centre at places of arrival on an even grid over the field, `(gy, gx, 2)`."""
        ny, nx = self._grid.whole
        y, x = np.meshgrid(np.linspace(0.0, ny - 1.0, _N_NODES), np.linspace(0.0, nx - 1.0, _N_NODES), indexing="ij")
        pixel = self._grid.pixel_size_A
        came: Reals = np.zeros((*x.shape, 2))
        # What arrives at x came from x − d(where it came from).
        for _ in range(3):
            came = self._scene.displacement_A(x * pixel - came[..., 0], y * pixel - came[..., 1])[..., index, :]
        local: Reals = (came - self._whole_A[index]) / pixel
        return local


def _layers(scene: Scene, grid: SceneGrid, amplitude: F32) -> list[tuple[float, F32 | None]]:
    """Heights [Å] that filters of the ice are made for, and the weight of each over the grid; None for 1 everywhere."""
    y, x = (np.arange(n) * grid.pixel_size_A for n in grid.whole)
    away_x, away_y = x[None, :] - 0.5 * scene.extent_A[1], y[:, None] - 0.5 * scene.extent_A[0]
    height = np.broadcast_to(scene.stage.specimen_plane(away_x, away_y)[2], grid.whole).astype(np.float32)
    highest = float(np.abs(height).max())
    apart = 2.0 * slab_thickness_A(_LAYER_RESOLUTION_A, scene.lens.voltage_kV)
    if highest < 0.5 * apart:
        even = float(amplitude.std()) < _EVEN * float(amplitude.mean()) and abs(float(amplitude.mean()) - 1.0) < _EVEN
        return [(0.0, None if even else amplitude)]
    n_side = min(math.ceil(highest / apart), _MOST_LAYERS // 2)
    apart = highest / n_side
    layers: list[tuple[float, F32 | None]] = []
    for number in range(-n_side, n_side + 1):
        # Amplitudes fade from one filter to the next.
        weight = np.maximum(1.0 - np.abs(height / apart - number), 0.0) * amplitude
        layers.append((number * apart, weight.astype(np.float32)))
    return layers
