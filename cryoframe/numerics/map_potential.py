"""Density maps of unknown scale brought to electrostatic potential against ice; maps from atoms are made in atoms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cryoframe.errors import InvalidInput
from cryoframe.numerics.backend import F32, Bools, Floats
from cryoframe.numerics.filters import filter_pass
from cryoframe.numerics.grids import radius_px
from cryoframe.numerics.ice import VITREOUS_ICE
from cryoframe.numerics.masks import faces_maximum, map_mask

#: Σ f(0) of the mean amino acid, C4.9384 H7.7583 N1.3577 O1.4773 S0.0417, 111.12 Da (Senko, Beu & McLafferty, J. Am.
#: Soc. Mass Spectrom. 6, 229 (1995), doi 10.1016/1044-0305(95)00017-8), from the factors of Peng et al. (1996).
_SCATTERING_A_DA = (4.9384 * 2.5088 + 7.7583 * 0.5289 + 1.3577 * 2.2110 + 1.4773 * 1.9834 + 0.0417 * 5.1604) / 111.1254
#: Partial specific volume 0.73 cm³/g (Matthews, J. Mol. Biol. 33, 491 (1968), doi 10.1016/0022-2836(68)90205-2).
PROTEIN_A3_DA = 0.73 / 0.602214076
#: Mean potential of protein, 8.1 V as Σ f/volume.
PROTEIN_POTENTIAL_1_A2 = _SCATTERING_A_DA / PROTEIN_A3_DA

#: A Gaussian cut in two by its mean separates 2/π = 0.64 of its variance; a body in its solvent more.
_LEAST_SEPARATION = 0.7
_MOST_FILLED = 0.45
_N_LEVELS = 4096


@dataclass(frozen=True, slots=True)
class MapPotential:
    """A map against ice, and how it was come by.

    Parameters
    ----------
    volume
        `(nz, ny, nx)` float32 [1/Å²], 0 away from the molecule.
    envelope
        `(nz, ny, nx)` voxels taken to be the molecule.
    scale_1_A2
        Potential per unit of the given density.
    separation
        Share of the smoothed map's variance that lies between molecule and solvent.
    """

    volume: F32
    envelope: Bools
    scale_1_A2: float
    separation: float


def two_level_threshold(values: Floats) -> tuple[float, float]:
    """Value that parts two classes with the largest variance between them, and its share of all variance.

    References
    ----------
    Otsu, IEEE Trans. Syst. Man Cybern. 9, 62 (1979), doi 10.1109/TSMC.1979.4310076.
    """
    counts, edges = np.histogram(np.asarray(values, dtype=np.float64), bins=_N_LEVELS)
    centres = 0.5 * (edges[1:] + edges[:-1])
    below = np.cumsum(counts)[:-1] / counts.sum()
    mass = np.cumsum(counts * centres)[:-1] / counts.sum()
    mean = float(np.sum(counts * centres) / counts.sum())
    weight = np.maximum(below * (1.0 - below), 1e-12)
    between = (mean * below - mass) ** 2 / weight
    best = int(np.argmax(between))
    total = float(np.sum(counts * (centres - mean) ** 2) / counts.sum())
    return float(edges[best + 1]), float(between[best]) / total if total > 0 else 0.0


def molecule_envelope(volume: Floats, pixel_size_A: float, *, smooth_A: float = 12.0) -> Bools:
    """Voxels that belong to the molecule, seen at `smooth_A` (three voxels where that is more) and parted in two.

    References
    ----------
    As :func:`two_level_threshold`.
    """
    data, _ = _standardised(np.asarray(volume), pixel_size_A)
    smooth = _smoothed(data, pixel_size_A, smooth_A)
    return np.asarray(smooth > two_level_threshold(smooth)[0])


def potential_of_map(
    volume: Floats,
    pixel_size_A: float,
    *,
    smooth_A: float = 12.0,
    contrast_1_A2: float | None = None,
    edge_A: float = 6.0,
) -> MapPotential:
    """Scale a map so that its molecule stands above its surroundings as protein does above ice.

    The molecule is what lies above the threshold that parts the smoothed map best in two; the mean of the map there,
    less the mean outside, is set to the difference of the mean potentials of protein and ice. What is outside is set
    to 0 over a soft edge. That the map is of protein is assumed.

    Parameters
    ----------
    volume
        `(nz, ny, nx)`, molecule bright, any scale and offset.
    pixel_size_A
        Voxel.
    smooth_A
        Resolution at which the molecule is told from the solvent; three voxels where that is more.
    contrast_1_A2
        Mean potential against ice; where omitted that of the mean amino acid at 0.73 cm³/g, 8.1 V, less 4.5 V.
    edge_A
        Width of the fall to 0, outside of the molecule.

    Raises
    ------
    InvalidInput
        Values that are not finite or all alike; no clear molecule, one that is dark, or one that fills the box.
    """
    data, unit = _standardised(np.asarray(volume), pixel_size_A)
    smooth = _smoothed(data, pixel_size_A, smooth_A)
    threshold, separation = two_level_threshold(smooth)
    envelope = np.asarray(smooth > threshold)
    _check_envelope(smooth, envelope, separation)
    inside, outside = float(data[envelope].mean()), float(data[~envelope].mean())
    if not inside > outside:
        raise InvalidInput(
            f"the molecule's mean density, {inside:.3g}, is not above that of its surroundings, {outside:.3g}",
            expected="a map with the molecule bright",
            remedy="Invert the contrast of the map.",
        )
    contrast = PROTEIN_POTENTIAL_1_A2 - VITREOUS_ICE.mean_potential_1_A2 if contrast_1_A2 is None else contrast_1_A2
    scale = contrast / (inside - outside)
    mask = map_mask(envelope.astype(np.float32), 0.5, extend_px=3.0 / pixel_size_A, edge_px=edge_A / pixel_size_A)
    flattened = (data - np.float32(outside)) * np.float32(scale) * mask
    return MapPotential(flattened.astype(np.float32), envelope, scale / unit, separation)


def _standardised(volume: Floats, pixel_size_A: float) -> tuple[F32, float]:
    """Values from their median in units of their standard deviation, so that no offset eats up their digits."""
    if volume.ndim != 3 or not pixel_size_A > 0 or not np.isfinite(volume).all() or volume.min() == volume.max():
        raise InvalidInput(
            f"a map of shape {volume.shape} with voxels of {pixel_size_A} Å, or its values, cannot be used",
            expected="three axes, positive voxels, finite values that are not all alike",
            remedy="Give another map.",
        )
    unit = float(np.std(volume, dtype=np.float64))
    data = (volume.astype(np.float64) - float(np.median(volume))) / unit
    return data.astype(np.float32), unit


def _smoothed(data: F32, pixel_size_A: float, smooth_A: float) -> F32:
    """Map of lower resolution; the wrap of the transform is kept off by margins of the median."""
    side = max(data.shape)
    side += side % 2
    cube = np.full((side,) * 3, np.median(data), dtype=np.float32)
    corner = tuple(slice(side // 2 - n // 2, side // 2 - n // 2 + n) for n in data.shape)
    cube[corner] = data
    limit_A = max(smooth_A, 3.0 * pixel_size_A)
    smooth = filter_pass(cube, pixel_size_A=pixel_size_A, n_dims=3, low_pass_A=limit_A)
    return np.asarray(smooth[corner], dtype=np.float32)


def _check_envelope(smooth: F32, envelope: Bools, separation: float) -> None:
    filled = float(envelope.mean())
    radius = radius_px(smooth.shape)
    middle_bright = smooth[radius < 0.25 * min(smooth.shape)].mean() > smooth[radius > 0.5 * min(smooth.shape)].mean()
    what = ""
    if separation < _LEAST_SEPARATION:
        what = f"only {separation:.0%} of the smoothed map's variance lies between a molecule and its surroundings"
    elif filled > _MOST_FILLED and not middle_bright:
        what = f"{filled:.0%} of the box is brighter than its middle: the contrast is inverted"
    elif filled > _MOST_FILLED or faces_maximum(envelope.astype(np.float32)) > 0:
        what = f"the molecule fills {filled:.0%} of the box and reaches its faces"
    if what:
        raise InvalidInput(
            what,
            expected=f"a bright molecule amid solvent, {_LEAST_SEPARATION:.0%} or more of the variance between both",
            remedy="Give a whole, masked map with solvent around the molecule and positive contrast.",
        )
