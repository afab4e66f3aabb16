"""Views of a map found in images made by the test: how often in noise, where in a micrograph, and like what beyond."""

from __future__ import annotations

import numpy as np
import pytest

from cryoframe.errors import InvalidInput
from cryoframe.numerics import fourier, pick_bias, template_match
from cryoframe.numerics._numba import pick_pursuit as pursuit_kernels
from cryoframe.numerics.matched_filter import prepare
from cryoframe.numerics.peaks import match_points
from cryoframe.numerics.pick_choice import Search
from cryoframe.numerics.pick_pursuit import explained, generic_overlaps, overlaps
from cryoframe.numerics.template_search import Reference, find_views
from cryoframe.testing import phantoms

PIXEL_A, DIAMETER_A = 4.0, 100.0
OPTICS = {
    "voltage_kV": phantoms.OPTICS.voltage_kV,
    "cs_mm": phantoms.OPTICS.cs_mm,
    "amplitude_contrast": phantoms.OPTICS.amplitude_contrast_frac,
    "defocus_u_A": phantoms.CTF.defocus_u_A,
    "defocus_v_A": phantoms.CTF.defocus_v_A,
    "defocus_angle_deg": phantoms.CTF.defocus_angle_deg,
    "phase_shift_deg": 0.0,
}


def reference(**more):
    return Reference(phantoms.molecule().data, PIXEL_A, "map", DIAMETER_A, **more)


def search(**more):
    return Search(DIAMETER_A, scales=(0.9,), threshold=0.0, false_frac=1e9, **more)


def white(seed, side=1000):
    return np.random.default_rng(seed).standard_normal((side, side)).astype(np.float32)


def found_in_noise(seed, n_false, side=1000):
    return find_views(
        white(seed, side), PIXEL_A, reference(), search(), optics=OPTICS, n_false=n_false,
        rng=np.random.default_rng(100 + seed),
    )  # fmt: skip


def test_noise__gives_as_many_picks_as_was_allowed(figure):
    counts = [len(found_in_noise(seed, 10.0).z) for seed in range(10)]
    figure("picks in ten images of noise, 10 allowed in each", f"{counts}, {sum(counts)} together")
    # Each threshold is known from a tail of 60 peaks, extrapolated tenfold: 13 % of the number and ln 11 times 13 % of
    # the fall-off, so 34 % of the rate, drawn anew each time; then Poisson.
    deviation = np.sqrt(100.0 + 10 * 3.4**2)
    assert abs(sum(counts) - 100) < 3.0 * deviation


def test_picks_of_noise__resemble_the_template_and_are_found_out(figure):
    found = found_in_noise(3, 300.0)
    assert len(found.z) > 80
    judged = found.likeness
    text = f"like the template {judged.in_band:.2f} in the band, {judged.held_out:.2f} beyond it"
    figure("the average of picks of noise", f"{text} ({judged.held_out_z:.1f} deviations)")
    assert found.likeness.in_band > 0.8
    assert abs(found.likeness.held_out) < 0.4
    assert abs(found.likeness.held_out_z) < 3.5


@pytest.mark.parametrize(("kind", "least_precision"), [("map", 0.9), ("averages", 0.7)])
def test_molecules__are_found_where_they_are_and_resemble_beyond_the_band(kind, least_precision, figure):
    taken = phantoms.micrograph(24, noise=1.0)
    sought = reference()
    if kind == "averages":
        views = phantoms.projections(phantoms.molecule(), phantoms.random_views(40, "averages"))
        sought = Reference(views, PIXEL_A, "averages", DIAMETER_A)
    shipped = Search(DIAMETER_A, scales=(0.9,), threshold=0.0)
    found = find_views(
        taken.micrograph.data, PIXEL_A, sought, shipped, optics=OPTICS, n_false=0.1, rng=np.random.default_rng(1)
    )
    precision, recall = match_points(found.positions_A, taken.centres_A, 12.0)
    figure(f"24 molecules by {kind}", f"precision {precision:.2f}, recall {recall:.2f}, {found.likeness}")
    # Forty averages leave gaps between views: what they do not explain of a molecule is found beside it.
    assert precision > least_precision
    assert recall > 0.9
    assert found.likeness.held_out_z > 4.0


def test_the_bank__holds_the_templates_in_few_orthonormal_kernels():
    views = template_match.views_of_map(phantoms.molecule().data, view_step_deg=40.0, psi_step_deg=15.0)
    flat = np.ones(views.shape[1:])
    flat[views.shape[1] // 2, 0] = 0.0
    bank = template_match.make_bank(views, flat)
    assert len(bank.kernels) < len(views) // 4
    assert bank.kept_frac > 0.9
    gram = np.tensordot(bank.kernels, bank.kernels, axes=((1, 2), (1, 2)))
    assert np.abs(gram - np.eye(len(gram))).max() < 1e-4
    images = fourier.ifft2_centred((views * flat).astype(np.complex64)).reshape(len(views), -1)
    images /= np.linalg.norm(images, axis=1, keepdims=True)
    like = np.einsum("ij,ij->i", images, bank.template(np.arange(len(views))).reshape(len(views), -1))
    assert like.min() > 0.9


def test_averages_turned_by_psi__are_projections_turned_by_psi():
    volume = phantoms.molecule().data
    views = template_match.views_of_map(volume, view_step_deg=60.0, psi_step_deg=30.0)
    first = fourier.ifft2_centred(views).reshape(-1, 12, *volume.shape[1:])
    at_zero = first[:, 6]
    turned = fourier.ifft2_centred(template_match.views_of_averages(at_zero, psi_step_deg=30.0)).reshape(first.shape)
    # The grid begins at −180°; the sixth angle is 0.
    power = np.sum(first**2, axis=(2, 3)) * np.sum(turned**2, axis=(2, 3))
    like = np.sum(first * turned, axis=(2, 3)) / np.sqrt(power)
    assert like.min() > 0.99


def test_a_fringe__is_explained_by_its_particle_and_a_neighbour_is_not():
    y, x = np.indices((33, 33)) - 16
    kernel = np.exp(-(np.hypot(x, y) ** 2) / 32.0) * np.cos(0.8 * np.hypot(x, y))
    kernel = (kernel / np.linalg.norm(kernel)).astype(np.float32)
    positions = np.array([[50.0, 50.0], [58.0, 50.0], [70.0, 50.0]])
    of_fringe, of_neighbour = overlaps(kernel[None], 0, np.array([0, 0]), np.array([[8, 0], [20, 0]]))
    z = np.array([10.0, 10.0 * of_fringe, 6.0 + 10.0 * of_neighbour])
    rows, left = explained(
        positions, z, np.stack([kernel] * 3), may_be_real=np.array([True] * 3), apart_px=5.0, least=0.5
    )
    assert rows.tolist() == [0, 2]
    assert left[0] == 10.0
    assert left[2] == pytest.approx(6.0, abs=1e-4)


@pytest.mark.parametrize("way", [overlaps, generic_overlaps, pursuit_kernels.overlaps.py_func])
def test_overlap__is_the_inner_product_of_moved_kernels(way):
    kernels = np.random.default_rng(5).standard_normal((2, 12, 12)).astype(np.float32)
    steps = np.array([[0, 0], [3, -2], [-7, 4], [11, 11], [12, 0], [-12, -12], [-30, 2]])
    true = []
    for x, y in steps:
        frames = np.zeros((2, 80, 80), dtype=np.float32)
        frames[0, 32:44, 32:44] = kernels[0]
        frames[1, 32 + y : 44 + y, 32 + x : 44 + x] = kernels[1]
        true.append(float(np.vdot(*frames)))
    assert way(kernels, 0, np.ones(len(steps), dtype=np.int64), steps) == pytest.approx(true, abs=1e-4)


def test_likeness__of_nothing_is_nothing_and_lengths_must_agree():
    assert pick_bias.likeness(np.empty(0), np.empty(0), n_in_band=5, n_held_out=5) == (0.0, 0.0, 0.0)
    with pytest.raises(InvalidInput, match="as many"):
        pick_bias.likeness(np.ones(3), np.ones(2), n_in_band=5, n_held_out=5)


def test_an_empty_template_and_a_small_image__are_refused():
    views = template_match.views_of_map(phantoms.molecule().data, view_step_deg=90.0, psi_step_deg=90.0)
    with pytest.raises(InvalidInput, match="empty"):
        template_match.make_bank(views, np.zeros(views.shape[1:]))
    with pytest.raises(InvalidInput, match="n even"):
        template_match.views_of_averages(np.ones((2, 5, 5)), psi_step_deg=30.0)
    with pytest.raises(InvalidInput, match="do not fit"):
        find_views(
            white(1, 30), PIXEL_A, reference(), search(), optics=OPTICS, n_false=1.0, rng=np.random.default_rng(1)
        )
    canvas = prepare(white(1, 200), PIXEL_A, small_pixel_A=8.0, margin_A=50.0)
    bank = template_match.make_bank(views, np.ones(views.shape[1:]))
    with pytest.raises(InvalidInput, match="templates of"):
        template_match.basis_maps(canvas.ft, (16, 16), bank, (16, 16))
