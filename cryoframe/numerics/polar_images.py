"""Particle images as an angular search asks for them: cropped once, then masked and sampled batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cryoframe.errors import InvalidInput
from cryoframe.numerics.backend import native
from cryoframe.numerics.ctf import amplitude_phase_rad, ctf, wavelength_A
from cryoframe.numerics.fourier import fourier_crop, good_size
from cryoframe.numerics.mapped import give_back
from cryoframe.numerics.masks import circular_mask
from cryoframe.numerics.polar import PolarGrid, sample, shift_phases

Array = npt.NDArray[Any]

#: Images handled at a time when a stack is read: fewer large ones, so that what is made of them stays small.
CHUNK = 512
_CHUNK_VALUES = 2**22
# Cropped images beyond this many bytes go to a file.
_IN_MEMORY = 256 * 2**20
# Images that vary so many times more or less than the others are left out.
_UNLIKE = 10.0
_CTF_COLUMNS = ("defocus_u_A", "defocus_v_A", "defocus_angle_deg", "phase_shift_deg")


@dataclass(frozen=True)
class Optics:
    """CTF parameters of images: `columns` `(m, 4)` in the order of the names, `group` `(m,)`, and optics by group.

    ``settings`` holds (voltage_kV, cs_mm, amplitude_contrast) of each group; no CTF at all where it is empty.
    """

    columns: Array
    group: Array
    settings: tuple[tuple[float, float, float], ...]


def make_optics(
    groups: Sequence[str] | Array, optics: Mapping[str, tuple[float, float, float]], columns: Mapping[str, Array]
) -> Optics:
    """CTF parameters from a particle table's columns and its optics by group name."""
    names = list(optics)
    place = {name: i for i, name in enumerate(names)}
    table = np.stack([np.asarray(columns[name], dtype=np.float64) for name in _CTF_COLUMNS], axis=1)
    group = np.array([place[str(name)] for name in groups], dtype=np.int64)
    return Optics(table, group, tuple(optics[name] for name in names))


@dataclass(frozen=True)
class PolarImages:
    """Cropped images with what is needed to sample them.

    Attributes
    ----------
    images
        `(m, s, s)` float32 over the length of the original box; may be memory-mapped.
    box_px, pixel_size_A
        Of the original images.
    optics
        CTF parameters.
    radius_px, edge_px
        Of the soft circular mask, in original pixels.
    """

    images: Array
    box_px: int
    pixel_size_A: float
    optics: Optics
    radius_px: float
    edge_px: float

    @property
    def mask(self) -> npt.NDArray[np.float32]:
        """The mask `(s, s)` on the cropped pixels."""
        side = self.images.shape[-1]
        scale = side / self.box_px
        return circular_mask(side, scale * (self.radius_px - 0.5 * self.edge_px), edge_px=scale * self.edge_px)

    @property
    def support_px(self) -> float:
        """Radius outside of which masked images are zero."""
        return self.radius_px + 0.5 * self.edge_px

    def transforms(self, rows: Array | slice, centres_px: Array, grid: PolarGrid) -> Array:
        """Transforms `(b, r, h)` of images masked where their particle is and moved by `centres_px` `(b, 2)`."""
        side = self.images.shape[-1]
        scale = side / self.box_px
        whole = np.rint(centres_px * scale).astype(int)
        images = np.asarray(self.images[rows])
        moved = np.empty(images.shape, dtype=np.float32)
        mask = self.mask
        for i, (dx, dy) in enumerate(whole):
            np.multiply(np.roll(images[i], (dy, dx), axis=(0, 1)) if dx or dy else images[i], mask, out=moved[i])
        values = sample(moved, grid)
        rest = centres_px - whole / scale
        if np.abs(rest).max(initial=0.0) > 1e-6:
            values *= shift_phases(grid, rest)
        return values

    def ctfs(self, rows: Array | slice, grid: PolarGrid) -> npt.NDArray[np.float32]:
        """CTFs `(b, r, h)` of the images on the grid."""
        return self.ctfs_at(rows, grid.points)

    def ctfs_at(self, rows: Array | slice, points: Array) -> npt.NDArray[np.float32]:
        """CTFs `(b, ...)` of the images at frequencies `(..., 2)` (kx, ky) [cycles per box]."""
        table, group = self.optics.columns[rows], self.optics.group[rows]
        out = np.ones((len(table), *points.shape[:-1]), dtype=np.float32)
        frequency = points / (self.box_px * self.pixel_size_A)
        for number, settings in enumerate(self.optics.settings):
            mine = group == number
            if mine.any():
                out[mine] = _ctf_at(frequency[..., 0], frequency[..., 1], settings, table[mine])
        return out


def _ctf_at(kx: Array, ky: Array, settings: tuple[float, float, float], table: Array) -> Array:
    voltage_kV, cs_mm, contrast = settings
    fast = native(np, "ctf")
    if fast is not None:
        optics = (wavelength_A(voltage_kV), cs_mm * 1e7, amplitude_phase_rad(contrast))
        none = np.zeros(len(table))
        compiled: Array = fast.ctf_half(kx, ky, np.zeros(kx.shape), (*table.T, none), optics)
        return compiled
    u, v, angle, shift = (column.reshape(-1, *(1,) * kx.ndim) for column in table.T)
    return ctf(
        kx,
        ky,
        voltage_kV=voltage_kV,
        cs_mm=cs_mm,
        amplitude_contrast=contrast,
        defocus_u_A=u,
        defocus_v_A=v,
        defocus_angle_deg=angle,
        phase_shift_deg=shift,
    ).astype(np.float32)


def cropped_side(box_px: int, r_max: float) -> int:
    """Even side that holds frequencies up to `r_max` [cycles per box] with a margin for interpolation."""
    return min(box_px - box_px % 2, good_size(2 * (int(np.ceil(r_max)) + 2)))


def chunk_of(box_px: int) -> int:
    """Images of a box to handle at a time when a stack is read."""
    return int(np.clip(_CHUNK_VALUES // box_px**2, 16, CHUNK))


def crop(
    images: Array,
    rows: Array,
    side: int,
    *,
    folder: Path,
    on_chunk: Callable[[int], None] = lambda done: None,
) -> tuple[Array, Array]:
    """Crop images in Fourier space, a chunk at a time.

    Parameters
    ----------
    images
        `(m, n, n)` float32, as a rule memory-mapped; only a chunk of it is read at a time.
    rows
        `(c,)` which images, in the order wanted.
    side
        Pixels of the cropped images.
    folder
        Where the cropped images go when they are too many for memory.
    on_chunk
        Called with the number of images done; may raise to stop.

    Returns
    -------
    `(c, side, side)` float32, and `(c,)` the standard deviation of each image before it was cropped: NaN where a value
    is not finite, and the cropped image zero then.
    """
    shape = (len(rows), side, side)
    if 4 * int(np.prod(shape)) > _IN_MEMORY:
        out: Array = np.memmap(folder / "cropped.raw", dtype=np.float32, mode="w+", shape=shape)
    else:
        out = np.empty(shape, dtype=np.float32)
    spread = np.empty(len(rows))
    step = chunk_of(images.shape[-1])
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        chunk = np.asarray(images[rows[part]], dtype=np.float32)
        finite = np.isfinite(chunk).all(axis=(1, 2))
        chunk[~finite] = 0.0
        spread[part] = np.where(finite, chunk.std(axis=(1, 2), dtype=np.float64), np.nan)
        out[part] = chunk if side == chunk.shape[-1] else fourier_crop(chunk, (side, side), origin="centre")
        give_back(images)
        on_chunk(min(start + step, len(rows)))
    return out, spread


def fit_images(spread: Array, identities: Array, drop: Callable[[list[int], str], object], *, fewest: int) -> Array:
    """Which images `(c,)` to go on with; the others are told to `drop`, with the reason.

    Parameters
    ----------
    spread
        `(c,)` standard deviations, from :func:`crop`.
    identities
        `(c,)` of the particles.
    drop
        Takes identities and why they are left out.
    fewest
        Fewer images than that are refused.

    Raises
    ------
    InvalidInput
        If fewer are left.
    """
    fit = np.ones(len(spread), dtype=bool)
    for reason, gone in unfit(spread).items():
        if gone.any():
            drop(identities[gone].tolist(), reason)
        fit &= ~gone
    if fit.sum() < fewest:
        raise InvalidInput(
            f"only {fit.sum()} images hold finite values that vary as those of the others do",
            expected=f"at least {fewest}",
            remedy="Look at the images that were dropped, and extract them anew.",
        )
    return fit


def unfit(spread: Array) -> dict[str, Array]:
    """Which images are none of particles as the others are: `(c,)` of each reason why, disjoint.

    Parameters
    ----------
    spread
        `(c,)` standard deviations, from :func:`crop`.

    References
    ----------
    Definition: boxes are normalised to one deviation; one that varies ten times more or less than half of the others
    holds no particle among them, and would outweigh or vanish beside all the others.
    """
    finite = np.isfinite(spread)
    flat = finite & (spread == 0.0)
    usual = float(np.median(spread[finite & ~flat])) if (finite & ~flat).any() else 0.0
    unlike = finite & ~flat & ((spread > _UNLIKE * usual) | (spread * _UNLIKE < usual))
    return {
        "its image holds values that are not finite numbers": ~finite,
        "its image has one value everywhere": flat,
        f"its image varies more than {_UNLIKE:g} times as much, or as little, as the others": unlike,
    }
