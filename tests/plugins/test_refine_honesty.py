"""Both refiners on what must not refine: noise, wrong starts, particles in both half-sets, inputs of nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cryoframe import Mask, ParticleStack, StageContext, Volume
from cryoframe.errors import CryoframeError, HalfSetError, InvalidInput
from cryoframe.numerics import fsc, reconstruction, rotations, seed_agreement, symmetry
from cryoframe.testing import phantoms
from cryoframe_refine import nonuniform, plugin
from cryoframe_refine.admission import in_order

REFINERS = {"gold": plugin, "nonuniform": nonuniform}
QUICK = {"coarse_step_deg": 15.0, "n_whole": 2, "n_iterations": 4, "particle_diameter_A": 120.0}


@pytest.fixture(params=list(REFINERS))
def refiner(request):
    return REFINERS[request.param]


def refined(refiner, made, start, tmp_path, mask=None, **context):
    return refiner.refine_3d(made.stack, start, mask, refiner.Params(**QUICK), StageContext(tmp_path, **context))


def other_molecule(seed):
    """Sixteen lumps anywhere: a wrong start of the right size."""
    places = np.random.default_rng(seed).normal(0.0, 20.0, (16, 3))
    axis = (np.arange(phantoms.BOX_PX) - phantoms.BOX_PX // 2) * phantoms.PIXEL_A
    profile = np.exp(-0.5 * ((axis - places[:, :, None]) / phantoms.LUMP_SIGMA_A) ** 2)
    data = np.einsum("pz,py,px->zyx", profile[:, 2], profile[:, 1], profile[:, 0], optimize=True)
    return Volume(data.astype(np.float32), phantoms.PIXEL_A)


def test_pure_noise__agrees_no_further_than_its_common_start_and_that_is_said(refiner, tmp_path, say):
    made, lines, metrics = phantoms.particles(200, snr=0.0, key="noise drill"), [], {}
    result = refined(
        refiner, made, made.volume, tmp_path,
        on_log=lines.append, on_metric=lambda name, value, unit: metrics.__setitem__(name, value),
    )  # fmt: skip
    # The start ends at 30 Å, with its edge and the mask's smear at shell 6 of 128 Å; all beyond is the noise's own.
    beyond = result.fsc.floats("frequency_1_A") > 5.5 / 128.0
    curves = [result.fsc.floats(name)[beyond] for name in ("fsc_unmasked", "fsc_masked")]
    say(f"noise: FSC beyond its start at most {max(curve.max() for curve in curves):.3f}")
    for curve in curves:
        assert curve.max() < 0.143
        assert abs(curve.mean()) < 0.04
    assert metrics["bound_to_start"] == 1.0
    assert any("noise aligned to that start" in line for line in lines)


def test_wrong_start__is_seen_by_a_run_from_another_one_and_a_right_one_is_not_blamed(tmp_path, say):
    """Half-maps from a wrong start agree to 18 Å on what both took from it: only a second start can tell."""
    made = phantoms.particles(200, snr=0.5, key="seed drill")
    blurred = replace(made.volume, data=made.volume.data + 0.7 * other_molecule(5).data)
    starts = {"truth": made.volume, "spoilt": blurred, "wrong": other_molecule(1), "wrong too": other_molecule(2)}
    runs = {name: refined(plugin, made, start, tmp_path) for name, start in starts.items()}

    def verdict(one, two):
        claimed_A = max(runs[name].fsc.resolution_A(0.143, curve="fsc_masked") for name in (one, two))
        found = seed_agreement.independent_agreement(
            runs[one].volume.data, runs[two].volume.data, pixel_size_A=phantoms.PIXEL_A, claimed_A=claimed_A
        )
        say(f"{one} / {two}: half-maps claim {found.claimed_A:.1f} Å, the runs share {found.common_A:.1f} Å")
        return found

    assert verdict("wrong", "wrong too").alarm
    assert verdict("truth", "wrong").alarm
    assert verdict("wrong", "wrong too").claimed_A < 22.0
    assert not verdict("truth", "spoilt").alarm


def test_noise_from_two_starts__shares_nothing(tmp_path):
    made = phantoms.particles(120, snr=0.0, key="two starts of noise")
    runs = [refined(plugin, made, start, tmp_path) for start in (made.volume, other_molecule(3))]
    claimed_A = max(run.fsc.resolution_A(0.143, curve="fsc_masked") for run in runs)
    assert seed_agreement.independent_agreement(
        runs[0].volume.data, runs[1].volume.data, pixel_size_A=phantoms.PIXEL_A, claimed_A=claimed_A
    ).alarm


@pytest.fixture(scope="module")
def made():
    return phantoms.particles(40, snr=0.5, key="admission")


def in_other_half(made, **columns):
    """Its first particle once more, under another identity and in the other half-set."""
    table = made.stack.particles
    again = table.select([0])
    changed = {
        "particle_id": again.column("particle_id").astype(np.uint64) ^ np.uint64(1),
        "half": (3 - again.column("half")).astype(np.uint8),
        **columns,
    }
    both = type(table).concat([table, again.with_columns(changed)])
    images = np.concatenate([made.stack.images, made.stack.images[:1] + 1.0])
    return ParticleStack(images, both, made.stack.pixel_size_A, made.stack.optics)


def test_particle_in_both_half_sets__is_refused_however_it_came_in(refiner, made, tmp_path):
    params, context = refiner.Params(**QUICK), StageContext(tmp_path)
    far = {"x_A": np.full(1, 9000.0, np.float32)}
    first_id = made.stack.particles.column("particle_id")[:1].astype(np.uint64)
    near = {"x_A": made.stack.particles.floats("x_A")[:1].astype(np.float32) + 5.0}
    copied = in_other_half(made, **far)
    copied = replace(copied, images=np.concatenate([made.stack.images, made.stack.images[:1]]))
    for stack, says in (
        (in_other_half(made, particle_id=first_id, **far), "identity"),
        (in_other_half(made, **near), "micrograph"),
        (copied, "image"),
    ):
        with pytest.raises(HalfSetError, match=says):
            refiner.refine_3d(stack, made.volume, None, params, context)


def test_inputs_of_nothing__are_refused_before_any_work(refiner, made, tmp_path):
    params, context = refiner.Params(**QUICK), StageContext(tmp_path)
    stack, box = made.stack, (phantoms.BOX_PX,) * 3
    few = replace(stack, images=stack.images[:6], particles=stack.particles.select(np.arange(6)))
    sizes = np.full(40, 4.0, np.float32)
    sizes[3] = 4.4
    mixed = replace(stack, particles=stack.particles.with_columns({"pixel_size_A": sizes}))
    empty_map = replace(made.volume, data=np.zeros(box, np.float32))
    empty_mask = Mask(np.zeros(box, np.float32), phantoms.PIXEL_A)
    for given, reference, mask, says in (
        (few, made.volume, None, "only 6 particles"),
        (mixed, made.volume, None, "pixels from"),
        (stack, empty_map, None, "reference is empty"),
        (stack, made.volume, empty_mask, "mask is empty"),
        (stack, made.volume, Mask(np.ones((8, 8, 8), np.float32), 4.0), "mask of"),
        (stack, made.volume, Mask(np.ones(box, np.float32), 1.5 * phantoms.PIXEL_A), "mask of"),
    ):
        with pytest.raises(InvalidInput, match=says):
            refiner.refine_3d(given, reference, mask, params, context)
    with pytest.raises(CryoframeError, match="Q7"):
        refiner.refine_3d(stack, made.volume, None, refiner.Params(symmetry="Q7"), context)
    for far in ({"offset_range_A": 20000.0}, {"particle_diameter_A": 5000.0}):
        with pytest.raises(InvalidInput, match=next(iter(far))):
            refiner.refine_3d(stack, made.volume, None, refiner.Params(**QUICK | far), context)


def test_images_unlike_all_others__are_dropped_with_their_reasons(made):
    images = np.array(made.stack.images)
    images[3, 0, 0], images[5], images[9] = np.nan, 2.0, images[9] * 1e6
    rows, dropped, _ = in_order(replace(made.stack, images=images), lambda: None)
    identity = made.stack.particles.column("particle_id")
    said = {one: why for why, some in dropped.items() for one in some}
    assert set(said) == set(identity[[3, 5, 9]].tolist())
    assert ["finite" in said[identity[3]], "one value" in said[identity[5]], "varies" in said[identity[9]]] == [
        True
    ] * 3
    assert sorted(rows.tolist()) == sorted(set(range(40)) - {3, 5, 9})
    images[:] = 0.0
    with pytest.raises(InvalidInput, match="only 0 images"):
        in_order(replace(made.stack, images=images), lambda: None)


def test_octahedral_reconstruction_of_n__is_as_good_as_one_without_symmetry_of_24_n(say):
    """Each image then stands for 24 views: signal to noise ratios are equal, and so is the FSC with the truth."""
    truth = replace(phantoms.molecule(), data=symmetry.symmetrise(phantoms.molecule().data, "O").astype(np.float32))
    n, rng = 24, np.random.default_rng(6)
    turns = rotations.random_rotations(24 * n, rng)
    euler = np.stack(rotations.matrix_to_euler(turns), axis=-1)
    clean = phantoms.projections(truth, euler)
    images = (clean + 3.0 * clean.std() * rng.standard_normal(clean.shape)).astype(np.float32)
    few = slice(0, n)
    still = np.zeros((24 * n, 2))
    maps = (
        reconstruction.reconstruct(
            images[few], turns[few], still[few], operators=symmetry.rotation_matrices("O"), wiener=0.1
        ),
        reconstruction.reconstruct(images, turns, still, wiener=0.1),
        reconstruction.reconstruct(images[few], turns[few], still[few], wiener=0.1),
    )
    curves = [fsc.fsc_curve(volume, truth.data, pixel_size_A=phantoms.PIXEL_A).fsc[2:14] for volume in maps]
    means = [float(curve.mean()) for curve in curves]
    say(f"mean FSC with the truth: O, {n} images {means[0]:.3f}; C1, {24 * n} {means[1]:.3f}, {n} {means[2]:.3f}")
    # Shells of an O map hold 24 times fewer independent values, some 4 to 60: curves scatter by about 0.1.
    assert np.abs(curves[0] - curves[1]).max() < 0.3
    assert means[2] < means[1] - 2 * 0.06
    assert means[0] - means[1] == pytest.approx(0.0, abs=0.06)
