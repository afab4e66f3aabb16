"""Dose weighting of few sums instead of all frames; the critical exposures are in ``filters``.

Weights of frames at all frequencies are e^(−N/2N_e(k)) up to a factor: functions of N that differ in one rate only.
A handful of them spans all, so that a handful of sums is transformed instead of all frames.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cryoframe.numerics.backend import F32, Reals
from cryoframe.numerics.motion import Dose

#: Frequencies at which curves are given.
N_CURVE = 2048
_TOLERANCE = 5e-4


@dataclass(frozen=True, slots=True)
class WeightedSums:
    """How a dose-weighted sum is made of few sums.

    Parameters
    ----------
    frames
        `(f, c)` weights of the frames in each sum; the first sum is the plain one.
    curves
        `(c, N_CURVE)` what each sum is multiplied by, at even frequencies from 0 to the highest asked for.
    """

    frames: F32
    curves: F32


def weighted_sums(dose: Dose | None, n_frames: int, highest_1_A: float) -> WeightedSums:
    """Split weights of `n_frames` at frequencies up to `highest_1_A`; exact to 5·10⁻⁴ of the largest.

    References
    ----------
    Singular values: Eckart & Young, Psychometrika 1, 211 (1936), doi 10.1007/BF02288367.
    """
    plain = np.ones((n_frames, 1))
    if dose is None:
        return WeightedSums(plain.astype(np.float32), np.ones((1, N_CURVE), dtype=np.float32))
    wanted: Reals = dose.weights(np.linspace(0.0, highest_1_A, N_CURVE), n_frames).astype(np.float64)
    mean = wanted.mean(axis=0, keepdims=True)
    left, size, right = np.linalg.svd(wanted - mean, full_matrices=False)
    for rank in range(len(size) + 1):
        rest = (left[:, rank:] * size[rank:]) @ right[rank:]
        if np.abs(rest).max() <= _TOLERANCE * np.abs(wanted).max():
            break
    frames = np.concatenate([plain, left[:, :rank]], axis=1)
    curves = np.concatenate([mean, size[:rank, None] * right[:rank]], axis=0)
    return WeightedSums(frames.astype(np.float32), curves.astype(np.float32))
