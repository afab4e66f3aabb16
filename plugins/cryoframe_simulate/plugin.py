"""simulate_movies ``physical``: a microscope and its camera; the arithmetic of frames is in ``numerics.scene_frames``.

Every effect has a switch in ``Params``; every draw has a stream of its own, named by seed and exposure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from cryoframe import (
    DefectMap,
    Exposure,
    GainReference,
    Movie,
    SimulatedMovie,
    Specimen,
    StageContext,
    hookimpl,
)
from cryoframe.numerics.backend import Reals
from cryoframe.numerics.motion_model import Motion, MotionModel, draw_motion
from cryoframe.numerics.scene import Effects, Scene
from cryoframe.numerics.scene_events import SceneEvents
from cryoframe.numerics.scene_frames import SceneFrames
from cryoframe_simulate.admission import admit
from cryoframe_simulate.instrument import (
    as_written,
    camera_of,
    lens_of,
    loss_of,
    microscope_of,
    optics_of,
    sensor_of,
)
from cryoframe_simulate.microscopes import Microscope
from cryoframe_simulate.params import Params as Params
from cryoframe_simulate.sample import Sample, draw_sample, groups_of
from cryoframe_simulate.source import SimulatedFrames
from cryoframe_simulate.streams import Streams
from cryoframe_simulate.surroundings import Surroundings, draw_surroundings
from cryoframe_simulate.thick import ThickFrames, check_size
from cryoframe_simulate.truth import exposure_truth

#: Cameras that write events.
_EVENT_CAMERAS = ("falcon_4i",)


@hookimpl
def simulate_movies(
    specimens: Sequence[Specimen], exposure: Exposure, params: Params, ctx: StageContext
) -> SimulatedMovie:
    """Draw what is in the exposure; its frames are made as they are read."""
    microscope, camera = microscope_of(params), camera_of(params)
    admit(specimens, exposure, camera)
    if params.multislice:
        check_size(specimens, exposure, params.slice_A)
    streams = Streams(ctx.seed, exposure.exposure_id)
    scene = _bare_scene(exposure, params, microscope, streams)
    ctx.report(0, 3, "particles")
    sample = draw_sample(specimens, exposure, params, streams)
    ctx.report(1, 3, "surroundings")
    surroundings = draw_surroundings(exposure, sample.film, sample.stage, params, streams)
    scene = replace(
        scene,
        film=sample.film,
        stage=sample.stage,
        particles=groups_of(specimens, sample, params),
        support=surroundings.potential,
        ice_amount=surroundings.ice_amount,
        support_path_A=surroundings.support_path_A,
    )
    ctx.report(2, 3, "truth")
    made = _movie(specimens, exposure, params, microscope=microscope, found=(scene, sample, surroundings))
    ctx.metric("particles", len(made.truth.particles))
    ctx.metric("recorded_e_px", made.truth.recorded_e_px, "1/px")
    ctx.report(3, 3, f"{len(made.truth.particles)} particles, {exposure.n_frames} frames")
    return made


def _bare_scene(exposure: Exposure, params: Params, microscope: Microscope, streams: Streams) -> Scene:
    """The exposure without specimen; it refuses what cannot be recorded."""
    camera = camera_of(params)
    edges = exposure.dose_per_frame_e_A2 * exposure.trouble.dose_factor * np.arange(exposure.n_frames + 1.0)
    angle = streams("jump").uniform(0.0, 2.0 * math.pi)
    jump_A = exposure.trouble.stage_jump_A
    return Scene(
        name=exposure.exposure_id,
        seed=streams.seed,
        shape=exposure.shape_px,
        pixel_size_A=exposure.pixel_size_A,
        dose_edges_e_A2=edges,
        frame_time_s=exposure.frame_time_s,
        sensor=sensor_of(exposure, params, camera),
        lens=lens_of(exposure, params, microscope),
        motion=_motion(exposure, params, microscope, edges=edges, streams=streams),
        stage_jump_A=(jump_A * math.cos(angle), jump_A * math.sin(angle)),
        stage_jump_frame=exposure.trouble.stage_jump_frame,
        charging_A3_e=exposure.trouble.charging_A3_e,
        defocus_drift_A=exposure.trouble.defocus_drift_A,
        temperature_K=params.temperature_K,
        loss=loss_of(exposure, microscope),
        effects=Effects(
            ice=params.ice_noise,
            ice_motion=params.ice_motion,
            damage=params.damage,
            blur=params.blur,
            inelastic=params.inelastic,
            coincidence=params.coincidence,
            gain=params.gain,
        ),
    )


def _motion(exposure: Exposure, params: Params, microscope: Microscope, *, edges: Reals, streams: Streams) -> Motion:
    """The specimen's motion; amplitudes that are switched off are 0, so that troubles move it all the same."""
    on = 1.0 if params.motion else 0.0
    model = MotionModel(
        drift_A_s=on * microscope.drift_A_s,
        dose_rate_e_A2_s=float(edges[1]) / exposure.frame_time_s,
        whole_early_A=on * params.whole_early_A,
        local_early_A=on * params.local_early_A,
        local_steady_A=on * params.local_steady_A,
        early_e_A2=params.early_e_A2,
        correlation_A=params.correlation_A,
        spread=params.motion_spread,
        jitter_A=on * params.jitter_A,
        dome_A=params.dome_A if params.doming else 0.0,
    )
    extent_y, extent_x = (n * exposure.pixel_size_A for n in exposure.shape_px)
    centre = (0.5 * extent_x + exposure.hole_offset_A[0], 0.5 * extent_y + exposure.hole_offset_A[1])
    return draw_motion(model, edges, rng=streams("motion"), hole_radius_A=exposure.hole_radius_A, centre_A=centre)


def _movie(
    specimens: Sequence[Specimen],
    exposure: Exposure,
    params: Params,
    *,
    microscope: Microscope,
    found: tuple[Scene, Sample, Surroundings],
) -> SimulatedMovie:
    scene, sample, surroundings = found
    frames = ThickFrames(scene, params.slice_A) if params.multislice else SceneFrames(scene)
    optics = optics_of(exposure, params, microscope)
    source = SimulatedFrames(frames, noiseless=not params.shot_noise)
    factor = source.shape_px[0] // exposure.shape_px[0]
    where = f"simulated {params.camera}, seed {params.camera_seed}"
    flat = np.ones(exposure.shape_px, dtype=np.float32) if scene.sensor.gain is None else scene.sensor.gain
    gain = GainReference(as_written(flat, factor), where)
    bad = np.zeros(exposure.shape_px, dtype=bool) if scene.sensor.defects is None else scene.sensor.defects.mask
    movie = Movie(
        movie_id=exposure.exposure_id,
        path="",
        n_frames=exposure.n_frames,
        shape_px=source.shape_px,
        pixel_size_A=exposure.pixel_size_A / factor,
        dose_per_frame_e_A2=exposure.dose_per_frame_e_A2,
        optics=optics,
        gain=gain,
        source=source,
    )
    truth = exposure_truth(
        specimens, exposure, params, optics=optics, sample=sample, surroundings=surroundings, frames=frames
    )
    events = SceneEvents(frames) if params.camera in _EVENT_CAMERAS else None
    raw_dtype = scene.sensor.raw_dtype if params.shot_noise else "float32"
    return SimulatedMovie(movie, truth, gain, DefectMap(as_written(bad, factor), where), raw_dtype, events)
