"""From scored candidate poses to one pose with its probability; and images centred by a pose and masked."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cryoframe.numerics.fourier import fft2_centred, phase_ramp
from cryoframe.numerics.pose_search import Poses
from cryoframe.numerics.rotations import angular_distance_deg

Array = npt.NDArray[Any]


class PoseEstimate(NamedTuple):
    """One pose an image: `rotations` `(m, 3, 3)`, `shifts_px` `(m, 2)` and `probability` `(m,)` of the best."""

    rotations: npt.NDArray[np.float64]
    shifts_px: npt.NDArray[np.float64]
    probability: npt.NDArray[np.float64]

    def candidates(self) -> Poses:
        """Return the estimates as the only candidates of a new search."""
        return Poses(self.rotations[:, None], self.shifts_px[:, None], np.zeros((len(self.rotations), 1)))


def posterior_mean(poses: Poses, *, evidence_frac: float = 1.0, within_deg: float = 4.0) -> PoseEstimate:
    """Mean pose under the posterior of the candidates around the best one.

    Parameters
    ----------
    poses
        Candidates on a fine lattice, best first, scored as log-likelihoods.
    evidence_frac
        Independent samples per transform value: below 1 where a mask correlates neighbouring frequencies, as the
        scores then count each observation ``1 / evidence_frac`` times.
    within_deg
        Candidates further from the best one belong to another mode and are left out of the mean.

    Returns
    -------
    The rotation nearest to the weighted mean matrix, the weighted mean translation, the best candidate's probability.

    References
    ----------
    Posterior: Scheres, J. Mol. Biol. 415, 406 (2012), eq. 5; mean rotation: Moakher, SIAM J. Matrix Anal. Appl. 24, 1
    (2002), doi:10.1137/S0895479801383877, proposition 3.3 (projected arithmetic mean).
    """
    gain = evidence_frac * (poses.scores - poses.scores[:, :1])
    weights = np.exp(np.where(np.isfinite(gain), gain, -np.inf))
    probability = 1.0 / weights.sum(axis=1)
    weights = np.where(angular_distance_deg(poses.rotations, poses.rotations[:, :1]) <= within_deg, weights, 0.0)
    weights = weights / weights.sum(axis=1, keepdims=True)
    left, _, right = np.linalg.svd(np.einsum("mk,mkij->mij", weights, poses.rotations))
    shifts = np.einsum("mk,mkj->mj", weights, poses.shifts_px)
    return PoseEstimate(np.asarray(left @ right), np.asarray(shifts), np.asarray(probability, dtype=np.float64))


def best_pose(poses: Poses, *, evidence_frac: float = 1.0) -> PoseEstimate:
    """Return the best candidate with its probability among the candidates.

    References
    ----------
    Posterior: Scheres, J. Mol. Biol. 415, 406 (2012), eq. 5.
    """
    weights = np.exp(np.maximum(evidence_frac * (poses.scores - poses.scores[:, :1]), -700.0))
    return PoseEstimate(poses.rotations[:, 0], poses.shifts_px[:, 0], np.asarray(1.0 / weights.sum(axis=1)))


def masked_transforms(images: Array, shifts_px: Array, mask: Array) -> Array:
    """Transforms of images whose surroundings are masked where the particle is, kept in their own frame.

    Parameters
    ----------
    images
        `(m, n, n)` float32.
    shifts_px
        `(m, 2)` (dx, dy): translation that brings each particle to the centre; applied to the whole pixel.
    mask
        `(n, n)` in [0, 1] around the centre.

    Returns
    -------
    `(m, n, n//2 + 1)` complex64, centred half layout, of the images before the translation.

    References
    ----------
    Definition.
    """
    n = images.shape[-1]
    whole = np.rint(np.asarray(shifts_px)).astype(int)
    moved = np.stack(
        [np.roll(image, (dy, dx), axis=(0, 1)) * mask for image, (dx, dy) in zip(images, whole, strict=True)]
    )
    transforms: Array = (fft2_centred(moved) * phase_ramp(n, -whole)).astype(np.complex64)
    return transforms
