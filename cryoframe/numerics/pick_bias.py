"""Whether picks resemble the templates beyond what they were picked by: Einstein from noise is found out here."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from cryoframe.errors import InvalidInput
from cryoframe.numerics.backend import F32, Ints, Reals


class Likeness(NamedTuple):
    """How much the average of the picks resembles the templates.

    Parameters
    ----------
    in_band, held_out
        Correlation of the aligned average with the template at the frequencies that picking used, and beyond them.
    held_out_z
        Standard deviations of the resemblance beyond the band from what noise gives, which is 0 ± 1.
    """

    in_band: float
    held_out: float
    held_out_z: float


def likeness(in_band: Reals, held_out: Reals, *, n_in_band: int, n_held_out: int) -> Likeness:
    """Judge picks by their correlation with the best template of each, in the band and beyond.

    Parameters
    ----------
    in_band, held_out
        `(m,)` correlation of whitened windows with the templates of norm 1: for noise that was not selected, 0 ± 1.
    n_in_band, n_held_out
        How many independent Fourier samples a window has in each band.

    Notes
    -----
    An average of m aligned windows is the template times the mean correlation c, and noise of variance 1/m in each of
    the n samples: it correlates with the template by c/√(c² + n/m). Picking selects noise that resembles the template
    in its band, so the first grows with the number of picks whatever they are. The samples beyond the band took no
    part in it.

    References
    ----------
    Henderson, PNAS 110, 18037 (2013), doi 10.1073/pnas.1314449110; Shatsky et al., J. Struct. Biol. 166, 67 (2009),
    doi 10.1016/j.jsb.2008.12.008.
    """
    m = len(in_band)
    if m != len(held_out):
        raise InvalidInput(f"{m} and {len(held_out)} correlations were given", expected="as many of either")
    if not m:
        return Likeness(0.0, 0.0, 0.0)
    first, second = float(np.mean(in_band)), float(np.mean(held_out))
    return Likeness(
        first / float(np.sqrt(first**2 + n_in_band / m)),
        second / float(np.sqrt(second**2 + n_held_out / m)),
        second * float(np.sqrt(m)),
    )


def windows(image: F32, positions_px: Reals, n: int) -> tuple[F32, Reals, Ints]:
    """Windows `(m, n, n)` around the nearest pixels of positions (x, y), what is left of each, and which rows fit."""
    whole = np.rint(positions_px).astype(np.int64)
    corner = whole - n // 2
    fits = np.all((corner >= 0) & (corner + n <= np.array(image.shape[::-1])), axis=1)
    rows = np.flatnonzero(fits)
    cut = np.empty((len(rows), n, n), dtype=np.float32)
    for i, row in enumerate(rows):
        x, y = corner[row]
        cut[i] = image[y : y + n, x : x + n]
    return cut, (positions_px - whole)[rows], rows
