"""simulate_movies `physical` against theory: counts, rings, contrast, positions, aberrations, envelopes, damage."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from simulate_bench import (
    PIXEL_A,
    alike,
    boxed,
    coil,
    contrast_of,
    exposure,
    grains,
    inner_rows,
    nothing,
    peak_of,
    shells,
    shoot,
    spectrum,
    summed,
    templates,
    windowed,
)

from cryoframe import Micrograph, StageContext, Volume
from cryoframe.numerics import ctf, ice
from cryoframe.numerics.aberrations import Aberrations
from cryoframe.numerics.grids import frequency_axes_1_A
from cryoframe_ctf.plugin import Params as FitParams
from cryoframe_ctf.plugin import estimate_ctf
from cryoframe_simulate.microscopes import microscope_named

#: Everything a real exposure has.
ALL_ON = {
    name: True for name in ("ice_noise", "inelastic", "damage", "motion", "blur", "doming", "coherence", "coincidence")
} | {"gain": True, "defects": True, "hot_pixels": True, "spread": True}
BOX = 96


# -- counts --------------------
def test_mean_counts__are_dose_times_area_times_detection() -> None:
    made = shoot([nothing()], shot=exposure(dose_per_frame_e_A2=2.0))
    total = summed(made)
    expected = 4 * 2.0 * PIXEL_A**2 * 0.87  # K3 preset
    assert abs(total.mean() / expected - 1.0) < 0.005
    assert made.truth.incident_e_px == pytest.approx(2.0 * PIXEL_A**2)
    assert made.truth.recorded_e_px == pytest.approx(2.0 * PIXEL_A**2 * 0.87, rel=2e-3)


def test_mean_counts_with_every_loss__are_those_the_truth_states(say) -> None:
    shot = exposure(dose_per_frame_e_A2=2.0, ice_thickness_A=600.0)
    made = shoot([coil()], shot=shot, **ALL_ON)
    total = summed(made)[~made.defects.data]
    recorded = total.mean() / shot.n_frames
    say(f"recorded {recorded:.4f} e/px a frame, truth {made.truth.recorded_e_px:.4f}")
    assert abs(recorded / made.truth.recorded_e_px - 1.0) < 0.005
    free_path_A = ice.inelastic_mean_free_path_A(300.0)
    assert made.truth.zero_loss_frac == pytest.approx(np.exp(-600.0 / free_path_A), rel=1e-4)
    assert made.truth.coincidence_loss_frac > 0.001
    kept = 0.87 * made.truth.zero_loss_frac * (1.0 - made.truth.coincidence_loss_frac)
    assert made.truth.recorded_e_px == pytest.approx(2.0 * PIXEL_A**2 * kept, rel=0.005)


# -- particles --------------------
@pytest.mark.parametrize(
    ("change", "params"),
    [
        ({"defocus_u_A": 13000.0, "defocus_v_A": 11000.0, "defocus_angle_deg": 30.0}, {}),
        ({"defocus_u_A": -9000.0, "defocus_v_A": -9000.0}, {}),
        ({"phase_shift_deg": 80.0, "defocus_u_A": 8000.0, "defocus_v_A": 8000.0}, {}),
        ({}, {"microscope": "talos_200", "aperture_mrad": 0.0, "amplitude_contrast_frac": 0.2}),
        ({}, {"microscope": "krios_g5", "camera": "falcon_4i"}),
    ],
    ids=["astigmatism", "over focus", "phase plate", "200 kV", "corrected"],
)
def test_particles_without_noise__are_what_the_truth_promises(change, params) -> None:
    specimen = coil(concentration_mg_mL=2.5)
    shot = exposure(**change)
    made = shoot([specimen], shot=shot, shot_noise=False, overlap="none_in_projection", seed=3, **params)
    image, rows = contrast_of(made), inner_rows(made, BOX)
    assert len(rows) >= 3
    places = [made.truth.particles.floats(name)[rows] / PIXEL_A for name in ("x_A", "y_A")]
    promised = templates(made, specimen, rows, BOX)
    for x, y, template in zip(*places, promised, strict=True):
        box = -boxed(image, x, y, BOX)
        middle = slice(BOX // 4, -BOX // 4)
        assert alike(box[middle, middle], template[middle, middle]) > 0.98
        assert np.hypot(*peak_of(box, template)) < 0.1
        slope = np.sum(box[middle, middle] * template[middle, middle]) / np.sum(template[middle, middle] ** 2)
        assert slope == pytest.approx(1.0, abs=0.03)


def test_particles_in_noise_and_motion__lie_at_truth_in_the_sum_aligned_to_the_first_frame(say) -> None:
    specimen = coil(concentration_mg_mL=6.0)
    shot = exposure(n_frames=8, dose_per_frame_e_A2=4.0, defocus_u_A=20000.0, defocus_v_A=20000.0)
    found, mirrored, n = np.zeros((BOX, BOX)), np.zeros((BOX, BOX)), 0
    for seed in range(3):
        made = shoot([specimen], seed=seed, shot=shot, overlap="none_in_projection",
                     **ALL_ON, whole_early_A=8.0, local_early_A=4.0, drift_A_s=1.0)  # fmt: skip
        rows, frames, table = inner_rows(made, BOX), list(made.movie.frames()), made.truth.particles
        scene = made.movie.source.frames.scene
        for row, template in zip(rows, templates(made, specimen, rows, BOX), strict=True):
            x, y = (float(table.floats(name)[row]) for name in ("x_A", "y_A"))
            path = scene.displacement_A(x, y)
            place = (np.array([x, y]) + path - path[0]) / PIXEL_A
            whole = sum(boxed(frame, *at, BOX) for frame, at in zip(frames, place, strict=True))
            # Templates differ, so correlations are added, not images.
            found += correlation_of(-whole, template)
            mirrored += correlation_of(-whole, np.roll(template[:, ::-1], 1, axis=1))
            n += 1
    row, column = np.unravel_index(np.argmax(found), found.shape)
    dx, dy = peak_of(np.roll(found, BOX // 2, axis=(0, 1)), unit_impulse())
    height = (found.max() - found.mean()) / found.std()
    say(f"{n} particles: peak {height:.1f} standard deviations high, {dx:+.2f}, {dy:+.2f} px from the truth")
    assert (row, column) == (BOX // 2, BOX // 2)
    assert np.hypot(dx, dy) < 0.3
    assert mirrored[BOX // 2, BOX // 2] < 0.8 * found[BOX // 2, BOX // 2]


def correlation_of(image: np.ndarray, template: np.ndarray) -> np.ndarray:
    """Cross-correlation, zero shift at [n//2, n//2]."""
    product = np.fft.fft2(image - image.mean()) * np.conj(np.fft.fft2(template - template.mean()))
    return np.fft.fftshift(np.fft.ifft2(product).real)


def unit_impulse() -> np.ndarray:
    impulse = np.zeros((BOX, BOX))
    impulse[0, 0] = 1.0
    return impulse


# -- lens --------------------
@pytest.mark.parametrize("camera", ["k3", "falcon_4i"])
def test_thon_rings__give_the_defocus_back_on_either_camera(camera, say) -> None:
    shot = exposure(defocus_u_A=13000.0, defocus_v_A=12000.0, defocus_angle_deg=35.0, hole_radius_A=1.0,
                    dose_per_frame_e_A2=10.0)  # fmt: skip
    made = shoot([nothing()], shot=shot, **(ALL_ON | {"motion": False, "doming": False}), support=True, camera=camera)
    picture = Micrograph("sum", summed(made).astype(np.float32), PIXEL_A, 40.0, False, made.truth.optics)
    fit = estimate_ctf(picture, FitParams(low_A=40.0, high_A=5.0), StageContext(Path("unused")))
    say(
        f"{camera}: u {fit.defocus_u_A:.0f}, v {fit.defocus_v_A:.0f} Å at {fit.defocus_angle_deg:.1f}°, {fit.score:.2f}"
    )
    # CTFFIND's own agreement with CTFFIND3 is 1 % of the defocus (mission); the angle by 5° from 1 % astigmatism on.
    assert abs(fit.defocus_u_A - 13000.0) < 130.0
    assert abs(fit.defocus_v_A - 12000.0) < 130.0
    assert abs((fit.defocus_angle_deg - 35.0 + 90.0) % 180.0 - 90.0) < 5.0


def test_protein__is_dark() -> None:
    specimen = coil(concentration_mg_mL=2.5)
    made = shoot([specimen], shot_noise=False, seed=3, overlap="none_in_projection")
    image, rows = contrast_of(made), inner_rows(made, BOX)
    middle = [boxed(image, *place, 32).mean() for place in places_px(made, rows)]
    assert len(middle) >= 3
    assert max(middle) < image.mean()
    assert np.mean(middle) < -2.0 * image.std() / np.sqrt(32.0)


def places_px(made, rows) -> np.ndarray:
    table = made.truth.particles
    return np.stack([table.floats("x_A")[rows], table.floats("y_A")[rows]], axis=1) / made.movie.pixel_size_A


def test_beam_tilt_and_trefoil__turn_phases_as_relion_says() -> None:
    straight = contrast_of(shoot([grains()], shot_noise=False, seed=3))
    shot = exposure(beam_tilt_x_mrad=5.0, beam_tilt_y_mrad=-3.0)
    tilted = contrast_of(shoot([grains()], shot_noise=False, seed=3, shot=shot, trefoil_x_rad_A3=60.0))
    kx, ky = frequency_axes_1_A(straight.shape, PIXEL_A, centred_half=False)
    aberrations = Aberrations(beam_tilt_mrad=(5.0, -3.0), trefoil_rad_A3=(60.0, 0.0))
    expected = ctf.aberration_factor(kx, ky, voltage_kV=300.0, cs_mm=2.7, aberrations=aberrations)
    first, second = windowed(straight), windowed(tilted)
    k = shells(straight.shape, PIXEL_A)
    band = (k > 0.12) & (k < 0.22) & (np.abs(first) > np.median(np.abs(first[(k > 0.12) & (k < 0.22)])))
    turned = np.sum((second * np.conj(first) * np.conj(expected))[band]) / np.sum(np.abs(second * first)[band])
    plain = np.sum((second * np.conj(first))[band]) / np.sum(np.abs(second * first)[band])
    assert turned.real > 0.95
    assert abs(plain.real) < 0.8 * turned.real


def test_stage_tilt__spreads_defocus_across_the_field(say) -> None:
    specimen = grains(concentration_mg_mL=6.0, radius_A=45.0)
    shot = exposure(shape_px=(1024, 512), stage_tilt_deg=35.0, stage_tilt_axis_deg=0.0, ice_thickness_A=150.0)
    made = shoot([specimen], shot=shot, shot_noise=False, overlap="none_in_projection", seed=1)
    table, optics = made.truth.particles, made.truth.optics
    y = table.floats("y_A") - 1024.0
    slope, _ = np.polyfit(y, table.floats("defocus_u_A"), 1)
    # Right-handed about x: what lies at larger y rises by tan 35° towards the lens.
    assert slope == pytest.approx(np.tan(np.radians(35.0)), rel=0.1)
    assert optics.optics_group == "opticsGroup1"
    image, rows = contrast_of(made), inner_rows(made, BOX)
    far = rows[np.abs(y[rows]) > 500.0]
    assert len(far) >= 2
    flat = replace(
        made,
        truth=replace(
            made.truth, particles=table.with_columns({n: np.full(len(table), 12000.0, np.float32) for n in DEFOCI})
        ),
    )
    by_truth, by_mean = (
        [
            alike(-boxed(image, *place, BOX), template)
            for place, template in zip(places_px(made, far), templates(each, specimen, far, BOX), strict=True)
        ]
        for each in (made, flat)
    )
    say(f"{len(far)} particles, own defocus {np.median(by_truth):.4f}, one for all {np.median(by_mean):.4f}")
    # Some have a neighbour in their box, which no template knows of.
    assert np.median(by_truth) > 0.99
    assert np.median(by_mean) < 0.97
    assert all(own > common for own, common in zip(by_truth, by_mean, strict=True))


DEFOCI = ("defocus_u_A", "defocus_v_A")


@pytest.mark.parametrize("name", ["krios_g3", "krios_g4", "krios_g5"])
def test_partial_coherence__is_the_envelope_of_the_microscope(name) -> None:
    pixel = 0.8
    specimen = coil(pixel, 16, radius_A=10.0, concentration_mg_mL=40.0)
    point = np.zeros((16, 16, 16), dtype=np.float32)
    point[8, 8, 8] = 0.1
    specimen = replace(specimen, volume=Volume(point, pixel))
    shot = exposure(shape_px=(256, 256), pixel_size_A=pixel, ice_thickness_A=21.0)
    on, off = (
        spectrum(contrast_of(shoot([specimen], shot=shot, shot_noise=False, microscope=name, coherence=which)))
        for which in (True, False)
    )
    kx, ky = frequency_axes_1_A((256, 256), pixel, centred_half=False)
    microscope = microscope_named(name)
    envelope = ctf.coherence(
        kx, ky, envelope=microscope.envelope, voltage_kV=300.0, cs_mm=microscope.cs_mm, defocus_A=12000.0
    )
    k = np.hypot(kx, ky)
    for low in (0.2, 0.3, 0.4, 0.5):
        band = (k >= low) & (k < low + 0.02)
        left = np.sum((on * np.conj(off)).real[band]) / np.sum(np.abs(off[band]) ** 2)
        expected = np.sum(envelope[band] * np.abs(off[band]) ** 2) / np.sum(np.abs(off[band]) ** 2)
        assert left == pytest.approx(expected, abs=0.01)


def test_magnification_anisotropy__stretches_image_and_places(say) -> None:
    specimen = coil(concentration_mg_mL=2.5)
    plain = shoot([specimen], shot_noise=False, seed=3)
    made = shoot([specimen], shot_noise=False, seed=3, magnification_anisotropy_frac=0.04, magnification_angle_deg=0.0)
    before, after = ({name: each.truth.particles.floats(name) for name in ("x_A", "y_A")} for each in (plain, made))
    centre = 512.0
    if len(before["x_A"]) == len(after["x_A"]):
        assert np.allclose(after["x_A"] - centre, 1.02 * (before["x_A"] - centre), atol=0.01)
        assert np.allclose(after["y_A"] - centre, 0.98 * (before["y_A"] - centre), atol=0.01)
    assert made.truth.magnification == ((1.02, 0.0), (0.0, 0.98))
    image, rows = contrast_of(made), inner_rows(made, BOX)
    for place, template in zip(places_px(made, rows), templates(made, specimen, rows, BOX), strict=True):
        box = boxed(image, *place, BOX)
        # RELION's frequencies: the measured one times the matrix is the true one, where the map and the CTF are read.
        true = stretched_template(template)
        assert np.hypot(*peak_of(-box, true)) < 0.2
        assert alike(-box, true) > alike(-box, template)


def stretched_template(template: np.ndarray) -> np.ndarray:
    """The image stretched about its origin by 1.02 along x and 0.98 along y, linear in between."""
    n = template.shape[0]
    axis = np.arange(n) - n // 2
    columns = np.stack([np.interp(axis / 1.02, axis, row) for row in template])
    return np.stack([np.interp(axis / 0.98, axis, column) for column in columns.T], axis=1)
