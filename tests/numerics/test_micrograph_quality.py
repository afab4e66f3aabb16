"""Evidence on micrographs: stains, crystals, nothing; triage of real ones of six classes, as well as it goes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cryoframe.errors import InvalidInput
from cryoframe.numerics import micrograph_quality as mq

TILE_PX = 24


def grain(seed=1, shape=(480, 512)):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def test_carbon_over_a_third_of_the_field__is_marked_and_a_ramp_is_not():
    image = grain()
    image += np.linspace(0.0, 3.0, image.shape[1], dtype=np.float32)
    assert mq.examine(image, tile_px=TILE_PX)[0].usable_frac > 0.97
    image[:, :160] -= 8.0
    evidence, usable = mq.examine(image, tile_px=TILE_PX)
    assert usable[:, :6].mean() < 0.1
    assert usable[:, 8:].mean() > 0.9
    assert evidence.usable_frac < 0.75


def test_a_rough_patch_of_the_same_grey__is_marked():
    image = grain()
    image[100:200, 100:200] *= 2.5
    _, usable = mq.examine(image, tile_px=TILE_PX)
    assert usable[5:8, 5:8].max() == 0.0
    assert usable[12:, 12:].mean() > 0.95


def test_crystals__shine_out_of_their_ring_and_grain_has_no_structure():
    plain, _ = mq.examine(grain(), tile_px=TILE_PX)
    y, x = np.indices((480, 512))
    crystal, _ = mq.examine(grain() + 0.5 * np.cos(0.9 * x + 0.7 * y).astype(np.float32), tile_px=TILE_PX)
    assert plain.bragg_ratio < 6.0
    assert crystal.bragg_ratio > 20.0
    assert plain.structure_frac < 0.02
    blobs = grain() * 0.5 + 3.0 * np.sin(x / 9.0).astype(np.float32) * np.sin(y / 9.0).astype(np.float32)
    assert mq.examine(blobs, tile_px=TILE_PX)[0].structure_frac > 0.3


def test_grey_scale__does_not_matter():
    image = grain(3)
    image[:, :100] -= 5.0
    first, usable = mq.examine(image, tile_px=TILE_PX)
    second, again = mq.examine(1000.0 + 0.01 * image, tile_px=TILE_PX)
    assert np.array_equal(usable, again)
    assert first == pytest.approx(second, rel=2e-2)


def test_too_few_tiles__are_refused():
    with pytest.raises(InvalidInput, match="four tiles"):
        mq.tile_statistics(grain(shape=(64, 200)), 20)


def _nearest_class_left_out(features: np.ndarray, label: np.ndarray) -> float:
    right = 0
    for i in range(len(label)):
        others = np.arange(len(label)) != i
        spread = features[others].std(axis=0)
        gaps = {
            int(c): float(np.sum(((features[i] - features[others][label[others] == c].mean(axis=0)) / spread) ** 2))
            for c in np.unique(label[others])
        }
        right += min(gaps, key=gaps.__getitem__) == label[i]
    return right / len(label)


def test_real_micrographs_of_six_classes__are_told_apart_better_than_by_chance(shared_data: Path, figure) -> None:
    imagecodecs = pytest.importorskip("imagecodecs")
    files = sorted((shared_data / "micrographs" / "quality_classes").glob("*/*.png"))
    label = np.array([int(path.parent.name[0]) for path in files])
    found = [mq.examine(imagecodecs.imread(path).astype(np.float32), tile_px=TILE_PX)[0] for path in files]
    # Two pieces of evidence for two or three pictures a class: more would describe the pictures, not the classes.
    features = np.log([[max(one.uneven_sd, 1e-3), max(one.structure_frac, 1e-3)] for one in found])
    coarse = np.array([{0: 0, 1: 0, 2: 1, 4: 1, 3: 2, 5: 2}[one] for one in label.tolist()])
    six, three = _nearest_class_left_out(features, label), _nearest_class_left_out(features, coarse)
    figure(
        f"triage of {len(files)} real micrographs, each left out in turn",
        f"six classes {six:.0%} (the largest class is 20 %); good, dirty or crystalline, empty {three:.0%} (40 %)",
    )
    assert len(files) == 15
    assert six > 0.2
    assert three > 0.4
