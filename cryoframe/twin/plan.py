"""Draws every exposure of a session from its seed: where, at which defocus, on what ice. Nothing is made here.

Each hole and each exposure has a generator of its own, keyed by the session's seed and its number: a longer session
begins with the very exposures of a shorter one.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, replace
from datetime import timedelta

import numpy as np

from cryoframe.data.twin import Exposure
from cryoframe.numerics.camera_presets import Camera, cameras
from cryoframe.twin.faults import Planned, afflicted, occurrences
from cryoframe.twin.session import Grid, SessionConfig
from cryoframe.twin.shot import Shot

#: Defoci are gone through in so many steps, hole by hole, as acquisition programs do (assumed: seven of a list).
DEFOCUS_STEPS = 7
#: Time between two exposures beyond the exposure itself, of the clock that names files (assumed).
OVERHEAD_S = 6.0
SENSOR_PIXEL_UM = 5.0


@dataclass(frozen=True)
class Known:
    """What the stage knows of microscope and camera, and file names and side-cars say."""

    voltage_kV: float = 300.0
    #: Pixels of a movie to one of the sensor, along an axis.
    super_resolution: int = 1


def make_plan(config: SessionConfig, known: Known | None = None) -> tuple[Planned, ...]:
    """Return every exposure of the session, in order of acquisition, faults included.

    Parameters
    ----------
    config
        The session.
    known
        What side-cars say of the microscope.

    Raises
    ------
    ConfigError
        If a fault is unknown or cannot be.
    """
    found = occurrences(config.faults, config.n_movies)
    return tuple(
        afflicted(_planned(config, number, known or Known()), found, config) for number in range(1, config.n_movies + 1)
    )


def place_shift_um(grid: Grid, place: int) -> tuple[float, float]:
    """Return the image shift of an exposure of a hole: on a ring, the centre where there is one exposure alone."""
    if grid.shots_per_hole == 1:
        return (0.0, 0.0)
    turn = 2.0 * math.pi * place / grid.shots_per_hole
    return (grid.image_shift_um * math.cos(turn), grid.image_shift_um * math.sin(turn))


def tilt_of_shift(grid: Grid, shift_um: tuple[float, float]) -> tuple[float, float]:
    """Return the beam tilt [mrad] that an image shift leaves behind."""
    return (grid.beam_tilt_mrad_um * shift_um[0], grid.beam_tilt_mrad_um * shift_um[1])


def camera_of(config: SessionConfig) -> Camera | None:
    """Return the numbers of the camera's preset, where it is one that has numbers here."""
    return cameras().get(config.camera.preset)


def generator(seed: int, *key: object) -> np.random.Generator:
    """Return a generator of its own for a key."""
    text = "|".join(map(str, (seed, *key)))
    return np.random.Generator(
        np.random.Philox(key=int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "little"))
    )


def _planned(config: SessionConfig, number: int, known: Known) -> Planned:
    hole, place = divmod(number - 1, config.grid.shots_per_hole)
    exposure_id = f"{config.name}_{number:05d}"
    shift_um = place_shift_um(config.grid, place)
    nominal_A = _nominal_defocus_A(config, hole)
    exposure = _exposure(config, exposure_id, hole, place)
    exposure = replace(exposure, **_defocus(config, number, nominal_A))  # type: ignore[arg-type]
    return Planned(exposure, _shot(config, exposure, number, nominal_A, shift_um=shift_um, known=known))


def _exposure(config: SessionConfig, exposure_id: str, hole: int, place: int) -> Exposure:
    of_hole, grid, ice = generator(config.seed, "hole", hole), config.grid, config.ice
    thickness_A = float(of_hole.uniform(ice.min_A, ice.max_A))
    ramp = tuple(float(v) for v in np.clip(ice.ramp * of_hole.standard_normal(2), -0.3, 0.3))
    missed_um = grid.stage_error_um * of_hole.standard_normal(2)
    shift_um = place_shift_um(grid, place)
    tilt = tilt_of_shift(grid, shift_um)
    image = config.image
    return Exposure(
        exposure_id,
        shape_px=image.shape_px,
        pixel_size_A=image.pixel_size_A,
        n_frames=image.n_frames,
        dose_per_frame_e_A2=image.frame_e_A2,
        frame_time_s=image.frame_time_s,
        phase_shift_deg=config.defocus.phase_shift_deg,
        beam_tilt_x_mrad=tilt[0],
        beam_tilt_y_mrad=tilt[1],
        optics_group=f"opticsGroup{place + 1}",
        stage_tilt_deg=config.tilt.stage_tilt_deg,
        stage_tilt_axis_deg=config.tilt.axis_deg,
        ice_thickness_A=thickness_A,
        ice_ramp=(ramp[0], ramp[1]),
        ice_rim_extra_A=ice.rim_extra_A,
        hole_radius_A=grid.hole_radius_A,
        hole_offset_A=tuple(float(1e4 * (miss - shift)) for miss, shift in zip(missed_um, shift_um, strict=True)),  # type: ignore[arg-type]
    )


def _nominal_defocus_A(config: SessionConfig, hole: int) -> float:
    step = (hole % DEFOCUS_STEPS) / (DEFOCUS_STEPS - 1)
    return config.defocus.min_A + step * (config.defocus.max_A - config.defocus.min_A)


def _defocus(config: SessionConfig, number: int, nominal_A: float) -> dict[str, float]:
    """Draw the true defocus of one exposure; the axis of astigmatism is the lens's and hardly turns."""
    rng = generator(config.seed, "defocus", number)
    axis_deg = float(generator(config.seed, "astigmatism").uniform(0.0, 180.0))
    error, half, turn = rng.standard_normal(3)
    middle_A = nominal_A + config.defocus.error_A * float(error)
    half_A = config.defocus.astigmatism_A * float(half)
    angle_deg = axis_deg + 5.0 * float(turn) + (90.0 if half_A < 0 else 0.0)
    return {
        "defocus_u_A": middle_A + abs(half_A),
        "defocus_v_A": middle_A - abs(half_A),
        "defocus_angle_deg": angle_deg % 180.0,
    }


def _shot(
    config: SessionConfig,
    exposure: Exposure,
    number: int,
    nominal_A: float,
    *,
    shift_um: tuple[float, float],
    known: Known,
) -> Shot:
    hole, place = divmod(number - 1, config.grid.shots_per_hole)
    square, in_square = divmod(hole, config.grid.holes_per_square)
    camera = camera_of(config)
    exposure_s = exposure.n_frames * exposure.frame_time_s
    return Shot(
        exposure_id=exposure.exposure_id,
        number=number,
        time_utc=config.begin + timedelta(seconds=round((number - 1) * (exposure_s + OVERHEAD_S), 3)),
        grid_square=square + 1,
        foil_hole=hole + 1,
        place_in_hole=place,
        image_shift_um=shift_um,
        beam_tilt_mrad=(exposure.beam_tilt_x_mrad, exposure.beam_tilt_y_mrad),
        stage_um=_stage_um(config, square, in_square),
        stage_tilt_deg=config.tilt.stage_tilt_deg,
        nominal_defocus_A=nominal_A,
        pixel_size_A=exposure.pixel_size_A,
        dose_e_A2=config.image.total_e_A2,
        n_frames=exposure.n_frames,
        exposure_s=exposure_s,
        shape_px=exposure.shape_px,
        voltage_kV=known.voltage_kV,
        magnification=config.microscope.magnification or _magnification(camera, exposure.pixel_size_A),
        camera=config.camera.preset or "camera",
        kind=config.kind,
        slit_eV=max(config.microscope.slit_eV, 0.0),
        phase_plate=config.defocus.phase_shift_deg > 0.0,
        super_resolution=known.super_resolution,
    )


def _stage_um(config: SessionConfig, square: int, in_square: int) -> tuple[float, float, float]:
    """Return where the stage is: squares anywhere on the grid, holes row by row, back and forth, within a square."""
    x, y, z = generator(config.seed, "square", square).uniform((-700.0, -700.0, -60.0), (700.0, 700.0, 60.0))
    edge = math.isqrt(config.grid.holes_per_square - 1) + 1
    row, column = divmod(in_square, edge)
    column = column if row % 2 == 0 else edge - 1 - column
    spacing = config.grid.hole_spacing_um
    return (round(float(x) + spacing * column, 4), round(float(y) + spacing * row, 4), round(float(z), 4))


def _magnification(camera: Camera | None, pixel_size_A: float) -> int:
    pixel_um = camera.pixel_size_um if camera else SENSOR_PIXEL_UM
    return max(1000, round(pixel_um * 1e4 / pixel_size_A / 1000) * 1000)
