"""classify_2d `em`: real picks show views of the molecule; phantoms; order; cancellation."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import betagal
import numpy as np
import pytest

from cryoframe import StageContext
from cryoframe.errors import Cancelled, InvalidInput
from cryoframe.numerics import fourier, interpolate, pose_search, projection, rotations, symmetry
from cryoframe.numerics.polar_images import PolarImages
from cryoframe.testing import cases, phantoms
from cryoframe_classify import expectation, plugin, products


def likeness(averages, volume, pixel_size_A):
    """Correlation of each average with the projection of the map it resembles most, between 120 Å and 18 Å."""
    n = averages.shape[-1]
    ring = n * pixel_size_A
    points = interpolate.half_points(n, r_min=ring / 120.0, r_max=ring / 18.0)
    ones = np.ones((len(averages), n, n // 2 + 1), np.float32)
    targets = pose_search.make_targets(
        fourier.fft2_centred(averages), ones, np.ones(n // 2 + 1), points, free_scale=True
    )
    directions = symmetry.directions_in_asymmetric_unit(10.0, "D2")
    psi = rotations.psi_grid(10.0)
    grid = rotations.euler_to_matrix(
        np.repeat(directions[:, 0], len(psi)), np.repeat(directions[:, 1], len(psi)), np.tile(psi, len(directions))
    )
    found = pose_search.search_grid(
        projection.prepare_volume(volume), targets, grid, pose_search.shift_grid(8.0, 1.0), n_keep=1
    )
    # A score of free scale is the power of the image that the best scaled projection explains.
    power = (np.abs(interpolate.at_points(fourier.fft2_centred(averages), points)) ** 2).sum(axis=1)
    return np.sqrt(found.scores[:, 0] / np.maximum(power, 1e-30))


@pytest.mark.slow
def test_real_picks__give_classes_that_show_views_of_the_molecule(shared_data, tmp_path, say):
    stack = betagal.picks(shared_data, tmp_path)
    n, pixel = stack.images.shape[-1], stack.pixel_size_A
    begun = time.process_time()
    result = plugin.classify_2d(stack, plugin.Params(particle_diameter_A=190.0), StageContext(tmp_path, seed=1))
    spent = time.process_time() - begun
    known = betagal.published_map(shared_data, n, pixel).data
    score = result.classes.floats("class_score")
    best = np.argsort(-score)[:5]
    right, by_chance = (
        likeness(result.averages[best], known, pixel),
        likeness(noise_like(result.averages[best]), known, pixel),
    )
    say(
        f"classes of {len(stack.particles)} picks: five best resemble projections by "
        f"{', '.join(f'{value:.2f}' for value in right)}, noise of the same spectrum by {by_chance.max():.2f}; "
        f"{spent:.0f} CPU-s"
    )
    assert right.min() > 0.85
    assert np.median(right) > by_chance.max() + 0.1
    assert result.classes.column("n_particles").sum() == len(stack.particles)


def noise_like(averages):
    """Noise with the spectra of the averages, within the same window: what a fit to anything would give."""
    rng = np.random.default_rng(3)
    n = averages.shape[-1]
    phases = fourier.fft2_centred(rng.standard_normal(averages.shape).astype(np.float32))
    made = fourier.ifft2_centred(np.abs(fourier.fft2_centred(averages)) * phases / np.abs(phases))
    return (made * np.exp(-((np.hypot(*(np.mgrid[:n, :n] - n // 2)) / (0.35 * n)) ** 4))).astype(np.float32)


@pytest.fixture(scope="module")
def two_views():
    case = cases.make("classify_2d", "nominal", Path())
    assert case is not None
    return case.inputs["stack"], case.truth.euler_deg[:, 1] > 45.0


@pytest.mark.parametrize("n_classes", [2, 5])
def test_two_views__are_told_apart(two_views, tmp_path, n_classes):
    stack, view = two_views
    result = plugin.classify_2d(
        stack, plugin.Params(n_classes=n_classes, particle_diameter_A=96.0), StageContext(tmp_path, seed=5)
    )
    labels = result.particles.column("class_id")
    pure = sum(max(view[labels == k].sum(), (~view[labels == k]).sum()) for k in range(n_classes))
    assert pure >= 0.95 * len(view)
    count = result.classes.column("n_particles")
    assert (np.diff(count) <= 0).all()
    assert (np.bincount(labels, minlength=n_classes) == count).all()
    result.particles.check()


def test_rounds_on_a_part_of_the_images__tell_views_apart_in_all_of_them(two_views, tmp_path, monkeypatch):
    stack, view = two_views
    monkeypatch.setattr(plugin, "_FEWEST_OF_PART", 10)
    monkeypatch.setattr(plugin, "_PER_CLASS", len(view) // 8)
    params = plugin.Params(n_classes=2, particle_diameter_A=96.0)
    assert [plugin._images_by(k, len(view), 2, params) for k in (0, 23, 24)] == [
        2 * (len(view) // 8),
        4 * (len(view) // 8),
        len(view),
    ]
    result = plugin.classify_2d(stack, params, StageContext(tmp_path, seed=5))
    labels = result.particles.column("class_id")
    pure = sum(max(view[labels == k].sum(), (~view[labels == k]).sum()) for k in range(2))
    assert pure >= 0.95 * len(view)
    off_A = np.hypot(result.particles.floats("shift_x_A"), result.particles.floats("shift_y_A"))
    assert off_A.max() <= 0.2 * stack.images.shape[-1] * stack.pixel_size_A + 1e-3


def test_in_plane_poses__turn_the_images_onto_their_average(two_views, tmp_path):
    stack, _ = two_views
    result = plugin.classify_2d(
        stack, plugin.Params(n_classes=2, particle_diameter_A=96.0), StageContext(tmp_path, seed=5)
    )
    n, pixel, table = stack.images.shape[-1], stack.pixel_size_A, result.particles
    points = interpolate.half_points(n, r_min=2, r_max=8)
    from cryoframe.numerics.class_average import prepare_references, rotate_references

    references = prepare_references(result.averages)
    shifts = np.stack([table.floats("shift_x_A"), table.floats("shift_y_A")], axis=1) / pixel
    moved = fourier.fft2_centred(fourier.shift_images(stack.images, shifts))
    rows = np.arange(len(table))
    optics = products.optics_of(stack, rows, ignore_ctf=False)
    ctfs = PolarImages(stack.images, n, pixel, optics, 8.0, 2.0).ctfs_at(rows, points.astype(float))
    alike = []
    for row in range(len(table)):
        reference = references[table.column("class_id")[row] : table.column("class_id")[row] + 1]
        turned = rotate_references(reference, table.floats("psi_deg")[row : row + 1], points)[0]
        seen = interpolate.at_points(moved[row], points) * ctfs[row]
        alike.append(np.vdot(turned, seen).real / np.linalg.norm(turned) / np.linalg.norm(seen))
    assert np.median(alike) > 0.6


def test_stage__says_how_far_it_is_and_stops_when_asked(two_views, tmp_path):
    seen = []
    plugin.classify_2d(
        two_views[0],
        plugin.Params(n_classes=2, n_iterations=3),
        StageContext(tmp_path, on_report=lambda done, total, text: seen.append((done, total))),
    )
    assert seen == sorted(seen)
    assert seen[-1][0] == seen[-1][1]
    with pytest.raises(Cancelled):
        plugin.classify_2d(two_views[0], plugin.Params(), StageContext(tmp_path, is_cancelled=lambda: True))


def test_images_that_are_no_numbers__are_dropped_and_said_so(two_views, tmp_path):
    stack, _ = two_views
    images, dropped = np.array(stack.images), []
    images[7] = np.nan
    context = StageContext(tmp_path, on_drop=lambda ids, reason, values, threshold: dropped.extend(ids))
    result = plugin.classify_2d(replace(stack, images=images), plugin.Params(n_classes=2, n_iterations=2), context)
    assert dropped == [int(stack.particles.column("particle_id")[7])]
    assert len(result.particles) == len(stack.particles) - 1


def test_nothing_to_classify__is_said(two_views, tmp_path):
    stack, _ = two_views
    with pytest.raises(InvalidInput, match="no particles"):
        plugin.classify_2d(
            replace(stack, images=stack.images[:0], particles=stack.particles.select([])),
            plugin.Params(),
            StageContext(tmp_path),
        )


def test_needless_class__is_the_one_left_out():
    zeros = np.zeros(6)
    state = expectation.State(
        np.arange(3)[:, None, None] * np.ones((3, 2, 2)),
        np.zeros((3, 2)),
        np.ones(2),
        np.zeros(3),
        1.0,
        np.array([0, 0, 1, 1, 2, 2]),
        zeros,
        np.zeros((6, 2)),
        zeros,
        zeros,
        # Images of class 1 have another class that explains them as well.
        np.array([5.0, 4.0, 0.1, 0.2, 3.0, 9.0]),
        zeros,
        zeros,
    )
    left = expectation.without_redundant(state, 2)
    assert left.averages[:, 0, 0].tolist() == [0.0, 2.0]
    assert expectation.without_redundant(state, 3) is state


def test_balanced_prior__favours_the_small_class():
    mass = np.array([80.0, 15.0, 5.0])
    grown = expectation._log_prior(np.zeros(3), mass, 0.0)
    assert np.exp(grown - grown[0]) == pytest.approx(mass / 80.0)
    even = expectation._log_prior(np.zeros(3), mass, 1.0)
    assert np.exp(even - even[2]) == pytest.approx(5.0 / mass)


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda s: replace(s, images=s.images[:9], particles=s.particles.select(np.arange(9))), "only 9 particles"),
        (lambda s: replace(s, particles=s.particles.without(["defocus_u_A"])), "no CTF"),
        (lambda s: replace(s, images=s.images[:, :20]), "images of shape"),
        (lambda s: replace(s, images=s.images[:-1]), "images of shape"),
        (lambda s: replace(s, optics=()), "optics group"),
        (
            lambda s: replace(
                s,
                particles=s.particles.with_columns(
                    {
                        "stack": ["a"] * len(s.particles),
                        "stack_index": np.arange(len(s.particles), dtype=np.int64),
                        "box_px": np.full(len(s.particles), s.images.shape[-1], np.int32),
                        "pixel_size_A": np.linspace(1.0, 1.1, len(s.particles)).astype(np.float32),
                    }
                ),
            ),
            "pixels from 1.0",
        ),
    ],
)
def test_what_cannot_be_classified__is_said_at_once(two_views, tmp_path, spoil, complaint):
    begun = time.process_time()
    with pytest.raises(InvalidInput, match=complaint):
        plugin.classify_2d(spoil(two_views[0]), plugin.Params(), StageContext(tmp_path))
    assert time.process_time() - begun < 1.0


def test_classes__tell_how_well_they_fix_poses_and_how_many_they_hold(two_views, tmp_path):
    stack, _ = two_views
    table = plugin.classify_2d(
        stack, plugin.Params(n_classes=2, n_iterations=6, particle_diameter_A=96.0), StageContext(tmp_path, seed=5)
    ).classes
    assert table.floats("distribution_frac").sum() == pytest.approx(1.0)
    assert (table.floats("accuracy_rotation_deg") > 0.3).all()
    assert (table.floats("accuracy_rotation_deg") < 20.0).all()
    assert (table.floats("accuracy_translation_A") < 2 * phantoms.PIXEL_A).all()


def test_phantom_averages__carry_the_stacks_pixel(two_views, tmp_path):
    result = plugin.classify_2d(two_views[0], plugin.Params(n_classes=1, n_iterations=1), StageContext(tmp_path))
    assert result.pixel_size_A == phantoms.PIXEL_A
    assert result.averages.shape == (1, phantoms.BOX_PX, phantoms.BOX_PX)


SHORT = plugin.Params(n_classes=2, n_iterations=3)


def drops_of(stack, tmp_path, params):
    dropped, lines = {}, []
    context = StageContext(
        tmp_path,
        seed=1,
        on_log=lines.append,
        on_drop=lambda ids, reason, values, threshold: dropped.update(dict.fromkeys(ids, reason)),
    )
    result = plugin.classify_2d(stack, params, context)
    return result, dropped, " ".join(lines)


def test_images_of_nothing_or_of_another_scale__are_dropped_and_do_not_rule_the_others(two_views, tmp_path):
    stack, _ = two_views
    images = np.array(stack.images)
    images[3], images[5] = 0.0, 1e6 * images[5]
    ids = np.asarray(stack.particles.column("particle_id"))
    result, dropped, _ = drops_of(replace(stack, images=images), tmp_path, SHORT)
    assert set(dropped) == {int(ids[3]), int(ids[5])}
    assert "one value everywhere" in dropped[int(ids[3])]
    assert "10 times" in dropped[int(ids[5])]
    assert result.classes.column("n_particles").min() > 0.1 * len(ids)


def test_images_that_are_all_flat__are_refused(two_views, tmp_path):
    with pytest.raises(InvalidInput, match="only 0 images hold finite values"):
        drops_of(replace(two_views[0], images=np.zeros_like(two_views[0].images)), tmp_path, SHORT)


def test_more_classes_than_half_of_the_images__are_cut_down_and_it_is_said(two_views, tmp_path):
    rows = np.arange(12)
    few = replace(two_views[0], images=two_views[0].images[rows], particles=two_views[0].particles.select(rows))
    result, _, said = drops_of(few, tmp_path, plugin.Params(n_classes=100, n_iterations=2))
    assert len(result.classes) == 6
    assert "100 classes were asked for and 6 are made" in said


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"offset_range_A": 20000.0}, "offset_range_A = 20000"),
        ({"particle_diameter_A": 20000.0}, "particle_diameter_A = 20000"),
        ({"particle_diameter_A": 1.0}, "particle_diameter_A = 1"),
    ],
)
def test_particles_and_ranges_that_do_not_fit_the_box__are_refused_before_any_memory_is_taken(
    two_views, tmp_path, settings, says
):
    with pytest.raises(InvalidInput, match=says) as refused:
        plugin.classify_2d(two_views[0], plugin.Params(**settings), StageContext(tmp_path))
    assert refused.value.remedy


def test_spectrum_that_is_no_number__resolves_nothing():
    images = PolarImages(np.zeros((1, 16, 16), np.float32), 16, 2.0, None, 6.0, 2.0)
    assert products._resolution_A(np.full(9, np.nan), images) == pytest.approx(32.0)
