"""What a scene is refused for, before anything is computed; the scene itself is in scene."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from cryoframe.errors import InvalidInput
from cryoframe.numerics.ctf import wavelength_A
from cryoframe.numerics.damage import temperature_factor
from cryoframe.numerics.filters import critical_dose_e_A2

if TYPE_CHECKING:
    from cryoframe.numerics.scene import FadingPatches, Scene

#: What no specimen bears and no camera sees; a larger figure is a slip of units.
_MOST_DOSE_E_A2, _MOST_SIDE_PX = 1000.0, 32768
_MOST_PIXEL_A = 50.0
_RAW_TYPES = ("uint8", "uint16", "float32")


def check_scene(scene: Scene) -> None:
    """Refuse what cannot be recorded.

    Raises
    ------
    InvalidInput
        Empty or too large field, doses that do not rise or no specimen bears, a camera smaller than the field, gain,
        defects or maps of another shape, numbers that are not finite, a voltage
        whose damage is not known.
    """
    _check_numbers(scene)
    _check_doses(scene)
    _check_sensor(scene)
    _check_beam(scene)
    _check_specimen(scene)


def _check_numbers(scene: Scene) -> None:
    ny, nx = scene.shape
    if min(ny, nx) < 16 or max(ny, nx) > _MOST_SIDE_PX:
        raise InvalidInput(f"a field of {ny} × {nx} pixels was asked for", expected=f"16 to {_MOST_SIDE_PX} a side")
    if not 0.0 < scene.pixel_size_A <= _MOST_PIXEL_A or not 0.0 < scene.frame_time_s < math.inf:
        raise InvalidInput(
            f"pixels of {scene.pixel_size_A} Å and frames of {scene.frame_time_s} s were asked for",
            expected=f"above 0, pixels of at most {_MOST_PIXEL_A} Å",
        )
    finite = (*scene.stage_jump_A, scene.charging_A3_e, scene.defocus_drift_A, scene.temperature_K,
              scene.lens.defocus_u_A, scene.lens.defocus_v_A)  # fmt: skip
    if not np.all(np.isfinite(finite)) or not scene.refresh_defocus_A > 0.0 or scene.seed < 0:
        raise InvalidInput(
            f"a jump of {scene.stage_jump_A} Å, charging of {scene.charging_A3_e} Å³/e, a defocus of "
            f"{scene.lens.defocus_u_A} Å drifting by {scene.defocus_drift_A} Å, {scene.temperature_K} K, a refresh of "
            f"{scene.refresh_defocus_A} Å and seed {scene.seed} were asked for",
            expected="finite numbers, a refresh above 0 Å, a seed of 0 or more",
        )


def _check_doses(scene: Scene) -> None:
    edges = np.asarray(scene.dose_edges_e_A2)
    rising = edges.ndim == 1 and edges.size >= 2 and bool(np.all(np.isfinite(edges))) and bool(np.all(np.diff(edges)))
    if not rising or np.any(np.diff(edges) < 0.0) or edges[0] < 0.0 or edges[-1] > _MOST_DOSE_E_A2:
        raise InvalidInput(
            f"frames with the exposures {edges} e/Å² at their edges were asked for",
            expected=f"at least two rising numbers from 0 to {_MOST_DOSE_E_A2}",
        )
    if scene.motion is not None and not np.array_equal(scene.motion.dose_edges_e_A2, edges):
        raise InvalidInput(
            "the motion was drawn for other frames than the scene has",
            expected="the same dose_edges_e_A2",
            remedy="Draw the motion with the edges of the scene.",
        )
    if not 0 <= scene.stage_jump_frame < edges.size - 1:
        raise InvalidInput(f"a stage jump at frame {scene.stage_jump_frame} was asked for", expected="a frame there is")


def _check_sensor(scene: Scene) -> None:
    sensor, camera = scene.sensor, scene.sensor.camera
    if scene.shape[0] > camera.n_rows or scene.shape[1] > camera.n_columns:
        raise InvalidInput(
            f"a field of {scene.shape[0]} × {scene.shape[1]} pixels does not fit on camera {camera.name}",
            expected=f"at most {camera.n_rows} × {camera.n_columns}",
        )
    if sensor.raw_dtype not in _RAW_TYPES or (sensor.raw_dtype == "float32") is camera.counting:
        raise InvalidInput(
            f"camera {camera.name} was asked for raw frames of {sensor.raw_dtype}",
            expected="uint8 or uint16 for a counting camera, float32 for an integrating one",
        )
    for what, array in (("gain", sensor.gain), ("defects", None if sensor.defects is None else sensor.defects.dead)):
        if array is not None and array.shape != scene.shape:
            raise InvalidInput(f"{what} of shape {array.shape} was given", expected=f"{scene.shape} as the field")
    if sensor.gain is not None and not (np.all(np.isfinite(sensor.gain)) and float(sensor.gain.min()) > 0.0):
        raise InvalidInput("the gain is not finite or not above 0 somewhere", expected="a reference of mean 1")
    row, column, rows, columns = sensor.dead_block_px
    if min(sensor.dead_block_px) < 0 or row + rows > scene.shape[0] or column + columns > scene.shape[1]:
        raise InvalidInput(f"a dead block {sensor.dead_block_px} was asked for", expected=f"one inside {scene.shape}")


def _check_beam(scene: Scene) -> None:
    loss = scene.loss
    free_A = min(loss.mean_free_path_A, loss.support_mean_free_path_A)
    if not (free_A > 0.0 and loss.aperture_mean_free_path_A > 0.0 and 0.0 <= loss.sigma_A < math.inf):
        raise InvalidInput(f"{loss} was asked for", expected="mean free paths above 0 Å, a width of 0 Å or more")
    if not 0.0 <= loss.passed_frac <= 1.0:
        raise InvalidInput(f"a share of {loss.passed_frac} of losses was asked for", expected="a fraction, 0 to 1")
    wavelength_A(scene.lens.voltage_kV)
    temperature_factor(scene.temperature_K)
    if scene.effects.damage and scene.particles:
        critical_dose_e_A2(np.ones(1), scene.lens.voltage_kV)


def _check_specimen(scene: Scene) -> None:
    if not abs(scene.stage.tilt_deg) < 80.0:
        raise InvalidInput(f"a stage tilt of {scene.stage.tilt_deg}° was asked for", expected="less than 80°")
    maps = ("support", "ice_amount", "support_path_A")
    for what, array in ((name, getattr(scene, name)) for name in maps):
        if array is not None and (array.shape != scene.shape or not np.all(np.isfinite(array))):
            raise InvalidInput(f"{what} of shape {array.shape} was given", expected=f"{scene.shape}, finite numbers")
    if scene.ice_amount is not None and float(scene.ice_amount.min()) < 0.0:
        raise InvalidInput("ice_amount is negative somewhere", expected="factors of 0 or more")
    if scene.support_path_A is not None and float(scene.support_path_A.min()) < 0.0:
        raise InvalidInput("support_path_A is negative somewhere", expected="thicknesses of 0 Å or more")
    for group in scene.particles:
        places = np.stack([group.x_A, group.y_A, group.z_A])
        if not np.all(np.isfinite(places)) or not group.parts:
            raise InvalidInput("a particle has no finite place or no part", expected="finite x, y, z and parts")
        for part in group.parts:
            _check_part(part, len(group))


def _check_part(part: FadingPatches, n: int) -> None:
    held = None if callable(part.patches) else part.patches
    if held is not None and (held.ndim != 3 or len(held) != n or held.shape[1] != held.shape[2]):
        raise InvalidInput(f"patches of shape {held.shape} were given for {n} particles", expected="(m, b, b)")
    if held is not None and not np.all(np.isfinite(held)):
        raise InvalidInput("a patch is not finite", expected="potentials [1/Å]")
    if not (part.lifetime_e_A2 > 0.0 and 0.0 <= part.b_rate_A4_e < math.inf):
        raise InvalidInput(
            f"a part with a lifetime of {part.lifetime_e_A2} e/Å² and a B rate of {part.b_rate_A4_e} was given",
            expected="a lifetime above 0, a rate of 0 or more",
        )
