"""What simulate_movies `physical` does frame by frame: motion, damage, moving ice, energy loss, against theory."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from simulate_bench import (
    PIXEL_A,
    alike,
    coil,
    contrast_of,
    exposure,
    nothing,
    shells,
    shoot,
    spectrum,
    windowed,
)

from cryoframe import FadingPart
from cryoframe.numerics import fourier
from cryoframe.numerics.damage import signal_left
from cryoframe.numerics.grids import frequency_axes_1_A


# -- motion --------------------
def test_shifts_of_the_truth__undo_the_motion() -> None:
    made = shoot(shot_noise=False, seed=3, motion=True, whole_early_A=20.0, local_early_A=0.0, local_steady_A=0.0,
                 drift_A_s=2.0, early_e_A2=10.0)  # fmt: skip
    table = made.truth.motion
    whole = np.isnan(table.floats("patch_x_A"))
    shift = np.stack([table.floats("shift_x_A")[whole], table.floats("shift_y_A")[whole]], axis=1)
    assert np.allclose(shift[0], 0.0)
    assert np.hypot(*shift[-1]) > 5.0
    first = contrast_of(made, 0)
    inner = slice(64, -64)
    for index in (1, 3):
        frame = contrast_of(made, index).astype(np.float32)
        undone = fourier.shift_images(frame[None], shift[index : index + 1] / PIXEL_A)[0]
        # Blur is off and the damage too: nothing is left but the edges.
        assert alike(undone[inner, inner], first[inner, inner]) > 0.999
        assert alike(frame[inner, inner], first[inner, inner]) < 0.9


def test_local_motion__is_stated_where_it_is() -> None:
    made = shoot(shot_noise=False, seed=3, motion=True, local_early_A=30.0, correlation_A=500.0, n_motion_places=4)
    table, scene = made.truth.motion, made.movie.source.frames.scene
    assert len(table) == (1 + 16) * 4
    last = (table.column("frame") == 3) & ~np.isnan(table.floats("patch_x_A"))
    x, y = table.floats("patch_x_A")[last], table.floats("patch_y_A")[last]
    path = scene.displacement_A(x, y)
    assert np.allclose(table.floats("shift_x_A")[last], path[:, 0, 0] - path[:, 3, 0], atol=1e-3)
    assert np.ptp(table.floats("shift_x_A")[last]) > 5.0


def test_blur_within_a_frame__is_the_sinc_of_its_streak() -> None:
    settings = {"motion": True, "whole_early_A": 0.0, "local_early_A": 0.0, "local_steady_A": 0.0, "jitter_A": 0.0,
                "drift_A_s": 6.0, "motion_spread": 0.0}  # fmt: skip
    sharp, blurred = (
        spectrum(contrast_of(shoot(shot_noise=False, seed=3, blur=which, **settings), 1)) for which in (False, True)
    )
    made = shoot(shot_noise=False, seed=3, blur=True, **settings)
    streak = made.movie.source.frames.scene.streak_A(512.0, 512.0)[1]
    assert np.hypot(*streak) == pytest.approx(6.0, rel=1e-6)
    kx, ky = frequency_axes_1_A((512, 512), PIXEL_A, centred_half=False)
    along = kx * streak[0] + ky * streak[1]
    for low in (0.2, 0.5, 0.8):
        band = (np.abs(along) >= low) & (np.abs(along) < low + 0.05) & (np.hypot(kx, ky) < 0.2)
        left = np.sum((blurred * np.conj(sharp)).real[band]) / np.sum(np.abs(sharp[band]) ** 2)
        assert left == pytest.approx(np.sinc(low + 0.025), abs=0.03)


def test_doming__shifts_the_mean_defocus_of_the_truth() -> None:
    made = shoot(seed=3, doming=True, dome_A=400.0)
    scene = made.movie.source.frames.scene
    change = made.truth.particles.floats("defocus_u_A") - 12000.0 - made.truth.particles.floats("z_A")
    assert np.allclose(change, scene.defocus_change_A().mean(), atol=0.01)
    assert abs(change[0]) > 10.0


# -- damage --------------------
@pytest.mark.parametrize("temperature_K", [80.0, 30.0])
def test_signal__fades_by_the_critical_dose(temperature_K) -> None:
    shot = exposure(dose_per_frame_e_A2=10.0)
    whole, faded = (
        windowed(contrast_of(shoot(seed=3, shot=shot, shot_noise=False, damage=which, temperature_K=temperature_K), 3))
        for which in (False, True)
    )
    k = shells((512, 512), PIXEL_A)
    for low in (0.05, 0.10, 0.15, 0.20):
        band = (k >= low) & (k < low + 0.01)
        left = np.sum((faded * np.conj(whole)).real[band]) / np.sum(np.abs(whole[band]) ** 2)
        kept = signal_left(k[band], 30.0, 40.0, voltage_kV=300.0, temperature_K=temperature_K)
        expected = np.sum(kept * np.abs(whole[band]) ** 2) / np.sum(np.abs(whole[band]) ** 2)
        assert left == pytest.approx(expected, abs=0.01)


def test_sites_that_fade_first__are_gone_with_their_lifetime() -> None:
    whole = coil()
    part = FadingPart(replace(whole.volume, data=0.5 * whole.volume.data), lifetime_e_A2=15.0)
    specimen = replace(whole, volume=part.volume, fading=(part,))
    shot = exposure(dose_per_frame_e_A2=10.0)
    steady = contrast_of(shoot([specimen], seed=3, shot=shot, shot_noise=False, damage=True, site_damage=False), 3)
    fading = contrast_of(shoot([specimen], seed=3, shot=shot, shot_noise=False, damage=True, site_damage=True), 3)
    # Half of the potential is left with the mean of exp(−N/15) from 30 to 40 e/Å².
    left = 15.0 / 10.0 * (np.exp(-30.0 / 15.0) - np.exp(-40.0 / 15.0))
    assert np.sum(fading * steady) / np.sum(steady**2) == pytest.approx(0.5 + 0.5 * left, abs=0.01)


def test_ice__moves_under_the_beam_unless_told_not_to(say) -> None:
    for road in (False, True):
        still, moving = (
            shoot([nothing()], shot=exposure(shape_px=(256, 256)), shot_noise=False, ice_noise=True,
                  ice_motion=which, multislice=road)
            for which in (False, True)
        )  # fmt: skip
        assert np.allclose(contrast_of(still, 0), contrast_of(still, 3), atol=1e-6)
        k = shells((256, 256), PIXEL_A)
        first, last = (windowed(contrast_of(moving, index)) for index in (0, 3))
        kept = []
        for low in (0.04, 0.10):
            band = (k >= low) & (k < low + 0.02)
            kept.append(np.sum((first * last.conj()).real[band]) / np.sum(np.abs(first * last)[band]))
        say(f"multislice {road}: correlation of frames 15 e/Å² apart is {kept[0]:.2f} at 20 Å, {kept[1]:.2f} at 9 Å")
        # exp(−(2πk)²·1.1·15/6): 0.77 at 0.05 1/Å, 0.27 at 0.11 1/Å, over the phases' mean of random amplitudes, ~0.79.
        assert kept[0] > 0.6
        assert 0.0 < kept[1] < 0.5


# -- energy --------------------
def test_without_a_slit__contrast_is_diluted_the_more_the_thicker_the_ice(say) -> None:
    """The signal over shot noise falls by √(zero-loss share) without energy filter, S-20."""
    gains = []
    for thickness_A in (300.0, 1200.0):
        shot = exposure(ice_thickness_A=thickness_A)
        filtered, open_ = (
            shoot(seed=3, shot=shot, shot_noise=False, inelastic=True, slit_eV=slit) for slit in (10.0, 0.0)
        )
        k = shells((512, 512), PIXEL_A)
        band = (k > 0.1) & (k < 0.2)
        snr = []
        for made in (filtered, open_):
            frame = made.movie.source.read_frame(0).astype(np.float64)
            snr.append(np.sum(np.abs(windowed(frame)[band]) ** 2) / frame.mean())
        zero_loss = filtered.truth.zero_loss_frac
        gains.append(snr[0] / snr[1])
        say(f"{thickness_A:.0f} Å: {gains[-1]:.3f} times the signal over noise, 1/zero-loss share {1 / zero_loss:.3f}")
        # Filtered: z² over z; unfiltered: z² over 1. Delocalised losses carry nothing beyond 10 Å.
        assert gains[-1] == pytest.approx(1.0 / zero_loss, rel=0.01)
    assert gains[1] > gains[0]
