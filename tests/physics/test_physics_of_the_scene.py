"""Frames of scenes against theory: absolute electrons, power of ice and shot noise, depth, damage, motion, loss."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from scene_world import FALCON, K3, effects, group, scene

from cryoframe.numerics import detector_response as response
from cryoframe.numerics import exposure, ice
from cryoframe.numerics.aberrations import Aberrations
from cryoframe.numerics.camera_faults import gain_reference
from cryoframe.numerics.camera_presets import camera_named
from cryoframe.numerics.ctf import Envelope, wavelength_A
from cryoframe.numerics.damage import signal_left
from cryoframe.numerics.detector import count_frame
from cryoframe.numerics.field import StageTilt
from cryoframe.numerics.filters import critical_dose_e_A2
from cryoframe.numerics.fourier import irfft2, rfft2, shift_images
from cryoframe.numerics.grids import frequencies_1_A, frequency_axes_1_A
from cryoframe.numerics.ice import IceFilm
from cryoframe.numerics.lens import Lens, damping, even_phase, phase_per_potential_A
from cryoframe.numerics.motion_model import MotionModel, draw_motion
from cryoframe.numerics.noise import generator
from cryoframe.numerics.scene import FadingPatches, Loss, ParticleGroup, Sensor
from cryoframe.numerics.scene_frames import SceneFrames
from cryoframe.numerics.scene_grid import SceneGrid
from cryoframe.numerics.scene_ice import MovingIce
from cryoframe.numerics.scene_spectrum import SceneContrast

COUNT = ("particles", "ice", "damage", "inelastic", "coincidence")


def contrasts(made, *indices: int) -> np.ndarray:
    """Contrast on the whole grid, where it is periodic."""
    maker = SceneContrast(made, SceneGrid(made.shape, made.pixel_size_A), 1.0)
    return np.stack([maker.contrast(index).copy() for index in indices])


def camera_response(made, shape: tuple[int, int]) -> np.ndarray:
    kx, ky = frequency_axes_1_A(shape, 1.0, centred_half=False)
    pixel = np.sinc(kx) * np.sinc(ky)
    return pixel * response.spread_transfer(made.sensor.camera, np.hypot(kx, ky))


# --- electrons -------------------------------------------------------------------------------------


@pytest.mark.parametrize("slit", [True, False])
def test_mean_counts__are_dose_times_area_times_shares_times_what_is_not_lost(slit, figure):
    loss = Loss(ice.inelastic_mean_free_path_A(300.0), 0.0 if slit else 1.0, 17000.0)
    gain = gain_reference((512, 512), generator(1))
    made = scene((512, 512), camera=FALCON, on=effects(*COUNT, "gain"), n_frames=6, dose_e_A2=12.0, pixel_size_A=0.8,
                 film=IceFilm(350.0, ramp=(0.1, 0.05)), loss=loss, sensor=Sensor(FALCON, gain))  # fmt: skip
    frames = SceneFrames(made)
    mean = np.mean([(frame * gain).mean(dtype=np.float64) for frame in frames])
    x, y = ice.pixel_positions_A(made.shape, 0.8)
    thickness = made.film.at(x, y)
    elastic, lossy = ice.beam_fractions(
        thickness, loss.mean_free_path_A, passed_loss_frac=loss.passed_frac, aperture_mean_free_path_A=17000.0
    )
    incident = 2.0 * 0.8**2 * FALCON.detection_frac * float((elastic + lossy).mean())
    flat = np.full((512, 512), incident / FALCON.detection_frac, np.float32)
    events = [count_frame(flat, FALCON, generator(2, i), exposure_s=0.1).mean() for i in range(6)]
    counted = float(np.mean(events))
    figure(f"mean counts over theory, slit {slit}", f"{mean / counted:.4f}")
    # Six frames of 512² pixels: 0.1 % at one standard error.
    assert mean == pytest.approx(counted, rel=0.005)
    assert frames.recorded_e_px == pytest.approx(counted, rel=0.003)


@pytest.mark.parametrize("name", ["k2", "k3", "falcon_4i"])
def test_loss__is_that_of_electrons_counted_event_by_event(name, figure):
    camera = camera_named(name)
    n_internal = max(1, round(0.1 * camera.frame_rate_1_s))
    for rate in (0.005, 0.05, 0.25):
        dose = rate * n_internal / camera.detection_frac
        made = scene((512, 512), camera=camera, on=effects("coincidence"), n_frames=1, dose_e_A2=dose)
        frames = SceneFrames(made)
        lost = 1.0 - frames.counts(0).mean() / (rate * n_internal)
        flat = np.full((512, 512), dose, np.float32)
        events = count_frame(flat, camera, generator(3), exposure_s=0.1)
        known = 1.0 - events.mean() / (rate * n_internal)
        figure(f"{name}: loss at {rate} e/px/internal frame", f"{lost:.4f}, events {known:.4f}")
        # Two counts, a curve fitted to counts of 150 000 electrons each, and 1 % of the loss for the form of the fit.
        margin = 5.0 * np.sqrt(2.0 / (rate * n_internal * flat.size)) + 3.0 / np.sqrt(150_000) + 0.01 * known
        assert abs(lost - known) < margin
        assert frames.coincidence_loss_frac == pytest.approx(lost, abs=margin)


def ice_power(made, k: np.ndarray, kx: np.ndarray, ky: np.ndarray, dose_e_A2: float) -> np.ndarray:
    """|F|²/N of contrast by the ice, from closed forms: its depth, its motion during a frame, camera response aside."""
    lens, thickness = made.lens, made.film.thickness_A
    offset = np.arcsin(lens.amplitude_contrast)
    chi = even_phase(kx, ky, lens) - offset
    depth = 0.5 * (1.0 - np.cos(2.0 * chi) * np.sinc(wavelength_A(lens.voltage_kV) * k * k * thickness))
    alpha = np.maximum(-np.log(ice.ice_memory(k, dose_e_A2)), 1e-4)
    mean = 2.0 * (alpha - 1.0 + np.exp(-alpha)) / alpha**2
    flat = (2.0 * phase_per_potential_A(lens.voltage_kV)) ** 2 * ice.VITREOUS_ICE.power_1_A(k) * thickness
    return flat * depth * mean * damping(kx, ky, lens) ** 2


def bands(k: np.ndarray, values: np.ndarray, weights: np.ndarray, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean in bands of frequency and the number of independent samples in each."""
    found = [((k >= low) & (k < high)) for low, high in pairwise(edges)]
    return np.array([np.average(values[hit], weights=weights[hit]) for hit in found]), np.array(
        [weights[hit].sum() / 2.0 for hit in found]
    )


def test_ice__has_its_absolute_power_through_the_lens(figure):
    state = Lens(defocus_u_A=9000.0, defocus_v_A=7500.0, defocus_angle_deg=30.0, envelope=Envelope(60.0, 0.05))
    made = scene((448, 512), on=effects("ice"), lens=state, n_frames=2, dose_e_A2=6.0)
    images = contrasts(made, 0, 1)
    shape = images.shape[1:]
    kx, ky = frequency_axes_1_A(shape, 1.0, centred_half=False)
    k = frequencies_1_A(shape, 1.0, False)
    theory = ice_power(made, k, kx, ky, 3.0) * camera_response(made, shape) ** 2
    weights = np.full(k.shape, 2.0)
    weights[:, [0, -1]] = 1.0
    edges = np.linspace(0.02, 0.5, 25)
    for image in images:
        ratio, n = bands(k, np.abs(rfft2(image)) ** 2 / image.size / theory, weights, edges)
        figure("ice power over theory, worst band", f"{np.abs(ratio - 1.0).max():.4f}")
        # |F|² of a mode is exponential; table of normals and of radii are good to 10⁻³.
        assert (np.abs(ratio - 1.0) < 5.0 / np.sqrt(n) + 2e-3).all()


def test_empty_ice__has_shot_noise_and_ice_in_absolute_electrons(figure):
    made = scene((768, 768), camera=K3, on=effects("ice"), n_frames=2, dose_e_A2=10.0)
    k = frequencies_1_A(made.shape, 1.0, False)
    kx, ky = frequency_axes_1_A(made.shape, 1.0, centred_half=False)
    mean = 5.0 * K3.detection_frac
    seen = ice_power(made, k, kx, ky, 5.0) * camera_response(made, made.shape) ** 2 * mean**2
    counts = np.stack([frame.astype(float) for frame in SceneFrames(made)])
    power = np.mean([np.abs(rfft2(frame - frame.mean())) ** 2 / frame.size for frame in counts], axis=0)
    edges = np.linspace(0.03, 0.5, 20)
    weights = np.full(k.shape, 2.0)
    weights[:, [0, -1]] = 1.0
    found, n = bands(k, power, weights, edges)
    expected, _ = bands(k, seen + mean, weights, edges)
    share, _ = bands(k, seen / (seen + mean), weights, edges)
    figure("shot noise and ice over theory, worst band", f"{np.abs(found / expected - 1.0).max():.4f}")
    figure("largest share of ice in it", f"{share.max():.3f}")
    assert share.max() > 0.02
    # Two frames, of which the ice is partly the same: taken as one.
    assert (np.abs(found / expected - 1.0) < 5.0 / np.sqrt(n) + 2e-3).all()


def test_ice__remembers_itself_as_stated():
    made = scene((192, 192), on=effects("ice"), n_frames=3, dose_e_A2=3.0)
    grid = SceneGrid(made.shape, 1.0)
    source = MovingIce(made, grid)
    frames = [source.mean(index).copy() for index in range(3)]
    k = np.hypot(grid.kx[None, :], grid.ky[:, None]).astype(float)
    alpha = np.maximum(-np.log(ice.ice_memory(k, 1.0)), 1e-4)
    # Correlation of the means of neighbouring and of second neighbouring frames of the process.
    one = ((1.0 - np.exp(-alpha)) / alpha) ** 2
    inner = np.s_[:, 1:-1]
    for lag, theory in ((1, one), (2, one * np.exp(-alpha))):
        for low in (0.05, 0.15, 0.3):
            hit = (k[inner] >= low) & (k[inner] < low + 0.03)
            found = np.mean((frames[0] * frames[lag].conj()).real[inner][hit])
            assert found == pytest.approx(theory[inner][hit].mean(), abs=5.0 / np.sqrt(hit.sum()))
    # A table of a rougher time: three frames of 1 e/Å² leave what one of 3 leaves.
    assert np.mean(np.abs(frames[2][inner]) ** 2) < 1.0


def test_thicker_ice__is_noisier_where_it_is_thicker():
    film = IceFilm(200.0, ramp=(0.8, 0.0))
    made = scene((256, 448), on=effects("ice"), film=film, n_frames=1)
    image = SceneGrid(made.shape, 1.0).crop(contrasts(made, 0)[0])
    spread = image.reshape(256, 7, 64).std(axis=(0, 2))
    thickness = film.at((np.arange(7) + 0.5) * 64.0, 0.0)
    found = (spread / spread.mean()) ** 2 / (thickness / thickness.mean())
    # Variances of 16 000 pixels, most of them independent; within a strip the film is not even.
    np.testing.assert_allclose(found / found.mean(), 1.0, atol=0.08)


# --- particles -------------------------------------------------------------------------------------


def test_particles_of_all_depths__are_those_of_slabs_each_with_its_lens():
    aberrations = Aberrations(beam_tilt_mrad=(0.3, -0.2), tetrafoil_rad_A4=(5.0, 3.0),
                              magnification=((1.01, 0.004), (0.004, 0.99)))  # fmt: skip
    state = Lens(defocus_u_A=9000.0, defocus_v_A=7000.0, defocus_angle_deg=25.0, phase_shift_deg=40.0,
                 aberrations=aberrations)  # fmt: skip
    places = [(40.0, 50.25, -400.0), (90.5, 80.0, 0.0), (130.3, 40.7, 200.0), (60.0, 100.0, 600.0)]
    particles = group(places)
    made = scene(on=effects("particles"), lens=state, particles=(particles,), n_frames=1)
    image = contrasts(made, 0)[0]
    layers = exposure.slabs(image.shape, 1.0, particles.parts[0].patches, x_A=particles.x_A, y_A=particles.y_A,
                            z_A=particles.z_A, thickness_A=200.0)  # fmt: skip
    slabs = exposure.weak_phase_contrast(layers, 1.0, state)
    slabs = irfft2(rfft2(slabs) * camera_response(made, slabs.shape), slabs.shape)
    # Coherence aside, only the patches' own borders differ.
    assert np.abs(image - slabs).max() < 2e-3 * np.abs(slabs).max()


def test_power_of_particles__decays_as_the_critical_exposure_says(figure):
    particles = group([(50.0, 60.0, 0.0), (110.0, 70.0, 30.0)], width_A=0.7)
    made = scene(on=effects("particles", "damage"), particles=(particles,), n_frames=60, dose_e_A2=60.0)
    first, last = (np.abs(rfft2(image)) ** 2 for image in contrasts(made, 4, 44))
    k = frequencies_1_A(contrasts(made, 0)[0].shape, 1.0, False)
    worst = 0.0
    for low in (0.02, 0.05, 0.1, 0.2, 0.3):
        hit = (k >= low) & (k < low + 0.01)
        theory = np.sum(first[hit] * np.exp(-40.0 / critical_dose_e_A2(k[hit], 300.0)))
        worst = max(worst, abs(float(last[hit].sum() / theory) - 1.0))
    figure("decay of power over exp(−N/Nₑ), worst shell", f"{worst:.4f}")
    assert worst < 0.01
    cold = contrasts(replace(made, temperature_K=30.0), 44)[0]
    ratio = np.sum(np.abs(rfft2(cold)) ** 2) / np.sum(last)
    assert ratio > 1.3


def test_fading_parts__leave_with_their_lifetime_and_growing_b_factor():
    whole = group([(60.0, 60.0, 0.0)])
    part = FadingPatches(whole.parts[0].patches, lifetime_e_A2=15.0, b_rate_A4_e=2.0)
    fading = replace(whole, parts=(part,))
    edges = np.linspace(0.0, 30.0, 121)
    made = scene(on=effects("particles", "damage"), particles=(fading,), dose_edges_e_A2=edges)
    rest = scene(on=effects("particles", "damage"), particles=(whole,), dose_edges_e_A2=edges)
    both = scene(on=effects("particles", "damage"), particles=(replace(whole, parts=(*whole.parts, part)),),
                 dose_edges_e_A2=edges)  # fmt: skip
    fts = [rfft2(contrasts(which, 80)[0]) for which in (made, rest, both)]
    k = frequencies_1_A(contrasts(made, 0)[0].shape, 1.0, False)
    dose = 0.5 * (edges[80] + edges[81])
    left = np.exp(-dose / 15.0 - 0.25 * 2.0 * dose * k * k)
    scale = np.abs(fts[1]).max()
    assert np.abs(fts[0] - fts[1] * left).max() < 2e-3 * scale
    assert np.abs(fts[2] - fts[0] - fts[1]).max() < 1e-4 * scale


def test_without_a_slit__lossy_electrons_add_a_blurred_image():
    loss = Loss(3950.0, 1.0)
    made = scene(on=effects("particles", "inelastic"), particles=(group([(60.0, 60.0, 10.0)]),), loss=loss, n_frames=1)
    contrast = contrasts(made, 0)[0]
    blurred = exposure.delocalised(contrast, 1.0, sigma_A=loss.sigma_A)
    options = {"thickness_A": 300.0, "passed_loss_frac": 1.0, "mean_free_path_A": 3950.0, "loss_contrast": blurred}
    theory = exposure.expected_electrons(contrast, 4.0 * K3.detection_frac, 1.0, **options)
    found = SceneFrames(made).expected(0)
    assert np.abs(found - theory[:128, :160]).max() < 1e-4 * np.ptp(theory)


def test_support__neither_fades_nor_depends_on_the_particles():
    y, x = np.indices((128, 160))
    film = (3.0 * np.exp(-((x - 80.0) ** 2 + (y - 60.0) ** 2) / 50.0)).astype(np.float32)
    made = scene(on=effects("particles", "damage"), support=film, n_frames=10, dose_e_A2=50.0)
    first, last = contrasts(made, 0, 9)
    np.testing.assert_allclose(first, last, atol=1e-6)
    assert np.abs(first).max() > 0.01


def test_tilted_ice__has_the_rings_of_its_height():
    stage = StageTilt(50.0, 90.0)
    made = scene((256, 960), on=effects("ice"), stage=stage, n_frames=1,
                 lens=Lens(cs_mm=0.0, defocus_u_A=12000.0, defocus_v_A=12000.0))  # fmt: skip
    image = SceneGrid(made.shape, 1.0).crop(contrasts(made, 0)[0])
    # Axis along y: height grows or falls along x by tan 50° a pixel.
    for at in (128, 480, 832):
        tile = image[:, at - 128 : at + 128] * np.hanning(256)[None, :] * np.hanning(256)[:, None]
        k = frequencies_1_A(tile.shape, 1.0, False)
        power = np.abs(rfft2(tile)) ** 2
        radius = np.linspace(0.03, 0.11, 41)
        profile = np.array([power[(k >= r) & (k < r + 0.004)].mean() for r in radius]) * (radius + 0.002) ** 0
        defoci = np.arange(9000.0, 15001.0, 50.0)
        middle = radius + 0.002
        scores = [
            np.corrcoef(profile, np.sin(np.pi * wavelength_A(300.0) * d * middle**2 + np.arcsin(0.07)) ** 2)[0, 1]
            for d in defoci
        ]
        height = float(stage.specimen_plane(at - 480.0, 0.0)[2])
        assert defoci[int(np.argmax(scores))] == pytest.approx(12000.0 + height, abs=150.0)


# --- motion ----------------------------------------------------------------------------------------

EDGES = np.linspace(0.0, 8.0, 9)


def test_shifts_of_the_truth__bring_the_frames_together(figure):
    particles = group([(50.0, 60.0, 0.0), (110.0, 70.0, 30.0)])
    motion = draw_motion(MotionModel(local_early_A=0.0, local_steady_A=0.0), EDGES, rng=generator(6))
    options = {"particles": (particles,), "dose_edges_e_A2": EDGES}
    still = contrasts(scene(on=effects("particles"), **options), 0)[0]
    made = scene(
        on=effects("particles", "motion"), motion=motion, stage_jump_A=(7.3, -4.1), stage_jump_frame=3, **options
    )
    # Doming turns the defocus, which is tested apart.
    made = replace(made, motion=replace(motion, dome_A=0.0))
    truth = made.displacement_A(80.0, 64.0)
    worst = 0.0
    for index, image in enumerate(contrasts(made, *range(8))):
        back = shift_images(image, -truth[index])
        worst = max(worst, float(np.abs(back - still).max() / np.abs(still).max()))
    figure("frames shifted back by the truth, largest difference", f"{worst:.5f}")
    assert worst < 1e-3


def test_each_particle__moves_as_the_truth_of_its_place_says(figure):
    places = [(60.0 + 80.0 * i, 70.0 + 75.0 * j, 0.0) for i in range(5) for j in range(5)]
    y, x = np.indices((64, 64)) - 32
    blob = np.broadcast_to(np.exp(-(x**2 + y**2) / 18.0).astype(np.float32), (25, 64, 64)).copy()
    xyz = np.array(places).T
    particles = ParticleGroup(*xyz, (FadingPatches(blob),))
    motion = draw_motion(MotionModel(correlation_A=200.0, drift_A_s=6.0, dome_A=0.0), EDGES, rng=generator(7))
    focus = Lens(amplitude_contrast=1.0, defocus_u_A=0.0, defocus_v_A=0.0, cs_mm=0.0)
    made = scene((448, 448), on=effects("particles", "motion"), particles=(particles,), dose_edges_e_A2=EDGES,
                 motion=motion, lens=focus, charging_A3_e=0.2)  # fmt: skip
    truth = made.displacement_A(xyz[0], xyz[1])
    image = -contrasts(made, 7)[0].astype(float)
    worst = 0.0
    for (px, py, _), moved in zip(places, truth[:, 7], strict=True):
        rows, columns = slice(int(py) - 25, int(py) + 26), slice(int(px) - 25, int(px) + 26)
        box = image[rows, columns]
        gy, gx = np.mgrid[rows, columns]
        found = np.array([np.sum(box * gx) - px * box.sum(), np.sum(box * gy) - py * box.sum()]) / box.sum()
        worst = max(worst, float(np.abs(found - moved).max()))
    figure("place of a particle against the truth [px]", f"{worst:.4f}, moved by up to {np.abs(truth[:, 7]).max():.1f}")
    assert np.ptp(truth[:, 7], axis=0).max() > 3.0
    assert worst < 0.03


def test_raw_counts_aligned_to_the_still_scene__give_the_truth(figure):
    places = [(float(x), float(y), 0.0) for x in range(30, 490, 40) for y in range(30, 490, 40)]
    motion = draw_motion(MotionModel(local_early_A=0.0, local_steady_A=0.0, dome_A=0.0), EDGES, rng=generator(8))
    made = scene((512, 512), camera=K3, on=effects("particles", "ice", "motion", "blur", "damage", "coincidence"),
                 particles=(group(places, width_A=1.5, strength=20.0),), dose_edges_e_A2=EDGES * 4.0,
                 motion=replace(motion, dose_edges_e_A2=EDGES * 4.0))  # fmt: skip
    truth = made.displacement_A(256.0, 256.0)
    frame = SceneFrames(made).frame(7).astype(np.float32)
    still = SceneFrames(replace(made, effects=effects("particles"))).expected(0)
    product = rfft2(frame - frame.mean()) * rfft2(still - still.mean()).conj()
    peak = irfft2(product, (512, 512))
    at = np.unravel_index(int(peak.argmax()), peak.shape)
    rows, columns = np.mgrid[at[0] - 2 : at[0] + 3, at[1] - 2 : at[1] + 3]
    near = peak[rows % 512, columns % 512].astype(float)
    terms = np.stack([np.ones(25), *(a.ravel() - c for a, c in ((rows, at[0]), (columns, at[1])))])
    terms = np.concatenate([terms, terms[1:] ** 2, terms[1:2] * terms[2:]])
    _, b, c, d, e, f = np.linalg.lstsq(terms.T, near.ravel(), rcond=None)[0]
    offset = -np.linalg.solve([[2 * d, f], [f, 2 * e]], [b, c])
    found = (np.array(at) + offset + 256) % 512 - 256
    wanted = truth[7][::-1]
    figure("frame 7 against the still scene [px]", f"{found.round(2)}, truth {wanted.round(2)}")
    assert np.abs(found - wanted).max() < 0.5


def test_defocus__drifts_and_domes_by_steps_of_less_than_stated():
    motion = draw_motion(MotionModel(dome_A=100.0), EDGES, rng=generator(9), centre_A=(80.0, 64.0))
    made = scene(on=effects("particles", "motion"), motion=motion, dose_edges_e_A2=EDGES, defocus_drift_A=300.0,
                 particles=(group([(60.0, 60.0, 0.0)]),))  # fmt: skip
    change = made.defocus_change_A()
    assert change[-1] - change[0] == pytest.approx(300.0 + np.diff(motion.height_A(80.0, 64.0)[[0, -1]])[0], rel=0.01)
    fine = contrasts(replace(made, refresh_defocus_A=0.01), 7)[0]
    coarse = contrasts(made, 7)[0]
    assert np.std(fine - coarse) < 0.1 * np.std(fine)


def test_blur_within_a_frame__is_that_of_its_streak():
    motion = draw_motion(MotionModel(drift_A_s=12.0, local_early_A=0.0, local_steady_A=0.0, jitter_A=0.0, dome_A=0.0),
                         np.array([0.0, 4.0]), rng=generator(10))  # fmt: skip
    options = {"particles": (group([(70.0, 64.0, 0.0)]),), "dose_edges_e_A2": np.array([0.0, 4.0]), "motion": motion}
    sharp = contrasts(scene(on=effects("particles", "motion"), **options), 0)[0]
    blurred = contrasts(scene(on=effects("particles", "motion", "blur"), **options), 0)[0]
    streak = motion.streak_A(70.0, 64.0)[0]
    kx, ky = frequency_axes_1_A(sharp.shape, 1.0, centred_half=False)
    theory = irfft2(rfft2(sharp) * np.sinc(kx * streak[0] + ky * streak[1]), sharp.shape)
    assert np.linalg.norm(streak) > 4.0
    assert np.abs(blurred - theory).max() < 1e-3 * np.abs(sharp).max()


def test_signal_of_a_frame__is_the_mean_while_it_is_exposed():
    particles = group([(60.0, 60.0, 0.0)])
    made = scene(on=effects("particles", "damage"), particles=(particles,), dose_edges_e_A2=np.array([5.0, 25.0]))
    still = contrasts(replace(made, effects=effects("particles")), 0)[0]
    k = frequencies_1_A(still.shape, 1.0, False)
    theory = irfft2(rfft2(still) * signal_left(k, 5.0, 25.0, voltage_kV=300.0), still.shape)
    assert np.abs(contrasts(made, 0)[0] - theory).max() < 1e-3 * np.abs(still).max()
