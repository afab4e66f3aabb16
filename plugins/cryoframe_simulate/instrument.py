"""From presets, parameters and an exposure to the lens and the camera as the numerics want them; no specimen here."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache

import numpy as np

from cryoframe import Exposure, Optics
from cryoframe.errors import InvalidInput, nearest
from cryoframe.numerics.aberrations import Aberrations
from cryoframe.numerics.camera_faults import Defects, Pedestal, draw_defects, gain_reference
from cryoframe.numerics.camera_presets import Camera, cameras
from cryoframe.numerics.detector import CoincidenceCurve, coincidence_curve
from cryoframe.numerics.ice import carbon_mean_free_path_A, inelastic_mean_free_path_A
from cryoframe.numerics.lens import Lens
from cryoframe.numerics.scene import Loss, Sensor
from cryoframe_simulate.admission import detected_rate
from cryoframe_simulate.microscopes import Microscope, microscope_named, passed_loss_frac
from cryoframe_simulate.params import Params
from cryoframe_simulate.streams import Streams

_STATED_BY_PRESET = (
    "voltage_kV",
    "cs_mm",
    "cc_mm",
    "energy_fwhm_eV",
    "source_angle_mrad",
    "aperture_mrad",
    "slit_eV",
    "drift_A_s",
)
#: Of scattering outside the usual apertures, as ``numerics.ice.beam_fractions`` states it (assumed there).
_APERTURE_MEAN_FREE_PATH_A = 17000.0
#: Counts a pixel and frame beyond which 255 is too little: twelve standard deviations away.
_MOST_FOR_UINT8 = 120.0
#: Electrons a coincidence curve is measured with at each rate; 0.1 % of the counts.
_CURVE_EVENTS = 150_000


def microscope_of(params: Params) -> Microscope:
    """Return the preset with what the parameters state in its place."""
    preset = microscope_named(params.microscope)
    stated = {name: getattr(params, name) for name in _STATED_BY_PRESET if getattr(params, name) >= 0.0}
    microscope = replace(preset, **stated)
    if not microscope.voltage_kV >= 10.0:
        raise InvalidInput(f"voltage_kV = {microscope.voltage_kV} was set", expected="10 to 1000 kV")
    return microscope


def camera_of(params: Params) -> Camera:
    """Return the camera's preset with what the parameters state in its place and what they switch off left out."""
    presets = cameras()
    if params.camera not in presets:
        raise InvalidInput(
            f"no camera is called {params.camera!r}{nearest(params.camera, presets)}",
            expected=f"one of {', '.join(presets)}",
        )
    camera = presets[params.camera]
    # Expected electrons are those of the sensor's pixels.
    factor = params.super_resolution if params.shot_noise else 1
    if factor:
        camera = replace(camera, super_resolution=factor)
    if params.frame_rate_1_s > 0.0:
        camera = replace(camera, frame_rate_1_s=params.frame_rate_1_s)
    if not params.spread:
        camera = replace(camera, spread=((1.0, 0.0),), blur_sigma_px=0.0, cloud_sigma_px=0.0)
    return camera


def magnification_of(params: Params) -> tuple[tuple[float, float], tuple[float, float]]:
    """Matrix S that stretches the image, rows; it turns measured frequencies into true ones. S is symmetric."""
    half = 0.5 * params.magnification_anisotropy_frac
    twice = math.radians(2.0 * params.magnification_angle_deg)
    along, across = half * math.cos(twice), half * math.sin(twice)
    return ((1.0 + along, across), (across, 1.0 - along))


def lens_of(exposure: Exposure, params: Params, microscope: Microscope) -> Lens:
    """Return the objective lens as it stands in the first frame."""
    aberrations = Aberrations(
        beam_tilt_mrad=(exposure.beam_tilt_x_mrad, exposure.beam_tilt_y_mrad),
        trefoil_rad_A3=(params.trefoil_x_rad_A3, params.trefoil_y_rad_A3),
        tetrafoil_rad_A4=(params.tetrafoil_x_rad_A4, params.tetrafoil_y_rad_A4),
        magnification=magnification_of(params),
    )
    return Lens(
        voltage_kV=microscope.voltage_kV,
        cs_mm=microscope.cs_mm,
        amplitude_contrast=params.amplitude_contrast_frac,
        defocus_u_A=exposure.defocus_u_A,
        defocus_v_A=exposure.defocus_v_A,
        defocus_angle_deg=exposure.defocus_angle_deg,
        phase_shift_deg=exposure.phase_shift_deg,
        envelope=microscope.envelope if params.coherence else None,
        aberrations=aberrations,
        b_factor_A2=params.b_factor_A2,
        aperture_mrad=microscope.aperture_mrad if microscope.aperture_mrad > 0.0 else None,
    )


def optics_of(exposure: Exposure, params: Params, microscope: Microscope) -> Optics:
    """Return what every reader of the images is told of the microscope."""
    return Optics(
        voltage_kV=microscope.voltage_kV,
        cs_mm=microscope.cs_mm,
        amplitude_contrast_frac=params.amplitude_contrast_frac,
        beam_tilt_x_mrad=exposure.beam_tilt_x_mrad,
        beam_tilt_y_mrad=exposure.beam_tilt_y_mrad,
        optics_group=exposure.optics_group,
        pixel_size_source="calibrated",
    )


def loss_of(exposure: Exposure, microscope: Microscope) -> Loss:
    """Return what becomes of electrons that lose energy; a slit that is lost lets all of them pass."""
    lost = exposure.trouble.slit_lost
    return Loss(
        mean_free_path_A=inelastic_mean_free_path_A(microscope.voltage_kV),
        support_mean_free_path_A=carbon_mean_free_path_A(microscope.voltage_kV),
        passed_frac=1.0 if lost else passed_loss_frac(microscope.slit_eV),
        aperture_mean_free_path_A=_APERTURE_MEAN_FREE_PATH_A if microscope.aperture_mrad > 0.0 else math.inf,
    )


def sensor_of(exposure: Exposure, params: Params, camera: Camera) -> Sensor:
    """Return the session's camera, the same for every exposure of its shape, and this exposure's dead block."""
    streams = Streams(params.camera_seed, f"camera {camera.name}")
    shape = exposure.shape_px
    gain = None
    if params.gain:
        gain = gain_reference(shape, streams("gain"), pixel_sd_frac=params.gain_sd_frac)
    pedestal = None
    if params.pedestal and not camera.counting:
        pedestal = Pedestal(level_grey=params.pedestal_grey, drift_grey=params.pedestal_drift_grey)
    end = _end_of_curve(detected_rate(exposure, camera))
    return Sensor(
        camera=camera,
        gain=gain,
        defects=_defects(params, shape, streams),
        dead_block_px=exposure.trouble.dead_block_px,
        pedestal=pedestal,
        raw_dtype=_raw_dtype(exposure, camera),
        curve=_curve(camera, end) if camera.counting and params.coincidence else None,
    )


def _raw_dtype(exposure: Exposure, camera: Camera) -> str:
    """Type of the raw frames: the smallest that holds the counts of bright pixels and hot ones."""
    if not camera.counting:
        return "float32"
    electrons = exposure.dose_per_frame_e_A2 * exposure.trouble.dose_factor * exposure.pixel_size_A**2
    return "uint8" if electrons / camera.super_resolution**2 <= _MOST_FOR_UINT8 else "uint16"


def _end_of_curve(detected_e_px: float) -> float:
    """Rate a coincidence curve must reach: four times the mean, up to a power of two, so that exposures share it."""
    return float(2.0 ** math.ceil(math.log2(max(4.0 * detected_e_px, 0.02))))


@lru_cache(maxsize=4)
def _curve(camera: Camera, highest_e_px: float) -> CoincidenceCurve:
    """The camera's coincidence curve, kept since it takes as long as a frame; a stream of its own draws it."""
    rng = Streams(0, f"coincidence {camera.name}")("curve")
    return coincidence_curve(camera, rng, highest_e_px=highest_e_px, n_points=12, n_events=_CURVE_EVENTS)


def _defects(params: Params, shape: tuple[int, int], streams: Streams) -> Defects | None:
    if not (params.defects or params.hot_pixels):
        return None
    n_pixels = shape[0] * shape[1]
    return draw_defects(
        shape,
        streams("defects"),
        n_pixels=min(params.n_dead_px, n_pixels // 100) if params.defects else 0,
        n_columns=min(params.n_dead_columns, shape[1] // 100) if params.defects else 0,
        n_hot=min(params.n_hot_px, n_pixels // 100) if params.hot_pixels else 0,
        hot_counts=params.hot_counts,
    )


def as_written(reference: np.ndarray, factor: int) -> np.ndarray:
    """Return a gain or defect image laid on the pixels that files hold, `factor` to one of the sensor."""
    return reference if factor == 1 else np.repeat(np.repeat(reference, factor, axis=0), factor, axis=1)
