"""refine_3d `gold`: real particles to the published poses and map, phantoms, half-sets, threads, cancellation."""

from __future__ import annotations

import time
from dataclasses import replace

import betagal
import numpy as np
import pytest

from cryoframe import StageContext, Volume
from cryoframe.errors import Cancelled, InvalidInput
from cryoframe.numerics import fsc, reconstruction, refine_whole, symmetry
from cryoframe.testing import phantoms
from cryoframe_refine import engine, inputs, plugin
from cryoframe_refine.plan import make_plan

QUICK = plugin.Params(coarse_step_deg=15.0, n_whole=1, n_iterations=3, particle_diameter_A=120.0)


def resolution_A(first, second, pixel_size_A, threshold, mask=None):
    curve = fsc.fsc_curve(first, second, pixel_size_A=pixel_size_A, mask=mask)
    return fsc.resolution_at(curve.frequency_1_A, curve.fsc, threshold).resolution_A


def test_published_poses__give_the_published_half_map_resolution_and_hand(shared_data, tmp_path, say):
    stack = betagal.particles(shared_data, tmp_path)
    n, pixel = stack.images.shape[-1], stack.pixel_size_A
    matrices, shifts_A = betagal.poses_of(stack)
    half_of = stack.particles.column("half")
    ctfs = inputs.ctfs_of(stack, np.arange(len(half_of)))
    halves = [
        reconstruction.reconstruct(
            np.asarray(stack.images)[half_of == number],
            matrices[half_of == number],
            shifts_A[half_of == number] / pixel,
            ctfs=ctfs[half_of == number],
            operators=symmetry.rotation_matrices("D2"),
        )
        for number in (1, 2)
    ]
    mask = betagal.ball(n, pixel)
    half_map_A = resolution_A(*halves, pixel, 0.5, mask)
    known, model = betagal.published_map(shared_data, n, pixel), betagal.model_map(shared_data, tmp_path, stack)
    whole = Volume(halves[0] + halves[1], pixel)
    map_A = resolution_A(whole.data, known.data, pixel, 0.5, mask)
    right_A = resolution_A(whole.data, model.data, pixel, 0.5, mask)
    mirrored_A = resolution_A(phantoms.mirrored(whole).data, model.data, pixel, 0.5, mask)
    say(
        f"given poses: half-map FSC 0.5 at {half_map_A:.2f} Å; to the published map {map_A:.2f} Å, to 5A1A "
        f"{right_A:.2f} Å, mirrored {mirrored_A:.1f} Å"
    )
    assert half_map_A == pytest.approx(9.4, rel=0.05)
    assert map_A < 9.0
    assert right_A < 9.0
    assert mirrored_A > 30.0


@pytest.mark.slow
def test_real_particles_without_poses__reach_the_published_ones(shared_data, tmp_path, say):
    stack = betagal.particles(shared_data, tmp_path)
    n, pixel = stack.images.shape[-1], stack.pixel_size_A
    known = betagal.published_map(shared_data, n, pixel)
    begun = time.process_time()
    result = plugin.refine_3d(
        betagal.without_poses(stack),
        known,
        None,
        plugin.Params(symmetry="D2", particle_diameter_A=190.0),
        StageContext(tmp_path),
    )
    spent = time.process_time() - begun
    truth, true_shifts = betagal.poses_of(stack)
    found, shifts = betagal.poses_of(result)
    error = symmetry.reduce_pose_error(found, truth, "D2")
    off = np.linalg.norm(shifts - true_shifts, axis=1)
    mask = betagal.ball(n, pixel)
    model = betagal.model_map(shared_data, tmp_path, stack)
    map_A = resolution_A(result.volume.data, known.data, pixel, 0.5, mask)
    model_A = resolution_A(result.volume.data, model.data, pixel, 0.5, mask)
    bare_A = resolution_A(result.volume.data, model.data, pixel, 0.5)
    say(
        f"refinement: pose error median {np.median(error):.2f}°, 90 % {np.quantile(error, 0.9):.2f}°, shift "
        f"{np.median(off):.2f} Å; FSC 0.5 to 5A1A at {model_A:.2f} Å (no mask {bare_A:.2f} Å), to the published map "
        f"{map_A:.2f} Å; half-maps 0.143 at "
        f"{result.fsc.resolution_A(0.143, curve='fsc_masked'):.2f} Å; {spent:.0f} CPU-s"
    )
    # RELION 5 on the same particles: 1.50° and 1.22 Å; the issue asks for 3° and 10 Å.
    assert np.median(error) < 1.5
    assert np.median(off) < 1.25
    assert model_A < 9.0
    assert bare_A < 10.0
    assert map_A < 10.0
    assert (result.particles.column("particle_id") == stack.particles.column("particle_id")).all()
    assert (result.particles.floats("pose_score") <= 1.0).all()


@pytest.fixture(scope="module")
def made():
    return phantoms.particles(160, snr=0.5, key="refine tests")


def reference_of(made):
    return replace(made.volume, provenance="reference-derived: phantom")


def test_phantom__is_refined_from_a_low_passed_start(made, tmp_path):
    messages = []
    context = StageContext(tmp_path, on_report=lambda done, total, text: messages.append((done, total, text)))
    result = plugin.refine_3d(made.stack, reference_of(made), None, replace(QUICK, n_whole=2, n_iterations=5), context)
    matrices, _ = betagal.poses_of(result)
    from cryoframe.numerics.rotations import euler_to_matrix

    error = symmetry.reduce_pose_error(matrices, euler_to_matrix(*made.euler_deg.T))
    assert np.median(error) < 4.0
    assert result.volume.provenance == "reference-derived: phantom"
    assert result.iterations.n_rows == 5
    assert [done for done, _, _ in messages] == sorted(done for done, _, _ in messages)
    assert messages[-1][0] == messages[-1][1]
    result.particles.check()
    result.fsc.check()


def test_metrics__are_few_and_named_for_what_they_are(made, tmp_path):
    metrics, lines = {}, []
    context = StageContext(
        tmp_path, on_metric=lambda name, value, unit: metrics.__setitem__(name, (value, unit)), on_log=lines.append
    )
    result = plugin.refine_3d(made.stack, reference_of(made), None, replace(QUICK, n_iterations=2), context)
    left_out = {"left_out_posterior_max", "left_out_candidates_mean", "left_out_rim_mean"}
    assert set(metrics) == {"resolution_masked_A", "bound_to_start", "cpu_s", *left_out}
    # Sums over all orientations leave out no more than that of any posterior; near searches say what theirs do.
    assert 0.0 <= metrics["left_out_posterior_max"][0] <= refine_whole.LEFT_OUT
    assert 0.0 < metrics["left_out_rim_mean"][0] < 0.1
    assert 0.0 < metrics["left_out_candidates_mean"][0] < 1.0
    assert metrics["bound_to_start"][0] == 0.0
    assert metrics["resolution_masked_A"] == (result.fsc.resolution_A(0.143, curve="fsc_masked"), "Å")
    assert metrics["cpu_s"][0] > 0.0
    # Halves that agree to the last shell are limited by the pixel, and that is said.
    without_end = result.fsc.with_columns({"fsc_masked": np.full(result.fsc.n_rows, 0.9, np.float32)})
    del lines[:]
    engine._tell(replace(result, fsc=without_end), context, 30.0)
    assert "at Nyquist" in lines[0]
    assert metrics["resolution_masked_A"][0] == pytest.approx(2.0 * made.stack.pixel_size_A)
    falling = result.fsc.with_columns({"fsc_masked": np.linspace(1.0, 0.0, result.fsc.n_rows, dtype=np.float32)})
    del lines[:]
    engine._tell(replace(result, fsc=falling), context, 30.0)
    assert lines == []


def test_one_half_set__does_not_feel_the_images_of_the_other_but_through_the_fsc(made, tmp_path):
    """In the first iteration not even the FSC is shared: half-map 1 is the same to the last bit."""
    once = replace(QUICK, n_iterations=1)
    half_of = made.stack.particles.column("half")
    images = np.array(made.stack.images)
    images[half_of == 2] = np.random.default_rng(1).standard_normal(images[half_of == 2].shape)
    one = plugin.refine_3d(made.stack, reference_of(made), None, once, StageContext(tmp_path))
    other = plugin.refine_3d(replace(made.stack, images=images), reference_of(made), None, once, StageContext(tmp_path))
    assert one.half_maps.first.data.tobytes() == other.half_maps.first.data.tobytes()
    assert one.half_maps.second.data.tobytes() != other.half_maps.second.data.tobytes()


def test_result__does_not_depend_on_threads_or_the_order_of_rows(made, tmp_path):
    numba = pytest.importorskip("numba")
    before = numba.get_num_threads()
    order = np.random.default_rng(2).permutation(len(made.stack.particles))
    shuffled = replace(made.stack, images=made.stack.images[order], particles=made.stack.particles.select(order))
    short = replace(QUICK, n_iterations=2)
    try:
        numba.set_num_threads(1)
        one = plugin.refine_3d(made.stack, reference_of(made), None, short, StageContext(tmp_path))
        numba.set_num_threads(before)
        many = plugin.refine_3d(shuffled, reference_of(made), None, short, StageContext(tmp_path))
    finally:
        numba.set_num_threads(before)
    assert one.volume.data.tobytes() == many.volume.data.tobytes()
    assert one.particles.select(order) == many.particles


def test_cancellation__is_honoured_within_a_search(made, tmp_path):
    context = StageContext(tmp_path, is_cancelled=lambda: True)
    with pytest.raises(Cancelled):
        plugin.refine_3d(made.stack, reference_of(made), None, QUICK, context)


def test_wrong_inputs__are_refused_in_words(made, tmp_path):
    context = StageContext(tmp_path)
    small = Volume(np.zeros((16, 16, 16), np.float32), made.stack.pixel_size_A)
    with pytest.raises(InvalidInput, match="make_initial_volume"):
        plugin.refine_3d(made.stack, small, None, QUICK, context)
    one_half = replace(
        made.stack, particles=made.stack.particles.with_columns({"half": np.ones(len(made.stack.particles), np.uint8)})
    )
    with pytest.raises(InvalidInput, match="half-set 2"):
        plugin.refine_3d(one_half, reference_of(made), None, QUICK, context)
    no_ctf = replace(
        made.stack,
        particles=made.stack.particles.without(["defocus_u_A", "defocus_v_A", "defocus_angle_deg", "phase_shift_deg"]),
    )
    with pytest.raises(InvalidInput, match="no CTF"):
        plugin.refine_3d(no_ctf, reference_of(made), None, QUICK, context)


@pytest.mark.parametrize("whole", [True, False])
def test_plan__ends_where_a_step_no_longer_matters(whole):
    plan = make_plan(whole=whole, coarse_step_deg=7.5, diameter_A=180.0, resolution_A=8.0)
    steps = [level.step_deg for level in plan.levels]
    assert steps == sorted(steps, reverse=True)
    assert np.radians(steps[-1]) * 180.0 / 2 < 8.0 / 3
    assert all(level.limit_A >= 8.0 for level in plan.levels)
    assert bool(plan.coarse_step_deg) == whole
