"""A filter that differs from place to place: in each window and band the weight by which one half predicts the other.

The weight that minimises the windowed error ``|c A - B|^2 + |c B - A|^2`` is ``2<AB> / (<A^2> + <B^2>)``: the local
correlation of the halves. No half is filtered by anything but this common weight. Local FSC is in ``local_fsc``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from cryoframe.numerics import local_fsc
from cryoframe.numerics.backend import F32, Floats, Reals
from cryoframe.numerics.fourier import fft3_centred, ifft3_centred

#: Samples that the FSC of the whole shell counts as beside those of a window.
_PRIOR_SAMPLES = 10.0
#: Correlation below which higher bands of the same place are never trusted more.
_LEAST = 0.143


class LocalWeights(NamedTuple):
    """Weights `(b, m, m, m)` of bands at `shells` `(b,)` apart by `width` [cycles per box], at the windows' places."""

    weights: F32
    shells: Reals
    width: float


def local_weights(
    first: Floats, second: Floats, curve: Reals, *, window_frac: float = 4.0, mask: Floats | None = None
) -> LocalWeights:
    """Weights by which each half predicts the other best, place by place and band by band.

    Parameters
    ----------
    first, second
        `(n, n, n)` real, independent halves.
    curve
        `(n//2 + 1,)`: their FSC, which rules where a window holds too few samples.
    window_frac
        Width of the windows, in units of the resolution at which `curve` falls below 0.143.
    mask
        `(n, n, n)`, 0 … 1: weight of each voxel within the windows.

    References
    ----------
    Cross-validation between half-maps: Punjani, Zhang & Fleet, Nat. Methods 17, 1214 (2020),
    doi:10.1038/s41592-020-00990-8, eq. 4, here with a weight a band instead of one cut-off.
    """
    n = int(first.shape[0])
    below = np.flatnonzero(curve[1:] < _LEAST)
    reached = float(below[0]) if len(below) else n / 2.0
    width_px = float(np.clip(window_frac * n / max(reached, 1.0), 6.0, 0.5 * n))
    window = local_fsc.Window(0.25 * width_px, 0.5 * width_px, max(1.0, width_px / 5.0))
    shells: list[float] = []
    found: list[F32] = []
    width = local_fsc.band_width(n, window)
    for index, band in enumerate(local_fsc.local_correlations(first, second, window, mask=mask)):
        if index % 2:
            continue  # half-way bands overlap: every other one adds up to 1
        near = np.clip(np.round(np.linspace(band.shell - 0.5 * width, band.shell + 0.5 * width, 5)), 1, n // 2)
        prior = float(np.mean(curve[near.astype(np.int64)]))
        samples = 1.0 / np.maximum(band.noise_sd, 1e-3) ** 2
        weight = (samples * band.correlation + _PRIOR_SAMPLES * prior) / (samples + _PRIOR_SAMPLES)
        if found:
            ceiling = found[-1]
            weight = np.where(ceiling < _LEAST, np.minimum(weight, ceiling), weight)
        shells.append(band.shell)
        found.append(np.clip(weight, 0.0, 0.999).astype(np.float32))
        if found[-1].max() < 0.5 * _LEAST:
            break
    return LocalWeights(np.stack(found), np.asarray(shells), width)


def apply(volume: Floats, local: LocalWeights, *, of_full_map: bool = False) -> F32:
    """Weigh the bands of a map place by place.

    Parameters
    ----------
    volume
        `(n, n, n)` real.
    local
        From :func:`local_weights`; bands beyond its last are left out.
    of_full_map
        The map holds twice the data of a half: weights become ``2c / (1 + c)``.
    """
    n = int(volume.shape[0])
    ft = fft3_centred(np.asarray(volume, dtype=np.float32))
    filtered = np.zeros(volume.shape, dtype=np.float32)
    for shell, weight in zip(local.shells, local.weights, strict=True):
        used = 2.0 * weight / (1.0 + weight) if of_full_map else weight
        part = ifft3_centred(ft * local_fsc.band_transfer(n, float(shell), local.width))
        filtered += local_fsc.spread_to_voxels(used, n) * part
    return filtered
