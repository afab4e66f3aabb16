"""The specimen film: thickness of ice, what it takes from the beam, the potential of amorphous solids; no particles.

Potentials are Σ f/volume [1/Å²] as in :mod:`cryoframe.numerics.atoms`, projected ones [1/Å]. The power of an amorphous
solid is absolute: n·t·⟨|F(k)|²⟩·S(k), with n molecules per Å³, molecular amplitude F (Peng 1996) and a structure factor
S from its first two neighbour shells and its first diffraction ring. That is the physical spectrum which Parkhurst et
al. (Ultramicroscopy 256, 113882 (2024), doi 10.1016/j.ultramic.2023.113882) match with a Gaussian random field; such a
field is made here, their fit is not used.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cryoframe.errors import InvalidInput
from cryoframe.numerics.backend import F32, Bools, Floats, Reals
from cryoframe.numerics.fourier import irfft2, rfft2
from cryoframe.numerics.grids import frequencies_1_A
from cryoframe.numerics.noise import coloured_noise

#: Measured with and without the energy slit on a 300 kV Krios: Rice et al. 2018, 395 nm.
_MEAN_FREE_PATH_300_KV_A = 3950.0
_MEAN_LOSS_EV = 20.0
#: Of what a slit or camera collects, for carbon's mean free path (assumed).
_COLLECTION_MRAD, _CARBON_Z = 10.0, 6
#: Of water, mean square in three dimensions for each e/Å² at 300 kV: McMullan et al. 2015.
_ICE_DISPLACEMENT_A2 = 1.1
_REST_ENERGY_EV = 510998.95
#: Spectrum of what does not freeze to a perfect network; keeps S positive at low frequency (assumed).
_LEAST_STRUCTURE = 0.03
_N_PROFILE = 1024


@dataclass(frozen=True, slots=True)
class IceFilm:
    """Ice across a field of view: a plane that thickens quadratically towards the rim of its hole.

    Parameters
    ----------
    thickness_A
        At the centre of the hole.
    ramp
        (∂t/∂x, ∂t/∂y), Å per Å.
    rim_extra_A
        How much thicker at the rim of the hole than at its centre, r² in between (a meniscus).
    hole_radius_A
        Radius of the hole of the support.
    hole_centre_A
        (x, y) in the frame of the positions asked for.
    """

    thickness_A: float = 300.0
    ramp: tuple[float, float] = (0.0, 0.0)
    rim_extra_A: float = 0.0
    hole_radius_A: float = 6000.0
    hole_centre_A: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        if not (self.thickness_A >= 0.0 and self.hole_radius_A > 0.0):
            raise InvalidInput(
                f"ice of {self.thickness_A} Å in a hole of radius {self.hole_radius_A} Å was asked for",
                expected="thickness of 0 Å or more, a positive radius",
            )

    def at(self, x_A: npt.ArrayLike, y_A: npt.ArrayLike) -> Reals:
        """Thickness [Å] at positions, never negative; broadcast."""
        x = np.asarray(x_A, dtype=np.float64) - self.hole_centre_A[0]
        y = np.asarray(y_A, dtype=np.float64) - self.hole_centre_A[1]
        curved = self.rim_extra_A * (x * x + y * y) / self.hole_radius_A**2
        return np.maximum(self.thickness_A + self.ramp[0] * x + self.ramp[1] * y + curved, 0.0)

    def in_hole(self, x_A: npt.ArrayLike, y_A: npt.ArrayLike) -> Bools:
        """Where there is no support film; broadcast."""
        x = np.asarray(x_A, dtype=np.float64) - self.hole_centre_A[0]
        y = np.asarray(y_A, dtype=np.float64) - self.hole_centre_A[1]
        inside: Bools = x * x + y * y <= self.hole_radius_A**2
        return inside


def pixel_positions_A(shape: tuple[int, int], pixel_size_A: float) -> tuple[Reals, Reals]:
    """Positions x `(1, nx)` and y `(ny, 1)` of the pixels of a micrograph, from the centre of pixel [0, 0]."""
    x: Reals = np.arange(shape[1], dtype=np.float64)[None, :] * pixel_size_A
    y: Reals = np.arange(shape[0], dtype=np.float64)[:, None] * pixel_size_A
    return x, y


def inelastic_mean_free_path_A(voltage_kV: float) -> float:
    """Mean free path of energy loss in vitreous ice [Å]: 3950 Å at 300 kV, 3270 Å at 200 kV.

    The measured value at 300 kV, with the voltage dependence β²/ln(2/θ_E), θ_E = 20 eV/(β²·(E + mc²)), of the cross
    section. Reported values at 300 kV lie between 270 and 400 nm, since they depend on aperture and slit.

    References
    ----------
    Rice et al., J. Struct. Biol. 204, 38 (2018), doi 10.1016/j.jsb.2018.06.007; voltage: Langmore & Smith,
    Ultramicroscopy 46, 349 (1992), doi 10.1016/0304-3991(92)90024-E.
    """
    return _MEAN_FREE_PATH_300_KV_A * _inelastic_section(300.0) / _inelastic_section(voltage_kV)


def carbon_mean_free_path_A(voltage_kV: float) -> float:
    """Mean free path of energy loss in amorphous carbon [Å]: 1870 Å at 300 kV, 1610 Å at 200 kV, within 20 %.

    106·F·(E/E_m)/ln(2β·E/E_m) nm with E in keV, F = (1 + E/1022)/(1 + E/511)² and E_m = 7.6·Z^0.36, which is fitted to
    eleven solids for electrons collected within β; 10 mrad are assumed. By weight this is what ice takes.

    References
    ----------
    Malis, Cheng & Egerton, J. Electron Microsc. Tech. 8, 193 (1988), doi 10.1002/jemt.1060080206.
    """
    if not voltage_kV > 0:
        raise InvalidInput(f"an acceleration voltage of {voltage_kV} kV was given", expected="more than 0 kV")
    relativistic = (1.0 + voltage_kV / 1022.0) / (1.0 + voltage_kV / 511.0) ** 2
    energies = voltage_kV / (7.6 * _CARBON_Z**0.36)
    return float(1060.0 * relativistic * energies / np.log(2.0 * _COLLECTION_MRAD * energies))


def _inelastic_section(voltage_kV: float) -> float:
    """Relative cross section of energy loss."""
    if not voltage_kV > 0:
        raise InvalidInput(f"an acceleration voltage of {voltage_kV} kV was given", expected="more than 0 kV")
    energy = voltage_kV * 1e3
    beta2 = 1.0 - (_REST_ENERGY_EV / (energy + _REST_ENERGY_EV)) ** 2
    return float(np.log(2.0 * beta2 * (energy + _REST_ENERGY_EV) / _MEAN_LOSS_EV) / beta2)


def zero_loss_frac(thickness_A: npt.ArrayLike, mean_free_path_A: float) -> Reals:
    """Share of electrons without energy loss, exp(−t/λ), of the shape of `thickness_A`.

    References
    ----------
    Malis, Cheng & Egerton, J. Electron Microsc. Tech. 8, 193 (1988), doi 10.1002/jemt.1060080206 (log-ratio).
    """
    if not mean_free_path_A > 0:
        raise InvalidInput(f"a mean free path of {mean_free_path_A} Å was given", expected="more than 0 Å")
    fraction: Reals = np.exp(-np.asarray(thickness_A, dtype=np.float64) / mean_free_path_A)
    return fraction


def beam_fractions(
    thickness_A: npt.ArrayLike,
    mean_free_path_A: float,
    *,
    passed_loss_frac: float = 0.0,
    aperture_mean_free_path_A: float = np.inf,
) -> tuple[Reals, Reals]:
    """Shares of the electrons that reach the camera without and with energy loss.

    Parameters
    ----------
    thickness_A
        Any shape, along the beam.
    mean_free_path_A
        Of energy loss.
    passed_loss_frac
        Share of the electrons with energy loss that pass: 0 with an energy slit, 1 without a filter.
    aperture_mean_free_path_A
        Of scattering outside the objective aperture alone; some 17 000 Å for the usual ones (assumed).

    Returns
    -------
    Two arrays of the shape of `thickness_A`; without filter and aperture they add up to 1.
    """
    if not 0.0 <= passed_loss_frac <= 1.0:
        raise InvalidInput(f"a share of {passed_loss_frac} of losses was given", expected="a fraction, 0 to 1")
    elastic = zero_loss_frac(thickness_A, mean_free_path_A)
    passed = zero_loss_frac(thickness_A, aperture_mean_free_path_A)
    return elastic * passed, (1.0 - elastic) * passed * passed_loss_frac


@dataclass(frozen=True, slots=True)
class AmorphousSolid:
    """A solid without long-range order.

    Parameters
    ----------
    number_1_A3
        Molecules per Å³.
    heights_A, widths_A2
        Of f(k) = Σ a·exp(−b·k²/4) of each atom of the molecule.
    places_A
        (x, y, z) of each atom.
    shells
        (neighbours, distance [Å], standard deviation [Å]) of the neighbour shells that are resolved.
    edge_A
        Standard deviation of the radius beyond which the density is uniform.
    ring
        (height, frequency [1/Å], standard deviation [1/Å]) of what medium-range order adds to the structure factor:
        the first sharp diffraction peak of a network (Elliott, J. Chem. Phys. 103, 2758 (1995)), which two
        shells alone make too low.
    """

    number_1_A3: float
    heights_A: tuple[tuple[float, ...], ...]
    widths_A2: tuple[tuple[float, ...], ...]
    places_A: tuple[tuple[float, float, float], ...]
    shells: tuple[tuple[float, float, float], ...] = ()
    edge_A: float = 0.6
    ring: tuple[float, float, float] = (0.0, 0.0, 1.0)

    @property
    def mean_potential_1_A2(self) -> float:
        """Mean inner potential as Σ f(0) per volume; times 47.878 V·Å² it is in volts."""
        return self.number_1_A3 * float(sum(sum(heights) for heights in self.heights_A))

    def molecular_power_A2(self, frequency_1_A: Floats) -> Reals:
        """⟨|F(k)|²⟩ over orientations: Σᵢⱼ fᵢ·fⱼ·sinc(2πk·rᵢⱼ) (Debye, Ann. Phys. 351, 809 (1915))."""
        k = np.asarray(frequency_1_A, dtype=np.float64)
        factors = [
            sum(a * np.exp(-0.25 * b * k * k) for a, b in zip(heights, widths, strict=True))
            for heights, widths in zip(self.heights_A, self.widths_A2, strict=True)
        ]
        total = np.zeros_like(k)
        for f_i, place_i in zip(factors, self.places_A, strict=True):
            for f_j, place_j in zip(factors, self.places_A, strict=True):
                total += f_i * f_j * np.sinc(2.0 * k * np.linalg.norm(np.subtract(place_i, place_j)))
        return total

    def structure_factor(self, frequency_1_A: Floats) -> Reals:
        """S(k) = 1 + Σ N·sinc(q·r)·exp(−q²σ²/2) − M·3j₁(q·R)/(q·R)·exp(−q²s²/2) + ring, q = 2πk; else 1.

        The sphere of radius R that the molecule and its shells take from the uniform density holds as many, M, as
        they are, so that S(0) = 0: a frozen network has no fluctuations of density over large distances (Bowron et
        al., J. Chem. Phys. 125, 194502 (2006), doi 10.1063/1.2378921). It is kept above 0.03.
        """
        q = 2.0 * np.pi * np.asarray(frequency_1_A, dtype=np.float64)
        if not self.shells:
            return np.ones_like(q)
        factor = np.ones_like(q)
        for n_neighbours, distance_A, sigma_A in self.shells:
            factor += n_neighbours * np.sinc(q * distance_A / np.pi) * np.exp(-0.5 * (q * sigma_A) ** 2)
        inside = 1.0 + sum(shell[0] for shell in self.shells)
        x = np.maximum(q * (0.75 * inside / (np.pi * self.number_1_A3)) ** (1.0 / 3.0), 1e-3)
        sphere = 3.0 * (np.sin(x) - x * np.cos(x)) / x**3
        factor -= inside * sphere * np.exp(-0.5 * (q * self.edge_A) ** 2)
        height, centre_1_A, sigma_1_A = self.ring
        factor += height * np.exp(-0.5 * ((q / (2.0 * np.pi) - centre_1_A) / sigma_1_A) ** 2)
        return np.maximum(factor, _LEAST_STRUCTURE)

    def power_1_A(self, frequency_1_A: Floats) -> Reals:
        """Spectral density of the projected potential of 1 Å of the solid: n·⟨|F|²⟩·S."""
        structure = self.structure_factor(frequency_1_A)
        power: Reals = self.number_1_A3 * self.molecular_power_A2(frequency_1_A) * structure
        return power


# Electron scattering factors: Peng, Ren, Dudarev & Whelan, Acta Cryst. A52, 257 (1996), table 1.
_HYDROGEN = ((0.0349, 0.1201, 0.1970, 0.0573, 0.1195), (0.5347, 3.5867, 12.3471, 18.9525, 38.6269))
_CARBON = ((0.0893, 0.2563, 0.7570, 1.0487, 0.3575), (0.2465, 1.7100, 6.4094, 18.6113, 50.2523))
_OXYGEN = ((0.0974, 0.2921, 0.6910, 0.6990, 0.2039), (0.2067, 1.3815, 4.6943, 12.7105, 32.4726))
_AVOGADRO_A3_CM3 = 0.602214076

#: Low-density amorphous ice, 0.93 g/cm³; first shell 2.75 Å (Mariedahl et al., J. Phys. Chem. B 122, 7616 (2018),
#: doi 10.1021/acs.jpcb.8b04823), second 4.5 Å, tetrahedral, so 4 and 12 neighbours. The shells
#: alone put the first peak of S at 3.7 Å; the ring gives it the height of about 1.9 of diffraction (widths and height
#: rounded, assumed).
VITREOUS_ICE = AmorphousSolid(
    number_1_A3=0.93 * _AVOGADRO_A3_CM3 / 18.01528,
    heights_A=(_OXYGEN[0], _HYDROGEN[0], _HYDROGEN[0]),
    widths_A2=(_OXYGEN[1], _HYDROGEN[1], _HYDROGEN[1]),
    places_A=((0.0, 0.0, 0.0), (0.757, 0.586, 0.0), (-0.757, 0.586, 0.0)),
    shells=((4.0, 2.75, 0.10), (12.0, 4.5, 0.35)),
    ring=(0.8, 0.272, 0.029),
)

#: Evaporated carbon, 2.0 g/cm³ (assumed; 1.8 to 2.1 are reported), graphite-like shells of 3 at 1.42 Å, 6 at 2.46 Å.
AMORPHOUS_CARBON = AmorphousSolid(
    number_1_A3=2.0 * _AVOGADRO_A3_CM3 / 12.011,
    heights_A=(_CARBON[0],),
    widths_A2=(_CARBON[1],),
    places_A=((0.0, 0.0, 0.0),),
    shells=((3.0, 1.42, 0.06), (6.0, 2.46, 0.15)),
    edge_A=0.35,
)


def amorphous_projection(
    shape: tuple[int, int],
    pixel_size_A: float,
    thickness_A: npt.ArrayLike,
    *,
    rng: np.random.Generator,
    solid: AmorphousSolid = VITREOUS_ICE,
    n_threads: int = 1,
) -> F32:
    """Fluctuation of the projected potential of an amorphous layer, mean 0: a Gaussian random field.

    Parameters
    ----------
    shape
        `(ny, nx)`.
    thickness_A
        A number or `(ny, nx)`; variance is proportional to it.
    rng
        Source of randomness.
    solid
        What the layer is made of.

    Returns
    -------
    `(ny, nx)` float32 [1/Å], periodic for constant thickness.
    """
    thickness = np.asarray(thickness_A, dtype=np.float32)
    if np.any(thickness < 0):
        raise InvalidInput("a layer has negative thickness", expected="0 Å or more")
    profile = solid.power_1_A(np.linspace(0.0, 0.5 / pixel_size_A, _N_PROFILE)) / pixel_size_A**2
    field = coloured_noise(shape, profile, rng, n_threads=n_threads)
    field *= np.sqrt(thickness)
    return field


def support_projection(
    shape: tuple[int, int],
    pixel_size_A: float,
    film: IceFilm,
    *,
    thickness_A: float,
    rng: np.random.Generator,
    solid: AmorphousSolid = AMORPHOUS_CARBON,
) -> F32:
    """Projected potential `(ny, nx)` [1/Å] of a support film outside the hole of `film`: mean and fluctuation."""
    x, y = pixel_positions_A(shape, pixel_size_A)
    layer = amorphous_projection(shape, pixel_size_A, thickness_A, rng=rng, solid=solid)
    layer += np.float32(solid.mean_potential_1_A2 * thickness_A)
    layer[film.in_hole(x, y)] = 0.0
    return layer


def ice_displacement_A2(voltage_kV: float) -> float:
    """Mean square displacement of water for each e/Å² [Å²]: 1.1 at 300 kV, 1.33 at 200 kV.

    It moves by what the beam breaks, so it is proportional to the cross section of energy loss (assumed; measured at
    300 kV only).

    References
    ----------
    McMullan, Vinothkumar & Henderson, Ultramicroscopy 158, 26 (2015), doi 10.1016/j.ultramic.2015.05.017.
    """
    return _ICE_DISPLACEMENT_A2 * _inelastic_section(voltage_kV) / _inelastic_section(300.0)


def ice_memory(frequency_1_A: Floats, dose_e_A2: float, *, displacement_A2: float = _ICE_DISPLACEMENT_A2) -> Reals:
    """Correlation of the ice before and after an exposure: exp(−(2πk)²·⟨u²⟩·N/6).

    Water moves under the beam, by a mean square of 1.1 Å² in three dimensions for each e/Å² at 300 kV; a third of it
    is along k. Macromolecules do not move so.

    References
    ----------
    McMullan, Vinothkumar & Henderson, Ultramicroscopy 158, 26 (2015), doi 10.1016/j.ultramic.2015.05.017.
    """
    k = np.asarray(frequency_1_A, dtype=np.float64)
    kept: Reals = np.exp(-((2.0 * np.pi * k) ** 2) * displacement_A2 * dose_e_A2 / 6.0)
    return kept


def moved_ice(
    previous: F32, fresh: F32, pixel_size_A: float, *, dose_e_A2: float, displacement_A2: float = _ICE_DISPLACEMENT_A2
) -> F32:
    """Ice after an exposure of `dose_e_A2`: m·previous + √(1 − m²)·fresh at each frequency, m of `ice_memory`.

    Parameters
    ----------
    previous, fresh
        `(ny, nx)` projections of the same thickness and solid, independent of each other.

    Returns
    -------
    `(ny, nx)` float32 with the same spectrum.
    """
    if previous.shape != fresh.shape:
        raise InvalidInput(f"ice of shapes {previous.shape} and {fresh.shape} was given", expected="one shape")
    frequency = frequencies_1_A(previous.shape, pixel_size_A, False)
    memory = ice_memory(frequency, dose_e_A2, displacement_A2=displacement_A2)
    ft = rfft2(previous) * memory.astype(np.float32)
    ft += rfft2(fresh) * np.sqrt(1.0 - memory**2).astype(np.float32)
    return irfft2(ft, previous.shape).astype(np.float32)
