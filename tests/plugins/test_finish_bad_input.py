"""What postprocess, local resolution and mask-making refuse, and what they say of results not to be relied on."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from cryoframe import HalfMaps, StageContext
from cryoframe.errors import InvalidInput
from cryoframe.testing import phantoms
from cryoframe_finish import local_resolution, postprocess
from cryoframe_finish import mask as mask_plugin


def valued(product, data):
    return replace(product, data=np.asarray(data, dtype=np.float32))


def second(halves, other):
    return HalfMaps(halves.first, other)


def pixels(halves, size_A):
    return HalfMaps(*(replace(half, pixel_size_A=size_A) for half in (halves.first, halves.second)))


#: name → what is done to half-maps and mask, and what the error says.
BAD = {
    "mask of zeros": (lambda h, m: (h, valued(m, 0.0 * m.data)), "the mask is empty"),
    "mask with NaN": (lambda h, m: (h, valued(m, np.where(m.data > 0.99, np.nan, m.data))), "the mask is empty"),
    "mask below zero": (lambda h, m: (h, valued(m, 1.5 * m.data - 0.5)), "values of -0.5 to 1"),
    "mask times ten": (lambda h, m: (h, valued(m, 10.0 * m.data)), "values of 0 to 10"),
    "mask of another pixel": (lambda h, m: (h, replace(m, pixel_size_A=2.0)), "4.0000 Å, the mask of 2.0000 Å"),
    "mask of another box": (lambda h, m: (h, valued(m, m.data[:8, :8, :8])), "one box"),
    "mask of no pixel": (lambda h, m: (h, replace(m, pixel_size_A=float("nan"))), "the mask of nan Å"),
    "halves of two boxes": (lambda h, m: (second(h, valued(h.second, h.second.data[:8, :8, :8])), m), "one box"),
    "halves of two pixels": (
        lambda h, m: (second(h, replace(h.second, pixel_size_A=3.9)), m),
        "second half-map of 3.9",
    ),
    "pixel size 0": (lambda h, m: (pixels(h, 0.0), m), "voxels of 0.0 Å"),
    "one half is empty": (lambda h, m: (second(h, valued(h.second, 0.0 * h.second.data)), m), "empty or not finite"),
    "one map twice": (lambda h, m: (second(h, h.first), m), "one and the same map"),
    "one map twice, scaled": (lambda h, m: (second(h, valued(h.first, 3.0 * h.first.data)), m), "one and the same map"),
    "no cube": (
        lambda h, m: (HalfMaps(*(valued(x, x.data[:20]) for x in (h.first, h.second))), valued(m, m.data[:20])),
        "expected a cube",
    ),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize(
    "stage",
    [
        partial(postprocess.postprocess, params=postprocess.Params()),
        partial(local_resolution.estimate_local_resolution, params=local_resolution.Params()),
    ],
    ids=["postprocess", "local_resolution"],
)
def test_half_maps_and_masks_no_curve_can_come_from__are_refused(stage, name, tmp_path):
    spoil, says = BAD[name]
    halves, mask = spoil(phantoms.half_maps(), phantoms.mask())
    with pytest.raises(InvalidInput, match=says) as refused:
        stage(halves, mask, ctx=StageContext(tmp_path))
    assert refused.value.expected


def sharpened(halves, mask, tmp_path, **params):
    lines, metrics = [], {}
    context = StageContext(
        tmp_path, on_log=lines.append, on_metric=lambda name, value, unit: metrics.__setitem__(name, value)
    )
    return postprocess.postprocess(halves, mask, postprocess.Params(**params), context), " ".join(lines), metrics


def test_a_mask_within_which_noise_correlates__raises_the_alarm_and_earns_nothing(tmp_path):
    halves, mask = phantoms.half_maps(), phantoms.mask()
    n = len(mask.data)
    speck = np.zeros_like(mask.data)
    speck[n // 2, n // 2, n // 2] = 1.0
    result, said, metrics = sharpened(halves, valued(mask, speck), tmp_path)
    assert "within this mask noise alone correlates" in said
    assert metrics["mask_correlation_frac"] > 0.9
    # The curve of one voxel is 1 wherever it is not corrected; where it is, nothing is claimed.
    assert result.fsc.floats("fsc_corrected")[-3:].tolist() == [0.0] * 3
    _, said, metrics = sharpened(halves, mask, tmp_path)
    assert "ALARM" not in said
    assert abs(metrics["mask_correlation_frac"]) < 0.2


def test_halves_of_noise__are_said_to_show_nothing(tmp_path):
    rng = np.random.default_rng(5)
    volume = phantoms.molecule()
    noise = HalfMaps(*(valued(volume, rng.standard_normal(volume.data.shape)) for _ in range(2)))
    assert "no structure" in sharpened(noise, phantoms.mask(), tmp_path)[1]


def test_halves_of_opposite_contrast__are_told_apart_from_noise(tmp_path):
    halves = phantoms.half_maps()
    opposite = HalfMaps(halves.first, valued(halves.second, -halves.second.data))
    assert "each other's negative" in sharpened(opposite, phantoms.mask(), tmp_path)[1]


def test_halves_that_agree_to_the_last_shell__are_said_to_be_limited_by_their_pixels(tmp_path):
    volume, rng = phantoms.molecule(), np.random.default_rng(6)
    shared, own_sd = rng.standard_normal(volume.data.shape), 0.3
    agreeing = HalfMaps(*(valued(volume, shared + rng.normal(0.0, own_sd, shared.shape)) for _ in range(2)))
    assert "the finest the pixels hold" in sharpened(agreeing, phantoms.mask(), tmp_path)[1]


def test_an_mtf_in_per_cent__is_refused(tmp_path):
    path = tmp_path / "mtf.star"
    path.write_text("data_\nloop_\n_rlnResolutionInversePixel\n_rlnMtfValue\n0 100\n0.5 20\n")
    with pytest.raises(InvalidInput, match="reaches 100"):
        sharpened(phantoms.half_maps(), phantoms.mask(), tmp_path, mtf_path=path)


def test_a_reference__is_carried_on_whichever_half_names_it(tmp_path):
    halves = phantoms.half_maps()
    named = HalfMaps(halves.first, replace(halves.second, provenance="reference-derived: a.mrc low-passed to 30 Å"))
    result, _, _ = sharpened(named, phantoms.mask(), tmp_path)
    assert result.volume.provenance == "reference-derived: a.mrc low-passed to 30 Å"
    local = local_resolution.estimate_local_resolution(
        named, phantoms.mask(), local_resolution.Params(), StageContext(tmp_path)
    )
    assert local.filtered.provenance == result.volume.provenance


def test_a_window_of_no_width__is_refused():
    with pytest.raises(InvalidInput, match="window_radius_A"):
        local_resolution.Params(window_radius_A=0.0, window_edge_A=0.0)


def masked(volume, tmp_path, **params):
    lines = []
    context = StageContext(tmp_path, on_log=lines.append)
    return mask_plugin.make_mask(volume, mask_plugin.Params(**params), context), " ".join(lines)


def test_a_mask_shrunk_to_nothing__is_refused(tmp_path):
    with pytest.raises(InvalidInput, match="nothing is left of the mask after growth by -500 Å"):
        masked(phantoms.molecule(), tmp_path, extend_A=-500.0)


def test_a_map_of_no_cube_or_pixel__has_no_mask(tmp_path):
    volume = phantoms.molecule()
    with pytest.raises(InvalidInput, match="expected a cube"):
        masked(valued(volume, volume.data[:20]), tmp_path)
    with pytest.raises(InvalidInput, match=r"voxels of 0.0 Å"):
        masked(replace(volume, pixel_size_A=0.0), tmp_path)


def test_inverted_contrast__is_suspected_where_the_darkest_stands_out(tmp_path):
    volume = phantoms.molecule()
    assert "inverted" in masked(valued(volume, -volume.data), tmp_path)[1]
    assert "inverted" not in masked(volume, tmp_path)[1]
