"""How well two maps agree when turned, moved and, if need be, mirrored onto each other; for the plugins' tests."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize

from cryoframe.numerics import fsc, hand, interpolate, projection, rotations, symmetry_axes


class Agreement(NamedTuple):
    """Spacing where the FSC falls to 0.5 [Å], whether the map had to be mirrored, correlation at low frequency."""

    resolution_A: float
    is_mirrored: bool
    correlation: float


def frequencies(r_max):
    """Whole frequencies of a half space up to a radius, and their shells."""
    axis = np.arange(-r_max, r_max + 1)
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    points = np.stack([x, y, z], axis=-1).reshape(-1, 3).astype(float)
    radius = np.linalg.norm(points, axis=1)
    upper = (points[:, 0] > 0) | ((points[:, 0] == 0) & (points[:, 1] > 0))
    keep = (radius >= 1) & (radius <= r_max) & upper
    return points[keep], np.rint(radius[keep]).astype(int)


def centre_of_mass(volume):
    density = np.maximum(volume - 0.2 * volume.max(), 0)
    axis = np.arange(len(volume)) - len(volume) // 2
    along = (density.sum(axis=(0, 1)), density.sum(axis=(0, 2)), density.sum(axis=(1, 2)))
    return np.array([(line * axis).sum() for line in along]) / density.sum()


def values(volume_ft, points, shift, n):
    """Transform of the map moved by -shift."""
    return interpolate.read(np, volume_ft, 2 * points) * np.exp(2j * np.pi * (points @ shift) / n)


def turned(vector):
    angle = float(np.linalg.norm(vector))
    return rotations.axis_rotation(vector if angle > 0 else (0, 0, 1), angle)


def best_pose(truth_ft, truth_centre, volume, n):
    """Rotation, translation, correlation: a grid of rotations about the centres of mass, then a climb."""
    volume_ft, centre = projection.prepare_volume(volume), centre_of_mass(volume)
    points, _ = frequencies(6)
    wanted = values(truth_ft, points, truth_centre, n)
    grid = rotations.euler_to_matrix(*rotations.so3_grid(14.0).T)
    score = np.concatenate(
        [
            (seen @ wanted.conj()).real / np.linalg.norm(seen, axis=1)
            for start in range(0, len(grid), 200)
            for seen in [values(volume_ft, np.einsum("rij,pj->rpi", grid[start : start + 200], points), centre, n)]
        ]
    )
    points, _ = frequencies(12)
    plain = interpolate.read(np, truth_ft, 2 * points)

    def miss(x, start):
        move = np.exp(-2j * np.pi * (points @ (truth_centre + x[3:])) / n)
        seen = values(volume_ft, points @ (turned(x[:3]) @ start).T, centre, n) * move
        return -np.vdot(plain, seen).real / np.linalg.norm(seen) / np.linalg.norm(plain)

    found = []
    for place in np.argsort(-score)[:4]:
        bounds = [(-15, 15)] * 3 + [(-5, 5)] * 3
        options = {"maxiter": 6, "xtol": 0.1, "ftol": 1e-3}
        climb = minimize(miss, np.zeros(6), args=(grid[place],), method="Powell", bounds=bounds, options=options)
        found.append((-climb.fun, climb.x, grid[place]))
    best = max(found, key=lambda item: item[0])
    return best[0], turned(best[1][:3]) @ best[2], truth_centre + best[1][3:], volume_ft, centre


def agreement(truth, volume, pixel_size_A):
    """Of the better hand."""
    n = len(truth)
    truth_ft, truth_centre = projection.prepare_volume(truth.astype(np.float32)), centre_of_mass(truth)
    hands = (volume, np.roll(volume[::-1], 1, axis=0))
    poses = [best_pose(truth_ft, truth_centre, np.ascontiguousarray(seen), n) for seen in hands]
    correlation, rotation, shift, volume_ft, centre = max(poses, key=lambda item: item[0])
    points, shell = frequencies(n // 2 - 1)
    one = interpolate.read(np, truth_ft, 2 * points)
    two = values(volume_ft, points @ rotation.T, centre, n) * np.exp(-2j * np.pi * (points @ shift) / n)
    cross, power, other = (
        np.bincount(shell, weights=term, minlength=n // 2)[1:]
        for term in ((one.conj() * two).real, np.abs(one) ** 2, np.abs(two) ** 2)
    )
    curve = cross / np.sqrt(power * other + 1e-30)
    frequency = np.arange(1, n // 2) / (n * pixel_size_A)
    reached = fsc.resolution_at(frequency, curve, 0.5).resolution_A
    return Agreement(reached, correlation != poses[0][0], correlation)


def agreement_d2(truth, volume, pixel_size_A):
    """The same for maps on the axes of D2, of the best of six ways to name them and two hands; no search is needed."""
    verdict = hand.hand_against(volume, truth, "D2", pixel_size_A=pixel_size_A)
    is_mirrored = verdict.mirror_image_A < verdict.as_it_is_A
    seen = hand.mirror_image(volume) if is_mirrored else volume
    laid = symmetry_axes.lay_on_axes(seen, symmetry_axes.Axes(verdict.rotation, np.zeros(3), 1.0, 1.0, 0.0, 1.0), "C1")
    return Agreement(verdict.resolution_A, is_mirrored, float(np.corrcoef(laid.ravel(), truth.ravel())[0, 1]))
