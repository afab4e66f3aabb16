"""Sums made symmetric after the slices are in them: the same as slices at all symmetry-related places."""

from __future__ import annotations

import numba
import numpy as np
import pytest

from cryoframe.numerics import insertion, interpolate, rotations, sums_symmetry, symmetry

N = 12


def inserted(operators, seed=3, count=9):
    rng = np.random.default_rng(seed)
    points = interpolate.half_points(N)
    shape = (count, len(points))
    values = (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)
    weights = rng.uniform(0.5, 1.0, shape).astype(np.float32)
    turns = rotations.random_rotations(count, rng)
    sums = insertion.empty_accumulator(N)
    placed = insertion.symmetric_rotations(turns, operators)
    insertion.insert_points(sums, values, weights, rotations=placed, points=points)
    return sums


def completed(sums):
    """Sums with both mates of the plane kx = 0, without the padded Nyquist frequency."""
    sums_symmetry._complete(sums)
    return sums.numerator[1:, 1:, :-1], sums.weight[1:, 1:, :-1]


@pytest.mark.parametrize("group", ["O", "D2", "C2", "C4", "D4", "I", "T", "C3", "D6"])
def test_sums_symmetrised_afterwards__equal_slices_at_all_places(group):
    operators = symmetry.rotation_matrices(group)
    exact, rest = sums_symmetry.split_group(operators)
    assert len(exact) * len(rest) == len(operators)
    later = inserted(rest)
    sums_symmetry.symmetrise(later, exact)
    for one, two in zip(completed(inserted(operators)), completed(later), strict=True):
        assert np.abs(one - two).max() < 2e-5 * np.abs(one).max()


def test_groups_of_the_grid__need_each_slice_once():
    alone = {group: len(sums_symmetry.split_group(symmetry.rotation_matrices(group))[1]) for group in ("O", "D2", "I")}
    assert alone == {"O": 1, "D2": 1, "I": 5}


@pytest.mark.parametrize("group", ["O", "D4"])
def test_compiled_sum__is_that_of_the_reference(group):
    exact, _ = sums_symmetry.split_group(symmetry.rotation_matrices(group))
    fast, plain = inserted(exact[:1]), inserted(exact[:1])
    sums_symmetry.symmetrise(fast, exact)
    sums_symmetry._complete(plain)
    sums_symmetry.generic_spread(np, plain.numerator, plain.weight, *sums_symmetry._as_steps(exact))
    for one, two in ((fast.numerator, plain.numerator), (fast.weight, plain.weight)):
        two[:, :, 0] *= 0.5
        assert np.abs(one - two).max() < 1e-5 * np.abs(two).max()


def test_threads__change_no_bit():
    exact, _ = sums_symmetry.split_group(symmetry.rotation_matrices("O"))
    before, bits = numba.get_num_threads(), []
    for n_threads in range(1, numba.config.NUMBA_NUM_THREADS + 1):
        numba.set_num_threads(n_threads)
        sums = inserted(exact[:1])
        sums_symmetry.symmetrise(sums, exact)
        bits.append(sums.numerator.tobytes() + sums.weight.tobytes())
    numba.set_num_threads(before)
    assert set(bits) == {bits[0]}
