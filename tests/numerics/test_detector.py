"""Cameras frame by frame: events, counts, dense counts, integration; determinism, and what is refused."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace

import numpy as np
import pytest

from cryoframe.errors import InvalidInput
from cryoframe.numerics import camera_presets, detector, detector_integrating
from cryoframe.numerics import detector_response as response
from cryoframe.numerics.noise import generator

K2 = camera_presets.camera_named("k2")
CCD = camera_presets.camera_named("integrating_ccd")


def electrons(n, shape, rng):
    return np.column_stack([rng.random(n) * shape[0], rng.random(n) * shape[1], 0.5 + rng.random(n)]).astype(np.float32)


@pytest.mark.parametrize("neighbours", [0, 4, 8])
@pytest.mark.parametrize("cloud_sigma_px", [0.0, 0.15, 0.4])
def test_compiled_search_for_events__equals_the_plain_one(neighbours, cloud_sigma_px):
    camera = replace(K2, neighbours=neighbours, cloud_sigma_px=cloud_sigma_px)
    shape, rng = (150, 40), generator(1, neighbours)
    for n in (0, 1, 60, 300):
        found = electrons(n, shape, rng)
        # Whole stretches of rows stay empty, as in a beam stop's shadow.
        found[:, 0] = np.where(found[:, 0] > 70.0, found[:, 0], found[:, 0] * 0.3)
        plain = detector.generic_clusters(found, shape, camera)
        fast = detector.find_events(found, shape, camera)
        assert fast.shape == plain.shape
        assert np.abs(fast - plain).max(initial=0.0) < 1e-5


def test_single_electron__is_counted_in_its_own_quarter_of_a_pixel():
    rng, shape = generator(2), (600, 600)
    grid = np.stack(np.meshgrid(np.arange(10, 590, 12), np.arange(10, 590, 12)), axis=-1).reshape(-1, 2)
    place = rng.random(grid.shape)
    found = np.column_stack([grid + place, np.ones(len(grid))])
    events = detector.find_events(found, shape, camera_presets.camera_named("k2_super"))
    order = np.lexsort(np.floor(events).T)
    expected = np.lexsort(np.floor(found[:, :2]).T)
    assert len(events) == len(found)
    np.testing.assert_array_equal(np.floor(2 * events[order]), np.floor(2 * found[expected, :2]))


@pytest.mark.parametrize("name", ["k2", "k2_super"])
def test_dense_counts__have_the_mean_and_variance_of_events(name):
    camera = camera_presets.camera_named(name)
    curve = detector.coincidence_curve(camera, generator(3), highest_e_px=0.1, n_events=400_000)
    n_internal, rng = 20, generator(4)
    exposure_s = n_internal / camera.frame_rate_1_s
    bright = 0.5 + (np.arange(512) >= 256)[:, None] * np.ones(512)
    expected = (bright * n_internal * 0.04).astype(np.float32)
    events = detector.count_frame(expected, camera, rng, exposure_s=exposure_s)
    dense = detector.count_frame_densely(expected, camera, rng, exposure_s=exposure_s, curve=curve)
    assert events.shape == dense.shape == tuple(512 * camera.super_resolution for _ in range(2))
    # Away from the step, about which the spread changes rates.
    for rows in (slice(0, 180), slice(332, 512)):
        rows = slice(rows.start * camera.super_resolution, rows.stop * camera.super_resolution)
        a, b = events[rows].astype(float), dense[rows].astype(float)
        # Five standard errors of the difference of means of n counts, of their variance likewise; curve to 0.3 %.
        n, mean = a.size, a.mean()
        assert abs(a.mean() - b.mean()) < 5.0 * np.sqrt(2.0 * mean / n) + 0.004 * mean
        assert abs(a.var() - b.var()) < 5.0 * np.sqrt(2.0 * (mean + 2.0 * mean**2) / n) + 0.004 * mean


def test_gradient_of_light__is_followed_by_both_ways_of_counting():
    camera = replace(K2, spread=((1.0, 0.3),))
    ramp = np.linspace(0.0, 0.02, 512)[None, :] * np.ones((512, 1)) * 20
    curve = detector.coincidence_curve(camera, generator(5), highest_e_px=0.05)
    for count in (
        lambda: detector.count_frame(ramp, camera, generator(6), exposure_s=0.05),
        lambda: detector.count_frame_densely(ramp, camera, generator(6), exposure_s=0.05, curve=curve),
    ):
        profile = count().reshape(512, 16, 32).sum(axis=(0, 2))
        rate = ramp.reshape(512, 16, 32).mean(axis=(0, 2)) / 20 * camera.detection_frac
        expected = ramp.reshape(512, 16, 32).sum(axis=(0, 2)) * camera.detection_frac
        lost = response.coincidence_loss(rate, detector.merging_area_px(camera, generator(7)))
        assert (np.abs(profile - expected * (1 - lost)) < 5.0 * np.sqrt(expected) + 0.02 * expected).all()


def test_same_stream__gives_the_same_frame_on_any_number_of_threads():
    expected = generator(8).random((128, 96), dtype=np.float32)
    curve = detector.coincidence_curve(K2, generator(9), n_events=5000)

    def frames(i):
        return (
            detector.count_frame(expected, K2, generator(10, i), exposure_s=0.1),
            detector.count_frame_densely(expected, K2, generator(10, i), exposure_s=0.1, curve=curve),
            detector_integrating.integrate_frame(expected, CCD, generator(10, i)),
        )

    one_by_one = [frames(i) for i in range(6)]
    with ThreadPoolExecutor(3) as threads:
        together = list(threads.map(frames, reversed(range(6))))[::-1]
    for alone, beside in zip(one_by_one, together, strict=True):
        for a, b in zip(alone, beside, strict=True):
            np.testing.assert_array_equal(a, b)
    assert not np.array_equal(one_by_one[0][0], one_by_one[1][0])


def test_counted_image__is_the_sum_of_its_events_and_a_smaller_count_of_oversampled_light():
    expected = np.full((64, 80), 0.5, np.float32)
    counts = detector.count_frame(expected, K2, generator(11), exposure_s=0.1)
    events = np.concatenate(list(detector.counted_events(expected, K2, generator(11), exposure_s=0.1)))
    summed = np.zeros(counts.shape, int)
    np.add.at(summed, tuple(events.astype(int).T), 1)
    np.testing.assert_array_equal(counts, summed)
    fine = np.full((128, 160), 0.125, np.float32)
    other = detector.count_frame(fine, K2, generator(12), exposure_s=0.1, pixels_to_one=2)
    assert other.shape == counts.shape
    assert abs(int(other.sum()) - int(counts.sum())) < 5 * np.sqrt(2.0 * counts.sum())


def test_blur_of_counts__keeps_their_number_and_none_leaves_them():
    counts = generator(13).poisson(1.0, (64, 64)).astype(np.uint16)
    falcon = camera_presets.camera_named("falcon_4i")
    blurred = detector.render_counts(counts, falcon)
    # Mirrored at the edges, what leaves comes back.
    assert blurred.sum() == pytest.approx(counts.sum(), rel=1e-5)
    assert blurred.var() < 0.5 * counts.var()
    np.testing.assert_array_equal(detector.render_counts(counts, K2), counts)


@pytest.mark.parametrize("width_frac", [0.0, 0.3])
def test_integration__has_mean_gain_times_dose_and_noise_of_deposited_energy(width_frac):
    camera = replace(CCD, blur_sigma_px=0.0, energy_width_frac=width_frac, read_noise_grey=15.0)
    frame = detector_integrating.integrate_frame(np.full((400, 400), 6.0), camera, generator(14))
    excess = response.energy_excess(camera)
    variance = 6.0 * (1.0 + excess) * camera.gain_grey**2 + 15.0**2
    assert frame.mean() == pytest.approx(6.0 * camera.gain_grey, abs=5.0 * np.sqrt(variance) / 400)
    assert frame.var() == pytest.approx(variance, rel=0.03)
    assert excess == (camera.energy_variance if width_frac == 0.0 else pytest.approx(0.25, abs=0.2))


def test_landau_like_energies__are_most_often_one_and_have_a_long_tail():
    energy = response.energy_quantiles(0.2)
    counts, edges = np.histogram(energy, bins=np.arange(0.5, 4.0, 0.1))
    assert edges[counts.argmax()] == pytest.approx(0.95, abs=0.11)
    assert np.median(energy) > 1.0
    assert energy.max() > 3.0


def test_every_number_of_every_preset__has_its_source():
    default = {field.name: field.default for field in fields(camera_presets.Camera)}
    for camera in camera_presets.cameras().values():
        told = {name for key, _ in camera.sources for name in key.split(", ")}
        given = {name for name, value in default.items() if getattr(camera, name) != value}
        assert given - {"name", "counting", "sources"} <= told, camera.name
        assert all(text for text in dict(camera.sources).values())
        assert pickle.loads(pickle.dumps(camera)) == camera


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"spread": ((0.5, 1.0),)}, "sum to 1"),
        ({"detection_frac": 1.2}, "fraction"),
        ({"super_resolution": 3}, "super-resolution 3"),
        ({"super_resolution": 2, "neighbours": 0}, "joins pixels"),
        ({"neighbours": 6}, "0, 4 or 8"),
        ({"cloud_sigma_px": 2.0}, "0.6 px"),
    ],
)
def test_impossible_camera__is_refused(change, words):
    with pytest.raises(InvalidInput, match=words):
        replace(K2, **change)


def test_impossible_input__is_refused_and_named():
    flat, rng = np.ones((8, 8), np.float32), generator(15)
    curve = detector.CoincidenceCurve(np.array([0.0, 0.01]), np.array([0.0, 0.0095]))
    with pytest.raises(InvalidInput, match="k2, k2_super, k3"):
        camera_presets.camera_named("k4")
    with pytest.raises(InvalidInput, match="negative"):
        detector.count_frame(-flat, K2, rng, exposure_s=1.0)
    with pytest.raises(InvalidInput, match="divisible"):
        detector.count_frame(flat, K2, rng, exposure_s=1.0, pixels_to_one=3)
    with pytest.raises(InvalidInput, match="shape"):
        detector.count_frame(np.ones((2, 8, 8)), K2, rng, exposure_s=1.0)
    with pytest.raises(InvalidInput, match="integrates"):
        detector.count_frame(flat, CCD, rng, exposure_s=1.0)
    with pytest.raises(InvalidInput, match="counts"):
        detector_integrating.integrate_frame(flat, K2, rng)
    with pytest.raises(InvalidInput, match="time above 0"):
        detector.count_frame(flat, K2, rng, exposure_s=0.0)
    with pytest.raises(InvalidInput, match="where the coincidence curve ends"):
        detector.count_frame_densely(9 * flat, K2, rng, exposure_s=0.01, curve=curve)
    with pytest.raises(InvalidInput, match="area above 0"):
        response.coincidence_loss(0.1, 0.0)
    with pytest.raises(InvalidInput, match="y, x, energy"):
        detector.find_events(np.ones((3, 2)), (8, 8), K2)
