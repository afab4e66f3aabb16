"""Scenes: what is refused, what is the same whoever asks, what each switch does, compiled loops against numpy."""

from __future__ import annotations

import pickle
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from multiprocessing import get_context

import numpy as np
import pytest
from scene_world import FALCON, K3, NOTHING, effects, group, patches, scene

from cryoframe.errors import InvalidInput
from cryoframe.numerics._numba import scene as kernels
from cryoframe.numerics.camera_faults import Defects, Pedestal, gain_reference
from cryoframe.numerics.camera_presets import camera_named
from cryoframe.numerics.fourier import add_irfft2, rfft2
from cryoframe.numerics.motion_model import MotionModel, blur_transfer, draw_motion
from cryoframe.numerics.noise import generator
from cryoframe.numerics.scene import FadingPatches, Loss, ParticleGroup, Sensor, stream_names
from cryoframe.numerics.scene_frames import SceneFrames
from cryoframe.numerics.scene_grid import SceneGrid, lattice_px, on_pixels

EDGES = np.linspace(0.0, 4.0, 5)
ALL = effects("particles", "ice", "damage", "motion", "blur", "inelastic", "coincidence", "gain", "defects")


def everything(**more: object):
    shape = (96, 128)
    dead = np.zeros(shape, dtype=np.bool_)
    dead[3, 5] = True
    defects = Defects(dead, np.array([[10, 11]]), np.array([40.0], np.float32))
    sensor = Sensor(K3, gain_reference(shape, generator(1)), defects, (60, 70, 4, 6))
    motion = draw_motion(MotionModel(correlation_A=300.0), EDGES, rng=generator(2))
    values = {"sensor": sensor, "motion": motion, "particles": (group([(40.0, 50.0, 20.0), (90.0, 30.0, -40.0)]),)}
    return scene(shape, on=ALL, stage_jump_A=(3.0, -2.0), stage_jump_frame=2, charging_A3_e=0.5, defocus_drift_A=100.0,
                 **(values | more))  # fmt: skip


def test_frames__are_the_same_in_any_order_in_copies_and_threads():
    made = everything()
    in_order = list(SceneFrames(made))
    again = SceneFrames(made)
    backwards = [again.frame(index) for index in reversed(range(4))][::-1]
    copy = pickle.loads(pickle.dumps(again))
    with ThreadPoolExecutor(3) as threads:
        together = list(threads.map(copy.frame, range(4)))
    for first, second, third in zip(in_order, backwards, together, strict=True):
        assert first.dtype == np.uint8
        np.testing.assert_array_equal(first, second)
        np.testing.assert_array_equal(first, third)
    assert not np.array_equal(in_order[0], in_order[1])


def test_another_process__makes_the_same_frame():
    frames = SceneFrames(everything())
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        elsewhere = process.submit(SceneFrames.frame, frames, 2).result()
    np.testing.assert_array_equal(elsewhere, frames.frame(2))


def test_another_name_or_seed__is_another_exposure():
    frames = [SceneFrames(made).frame(0) for made in (everything(), everything(name="b"), everything(seed=8))]
    assert not np.array_equal(frames[0], frames[1])
    assert not np.array_equal(frames[0], frames[2])
    # Pinned, so that sessions of the past can be made again.
    assert stream_names("exposure_1") == (1933433225, 201506358, 1423917756, 2060973596)


def test_dead_pixels_are_0_and_hot_ones_bright():
    frames = np.stack([frame.astype(int) for frame in SceneFrames(everything())])
    assert not frames[:, 3, 5].any()
    assert not frames[:, 60:64, 70:76].any()
    assert frames[:, 10, 11].min() > 15
    assert frames[:, 20:50].mean() == pytest.approx(SceneFrames(everything()).recorded_e_px, rel=0.03)


def test_patches_from_a_function__are_those_given_at_once():
    whole = patches(3)
    places = (np.array([30.0, 60.5, 100.2]), np.array([40.0, 80.0, 50.7]), np.array([0.0, 30.0, -50.0]))
    given = [ParticleGroup(*places, (FadingPatches(part),)) for part in (whole, lambda index: whole[index])]
    images = [SceneFrames(scene(on=effects("particles"), particles=(part,))).expected(0) for part in given]
    np.testing.assert_array_equal(images[0], images[1])
    # Two groups are the sum of each.
    halves = tuple(
        ParticleGroup(*(axis[some] for axis in places), (FadingPatches(whole[some]),))
        for some in (slice(0, 1), slice(1, 3))
    )
    split = SceneFrames(scene(on=effects("particles"), particles=halves)).expected(0)
    np.testing.assert_allclose(split, images[0], atol=1e-5)


def test_super_resolution__writes_twice_the_pixels_and_the_same_counts():
    camera = camera_named("k3_super")
    made = scene((128, 128), camera=camera, n_frames=2, dose_e_A2=4.0)
    frame = SceneFrames(made).frame(0)
    assert frame.shape == (256, 256) == SceneFrames(made).shape_px
    expected = 2.0 * camera.detection_frac
    assert frame.mean() * 4.0 == pytest.approx(expected, abs=5.0 * np.sqrt(expected / 128**2))


def test_integrating_camera__has_gain_times_electrons_over_its_pedestal():
    camera = camera_named("integrating_ccd")
    sensor = Sensor(camera, pedestal=Pedestal(100.0, 0.5, 1.0, 0.2), raw_dtype="float32")
    frames = SceneFrames(scene((128, 128), camera=camera, sensor=sensor, dose_e_A2=40.0))
    frame = frames.frame(3)
    assert frame.dtype == np.float32
    noise = np.sqrt(10.0 * 2.2) * camera.gain_grey / 128 + 1.0
    assert frame.mean() == pytest.approx(100.0 + 10.0 * camera.gain_grey, abs=5.0 * noise)
    np.testing.assert_array_equal(frame, SceneFrames(frames.scene).frame(3))
    with pytest.raises(InvalidInput, match="integrates"):
        frames.counts(0)


def test_counts__stop_at_the_largest_value_of_the_file():
    sensor = Sensor(K3, raw_dtype="uint8")
    bright = scene((32, 32), sensor=sensor, n_frames=1, dose_e_A2=400.0, frame_time_s=4.0)
    assert SceneFrames(bright).frame(0).min() == 255
    wide = SceneFrames(replace(bright, sensor=Sensor(K3, raw_dtype="uint16"))).frame(0)
    assert wide.mean() == pytest.approx(348.0, abs=5.0 * np.sqrt(348.0) / 32)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"shape": (5000, 128)}, "does not fit on camera k3"),
        ({"shape": (0, 128)}, "0 × 128"),
        ({"dose_edges_e_A2": np.array([0.0, 1.0, 1.0])}, "rising"),
        ({"dose_edges_e_A2": np.array([0.0, np.nan])}, "rising"),
        ({"dose_edges_e_A2": np.array([0.0, 5000.0])}, "1000"),
        ({"pixel_size_A": float("nan")}, "nan Å"),
        ({"frame_time_s": 0.0}, "above 0"),
        ({"temperature_K": float("inf")}, "finite"),
        ({"defocus_drift_A": float("nan")}, "finite"),
        ({"support": np.zeros((3, 3), np.float32)}, "support"),
        ({"ice_amount": np.full((128, 160), -1.0, np.float32)}, "negative"),
        ({"stage_jump_frame": 9}, "frame 9"),
        ({"sensor": Sensor(K3, raw_dtype="float32")}, "float32"),
        ({"sensor": Sensor(K3, gain=np.ones((3, 3), np.float32))}, "gain of shape"),
        ({"sensor": Sensor(K3, gain=np.zeros((128, 160), np.float32))}, "above 0"),
        ({"sensor": Sensor(K3, dead_block_px=(100, 0, 60, 4))}, "dead block"),
        ({"particles": (group([(float("nan"), 0.0, 0.0)]),)}, "finite place"),
        ({"particles": (ParticleGroup(*np.zeros((3, 2)), (FadingPatches(patches(1)),)),)}, "for 2 particles"),
        ({"particles": (group([(0.0, 0.0, 0.0)], lifetime_e_A2=-1.0),)}, "lifetime of -1"),
        ({"loss": Loss(passed_frac=1.5)}, "1.5"),
        ({"motion": draw_motion(MotionModel(), [0.0, 1.0], rng=generator(1))}, "other frames"),
    ],
)
def test_what_cannot_be_recorded__is_refused_before_anything_is_made(change, words):
    with pytest.raises(InvalidInput, match=words):
        replace(scene(), **change)


def test_a_flood_of_electrons_and_frames_that_are_not_there__are_refused():
    with pytest.raises(InvalidInput, match="counts next to nothing"):
        SceneFrames(scene(n_frames=1, dose_e_A2=900.0, frame_time_s=0.01))
    with pytest.raises(InvalidInput, match="frame 4"):
        SceneFrames(scene()).frame(4)
    with pytest.raises(InvalidInput, match="120"):
        replace(
            scene(on=effects("damage"), particles=(group([(0.0, 0.0, 0.0)]),)),
            lens=replace(scene().lens, voltage_kV=120.0),
        )


def test_smooth_maps__are_linear_between_their_places():
    coarse = 3.0 + 0.1 * lattice_px(100)[:, None] - 0.2 * lattice_px(70)[None, :]
    y, x = np.indices((100, 70))
    np.testing.assert_allclose(on_pixels(coarse, (100, 70)), 3.0 + 0.1 * y - 0.2 * x, atol=1e-5)


def test_inverse_transform_in_place__adds_the_weighted_image():
    image, weight = (generator(3, i).standard_normal((150, 70), dtype=np.float32) for i in range(2))
    total = np.ones_like(image)
    add_irfft2(total, rfft2(image), weight=lambda rows: weight[rows])
    add_irfft2(total, rfft2(image), weight=lambda rows: 0.0 * weight[rows])
    np.testing.assert_allclose(total, 1.0 + image * weight, atol=1e-5)


def test_compiled_loops__do_what_they_say():
    grid = SceneGrid((24, 30), 1.3, margin_px=2)
    rng = np.random.default_rng(4)
    a, b = (rng.standard_normal((2, *grid.half)).astype(np.float32) @ np.eye(grid.half[1], dtype=np.float32)
            for _ in range(2))  # fmt: skip
    ft = (a[0] + 1j * a[1]).astype(np.complex64)
    k = np.hypot(grid.kx[None, :].astype(float), grid.ky[:, None].astype(float))
    left = np.exp(-grid.radial_1_A).astype(np.float32)
    for loop in (kernels.add_part, kernels.add_part.py_func):
        total = np.zeros(grid.half, np.complex64)
        loop(total, ft, 2 * ft, b[0], b[1], grid.kx, grid.ky, left, np.float32(grid.scale_A))
        np.testing.assert_allclose(total, np.exp(-k) * (b[0] + 2.0 * b[1]) * ft, atol=2e-3)
        total = np.zeros(grid.half, np.complex64)
        loop(total, ft, ft[:0], b[0], b[1], grid.kx, grid.ky, left, np.float32(grid.scale_A))
        np.testing.assert_allclose(total, np.exp(-k) * b[0] * ft, atol=1e-3)
    ramp_x, ramp_y = grid.ramps(np.array([2.6, -1.3]))
    blur = blur_transfer(grid.kx[None, :], grid.ky[:, None], [3.0, -2.0])
    for loop in (kernels.move, kernels.move.py_func):
        moved = ft.copy()
        loop(moved, ramp_x, ramp_y, grid.kx, grid.ky, np.float32(3.0), np.float32(-2.0))
        np.testing.assert_allclose(moved, ft * ramp_x * ramp_y[:, None] * blur, atol=1e-4)
    for loop in (kernels.product, kernels.product.py_func):
        np.testing.assert_allclose(loop(np.empty_like(ft), ft, b[0]), ft * b[0], atol=1e-6)
    for loop in (kernels.add_product, kernels.add_product.py_func):
        total = ft.copy()
        loop(total, ft, b[0])
        np.testing.assert_allclose(total, ft * (1.0 + b[0]), atol=1e-5)


def test_without_any_effect__a_frame_is_flat_poisson():
    made = scene((256, 256), camera=FALCON, on=NOTHING, n_frames=1, dose_e_A2=3.0)
    counts = SceneFrames(made).frame(0).astype(float)
    mean = 3.0 * FALCON.detection_frac
    # Standard errors of mean and variance of Poisson counts; finite trials take 1/64 of the rate off.
    assert counts.mean() == pytest.approx(mean, abs=5.0 * np.sqrt(mean) / 256)
    assert counts.var() == pytest.approx(mean, abs=5.0 * np.sqrt(mean + 2.0 * mean**2) / 256 + 0.002 * mean)
