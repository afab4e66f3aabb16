"""The particles of a scene as transforms that hold every depth; how they fade with exposure; the lens is elsewhere.

The weak-phase image of what lies at z is P·(−sin(χ − a)) with χ of the lens at z = 0 and a = πλk²z, which is
(P·cos a)·(−sin χ) + (P·sin a)·cos χ. So two transforms hold the particles of all depths exactly, where
:mod:`cryoframe.numerics.exposure` adds slab after slab, and another defocus needs another χ only.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from cryoframe.errors import InvalidInput
from cryoframe.numerics.aberrations import Aberrations, true_frequencies
from cryoframe.numerics.backend import C64, F32, Ints, Reals
from cryoframe.numerics.ctf import wavelength_A
from cryoframe.numerics.damage import signal_left
from cryoframe.numerics.exposure import add_patch
from cryoframe.numerics.fourier import good_size, irfft2, rfft2
from cryoframe.numerics.grids import frequency_axes_1_A
from cryoframe.numerics.scene import FadingPatches, ParticleGroup, Scene
from cryoframe.numerics.scene_grid import SceneGrid

_AT_ONCE = 16
_NONE: C64 = np.zeros((0, 0), dtype=np.complex64)


@dataclass(frozen=True)
class DepthField:
    """Transforms of P·cos a and P·sin a of all that fades alike; `odd` is empty where nothing lies beside z = 0.

    `lifetime_e_A2` and `b_rate_A4_e` are those of its parts; `bears_all` marks what the beam does not change.
    """

    even: C64
    odd: C64
    lifetime_e_A2: float = math.inf
    b_rate_A4_e: float = 0.0
    bears_all: bool = False

    def left(self, scene: Scene, frequency_1_A: Reals, start_e_A2: float, stop_e_A2: float) -> F32:
        """Mean amplitude during an exposure, of the shape of the frequencies."""
        return left_of(self, scene, frequency_1_A, start_e_A2, stop_e_A2)


class Fading(Protocol):
    """What fades alike."""

    @property
    def lifetime_e_A2(self) -> float:
        """Exposure after which 1/e of it is left."""

    @property
    def b_rate_A4_e(self) -> float:
        """Growth of its B-factor with exposure."""

    @property
    def bears_all(self) -> bool:
        """Whether the beam changes nothing of it."""


def left_of(part: Fading, scene: Scene, frequency_1_A: Reals, start_e_A2: float, stop_e_A2: float) -> F32:
    """Mean amplitude of a part during an exposure, of the shape of the frequencies."""
    if part.bears_all or not scene.effects.damage:
        return np.ones(frequency_1_A.shape, dtype=np.float32)
    kept = signal_left(
        frequency_1_A,
        start_e_A2,
        stop_e_A2,
        voltage_kV=scene.lens.voltage_kV,
        temperature_K=scene.temperature_K,
        lifetime_e_A2=part.lifetime_e_A2,
        b_rate_A4_e=part.b_rate_A4_e,
    )
    return kept.astype(np.float32)


def depth_fields(scene: Scene, grid: SceneGrid) -> list[DepthField]:
    """Fields of a scene, parts that fade alike in one; the support is a field of its own. May be empty."""
    kinds: dict[tuple[float, float], list[tuple[ParticleGroup, FadingPatches]]] = {}
    for group in scene.particles if scene.effects.particles else ():
        for part in group.parts:
            if len(group):
                kinds.setdefault((part.lifetime_e_A2, part.b_rate_A4_e), []).append((group, part))
    fields = []
    for (lifetime, rate), members in kinds.items():
        even, odd = grid.empty(), grid.empty()
        for group, part in members:
            for index in np.array_split(np.arange(len(group)), math.ceil(len(group) / _AT_ONCE)):
                _add_at_depths(even, odd, group, index, part.of(index), scene)
        flat = not odd.any()
        fields.append(DepthField(_transform(even), _NONE if flat else _transform(odd), lifetime, rate))
    if scene.support is not None:
        fields.append(DepthField(_transform(grid.mirrored(scene.support)), _NONE, bears_all=True))
    return fields


def _transform(field: F32) -> C64:
    return rfft2(field).astype(np.complex64, copy=False)


def _add_at_depths(even: F32, odd: F32, group: ParticleGroup, index: Ints, patches: F32, scene: Scene) -> None:
    """Add P·cos a and P·sin a of some particles at their places."""
    if patches.ndim != 3 or len(patches) != len(index) or not np.all(np.isfinite(patches)):
        raise InvalidInput(
            f"patches of shape {patches.shape}, or not finite, were made for {len(index)} particles",
            expected="(m, b, b) finite potentials [1/Å]",
        )
    box, wide = patches.shape[-1], _padded_box(patches.shape[-1], group.z_A, scene)
    padded = np.zeros((len(patches), wide, wide), dtype=np.float32)
    start = wide // 2 - box // 2
    padded[:, start : start + box, start : start + box] = patches
    place = np.stack([group.x_A[index], group.y_A[index]], axis=1) / scene.pixel_size_A
    whole = np.round(place).astype(np.int64)
    depth_A = np.asarray(group.z_A)[index]
    for field, moved in zip((even, odd), _at_depths(padded, place - whole, depth_A, scene), strict=False):
        for patch, (x, y) in zip(moved, whole - wide // 2, strict=True):
            _lay(field, patch, (int(y), int(x)), scene.shape)


def _lay(field: F32, patch: F32, corner: tuple[int, int], shape: tuple[int, int]) -> None:
    """Add a patch with its first pixel at `corner` to the grid, whose first rows and columns are the frame's `shape`.

    The grid is periodic: what lies up to half of the margin before the frame is laid on the margin's far half, so that
    a particle on the first rows reaches into the frame as one on the last rows does. What lies farther off is cut.
    """
    spare = [(size - seen) // 2 for size, seen in zip(field.shape, shape, strict=True)]
    spans = list(zip(corner, patch.shape, field.shape, spare, strict=True))
    if all(first >= 0 and first + n <= size - rest for first, n, size, rest in spans):
        add_patch(field, patch, *corner)
        return
    places = [first + np.arange(n) for first, n, _, _ in spans]
    kept = [
        np.flatnonzero((place >= -rest) & (place < size - rest))
        for place, (_, _, size, rest) in zip(places, spans, strict=True)
    ]
    rows, columns = (place[some] % size for place, some, size in zip(places, kept, field.shape, strict=True))
    field[np.ix_(rows, columns)] += patch[np.ix_(*kept)]


def _padded_box(box: int, z_A: Reals, scene: Scene) -> int:
    """Box with room for what the depth alone spreads, λ·z·k to either side at Nyquist."""
    highest = float(np.abs(z_A).max(initial=0.0))
    spread_px = wavelength_A(scene.lens.voltage_kV) * highest * 0.5 / scene.pixel_size_A**2
    return good_size(box + 2 * math.ceil(spread_px) + 4)


def _at_depths(padded: F32, part_px: Reals, depth_A: Reals, scene: Scene) -> Iterator[F32]:
    """Patches moved by parts of a pixel, times cos a and, where any has a depth, times sin a in Fourier space."""
    n = padded.shape[-1]
    kx, ky = frequency_axes_1_A((n, n), scene.pixel_size_A, centred_half=False)
    aberrations: Aberrations | None = scene.lens.aberrations
    x, y = true_frequencies(kx, ky, aberrations)
    ft = rfft2(padded)
    shift_A = part_px * scene.pixel_size_A
    ft *= np.exp(-2j * np.pi * shift_A[:, 0, None, None] * kx).astype(np.complex64)
    ft *= np.exp(-2j * np.pi * shift_A[:, 1, None, None] * ky).astype(np.complex64)
    if not depth_A.any():
        yield irfft2(ft, (n, n)).astype(np.float32, copy=False)
        return
    turn = (np.pi * wavelength_A(scene.lens.voltage_kV) * (x * x + y * y)).astype(np.float32)
    angle = depth_A.astype(np.float32)[:, None, None] * turn
    yield irfft2(ft * np.cos(angle), (n, n)).astype(np.float32, copy=False)
    yield irfft2(ft * np.sin(angle), (n, n)).astype(np.float32, copy=False)
