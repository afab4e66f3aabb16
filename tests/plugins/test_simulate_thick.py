"""Multislice of simulate_movies `physical`: the weak-phase image when thin, the Ewald sphere's curvature when not."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from simulate_bench import PIXEL_A, coil, contrast_of, exposure, nothing, shoot

from cryoframe import Volume
from cryoframe.errors import InvalidInput
from cryoframe.numerics.ctf import wavelength_A
from cryoframe.numerics.grids import frequency_axes_1_A
from cryoframe.numerics.scene import FadingPatches, ParticleGroup
from cryoframe.numerics.scene_frames import SceneFrames
from cryoframe_simulate.sample import Projector
from cryoframe_simulate.thick import ThickFrames

SHOT = exposure(shape_px=(256, 256), ice_thickness_A=200.0)


def inner(image: np.ndarray) -> np.ndarray:
    return image[24:-24, 24:-24]


def faint(share: float, **settings: object):
    made = coil(concentration_mg_mL=4.0, **settings)
    return replace(made, volume=replace(made.volume, data=made.volume.data * np.float32(share)))


def both(specimen, **params: object) -> tuple[np.ndarray, np.ndarray]:
    """The field by multislice and by weak phases; some particles lie across its edges."""
    roads = (
        shoot([specimen], seed=1, shot=SHOT, shot_noise=False, multislice=road, **params) for road in (True, False)
    )
    thick, weak = (contrast_of(made) for made in roads)
    return thick, weak


def test_a_weak_object__gives_the_weak_phase_image(say) -> None:
    thick, weak = both(faint(0.05))
    share = np.std(thick - weak) / np.std(weak)
    say(f"difference {100 * share:.2f} % of the contrast")
    assert np.std(weak) > 0
    assert share < 0.01


def test_a_stronger_object__departs_by_its_second_order(say) -> None:
    departures = []
    for share in (0.5, 1.0):
        thick, weak = both(faint(share))
        departures.append(np.std(thick - weak) / np.std(weak))
    say(f"departs by {departures[0]:.4f} and {departures[1]:.4f} at half and whole potential")
    # The relative departure is first order in the potential, but for what the sphere's curvature adds to both.
    assert departures[1] == pytest.approx(2.0 * departures[0], rel=0.35)


def test_aberrations_motion_and_phase_plates__act_alike_on_both_roads() -> None:
    thick, weak = both(faint(0.05), trefoil_x_rad_A3=30.0, magnification_anisotropy_frac=0.02, aperture_mrad=8.0)
    assert np.std(thick - weak) / np.std(weak) < 0.015
    thick, weak = both(faint(0.05), motion=True, blur=True, drift_A_s=3.0)
    assert np.std(thick - weak) / np.std(weak) < 0.02


def test_frames__come_in_any_order_and_count_like_others() -> None:
    made = shoot([coil()], shot=SHOT, multislice=True, ice_noise=True, damage=True, motion=True)
    source = made.movie.source
    forward = [source.read_frame(index) for index in range(3)]
    assert np.array_equal(source.read_frame(0), forward[0])
    assert np.array_equal(source.read_frame(2), forward[2])
    expected = 5.0 * PIXEL_A**2 * 0.87
    assert np.mean(forward) == pytest.approx(expected, rel=0.01)


def test_ice__has_the_power_of_the_weak_phase_road(say) -> None:
    def power(road: bool) -> float:
        made = shoot([nothing()], shot=SHOT, multislice=road, ice_noise=True, shot_noise=False)
        ft = np.abs(np.fft.rfft2(inner(contrast_of(made)))) ** 2
        kx, ky = frequency_axes_1_A(inner(np.zeros((256, 256))).shape, PIXEL_A, centred_half=False)
        k = np.hypot(kx, ky)
        # Multislice keeps two thirds of Nyquist.
        return float(ft[(k > 0.05) & (k < 0.15)].sum())

    ratio = power(True) / power(False)
    say(f"ice by multislice has {ratio:.3f} of the power")
    # 2 700 independent coefficients of either, so 2 % each; the roads do not share their ice.
    assert ratio == pytest.approx(1.0, abs=0.08)


def test_two_atoms_one_above_the_other__show_the_curvature_of_the_ewald_sphere(say) -> None:
    """At ±t/2 they image with defoci Δf ± t/2: sin(χ + a) + sin(χ − a) = 2·sin χ·cos a, a = πλk²t/2."""
    n, pixel, apart_A = 144, 0.75, 96.0
    axis = (np.arange(n) - n // 2) * pixel
    profile = np.exp(-0.5 * (axis / 0.9) ** 2)
    along = sum(np.exp(-0.5 * ((axis - at) / 0.9) ** 2) for at in (-0.5 * apart_A, 0.5 * apart_A))
    volume = Volume((1e-3 * np.einsum("z,y,x->zyx", along, profile, profile)).astype(np.float32), pixel)
    shot = exposure(shape_px=(256, 256), pixel_size_A=pixel, defocus_u_A=3000.0, defocus_v_A=3000.0)
    scene = shoot([nothing(pixel)], shot=shot).movie.source.frames.scene
    patches = FadingPatches(Projector(volume.data, pixel, np.eye(3)[None]))
    middle = np.array([128.0 * pixel])
    scene = replace(scene, particles=(ParticleGroup(middle, middle, np.zeros(1), (patches,)),))
    thick, weak = (np.fft.rfft2(frames.expected(0)) for frames in (ThickFrames(scene, 3.0), SceneFrames(scene)))
    kx, ky = frequency_axes_1_A((256, 256), pixel, centred_half=False)
    k = np.hypot(kx, ky)
    for low in (0.10, 0.20, 0.30, 0.38):
        band = (k >= low) & (k < low + 0.04)
        slope = np.sum((thick * np.conj(weak)).real[band]) / np.sum(np.abs(weak[band]) ** 2)
        a = np.pi * wavelength_A(300.0) * k[band] ** 2 * 0.5 * apart_A
        expected = np.sum(np.cos(a) * np.abs(weak[band]) ** 2) / np.sum(np.abs(weak[band]) ** 2)
        say(f"{low:.2f} 1/Å: {slope:.3f} of a flat slice, expected {expected:.3f}")
        assert slope == pytest.approx(expected, abs=0.01)


def test_too_many_slices__are_refused_before_any_is_made() -> None:
    begun = time.perf_counter()
    with pytest.raises(InvalidInput, match="slices of"):
        shoot([coil(1.0, 64)], shot=exposure(shape_px=(4092, 5760), pixel_size_A=1.0), multislice=True, slice_A=1.0)
    assert time.perf_counter() - begun < 1.0
