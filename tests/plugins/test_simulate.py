"""simulate_movies `physical`: what it refuses, what it repeats, what its tables say."""

from __future__ import annotations

import dataclasses
import pickle
import time
from dataclasses import replace

import numpy as np
import pytest
from simulate_bench import PIXEL_A, coil, exposure, shoot

from cryoframe import FadingPart, Trouble, Volume
from cryoframe.errors import InvalidInput
from cryoframe_simulate.plugin import Params


# -- refusing --------------------
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"microscope": "krios_g44"}, r"no microscope is called 'krios_g44' — did you mean 'krios_g4'"),
        ({"camera": "falcon4i"}, r"no camera is called 'falcon4i' — did you mean 'falcon_4i'"),
    ],
)
def test_an_unknown_preset__is_refused_with_the_nearest_name(change, words) -> None:
    with pytest.raises(InvalidInput, match=words):
        shoot(**change)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"dose_per_frame_e_A2": 90.0, "n_frames": 40}, r"make 3600 e/Å²; expected at most 1000"),
        ({"dose_per_frame_e_A2": float("nan")}, r"dose_per_frame_e_A2 = nan"),
        ({"pixel_size_A": float("inf")}, r"pixel_size_A = inf"),
        ({"shape_px": (5000, 6000)}, r"frame of 5000 × 6000 pixels was asked for from camera k3"),
        ({"pixel_size_A": 1.9}, r"pixels of 2.0 Å, the exposure of 1.9 Å"),
        ({"defocus_u_A": 1000.0}, r"is below defocus_v_A"),
        ({"n_frames": 0}, r"n_frames = 0"),
        ({"ice_thickness_A": 1e9}, r"ice_thickness_A"),
        ({"trouble": Trouble(stage_jump_A=5.0, stage_jump_frame=4)}, r"stage jump at frame 4"),
        ({"trouble": Trouble(dead_block_px=(500, 0, 20, 20))}, r"dead block"),
        ({"trouble": Trouble(dose_factor=float("nan"))}, r"dose_factor = nan"),
        ({"dose_per_frame_e_A2": 50.0, "frame_time_s": 1e-4}, r"detected in a pixel and internal frame of camera k3"),
        ({"concentration_factor": 1e5}, r"particles into one field"),
        ({"stage_tilt_deg": 85.0}, r"stage_tilt_deg"),
        ({"ice_ramp": (float("nan"), 0.0)}, r"ice_ramp"),
    ],
)
def test_an_exposure_that_cannot_be__is_refused_at_once(change, words) -> None:
    begun = time.perf_counter()
    with pytest.raises(InvalidInput, match=words):
        shoot(shot=exposure(**change))
    assert time.perf_counter() - begun < 1.0


def test_no_specimen__is_refused_unless_the_hole_is_empty() -> None:
    with pytest.raises(InvalidInput, match="has no specimen"):
        shoot([])
    assert len(shoot([], shot=exposure(trouble=Trouble(empty_hole=True))).truth.particles) == 0
    assert len(shoot([], shot=exposure(concentration_factor=0.0)).truth.particles) == 0


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda s: replace(s, mass_kDa=0.0), "mass_kDa"),
        (lambda s: replace(s, views=()), "0 views"),
        (lambda s: replace(s, volume=Volume(np.zeros((8, 9, 9), np.float32), PIXEL_A)), "a cube of even side"),
        (lambda s: replace(s, volume=Volume(np.full((8, 8, 8), np.nan, np.float32), PIXEL_A)), "not finite"),
    ],
)
def test_a_specimen_that_cannot_be__is_refused(spoil, words) -> None:
    with pytest.raises(InvalidInput, match=words):
        shoot([spoil(coil())])


def test_parameters_out_of_bounds__are_refused() -> None:
    with pytest.raises(InvalidInput, match="temperature_K"):
        Params(temperature_K=float("nan"))
    with pytest.raises(InvalidInput, match="overlap"):
        Params(overlap="some")  # type: ignore[arg-type]


# -- repeating --------------------
def test_the_same_seed__gives_the_same_bytes_in_whatever_order() -> None:
    everything = {name: True for name in ("ice_noise", "inelastic", "damage", "motion", "blur", "gain", "defects")}
    first, again = (shoot(seed=5, **everything) for _ in range(2))
    forward = [first.movie.source.read_frame(i) for i in range(4)]
    for index in (3, 0, 2, 1):
        assert np.array_equal(again.movie.source.read_frame(index), forward[index])
    elsewhere = pickle.loads(pickle.dumps(first.movie.source))
    assert np.array_equal(elsewhere.read_frame(2), forward[2])
    assert first.truth.particles == again.truth.particles
    for name in ("shift_x_A", "shift_y_A"):
        assert np.array_equal(first.truth.motion.column(name), again.truth.motion.column(name))


def test_another_seed_or_exposure__gives_other_particles_and_the_same_camera() -> None:
    first = shoot(seed=5, gain=True, defects=True, hot_pixels=True)
    other = shoot(seed=6, gain=True, defects=True, hot_pixels=True)
    later = shoot(seed=5, gain=True, defects=True, hot_pixels=True, shot=exposure(exposure_id="later"))
    for made in (other, later):
        assert made.truth.particles != first.truth.particles
        assert np.array_equal(made.gain.data, first.gain.data)
        assert np.array_equal(made.defects.data, first.defects.data)
    elsewhere = shoot(seed=5, gain=True, defects=True, hot_pixels=True, camera_seed=1)
    assert not np.array_equal(elsewhere.gain.data, first.gain.data)
    assert elsewhere.truth.particles == first.truth.particles


# -- switching --------------------
SWITCHES = sorted(field.name for field in dataclasses.fields(Params) if field.type == "bool")


@pytest.mark.parametrize("name", SWITCHES)
def test_every_switch__changes_the_frames(name) -> None:
    whole = coil()
    part = FadingPart(replace(whole.volume, data=0.5 * whole.volume.data), lifetime_e_A2=10.0)
    specimen = replace(whole, fading=(part,))
    shot = exposure(shape_px=(256, 256), hole_radius_A=240.0, frame_time_s=0.5)
    camera = "integrating_ccd" if name == "pedestal" else "k2"
    settings = {switch: True for switch in SWITCHES if switch != "multislice"}
    settings |= {"camera": camera, "dome_A": 900.0, "drift_A_s": 4.0, "slit_eV": 10.0}
    frames = []
    for state in (True, False):
        made = shoot([specimen], shot=shot, seed=2, **(settings | {name: state}))
        frames.append(made.movie.source.read_frame(2))
    assert not np.array_equal(*frames)


# -- tables --------------------
def test_every_particle__has_identity_position_ctf_pose_and_what_it_is() -> None:
    table = shoot([coil(conformation=0.25), coil(truth_class="aggregate")]).truth.particles
    table.check()
    assert all(table.has(group) for group in ("identity", "position", "ctf", "pose", "specimen"))
    assert len(table) > 5
    assert set(table.column("truth_class")) == {"particle", "aggregate"}
    of_class = dict(zip(table.column("truth_class"), table.column("conformation_frac"), strict=True))
    assert of_class == {"particle": 0.25, "aggregate": 0.0}
    assert np.allclose(table.floats("defocus_u_A"), 12000.0 + table.floats("z_A"), atol=0.01)
    extent = 512 * PIXEL_A
    assert table.floats("x_A").min() >= 0.0
    assert table.floats("x_A").max() <= extent - PIXEL_A


def test_number_of_particles__follows_concentration_and_volume() -> None:
    counts = [len(shoot(seed=seed, overlap="free").truth.particles) for seed in range(40)]
    # 2 mg/mL of 60 kDa in 1024² Å² × 300 Å; a sphere of 55 Å fits everywhere, its centre in 190 of 300 Å.
    expected = 2.0 / 60.0 * 6.02214e-7 * 1024.0**2 * 300.0
    assert abs(np.mean(counts) - expected) < 3.0 * np.sqrt(expected / len(counts))
