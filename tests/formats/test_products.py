"""Products go to plain files and come back equal."""

from __future__ import annotations

from pathlib import Path

import mrcfile
import numpy as np
import pytest

from cryoframe.data import images, maps, optics, results
from cryoframe.data.tables import FscTable, IterationTable, MotionTable, ParticleTable
from cryoframe.errors import Corrupt, Incomplete, InvalidInput, Unsupported
from cryoframe.formats import products

RNG = np.random.default_rng(1)


def particles(n: int = 5) -> ParticleTable:
    return ParticleTable.from_columns(
        {
            "particle_id": np.arange(n, dtype=np.uint64) + 2**63,
            "micrograph_id": [f"m/{i}.mrc" for i in range(n)],
            "optics_group": ["g1"] * n,
            "half": np.arange(n) % 2 + 1,
        }
    )


def volume(seed: int = 1) -> maps.Volume:
    data = np.random.default_rng(seed).normal(size=(6, 6, 6)).astype(np.float32)
    return maps.Volume(data, 3.54, symmetry="D2", provenance="reference-derived: 5A1A")


def test_a_stack_comes_back_equal__with_table_and_optics(tmp_path: Path) -> None:
    stack = images.ParticleStack(
        RNG.normal(size=(5, 8, 8)).astype(np.float32), particles(), 3.54, (optics.Optics(200.0, 1.4, 0.1),)
    )
    products.save(stack, tmp_path)
    back = products.load(tmp_path)
    assert isinstance(back, images.ParticleStack)
    np.testing.assert_array_equal(back.images, stack.images)
    assert back.particles == stack.particles
    assert back.optics == stack.optics
    assert back.optics[0].voltage_kV == 200.0
    assert not back.images.flags.writeable


def test_a_stack_of_one_image_keeps_its_three_axes(tmp_path: Path) -> None:
    stack = images.ParticleStack(np.ones((1, 8, 8), dtype=np.float32), particles(1), 1.0)
    products.save(stack, tmp_path)
    assert products.load(tmp_path).images.shape == (1, 8, 8)  # type: ignore[attr-defined]


def test_an_empty_stack_comes_back_empty(tmp_path: Path) -> None:
    stack = images.ParticleStack(np.zeros((0, 8, 8), dtype=np.float32), particles(0), 1.0)
    products.save(stack, tmp_path)
    back = products.load(tmp_path)
    assert back.images.shape == (0, 8, 8)  # type: ignore[attr-defined]
    assert len(back.particles) == 0  # type: ignore[attr-defined]


def test_nested_products_come_back__refinement(tmp_path: Path) -> None:
    refinement = results.Refinement(
        volume(), maps.HalfMaps(volume(2), volume(3)), FscTable.empty(), particles(), IterationTable.empty()
    )
    products.save(refinement, tmp_path)
    back = products.load(tmp_path)
    assert isinstance(back, results.Refinement)
    np.testing.assert_array_equal(back.half_maps.second.data, refinement.half_maps.second.data)
    assert back.volume.symmetry == "D2"
    assert back.volume.provenance.startswith("reference-derived")


def test_every_array_file_is_a_valid_mrc_for_others(tmp_path: Path) -> None:
    files = products.save(maps.HalfMaps(volume(2), volume(3)), tmp_path)
    mrcs = [file for file in files if file.suffix == ".mrc"]
    assert len(mrcs) == 2
    assert all(mrcfile.validate(file) for file in mrcs)


def test_a_movie_is_stored_without_its_reader(tmp_path: Path) -> None:
    movie = images.Movie("m", "/data/m.tif", 24, (4096, 4096), 0.8, 1.1, source=object())  # type: ignore[arg-type]
    products.save(movie, tmp_path)
    back = products.load(tmp_path)
    assert isinstance(back, images.Movie)
    assert back.source is None
    assert tuple(back.shape_px) == (4096, 4096)


def test_a_corrected_micrograph_without_unweighted_sum_comes_back(tmp_path: Path) -> None:
    micrograph = images.Micrograph("m", RNG.normal(size=(7, 9)).astype(np.float32), 0.8)
    products.save(images.CorrectedMicrograph(micrograph, MotionTable.empty()), tmp_path)
    back = products.load(tmp_path)
    assert isinstance(back, images.CorrectedMicrograph)
    assert back.unweighted is None
    np.testing.assert_array_equal(back.micrograph.data, micrograph.data)


def test_what_is_not_a_product_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="dict is not a product"):
        products.save({}, tmp_path)


def test_a_damaged_manifest_is_corrupt__and_another_version_unsupported(tmp_path: Path) -> None:
    products.save(volume(), tmp_path)
    manifest = tmp_path / products.MANIFEST
    text = manifest.read_text()
    manifest.write_text(text[: len(text) // 2])
    with pytest.raises(Corrupt, match="not a product manifest"):
        products.load(tmp_path)
    manifest.write_text(text.replace('"format": 1', '"format": 99'))
    with pytest.raises(Unsupported, match="product format 99"):
        products.load(tmp_path)


def test_a_cut_table_is_corrupt(tmp_path: Path) -> None:
    stack = images.ParticleStack(np.ones((5, 8, 8), dtype=np.float32), particles(), 1.0)
    files = products.save(stack, tmp_path)
    table = next(file for file in files if file.suffix == ".arrow")
    table.write_bytes(table.read_bytes()[:-40])
    with pytest.raises(Corrupt, match="not a valid Arrow file"):
        products.load(tmp_path)


def test_a_folder_without_a_product__is_said_to_hold_none(tmp_path: Path) -> None:
    with pytest.raises(Incomplete, match="no product in this folder"):
        products.load(tmp_path)
    with pytest.raises(Incomplete, match="no such folder"):
        products.load(tmp_path / "absent")
    (tmp_path / "file").touch()
    with pytest.raises(Incomplete, match="not a folder"):
        products.kind_of(tmp_path / "file")
