"""Sums of images by reference on the polar grid, references solved from them, accuracies; cropped images and CTFs."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from cryoframe.numerics import angular_search, angular_sums, ctf, fourier, polar, polar_images
from cryoframe.numerics._numba import angular_sums as fast
from cryoframe.numerics.masks import circular_mask

SIDE, BOX = 24, 32


@pytest.fixture
def grid():
    return polar.make_grid(BOX, r_max=9, support_px=0.3 * BOX)


@pytest.fixture
def candidates(grid):
    rng = np.random.default_rng(2)
    shape = (5, len(grid.rings), grid.n_half)
    values = (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)
    n = 40
    found = angular_search.Survivors(
        np.sort(rng.integers(0, 5, n)),
        rng.integers(0, 3, n),
        rng.integers(0, grid.n_theta, n),
        rng.integers(0, 4, n),
        rng.random(n).astype(np.float32),
        np.zeros(5),
        np.zeros(5),
    )
    return values, rng.random(shape).astype(np.float32), found, rng.normal(0, 1, (4, 2)), np.array([0, 1, 0, 1, 0])


@pytest.mark.parametrize("as_python", [False, True])
def test_compiled_sums__equal_generic_ones(grid, candidates, monkeypatch, as_python):
    values, weights, found, shifts, half = candidates
    if as_python:
        for name in ("_add", "_segment"):
            monkeypatch.setattr(fast, name, getattr(fast, name).py_func)
    one, two = angular_sums.empty_sums(3, grid), angular_sums.empty_sums(3, grid)
    angular_sums.add(one, values, weights, found, grid=grid, shifts_px=shifts, half=half)
    monkeypatch.setattr(angular_sums, "native", lambda *_: None)
    angular_sums.add(two, values, weights, found, grid=grid, shifts_px=shifts, half=half)
    assert np.abs(one.numerator - two.numerator).max() < 1e-5
    assert np.abs(one.weight - two.weight).max() < 1e-5


def test_image_added_as_it_was_found__gives_its_reference_back(grid):
    """Turning and moving on the way in undo those of the search."""
    rng = np.random.default_rng(3)
    picture = (rng.standard_normal((1, SIDE, SIDE)) * circular_mask(SIDE, 5.0, edge_px=2.0)).astype(np.float32)
    reference = polar.sample(picture, grid)
    shifts = np.array([[0.0, 0.0], [2.0, -1.0]])
    psi = 6
    seen = np.roll(polar.full_circle(reference), -psi, axis=-1)[..., : grid.n_half]
    undo = angular_search.turn(shifts[1:], -grid.psi_deg[psi])
    image = (seen * polar.shift_phases(grid, -undo)).astype(np.complex64)
    ones = np.ones(image.shape, np.float32)
    found = angular_search.Survivors(
        *(np.array([value]) for value in (0, 0, psi, 1)), np.ones(1, np.float32), np.zeros(1), np.zeros(1)
    )
    sums = angular_sums.empty_sums(1, grid)
    angular_sums.add(sums, image, ones, found, grid=grid, shifts_px=shifts, half=np.zeros(1, int))
    solved = angular_sums.solve(sums, np.full((1, len(grid.rings)), 1e6))
    assert np.abs(solved - reference).max() < 2e-3 * np.abs(reference).max()
    # All of the image's power is explained.
    explained = angular_sums.explained_power(sums, reference)
    assert explained == pytest.approx((np.abs(image) ** 2).mean(axis=(0, 2)), rel=1e-3)


def test_accuracy__is_where_the_score_drops_by_ln_100(grid):
    rng = np.random.default_rng(5)
    picture = (rng.standard_normal((1, SIDE, SIDE)) * circular_mask(SIDE, 5.0, edge_px=2.0)).astype(np.float32)
    reference = polar.sample(picture, grid)
    level = 3e-2
    turn_deg, move_px = angular_sums.accuracy(reference, np.full((1, len(grid.rings)), level), grid)

    def drop(changed):
        return level * np.sum(grid.areas[:, None] * np.abs(changed - reference[0]) ** 2)

    series = np.fft.fft(polar.full_circle(reference), axis=-1)
    order = np.fft.fftfreq(grid.n_theta, 1.0 / grid.n_theta)
    turned = np.fft.ifft(series * np.exp(1j * order * np.radians(turn_deg[0])), axis=-1)[0, :, : grid.n_half]
    assert drop(turned) == pytest.approx(np.log(100.0), rel=0.1)
    along = [drop(reference[0] * polar.shift_phases(grid, [move])[0]) for move in np.eye(2) * move_px[0]]
    assert np.mean(along) == pytest.approx(np.log(100.0), rel=0.1)


def optics(m):
    columns = {
        "defocus_u_A": np.linspace(10000, 20000, m),
        "defocus_v_A": np.linspace(9500, 19000, m),
        "defocus_angle_deg": np.linspace(0, 90, m),
        "phase_shift_deg": np.zeros(m),
    }
    groups = np.where(np.arange(m) % 2, "a", "b")
    return polar_images.make_optics(groups, {"a": (300.0, 2.7, 0.1), "b": (200.0, 1.4, 0.07)}, columns)


def test_ctfs_at_polar_frequencies__are_the_ctfs_there(grid):
    images = polar_images.PolarImages(np.zeros((4, SIDE, SIDE), np.float32), BOX, 3.0, optics(4), 8.0, 2.0)
    found = images.ctfs(slice(0, 4), grid)
    k = grid.points / (BOX * 3.0)
    u, v, angle, _ = images.optics.columns[1]
    exact = ctf.ctf(
        k[..., 0],
        k[..., 1],
        voltage_kV=300.0,
        cs_mm=2.7,
        amplitude_contrast=0.1,
        defocus_u_A=u,
        defocus_v_A=v,
        defocus_angle_deg=angle,
    )
    assert np.abs(found[1] - exact).max() < 1e-4


def test_moved_image__is_masked_where_its_particle_is(grid):
    """An image and the same moved by a whole number of cropped pixels have the same transform once centred."""
    rng = np.random.default_rng(6)
    image = (rng.standard_normal((SIDE, SIDE)) * circular_mask(SIDE, 4.0, edge_px=2.0)).astype(np.float32)
    pair = np.stack([image, np.roll(image, (2, -3), axis=(0, 1))])
    images = polar_images.PolarImages(pair, BOX, 3.0, optics(2), 8.0, 2.0)
    back = np.array([[0.0, 0.0], [3.0, -2.0]]) * BOX / SIDE
    one, two = images.transforms(slice(0, 2), back, grid)
    assert np.abs(one - two).max() < 1e-4 * np.abs(one).max()


def test_cropping__is_the_same_in_memory_and_in_a_file_and_tells_broken_images(tmp_path, monkeypatch):
    rng = np.random.default_rng(7)
    images = rng.standard_normal((6, 32, 32)).astype(np.float32)
    images[2, 3, 4] = np.inf
    rows = np.array([5, 2, 0])
    kept, spread = polar_images.crop(images, rows, 20, folder=tmp_path)
    assert np.isfinite(spread).tolist() == [True, False, True]
    assert spread[0] == pytest.approx(images[5].std(), rel=1e-5)
    assert np.allclose(kept[0], fourier.fourier_crop(images[5:6], (20, 20), origin="centre")[0], atol=1e-6)
    monkeypatch.setattr(polar_images, "_IN_MEMORY", 0)
    monkeypatch.setattr(polar_images, "CHUNK", 2)
    filed, _ = polar_images.crop(images, rows, 20, folder=tmp_path)
    assert isinstance(filed, np.memmap)
    assert np.allclose(filed, kept, atol=1e-6)


def test_images_unlike_the_others__are_told_by_what_is_wrong_with_them():
    spread = np.array([1.0, np.nan, 0.9, 0.0, 1.2, 12.0, 0.09, 9.0])
    reasons = polar_images.unfit(spread)
    assert [np.flatnonzero(rows).tolist() for rows in reasons.values()] == [[1], [3], [5, 6]]
    assert [text for text in reasons if "one value" in text or "not finite" in text or "10 times" in text] == [*reasons]
    assert sum(rows.sum() for rows in polar_images.unfit(np.zeros(4)).values()) == 4


PROGRAM = """
import sys, hashlib
import numpy as np
from cryoframe.numerics import angular_search as a, angular_sums as s, polar
rng = np.random.default_rng(0)
g = polar.make_grid(48, r_max=14, support_px=20)
refs = polar.sample(rng.standard_normal((30, 40, 40)).astype(np.float32), g)
im = polar.sample(rng.standard_normal((70, 40, 40)).astype(np.float32), g) * np.complex64(0.002)
t = a.make_table(refs, g, [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
w = np.full(im.shape, 1e-4, np.float32)
f = a.search(a.Targets(im, w, np.zeros((70, 2))), t, a.Prior(np.zeros(30), 3.0), evidence_frac=0.5)
sums = s.empty_sums(30, g)
s.add(sums, im, w, f, grid=g, shifts_px=t.shifts_px, half=np.arange(70) % 2)
parts = [f.image, f.psi, f.probability, f.log_evidence, sums.numerator, sums.weight]
sys.stdout.write(hashlib.sha256(b"".join(np.ascontiguousarray(p).tobytes() for p in parts)).hexdigest())
"""


def test_one_and_two_threads_of_the_loops__give_the_same_bits():
    """With BLAS on one thread, as in every worker: on two, OpenBLAS itself rounds matrix products differently."""
    answers = set()
    for n in ("1", "2"):
        environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "NUMBA_NUM_THREADS": n}
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True
        )
        answers.add(done.stdout)
    assert len(answers) == 1
    assert len(answers.pop()) == 64
