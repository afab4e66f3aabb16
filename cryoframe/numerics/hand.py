"""Which hand a symmetric map has, by holding it and its mirror image against the map of a model; nothing is refined."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from cryoframe.errors import InvalidInput
from cryoframe.numerics.backend import Floats, Reals
from cryoframe.numerics.fsc import fsc_curve, resolution_at
from cryoframe.numerics.rotations import angular_distance_deg, axis_rotation
from cryoframe.numerics.symmetry import canonical_group, rotation_matrices
from cryoframe.numerics.symmetry_axes import Axes, lay_on_axes

#: The better hand's FSC reaches at least this much finer than the other's, or nothing is said.
_CLEAR_RATIO = 1.5


class HandVerdict(NamedTuple):
    """What a model says of a map's hand.

    `hand` is ``"right"``, ``"mirrored"`` or ``"undetermined"``; `as_it_is_A` and `mirror_image_A`: where the FSC with
    the model falls to 0.5 [Å]; `rotation` `(3, 3)`: turns the better of both, V(Rᵀ x), into the model's frame.
    """

    hand: str
    as_it_is_A: float
    mirror_image_A: float
    rotation: Reals

    @property
    def resolution_A(self) -> float:
        """Of the better hand."""
        return min(self.as_it_is_A, self.mirror_image_A)


def mirror_image(volume: Floats) -> Floats:
    """The other hand: x reversed about voxel n//2."""
    return np.ascontiguousarray(np.roll(volume[:, :, ::-1], 1 - volume.shape[2] % 2, axis=2))


def equivalent_frames(group: str) -> Reals:
    """Rotations `(m, 3, 3)` that turn a point group's axes onto themselves, one of each set related by the group.

    Raises
    ------
    InvalidInput
        For C1 and Cn, whose frames are a continuum.

    References
    ----------
    The normaliser of the group over the group; for D2 six, for Dn and T two, for O and I one.
    """
    operators = rotation_matrices(group)
    name = canonical_group(group)
    if name.startswith("C"):
        raise InvalidInput(f"maps of {group} turn freely about its axis", expected="a group whose axes fix the frame")
    tried = list(rotation_matrices("O"))
    if name.startswith("D"):
        tried.append(axis_rotation((0.0, 0.0, 1.0), 180.0 / int(name[1:])))
    frames: list[Reals] = []
    for turn in tried:
        turned = turn @ operators @ turn.T
        if max(angular_distance_deg(turned, operator).min() for operator in operators) > 1e-3:
            continue
        if all(angular_distance_deg(operators @ turn, known).min() > 1e-3 for known in frames):
            frames.append(turn)
    return np.stack(frames)


def hand_against(volume: Floats, model: Floats, group: str, *, pixel_size_A: float) -> HandVerdict:
    """Hold a map and its mirror image, in every frame its symmetry allows, against the map of a model.

    Projections do not tell a map's hand: without a model, or helices that can be seen to turn, it stays open.

    Parameters
    ----------
    volume, model
        `(n, n, n)`, on the axes of the group as RELION has them.
    group
        Point group of both, with axes that fix the frame.
    pixel_size_A
        Voxel size.

    Returns
    -------
    A hand is named where its FSC with the model falls to 0.5 at a spacing 1.5 times finer than the other's.

    References
    ----------
    Rosenthal & Henderson, J. Mol. Biol. 333, 721 (2003), doi:10.1016/j.jmb.2003.07.013. The factor: definition.
    """
    found = [_best_frame(data, model, group, pixel_size_A) for data in (volume, mirror_image(volume))]
    (as_it_is_A, turn), (mirror_A, mirror_turn) = found
    hand = "undetermined"
    if max(as_it_is_A, mirror_A) > _CLEAR_RATIO * min(as_it_is_A, mirror_A):
        hand = "right" if as_it_is_A < mirror_A else "mirrored"
    return HandVerdict(hand, as_it_is_A, mirror_A, turn if as_it_is_A <= mirror_A else mirror_turn)


def _best_frame(volume: Floats, model: Floats, group: str, pixel_size_A: float) -> tuple[float, Reals]:
    """Spacing where the FSC falls to 0.5 in the frame of the highest mean FSC, and that frame."""
    best, kept = -np.inf, (np.inf, np.eye(3))
    for frame in equivalent_frames(group):
        turned = lay_on_axes(volume, Axes(frame, np.zeros(3), 1.0, 1.0, 0.0, 1.0), "C1")
        curve = fsc_curve(turned, np.asarray(model, dtype=np.float32), pixel_size_A=pixel_size_A)
        agreement = float(np.mean(curve.fsc[1 : len(curve.fsc) // 2]))
        if agreement > best:
            spacing_A = resolution_at(curve.frequency_1_A, curve.fsc, 0.5).resolution_A
            best, kept = agreement, (float(spacing_A), frame)
    return kept
