"""Frames as a counting camera records them, from expected electrons, event by event or densely.

Integrating cameras are in ``detector_integrating``, response curves in ``detector_response``, presets in
``camera_presets``, faults in ``camera_faults``, measuring a camera in ``dqe``.

An expected image holds electrons a pixel and frame (the integral over the pixel, not its centre's value). Every draw
comes from the generator passed in, and the order of work does not matter: one generator a frame gives the same frame
on any number of workers.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cryoframe.errors import InvalidInput
from cryoframe.numerics.backend import F32, Floats, Reals
from cryoframe.numerics.camera_presets import Camera
from cryoframe.numerics.detector_response import (
    checked_expected,
    energy_quantiles,
    filtered,
    normal_quantiles,
)
from cryoframe.numerics.detector_thinning import draw_counts, event_chances

Counts = npt.NDArray[np.uint16]
_N_PLACES = 64
_FEWEST_ELECTRONS = 4096


def _loops() -> Any:
    """Return the compiled loops; loaded late, so that importing the numerics compiles nothing."""
    return importlib.import_module("cryoframe.numerics._numba.detector")


@dataclass(frozen=True, slots=True)
class CoincidenceCurve:
    """How many events a camera counts.

    Parameters
    ----------
    detected_e_px
        `(m,)` detected electrons a pixel and internal frame, rising from 0.
    counted_px
        `(m,)` events counted a pixel and internal frame.
    """

    detected_e_px: Reals
    counted_px: Reals


def charge_shares(cloud_sigma_px: float, n_places: int = _N_PLACES) -> F32:
    """Charge on the pixel before, the pixel hit and the one after, `(n_places, 3)`, by place within the pixel."""
    place = (np.arange(n_places) + 0.5) / n_places
    if cloud_sigma_px == 0.0:
        return np.tile(np.array([0.0, 1.0, 0.0], dtype=np.float32), (n_places, 1))
    edges = (np.arange(-1, 3)[None, :] - place[:, None]) / (cloud_sigma_px * math.sqrt(2.0))
    below = np.vectorize(math.erfc)(-edges) * 0.5
    shares: F32 = np.diff(below, axis=1).astype(np.float32)
    return shares


def generic_clusters(found: Floats, shape: tuple[int, int], camera: Camera) -> Reals:
    """Reference of the compiled search for events, for one internal frame.

    Parameters
    ----------
    found
        `(m, 3)`: y, x [px, from the outer corner of pixel [0, 0]] and energy of detected electrons.
    shape
        Of the sensor.

    Returns
    -------
    `(n, 2)` centroids (y, x) in the same frame, in the order of the rows of the electrons they were met by.
    """
    charge = np.zeros((shape[0] + 4, shape[1] + 4))
    shares = charge_shares(camera.cloud_sigma_px)
    rows, columns = found[:, 0].astype(int), found[:, 1].astype(int)
    for (y, x, energy), row, column in zip(found, rows, columns, strict=True):
        places = [min(int((p - i) * _N_PLACES), _N_PLACES - 1) for p, i in ((y, row), (x, column))]
        charge[row + 1 : row + 4, column + 1 : column + 4] += energy * np.outer(shares[places[0]], shares[places[1]])
    charge[:2] = charge[-2:] = charge[:, :2] = charge[:, -2:] = 0.0
    centres = []
    for i in np.argsort(rows, kind="stable"):
        start = (int(rows[i]) + 2, int(columns[i]) + 2)
        if charge[start] >= camera.threshold_frac:
            members = _connected(charge, start, camera)
            at = np.array(members)
            weights = charge[at[:, 0], at[:, 1]]
            centres.append(weights @ at / weights.sum() - 1.5)
            charge[at[:, 0], at[:, 1]] = 0.0
    return np.array(centres).reshape(-1, 2)


def _connected(charge: Reals, start: tuple[int, int], camera: Camera) -> list[tuple[int, int]]:
    """Pixels above the threshold that hang together with `start`, and those beside them that hold any charge."""
    around = {0: 0, 4: 1, 8: 2}[camera.neighbours]
    steps = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if 0 < abs(dy) + abs(dx) <= around]
    members: list[tuple[int, int]] = []
    waiting = [start]
    while waiting:
        here = waiting.pop()
        if charge[here] > 0.0 and here not in members:
            members.append(here)
            if charge[here] >= camera.threshold_frac:
                waiting += [(here[0] + dy, here[1] + dx) for dy, dx in steps]
    return members


def internal_frames(camera: Camera, exposure_s: float) -> int:
    """Whole number of internal frames in an exposure, at least one."""
    if not exposure_s > 0.0:
        raise InvalidInput(f"an exposure of {exposure_s} s was asked for", expected="a time above 0")
    return max(1, round(exposure_s * camera.frame_rate_1_s))


def counted_events(
    expected_e: Floats, camera: Camera, rng: np.random.Generator, *, exposure_s: float, pixels_to_one: int = 1
) -> Iterator[Reals]:
    """Events a counting camera finds, internal frame by internal frame.

    Parameters
    ----------
    expected_e
        `(ny, nx)` electrons a pixel in the whole exposure.
    camera
        A counting one; its sensor's size is not looked at, `expected_e` says which part is simulated.
    rng
        One number an internal frame is drawn from it.
    exposure_s
        Split into internal frames, over which the electrons are spread evenly.
    pixels_to_one
        Pixels of `expected_e` to one of the sensor, along an axis.

    Yields
    ------
    `(n, 2)` float64 centroids (y, x) [px of the sensor, from the outer corner of pixel [0, 0]: ``int(y)`` is the row].
    Electrons scatter into the simulated part across its edges as often as out of it.

    Raises
    ------
    InvalidInput
        The camera integrates, or the image is not one of expected electrons.

    References
    ----------
    Li et al., Nat. Methods 10, 584 (2013), doi 10.1038/nmeth.2472 (counting, super-resolution);
    McMullan et al., Ultramicroscopy 109, 1411 (2009), doi 10.1016/j.ultramic.2009.07.004 (event counting in MAPS).
    """
    camera.check_counting(True)
    image, shape = checked_expected(expected_e, pixels_to_one)
    n_internal = internal_frames(camera, exposure_s)
    keys = rng.integers(0, 2**64, size=n_internal, dtype=np.uint64)
    return (centres for _, centres in _internal_frames_events(image, shape, camera, keys))


class _Finder:
    """Room for one internal frame of a counting camera, used again for each."""

    def __init__(self, camera: Camera, shape: tuple[int, int], n_electrons: int) -> None:
        self._camera, self._shape = camera, shape
        self._ring = np.zeros((_loops().RING_ROWS, shape[1] + 4), dtype=np.float32)
        self._shares = charge_shares(camera.cloud_sigma_px)
        self._work = (
            np.empty((n_electrons, 3), dtype=np.float32),
            np.empty((9 * n_electrons, 2), dtype=np.int32),
            np.empty((n_electrons, 2), dtype=np.float64),
        )

    def __call__(self, found: F32) -> Reals:
        """Centroids of the events that these electrons make."""
        camera = self._camera
        n_events = _loops().clusters(
            found,
            self._shape[0],
            self._ring,
            self._shares,
            camera.threshold_frac,
            camera.neighbours,
            self._work,
        )
        centres: Reals = self._work[2][:n_events].copy()
        return centres


def find_events(found: Floats, shape: tuple[int, int], camera: Camera) -> Reals:
    """Fast path of :func:`generic_clusters`, equal to it for clusters of less than 26 rows; same arguments."""
    if found.ndim != 2 or found.shape[1] != 3:
        raise InvalidInput(f"electrons of shape {found.shape} were given", expected="(m, 3): y, x, energy")
    return _Finder(camera, shape, len(found))(np.ascontiguousarray(found, dtype=np.float32))


def _internal_frames_events(
    image: F32, shape: tuple[int, int], camera: Camera, keys: npt.NDArray[np.uint64]
) -> Iterator[tuple[int, Reals]]:
    """Electrons detected in each internal frame and the centroids of the events they make."""
    pixels_to_one = image.shape[0] // shape[0]
    scale = camera.detection_frac / len(keys)
    mean = float(image.sum(dtype=np.float64)) * scale
    # Ten standard deviations: more are found once in 10²³ frames, and then refused rather than dropped.
    room = int(mean + 10.0 * math.sqrt(mean)) + _FEWEST_ELECTRONS
    found = np.empty((room, 3), dtype=np.float32)
    weights, sigmas = np.array(camera.spread).T
    laws = (
        normal_quantiles().astype(np.float32),
        energy_quantiles(camera.energy_width_frac).astype(np.float32),
        np.cumsum(weights),
        np.ascontiguousarray(sigmas),
    )
    highest = image.max(axis=1)
    find = _Finder(camera, shape, room)
    for key in keys:
        n_found = _loops().arrivals(image, highest, scale, key, *laws, pixels_to_one, found)
        if n_found < 0:
            raise InvalidInput(f"more than {room} electrons fell into one internal frame", expected=f"about {mean:.0f}")
        yield n_found, find(found[:n_found])


def count_frame(
    expected_e: Floats, camera: Camera, rng: np.random.Generator, *, exposure_s: float, pixels_to_one: int = 1
) -> Counts:
    """Counted frame, event by event; arguments as :func:`counted_events`.

    Returns
    -------
    `(ny, nx)` of the sensor, twice that with super-resolution; uint16 counts, without the camera's blur.
    """
    factor = camera.super_resolution
    _, shape = checked_expected(expected_e, pixels_to_one)
    counts = np.zeros((shape[0] * factor, shape[1] * factor), dtype=np.uint16)
    for centres in counted_events(expected_e, camera, rng, exposure_s=exposure_s, pixels_to_one=pixels_to_one):
        _loops().add_counts(counts, centres, factor)
    return counts


def merging_area_px(camera: Camera, rng: np.random.Generator, *, n_pairs: int = 60_000) -> float:
    """Area around an electron within which a second one of the same internal frame is not counted [px].

    Pairs of electrons are laid far apart from each other, the second at a random place in a window around the first.
    The standard error is below 1 %.
    """
    window, apart = 9.0, 14
    side = math.ceil(math.sqrt(n_pairs))
    index = np.arange(n_pairs)
    corner = np.stack([index // side, index % side], axis=1) * apart + apart // 2
    first = corner + rng.random((n_pairs, 2))
    second = first + window * (rng.random((n_pairs, 2)) - 0.5)
    energies = rng.choice(energy_quantiles(camera.energy_width_frac), 2 * n_pairs)
    found = np.column_stack([np.concatenate([first, second]), energies])
    n_events = len(find_events(found, (side * apart, side * apart), camera))
    return (2 * n_pairs - n_events) / n_pairs * window**2


def coincidence_curve(
    camera: Camera,
    rng: np.random.Generator,
    *,
    highest_e_px: float = 0.5,
    n_points: int = 12,
    n_events: int = 40_000,
) -> CoincidenceCurve:
    """Events counted against electrons detected, by flat fields counted event by event.

    Parameters
    ----------
    camera
        A counting one.
    rng
        Source of randomness; the same one gives the same curve.
    highest_e_px
        Detected electrons a pixel and internal frame at the end of the curve.
    n_points, n_events
        Rates, spaced as squares from 0, and electrons at each.
    """
    camera.check_counting(True)
    rates: Reals = highest_e_px * np.linspace(0.0, 1.0, n_points) ** 2
    counted = np.zeros(n_points)
    side = 256
    for i, rate in enumerate(rates[1:], start=1):
        keys = rng.integers(0, 2**64, size=max(1, math.ceil(n_events / (rate * side**2))), dtype=np.uint64)
        flat = np.full((side, side), rate * len(keys) / camera.detection_frac, dtype=np.float32)
        n = np.array([(n_found, len(centres)) for n_found, centres in
                      _internal_frames_events(flat, (side, side), camera, keys)]).sum(axis=0)  # fmt: skip
        # Against the electrons that came, not those that should have: only what is lost scatters.
        counted[i] = rate * n[1] / n[0]
    return CoincidenceCurve(rates, counted)


def count_frame_densely(
    expected_e: Floats, camera: Camera, rng: np.random.Generator, *, exposure_s: float, curve: CoincidenceCurve
) -> Counts:
    """Counted frame by pixels instead of by events, in a time that does not grow with the dose.

    Every pixel has the same mean and variance as event by event: it holds at most one event an internal frame, so its
    counts are binomial, n_internal trials with the probability that :func:`coincidence_curve` gives for the rate there.
    The random spread is applied to the expected image, which is exact for Poisson arrivals. What is left out:
    coincidences make neighbouring pixels slightly anticorrelated, so the noise at low frequencies is here that of
    single pixels, too high by about twice the loss; use :func:`count_frame` where that matters.

    Parameters
    ----------
    expected_e
        `(ny, nx)` electrons a pixel of the sensor in the whole exposure.
    camera, rng, exposure_s
        As :func:`counted_events`.
    curve
        Of this camera.

    Returns
    -------
    As :func:`count_frame`.

    Raises
    ------
    InvalidInput
        As :func:`counted_events`, and where the rate goes beyond the end of the curve.
    """
    camera.check_counting(True)
    image, _ = checked_expected(expected_e, 1)
    n_internal = internal_frames(camera, exposure_s)
    detected = np.maximum(filtered(image, camera, part="spread"), np.float32(0.0))
    detected *= np.float32(camera.detection_frac / n_internal)
    if float(detected.max()) > curve.detected_e_px[-1]:
        raise InvalidInput(
            f"{float(detected.max()):.3g} electrons fall on a pixel in one internal frame",
            expected=f"at most {curve.detected_e_px[-1]:.3g}, where the coincidence curve ends",
            remedy="Give a lower dose rate, or a curve that goes further.",
        )
    chances = event_chances(detected * np.float32(n_internal), n_internal, curve=curve)
    return draw_counts(chances, rng.integers(0, 2**64, dtype=np.uint64), super_resolution=camera.super_resolution)


def render_counts(counts: npt.NDArray[np.generic], camera: Camera) -> F32:
    """Counts with the camera's blur, `(ny, nx)` float32, the mean kept; counts of events stay as they are at blur 0."""
    plain = counts.astype(np.float32)
    if camera.blur_sigma_px == 0.0:
        return plain
    return filtered(plain, camera, part="blur", pixels_to_one=camera.super_resolution)
