"""What the refiners' engine promises beside its results: resumption, bounded memory, scales, masks, cost figures."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cryoframe import StageContext
from cryoframe.numerics import fourier, pose_search, refine_near, refine_whole
from cryoframe.testing import phantoms
from cryoframe_refine import checkpoint, halfset, inputs, plugin

PARAMS = plugin.Params(coarse_step_deg=15.0, n_whole=2, n_iterations=4, particle_diameter_A=120.0)
CHILD = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {here!r})
from test_refine_engine import PARAMS, made_of
from cryoframe import StageContext
from cryoframe_refine import plugin

def hear(line):
    if line.startswith("iteration 3"):
        os.kill(os.getpid(), signal.SIGKILL)

made = made_of()
plugin.refine_3d(made.stack, made.volume, None, PARAMS, StageContext(Path({folder!r}), on_log=hear))
"""


def made_of():
    return phantoms.particles(100, snr=0.5, key="engine tests")


@pytest.fixture(scope="module")
def made():
    return made_of()


def mapped(stack, folder):
    """The same stack with its images in a file."""
    path = folder / "images.raw"
    np.asarray(stack.images, np.float32).tofile(path)
    return replace(stack, images=np.memmap(path, np.float32, "r", shape=stack.images.shape))


def test_refinement_that_was_killed__goes_on_and_ends_with_the_same_bytes(made, tmp_path):
    whole = plugin.refine_3d(mapped(made.stack, tmp_path), made.volume, None, PARAMS, StageContext(tmp_path))
    folder = tmp_path / "killed"
    folder.mkdir()
    code = CHILD.format(here=str(Path(__file__).parent), folder=str(folder))
    child = subprocess.run([sys.executable, "-c", code], env=dict(os.environ), capture_output=True, check=False)
    assert child.returncode == -signal.SIGKILL, child.stderr.decode()
    lines = []
    again = plugin.refine_3d(made.stack, made.volume, None, PARAMS, StageContext(folder, on_log=lines.append))
    assert lines[0] == "taken up after iteration 3"
    assert again.volume.data.tobytes() == whole.volume.data.tobytes()
    assert again.half_maps.second.data.tobytes() == whole.half_maps.second.data.tobytes()
    assert again.particles == whole.particles
    assert again.iterations == whole.iterations


def test_checkpoint_of_something_else_or_torn__is_not_read(made, tmp_path):
    kept = checkpoint.open_checkpoint(StageContext(tmp_path), made.stack, made.volume, None, (PARAMS,))
    kept.save([], [(1, 20.0, 3.0, 1.0)])
    assert kept.load([]) == ([], [(1, 20.0, 3.0, 1.0)])
    other = checkpoint.open_checkpoint(
        StageContext(tmp_path), made.stack, made.volume, None, (replace(PARAMS, n_whole=1),)
    )
    assert other.load([]) is None
    kept.path.write_bytes(kept.path.read_bytes()[:50])
    assert kept.load([]) is None
    kept.path.unlink()
    assert kept.load([]) is None


def image_sets(made):
    order = np.argsort(np.asarray(made.stack.particles.column("particle_id")), kind="stable")
    stack = replace(made.stack, particles=made.stack.particles.select(order))
    geometry = inputs.geometry_of(stack, made.volume, None, PARAMS)
    return inputs.image_sets(stack, order, geometry), geometry


def test_start_of_another_grey_scale__is_brought_to_that_of_the_images(made):
    sets, geometry = image_sets(made)
    lattice = refine_whole.Lattice(5.0, 8.0, 15.0, 2.0, 2.0)
    maps = [
        halfset.begin(sets[0], (factor * made.volume.data).astype(np.float32), geometry, lattice).reference
        for factor in (1.0, 50.0)
    ]
    np.testing.assert_allclose(maps[0], maps[1], rtol=0.02, atol=0.02 * float(np.abs(maps[0]).max()))


def test_search_over_all_orientations__leaves_next_to_nothing_of_any_posterior_out(made, say):
    sets, geometry = image_sets(made)
    lattice = refine_whole.Lattice(6.0, 8.0, 15.0, 3.0, 1.5)
    state = halfset.begin(sets[0], made.volume.data, geometry, lattice)
    found = refine_whole.expect(
        sets[0], state.reference, state.spectra, lattice, symmetry="C1", side=24, centres_px=np.zeros((len(sets[0]), 2))
    )
    say(f"share of the posterior left out: at most {found.lost.max():.1e}, mean {found.lost.mean():.1e}")
    assert found.lost.max() <= refine_whole.LEFT_OUT
    assert (found.candidates.scores[:, 0] >= found.candidates.scores.max(axis=1)).all()


def test_sums_over_all_poses__are_those_of_every_candidate_one_by_one(made, monkeypatch):
    sets, geometry = image_sets(made)
    lattice = refine_whole.Lattice(5.0, 8.0, 25.0, 3.0, 3.0)
    state = halfset.begin(sets[0], made.volume.data, geometry, lattice)
    few = sets[0].pick(np.arange(12))
    # A tenth of the signal makes posteriors broad.
    spectra = state.spectra._replace(scale=np.full(12, 0.1))
    found = []
    for left_out, n_most in ((-1.0, 16), (2.0, 10**6)):
        monkeypatch.setattr(refine_whole, "LEFT_OUT", left_out)
        monkeypatch.setattr(refine_whole, "_N_MOST", n_most)
        monkeypatch.setattr(refine_whole, "_DEEPEST", 60.0)
        found.append(
            refine_whole.expect(
                few, state.reference, spectra, lattice, symmetry="C1", side=24, centres_px=np.zeros((12, 2))
            )
        )
    soft, exhaustive = found
    assert np.abs(soft.sums.weight - exhaustive.sums.weight).max() < 1e-4 * exhaustive.sums.weight.max()
    # The images hold a little beyond the orders that their support does; sums over all poses leave that out.
    size = np.abs(exhaustive.sums.numerator).max()
    assert np.abs(soft.sums.numerator - exhaustive.sums.numerator).max() < 2e-3 * size
    assert soft.sigma_px == pytest.approx(exhaustive.sigma_px, rel=1e-4)
    assert soft.beyond.min() > 0.5


def test_map_on_more_voxels__keeps_its_transform(made):
    wide = halfset.resized(made.volume.data, 48)
    small, large = (fourier.fft3_centred(volume) for volume in (made.volume.data, wide))
    inner = large[9:40, 9:40, :16]
    np.testing.assert_allclose(inner, small[1:32, 1:32, :16], atol=2e-3 * float(np.abs(small).max()))
    np.testing.assert_allclose(halfset.resized(wide, 32), made.volume.data, atol=0.02 * float(made.volume.data.max()))


def test_scales__are_found_where_they_differ_and_left_alone_where_they_do_not():
    rng = np.random.default_rng(3)
    square = np.full(4000, 40.0)
    noise = rng.normal(0.0, np.sqrt(square / 2.0))
    truth = rng.normal(1.0, 0.2, 4000)
    found = halfset.scales(truth * square + noise, square)
    # Known to 0.11 each and spread by 0.2, the best estimate keeps 1/(1/0.11^2 + 1/0.2^2)^0.5 = 0.097 of error.
    assert np.std(found - truth) == pytest.approx(0.097, rel=0.05)
    assert found.mean() == pytest.approx(1.0, abs=0.01)
    assert np.ptp(halfset.scales(square + noise, square)) < 0.3


def test_modes__are_told_apart_and_hold_their_share():
    turns = pose_search.rotation_neighbours(30.0, 2)[[0, 0, 7]]
    poses = pose_search.Poses(
        turns[None], np.array([[[0.0, 0.0], [1.0, 0.0], [5.0, 5.0]]]), np.log(np.array([[0.5, 0.25, 0.25]]))
    )
    modes = refine_near.modes_of(poses, evidence_frac=1.0)
    np.testing.assert_allclose(modes.share[0], [0.75, 0.25, 0.0, 0.0], atol=1e-9)
    np.testing.assert_allclose(modes.shifts_px[0, :2], [[1.0 / 3.0, 0.0], [5.0, 5.0]], atol=1e-9)
    np.testing.assert_allclose(modes.rotations[0, 0], turns[0], atol=1e-9)
    np.testing.assert_allclose(modes.width_deg[0], 0.0, atol=1e-5)


def test_protein__is_cut_out_of_the_solvent_by_the_map_alone(made):
    _, geometry = image_sets(made)
    noisy = made.volume.data + np.random.default_rng(1).normal(0.0, 0.02, made.volume.data.shape)
    mask = halfset.protein_mask(noisy.astype(np.float32), geometry, resolution_A=12.0)
    kept = float((mask * made.volume.data**2).sum() / (made.volume.data**2).sum())
    assert kept > 0.98
    assert mask.mean() < 0.7 * geometry.volume_mask.mean()
    empty = halfset.protein_mask(np.zeros_like(made.volume.data), geometry, resolution_A=12.0)
    assert (empty == geometry.volume_mask).all()


def test_micrographs_of_many_particles__have_noise_spectra_of_their_own(made):
    table = made.stack.particles
    names = np.array(["many"] * 60 + [f"few{k % 4}" for k in range(40)])
    stack = replace(made.stack, particles=table.with_columns({"micrograph_id": names}))
    before, engine_own = inputs._OWN_NOISE, 50
    try:
        inputs._OWN_NOISE = engine_own
        groups = inputs._noise_groups(stack, np.arange(100))
    finally:
        inputs._OWN_NOISE = before
    assert len(set(groups[:60])) == 1
    assert len(set(groups[60:])) == 1
    assert groups[0] != groups[99]
