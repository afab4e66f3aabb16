"""Simulated cameras against closed forms and published curves: MTF, noise, DQE, coincidence loss."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from cryoframe.numerics import camera_presets, detector, detector_integrating, dqe
from cryoframe.numerics import detector_response as response
from cryoframe.numerics.noise import generator

MODERN = ["k3", "k3_super", "falcon_4i"]
#: Detected electrons a pixel and internal frame at which less than one in a hundred is lost.
RARE = 1e-3


def flats(camera, rng, *, n=4, side=1024, n_internal=40, rate=RARE):
    """Rendered flat fields, and the electrons that fell on a pixel of the output."""
    dose = rate * n_internal / camera.detection_frac
    expected = np.full((side, side), dose, np.float32)
    exposure_s = n_internal / camera.frame_rate_1_s
    counted = [detector.count_frame(expected, camera, rng, exposure_s=exposure_s) for _ in range(n)]
    return np.stack([detector.render_counts(c, camera) for c in counted]), dose / camera.super_resolution**2


def line_transfer(camera, frequency_1_px, rng, n_events=300_000):
    """MTF by events from lines of one fine pixel: |mean of exp(−2πiky)| over the transfer of that pixel."""
    fine, n_lines, apart, nx = 8, 8, 16, 2048
    # Each line lies at another place within its pixel: sampling is averaged out.
    rows = (np.arange(n_lines) * apart + apart // 2) * fine + np.arange(n_lines)
    expected = np.zeros((n_lines * apart * fine, nx * fine), np.float32)
    expected[rows] = n_events / (nx * fine * n_lines) / camera.detection_frac
    n_internal = round(n_events / (RARE * nx * n_lines))
    events = detector.counted_events(
        expected, camera, rng, exposure_s=n_internal / camera.frame_rate_1_s, pixels_to_one=fine
    )
    y = np.concatenate([centres[:, 0] for centres in events]).astype(np.float64)
    factor = camera.super_resolution
    recorded = (np.floor(y * factor) + 0.5) / factor
    away = recorded - (rows[(recorded / apart).astype(int)] + 0.5) / fine
    phases = np.exp(-2j * np.pi * np.asarray(frequency_1_px)[:, None] * away[None, :])
    return np.abs(phases.mean(axis=1)) / np.sinc(np.asarray(frequency_1_px) / fine), y.size


@pytest.mark.parametrize("name", ["k2", "k2_super", "k3", "k3_super"])
def test_line_of_events__has_the_mtf_of_theory(name):
    camera = replace(camera_presets.camera_named(name), spread=((0.8, 0.25), (0.2, 0.8)))
    k = np.array([0.1, 0.25, 0.5])
    measured, n = line_transfer(camera, k, generator(11, 1))
    assert n > 100_000
    # Five standard errors of a mean phase, and what 1 % of coincidences can move.
    assert np.abs(measured - response.mtf(camera, k)).max() < 5.0 / math.sqrt(n) + 0.004


@pytest.mark.parametrize("name", MODERN)
def test_knife_edge_and_flat_field__give_the_dqe_of_the_preset(name, figure):
    """Counted event by event; more than 0.6 at half Nyquist (McMullan et al. 2014, doi 10.1016/j.ultramic.2014.08.002
    for the method)."""
    camera = camera_presets.camera_named(name)
    rng = generator(12, MODERN.index(name))
    fine, rows, columns, n_internal = 8, 4096, 56, 60_000
    factor = camera.super_resolution
    dose = RARE * n_internal / camera.detection_frac
    # Fine pixels hold their light evenly before it spreads: eight to a pixel take 0.3 % of the MTF, two took 3 %.
    edge = dqe.slanted_edge((rows * fine, columns * fine), slope=0.002, n_sub=1).T * np.float32(dose / fine**2)
    exposure_s = n_internal / camera.frame_rate_1_s
    image = detector.count_frame(edge, camera, rng, exposure_s=exposure_s, pixels_to_one=fine).T
    frames, dose_flat = flats(camera, rng)
    noise = dqe.noise_power(frames)
    bright = noise.mean_grey / dose_flat * dose / factor**2
    # Half Nyquist of the sensor, in pixels of the output; the blur is applied to what was counted.
    k = np.array([0.25 / factor])
    curve = dqe.knife_edge_mtf(image, k, levels_grey=(bright, 0.0), reach_px=22 * factor)
    curve *= response.blur_transfer(camera, np.array([0.25]))
    power = np.interp(k, noise.frequency_1_px, noise.power_grey2)
    at_half = float((noise.mean_grey**2 * curve**2 / (dose_flat * power))[0])
    at_zero = noise.mean_grey**2 / (dose_flat * noise.power_grey2[0])
    figure(f"{name}: DQE(0) and at half Nyquist", f"{at_zero:.3f}, {at_half:.3f}")
    assert at_zero == pytest.approx(response.zero_dqe(camera), rel=0.03)
    assert at_half == pytest.approx(float(response.dqe(camera, np.array([0.25]))[0]), rel=0.03)
    assert at_half > 0.6


@pytest.mark.parametrize("name", ["k2", "k2_super", "falcon_3"])
def test_flat_field__gives_dqe_at_zero_and_noise_power_of_the_preset(name):
    camera = camera_presets.camera_named(name)
    frames, dose = flats(camera, generator(13, 1))
    noise = dqe.noise_power(frames)
    assert noise.mean_grey**2 / (dose * noise.power_grey2[0]) == pytest.approx(response.zero_dqe(camera), rel=0.03)
    expected = response.nnps(camera, noise.frequency_1_px * camera.super_resolution)
    # Shells beyond the eighth average 10 000 samples and more; the value at zero, to which they are held, has 0.01.
    assert np.abs(noise.nnps - expected)[8:].max() < 0.04


def test_integrating_camera__has_its_dqe_below_0_3_at_half_nyquist(figure):
    camera = camera_presets.camera_named("integrating_ccd")
    rng, dose, half = generator(14), 20.0, np.array([0.25])
    frames = np.stack(
        [detector_integrating.integrate_frame(np.full((1024, 1024), dose), camera, rng) for _ in range(3)]
    )
    noise = dqe.noise_power(frames)
    edge = dqe.slanted_edge((2048, 256), slope=0.03) * np.float32(2000.0)
    image = detector_integrating.integrate_frame(edge, camera, rng)
    curve = dqe.knife_edge_mtf(image, noise.frequency_1_px, reach_px=40)
    # The edge is that of whole pixels already, so that it carries their transfer.
    assert np.abs(curve - response.mtf(camera, noise.frequency_1_px)).max() < 0.02
    measured = dqe.measured_dqe(curve, noise, dose)
    at_half = float(np.interp(half, noise.frequency_1_px, measured)[0])
    figure("integrating: DQE(0) and at half Nyquist", f"{measured[0]:.3f}, {at_half:.3f}")
    assert measured[0] == pytest.approx(float(response.dqe(camera, np.zeros(1), dose_e_px=dose)[0]), rel=0.03)
    assert at_half == pytest.approx(float(response.dqe(camera, half, dose_e_px=dose)[0]), rel=0.06)
    assert at_half < 0.3
    theory = response.nnps(camera, noise.frequency_1_px, dose_e_px=dose)
    assert np.abs(noise.nnps - theory)[8:].max() < 0.03


def test_pixels_that_count_for_themselves__lose_as_poisson_says():
    """Li et al. 2013, doi 10.1038/nmeth.2472: of n electrons 1 − exp(−n) are counted; exact for a = 1."""
    camera = replace(
        camera_presets.camera_named("k2"), neighbours=0, cloud_sigma_px=0.0, spread=((1.0, 0.0),), detection_frac=1.0
    )
    for rate in (0.02, 0.25, 1.0):
        expected = np.full((512, 512), 20 * rate, np.float32)
        counts = detector.count_frame(expected, camera, generator(15), exposure_s=20 / camera.frame_rate_1_s)
        p = 1.0 - math.exp(-rate)
        n_trials = counts.size * 20
        assert abs(counts.sum() / n_trials - p) < 5.0 * math.sqrt(p * (1.0 - p) / n_trials)
        assert 1.0 - p / rate == pytest.approx(float(response.coincidence_loss(rate, 1.0)), rel=1e-9)
        assert counts.var() == pytest.approx(20 * p * (1 - p), rel=0.02)


@pytest.mark.parametrize(("neighbours", "area_px"), [(0, 1.0), (4, 5.0), (8, 9.0)])
def test_merging_area_without_charge_cloud__is_the_number_of_joining_pixels(neighbours, area_px):
    camera = replace(camera_presets.camera_named("k2"), neighbours=neighbours, cloud_sigma_px=0.0)
    n = 60_000
    p = area_px / 81.0
    found = detector.merging_area_px(camera, generator(16), n_pairs=n)
    assert abs(found - area_px) < 5.0 * 81.0 * math.sqrt(p * (1 - p) / n)


@pytest.mark.parametrize("name", ["k2", "k3", "falcon_4i"])
def test_coincidence_loss__is_the_pixel_counting_result_while_groups_are_pairs(name, figure):
    camera = camera_presets.camera_named(name)
    area = detector.merging_area_px(camera, generator(17))
    curve = detector.coincidence_curve(camera, generator(18), highest_e_px=0.3, n_events=100_000)
    lost = 1.0 - curve.counted_px[1:] / curve.detected_e_px[1:]
    theory = response.coincidence_loss(curve.detected_e_px[1:], area)
    few = curve.detected_e_px[1:] * area < 0.8
    figure(f"{name}: an event takes [px]", round(area, 1))
    figure(f"{name}: loss, event by event", str(lost.round(3)))
    figure(f"{name}: loss, pixel counting", str(theory.round(3)))
    # Poisson scatter of the number of electrons, and larger groups, which bring in a twelfth of (n·a)².
    margin = 5.0 / math.sqrt(100_000) + (curve.detected_e_px[1:] * area) ** 2 / 12.0
    assert few.sum() >= 4
    assert (np.abs(lost - theory) < margin)[few].all()
    # Beyond, groups join groups and more is lost than single cells would.
    assert (lost > theory)[~few].all()


@pytest.mark.parametrize(("name", "least", "most"), [("k2", 0.3, 0.9), ("k3", 0.2, 0.5), ("falcon_4i", 0.3, 0.9)])
def test_loss__is_small_at_8_electrons_a_pixel_and_second_and_large_at_100(name, least, most, figure):
    camera = camera_presets.camera_named(name)
    at = {}
    for rate_e_px_s in (8.0, 100.0):
        n_internal = 16
        exposure_s = n_internal / camera.frame_rate_1_s
        expected = np.full((1024, 1024), rate_e_px_s * exposure_s, np.float32)
        counted = detector.count_frame(expected, camera, generator(19), exposure_s=exposure_s)
        at[rate_e_px_s] = 1.0 - counted.mean() / (expected[0, 0] * camera.detection_frac)
    figure(f"{name}: loss at 8 and 100 e/px/s", f"{at[8.0]:.3f}, {at[100.0]:.3f}")
    assert 0.01 < at[8.0] < 0.12
    assert least < at[100.0] < most


def test_k2_at_8_electrons_a_pixel_and_second__counts_nine_of_ten():
    """Typical counts an electron at 8 e/px/s: 0.9 (Leginon manual, K2 camera sensitivity)."""
    camera = camera_presets.camera_named("k2")
    area = detector.merging_area_px(camera, generator(20))
    rate = 8.0 * camera.detection_frac / camera.frame_rate_1_s
    assert 1.0 - float(response.coincidence_loss(rate, area)) == pytest.approx(0.9, abs=0.02)


def test_noise_of_merged_counts__falls_below_poisson_at_low_frequency():
    """Lost pairs M of N electrons: var(N − M)/mean = 1 − 2·loss to first order, since cov(N, M) = 2·mean(M).

    Ruskin et al. 2013, doi 10.1016/j.jsb.2013.10.016, fit the dip in the noise power of a K2 at low frequency.
    """
    camera = camera_presets.camera_named("k2")
    n_internal, rate = 8, 0.008
    expected = np.full((1024, 1024), rate * n_internal / camera.detection_frac, np.float32)
    exposure_s = n_internal / camera.frame_rate_1_s
    rng = generator(21)
    frames = [detector.count_frame(expected, camera, rng, exposure_s=exposure_s) for _ in range(6)]
    blocks = np.stack([f.reshape(64, 16, 64, 16).sum(axis=(1, 3)) for f in frames]).astype(float)
    lost = 1.0 - blocks.mean() / 256 / (rate * n_internal)
    scatter = math.sqrt(2.0 / blocks.size)
    assert blocks.var() / blocks.mean() == pytest.approx(1.0 - 2.0 * lost, abs=5.0 * scatter + lost**2 * 4)
    assert lost > 0.04


@pytest.mark.parametrize(
    ("name", "published", "margin"),
    [
        ("k2", {0.125: 0.878487, 0.25: 0.733256, 0.375: 0.55749, 0.5: 0.388115}, 0.012),
        ("falcon_3", {0.125: 0.853789, 0.25: 0.572374, 0.375: 0.298471, 0.484375: 0.156575}, 0.025),
        ("falcon_4i", {0.125: 0.8354, 0.25: 0.534836, 0.375: 0.247847, 0.4921875: 0.09264}, 0.006),
    ],
)
def test_mtf_of_a_preset__is_the_published_curve(name, published, margin):
    """Values of data/mtf_k2_300kV, mtf_falcon3EC_300kV and mtf_falcon4EC_300kV of RELION (github 3dem/relion)."""
    k = np.array(list(published))
    curve = response.mtf(camera_presets.camera_named(name), k)
    assert np.abs(curve - np.array(list(published.values()))).max() < margin


def test_mtf_of_the_k2__follows_the_whole_published_curve(shared_data):
    lines = (shared_data / "star" / "relion-mtf" / "mtf_k2_300kV.star").read_text().splitlines()
    table = np.array([[float(v) for v in line.split()] for line in lines if line[:1].isdigit()])
    curve = response.mtf(camera_presets.camera_named("k2"), table[:, 0])
    assert np.abs(curve - table[:, 1]).max() < 0.015
