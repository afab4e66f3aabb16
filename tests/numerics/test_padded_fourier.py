"""Transforms of padded volumes made piece by piece: those of the whole, in a fraction of its memory."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from cryoframe.numerics import fourier, insertion, padded_fourier, reconstruction


def padded(volume, side):
    whole = np.zeros((side,) * 3, np.float32)
    start = side // 2 - len(volume) // 2
    inner = slice(start, start + len(volume))
    whole[inner, inner, inner] = volume
    return whole, inner


@pytest.mark.parametrize(("n", "side"), [(8, 16), (12, 24), (10, 25), (16, 32)])
def test_padded_transform__is_that_of_the_volume_in_zeros(n, side):
    volume = np.random.default_rng(n).standard_normal((n, n, n)).astype(np.float32)
    whole = fourier.fft3_centred(padded(volume, side)[0])
    assert np.abs(padded_fourier.fft3_padded(volume, side) - whole).max() < 1e-6 * np.abs(whole).max()


@pytest.mark.parametrize(("n", "side"), [(8, 16), (12, 24), (10, 25), (16, 32)])
def test_middle__is_that_of_the_whole_inverse_transform(n, side, monkeypatch):
    rng = np.random.default_rng(n)
    ft = fourier.fft3_centred(rng.standard_normal((side,) * 3).astype(np.float32))
    inner = padded(np.zeros((n,) * 3), side)[1]
    monkeypatch.setattr(padded_fourier, "_BLOCK_VALUES", 3 * side**2)
    found = padded_fourier.middle_of_ifft3(lambda part: ft[:, :, part].copy(), side, n)
    whole = fourier.ifft3_centred(ft, n=side)[inner, inner, inner]
    assert np.abs(found - whole).max() < 1e-6 * np.abs(whole).max()


def solved_whole(accumulator, ssnr):
    """The definition: every array of the padded grid at once."""
    n, padding = accumulator.box_px, accumulator.padding
    numerator, weight = reconstruction.complete_symmetric_plane(accumulator)
    index, n_shells = reconstruction.radial_index(n, padding), n // 2 + 1
    means = reconstruction.shell_means(weight, index, n_shells)
    floor = np.maximum(means / np.clip(ssnr, 1e-3, 1e4), 1e-6 * means.max()).astype(np.float32)
    estimate = np.where(index < n_shells, numerator / (weight + floor[np.minimum(index, n_shells - 1)]), 0.0)
    volume = fourier.ifft3_centred(estimate.astype(np.complex64))
    start = len(volume) // 2 - n // 2
    inner = slice(start, start + n)
    from cryoframe.numerics.projection import gridding_correction

    return volume[inner, inner, inner] / gridding_correction(n, padding=padding)


@pytest.mark.parametrize("n", [12, 32])
def test_map_solved_by_columns__is_that_of_the_definition(n):
    rng = np.random.default_rng(n)
    sums = insertion.empty_accumulator(n)
    shape = sums.weight.shape
    sums.weight[:] = rng.random(shape) * (rng.random(shape) > 0.1)
    sums.numerator[:] = rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
    before, ssnr = sums.numerator.copy(), np.linspace(100.0, 0.01, n // 2 + 1)
    whole = solved_whole(sums, ssnr)
    assert np.abs(reconstruction.solve(sums, ssnr=ssnr) - whole).max() < 1e-6 * np.abs(whole).max()
    assert (sums.numerator == before).all()


PROGRAM = """
import json, resource, sys
from cryoframe.numerics import insertion, projection, reconstruction
peak_MB = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
n = 160
bare, sums = peak_MB(), [insertion.empty_accumulator(n) for _ in range(2)]
for part in sums:
    part.weight[:], part.numerator[:] = 1.0, 1.0
held = peak_MB()
volume = reconstruction.solve(sums[0])
solved = peak_MB()
projection.prepare_volume(volume)
sys.stdout.write(json.dumps([n, bare, held, solved, peak_MB()]))
"""


def test_memory_of_a_map__is_that_of_its_sums_and_little_more(figure):
    """A padded grid is 8 n^3 voxels: solving takes a quarter of the sums' twelve bytes a half-voxel at most."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True)
    n, bare, held, solved, prepared = json.loads(done.stdout)
    one_MB = 12 * 4 * n**3 / 2**20
    figure(
        "peak memory of a map",
        f"{n} px: {bare:.0f} MB before, {held - bare:.0f} MB sums of two halves, {solved - held:.0f} MB more to "
        f"solve one, {prepared - solved:.0f} MB more for its padded transform",
    )
    # Blocks of a fixed size, some 150 MB, are all that does not grow with the box.
    assert solved - held < 0.25 * one_MB + 150.0
    assert prepared - solved < 8 * 4 * n**3 / 2**20 + 50.0
