"""What a movie of a counting camera costs with every effect on, at a size that tests can afford."""

from __future__ import annotations

import resource
import time

import numpy as np
import pytest
from scene_world import FALCON, effects, patches, scene

from cryoframe.numerics.aberrations import Aberrations
from cryoframe.numerics.camera_faults import draw_defects, gain_reference
from cryoframe.numerics.ctf import Envelope
from cryoframe.numerics.ice import IceFilm
from cryoframe.numerics.lens import Lens
from cryoframe.numerics.motion_model import MotionModel, draw_motion
from cryoframe.numerics.noise import generator
from cryoframe.numerics.scene import FadingPatches, ParticleGroup, Sensor
from cryoframe.numerics.scene_events import SceneEvents
from cryoframe.numerics.scene_frames import SceneFrames


def full_scene(side: int, n_frames: int, n_particles: int, box: int):
    rng = generator(1)
    edges = np.linspace(0.0, float(n_frames), n_frames + 1)
    some = patches(8, box)
    parts = tuple(
        FadingPatches(lambda index, share=share: np.float32(share) * some[index % 8], lifetime, rate)
        for share, lifetime, rate in ((1.0, np.inf, 0.0), (0.02, 18.0, 2.0), (0.02, 15.0, 2.0), (0.02, 30.0, 1.5))
    )
    places = [rng.uniform(0.0, side, n_particles) for _ in range(2)]
    return scene(
        (side, side),
        camera=FALCON,
        on=effects("particles", "ice", "damage", "motion", "blur", "inelastic", "coincidence", "gain", "defects"),
        dose_edges_e_A2=edges,
        sensor=Sensor(FALCON, gain_reference((side, side), rng), draw_defects((side, side), rng)),
        lens=Lens(envelope=Envelope(50.0, 0.02), aberrations=Aberrations(beam_tilt_mrad=(0.1, 0.05))),
        film=IceFilm(300.0, ramp=(0.01, 0.0), rim_extra_A=200.0, hole_centre_A=(0.5 * side, 0.5 * side)),
        particles=(ParticleGroup(*places, rng.uniform(-120.0, 120.0, n_particles), parts),),
        motion=draw_motion(MotionModel(), edges, rng=rng, centre_A=(0.5 * side, 0.5 * side)),
    )


@pytest.mark.bench
def test_movie_of_a_counting_camera__in_processor_time_and_memory(figure):
    side, n_frames = 1024, 6
    warm = SceneFrames(full_scene(128, 1, 4, 32))
    warm.frame(0)
    SceneEvents(warm).read_events(0)
    made = full_scene(side, n_frames, 200 * side**2 // 4096**2, 256)
    start = time.process_time()
    frames = SceneFrames(made)
    first = frames.frame(0)
    begun = time.process_time()
    means = [first.mean(), *(frames.frame(index).mean() for index in range(1, n_frames))]
    a_frame = (time.process_time() - begun) / (n_frames - 1)
    begun_in = begun - start - a_frame
    figure("before the first frame [CPU-s]", f"{begun_in:.2f}")
    figure(f"a frame of {side}² [CPU-s]", f"{a_frame:.3f}")
    figure("40 frames of 4096² by area [CPU-s], to be at most 60", f"{16.0 * (begun_in + 40.0 * a_frame):.0f}")
    figure("peak memory of this process [GB]", f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f}")
    start = time.process_time()
    SceneEvents(frames).read_events(32 * (n_frames - 1))
    figure(f"events of a frame of {side}² [CPU-s]", f"{time.process_time() - start:.3f}")
    assert np.mean(means) == pytest.approx(frames.recorded_e_px, rel=0.02)
