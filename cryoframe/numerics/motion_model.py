"""Motion of a specimen during an exposure: drift, early beam-induced motion, blur; its correction is in motion.

Displacements say where the specimen goes. The shift that undoes them, as motion correction reports it, is their
negative. Time runs in accumulated exposure [e/Å²]; a beam-induced part is fast, 1 − exp(−N/N₀), the rest is steady.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cryoframe.errors import InvalidInput
from cryoframe.numerics.backend import Floats, Reals

#: Waves that make up a smooth random field; the field is Gaussian for any number, this many make it isotropic.
_N_WAVES = 64


@dataclass(frozen=True, slots=True)
class MotionModel:
    """Statistics that the motion of one exposure is drawn from. Amplitudes and N₀ are medians of log-normal ones.

    Defaults make the tracks of RELION's tutorial movies (β-galactosidase, 200 kV, 24 frames of 1.277 e/Å²) typical;
    they were set by hand to that end.

    Parameters
    ----------
    drift_A_s
        Speed of the stage; its direction is uniform.
    dose_rate_e_A2_s
        Turns time into exposure.
    whole_early_A
        Distance the whole field moves early.
    local_early_A, local_steady_A
        RMS over the field of the smooth motion that differs from place to place: early, and steady per 30 e/Å².
    early_e_A2
        N₀ of the early motion.
    correlation_A
        Length ℓ over which it is correlated, exp(−d²/2ℓ²).
    spread
        Standard deviation of the logarithms of the amplitudes and of N₀.
    jitter_A
        RMS deviation of each frame along each axis, independent from frame to frame.
    dome_A
        Change of height of the film's middle against the rim of the hole, early.

    References
    ----------
    Early motion: Brilot et al., J. Struct. Biol. 177, 630 (2012), doi 10.1016/j.jsb.2012.02.003; smoothness in space:
    Zivanov, Nakane & Scheres, IUCrJ 6, 5 (2019), doi 10.1107/S205225251801463X; doming: Russo & Passmore, Science 346,
    1377 (2014), doi 10.1126/science.1259530.
    """

    drift_A_s: float = 2.1
    dose_rate_e_A2_s: float = 6.0
    whole_early_A: float = 2.5
    local_early_A: float = 3.5
    local_steady_A: float = 2.5
    early_e_A2: float = 5.0
    correlation_A: float = 2500.0
    spread: float = 0.35
    jitter_A: float = 0.11
    dome_A: float = 50.0

    def __post_init__(self) -> None:
        amounts = (self.drift_A_s, self.whole_early_A, self.local_early_A, self.local_steady_A, self.jitter_A,
                   self.spread)  # fmt: skip
        if min(amounts) < 0.0 or min(self.dose_rate_e_A2_s, self.early_e_A2, self.correlation_A) <= 0.0:
            raise InvalidInput(f"{self} was asked for", expected="amplitudes of 0 or more; rates and lengths above 0")


@dataclass(frozen=True, slots=True)
class Motion:
    """The motion of one exposure; the truth at every place.

    Parameters
    ----------
    dose_edges_e_A2
        `(f + 1,)` exposure at the beginning of the first and at the end of each frame.
    early_e_A2
        N₀.
    drift_A2_e
        `(2,)` steady motion of the whole field [Å per e/Å²].
    whole_early_A
        `(2,)` early motion of the whole field.
    waves_1_A, phases_rad
        `(w, 2)` and `(w,)`: cosines that make the smooth fields.
    local_early_A, local_steady_A2_e
        `(w, 2)` weights of the cosines.
    jitter_A
        `(f, 2)`.
    dome_A, hole_radius_A, centre_A
        Change of height in the middle, where it is zero, and (x, y) of the middle.
    """

    dose_edges_e_A2: Reals
    early_e_A2: float
    drift_A2_e: Reals
    whole_early_A: Reals
    waves_1_A: Reals
    phases_rad: Reals
    local_early_A: Reals
    local_steady_A2_e: Reals
    jitter_A: Reals
    dome_A: float
    hole_radius_A: float
    centre_A: tuple[float, float]

    def _smooth(self, x: Reals, y: Reals) -> tuple[Reals, Reals]:
        """Early amplitude and steady rate `(…, 2)` at places."""
        place = np.stack(np.broadcast_arrays(x, y), axis=-1)
        cosines = np.cos(place @ (2.0 * np.pi * self.waves_1_A.T) + self.phases_rad)
        return self.whole_early_A + cosines @ self.local_early_A, self.drift_A2_e + cosines @ self.local_steady_A2_e

    def displacement_A(self, x_A: npt.ArrayLike, y_A: npt.ArrayLike) -> Reals:
        """Mean displacement during each frame, `(…, f, 2)` (x, y), against the start of the exposure.

        Parameters
        ----------
        x_A, y_A
            Places in the micrograph, broadcast.
        """
        early, rate = self._smooth(np.asarray(x_A, dtype=np.float64), np.asarray(y_A, dtype=np.float64))
        done = early_mean(self.dose_edges_e_A2, self.early_e_A2)[:, None]
        middle = (0.5 * (self.dose_edges_e_A2[1:] + self.dose_edges_e_A2[:-1]))[:, None]
        path: Reals = early[..., None, :] * done + rate[..., None, :] * middle + self.jitter_A
        return path

    def streak_A(self, x_A: npt.ArrayLike, y_A: npt.ArrayLike) -> Reals:
        """Displacement from the beginning to the end of each frame, `(…, f, 2)`; jitter aside."""
        early, rate = self._smooth(np.asarray(x_A, dtype=np.float64), np.asarray(y_A, dtype=np.float64))
        edges = self.dose_edges_e_A2
        done = np.diff(-np.exp(-edges / self.early_e_A2))[:, None]
        step: Reals = early[..., None, :] * done + rate[..., None, :] * np.diff(edges)[:, None]
        return step

    def height_A(self, x_A: npt.ArrayLike, y_A: npt.ArrayLike) -> Reals:
        """Mean change of z during each frame by doming, `(…, f)`: added to the defocus."""
        x = np.asarray(x_A, dtype=np.float64) - self.centre_A[0]
        y = np.asarray(y_A, dtype=np.float64) - self.centre_A[1]
        dome = self.dome_A * np.maximum(1.0 - (x * x + y * y) / self.hole_radius_A**2, 0.0)
        height: Reals = dome[..., None] * early_mean(self.dose_edges_e_A2, self.early_e_A2)
        return height


def early_mean(edges_e_A2: Reals, early_e_A2: float) -> Reals:
    """Mean of 1 − exp(−N/N₀) over each frame, `(f,)`, for edges `(f + 1,)`."""
    span = np.diff(edges_e_A2)
    if np.any(span <= 0.0) or edges_e_A2[0] < 0.0:
        raise InvalidInput("exposures of frames do not grow", expected="rising edges from 0 e/Å² or more")
    mean: Reals = 1.0 + np.diff(np.exp(-edges_e_A2 / early_e_A2)) * early_e_A2 / span
    return mean


def _isotropic(length: float, rng: np.random.Generator) -> Reals:
    angle = rng.uniform(0.0, 2.0 * np.pi)
    return length * np.array([np.cos(angle), np.sin(angle)])


def draw_motion(
    model: MotionModel,
    dose_edges_e_A2: npt.ArrayLike,
    *,
    rng: np.random.Generator,
    hole_radius_A: float = 6000.0,
    centre_A: tuple[float, float] = (0.0, 0.0),
) -> Motion:
    """Draw the motion of one exposure.

    Parameters
    ----------
    model
        Its statistics.
    dose_edges_e_A2
        `(f + 1,)` exposure at the beginning of the first frame and at the end of each.
    rng
        Source of randomness.
    hole_radius_A, centre_A
        Of the hole that domes, in the frame of the places.

    Notes
    -----
    The smooth field is a sum of cosines whose frequencies are drawn from the transform of its correlation: a Gaussian
    process that can be asked anywhere, at any time later, with the same answer (Rahimi & Recht, NIPS 2007).
    """
    edges = np.asarray(dose_edges_e_A2, dtype=np.float64)
    if edges.ndim != 1 or edges.size < 2:
        raise InvalidInput(f"edges of shape {edges.shape} were given", expected="(f + 1,), at least one frame")
    early_mean(edges, model.early_e_A2)
    drift, whole, early, steady, jitter, fade = np.exp(model.spread * rng.standard_normal(6)) * (
        model.drift_A_s / model.dose_rate_e_A2_s,
        model.whole_early_A,
        model.local_early_A,
        model.local_steady_A / 30.0,
        model.jitter_A,
        model.early_e_A2,
    )
    # cos has mean square ½, and the two axes share the stated RMS: Σ w²·½ over the waves is ½ of its square.
    scale = 1.0 / np.sqrt(_N_WAVES)
    return Motion(
        dose_edges_e_A2=edges,
        early_e_A2=float(fade),
        drift_A2_e=_isotropic(drift, rng),
        whole_early_A=_isotropic(whole, rng),
        waves_1_A=rng.standard_normal((_N_WAVES, 2)) / (2.0 * np.pi * model.correlation_A),
        phases_rad=rng.uniform(0.0, 2.0 * np.pi, _N_WAVES),
        local_early_A=early * scale * rng.standard_normal((_N_WAVES, 2)),
        local_steady_A2_e=steady * scale * rng.standard_normal((_N_WAVES, 2)),
        jitter_A=jitter * rng.standard_normal((edges.size - 1, 2)),
        dome_A=float(model.dome_A * rng.standard_normal()),
        hole_radius_A=hole_radius_A,
        centre_A=centre_A,
    )


def particle_walks(n: int, dose_edges_e_A2: npt.ArrayLike, *, rate_A4_e: float, rng: np.random.Generator) -> Reals:
    """Random walks of particles in the ice, independent of each other, `(n, f, 2)` at the ends of the frames [Å].

    The mean square along each axis grows by `rate_A4_e` for each e/Å².

    References
    ----------
    McMullan, Vinothkumar & Henderson, Ultramicroscopy 158, 26 (2015), doi 10.1016/j.ultramic.2015.05.017
    (pseudo-Brownian motion of macromolecules).
    """
    spans = np.diff(np.asarray(dose_edges_e_A2, dtype=np.float64))
    if rate_A4_e < 0.0 or np.any(spans < 0.0):
        raise InvalidInput(f"a walk of {rate_A4_e} Å² per e/Å² was asked for", expected="0 or more, rising edges")
    steps = np.sqrt(rate_A4_e * spans)[:, None] * rng.standard_normal((n, spans.size, 2))
    return np.cumsum(steps, axis=1)


def blur_transfer(kx: Floats, ky: Floats, streak_A: npt.ArrayLike) -> Reals:
    """Transfer of a frame during which the specimen moves evenly by `streak_A` (x, y) about its mean place.

    sinc(k·d) = sin(π·k·d)/(π·k·d), 1 at zero frequency.

    References
    ----------
    Frank, Optik 30, 171 (1969) (drift in Thon rings).
    """
    streak = np.asarray(streak_A, dtype=np.float64)
    if streak.shape != (2,):
        raise InvalidInput(f"a streak of shape {streak.shape} was given", expected="(2,): x and y [Å]")
    transfer: Reals = np.sinc(np.asarray(kx) * streak[0] + np.asarray(ky) * streak[1])
    return transfer


def path_transfer(kx: Floats, ky: Floats, path_A: Reals) -> npt.NDArray[np.complex128]:
    """Transfer of any path `(p, 2)` of equally long stays: mean of exp(−2πi·k·r), displacement included."""
    mean = np.zeros(np.broadcast_shapes(np.shape(kx), np.shape(ky)), dtype=np.complex128)
    for x, y in path_A:
        mean += np.exp(-2j * np.pi * (kx * x + ky * y))
    return mean / len(path_A)
