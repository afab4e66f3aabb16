"""estimate_local_resolution `windowed`: two zones, noise, the real protein, cost, and RELION's own on the same maps."""

from __future__ import annotations

import shutil
import subprocess
import time
from dataclasses import replace

import betagal
import numpy as np
import pytest

from cryoframe import HalfMaps, Mask, StageContext, Volume
from cryoframe.errors import InvalidInput
from cryoframe.formats import mrc
from cryoframe.numerics import masks
from cryoframe.numerics.filters import filter_pass
from cryoframe_finish import local_resolution as plugin


def told(tmp_path):
    lines, metrics = [], {}
    context = StageContext(
        tmp_path, on_log=lines.append, on_metric=lambda name, value, unit: metrics.__setitem__(name, value)
    )
    return context, lines, metrics


def two_zones(n, seed=3):
    """Signal to 8 Å left of the middle, to 4 Å right of it; noise as strong as half of it. Pixels of 1 Å."""
    rng = np.random.default_rng(seed)
    white = rng.standard_normal((n, n, n)).astype(np.float32)
    coarse, fine = (filter_pass(white, pixel_size_A=1.0, n_dims=3, low_pass_A=limit) for limit in (8.0, 4.0))
    ball = masks.spherical_mask(n, 0.39 * n, edge_px=6)
    signal = 1.5 * np.where(np.arange(n) < n // 2, coarse, fine) * ball
    halves = [Volume((signal + rng.standard_normal(signal.shape)).astype(np.float32), 1.0) for _ in range(2)]
    return HalfMaps(*halves), Mask(ball, 1.0)


def zones_A(data):
    """Medians in the middle of the coarse and of the fine zone."""
    n = data.shape[0]
    middle, left, right = slice(n // 2 - 8, n // 2 + 8), slice(n // 4, n // 4 + 8), slice(3 * n // 4 - 8, 3 * n // 4)
    return tuple(float(np.median(data[middle, middle, part])) for part in (left, right))


def test_two_zones__are_recovered_and_filtered_each_by_its_own(tmp_path, say):
    halves, mask = two_zones(128)
    context, lines, metrics = told(tmp_path)
    begun = time.process_time()
    result = plugin.estimate_local_resolution(
        halves, mask, plugin.Params(window_radius_A=8.0, window_edge_A=12.0), context
    )
    spent = time.process_time() - begun
    coarse_A, fine_A = zones_A(result.data)
    say(f"128³, window of 28 Å: {coarse_A:.2f} Å where 8 Å is true, {fine_A:.2f} Å where 4 Å is; {spent:.1f} CPU-s")
    # Half a window's smear in frequency, 1/56 Å, is what the limits may be off.
    assert 1.0 / (1.0 / 8.0 + 1.0 / 56.0) < coarse_A < 8.5
    assert 1.0 / (1.0 / 4.0 + 1.0 / 56.0) < fine_A < 4.2
    # RELION 5 needs 32 CPU-s for a map of this size.
    assert spent < 32.0
    assert (result.data[mask.data == 0.0] == 50.0).all()
    outer = filter_pass(result.filtered.data, pixel_size_A=1.0, n_dims=3, high_pass_A=6.0)
    assert outer[..., 24:48].std() < 0.3 * outer[..., 80:104].std()
    # The signal fades over the outermost 3 px of a ball of 50 px, 17 % of its volume.
    assert metrics["resolved_frac"] > 0.83
    assert "median" in lines[0]


def test_noise__is_resolved_nowhere_and_said_so(tmp_path):
    rng = np.random.default_rng(8)
    halves = HalfMaps(*(Volume(rng.standard_normal((48, 48, 48)).astype(np.float32), 3.0) for _ in range(2)))
    context, lines, metrics = told(tmp_path)
    result = plugin.estimate_local_resolution(halves, None, plugin.Params(chance_frac=1e-6), context)
    assert (result.data == 50.0).all()
    assert metrics["resolved_frac"] == 0.0
    assert "no better than noise" in lines[0]
    # By the default, one place in twenty passes its first band; 48 px of 3 Å hold some 20 windows: 5 ± 5 %.
    by_default = plugin.estimate_local_resolution(halves, None, plugin.Params(), told(tmp_path)[0])
    assert (by_default.data < 50.0).mean() < 0.2


def test_real_protein__is_finer_in_its_core_than_a_noisy_end_allows(shared_data, tmp_path, say):
    volume = betagal.published_map(shared_data, 64, 3.54)
    rng = np.random.default_rng(4)
    noise = np.where(np.arange(64)[:, None, None] < 32, 0.2, 3.0) * volume.data.std()
    halves = HalfMaps(
        *(replace(volume, data=(volume.data + noise * rng.standard_normal((64,) * 3)).astype(np.float32)) for _ in "ab")
    )
    mask = Mask((volume.data > 0.15 * volume.data.max()).astype(np.float32), 3.54)
    result = plugin.estimate_local_resolution(halves, mask, plugin.Params(), told(tmp_path)[0])
    inside = mask.data > 0.5
    low, high = (float(np.median(result.data[part][inside[part]])) for part in (slice(0, 28), slice(36, 64)))
    say(f"little noise {low:.1f} Å, much noise {high:.1f} Å")
    assert low < 1.2 * 2 * 3.54
    assert high > 1.3 * low


@pytest.mark.relion
def test_relions_own_estimate__agrees_on_the_same_maps(tmp_path, say):
    program = shutil.which("relion_postprocess")
    if program is None:
        pytest.skip("relion_postprocess is not installed")
    halves, mask = two_zones(96)
    for number, half in enumerate((halves.first, halves.second), 1):
        mrc.write(tmp_path / f"half{number}_class001_unfil.mrc", half.data, pixel_size_A=1.0)
    mrc.write(tmp_path / "mask.mrc", mask.data, pixel_size_A=1.0)
    command = [
        program, "--i", "half1_class001_unfil.mrc", "--i2", "half2_class001_unfil.mrc", "--o", "out", "--mask",
        "mask.mrc", "--angpix", "1", "--locres", "--locres_sampling", "16", "--locres_maskrad", "8",
        "--locres_edgwidth", "12", "--adhoc_bfac", "-1",
    ]  # fmt: skip
    # It draws a histogram last and fails where there is no program for that: only the map is asked for.
    subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
    theirs, _ = mrc.read(tmp_path / "out_locres.mrc")
    ours = plugin.estimate_local_resolution(
        halves, mask, plugin.Params(window_radius_A=8.0, window_edge_A=12.0), told(tmp_path)[0]
    ).data
    ours_A, theirs_A = zones_A(ours), zones_A(theirs)
    say(f"zones of 8 and 4 Å: here {ours_A[0]:.2f} and {ours_A[1]:.2f}, RELION {theirs_A[0]:.2f} and {theirs_A[1]:.2f}")
    # Both are read from shells smeared by the window, 1/28 Å: no more than that apart.
    for here, there in zip(ours_A, theirs_A, strict=True):
        assert abs(1.0 / here - 1.0 / there) < 1.0 / 28.0


def test_bad_input__is_refused_in_words(tmp_path):
    halves, mask = two_zones(32)
    params, context = plugin.Params(window_radius_A=4.0, window_edge_A=6.0), told(tmp_path)[0]
    empty = replace(halves.first, data=np.zeros((32, 32, 32), np.float32))
    with pytest.raises(InvalidInput, match="empty"):
        plugin.estimate_local_resolution(HalfMaps(halves.first, empty), mask, params, context)
    with pytest.raises(InvalidInput, match="half-maps of"):
        plugin.estimate_local_resolution(halves, Mask(np.ones((8, 8, 8), np.float32), 1.0), params, context)
    with pytest.raises(InvalidInput, match="mask is empty"):
        plugin.estimate_local_resolution(halves, replace(mask, data=np.zeros((32,) * 3, np.float32)), params, context)
    with pytest.raises(InvalidInput, match="window"):
        plugin.estimate_local_resolution(halves, mask, plugin.Params(window_radius_A=100.0), context)
