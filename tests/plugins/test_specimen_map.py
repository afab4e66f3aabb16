"""Maps as specimens: scale against models whose potential is known, real maps, what is refused."""

from __future__ import annotations

import bz2
import gzip

import numpy as np
import pytest

from cryoframe import SpecimenRequest
from cryoframe.errors import Incomplete, InvalidInput, Refused
from cryoframe.formats import mrc
from cryoframe.numerics.ice import VITREOUS_ICE
from cryoframe.numerics.map_potential import PROTEIN_POTENTIAL_1_A2, potential_of_map, two_level_threshold
from cryoframe_model import specimen as of_model
from cryoframe_simulate.map_specimen import open_specimen

VOLTS_A2 = 47.878


def opened(path, **settings):
    return open_specimen(path=path, request=SpecimenRequest(**{"pixel_size_A": 3.0, **settings}))


def ball(n=48, radius=12.0):
    z, y, x = np.indices((n, n, n)) - n // 2
    return 1.0 / (1.0 + np.exp((np.sqrt(x * x + y * y + z * z) - radius) / 0.7))


def test_mean_protein__has_the_potential_that_is_reported():
    # About 7 to 8 V are computed for proteins, 4.53 V for ice: Vulović et al., J. Struct. Biol. 183, 19 (2013).
    assert 7.0 < PROTEIN_POTENTIAL_1_A2 * VOLTS_A2 < 8.5
    assert VITREOUS_ICE.mean_potential_1_A2 < PROTEIN_POTENTIAL_1_A2


@pytest.mark.parametrize("name", ["7a4m.cif", "5a1a.cif", "7l2i.cif"])
def test_a_map_made_of_a_model__gets_its_scale_back(shared_data, tmp_path, say, name):
    request = SpecimenRequest(pixel_size_A=3.0)
    (truth,) = of_model.open_specimen(path=shared_data / "models" / name, request=request)
    path = tmp_path / "map.mrc"
    mrc.write(path, (truth.volume.data * 13.0 + 0.7).astype(np.float32), pixel_size_A=3.0)
    (found,) = opened(path, box_px=truth.volume.data.shape[0])
    scale = float(np.sum(found.volume.data * truth.volume.data) / np.sum(np.square(truth.volume.data)))
    likeness = float(np.corrcoef(found.volume.data.ravel(), truth.volume.data.ravel())[0, 1])
    say(
        f"{name}: scale {scale:.2f} of the true one, {found.mass_kDa:.0f} kDa of {truth.mass_kDa:.0f}, r {likeness:.3f}"
    )
    # The border of the molecule is known to half a voxel, so its volume and mean to about a quarter.
    assert scale == pytest.approx(1.0, abs=0.3)
    assert found.mass_kDa == pytest.approx(truth.mass_kDa, rel=0.3)
    assert likeness > 0.97
    assert found.radius_A == pytest.approx(truth.radius_A, rel=0.1)


def test_the_real_beta_galactosidase_map__stands_as_protein_in_ice(shared_data, tmp_path, say):
    data, _ = mrc.read(shared_data / "maps" / "betaGal_NGL.mrc")
    path = tmp_path / "beta.mrc"
    # The header of the deposited copy says 1 Å.
    mrc.write(path, data, pixel_size_A=3.54)
    (found,) = opened(path, symmetry="D2")
    bright = found.volume.data[found.volume.data > 0.5 * found.volume.data.max()]
    say(
        f"betaGal_NGL: {found.mass_kDa:.0f} kDa, radius {found.radius_A:.0f} Å, bright {bright.mean() * VOLTS_A2:.1f} V"
    )
    assert found.mass_kDa == pytest.approx(466, rel=0.35)
    assert found.radius_A == pytest.approx(91, abs=10)
    assert found.volume.symmetry == "D2"
    edge = found.volume.data[0]
    assert np.abs(edge).max() < 0.02 * found.volume.data.max()
    with pytest.raises(Refused, match="symmetry O"):
        opened(path, symmetry="O")


@pytest.mark.parametrize(("factor", "offset"), [(1.0, 0.0), (1e-4, 5.0), (300.0, -20.0)])
def test_scale_and_offset_of_the_file__do_not_matter(factor, offset):
    plain = potential_of_map(ball(), 3.0)
    other = potential_of_map(ball() * factor + offset, 3.0)
    assert np.allclose(other.volume, plain.volume, atol=2e-3 * plain.volume.max())
    middle = plain.volume[24, 24, 24] * VOLTS_A2
    # The mean over the molecule, its soft border included, is the contrast; the middle is a little more.
    contrast = (PROTEIN_POTENTIAL_1_A2 - VITREOUS_ICE.mean_potential_1_A2) * VOLTS_A2
    assert contrast < middle < 1.3 * contrast


def test_two_levels__are_parted_between_them():
    rng = np.random.default_rng(1)
    values = np.concatenate([rng.normal(0.0, 0.1, 9000), rng.normal(1.0, 0.1, 1000)])
    threshold, separation = two_level_threshold(values)
    # Every value between the classes parts them alike; the classes start 4 standard deviations in.
    assert 0.3 < threshold < 0.7
    assert separation == pytest.approx(0.09 / (0.09 + 0.01), abs=0.02)
    assert two_level_threshold(rng.normal(size=100_000))[1] == pytest.approx(2.0 / np.pi, abs=0.01)


def test_maps_that_cannot_be_scaled__are_refused(shared_data, tmp_path):
    rng = np.random.default_rng(2)
    cases = {
        "variance": rng.standard_normal((48, 48, 48)),
        "inverted": -ball(),
        "not all alike": np.ones((48, 48, 48)),
        "reaches its faces": ball(radius=26.0),
    }
    for said, data in cases.items():
        path = tmp_path / f"{said.split()[0]}.mrc"
        mrc.write(path, data.astype(np.float32), pixel_size_A=3.0)
        with pytest.raises((Refused, InvalidInput), match=said):
            opened(path)
    broken = ball()
    broken[5, 5, 5] = np.nan
    with pytest.raises(InvalidInput, match="finite"):
        potential_of_map(broken, 3.0)
    with pytest.raises(Refused, match="variance"):
        opened(shared_data / "maps" / "6272.mrc")
    with pytest.raises(Refused, match="fills"):
        opened(shared_data / "maps" / "EMD-3197.map")
    with pytest.raises(Refused, match="pixel size"):
        opened(shared_data / "maps" / "EMD-3001.map")


def test_what_needs_atoms__is_refused_for_maps(tmp_path):
    path = tmp_path / "map.mrc"
    mrc.write(path, ball().astype(np.float32), pixel_size_A=3.0)
    for settings in ({"site_damage": True}, {"without_residues": ("HEM",)}, {"conformations": (0.5,)}, {"water": True}):
        with pytest.raises(InvalidInput, match=next(iter(settings))):
            opened(path, **settings)
    with pytest.raises(InvalidInput, match="to turn in"):
        opened(path, box_px=10)
    with pytest.raises(InvalidInput, match="voxels of 3 Å"):
        opened(path, pixel_size_A=0.5)


def test_compressed_maps_and_other_files__are_told_by_their_content(tmp_path):
    path = tmp_path / "map.mrc"
    mrc.write(path, ball().astype(np.float32), pixel_size_A=3.0)
    for name, compress in (("packed.map.gz", gzip.compress), ("packed", bz2.compress)):
        packed = tmp_path / name
        packed.write_bytes(compress(path.read_bytes()))
        assert np.array_equal(opened(packed)[0].volume.data, opened(path)[0].volume.data)
    other = tmp_path / "model.pdb"
    other.write_text("HEADER\n")
    assert opened(other) is None
    other.write_bytes(gzip.compress(b"HEADER\n"))
    assert opened(other) is None
    other.write_bytes(gzip.compress(path.read_bytes())[:500])
    with pytest.raises(Incomplete, match="cut short"):
        opened(other)
    other.write_bytes(gzip.compress(path.read_bytes())[:12])
    assert opened(other) is None
