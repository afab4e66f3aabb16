"""Windowed FSC: noise behaves as predicted, two resolutions are told apart, filters add up."""

from __future__ import annotations

import numpy as np
import pytest

from cryoframe.errors import InvalidInput
from cryoframe.numerics import local_fsc, masks
from cryoframe.numerics.filters import filter_pass

WINDOW = local_fsc.Window(radius_px=4.0, edge_px=8.0, step_px=4.0)


def noises(n, n_maps=2, seed=1):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((n, n, n)).astype(np.float32) for _ in range(n_maps)]


def test_correlation_of_noise__is_zero_and_spreads_as_predicted():
    for band in local_fsc.local_correlations(*noises(64), WINDOW):
        # Windows of 16 px in a box of 64 px are some 60 independent ones: their spread is known to about 10 %,
        # their mean to an eighth of it, the share above a quantile of 5 % to 3 %.
        assert band.correlation.std() == pytest.approx(float(band.noise_sd.mean()), rel=0.3)
        assert abs(band.correlation.mean()) < 0.4 * band.noise_sd.mean()
        beyond = band.correlation > local_fsc.chance_threshold(band.noise_sd, 0.05)
        assert beyond.mean() < 0.15


def test_mask__brings_no_correlation_of_its_own():
    """A rough mask multiplied into both halves correlates them; as a weight of windows it does not."""
    n = 48
    rough = (np.random.default_rng(3).random((n, n, n)) < 0.3).astype(np.float32)
    drift = 40.0 * filter_pass(noises(n, 1, seed=7)[0], pixel_size_A=1.0, n_dims=3, low_pass_A=12.0)
    first, second = (noise + drift for noise in noises(n))
    top = [band for band in local_fsc.local_correlations(first, second, WINDOW, mask=rough) if band.shell > 12]
    assert len(top) > 3
    for band in top:
        assert abs(band.correlation.mean()) < band.noise_sd.mean()
    spoilt = list(local_fsc.local_correlations(first * rough, second * rough, WINDOW))[-1]
    assert spoilt.correlation.mean() > 0.2


def two_zones(n=96, fine_A=4.0, coarse_A=8.0):
    """Halves whose signal ends at 8 Å in one half of the box and at 4 Å in the other, pixels of 1 Å."""
    white, *noise = noises(n, 3, seed=5)
    parts = [filter_pass(white, pixel_size_A=1.0, n_dims=3, low_pass_A=limit) for limit in (coarse_A, fine_A)]
    signal = np.where(np.arange(n) < n // 2, *parts) * masks.spherical_mask(n, 0.4 * n, edge_px=6)
    return [(1.5 * signal + part).astype(np.float32) for part in noise]


def test_two_resolutions__are_told_apart():
    first, second = two_zones()
    window = local_fsc.Window(8.0, 12.0, 4.0)
    limit = local_fsc.local_limit(
        local_fsc.local_correlations(first, second, window),
        threshold=0.143, chance_frac=0.05, first_shell=2.0, n_max=48.0,
    )  # fmt: skip
    shell = limit.at_voxels(96)
    middle = slice(40, 56)
    coarse_A, fine_A = (float(96.0 / np.median(shell[middle, middle, part])) for part in (slice(22, 30), slice(66, 74)))
    # A window of 28 px smears shells by 3.4: 8 Å, shell 12, may look like shell 13.7; 4 Å, shell 24, like 25.7.
    assert 96 / 13.7 < coarse_A < 8.4
    assert 96 / 25.7 < fine_A < 4.2


def test_noise__has_no_resolution():
    limit = local_fsc.local_limit(
        local_fsc.local_correlations(*noises(64), WINDOW),
        threshold=0.143,
        chance_frac=0.05,
        first_shell=3.0,
        n_max=32.0,
    )
    # One in twenty passes the first band by chance, known to 3 % with some 60 independent windows.
    assert (limit.shell > 0).mean() < 0.15
    assert np.median(limit.shell) == 0.0


def test_places__are_interpolated_where_they_lie():
    n, m = 48, 12
    place = (np.arange(m) - m // 2) * n / m + n // 2
    field = place[:, None, None] + 100 * place[None, :, None] + 10000 * place[None, None, :]
    voxels = local_fsc.spread_to_voxels(field.astype(np.float32), n)
    inner = np.arange(2, 40)
    expected = inner[:, None, None] + 100 * inner[None, :, None] + 10000 * inner[None, None, :]
    np.testing.assert_allclose(voxels[2:40, 2:40, 2:40], expected, rtol=1e-4, atol=2.0)


def test_local_filter__keeps_what_is_below_each_voxels_limit():
    n = 48
    (white,) = noises(n, 1)
    everything = local_fsc.locally_filtered(white, np.full(white.shape, 1000.0, np.float32))
    np.testing.assert_allclose(everything, white, atol=1e-4)
    assert not local_fsc.locally_filtered(white, np.zeros(white.shape, np.float32), edge_shells=1.0).any()
    limit = np.where(np.arange(n) < n // 2, 6.0, 16.0) * np.ones(white.shape)
    mixed = local_fsc.locally_filtered(white, limit)
    one = filter_pass(white, pixel_size_A=1.0, n_dims=3, low_pass_A=n / 6.0)
    other = filter_pass(white, pixel_size_A=1.0, n_dims=3, low_pass_A=n / 16.0)
    assert np.corrcoef(mixed[..., 8:16].ravel(), one[..., 8:16].ravel())[0, 1] > 0.97
    assert np.corrcoef(mixed[..., 32:40].ravel(), other[..., 32:40].ravel())[0, 1] > 0.97


@pytest.mark.parametrize(
    ("second", "window"),
    [((24, 24, 24), WINDOW), ((32, 32, 32), local_fsc.Window(20.0, 8.0, 4.0)), ((32,) * 3, local_fsc.Window(4, 4, 0))],
)
def test_what_does_not_fit__is_refused(second, window):
    with pytest.raises(InvalidInput):
        next(local_fsc.local_correlations(np.ones((32, 32, 32), np.float32), np.ones(second, np.float32), window))
