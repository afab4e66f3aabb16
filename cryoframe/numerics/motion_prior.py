"""What is known of the motion of a specimen before a movie is looked at: smooth over the field, fast at first.

Local motion is a Gaussian process, a product of one over the field and one over the exposure, written in its leading
modes. Estimating it from frames is in ``patch_motion``.

References
----------
Smoothness: Zivanov, Nakane & Scheres, IUCrJ 6, 5 (2019), doi 10.1107/S205225251801463X; modes: Rasmussen & Williams,
Gaussian Processes for Machine Learning (2006), sec. 4.3.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cryoframe.numerics.backend import Reals

#: Early motion: how much faster it is at first, and over which exposure it fades (Brilot et al., J. Struct. Biol. 177,
#: 630 (2012), doi 10.1016/j.jsb.2012.02.003, their fig. 3: most of it within 4 e/Å²).
_EARLY, _FADE_E_A2 = 4.0, 4.0
#: Over which exposure velocities stay alike.
_MEMORY_E_A2 = 6.0
#: Share of the variance that is left out with the small modes.
_LEFT_OUT = 1e-4


def path_covariance(dose_e_A2: Reals) -> Reals:
    """Covariance `(f, f)` of displacements against the first frame, 1 in the last; `dose_e_A2` `(f,)` rises."""
    n = len(dose_e_A2)
    if n < 2:
        return np.zeros((n, n))
    edges = np.linspace(dose_e_A2[0], dose_e_A2[-1], max(8 * (n - 1), 64) + 1)
    middle = 0.5 * (edges[1:] + edges[:-1])
    speed = 1.0 + _EARLY * np.exp(-(middle - dose_e_A2[0]) / _FADE_E_A2)
    alike = np.exp(-0.5 * ((middle[:, None] - middle[None, :]) / _MEMORY_E_A2) ** 2)
    passed = np.clip((dose_e_A2[:, None] - edges[None, :-1]) / (edges[1] - edges[0]), 0.0, 1.0)
    path: Reals = passed @ (speed[:, None] * alike * speed[None, :]) @ passed.T
    unit: Reals = path / path[-1, -1]
    return unit


def _modes(covariance: Reals) -> tuple[Reals, Reals]:
    """Leading eigenvectors times the root of their eigenvalues `(n, m)`, and the eigenvalues."""
    values, vectors = np.linalg.eigh(covariance)
    order = np.argsort(values)[::-1]
    values, vectors = np.maximum(values[order], 0.0), vectors[:, order]
    total = float(values.sum())
    n = int(np.searchsorted(np.cumsum(values), (1.0 - _LEFT_OUT) * total)) + 1 if total > 0.0 else 0
    # Signs are free; they are fixed, so that results do not depend on the library.
    signs = np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(len(values))])
    return (vectors * signs * np.sqrt(values))[:, :n], values[:n]


@dataclass(frozen=True, slots=True)
class FieldPrior:
    """Modes of local motion.

    Parameters
    ----------
    places_A
        `(p, 2)` (x, y) of the patches; over them the local motion has mean zero.
    space
        `(p, i)` modes at the patches.
    time
        `(f, j)` modes in the frames; zero in the first.
    length_A
        Over which motion is alike, exp(−d²/2ℓ²).
    inverse
        `(p, i)`: turns covariances with the patches into modes.
    """

    places_A: Reals
    space: Reals
    time: Reals
    length_A: float
    inverse: Reals

    def at(self, x_A: npt.ArrayLike, y_A: npt.ArrayLike) -> Reals:
        """Spatial modes `(…, i)` at any places, those of the patches smoothly continued."""
        place = np.stack(np.broadcast_arrays(np.asarray(x_A, float), np.asarray(y_A, float)), axis=-1)
        across = _alike(place, self.places_A, self.length_A)
        among = _alike(self.places_A, self.places_A, self.length_A)
        centred = across - across.mean(axis=-1, keepdims=True) - among.mean(axis=0) + among.mean()
        modes: Reals = centred @ self.inverse
        return modes


def _alike(a: Reals, b: Reals, length_A: float) -> Reals:
    squared = ((a[..., None, :] - b) ** 2).sum(axis=-1)
    alike: Reals = np.exp(-0.5 * squared / length_A**2)
    return alike


def field_prior(places_A: Reals, dose_e_A2: Reals, length_A: float) -> FieldPrior:
    """Modes of local motion about the mean over the patches; of unit variance, on average, at the end of the exposure.

    Parameters
    ----------
    places_A
        `(p, 2)` (x, y) of patches.
    dose_e_A2
        `(f,)` exposure in the middle of each frame.
    length_A
        Over which motion is alike.
    """
    among = _alike(places_A, places_A, length_A)
    centred = among - among.mean(axis=0) - among.mean(axis=1)[:, None] + among.mean()
    size = max(float(np.trace(centred)) / len(centred), 1e-12)
    space, values = _modes(centred / size)
    time, _ = _modes(path_covariance(dose_e_A2))
    return FieldPrior(places_A, space, time, length_A, space / (size * values))
