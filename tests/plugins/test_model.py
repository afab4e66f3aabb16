"""make_initial_volume `from_model`: real models on their symmetry axes, against a real map and against sums."""

from __future__ import annotations

import numpy as np
import pytest

from cryoframe import ParticleStack, ParticleTable, StageContext
from cryoframe.errors import ConfigError, Corrupt, Incomplete, InvalidInput
from cryoframe.formats import mrc
from cryoframe.numerics import fsc, grids, symmetry
from cryoframe_model.seed import Params, make_initial_volume, operators, place
from cryoframe_model.structure import read_atoms


def stack(n, pixel_A):
    return ParticleStack(np.zeros((0, n, n), dtype=np.float32), ParticleTable.empty(), pixel_A)


def volume(tmp_path, n, pixel_A, **params):
    return make_initial_volume(stack=stack(n, pixel_A), params=Params(**params), ctx=StageContext(tmp_path))


def test_5a1a_on_the_d2_axes__matches_the_real_map_in_one_of_six_ways_and_hand(shared_data, tmp_path, say):
    real, _ = mrc.read(shared_data / "maps" / "betaGal_NGL.mrc")
    reached = []
    for orientation in range(6):
        made = volume(
            tmp_path,
            100,
            3.54,
            model=shared_data / "models" / "5a1a.cif",
            symmetry="D2",
            orientation=orientation,
            low_pass_A=0.0,
        )
        mirror = np.roll(made.data[:, :, ::-1], 1, axis=2)
        one, other = (fsc.fsc_curve(real, data, pixel_size_A=3.54) for data in (made.data, mirror))
        reached.append([fsc.resolution_at(c.frequency_1_A, c.fsc, 0.5).resolution_A for c in (one, other)])
        say(f"5A1A orientation {orientation}: FSC 0.5 at {reached[-1][0]:.1f} Å, mirrored {reached[-1][1]:.1f} Å")
        assert made.symmetry == "D2"
        assert "reference-derived: 5a1a.cif" in made.provenance
    best = int(np.argmin(np.array(reached)[:, 0]))
    assert best == 3
    assert reached[3][0] < 10.5
    assert np.delete(np.array(reached)[:, 0], 3).min() > 50
    assert np.array(reached)[:, 1].min() > 30


@pytest.mark.parametrize(("name", "n_atoms"), [("7a4m.cif", 24 * 1000), ("6z6u.pdb", 24 * 1000)])
def test_apoferritin__is_octahedral_on_the_axes(name, n_atoms, shared_data, tmp_path, say):
    atoms = read_atoms(shared_data / "models" / name)
    assert len(atoms.kinds) > n_atoms
    assert len(operators(atoms)) == 24
    made = volume(tmp_path, 96, 1.8, model=shared_data / "models" / name, symmetry="O", low_pass_A=4.0)
    averaged = symmetry.symmetrise(made.data, "O")
    likeness = np.corrcoef(averaged.ravel(), made.data.ravel())[0, 1]
    turned = np.corrcoef(symmetry.symmetrise(made.data, "I1").ravel(), made.data.ravel())[0, 1]
    say(f"{name}: {len(atoms.kinds)} atoms, correlation with its O average {likeness:.5f}, its I1 average {turned:.3f}")
    assert likeness > 0.99
    assert turned < 0.9
    expected = (atoms.heights_A.sum(axis=1)[atoms.kinds] * atoms.occupancies).sum()
    assert made.data.sum(dtype=np.float64) * 1.8**3 == pytest.approx(expected, rel=1e-3)


def test_a_tetramer__stays_as_it_lies_in_c1_and_turns_in_c4(shared_data):
    atoms = read_atoms(shared_data / "models" / "7l2i.cif")
    lies = place(atoms, "C1", centre=False)
    assert lies == pytest.approx(atoms.positions_A)
    for orientation in (0, 1):
        turned = place(atoms, "C4", orientation=orientation)
        quarter = turned @ symmetry.rotation_matrices("C4")[1].T
        chosen = np.random.default_rng(1).choice(len(turned), 200, replace=False)
        gaps = np.sqrt(((quarter[chosen, None] - turned[None]) ** 2).sum(axis=-1)).min(axis=1)
        assert np.median(gaps) < 0.3
    with pytest.raises(InvalidInput, match="orientation = 2"):
        place(atoms, "C4", orientation=2)


def test_a_starting_map__is_low_passed_and_of_the_stacks_box(shared_data, tmp_path):
    made = volume(tmp_path, 64, 3.54, model=shared_data / "models" / "5a1a.cif", symmetry="D2")
    assert made.data.shape == (64, 64, 64)
    assert made.data.dtype == np.float32
    assert made.pixel_size_A == 3.54
    power = np.abs(np.fft.rfftn(made.data)) ** 2
    k = grids.frequencies_1_A((64, 64, 64), 3.54, centred_half=False)
    assert power[k > 1 / 30 + 4 / (64 * 3.54)].max() < 1e-6 * power.max()
    inner = made.data[8:56, 8:56, 8:56]
    assert np.square(inner).sum() > 0.98 * np.square(made.data).sum()
    assert np.array(np.unravel_index(made.data.argmax(), (64, 64, 64))) == pytest.approx([32] * 3, abs=20)


def test_b_factor_and_water__are_as_asked(shared_data, tmp_path):
    path = shared_data / "models" / "7a4m.cif"
    dry, wet = read_atoms(path), read_atoms(path, water=True)
    assert len(wet.kinds) > len(dry.kinds)
    soft = volume(tmp_path, 96, 1.8, model=path, symmetry="O", low_pass_A=0.0, b_factor_A2=200.0)
    sharp = volume(tmp_path, 96, 1.8, model=path, symmetry="O", low_pass_A=0.0, b_factor_A2=0.0)
    assert sharp.data.std() > 1.5 * soft.data.std()
    assert sharp.data.sum() == pytest.approx(soft.data.sum(), rel=1e-3)


def test_what_cannot_be_a_seed__is_refused_with_a_remedy(shared_data, tmp_path):
    path = shared_data / "models" / "5a1a.cif"
    with pytest.raises(ConfigError, match="no model file"):
        volume(tmp_path, 64, 3.54)
    with pytest.raises(InvalidInput, match="no assembly '7'"):
        volume(tmp_path, 64, 3.54, model=path, assembly="7")
    with pytest.raises(InvalidInput, match="within the box"):
        volume(tmp_path, 32, 1.0, model=path)
    with pytest.raises(InvalidInput, match="symmetry O"):
        volume(tmp_path, 64, 3.54, model=path, symmetry="O")
    empty = tmp_path / "empty.cif"
    empty.write_text("data_x\n")
    with pytest.raises(Corrupt, match="no atoms"):
        volume(tmp_path, 64, 3.54, model=empty)
    with pytest.raises(Incomplete, match="no such file"):
        volume(tmp_path, 64, 3.54, model=tmp_path / "absent.cif")
    broken = tmp_path / "broken.cif"
    broken.write_text("data_x\nloop_\n_atom_site.id\n'1\n")
    with pytest.raises(Corrupt, match="not a readable"):
        volume(tmp_path, 64, 3.54, model=broken)
