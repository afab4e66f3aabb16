"""Cameras, microscopes and troubles of simulate_movies `physical`: each has its effect, and the truth says so."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from simulate_bench import PIXEL_A, alike, coil, contrast_of, exposure, nothing, shoot, summed

from cryoframe import EventSource, FrameSource, Trouble
from cryoframe.errors import InvalidInput
from cryoframe.numerics.detector_response import coincidence_loss
from cryoframe.numerics.ice import carbon_mean_free_path_A, inelastic_mean_free_path_A
from cryoframe_simulate.microscopes import microscope_named, microscopes, passed_loss_frac

EMPTY = [nothing()]


# -- cameras --------------------
@pytest.mark.parametrize(
    ("camera", "raw_dtype", "share"), [("k2", "uint8", 0.80), ("k3", "uint8", 0.87), ("falcon_3", "uint8", 0.92)]
)
def test_a_counting_camera__gives_whole_numbers(camera, raw_dtype, share) -> None:
    made = shoot(EMPTY, camera=camera, gain=True)
    assert isinstance(made.movie.source, FrameSource)
    frame = made.movie.source.read_frame(0)
    assert frame.dtype == np.float32
    assert np.array_equal(frame, np.round(frame))
    assert made.raw_dtype == raw_dtype
    assert frame.mean() == pytest.approx(5.0 * PIXEL_A**2 * share, rel=0.01)


def test_many_counts__take_a_wider_type() -> None:
    shot = exposure(dose_per_frame_e_A2=100.0, frame_time_s=20.0, n_frames=2)
    made = shoot(EMPTY, shot=shot)
    assert made.raw_dtype == "uint16"
    assert made.movie.source.read_frame(0).mean() == pytest.approx(100.0 * PIXEL_A**2 * 0.87, rel=0.01)


def test_expected_electrons__are_those_of_the_sensor_even_with_super_resolution() -> None:
    made = shoot(seed=3, camera="k3_super", shot_noise=False)
    plain = shoot(seed=3, camera="k3", shot_noise=False)
    assert made.movie.shape_px == made.gain.data.shape == (512, 512)
    assert made.truth.particles == plain.truth.particles
    assert np.array_equal(made.movie.source.read_frame(0), plain.movie.source.read_frame(0))


def test_raw_frames__carry_the_gain_and_lose_it_when_corrected() -> None:
    made = shoot(EMPTY, gain=True, gain_sd_frac=0.1, shot=exposure(dose_per_frame_e_A2=20.0, frame_time_s=4.0))
    raw = np.mean([made.movie.source.read_frame(i) for i in range(4)], axis=0)
    sensitivity = 1.0 / made.gain.data
    assert alike(raw, sensitivity) > 0.8
    # 262 144 pixels: a coefficient scatters by 0.002.
    assert abs(alike(summed(made), sensitivity)) < 0.01


def test_defects__are_dead_or_hot_and_in_the_map() -> None:
    made = shoot(EMPTY, defects=True, hot_pixels=True, hot_counts=200.0, n_dead_px=40, n_dead_columns=2, n_hot_px=30)
    frame, bad = made.movie.source.read_frame(0), made.defects.data
    assert bad.sum() == pytest.approx(40 + 30 + 2 * 512, abs=20)
    assert np.count_nonzero(frame[bad] == 0) >= 2 * 512
    assert np.count_nonzero(frame[bad] > 60) >= 15
    assert not np.any(frame[~bad] == 0)
    assert not shoot(EMPTY).defects.data.any()


def test_super_resolution__halves_the_pixel_and_counts_from_its_own_corner() -> None:
    plain, fine = shoot(seed=3, gain=True), shoot(seed=3, gain=True, camera="k3_super")
    assert fine.movie.shape_px == (1024, 1024) == fine.movie.source.shape_px == fine.gain.data.shape
    assert fine.movie.pixel_size_A == PIXEL_A / 2 == fine.movie.source.pixel_size_A
    frame = fine.movie.source.read_frame(0)
    assert frame.shape == (1024, 1024)
    assert 4.0 * frame.mean() == pytest.approx(plain.movie.source.read_frame(0).mean(), rel=0.01)
    assert fine.truth.recorded_e_px == pytest.approx(plain.truth.recorded_e_px)
    # The middle of the sensor's first pixel lies a quarter of it beyond the middle of the file's.
    for name in ("x_A", "y_A"):
        moved = fine.truth.particles.floats(name) - plain.truth.particles.floats(name)
        assert np.allclose(moved, 0.25 * PIXEL_A, atol=1e-3)


def test_an_event_camera__gives_the_events_that_its_frames_count() -> None:
    shot = exposure(shape_px=(256, 256), n_frames=2, frame_time_s=0.25)
    made = shoot([coil()], shot=shot, camera="falcon_4i", spread=True, coincidence=True)
    events = made.events
    assert isinstance(events, EventSource)
    assert events.shape_px == (256, 256)
    assert events.n_internal_frames == 2 * 80
    counts = np.zeros((256, 256))
    for index in range(80):
        found = events.read_events(index)
        assert found.dtype == np.int32
        assert found.min() >= 0
        assert found.max() < 4 * 256
        np.add.at(counts, tuple((found // 4).T), 1)
    assert np.array_equal(counts, made.movie.source.read_frame(0))
    assert shoot(EMPTY).events is None


def test_an_integrating_camera__gives_grey_values_on_a_drifting_pedestal() -> None:
    settings = {"camera": "integrating_ccd", "pedestal_grey": 300.0, "pedestal_drift_grey": 5.0}
    made = shoot(EMPTY, **settings, pedestal=True)
    bare = shoot(EMPTY, **settings, pedestal=False)
    assert made.raw_dtype == "float32"
    levels = [
        float(np.mean(made.movie.source.read_frame(i) - bare.movie.source.read_frame(i), dtype=np.float64))
        for i in range(4)
    ]
    assert levels[0] == pytest.approx(300.0, abs=0.01)
    assert 0.5 < np.std(np.diff(levels)) < 25.0
    # 20 grey values an electron, mean energy 1.
    assert bare.movie.source.read_frame(0).mean() == pytest.approx(20.0 * 5.0 * PIXEL_A**2, rel=0.01)


def test_spread__lowers_the_high_frequencies() -> None:
    sharp, soft = (
        contrast_of(shoot([coil()], seed=3, shot_noise=False, camera="k2", spread=which)) for which in (False, True)
    )
    kx, ky = np.fft.rfftfreq(512)[None, :], np.fft.fftfreq(512)[:, None]
    k = np.hypot(kx, ky)
    band = (k > 0.10) & (k < 0.12)
    a, b = (np.fft.rfft2(image * np.outer(np.hanning(512), np.hanning(512))) for image in (sharp, soft))
    left = np.sum((b * a.conj()).real[band]) / np.sum(np.abs(a[band]) ** 2)
    from cryoframe.numerics.camera_presets import camera_named
    from cryoframe.numerics.detector_response import spread_transfer

    assert left == pytest.approx(float(spread_transfer(camera_named("k2"), np.array([0.11]))[0]), abs=0.01)


@pytest.mark.parametrize("seconds", [2.0, 0.2])
def test_coincidence__takes_counts_as_the_curve_says(seconds, say) -> None:
    made = shoot(EMPTY, coincidence=True, shot=exposure(frame_time_s=seconds))
    detected = 5.0 * PIXEL_A**2 * 0.87
    recorded = summed(made).mean() / 4
    loss = 1.0 - recorded / detected
    say(f"{20.0 / seconds:.0f} e/px/s: {100 * loss:.2f} % lost, truth {100 * made.truth.coincidence_loss_frac:.2f} %")
    assert loss == pytest.approx(made.truth.coincidence_loss_frac, abs=0.004)
    # Between a pixel that counts for itself and twice the 3 × 3 pixels an electron may touch.
    rate = detected / (seconds * 1500.0)
    assert float(coincidence_loss(rate, 1.0)) < loss < float(coincidence_loss(rate, 18.0))


# -- microscopes --------------------
def test_every_number_of_a_microscope__says_where_it_is_from() -> None:
    for microscope in microscopes().values():
        stated = {name.strip() for names, source in microscope.sources if source for name in names.split(",")}
        numbers = {field.name for field in dataclasses.fields(microscope)} - {"name", "sources"}
        assert stated == numbers, microscope.name


def test_generations__gain_in_coherence() -> None:
    spreads = [
        microscope_named(name).envelope.focal_spread_A for name in ("krios_g3", "krios_g4", "krios_g5", "krios_g5_cc")
    ]
    assert spreads == sorted(spreads, reverse=True)
    assert spreads[-1] == 0.0
    with pytest.raises(InvalidInput, match="did you mean 'glacios_200'"):
        microscope_named("glacios")


def test_a_slit__lets_losses_pass_the_more_the_wider_it_is() -> None:
    shares = [passed_loss_frac(width) for width in (5.0, 10.0, 20.0, 40.0, 100.0, 400.0)]
    assert shares == sorted(shares)
    assert shares[0] == shares[1] == 0.0
    assert shares[2] < 0.1
    assert shares[-1] == pytest.approx(1.0)
    assert passed_loss_frac(0.0) == 1.0
    with pytest.raises(InvalidInput):
        passed_loss_frac(-1.0)


def test_settings__take_the_place_of_the_presets() -> None:
    made = shoot(EMPTY, microscope="glacios_200", cs_mm=1.4)
    assert (made.truth.optics.voltage_kV, made.truth.optics.cs_mm) == (200.0, 1.4)
    assert made.movie.optics == made.truth.optics
    other = shoot(EMPTY, voltage_kV=100.0)
    assert (other.truth.optics.voltage_kV, other.truth.optics.cs_mm) == (100.0, 2.7)


# -- troubles --------------------
def troubled(specimens=None, **settings: object):
    trouble = {name: settings.pop(name) for name in list(settings) if name in Trouble.__dataclass_fields__}
    shot = {
        name: settings.pop(name) for name in list(settings) if name in ("shape_px", "pixel_size_A", "ice_thickness_A")
    }
    return shoot(specimens, seed=3, shot=exposure(trouble=Trouble(**trouble), **shot), **settings)


def whole_shift(made) -> np.ndarray:
    table = made.truth.motion
    whole = np.isnan(table.floats("patch_x_A"))
    return np.stack([table.floats("shift_x_A")[whole], table.floats("shift_y_A")[whole]], axis=1)


def test_a_stage_jump__moves_everything_from_its_frame_on() -> None:
    made = troubled(stage_jump_A=24.0, stage_jump_frame=2, shot_noise=False)
    assert np.allclose(np.hypot(*whole_shift(made).T), [0.0, 0.0, 24.0, 24.0], atol=1e-3)
    before, after = contrast_of(made, 1), contrast_of(made, 2)
    product = np.fft.ifft2(np.fft.fft2(after) * np.conj(np.fft.fft2(before))).real
    row, column = np.unravel_index(np.argmax(product), product.shape)
    there = np.array([(column + 256) % 512 - 256, (row + 256) % 512 - 256]) * PIXEL_A
    assert np.allclose(there, -whole_shift(made)[2], atol=1.5)


def test_a_drifting_defocus__is_that_of_the_last_frame_there() -> None:
    made = troubled(defocus_drift_A=3000.0, shot_noise=False)
    steady = shoot(seed=3, shot=exposure(), shot_noise=False)
    further = shoot(seed=3, shot=exposure(defocus_u_A=15000.0, defocus_v_A=15000.0), shot_noise=False)
    assert np.allclose(contrast_of(made, 0), contrast_of(steady, 0), atol=1e-7)
    assert alike(contrast_of(made, 3), contrast_of(further, 3)) > 0.9999
    change = made.truth.particles.floats("defocus_u_A") - steady.truth.particles.floats("defocus_u_A")
    assert np.allclose(change, 1500.0, atol=1.0)


def test_charging__pulls_outwards_and_grows_with_the_dose() -> None:
    made = troubled(charging_A3_e=1.0)
    table = made.truth.motion
    last = (table.column("frame") == 3) & ~np.isnan(table.floats("patch_x_A"))
    x = table.floats("patch_x_A")[last] - 512.0
    # 15 e/Å² between the middles of the first and the last frame; 512 Å from the centre to the edge. Shifts undo it.
    assert np.allclose(table.floats("shift_x_A")[last], -15.0 * x / 512.0, atol=0.05)
    assert np.allclose(whole_shift(made), 0.0, atol=1e-4)


def test_crystalline_ice__covers_its_share_and_has_a_lattice(say) -> None:
    settings = {"specimens": [nothing(1.0)], "pixel_size_A": 1.0, "shot_noise": False}
    made = troubled(**settings, crystalline_ice_frac=0.4, grid_A=16.0)
    plain = troubled(**settings, ice_noise=True)
    assert np.mean(made.truth.support == 2.0) == pytest.approx(0.4, abs=0.03)
    assert not np.any(plain.truth.support)
    k = np.hypot(np.fft.rfftfreq(512)[None, :], np.fft.fftfreq(512)[:, None])
    shares = []
    for each in (made, plain):
        soft = (contrast_of(each)) * np.outer(np.hanning(512), np.hanning(512))
        power = np.sort(np.abs(np.fft.rfft2(soft)[(k > 0.25) & (k < 0.5)]) ** 2)
        shares.append(power[-len(power) // 100 :].sum() / power.sum())
    say(f"the strongest hundredth of the coefficients holds {shares[0]:.2f} of the power, {shares[1]:.2f} in plain ice")
    # Of exponentially distributed power the highest hundredth holds 0.01·(1 + ln 100) = 0.056.
    assert shares[0] > 0.5
    assert shares[1] < 0.2


@pytest.mark.parametrize("slit_eV", [10.0, 0.0])
@pytest.mark.parametrize("multislice", [False, True])
def test_carbon__takes_from_the_beam_what_loses_energy_in_it(slit_eV, multislice, say) -> None:
    shot = exposure(shape_px=(256, 256), ice_thickness_A=300.0, hole_radius_A=250.0, hole_offset_A=(-250.0, 0.0),
                    n_frames=1)  # fmt: skip
    on = {"support": True, "inelastic": True, "shot_noise": False, "slit_eV": slit_eV, "multislice": multislice}
    made = shoot([nothing()], seed=3, shot=shot, grid_A=16.0, **on)
    frame = made.movie.source.read_frame(0).astype(np.float64)
    y, x = np.indices(frame.shape) * PIXEL_A
    away_A = np.hypot(x - 6.0, y - 256.0)
    # Fresnel fringes of the rim reach some 100 Å.
    carbon, hole = (frame[where].mean() for where in (away_A > 350.0, away_A < 150.0))
    left = np.exp(-150.0 / carbon_mean_free_path_A(300.0))
    say(f"carbon over hole, slit {slit_eV:g} eV, multislice {multislice}: {carbon / hole:.4f}, without loss {left:.4f}")
    if slit_eV:
        passed = passed_loss_frac(slit_eV)
        ice_left = np.exp(-300.0 / inelastic_mean_free_path_A(300.0))
        taken = (passed + (1.0 - passed) * ice_left * left) / (passed + (1.0 - passed) * ice_left)
        assert carbon / hole == pytest.approx(taken, rel=0.01)
        assert carbon / hole < 0.94
    else:
        assert carbon / hole == pytest.approx(1.0, abs=0.01)
    covered = float(np.mean(made.truth.support == 1.0))
    zero_loss = np.exp(-300.0 / inelastic_mean_free_path_A(300.0)) * (1.0 - covered * (1.0 - left))
    assert made.truth.zero_loss_frac == pytest.approx(zero_loss, rel=1e-3)
    assert frame.mean() == pytest.approx(made.truth.recorded_e_px, rel=0.01)


def test_frozen_ethane__lies_where_the_truth_says_and_is_dark() -> None:
    made = shoot([nothing()], seed=3, shot_noise=False, ethane_frac=0.3, ethane_height_A=400.0, grid_A=16.0)
    there = made.truth.support == 3.0
    assert np.mean(there) == pytest.approx(0.3, abs=0.03)
    squares = contrast_of(made).reshape(64, 8, 64, 8).mean(axis=(1, 3))
    assert squares[there].mean() < squares[~there].mean()


def test_an_empty_hole__holds_nothing() -> None:
    made = troubled(empty_hole=True, inelastic=True, ice_noise=True, shot_noise=False)
    assert len(made.truth.particles) == 0
    assert not made.truth.ice_thickness_A.any()
    assert made.truth.zero_loss_frac == 1.0
    assert np.abs(contrast_of(made)).max() < 1e-6


def test_a_lost_slit__lets_all_electrons_through() -> None:
    with_slit, without = (troubled(slit_lost=lost, inelastic=True, ice_thickness_A=800.0) for lost in (False, True))
    assert with_slit.truth.zero_loss_frac == without.truth.zero_loss_frac < 0.9
    ratio = summed(with_slit).mean() / summed(without).mean()
    assert ratio == pytest.approx(with_slit.truth.zero_loss_frac, rel=0.005)
    assert with_slit.truth.recorded_e_px / without.truth.recorded_e_px == pytest.approx(ratio, rel=0.005)


def test_a_dead_block__gives_nothing_and_no_map_knows() -> None:
    made = troubled(EMPTY, dead_block_px=(100, 200, 32, 64))
    frame = made.movie.source.read_frame(1)
    assert not frame[100:132, 200:264].any()
    assert frame[:100].all()
    assert not made.defects.data.any()


def test_another_dose__is_recorded_but_not_stated() -> None:
    made = troubled(EMPTY, dose_factor=0.5)
    assert made.movie.dose_per_frame_e_A2 == 5.0
    assert made.truth.incident_e_px == pytest.approx(0.5 * 5.0 * PIXEL_A**2)
    assert summed(made).mean() / 4 == pytest.approx(0.5 * 5.0 * PIXEL_A**2 * 0.87, rel=0.005)


def test_carbon__is_where_the_hole_is_not() -> None:
    shot = exposure(hole_radius_A=500.0, hole_offset_A=(-300.0, 0.0))
    made = shoot(seed=3, shot=shot, support=True, shot_noise=False, grid_A=32.0)
    y, x = np.meshgrid((np.arange(32) + 0.5) * 32.0, (np.arange(32) + 0.5) * 32.0, indexing="ij")
    outside = np.hypot(x - 212.0, y - 512.0) > 500.0
    assert np.array_equal(made.truth.support == 1.0, outside)
    table = made.truth.particles
    assert np.all(np.hypot(table.floats("x_A") - 212.0, table.floats("y_A") - 512.0) < 500.0)
    image = contrast_of(made)
    dark = image[256, 450:].mean()
    assert dark < image[256, 100:180].mean() - 0.05
    counted = shoot(seed=3, shot=shot, support=True)
    # Amplitude contrast takes electrons away: 10 % of the phase, on either side of the unscattered beam.
    assert counted.truth.recorded_e_px < 0.93 * 5.0 * PIXEL_A**2 * 0.87
    assert summed(counted).mean() / 4 == pytest.approx(counted.truth.recorded_e_px, rel=0.005)
