"""How evenly views cover a map: FSC in cones, their area ratio, and the sampling compensation of the views alone.

The FSC of whole shells is in ``fsc``.
"""

from __future__ import annotations

import numpy as np

from cryoframe.errors import InvalidInput
from cryoframe.numerics.backend import Complexes, Reals

#: Half angle of a cone and number of cones over the half sphere.
HALF_ANGLE_DEG = 20.0
N_CONES = 100
#: Directions seen by fewer views than this share of the mean count as seen by that share: a missing cone.
_LEAST_SAMPLING = 0.01


def half_sphere(n: int) -> Reals:
    """`(n, 3)` unit vectors (x, y, z), even over the half sphere z ≥ 0: a Fibonacci spiral.

    References
    ----------
    Swinbank & Purser, Q. J. R. Meteorol. Soc. 132, 1769 (2006), doi 10.1256/qj.05.227.
    """
    if n < 1:
        raise InvalidInput(f"{n} directions were asked for", expected="1 or more")
    z = 1.0 - (np.arange(n) + 0.5) / n
    angle = np.arange(n) * np.pi * (3.0 - np.sqrt(5.0))
    radius = np.sqrt(1.0 - z * z)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), z], axis=1)


def conical_fsc(
    a_ft: Complexes,
    b_ft: Complexes,
    *,
    n_cones: int = N_CONES,
    half_angle_deg: float = HALF_ANGLE_DEG,
    n_shells: int | None = None,
) -> tuple[Reals, Reals]:
    """Correlation of two transforms within cones about directions, shell by shell.

    Parameters
    ----------
    a_ft, b_ft
        `(n, n, n//2+1)`, centred half.
    n_cones
        Directions over the half sphere.
    half_angle_deg
        Of each cone, which has two ends.
    n_shells
        Shells from the first after zero, ``n//2`` unless given.

    Returns
    -------
    Directions `(n_cones, 3)` (x, y, z) and curves `(n_cones, n_shells)`, shell 1 first; 0 where a cone has no power.

    References
    ----------
    Directional FSC: Tan et al., Nat. Methods 14, 793 (2017), doi 10.1038/nmeth.4347.
    """
    if a_ft.shape != b_ft.shape or a_ft.ndim != 3 or not 0.0 < half_angle_deg <= 90.0:
        raise InvalidInput(
            f"transforms of {a_ft.shape} and {b_ft.shape} and cones of {half_angle_deg}° were given",
            expected="two of one shape (n, n, n//2+1), an angle in (0, 90]",
        )
    n = a_ft.shape[0]
    shells = n // 2 if n_shells is None else n_shells
    z, y, x = np.indices(a_ft.shape, dtype=np.float64)
    place = np.stack([x.ravel(), y.ravel() - n // 2, z.ravel() - n // 2])
    radius = np.sqrt(np.sum(place * place, axis=0))
    shell = np.rint(radius).astype(np.int64)
    # x = 0 holds both members of each pair, other columns one: they are counted twice.
    weight = np.where(place[0] == 0.0, 1.0, 2.0)
    used = np.flatnonzero((shell >= 1) & (shell <= shells))
    place, shell, weight = place[:, used] / radius[used], shell[used], weight[used]
    a, b = a_ft.ravel()[used].astype(np.complex128), b_ft.ravel()[used].astype(np.complex128)
    cross = weight * (a * b.conj()).real
    power_a, power_b = weight * np.abs(a) ** 2, weight * np.abs(b) ** 2
    axes = half_sphere(n_cones)
    curves = np.zeros((n_cones, shells))
    nearest = np.cos(np.radians(half_angle_deg))
    for index, axis in enumerate(axes):
        hit = np.flatnonzero(np.abs(axis @ place) >= nearest)
        sums = [np.bincount(shell[hit], part[hit], shells + 1)[1:] for part in (cross, power_a, power_b)]
        norm = np.sqrt(sums[1] * sums[2])
        curves[index] = np.divide(sums[0], norm, out=np.zeros(shells), where=norm > 0.0)
    return axes, curves


def area_ratio(curves: Reals) -> float:
    """Least area under the curves `(d, s)` of cones over the greatest: 1 for a map that is as good in every direction.

    The figure that cryoSPARC calls cFAR; it takes below 0.5 as a warning.
    """
    areas = np.maximum(curves, 0.0).sum(axis=1)
    if not areas.max() > 0.0:
        raise InvalidInput("no cone has any correlation", expected="maps that have something in common")
    return float(areas.min() / areas.max())


def sampling_compensation(view_axes: Reals, *, n_directions: int = 1000, half_width: float = 0.05) -> float:
    """Sampling compensation factor: harmonic mean of how often each Fourier direction is sampled, over the mean.

    1 for views in all directions alike; a resolution limited by counts falls as if only this share of the particles
    were there. A view along d samples the directions on the great circle across it, ``|u·d| <`` `half_width`.

    Parameters
    ----------
    view_axes
        `(m, 3)` viewing directions in the map frame, unit vectors.

    References
    ----------
    Baldwin & Lyumkis, Prog. Biophys. Mol. Biol. 150, 160 (2020), doi 10.1016/j.pbiomolbio.2019.09.002.
    """
    axes = np.asarray(view_axes, dtype=np.float64)
    if (
        axes.ndim != 2
        or axes.shape[1] != 3
        or not len(axes)
        or not np.allclose(np.sum(axes**2, axis=1), 1.0, atol=1e-3)
    ):
        raise InvalidInput(f"views of shape {axes.shape} were given", expected="(m, 3) unit vectors, at least one")
    sampled = np.array([np.mean(np.abs(axes @ u) < half_width) for u in half_sphere(n_directions)]) / half_width
    return float(1.0 / np.mean(1.0 / np.maximum(sampled, _LEAST_SAMPLING)))
