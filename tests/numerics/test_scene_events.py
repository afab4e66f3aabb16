"""Events of scenes: they add up to the frames, lie evenly, never twice in one place; counts by look-up."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from scene_world import FALCON, effects, group, scene

from cryoframe.data.twin import EventSource
from cryoframe.errors import InvalidInput
from cryoframe.numerics import detector_thinning as thinning
from cryoframe.numerics._numba import detector_thinning as kernels
from cryoframe.numerics.camera_faults import Defects, gain_reference
from cryoframe.numerics.camera_presets import camera_named
from cryoframe.numerics.noise import generator
from cryoframe.numerics.scene import Sensor
from cryoframe.numerics.scene_events import SceneEvents
from cryoframe.numerics.scene_frames import SceneFrames

SHAPE = (96, 128)


def source(**more: object) -> SceneEvents:
    hot = Defects(np.zeros(SHAPE, np.bool_), np.array([[4, 5]]), np.array([1000.0], np.float32))
    sensor = Sensor(FALCON, gain_reference(SHAPE, generator(1)), hot)
    values = {"sensor": sensor, "n_frames": 3, "dose_e_A2": 6.0, "particles": (group([(50.0, 40.0, 0.0)]),)}
    on = effects("particles", "ice", "coincidence", "gain", "defects")
    return SceneEvents(SceneFrames(scene(SHAPE, camera=FALCON, on=on, **(values | more))))


def test_events__add_up_to_the_frames_and_none_is_twice_in_a_pixel():
    events = source()
    assert isinstance(events, EventSource)
    assert events.shape_px == SHAPE
    assert events.n_internal_frames == 3 * 32
    for frame in range(3):
        summed = np.zeros(SHAPE, int)
        for internal in range(32):
            found = events.read_events(32 * frame + internal)
            assert found.dtype == np.int32
            pixel = found[:, 0] // 4 * SHAPE[1] + found[:, 1] // 4
            # Pixel by pixel, row by row, each once: rising.
            assert (np.diff(pixel) > 0).all()
            summed.ravel()[pixel] += 1
        np.testing.assert_array_equal(summed, events.frames.counts(frame))
        np.testing.assert_array_equal(summed, events.frames.frame(frame))
    # A hot pixel counts once in each internal frame, never more.
    assert summed[4, 5] == 32


def test_events__lie_evenly_over_quarters_and_internal_frames():
    events = source(dose_e_A2=60.0, frame_time_s=1.0)
    per_frame = [events.read_events(index) for index in range(320)]
    every = np.concatenate(per_frame)
    quarters = np.bincount((every[:, 0] % 4) * 4 + every[:, 1] % 4, minlength=16)
    n = len(every) / 16
    # χ² of 15 degrees of freedom: mean 15, standard deviation √30.
    assert np.sum((quarters - n) ** 2 / n) < 15.0 + 5.0 * np.sqrt(30.0)
    sizes = np.array([len(found) for found in per_frame])
    # Chances are alike in all internal frames; binomial pixels make the sum over them a little less than Poisson.
    assert np.sum((sizes - sizes.mean()) ** 2 / sizes.mean()) < 319.0 + 5.0 * np.sqrt(638.0)
    assert n > 10_000


def test_events__are_the_same_in_any_order_and_in_copies():
    events, again = source(), pickle.loads(pickle.dumps(source()))
    for index in (70, 3, 40, 3):
        np.testing.assert_array_equal(events.read_events(index), again.read_events(index))
    assert not np.array_equal(events.read_events(3), events.read_events(4))


def test_without_coincidence__events_still_add_up():
    on = effects("particles")
    made = scene(SHAPE, camera=FALCON, on=on, n_frames=1, dose_e_A2=3.0, frame_time_s=1.0 / 80.0)
    events = SceneEvents(SceneFrames(made))
    summed = np.zeros(SHAPE, int)
    for index in range(events.n_internal_frames):
        found = events.read_events(index) // 4
        np.add.at(summed, tuple(found.T), 1)
    np.testing.assert_array_equal(summed, events.frames.counts(0))
    # More electrons than internal frames: some pixels count twice in one.
    assert summed.max() > events.n_internal_frames


def test_what_has_no_events__is_refused():
    with pytest.raises(InvalidInput, match="integrates"):
        SceneEvents(SceneFrames(scene(camera=camera_named("integrating_ccd"))))
    with pytest.raises(InvalidInput, match="own pixels"):
        SceneEvents(SceneFrames(scene(camera=camera_named("k3_super"))))
    with pytest.raises(InvalidInput, match="internal frame 96"):
        source().read_events(96)
    with pytest.raises(InvalidInput, match="counts 9 in 4"):
        thinning.events_of_counts(np.full((2, 2), 9, np.uint16), 4, np.uint64(1), distinct=True)


@pytest.mark.parametrize(("mean", "n_trials"), [(0.0, 32), (0.05, 4), (1.3, 32), (40.0, 150), (40.0, 4000), (3.99, 4)])
def test_counts__are_binomial(mean, n_trials):
    p = mean / n_trials
    chances = thinning.EventChances(np.full((600, 500), p, np.float32), n_trials, p * 0.9, min(p * 1.1, 1.0))
    counts = thinning.draw_counts(chances, np.uint64(11)).astype(float)
    variance, n = mean * (1.0 - p), counts.size
    assert counts.mean() == pytest.approx(mean, abs=5.0 * np.sqrt(variance / n) + 1e-7)
    fourth = 2.0 * variance**2 + variance
    assert counts.var() == pytest.approx(variance, abs=5.0 * np.sqrt(fourth / n) + 1e-7)
    assert counts.max() <= n_trials


def test_chances_between_levels__keep_the_mean():
    p = np.linspace(0.001, 0.05, 1000, dtype=np.float32) * np.ones((2000, 1), np.float32)
    counts = thinning.draw_counts(thinning.EventChances(p, 40, 0.001, 0.05), np.uint64(5))
    profile = counts.mean(axis=0).reshape(50, 20).mean(axis=1)
    expected = 40.0 * p[0].reshape(50, 20).mean(axis=1)
    np.testing.assert_allclose(profile, expected, atol=5.0 * np.sqrt(expected.max() / 40_000))


def test_compiled_loops__equal_the_python_they_are_made_from():
    p = np.linspace(0.01, 0.3, 30, dtype=np.float32).reshape(5, 6)
    expected, share = 10.0 * p, np.array([1.0, 0.9, 0.7])
    gain = np.full_like(p, 0.5)
    found = []
    for python in (False, True):
        run = {name: getattr(getattr(kernels, name), "py_func" if python else "__call__") for name in
               ("chances", "binomial_tables", "draw", "count_internal", "place_events")}  # fmt: skip
        out = np.empty_like(p)
        limits = run["chances"](out, expected, gain, share, 1.0, 4)
        below, guide = np.empty((8, 5), np.uint32), np.empty((8, 1 << kernels.GUIDE_BITS), np.uint16)
        run["binomial_tables"](np.linspace(*limits, 8), 4, below, guide)
        counts = np.empty((10, 12), np.uint16)
        scale = np.float32(7.0 / (limits[1] - limits[0]))
        with np.errstate(over="ignore"):
            run["draw"](counts, out, np.float32(limits[0]), scale, below, guide, np.uint64(3), 2)
        found.append((out, below.astype(float), guide, counts))
    rate = expected / 4.0
    np.testing.assert_allclose(found[0][0], 0.5 * rate * np.interp(rate, [0.0, 0.5, 1.0], share), rtol=1e-5)
    for compiled, python in zip(*found, strict=True):
        np.testing.assert_allclose(compiled, python, atol=2.0)
    np.testing.assert_array_equal(found[0][3], found[1][3])
