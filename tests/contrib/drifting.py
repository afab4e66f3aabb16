"""Small simulated movies with a known, asymmetric drift, in files as a camera leaves them; nothing is asserted here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile

from cryoframe import GainReference, Movie, Optics
from cryoframe.formats import mrc
from cryoframe.numerics import fourier
from cryoframe_formats import mrc_movie, tiff_movie

PIXEL_A, DOSE_E_A2, N_FRAMES = 1.1, 1.2, 12
#: Rows and columns differ: a transposed frame shows.
SHAPE_PX = (320, 384)
OPTICS = Optics(voltage_kV=200.0, cs_mm=1.4)


def scene(shape_px: tuple[int, int] = SHAPE_PX, seed: int = 5) -> np.ndarray:
    """Detail down to some 4 px, deviation 1, no symmetry."""
    ny, nx = shape_px
    k = np.hypot(np.fft.fftfreq(ny)[:, None], np.fft.rfftfreq(nx)[None])
    ft = fourier.rfft2(np.random.default_rng(seed).standard_normal(shape_px).astype(np.float32))
    made = fourier.irfft2((ft * np.exp(-((k / 0.12) ** 2)) * (k > 0)).astype(np.complex64), shape_px)
    return made / made.std()


def drift_px(n_frames: int = N_FRAMES) -> np.ndarray:
    """Where the specimen is in each frame `(n, 2)` (x, y): far along +x, little and later along +y."""
    i = np.arange(n_frames)
    return np.stack([7.0 * (1 - np.exp(-i / 4.0)), 0.02 * i**2], axis=1)


def moved(still: np.ndarray, by_px: np.ndarray) -> np.ndarray:
    ny, nx = still.shape
    ramp = np.exp(-2j * np.pi * (np.fft.fftfreq(ny)[:, None] * by_px[1] + np.fft.rfftfreq(nx)[None] * by_px[0]))
    return fourier.irfft2((fourier.rfft2(still.astype(np.float32)) * ramp).astype(np.complex64), still.shape)


def gain_image(shape_px: tuple[int, int] = SHAPE_PX) -> np.ndarray:
    """Factors that differ between neighbours and from quarter to quarter, so that a flipped one does harm."""
    ny, nx = shape_px
    slope = 1.0 + 0.4 * np.linspace(-1, 1, ny)[:, None] + 0.2 * np.linspace(-1, 1, nx)[None]
    return (slope * np.random.default_rng(8).uniform(0.8, 1.2, shape_px)).astype(np.float32)


def counts(still: np.ndarray, *, gain: np.ndarray | None = None, seed: int = 3, local_px: float = 0.0) -> np.ndarray:
    """Poisson counts `(n, ny, nx)` in our orientation.

    Parameters
    ----------
    still
        The specimen in the first frame.
    gain
        By which the camera's counts have yet to be multiplied.
    seed
        Of the noise.
    local_px
        How far the last row has moved along x at the end beyond the middle row; the first row as far the other way.
    """
    rng, ny = np.random.default_rng(seed), still.shape[0]
    frames = []
    for i, by_px in enumerate(drift_px()):
        frame = moved(still, by_px)
        if local_px:
            bend = local_px * i / (N_FRAMES - 1) * 2 * ((np.arange(ny) + 0.5) / ny - 0.5)
            frame = np.stack([moved(row[None], np.array([dx, 0.0]))[0] for row, dx in zip(frame, bend, strict=True)])
        frames.append(rng.poisson(np.maximum(20 - 6 * frame, 0) / (1.0 if gain is None else gain)))
    return np.array(frames)


def filmed(path: Path, frames: np.ndarray, *, gain: np.ndarray | None = None) -> Movie:
    """Write frames as the kind of file that `path` names and open it with our reader."""
    if path.suffix == ".tif":
        tifffile.imwrite(path, frames[:, ::-1], photometric="minisblack", metadata=None, compression="lzw")
        source = tiff_movie.open_movie(path)
    else:
        mrc.write(path, frames, pixel_size_A=PIXEL_A, mode=None, is_stack=True)
        source = mrc_movie.open_movie(path)
    assert source is not None
    shape = (int(frames.shape[1]), int(frames.shape[2]))
    reference = None if gain is None else GainReference(gain)
    return Movie("mov", str(path), len(frames), shape, PIXEL_A, DOSE_E_A2, OPTICS, gain=reference, source=source)


@dataclass(frozen=True)
class Likeness:
    """How an image correlates with a dark scene, as it is and turned over."""

    upright: float
    flipped_y: float
    flipped_x: float


def likeness(image: np.ndarray, still: np.ndarray) -> Likeness:
    """Compare without the margin that drifted out of the field."""
    inner = np.s_[16:-16, 16:-16]

    def correlation(other: np.ndarray) -> float:
        return float(np.corrcoef(-image[inner].ravel(), other[inner].ravel())[0, 1])

    return Likeness(correlation(still), correlation(still[::-1]), correlation(still[:, ::-1]))
