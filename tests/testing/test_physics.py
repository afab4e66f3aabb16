"""The measures of the physics checks measure what they say, and a plugin that does less than ours is not blamed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cryoframe.kernel.discovery import local_offers
from cryoframe.numerics import filters, fourier
from cryoframe.testing import experiments, phantoms, run_checks, testcard
from cryoframe.testing.checks import boxes_physics, cleaning_physics, ctf_physics, motion_physics, picking_physics


def test_the_displacement_of_two_images__is_found_to_a_quarter_of_a_pixel() -> None:
    still = phantoms.texture(phantoms.FIELD_PX)
    for dx, dy in ((0.0, 0.0), (3.25, -1.5), (-7.75, 4.0)):
        moved = fourier.shift_images(still, (dx, dy))
        assert motion_physics.displacement_px(moved, still) == pytest.approx((dx, dy), abs=0.13)
        assert motion_physics.likeness(moved, still) == pytest.approx(1.0, abs=0.02)
    other = phantoms.texture(phantoms.FIELD_PX, key="other")
    # The best of a million places of two images that have nothing in common.
    assert motion_physics.likeness(other, still) < 0.1


def test_the_exposure_that_takes_the_signal__is_that_of_the_numerics() -> None:
    for k in (0.03, 0.06, 0.125):
        theirs = float(filters.critical_dose_e_A2(np.array(k), 300.0))
        assert motion_physics.critical_exposure_e_A2(k) == pytest.approx(theirs)


@pytest.mark.parametrize("pre_dose", [0.0, 20.0])
def test_weights_of_frames__come_back_from_a_weighted_sum(pre_dose: float) -> None:
    own = experiments.NOISE * phantoms.rng_of("weights").standard_normal((6, *phantoms.FIELD_PX))
    dose = experiments.DOSE_E_A2 * np.arange(1, 7)
    ky, kx = (f(n, phantoms.PIXEL_A) for f, n in zip((np.fft.fftfreq, np.fft.rfftfreq), phantoms.FIELD_PX, strict=True))
    weights = filters.frame_weights(np.hypot(ky[:, None], kx), dose + pre_dose, 300.0)
    image = np.fft.irfft2((np.fft.rfft2(own) * weights).sum(axis=0), phantoms.FIELD_PX)
    found = motion_physics.frame_weights(image, own, np.zeros((6, 2)))
    for (low, high), weight in zip(motion_physics.WEIGHED_1_A, found, strict=True):
        wanted = 1.0 / (2.0 * motion_physics.critical_exposure_e_A2(0.5 * (low + high)))
        assert motion_physics.decay_with(dose, weight) == pytest.approx(wanted, rel=0.15)


def test_squares__are_laid_on_the_pixels_they_are_of() -> None:
    usable = np.array([[1.0, 0.0], [0.5, 0.25]], dtype=np.float32)

    class Found:
        tile_A = 3 * phantoms.PIXEL_A

    found = Found()
    found.usable = usable  # type: ignore[attr-defined]
    pixels = cleaning_physics.by_pixel(found, (7, 6))
    assert pixels.shape == (7, 6)
    assert pixels[2, 2] == 1.0
    assert pixels[2, 3] == 0.0
    assert pixels[3, 0] == 0.5
    assert pixels[6, 5] == 0.25


def test_phantoms_of_one_question__hold_what_they_are_for(tmp_path: Path) -> None:
    moving = experiments.MAKERS["correct_motion", "detail"]("detail", tmp_path).truth
    assert np.ptp(moving.places_px, axis=0) == pytest.approx([7.7, 4.2])
    black = experiments.MAKERS["correct_motion", "blank"]("blank", tmp_path).truth.frames
    assert not black[experiments.BLANK_FRAME].any()
    raw = experiments.MAKERS["correct_motion", "gain"]("gain", tmp_path)
    assert testcard.correlation(raw.truth.frames.sum(axis=0), 1.0 / raw.truth.gain.data) > 0.5
    graded = experiments.MAKERS["pick_particles", "graded"]("graded", tmp_path).truth
    x, y = np.round(graded.centres_A / phantoms.PIXEL_A).astype(int).T
    assert testcard.correlation(graded.micrograph.data[y, x], np.arange(len(x), dtype=np.float64)) < -0.8
    carbon = experiments.MAKERS["clean_micrograph", "carbon"]("carbon", tmp_path)
    assert 0.05 < carbon.truth.mean() < 0.35
    assert carbon.inputs["micrograph"].data[carbon.truth].mean() < 85.0


#: hook → a plugin that does less than ours, and does it right.
MODEST = {
    "correct_motion": """
@dataclass(frozen=True)
class Params:
    '''What may be set.'''

    resolution_A: float = 6.0  #: finest spacing used to align


@hookimpl
def correct_motion(movie: Movie, params: Params, ctx: StageContext) -> CorrectedMicrograph:
    return motion.correct_motion(movie, motion.Params(resolution_A=params.resolution_A, dose_weighting=False), ctx)
""",
    "estimate_ctf": """
@dataclass(frozen=True)
class Params:
    '''What may be set.'''

    defocus_max_A: float = 50000.0  #: largest defocus searched


@hookimpl
def estimate_ctf(micrograph: Micrograph, params: Params, ctx: StageContext) -> CtfFit:
    fit = ctf.estimate_ctf(micrograph, ctf.Params(defocus_max_A=params.defocus_max_A), ctx)
    return replace(fit, accepted=True, verdict="", confidence_frac=None, ice_thickness_A=None)
""",
    "pick_particles": """
@dataclass(frozen=True)
class Params:
    '''What may be set.'''

    diameter_A: float = 150.0  #: longest diameter of the particle


@hookimpl
def pick_particles(micrograph: Micrograph, params: Params, ctx: StageContext) -> ParticleTable:
    fit = CtfFit("", 12000.0, 12000.0, 0.0)
    return pick.pick_particles(micrograph, fit, pick.Params(diameter_A=params.diameter_A, use_ctf=False), ctx)
""",
}
_HEAD = """'''Does less than ours.'''

from __future__ import annotations

from dataclasses import dataclass, replace

from cryoframe import CorrectedMicrograph, CtfFit, Micrograph, Movie, ParticleTable, StageContext, hookimpl
from cryoframe_ctf import plugin as ctf
from cryoframe_motion import plugin as motion
from cryoframe_pick import plugin as pick

"""
_CHECKS = {
    "correct_motion": motion_physics.CHECKS,
    "estimate_ctf": ctf_physics.CHECKS,
    "pick_particles": picking_physics.CHECKS,
}


@pytest.mark.parametrize("hook", MODEST)
def test_a_plugin_that_does_less_and_says_so__passes(hook: str, tmp_path: Path) -> None:
    (tmp_path / "modest.py").write_text(_HEAD + MODEST[hook])
    offers = local_offers([tmp_path / "modest.py"])
    results = run_checks(hook, "modest", offers=offers, only=[check.name for check in _CHECKS[hook]])
    assert not [f"{result.check}: {result.message}" for result in results if not result.passed]
    assert len(results) == len(_CHECKS[hook])


def test_every_physics_check__catches_a_planted_fault() -> None:
    planted = "".join(path.read_text(encoding="utf-8") for path in (Path(__file__).parent / "mutants").glob("*.py"))
    physics = (motion_physics, ctf_physics, picking_physics, cleaning_physics, boxes_physics)
    names = [check.name for module in physics for check in module.CHECKS] + ["impossible_image_refused"]
    assert [name for name in names if f'CAUGHT_BY = "{name}"' not in planted] == []
