"""What is true of an exposure: tables and maps of what a scene was made of; nothing is measured on frames."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cryoframe import Exposure, ExposureTruth, MotionTable, Optics, ParticleTable, Specimen
from cryoframe.data.ids import particle_id
from cryoframe.numerics.backend import F32, Reals
from cryoframe.numerics.field import beam_path_A
from cryoframe.numerics.ice import zero_loss_frac
from cryoframe.numerics.lens import phase_per_potential_A
from cryoframe.numerics.scene import Scene
from cryoframe.numerics.scene_frames import SceneFrames
from cryoframe_simulate.instrument import magnification_of
from cryoframe_simulate.params import Params
from cryoframe_simulate.sample import Sample
from cryoframe_simulate.surroundings import CARBON, CONTAMINATION, CRYSTAL, Surroundings, in_hole

#: Names the truth where pickers name themselves.
PICKER = "truth"


def file_offset_A(scene: Scene) -> float:
    """What a place counted from the centre of the sensor's pixel [0, 0] gains, counted from that of the file's."""
    factor = scene.sensor.camera.super_resolution
    return 0.5 * (1.0 - 1.0 / factor) * scene.pixel_size_A


def particle_table(specimens: Sequence[Specimen], exposure: Exposure, sample: Sample, scene: Scene) -> ParticleTable:
    """Return the particles whose centres lie in the field in the first frame; see ``ExposureTruth`` for the columns."""
    field, offset = sample.field, file_offset_A(scene)
    first = scene.displacement_A(field.x_A, field.y_A)[:, 0]
    x, y = field.x_A + first[:, 0] + offset, field.y_A + first[:, 1] + offset
    ny, nx = exposure.shape_px
    rows = np.flatnonzero(
        (x >= 0.0) & (y >= 0.0) & (x <= (nx - 1) * scene.pixel_size_A) & (y <= (ny - 1) * scene.pixel_size_A)
    )
    n, name = len(rows), exposure.exposure_id
    kinds = [specimens[kind] for kind in field.species[rows]]
    x_A, y_A, z_A = x[rows].astype(np.float32), y[rows].astype(np.float32), field.z_A[rows]
    change_A = mean_defocus_change_A(scene)
    columns: dict[str, npt.ArrayLike] = {
        "particle_id": np.array(
            [particle_id(name, float(a), float(b), PICKER) for a, b in zip(x_A, y_A, strict=True)], dtype=np.uint64
        ),
        "micrograph_id": [name] * n,
        "optics_group": [exposure.optics_group] * n,
        "half": np.zeros(n, dtype=np.uint8),
        "x_A": x_A,
        "y_A": y_A,
        "defocus_u_A": _floats(exposure.defocus_u_A + change_A + z_A),
        "defocus_v_A": _floats(exposure.defocus_v_A + change_A + z_A),
        "defocus_angle_deg": np.full(n, exposure.defocus_angle_deg, dtype=np.float32),
        "phase_shift_deg": np.full(n, exposure.phase_shift_deg, dtype=np.float32),
        "rot_deg": _floats(field.rot_deg[rows]),
        "tilt_deg": _floats(field.tilt_deg[rows]),
        "psi_deg": _floats(field.psi_deg[rows]),
        "shift_x_A": np.zeros(n, dtype=np.float32),
        "shift_y_A": np.zeros(n, dtype=np.float32),
        "z_A": _floats(z_A),
        "species": [kind.name for kind in kinds],
        "conformation_frac": np.array([kind.conformation for kind in kinds], dtype=np.float32),
        "truth_class": [kind.truth_class for kind in kinds],
    }
    return ParticleTable.from_columns(columns)


def mean_defocus_change_A(scene: Scene) -> float:
    """What drift and doming add to the defocus, mean over the movie: each frame counts by its exposure."""
    return float(np.average(scene.defocus_change_A(), weights=scene.incident_e_px()))


def motion_table(scene: Scene, n_places: int) -> MotionTable:
    """Return the shifts that undo the motion against the first frame: at the centre (NaN patch), and on a grid."""
    extent_y, extent_x = scene.extent_A
    parts = (np.arange(n_places) + 0.5) / n_places
    grid_y, grid_x = (part.ravel() for part in np.meshgrid(parts * extent_y, parts * extent_x, indexing="ij"))
    x = np.concatenate([[0.5 * extent_x], grid_x])
    y = np.concatenate([[0.5 * extent_y], grid_y])
    path = scene.displacement_A(x, y)
    undone = path[:, :1] - path
    frames = np.arange(scene.n_frames, dtype=np.int32)
    offset = file_offset_A(scene)
    patch_x, patch_y = x + offset, y + offset
    patch_x[0] = patch_y[0] = np.nan
    return MotionTable.from_columns(
        {
            "frame": np.tile(frames, len(x)),
            "patch_x_A": _floats(np.repeat(patch_x, len(frames))),
            "patch_y_A": _floats(np.repeat(patch_y, len(frames))),
            "shift_x_A": _floats(undone[..., 0].ravel()),
            "shift_y_A": _floats(undone[..., 1].ravel()),
        }
    )


def mean_contrast(specimens: Sequence[Specimen], sample: Sample, scene: Scene) -> float:
    """Mean of I/I₀ − 1 over the field: what amplitude contrast takes from the beam, −2·γλ·w times the mean potential.

    That of carbon is left to energy loss, where this is on. Particles across the edges of the field are taken as wholly
    in where their centres are.
    """
    field, (extent_y, extent_x) = sample.field, scene.extent_A
    inside = (field.x_A >= 0.0) & (field.y_A >= 0.0) & (field.x_A < extent_x) & (field.y_A < extent_y)
    total_A = 0.0
    for kind, specimen in enumerate(specimens):
        n = int(np.count_nonzero(inside & (field.species == kind)))
        for volume in (specimen.volume, *(part.volume for part in specimen.fading)) if n else ():
            total_A += n * float(volume.data.sum(dtype=np.float64)) * volume.pixel_size_A**3
    mean_1_A = total_A / (extent_y * extent_x)
    if scene.support is not None:
        mean_1_A += float(scene.support.mean(dtype=np.float64))
    taken = -2.0 * phase_per_potential_A(scene.lens.voltage_kV) * scene.lens.amplitude_contrast * mean_1_A
    back = scene.counted_twice()
    return taken if back is None else taken + float(back.mean(dtype=np.float64))


def exposure_truth(
    specimens: Sequence[Specimen],
    exposure: Exposure,
    params: Params,
    *,
    optics: Optics,
    sample: Sample,
    surroundings: Surroundings,
    frames: SceneFrames,
) -> ExposureTruth:
    """Gather what is true of an exposure."""
    scene = frames.scene
    contrast = mean_contrast(specimens, sample, scene)
    thickness, support = _maps(exposure, sample, surroundings, scene, params)
    return ExposureTruth(
        exposure=exposure,
        optics=optics,
        particles=particle_table(specimens, exposure, sample, scene),
        motion=motion_table(scene, params.n_motion_places),
        ice_thickness_A=thickness,
        support=support,
        grid_A=params.grid_A,
        zero_loss_frac=_zero_loss(thickness, scene, params),
        incident_e_px=float(scene.incident_e_px().mean()),
        recorded_e_px=frames.recorded_e_px * (math.exp(contrast) if params.multislice else 1.0 + contrast),
        coincidence_loss_frac=frames.coincidence_loss_frac,
        magnification=magnification_of(params),
        seed=scene.seed,
        defocus_change_A=mean_defocus_change_A(scene),
    )


def _zero_loss(thickness_A: F32, scene: Scene, params: Params) -> float:
    """Mean share of the electrons that lose no energy in ice and carbon, by the middles of the truth's squares."""
    if not params.inelastic:
        return 1.0
    left = zero_loss_frac(thickness_A, scene.loss.mean_free_path_A)
    if scene.support_path_A is not None:
        carbon_A = scene.support_path_A[_pixels(scene, params)]
        left = left * zero_loss_frac(carbon_A, scene.loss.support_mean_free_path_A)
    return float(left.mean())


def _squares_A(scene: Scene, params: Params) -> tuple[Reals, Reals]:
    """Middles (y, x) of squares of `grid_A`."""
    y, x = (
        (np.arange(max(1, round(extent / params.grid_A)), dtype=np.float64) + 0.5) * params.grid_A
        for extent in scene.extent_A
    )
    return y, x


def _pixels(scene: Scene, params: Params) -> tuple[npt.NDArray[np.intp], ...]:
    """Index of the pixels at the middles of the squares."""
    return np.ix_(
        *(
            np.minimum((places / scene.pixel_size_A).astype(int), n - 1)
            for places, n in zip(_squares_A(scene, params), scene.shape, strict=True)
        )
    )


def _maps(
    exposure: Exposure, sample: Sample, surroundings: Surroundings, scene: Scene, params: Params
) -> tuple[F32, F32]:
    """Thickness of the ice along the beam and what else is there, at the middles of squares of `grid_A`."""
    y, x = _squares_A(scene, params)
    thickness = beam_path_A(sample.film, x[None, :], y[:, None], scene.extent_A, sample.stage)
    support = np.zeros(thickness.shape, dtype=np.float32)
    if params.support and params.support_thickness_A > 0.0:
        support[~in_hole(x[None, :], y[:, None], sample.film, sample.stage, exposure)] = CARBON
    at = _pixels(scene, params)
    for where, value in ((surroundings.crystals, CRYSTAL), (surroundings.contamination, CONTAMINATION)):
        if where is not None:
            support[where[at]] = value
    return thickness.astype(np.float32), support


def _floats(values: Reals) -> F32:
    return np.asarray(values, dtype=np.float32)
