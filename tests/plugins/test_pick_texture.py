"""clean_micrograph `texture`: verdicts and the mask on images made here and on real ones."""

from __future__ import annotations

import numpy as np
import pytest

from cryoframe import Micrograph, StageContext
from cryoframe.errors import InvalidInput
from cryoframe.formats import mrc
from cryoframe_pick.texture import Params, clean_micrograph


def judged(data, tmp_path, pixel_A=5.0, **params):
    heard = {}
    ctx = StageContext(tmp_path, on_metric=lambda name, value, unit: heard.__setitem__(name, value))
    micrograph = Micrograph("m", np.asarray(data, dtype=np.float32), pixel_A)
    return clean_micrograph(micrograph=micrograph, params=Params(**params), ctx=ctx)


def test_verdicts(tmp_path):
    y, x = np.indices((900, 800))
    grain = np.random.default_rng(1).standard_normal((900, 800))
    particles = grain + 2.0 * np.sin(x / 11.0) * np.sin(y / 11.0)
    assert judged(grain, tmp_path).verdict == "empty"
    assert judged(particles, tmp_path).verdict == "good"
    assert judged(particles + 0.7 * np.cos(1.1 * x + 0.3 * y), tmp_path).verdict == "crystalline"
    dirty = np.where(x < 360, particles - 12.0, particles)
    assert judged(dirty, tmp_path, least_usable_frac=0.8).verdict == "contaminated"


def test_structure__is_judged_alike_at_fine_pixels_and_coarse_ones(tmp_path):
    y, x = np.indices((2400, 2400))
    grain = 3.0 * np.random.default_rng(2).standard_normal((2400, 2400))
    particles = grain + 0.5 * np.sin(x / 33.0) * np.sin(y / 33.0)
    fine = judged(particles, tmp_path, pixel_A=1.0)
    coarse = judged(particles.reshape(480, 5, 480, 5).mean(axis=(1, 3)), tmp_path, pixel_A=5.0)
    assert fine.verdict == coarse.verdict == "good"
    assert fine.structure_frac == pytest.approx(coarse.structure_frac, rel=0.05)
    assert judged(grain, tmp_path, pixel_A=1.0).verdict == "empty"


def test_real_contamination__is_marked_more_than_the_rest(shared_data, tmp_path, figure):
    folder = shared_data / "micrographs" / "contamination"
    data, _ = mrc.read_image(folder / "mics_Ucsf_stack_1142_DW.mrc")
    probability, _ = mrc.read_image(folder / "masks_Ucsf_stack_1142_DW.mrc")
    found = judged(data, tmp_path, pixel_A=5.0, tile_A=100.0, odd_sd=4.0)
    tile_px = round(found.tile_A / 5.0)
    gy, gx = found.usable.shape
    junk = (probability[: gy * tile_px, : gx * tile_px] > 0.5).reshape(gy, tile_px, gx, tile_px).mean(axis=(1, 3)) > 0.3
    marked_junk, marked_rest = 1 - found.usable[junk].mean(), 1 - found.usable[~junk].mean()
    figure("real contamination", f"{marked_junk:.0%} of it marked, {marked_rest:.0%} of the rest; {found.verdict}")
    assert marked_junk > 2.0 * marked_rest
    assert marked_junk > 0.3


def test_bad_images_and_settings__are_refused(tmp_path):
    grain = np.random.default_rng(1).standard_normal((300, 300))
    with pytest.raises(InvalidInput, match="four along"):
        judged(grain, tmp_path, tile_A=1000.0)
    with pytest.raises(InvalidInput, match="not finite"):
        judged(np.where(grain > 3, np.nan, grain), tmp_path)
    with pytest.raises(InvalidInput, match="every pixel"):
        judged(np.ones((300, 300)), tmp_path)
    with pytest.raises(InvalidInput, match="odd_sd"):
        Params(odd_sd=float("inf"))
