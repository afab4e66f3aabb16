"""classify_3d `em`: two states of one molecule parted, with and without alignment; noise; inputs that cannot be."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

from cryoframe import StageContext
from cryoframe.errors import Cancelled, InvalidInput
from cryoframe.numerics import fsc, rotations, symmetry
from cryoframe.testing import phantoms
from cryoframe_refine import classes as plugin

SETTINGS = {"n_classes": 2, "particle_diameter_A": 120.0, "coarse_step_deg": 15.0, "n_iterations": 12}
POSE = ("rot_deg", "tilt_deg", "psi_deg", "shift_x_A", "shift_y_A", "pose_score")


def two_states():
    """The molecule, and the molecule with a domain more."""
    one = phantoms.molecule()
    axis = (np.arange(phantoms.BOX_PX) - phantoms.BOX_PX // 2) * phantoms.PIXEL_A
    domain = np.zeros_like(one.data)
    for place in ((-30, -22, 10), (-36, -14, -4), (-26, -32, 0)):
        x, y, z = (np.exp(-0.5 * ((axis - at) / 8.0) ** 2) for at in place)
        domain += (2.0 * z[:, None, None] * y[None, :, None] * x[None, None, :]).astype(np.float32)
    return one, replace(one, data=one.data + domain)


@pytest.fixture(scope="module")
def mixed():
    """300 images, every third of the second state; the table holds the true poses."""
    n, key = 300, "two states"
    states = two_states()
    euler = phantoms.random_views(n, key)
    shifts = phantoms.rng_of("shifts", key).uniform(-2.0, 2.0, (n, 2)) * phantoms.PIXEL_A
    second = np.arange(n) % 3 == 0
    clean = [phantoms.projections(state, euler, shifts_A=shifts, fit=phantoms.CTF) for state in states]
    noise = phantoms.rng_of("noise", key).standard_normal(clean[0].shape)
    images = np.where(second[:, None, None], clean[1], clean[0]) * (np.sqrt(0.3) / clean[0].std()) + noise
    stack = phantoms.particles(n, snr=0.0, key=key).stack
    pose = dict(zip(POSE, (*euler.T, *shifts.T, np.ones(n)), strict=True))
    table = stack.particles.with_columns({name: column.astype(np.float32) for name, column in pose.items()})
    return states, second, euler, replace(stack, images=images.astype(np.float32), particles=table)


def purity(result, second):
    """Share of particles that are in the class that most of their like are in."""
    labels = result.particles.column("class_id")
    return max(float((labels == second.astype(int)).mean()), float((labels != second.astype(int)).mean()))


@pytest.mark.parametrize("align", [False, True])
def test_two_states__are_parted(mixed, align, tmp_path, say):
    states, second, euler, stack = mixed
    if align:
        stack = replace(stack, particles=stack.particles.without(list(POSE)))
    metrics, messages = {}, []
    context = StageContext(
        tmp_path,
        on_metric=lambda name, value, unit: metrics.__setitem__(name, value),
        on_report=lambda done, total, text: messages.append((done, total, text)),
    )
    begun = time.process_time()
    result = plugin.classify_3d(stack, states[0], plugin.Params(align=align, **SETTINGS), context)
    pure = purity(result, second)
    say(
        f"two states, 300 images, {'poses searched' if align else 'poses given'}: purity {pure:.3f}; "
        f"{time.process_time() - begun:.1f} CPU-s"
    )
    # What is not parted at all is 0.67 or less.
    assert pure > 0.95
    assert result.classes.column("n_particles").tolist() == sorted(
        result.classes.column("n_particles").tolist(), reverse=True
    )
    if align:
        found = rotations.euler_to_matrix(*(result.particles.floats(name) for name in POSE[:3]))
        error = symmetry.reduce_pose_error(found, rotations.euler_to_matrix(*euler.T))
        # At the rim, 45 Å from the centre, half of the 16 Å that the maps reach.
        assert np.radians(np.median(error)) * 45.0 < 8.0
    else:
        assert result.particles.select(np.arange(300)).column("rot_deg").tolist() == (
            stack.particles.column("rot_deg").tolist()
        )
    # The larger class is the first state, and each map is nearer to its own state than to the other.
    for volume, own, other in zip(result.volumes, states, states[::-1], strict=True):
        near, far = (
            fsc.fsc_curve(volume.data, state.data, pixel_size_A=phantoms.PIXEL_A).fsc[1:6].mean()
            for state in (own, other)
        )
        assert near > far
    assert [done for done, _, _ in messages] == sorted(done for done, _, _ in messages)
    assert messages[-1][0] == messages[-1][1]
    assert any("Å" in text for _, _, text in messages)
    assert metrics["decided_frac"] > 0.9


def test_one_state__is_not_parted_by_force_of_words(mixed, tmp_path):
    """Two maps of one state: the shares may fall anywhere, but the maps must be alike."""
    states, second, _, stack = mixed
    rows = np.flatnonzero(~second)
    alike = replace(stack, images=stack.images[rows], particles=stack.particles.select(rows))
    result = plugin.classify_3d(alike, states[0], plugin.Params(align=False, **SETTINGS), StageContext(tmp_path))
    curve = fsc.fsc_curve(*(volume.data for volume in result.volumes), pixel_size_A=phantoms.PIXEL_A)
    assert curve.fsc[1:5].min() > 0.8


def test_wrong_inputs__are_refused_in_words(mixed, tmp_path):
    states, _, _, stack = mixed
    context = StageContext(tmp_path)
    bare = replace(stack, particles=stack.particles.without(list(POSE)))
    with pytest.raises(InvalidInput, match="without alignment needs poses"):
        plugin.classify_3d(bare, states[0], plugin.Params(align=False), context)
    few = replace(stack, images=stack.images[:5], particles=stack.particles.select(np.arange(5)))
    with pytest.raises(InvalidInput, match="only 5 particles"):
        plugin.classify_3d(few, states[0], plugin.Params(), context)
    with pytest.raises(Cancelled):
        plugin.classify_3d(
            stack, states[0], plugin.Params(**SETTINGS), StageContext(tmp_path, is_cancelled=lambda: True)
        )
