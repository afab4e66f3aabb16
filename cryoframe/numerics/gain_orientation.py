"""Which way round a gain reference lies on the frames, and whether it fits them at all; applying it is not here.

Uncorrected frames carry the inverse of the gain. Only differences of neighbours are compared, which the specimen, being
smooth and in another place in every movie, hardly has.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cryoframe.numerics.backend import F32, Floats, Reals
from cryoframe.numerics.camera_faults import Orientation, orientations, oriented

#: Correlations of noise scatter by 1/√n; what stands out by less than this many of that is chance.
N_SIGMA = 8.0
#: Values beyond so many deviations are defects.
_CLIP = 5.0


@dataclass(frozen=True, slots=True)
class GainFit:
    """How a gain reference fits uncorrected frames.

    Parameters
    ----------
    correlations
        With each orientation that has the shape of the frames, as given first.
    expected
        Correlation of a reference that fits.
    scatter
        Standard deviation of a correlation by chance.
    """

    correlations: dict[Orientation, float]
    expected: float
    scatter: float

    @property
    def best(self) -> Orientation:
        """Orientation with the largest correlation."""
        return max(self.correlations, key=lambda o: self.correlations[o])

    @property
    def tells(self) -> bool:
        """Whether frames and reference have enough of a pattern to decide."""
        return self.expected > 2.5 * N_SIGMA * self.scatter

    @property
    def is_turned(self) -> bool:
        """Whether another orientation than that given fits, and clearly better."""
        given, best = self.correlations.get(Orientation(), 0.0), self.correlations[self.best]
        return self.best != Orientation() and best > N_SIGMA * self.scatter and best > 2.0 * given

    @property
    def is_inverse(self) -> bool:
        """Whether frames carry the reference itself instead of its inverse, in some orientation."""
        least = min(self.correlations.values())
        return least < -N_SIGMA * self.scatter and -least > 2.0 * self.correlations[self.best]

    @property
    def is_foreign(self) -> bool:
        """Whether a reference that should show does not, in any orientation."""
        return self.tells and self.correlations[self.best] < max(0.1 * self.expected, N_SIGMA * self.scatter)


def _roughness(image: Floats) -> Reals:
    """Each pixel against its four neighbours, outliers cut, of mean 0; the same whichever way the image is turned."""
    inner = image.astype(np.float64)
    rough = 4.0 * inner[1:-1, 1:-1] - inner[:-2, 1:-1] - inner[2:, 1:-1] - inner[1:-1, :-2] - inner[1:-1, 2:]
    spread = 1.4826 * float(np.median(np.abs(rough)))
    if spread > 0.0:
        rough = np.clip(rough, -_CLIP * spread, _CLIP * spread)
    level: Reals = rough - rough.mean()
    return level


def _centre(image: F32, side: int) -> F32:
    """Middle part that the middle part of the turned image lies on."""
    ny, nx = image.shape
    n_y, n_x = min(ny, side + (ny - side) % 2), min(nx, side + (nx - side) % 2)
    y, x = (ny - n_y) // 2, (nx - n_x) // 2
    return image[y : y + n_y, x : x + n_x]


def fit_gain(uncorrected: F32, gain: F32, *, side_px: int = 1536) -> GainFit:
    """Compare the sum of uncorrected frames with the inverse of a gain reference, in all orientations.

    Parameters
    ----------
    uncorrected
        `(ny, nx)` sum of raw frames.
    gain
        `(ny, nx)` or `(nx, ny)`, what frames are to be multiplied by; 0 where a pixel is dead.
    side_px
        The middle of this size is looked at.
    """
    known = gain > 0
    inverse: F32 = np.where(
        known, 1.0 / np.where(known, gain, 1.0), float(np.median(1.0 / gain[known])) if known.any() else 1.0
    )
    frames, pattern = (
        _roughness(_centre(uncorrected, side_px)),
        _roughness(_centre(inverse.astype(np.float32), side_px)),
    )
    norm = float(np.sqrt((frames**2).sum() * (pattern**2).sum()))
    correlations: dict[Orientation, float] = {}
    for orientation in orientations():
        turned = oriented(pattern, orientation)
        if turned.shape == frames.shape:
            correlations[orientation] = float((turned * frames).sum()) / norm if norm > 0.0 else 0.0
    level = float(uncorrected.mean(dtype=np.float64))
    rough = float(frames.std())
    expected = min(level * float(pattern.std()) / rough, 1.0) if rough > 0.0 else 0.0
    return GainFit(correlations, expected, float(np.sqrt(1.3 / frames.size)))


def in_words(orientation: Orientation) -> str:
    """What to do to the reference, for people."""
    turns = ("", "turned by 90° anticlockwise", "turned by 180°", "turned by 90° clockwise")[orientation.quarter_turns]
    flip = "its rows in reverse order" if orientation.flipped else ""
    return ", then ".join(part for part in (turns, flip) if part) or "as it is"
