"""Crystals that lie in or on the ice: crystalline ice, frozen ethane; as projected potential with their lattice spots.

Potentials are Σ f/volume [1/Å²], projected ones [1/Å], as in :mod:`cryoframe.numerics.ice`. A reflection of a crystal
of thickness t is a plane wave of amplitude V_g·t·sinc(g_z·t): kinematic, projected along the beam.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cryoframe.errors import InvalidInput
from cryoframe.numerics.backend import F32, Bools, Ints, Reals
from cryoframe.numerics.ice import VITREOUS_ICE, AmorphousSolid
from cryoframe.numerics.noise import coloured_noise
from cryoframe.numerics.rotations import axis_rotation, random_rotations

#: Waves weaker than this share of the strongest are left out.
_WEAKEST = 0.02
#: Thermal motion near 80 K (assumed).
_B_FACTOR_A2 = 2.0
_LEAST_SPOT_1_A2 = 1e-4
_ROWS = 256


@dataclass(frozen=True, slots=True)
class Crystal:
    """A molecular crystal whose molecules count as averaged over their orientations.

    Parameters
    ----------
    cell_A
        `(3, 3)` rows a, b, c.
    places
        `(m, 3)` fractional places of the molecules' centres.
    molecule
        Scattering factors of the atoms and their places about the centre; its density is not used.
    """

    cell_A: tuple[tuple[float, float, float], ...]
    places: tuple[tuple[float, float, float], ...]
    molecule: AmorphousSolid

    @property
    def molecules_1_A3(self) -> float:
        """Molecules per Å³."""
        return len(self.places) / abs(float(np.linalg.det(np.array(self.cell_A))))

    @property
    def mean_potential_1_A2(self) -> float:
        """Mean inner potential as Σ f(0)/volume."""
        return self.molecules_1_A3 * float(sum(sum(heights) for heights in self.molecule.heights_A))

    def amplitude_A(self, frequency_1_A: Reals) -> Reals:
        """Scattering amplitude of a molecule averaged over its orientations, thermal motion included: Σ fᵢ·sinc."""
        k = np.asarray(frequency_1_A, dtype=np.float64)
        total = np.zeros_like(k)
        solid = self.molecule
        for heights, widths, place in zip(solid.heights_A, solid.widths_A2, solid.places_A, strict=True):
            factor = sum(a * np.exp(-0.25 * b * k * k) for a, b in zip(heights, widths, strict=True))
            total += factor * np.sinc(2.0 * k * float(np.linalg.norm(place)))
        return total * np.exp(-0.25 * _B_FACTOR_A2 * k * k)

    def reflections(self, highest_1_A: float) -> tuple[Reals, npt.NDArray[np.complex128]]:
        """Reciprocal lattice points `(r, 3)` [1/Å] within a sphere, without the origin, and V_g `(r,)` [1/Å²].

        References
        ----------
        Structure factor: Kittel, Introduction to Solid State Physics, ch. 2.
        """
        inverse = np.linalg.inv(np.array(self.cell_A)).T
        reach = [int(np.ceil(highest_1_A * np.linalg.norm(row))) for row in np.array(self.cell_A)]
        axes = [np.arange(-limit, limit + 1) for limit in reach]
        index = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
        points: Reals = index.astype(np.float64) @ inverse
        k = np.linalg.norm(points, axis=1)
        kept = (k > 1e-9) & (k <= highest_1_A)
        index, points, k = index[kept], points[kept], k[kept]
        phases = np.exp(-2j * np.pi * (index @ np.array(self.places).T)).sum(axis=1)
        values = phases * self.amplitude_A(k) * (self.molecules_1_A3 / len(self.places))
        strong = np.abs(values) > _LEAST_SPOT_1_A2
        return points[strong], values[strong]


_DIAMOND = tuple(
    (x + s, y + s, z + s)
    for s in (0.0, 0.25)
    for x, y, z in ((0.0, 0.0, 0.0), (0.0, 0.5, 0.5), (0.5, 0.0, 0.5), (0.5, 0.5, 0.0))
)
#: Ice Ic, a = 6.35 Å, Fd-3m: rings at 3.67, 2.25, 1.91 Å (Kumai, J. Glaciol. 7, 95 (1968): cubic
#: ice at low temperature, by electron diffraction).
CUBIC_ICE = Crystal(((6.35, 0.0, 0.0), (0.0, 6.35, 0.0), (0.0, 0.0, 6.35)), _DIAMOND, VITREOUS_ICE)

_A_H, _C_H, _Z_H = 4.511, 7.346, 0.06226
#: Ice Ih, P6₃/mmc: rings at 3.91, 3.67, 3.45 Å (Goto, Hondoh & Mae, J. Chem. Phys. 93, 1412 (1990)).
HEXAGONAL_ICE = Crystal(
    ((_A_H, 0.0, 0.0), (-0.5 * _A_H, float(np.sqrt(0.75)) * _A_H, 0.0), (0.0, 0.0, _C_H)),
    (
        (1 / 3, 2 / 3, _Z_H),
        (2 / 3, 1 / 3, _Z_H + 0.5),
        (2 / 3, 1 / 3, -_Z_H),
        (1 / 3, 2 / 3, 0.5 - _Z_H),
    ),
    VITREOUS_ICE,
)

_BETA = np.radians(90.41)
_CH_A, _CH_UP_A = 1.0162, 1.1602
#: Solid ethane below 89 K, monoclinic P2₁/n, two molecules (van Nes & Vos, Acta Cryst. B34, 1947 (1978);
#: monoclinic confirmed by Klimenko, Gal'tsov & Prokhvatilov, Low Temp. Phys. 34, 1038 (2008), doi 10.1063/1.3029759):
#: first ring at 4.05 Å. Its molecules are ordered; that they are averaged here moves intensities, not places.
ETHANE = Crystal(
    ((4.226, 0.0, 0.0), (0.0, 5.623, 0.0), (5.845 * float(np.cos(_BETA)), 0.0, 5.845 * float(np.sin(_BETA)))),
    ((0.0, 0.0, 0.0), (0.5, 0.5, 0.5)),
    AmorphousSolid(
        number_1_A3=2.0 / 138.9,
        # Carbon twice, hydrogen six times: Peng et al. (1996), table 1.
        heights_A=(((0.0893, 0.2563, 0.7570, 1.0487, 0.3575),) * 2) + (VITREOUS_ICE.heights_A[1],) * 6,
        widths_A2=(((0.2465, 1.7100, 6.4094, 18.6113, 50.2523),) * 2) + (VITREOUS_ICE.widths_A2[1],) * 6,
        places_A=((0.0, 0.0, 0.766), (0.0, 0.0, -0.766)) + ((_CH_A, 0.0, _CH_UP_A),) * 6,
    ),
)


def grain_rotation(crystal: Crystal, rng: np.random.Generator, *, highest_1_A: float) -> Reals:
    """Rotation `(3, 3)` of a crystal that shows fringes: one of its strong reflections lies across the beam.

    Which one is drawn by strength; what is left free, the turn about it and about the beam, is random. Most crystals
    at random show nothing, and are no matter to anybody.
    """
    points, values = crystal.reflections(highest_1_A)
    if not len(points):
        anyhow: Reals = random_rotations(1, rng)[0]
        return anyhow
    power = np.abs(values) ** 2
    chosen = points[rng.choice(len(points), p=power / power.sum())]
    start: Reals = random_rotations(1, rng)[0]
    direction = start @ chosen / np.linalg.norm(chosen)
    level = np.hypot(direction[0], direction[1])
    laid: Reals
    if level < 1e-6:
        laid = axis_rotation((1.0, 0.0, 0.0), 90.0) @ start
        return laid
    # Least turn of the reflection into the plane.
    tilt = np.degrees(np.arctan2(direction[2], level))
    laid = axis_rotation((-direction[1] / level, direction[0] / level, 0.0), tilt) @ start
    return laid


def crystal_waves(
    crystal: Crystal, rotation: Reals, thickness_A: float, *, highest_1_A: float
) -> tuple[Reals, npt.NDArray[np.complex128]]:
    """In-plane frequencies `(w, 2)` (x, y) [1/Å] and amplitudes `(w,)` [1/Å] of the projection of a slab.

    Only one of each pair ±g is listed: the projection is twice the real part of their sum.
    """
    points, values = crystal.reflections(highest_1_A)
    turned = points @ rotation.T
    amplitudes = values * thickness_A * np.sinc(turned[:, 2] * thickness_A)
    half = (turned[:, 0] > 1e-9) | ((np.abs(turned[:, 0]) <= 1e-9) & (turned[:, 1] > 0))
    seen = half & (np.abs(amplitudes) > _WEAKEST * max(float(np.abs(amplitudes).max(initial=0.0)), 1e-12))
    return turned[seen, :2], amplitudes[seen]


def polycrystal(
    thickness_A: npt.NDArray[np.floating],
    pixel_size_A: float,
    crystal: Crystal,
    *,
    rng: np.random.Generator,
    grain_A: float = 600.0,
) -> F32:
    """Fluctuation of the projected potential of a layer of crystal grains, mean 0 within each.

    Parameters
    ----------
    thickness_A
        `(ny, nx)` of crystal; 0 where there is none.
    pixel_size_A
        Reflections beyond its Nyquist frequency are left out.
    crystal
        What it is.
    rng
        Source of randomness.
    grain_A
        Mean distance of grains, each of one orientation that shows fringes (:func:`grain_rotation`).

    Returns
    -------
    `(ny, nx)` float32 [1/Å]; add ``crystal.mean_potential_1_A2 * thickness_A`` for the whole.
    """
    thickness = np.asarray(thickness_A, dtype=np.float32)
    if thickness.ndim != 2 or not pixel_size_A > 0 or not grain_A >= 10.0 * pixel_size_A or np.any(thickness < 0):
        raise InvalidInput(
            f"a layer of shape {thickness.shape}, pixels of {pixel_size_A} Å and grains of {grain_A} Å were asked for",
            expected="(ny, nx) of 0 Å or more, grains of ten pixels or more",
        )
    field = np.zeros(thickness.shape, dtype=np.float32)
    labels = _grains(thickness.shape, grain_A / pixel_size_A, rng)
    highest_1_A = 0.5 / pixel_size_A
    for number, window in enumerate(_windows(labels)):
        # Drawn for every grain, whether it is covered or not, so that cover does not change the others.
        rotation = grain_rotation(crystal, rng, highest_1_A=highest_1_A)
        if window is None:
            continue
        inside = (labels[window] == number) & (thickness[window] > 0)
        if inside.any():
            mean_A = float(thickness[window][inside].mean())
            waves = crystal_waves(crystal, rotation, mean_A, highest_1_A=highest_1_A)
            pattern = _pattern(window, waves, pixel_size_A) * (thickness[window] / np.float32(mean_A))
            field[window][inside] = pattern[inside]
    return field


def _grains(shape: tuple[int, ...], spacing_px: float, rng: np.random.Generator) -> Ints:
    """Number of the nearest seed of each pixel; seeds are scattered one to a square of the spacing."""
    n_y, n_x = (max(1, int(np.ceil(side / spacing_px))) for side in shape)
    seeds = rng.random((n_y + 2, n_x + 2, 2)) + np.indices((n_y + 2, n_x + 2)).transpose(1, 2, 0) - 1.0
    seeds = seeds.astype(np.float32)
    labels = np.zeros(shape, dtype=np.int32)
    # A band of rows at a time: a whole field of coordinates is many times the field.
    for start in range(0, shape[0], _ROWS):
        band = labels[start : start + _ROWS]
        y, x = np.indices(band.shape, dtype=np.float32)
        y = (y + np.float32(start)) / np.float32(spacing_px)
        x /= np.float32(spacing_px)
        row, column = y.astype(np.intp), x.astype(np.intp)
        best = np.full(band.shape, np.inf, dtype=np.float32)
        for dy, dx in np.ndindex(3, 3):
            seed = seeds[row + dy, column + dx]
            distance = (seed[..., 0] - y) ** 2 + (seed[..., 1] - x) ** 2
            nearer = distance < best
            best[nearer] = distance[nearer]
            band[nearer] = ((row + dy) * (n_x + 2) + column + dx)[nearer]
    return labels


def _windows(labels: Ints) -> list[tuple[slice, slice] | None]:
    """The rectangle that holds each grain."""
    n = int(labels.max()) + 1
    first_y, last_y = np.full(n, labels.shape[0]), np.zeros(n, dtype=np.intp)
    first_x, last_x = np.full(n, labels.shape[1]), np.zeros(n, dtype=np.intp)
    for row, line in enumerate(labels):
        here = np.unique(line)
        first_y[here] = np.minimum(first_y[here], row)
        last_y[here] = row
    for column, line in enumerate(labels.T):
        here = np.unique(line)
        first_x[here] = np.minimum(first_x[here], column)
        last_x[here] = column
    return [
        (slice(int(y0), int(y1) + 1), slice(int(x0), int(x1) + 1)) if y1 >= y0 else None
        for y0, y1, x0, x1 in zip(first_y, last_y, first_x, last_x, strict=True)
    ]


def _pattern(window: tuple[slice, slice], waves: tuple[Reals, npt.NDArray[np.complex128]], pixel_size_A: float) -> F32:
    y = np.arange(window[0].start, window[0].stop) * pixel_size_A
    x = np.arange(window[1].start, window[1].stop) * pixel_size_A
    total = np.zeros((len(y), len(x)), dtype=np.float32)
    for (k_x, k_y), amplitude in zip(*waves, strict=True):
        along = np.exp(2j * np.pi * k_x * x).astype(np.complex64)
        across = (2.0 * amplitude * np.exp(2j * np.pi * k_y * y)).astype(np.complex64)
        total += across.real[:, None] * along.real - across.imag[:, None] * along.imag
    return total


def patches(
    shape: tuple[int, int], pixel_size_A: float, *, covered_frac: float, size_A: float, rng: np.random.Generator
) -> Bools:
    """Random smooth patches `(ny, nx)` that cover a given share of the field.

    Parameters
    ----------
    covered_frac
        0 to 1.
    size_A
        Wavelength of their outline: patches are about half of it wide.
    """
    if not 0.0 <= covered_frac <= 1.0 or not size_A > 0:
        raise InvalidInput(
            f"patches of {size_A} Å over {covered_frac} of the field were asked for", expected="0 to 1, a size"
        )
    height = smooth_field(shape, pixel_size_A, size_A=size_A, rng=rng)
    if covered_frac in (0.0, 1.0):
        return np.full(shape, covered_frac == 1.0)
    return np.asarray(height > np.quantile(height, 1.0 - covered_frac))


def smooth_field(shape: tuple[int, int], pixel_size_A: float, *, size_A: float, rng: np.random.Generator) -> F32:
    """Random heights `(ny, nx)` without features smaller than half of `size_A`."""
    step_px = max(1.0, size_A / pixel_size_A / 8.0)
    coarse = tuple(int(np.ceil(side / step_px)) + 9 for side in shape)
    field = coloured_noise(coarse, np.exp(-(np.linspace(0.0, 4.0, 64) ** 2) * 4.0), rng)
    lines = []
    for side, n in zip(shape, coarse, strict=True):
        position = 4.0 + np.arange(side) / step_px
        low = np.minimum(position.astype(np.intp), n - 2)
        weights = np.zeros((side, n), dtype=np.float32)
        weights[np.arange(side), low] = 1.0 - (position - low)
        weights[np.arange(side), low + 1] = position - low
        lines.append(weights)
    heights: F32 = (lines[0] @ field @ lines[1].T).astype(np.float32)
    return heights


def crystalline_ice(
    thickness_A: npt.NDArray[np.floating],
    pixel_size_A: float,
    *,
    covered_frac: float,
    rng: np.random.Generator,
    crystal: Crystal = CUBIC_ICE,
    patch_A: float = 3000.0,
    grain_A: float = 600.0,
) -> tuple[F32, Bools]:
    """Parts of the film that have crystallised: their fluctuation, and where they are.

    Where they are, this replaces the amorphous fluctuation; the mean potential stays, as the density does.

    Parameters
    ----------
    thickness_A
        `(ny, nx)` of the ice.
    covered_frac
        Share of the field.
    crystal
        Cubic unless told otherwise: what devitrified ice is; ice that grew from vapour or frost is hexagonal.
    patch_A
        Wavelength of the patches' outline.
    """
    thickness = np.asarray(thickness_A, dtype=np.float32)
    ny, nx = thickness.shape
    covered = patches((ny, nx), pixel_size_A, covered_frac=covered_frac, size_A=patch_A, rng=rng)
    field = polycrystal(np.where(covered, thickness, 0.0), pixel_size_A, crystal, rng=rng, grain_A=grain_A)
    return field, covered


def contamination(
    shape: tuple[int, int],
    pixel_size_A: float,
    crystal: Crystal,
    *,
    covered_frac: float,
    height_A: float,
    rng: np.random.Generator,
    size_A: float = 2000.0,
) -> tuple[F32, F32]:
    """Crystals lying on the film, such as frozen ethane or frost: projected potential and thickness, `(ny, nx)`.

    Islands with rounded tops of `height_A` at most cover a given share of the field.
    """
    height = smooth_field(shape, pixel_size_A, size_A=size_A, rng=rng)
    if not 0.0 <= covered_frac <= 1.0 or not height_A >= 0.0:
        raise InvalidInput(
            f"contamination of {height_A} Å over {covered_frac} of the field was asked for", expected="0 to 1, a height"
        )
    border = float(np.quantile(height, 1.0 - covered_frac)) if covered_frac > 0 else np.inf
    above = np.maximum(height - np.float32(border), 0.0)
    top = float(above.max())
    thickness = height_A * np.sqrt(above / np.float32(top)) if top > 0 else np.zeros(shape, dtype=np.float32)
    thickness = thickness.astype(np.float32)
    field = polycrystal(thickness, pixel_size_A, crystal, rng=rng, grain_A=max(0.5 * size_A, 10.0 * pixel_size_A))
    return field + np.float32(crystal.mean_potential_1_A2) * thickness, thickness
