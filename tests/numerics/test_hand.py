"""The hand of a map against a model's: right, mirrored, or not to be told; every naming of the axes is tried."""

from __future__ import annotations

import numpy as np
import pytest

from cryoframe.errors import InvalidInput
from cryoframe.numerics import hand, rotations, symmetry

SIDE, PIXEL_A = 32, 4.0


def assembly(group, turn):
    """Lumps repeated by the group and turned."""
    lumps = np.array([4.0, 1.0, 2.5]) + np.random.default_rng(1).normal(0.0, 2.5, (7, 3))
    places = np.einsum("gij,lj->gli", symmetry.rotation_matrices(group), lumps).reshape(-1, 3) @ turn.T
    axis = np.arange(SIDE) - SIDE // 2
    profile = np.exp(-0.5 * ((axis - places[:, :, None]) / 1.0) ** 2)
    return np.einsum("px,py,pz->zyx", *profile.transpose(1, 0, 2), optimize=True).astype(np.float32)


@pytest.mark.parametrize(("group", "n_frames"), [("D2", 6), ("D3", 2), ("D4", 2), ("T", 2), ("O", 1), ("I2", 1)])
def test_frames__are_those_that_keep_the_group(group, n_frames):
    assert len(hand.equivalent_frames(group)) == n_frames


@pytest.mark.parametrize("group", ["D2", "D3", "O"])
@pytest.mark.parametrize("is_mirrored", [False, True])
def test_hand__is_told_in_any_of_the_frames(group, is_mirrored):
    model = assembly(group, np.eye(3))
    for frame in hand.equivalent_frames(group):
        seen = assembly(group, frame)
        verdict = hand.hand_against(
            hand.mirror_image(seen) if is_mirrored else seen, model, group, pixel_size_A=PIXEL_A
        )
        assert verdict.hand == ("mirrored" if is_mirrored else "right")
        assert verdict.resolution_A < 10.0
        operators = symmetry.rotation_matrices(group)
        assert rotations.angular_distance_deg(operators @ verdict.rotation @ frame, np.eye(3)).min() < 0.01


def test_map_of_another_thing__tells_no_hand():
    noise = np.random.default_rng(2).standard_normal((SIDE,) * 3).astype(np.float32)
    verdict = hand.hand_against(noise, assembly("D2", np.eye(3)), "D2", pixel_size_A=PIXEL_A)
    assert verdict.hand == "undetermined"


def test_group_without_a_fixed_frame__is_refused():
    with pytest.raises(InvalidInput, match="turn freely"):
        hand.equivalent_frames("C4")
