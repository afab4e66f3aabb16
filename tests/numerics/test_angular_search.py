"""Polar sampling, angular series scores and the posterior over references, angles and translations."""

from __future__ import annotations

import numpy as np
import pytest

from cryoframe.errors import InvalidInput
from cryoframe.numerics import angular_search, fourier, masks, polar

SIDE, BOX = 24, 32


def pictures(n, seed=0):
    """Random pictures of a support of 0.3 boxes."""
    rng = np.random.default_rng(seed)
    rough = rng.standard_normal((n, SIDE, SIDE)).astype(np.float32)
    return (rough * masks.circular_mask(SIDE, 0.2 * SIDE, edge_px=0.1 * SIDE)).astype(np.float32)


@pytest.fixture
def grid():
    return polar.make_grid(BOX, r_max=9, support_px=0.3 * BOX)


def exact_transform(images, points):
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE // 2
    places = points.reshape(-1, 2)
    waves = np.exp(-2j * np.pi / SIDE * (places[:, :1] * x.ravel() + places[:, 1:] * y.ravel()))
    return (images.reshape(len(images), -1) @ waves.T).reshape(len(images), *points.shape[:-1])


def test_samples__are_the_transform_at_those_frequencies(grid):
    images = pictures(3)
    exact = exact_transform(images, grid.points)
    assert np.abs(polar.sample(images, grid) - exact).max() < 2e-3 * np.abs(exact).max()


def test_there_and_back__is_the_image_without_its_mean(grid):
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE // 2
    image = (np.exp(-((x - 1.5) ** 2 + y**2) / 10.0) - 0.7 * np.exp(-(x**2 + (y + 2.0) ** 2) / 14.0))[None]
    made = polar.to_images(polar.sample(image.astype(np.float32), grid), grid, SIDE)[0]
    inside = np.hypot(x, y) < 0.3 * SIDE
    assert np.corrcoef(made[inside], image[0][inside])[0, 1] > 0.998
    assert np.std((made - image[0])[inside]) < 0.03 * image.max()


def test_orders_beyond_the_last__hold_nothing(grid):
    series = np.abs(np.fft.fft(polar.full_circle(polar.sample(pictures(4), grid)), axis=-1)) ** 2
    for ring, last in enumerate(grid.last_orders):
        beyond = series[:, ring, last + 1 : grid.n_theta - last].sum() / series[:, ring].sum()
        assert beyond < 1e-4


def test_no_ring_to_sample__is_said():
    with pytest.raises(InvalidInput, match="no frequency"):
        polar.make_grid(BOX, r_max=0.5, support_px=8)
    with pytest.raises(InvalidInput, match="s even"):
        polar.sample(pictures(1)[:, :8, :8], polar.make_grid(BOX, r_max=9, support_px=9))


@pytest.fixture
def question(grid):
    """Targets of four images and a table of three references."""
    rng = np.random.default_rng(4)
    references = polar.sample(pictures(3, seed=5), grid)
    shape = (4, len(grid.rings), grid.n_half)
    values = (polar.sample(pictures(4, seed=6), grid) * 0.02).astype(np.complex64)
    theta = 2.0 * np.pi * np.arange(grid.n_half) / grid.n_theta
    weights = (1.0 + 0.5 * np.cos(2.0 * theta + rng.uniform(0, 6, (4, 1, 1)))) * rng.uniform(0.5, 1.0, (4, shape[1], 1))
    targets = angular_search.Targets(values, (weights * 1e-4).astype(np.float32), rng.normal(0, 1, (4, 2)))
    return targets, references, angular_search.make_table(references, grid, [[0.0, 0.0], [1.5, 0.0], [-1.0, 2.0]])


def direct_score(targets, references, table, *, image, reference, psi, shift):
    """The definition: the reference turned on the grid, the image moved, a sum over the half plane."""
    grid = table.grid
    turned = np.roll(polar.full_circle(references[reference]), -psi, axis=-1)[:, : grid.n_half]
    move = angular_search.turn(table.shifts_px[shift][None], -grid.psi_deg[psi])
    moved = targets.values[image] * polar.shift_phases(grid, move)[0]
    area = grid.areas[:, None]
    cross = np.sum(area * (moved.conj() * turned).real)
    return cross - np.sum(area * targets.weights[image] * np.abs(turned) ** 2)


def test_scores__are_the_sums_over_the_half_plane(question):
    targets, references, table = question
    even, odd, norm = angular_search.scores(targets, table)
    half, t = table.grid.n_half, len(table.shifts_px)
    rng = np.random.default_rng(1)
    spread = np.std(even + odd)
    for _ in range(60):
        i, k, psi, shift = rng.integers(4), rng.integers(3), int(rng.integers(2 * half)), rng.integers(t)
        sign = 1.0 if psi < half else -1.0
        column = k * t + shift
        found = even[psi % half, i, column] + sign * odd[psi % half, i, column] - norm[psi % half, i, k]
        exact = direct_score(targets, references, table, image=i, reference=k, psi=psi, shift=shift)
        # Orders of the squared CTF beyond the fourth are left out.
        assert abs(found - exact) < 0.01 * spread


def test_image_made_from_a_reference__is_found_where_it_was_put(grid):
    images = pictures(3, seed=8)
    references = polar.sample(images, grid)
    shifts = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0], [-2.0, 0.0], [0.0, -2.0]])
    table = angular_search.make_table(references, grid, shifts)
    psi = 2 * (grid.n_theta // 8)
    # The reference seen at psi, then moved away from the centre: what undoes it is the answer.
    seen = np.roll(polar.full_circle(references[1:2]), -psi, axis=-1)[..., : grid.n_half]
    undo = angular_search.turn(shifts[2:3], -grid.psi_deg[psi])
    values = seen * polar.shift_phases(grid, -undo)
    ones = np.ones(values.shape, dtype=np.float32)
    targets = angular_search.Targets((2 * values).astype(np.complex64), ones, np.zeros((1, 2)))
    found = angular_search.search(targets, table, angular_search.Prior(np.zeros(3)))
    assert found.probability == pytest.approx([1.0])
    assert (found.reference[0], found.psi[0], found.shift[0]) == (1, psi, 2)
    assert angular_search.image_shifts(found, table, targets.centres_px) == pytest.approx(undo)


def test_polar_score__is_that_of_the_square_lattice(grid):
    """One image, one reference, no turn: both sums are the same integral."""
    from cryoframe.numerics import interpolate

    one, two = pictures(2, seed=9)
    points = interpolate.half_points(SIDE, r_min=1, r_max=9.5)
    lattice = [interpolate.at_points(fourier.fft2_centred(image), points) for image in (one, one + two)]
    rings = [polar.sample(image[None], grid)[0] for image in (one, one + two)]
    square = np.sum((lattice[0].conj() * lattice[1]).real)
    polar_sum = np.sum(grid.areas[:, None] * (rings[0].conj() * rings[1]).real)
    assert polar_sum == pytest.approx(square, rel=0.05)


def test_compiled_choice__equals_the_generic_one(question):
    targets, _, table = question
    parts = angular_search.scores(targets, table)
    prior = np.log([0.5, 0.3, 0.2])
    shift = angular_search.shift_prior(targets.centres_px, table, 2.0)
    from cryoframe.numerics._numba import angular_search as fast

    slow = angular_search.generic_choose(np, parts, prior, shift, evidence_frac=0.7, n_most=10**4)
    quick = fast.choose(np, parts, prior, shift, evidence_frac=0.7, n_most=10**4)
    assert (slow[0] == quick[0]).all()
    for i, n in enumerate(slow[0]):
        assert (np.sort(slow[1][i, :n]) == np.sort(quick[1][i, :n])).all()
        order = np.argsort(quick[1][i, :n])
        assert quick[2][i, :n][order] == pytest.approx(slow[2][i, :n], abs=1e-5)
    assert quick[3] == pytest.approx(slow[3], abs=1e-4)
    assert np.abs(quick[4] - slow[4]).max() < 1e-4


def test_few_candidates_asked_for__are_the_best_and_the_loss_is_told(question):
    targets, _, table = question
    prior = angular_search.Prior(np.zeros(3), 3.0)
    whole = angular_search.search(targets, table, prior, evidence_frac=0.1, n_most=10**4)
    few = angular_search.search(targets, table, prior, evidence_frac=0.1, n_most=20)
    for i in range(4):
        mine = few.image == i
        assert 0 < mine.sum() <= 20
        kept = np.sort(whole.probability[whole.image == i])[::-1][: mine.sum()].sum()
        assert few.lost[i] == pytest.approx(1.0 - kept, abs=2e-3)
        assert few.probability[mine].sum() == pytest.approx(1.0, abs=1e-5)


def test_every_second_angle__gives_the_same_scores_there(question):
    targets, references, table = question
    half = angular_search.make_table(references, table.grid, table.shifts_px, psi_stride=2)
    for whole, part in zip(angular_search.scores(targets, table), angular_search.scores(targets, half), strict=True):
        assert np.abs(whole[::2] - part).max() < 1e-5 * np.abs(whole).max()
    found = angular_search.search(targets, half, angular_search.Prior(np.zeros(3)))
    assert (found.psi % 2 == 0).all()
