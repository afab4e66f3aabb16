"""make_mask `threshold` and postprocess `fsc`: on phantoms of known truth and on the real refinement's kind of maps."""

from __future__ import annotations

from dataclasses import replace

import betagal
import numpy as np
import pytest

from cryoframe import HalfMaps, Mask, StageContext, Volume
from cryoframe.errors import InvalidInput
from cryoframe.numerics import filters
from cryoframe.testing import phantoms
from cryoframe_finish import mask as mask_plugin
from cryoframe_finish import postprocess as plugin


def test_mask_of_a_real_map__holds_the_molecule_and_little_else(shared_data, tmp_path):
    volume = betagal.published_map(shared_data, 64, 3.54)
    noise = np.random.default_rng(1).normal(0, 0.3 * volume.data.std(), volume.data.shape)
    made = mask_plugin.make_mask(
        replace(volume, data=(volume.data + noise).astype(np.float32)), mask_plugin.Params(), StageContext(tmp_path)
    ).data
    # 465 kDa at 1.21 Å3/Da are 4.8 % of the box; growth of 10 Å and an edge of 18 Å make it a few times that.
    assert 0.05 < (made > 0.5).mean() < 0.2
    dense = np.where(volume.data > 0.2 * volume.data.max(), volume.data, 0.0)
    assert (dense * made).sum() > 0.99 * dense.sum()
    assert made.min() >= 0.0
    assert made.max() == 1.0


def test_threshold__is_taken_as_given(tmp_path):
    volume = phantoms.molecule()
    tight = mask_plugin.make_mask(
        volume,
        mask_plugin.Params(threshold=float(0.5 * volume.data.max()), extend_A=0.0, edge_A=0.0, low_pass_A=8.0),
        StageContext(tmp_path),
    )
    wide = mask_plugin.make_mask(volume, mask_plugin.Params(), StageContext(tmp_path))
    assert set(np.unique(tight.data)) == {0.0, 1.0}
    assert tight.data.sum() < wide.data.sum()


def test_mask_too_wide_for_its_box__falls_to_zero_inside_and_says_so(tmp_path):
    volume = phantoms.molecule()
    lines = []
    wide = mask_plugin.make_mask(
        volume, mask_plugin.Params(extend_A=60.0, edge_A=30.0), StageContext(tmp_path, on_log=lines.append)
    ).data
    for axis in range(3):
        for side in (0, -1):
            assert not np.moveaxis(wide, axis, 0)[side].any()
    assert wide.max() == 1.0
    # Soft: no step is larger than that of a raised cosine of 30 Å, π/2 over its width in voxels, times three axes.
    steepest = max(float(np.abs(np.diff(wide, axis=axis)).max()) for axis in range(3))
    assert steepest < 3 * 0.5 * np.pi * volume.pixel_size_A / 30.0
    assert "faces of the box" in lines[0]
    assert "extend_A" in lines[0]


def test_mask_that_fits__is_left_as_it_is_and_nothing_is_said(tmp_path):
    lines = []
    mask_plugin.make_mask(
        phantoms.molecule(), mask_plugin.Params(extend_A=0.0, edge_A=4.0), StageContext(tmp_path, on_log=lines.append)
    )
    assert lines == []


def test_empty_map__has_no_mask(tmp_path):
    with pytest.raises(InvalidInput, match="empty"):
        mask_plugin.make_mask(
            Volume(np.zeros((8, 8, 8), np.float32), 2.0), mask_plugin.Params(), StageContext(tmp_path)
        )


def halves_of(volume, noise, b_factor_A2=0.0):
    rng = np.random.default_rng(2)
    blurred = filters.apply_b_factor(volume.data, b_factor_A2, pixel_size_A=volume.pixel_size_A, n_dims=3)
    scale = noise * blurred.std()
    return HalfMaps(
        *(replace(volume, data=(blurred + rng.normal(0, scale, blurred.shape)).astype(np.float32)) for _ in range(2))
    )


def test_sharp_mask__is_seen_through_by_phase_randomisation(tmp_path):
    """A rough mask carries the strong low frequencies of both halves to where there is only noise."""
    volume = phantoms.molecule()
    halves = halves_of(volume, 1.0)
    cut = Mask((phantoms.mask().data > 0.99).astype(np.float32), volume.pixel_size_A)
    rough = np.random.default_rng(3).random(cut.data.shape) < 0.3
    result = plugin.postprocess(
        halves, replace(cut, data=(cut.data * rough).astype(np.float32)), plugin.Params(), StageContext(tmp_path)
    )
    bare, masked = result.fsc.floats("fsc_unmasked"), result.fsc.floats("fsc_masked")
    corrected = result.fsc.floats("fsc_corrected")
    fine = slice(9, None)
    assert masked[fine].mean() > bare[fine].mean() + 0.1
    assert abs(corrected[fine].mean()) < 0.15


def test_blurred_map__is_sharpened_by_its_guinier_slope(shared_data, tmp_path):
    volume = betagal.published_map(shared_data, 64, 3.54)
    mask = Mask(betagal.ball(64, 3.54), 3.54)
    params = plugin.Params(guinier_low_A=16.0)
    plain = plugin.postprocess(halves_of(volume, 0.05), mask, params, StageContext(tmp_path))
    blurred = plugin.postprocess(halves_of(volume, 0.05, 200.0), mask, params, StageContext(tmp_path))
    assert plain.b_factor_A2 - blurred.b_factor_A2 == pytest.approx(200.0, abs=40.0)
    inside = mask.data > 0.99
    assert np.corrcoef(plain.volume.data[inside], blurred.volume.data[inside])[0, 1] > 0.9


def test_given_b_factor__is_applied_and_the_mask_left_off_when_asked(tmp_path):
    halves = phantoms.half_maps()
    result = plugin.postprocess(
        halves, phantoms.mask(), plugin.Params(b_factor_A2=-30.0, apply_mask=False), StageContext(tmp_path)
    )
    assert result.b_factor_A2 == -30.0
    assert np.abs(result.volume.data[phantoms.mask().data == 0]).max() > 0.0


def test_guinier_fit_over_too_short_a_range__is_not_trusted(shared_data, tmp_path):
    """A map that ends at 7.1 Å, Nyquist, shows the flank of the protein's own fall-off, not a B-factor."""
    volume = betagal.published_map(shared_data, 64, 3.54)
    mask = Mask(betagal.ball(64, 3.54), 3.54)
    lines, metrics = [], {}
    ctx = StageContext(
        tmp_path, on_log=lines.append, on_metric=lambda name, value, unit: metrics.__setitem__(name, (value, unit))
    )
    result = plugin.postprocess(halves_of(volume, 0.05, 300.0), mask, plugin.Params(), ctx)
    assert metrics["resolution_A"][0] > 6.5
    assert metrics["guinier_b_factor_A2"][0] > 200.0
    assert result.b_factor_A2 == -100.0
    assert metrics["b_factor_A2"] == (-100.0, "Å²")
    assert metrics["resolution_A"][1] == "Å"
    assert metrics["guinier_trusted"][0] == 0.0
    assert "not trusted" in lines[0]
    gentle = plugin.postprocess(
        halves_of(volume, 0.05, 300.0), mask, plugin.Params(unsure_b_factor_A2=0.0), StageContext(tmp_path)
    )
    assert gentle.b_factor_A2 == 0.0


def test_boxes_that_differ__are_refused(tmp_path):
    halves = phantoms.half_maps()
    with pytest.raises(InvalidInput, match="one box"):
        plugin.postprocess(halves, Mask(np.ones((8, 8, 8), np.float32), 4.0), plugin.Params(), StageContext(tmp_path))
