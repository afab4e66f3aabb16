"""Aggregates and broken particles: touching copies, rough halves, masses; on maps with known extents."""

from __future__ import annotations

import numpy as np
import pytest

from cryoframe.errors import InvalidInput
from cryoframe.numerics import distractors
from cryoframe.numerics.rotations import axis_rotation, random_rotations
from cryoframe.numerics.turned_volume import turned_volume


def ellipsoid(n=48, axes_px=(14.0, 9.0, 6.0)):
    """A body with three different axes along x, y, z."""
    z, y, x = np.indices((n, n, n)) - n // 2
    radius = np.sqrt((x / axes_px[0]) ** 2 + (y / axes_px[1]) ** 2 + (z / axes_px[2]) ** 2)
    return (1.0 / (1.0 + np.exp((radius - 1.0) * 12.0))).astype(np.float32)


def test_a_map_turned_by_a_quarter__has_its_axes_exchanged():
    body = ellipsoid()
    turned = turned_volume(body, axis_rotation((0, 0, 1), 90.0), n=64, shift_px=(0.0, 0.0, 0.0))
    # x goes to y: element [z, y, x] comes from [z, -x, y]; the origins are voxels 24 and 32.
    inner = turned[32 - 20 : 32 + 21, 32 - 20 : 32 + 21, 32 - 20 : 32 + 21]
    expected = body[24 - 20 : 24 + 21, 24 - 20 : 24 + 21, 24 - 20 : 24 + 21].swapaxes(1, 2)
    assert np.abs(inner - expected).max() < 1e-5
    assert inner[20, 20 + 12, 20] > 0.8 > 0.2 > inner[20, 20, 20 + 12]


def test_a_turned_and_moved_map__keeps_its_total_and_its_middle():
    body = ellipsoid()
    rotation = random_rotations(1, np.random.default_rng(1))[0]
    moved = turned_volume(body, rotation, n=80, shift_px=(5.25, -7.5, 3.0))
    assert moved.sum() == pytest.approx(body.sum(), rel=0.01)
    z, y, x = np.indices(moved.shape) - 40
    middle = [float((moved * axis).sum() / moved.sum()) for axis in (x, y, z)]
    assert middle == pytest.approx([5.25, -7.5, 3.0], abs=0.05)


@pytest.mark.parametrize("n_copies", [2, 3, 6])
def test_copies_of_an_aggregate__touch_and_do_not_enter_each_other(n_copies, figure):
    body, rng = ellipsoid(), np.random.default_rng(n_copies)
    plan = distractors.plan_aggregate(body, 3.0, n_copies=n_copies, rng=rng)
    near, overlap = distractors.touching(plan, body, 3.0)
    figure(f"largest overlap of a copy in an aggregate of {n_copies}", overlap)
    assert near.all()
    # A copy stops at 0.005 of itself; each of up to five others may take as much of one.
    assert overlap <= 0.005 * (n_copies - 1) + 1e-9
    made = distractors.arranged(body, 3.0, plan)
    assert made.sum(dtype=float) == pytest.approx(n_copies * body.sum(dtype=float), rel=0.01)
    n = made.shape[0]
    z, y, x = np.indices(made.shape) - n // 2
    reach_A = np.sqrt(x * x + y * y + z * z)[made > 0.5].max() * 3.0
    assert reach_A <= plan.radius_A + 3.0
    assert n * 3.0 >= 2.0 * plan.radius_A


def test_aggregates__differ_by_chance_and_repeat_by_seed():
    body = ellipsoid()
    first, again, other = (
        distractors.aggregate(body, 3.0, n_copies=3, rng=np.random.default_rng(seed))[0] for seed in (5, 5, 6)
    )
    assert np.array_equal(first, again)
    assert first.shape != other.shape or not np.array_equal(first, other)


@pytest.mark.parametrize("kept_frac", [0.3, 0.5, 0.8])
def test_a_broken_particle__keeps_its_share_in_one_piece_about_the_origin(kept_frac, figure):
    body = ellipsoid()
    found = distractors.plan_break(body, 3.0, kept_frac=kept_frac, rng=np.random.default_rng(7))
    left = found.applied(body)
    share = float(left.sum(dtype=float) / body.sum(dtype=float))
    figure(f"share left of a broken particle, {kept_frac} asked for", share)
    # The cut is made by volume; the molecule's soft border and that of the break weigh little.
    assert share == pytest.approx(kept_frac, abs=0.03)
    z, y, x = np.indices(left.shape) - 24
    middle = [float((left * axis).sum() / left.sum()) for axis in (z, y, x)]
    assert middle == pytest.approx([0.0] * 3, abs=1.0)
    assert found.radius_A < 14.0 * 3.0 * 1.6
    # Parts broken alike add up to the whole broken.
    one, rest = body * 0.25, body * 0.75
    assert np.allclose(found.applied(one) + found.applied(rest), left, atol=1e-6)


def test_broken_surfaces__are_rough_and_random():
    body = ellipsoid()
    cuts = [distractors.plan_break(body, 3.0, kept_frac=0.5, rng=np.random.default_rng(seed)) for seed in (1, 2)]
    assert np.corrcoef(cuts[0].kept.ravel(), cuts[1].kept.ravel())[0, 1] < 0.95
    border = np.argwhere(np.abs(cuts[0].kept[12:36, 12:36, 12:36] - 0.5) < 0.3) * 3.0
    # Distance of the border's voxels from the plane that fits them best.
    spread = np.linalg.svd(border - border.mean(axis=0), compute_uv=False)[-1] / np.sqrt(len(border))
    assert 1.0 < spread < 8.0


def test_impossible_distractors__are_refused_by_name():
    body, rng = ellipsoid(), np.random.default_rng(1)
    with pytest.raises(InvalidInput, match="1 copies"):
        distractors.plan_aggregate(body, 3.0, n_copies=1, rng=rng)
    with pytest.raises(InvalidInput, match=r"0\.0 of it left"):
        distractors.plan_break(body, 3.0, kept_frac=0.0, rng=rng)
    with pytest.raises(InvalidInput, match="alike"):
        distractors.aggregate(np.zeros((16, 16, 16), np.float32), 3.0, n_copies=2, rng=rng)
