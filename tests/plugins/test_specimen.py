"""Atomic models as specimens: boxes, parts that fade, conformations, ligands, refusals; on real models."""

from __future__ import annotations

import gzip
import time
import tracemalloc

import numpy as np
import pytest

from cryoframe import SpecimenRequest
from cryoframe.errors import CryoframeError, InvalidInput, Refused
from cryoframe.numerics import fourier, grids, symmetry
from cryoframe.numerics.masks import grow
from cryoframe_model.hinge import parse_hinge, turned
from cryoframe_model.hydrogens import with_hydrogens
from cryoframe_model.seed import placement
from cryoframe_model.specimen import open_specimen
from cryoframe_model.structure import build_atoms, load_structure, read_atoms

APOFERRITIN, GALACTOSIDASE, CHANNEL = "7a4m.cif", "5a1a.cif", "7l2i.cif"

#: How far from an atom it changes the ice: its radius, the probe, three standard deviations of the border.
ICE_REACH_A = 1.7 + 1.1 + 3.0


def share_near(volume, positions_A, pixel_A, reach_A):
    """Share of a map's power that lies within `reach_A` of places."""
    near = np.zeros(volume.shape, dtype=bool)
    index = np.round(positions_A / pixel_A).astype(int) + volume.shape[0] // 2
    near[index[:, 2], index[:, 1], index[:, 0]] = True
    power = np.square(volume, dtype=np.float64)
    return float(power[grow(near, reach_A / pixel_A)].sum() / power.sum())


def specimens(path, **settings):
    found = open_specimen(path=path, request=SpecimenRequest(**{"pixel_size_A": 3.0, **settings}))
    assert found is not None
    return found


def one(path, **settings):
    (found,) = specimens(path, **settings)
    return found


@pytest.fixture(scope="module")
def models(shared_data):
    return shared_data / "models"


def test_apoferritin__has_its_mass_its_size_and_its_symmetry(models, say):
    found = one(models / APOFERRITIN, symmetry="O")
    say(f"7A4M: {found.mass_kDa:.0f} kDa, radius {found.radius_A:.1f} Å, box {found.volume.data.shape[0]}")
    # 24 chains of 174 residues, 20 kDa each, metals and hydrogens included; outer diameter 12 to 14 nm.
    assert found.mass_kDa == pytest.approx(481, rel=0.03)
    assert 60 < found.radius_A < 72
    assert found.volume.symmetry == "O"
    assert found.volume.provenance == "reference-derived: 7a4m.cif"
    likeness = np.corrcoef(symmetry.symmetrise(found.volume.data, "O").ravel(), found.volume.data.ravel())[0, 1]
    assert likeness > 0.99
    n = found.volume.data.shape[0]
    # The cavity holds ice: nothing but overshoot is left against ice.
    middle = found.volume.data[n // 2 - 3 : n // 2 + 4, n // 2 - 3 : n // 2 + 4, n // 2 - 3 : n // 2 + 4]
    assert abs(middle.mean()) < 0.01 * found.volume.data.max()


@pytest.mark.parametrize("change", ["plain", "gzip", "renamed"])
def test_a_model__is_told_by_its_content(models, tmp_path, change):
    text = (models / APOFERRITIN).read_bytes()
    path = tmp_path / {"plain": "a.cif", "gzip": "a.cif.gz", "renamed": "a.dat"}[change]
    path.write_bytes(gzip.compress(text, 1) if change == "gzip" else text)
    assert one(path, assembly="").name == "a"


def test_what_is_no_model__is_left_to_others(shared_data):
    request = SpecimenRequest()
    assert open_specimen(path=shared_data / "maps" / "betaGal_NGL.mrc", request=request) is None
    assert open_specimen(path=shared_data / "MANIFEST.csv", request=request) is None


def test_bad_requests__are_refused_before_the_work(models):
    path = models / CHANNEL
    cases = [
        ({"pixel_size_A": float("nan")}, "pixel_size_A"),
        ({"pixel_size_A": 0.01}, "pixel_size_A"),
        ({"pixel_size_A": 0.2}, "at most 512 px"),
        ({"box_px": 20}, "to turn in"),
        ({"box_px": 101}, "even number"),
        ({"assembly": "9"}, "no assembly '9'"),
        ({"symmetry": "O"}, "symmetry O"),
        ({"without_residues": ("XJB",)}, "did you mean 'XJA'"),
        ({"conformations": (0.5,)}, "without a hinge"),
        ({"conformations": (2.0,)}, "from 0 to 1"),
        ({"conformations": ()}, "from 0 to 1"),
    ]
    for settings, said in cases:
        with pytest.raises(InvalidInput, match=said):
            specimens(path, **settings)


@pytest.mark.parametrize(
    ("hinge", "said"),
    [
        ("A:1-20", "1 parts"),
        ("A:20-1; axis 0,0,1 through A/300; degrees 5", "ends before"),
        ("A:; axis 0,0,1 through A/300; degrees 5", "selects nothing"),
        ("A:300-400; axis 0,0 through A/300; degrees 5", "no axis"),
        ("A:300-400; axis 0,0,0 through A/300; degrees 5", "no length"),
        ("A:300-400; axis 0,0,1 through A/300; degrees nan", "no turn"),
        ("A:300-400; axis 0,0,1 through A/300; degrees 400", "no turn"),
        ("Q:300-400; axis 0,0,1 through A/300; degrees 5", "no chain 'Q'"),
        ("A:9300-9400; axis 0,0,1 through A/300; degrees 5", "no residue from 9300"),
        ("A:300-400; axis 0,0,1 through A/9999; degrees 5", "no residue from 9999"),
    ],
)
def test_a_bad_hinge__is_refused_in_its_own_words(models, hinge, said):
    with pytest.raises(InvalidInput, match=said) as caught:
        specimens(models / CHANNEL, hinge=hinge, conformations=(1.0,))
    assert "hinge" in str(caught.value)


def test_a_trace__and_atoms_without_numbers_are_refused(models, tmp_path):
    end = f"{0.0:8.3f}{0.0:8.3f}  1.00 20.00           C"
    lines = [f"ATOM  {i:5d}  CA  ALA A{i:4d}    {1.5 * i:8.3f}{end}" for i in range(1, 30)]
    trace = tmp_path / "trace.pdb"
    trace.write_text("\n".join([*lines, "END"]) + "\n")
    with pytest.raises(Refused, match="side chains"):
        specimens(trace)
    text = (models / APOFERRITIN).read_text()
    place = text.index("\nATOM") + 1
    first = text[place : text.index("\n", place)].split()
    column = next(
        i for i, value in enumerate(first) if value.replace("-", "").replace(".", "").isdigit() and "." in value
    )
    first[column] = "1e30"
    broken = tmp_path / "broken.cif"
    broken.write_text(text[:place] + " ".join(first) + text[text.index("\n", place) :])
    with pytest.raises(CryoframeError, match="no usable position"):
        specimens(broken)


def test_parts_that_fade_and_the_rest__sum_to_the_undamaged_potential(models, say):
    whole = one(models / APOFERRITIN, pixel_size_A=1.5, assembly="")
    split = one(models / APOFERRITIN, pixel_size_A=1.5, assembly="", site_damage=True)
    assert not whole.fading
    assert [part.lifetime_e_A2 for part in split.fading] == [18.0, 15.0, 30.0]
    total = split.volume.data + sum(part.volume.data for part in split.fading)
    assert np.abs(total - whole.volume.data).max() < 1e-5 * whole.volume.data.max()
    # Atoms of the sites alone: a carboxyl is C (2.51 Å) and two O (1.98 Å); 7A4M has 174 residues, all there once.
    atoms = read_atoms(models / APOFERRITIN, assembly="")
    carboxyl = np.isin(atoms.residues, ("GLU", "ASP")) & np.isin(atoms.names, ("CD", "OE1", "OE2", "CG", "OD1", "OD2"))
    carboxyl &= ~((atoms.residues == "GLU") & (atoms.names == "CG"))
    expected = (atoms.heights_A.sum(axis=1)[atoms.kinds] * atoms.occupancies)[carboxyl].sum()
    assert split.fading[0].volume.data.sum() * 1.5**3 == pytest.approx(expected, rel=1e-3)
    say(f"7A4M chain: {np.count_nonzero(carboxyl)} carboxyl atoms, Σ f {expected:.0f} Å")


def test_a_hinge__turns_the_named_atoms_as_a_rigid_body_and_nothing_else(models):
    structure = load_structure(models / CHANNEL)
    hinge = parse_hinge("A:300-400, C:700; axis 0,0,1 through A/300; degrees 20")
    before, after = (build_atoms(item, "", models) for item in (structure, turned(structure, hinge, 0.5, models)))
    moved = np.linalg.norm(after.positions_A - before.positions_A, axis=1)
    first = structure[0]["A"]
    index = {(chain.name, residue.seqid.num): [] for chain in structure[0] for residue in chain}
    for number, site in enumerate(structure[0].all()):
        index[site.chain.name, site.residue.seqid.num].append(number)
    chosen = sorted(i for n in range(300, 401) for i in index.get(("A", n), [])) + index["C", 700]
    assert np.all(np.delete(moved, chosen) == 0.0)
    pivot = np.array(first["300"][0]["CA"][0].pos.tolist())
    assert moved[[i for i in index["A", 300] if before.names[i] == "CA"]] == pytest.approx(0.0, abs=1e-9)
    # By 10°, right-handed: x turns towards y.
    relative = before.positions_A[chosen] - pivot
    angle = np.radians(10.0)
    expected = np.stack(
        [
            relative[:, 0] * np.cos(angle) - relative[:, 1] * np.sin(angle),
            relative[:, 0] * np.sin(angle) + relative[:, 1] * np.cos(angle),
            relative[:, 2],
        ],
        axis=1,
    )
    assert after.positions_A[chosen] - pivot == pytest.approx(expected, abs=1e-9)


def test_axis_from_residue_to_residue__leaves_both_in_place(models):
    structure = load_structure(models / CHANNEL)
    hinge = parse_hinge("chain A; axis A/300 to A/400; degrees -35")
    before, after = (build_atoms(item, "", models) for item in (structure, turned(structure, hinge, 1.0, models)))
    moved = np.linalg.norm(after.positions_A - before.positions_A, axis=1)
    numbers = np.array([site.residue.seqid.num for site in structure[0].all()])
    chains = np.array([site.chain.name for site in structure[0].all()])
    ends = (chains == "A") & np.isin(numbers, (300, 400)) & (before.names == "CA")
    assert moved[ends] == pytest.approx([0.0, 0.0], abs=1e-6)
    assert moved[chains == "A"].max() > 10.0
    assert moved[chains != "A"].max() == 0.0


def test_a_series__has_one_box_its_coordinates_and_grows_apart(models, say):
    hinge = "A:300-400; axis 0,0,1 through A/300; degrees 24"
    series = specimens(models / CHANNEL, hinge=hinge, conformations=(0.0, 0.25, 0.5, 1.0), symmetry="C4")
    assert [item.conformation for item in series] == [0.0, 0.25, 0.5, 1.0]
    assert len({item.volume.data.shape for item in series}) == 1
    assert {item.name for item in series} == {"7l2i"}
    assert [item.volume.symmetry for item in series] == ["C4", "C1", "C1", "C1"]
    likeness = [float(np.corrcoef(item.volume.data.ravel(), series[0].volume.data.ravel())[0, 1]) for item in series]
    say("7L2I, one domain turned by 0, 6, 12, 24°: correlation " + ", ".join(f"{value:.3f}" for value in likeness))
    assert likeness[0] == pytest.approx(1.0)
    assert np.all(np.diff(likeness) < 0)
    # What changes lies where the domain was and where it came to, an atom's, the ice's and a voxel's width around.
    structure = load_structure(models / CHANNEL)
    still, moved = (build_atoms(turned(structure, parse_hinge(hinge), t, models), "", models) for t in (0.0, 1.0))
    heavy = ~still.water & ~still.hydrogen
    turn, middle = placement(still.select(heavy), "C4")
    chosen = np.linalg.norm(moved.positions_A - still.positions_A, axis=1) > 0.0
    places_A = np.concatenate([(atoms.positions_A[chosen] - middle) @ turn.T for atoms in (still, moved)])
    # At a finer voxel, since the sharp end of the spectrum at Nyquist rings over several voxels.
    fine = specimens(models / CHANNEL, hinge=hinge, conformations=(0.0, 1.0), symmetry="C4", pixel_size_A=1.5)
    difference = fine[1].volume.data - fine[0].volume.data
    share = share_near(difference, places_A, 1.5, ICE_REACH_A + 1.5)
    say(f"7L2I, difference of the ends: {share:.4f} of its power at the domain")
    assert share > 0.99


def test_a_hinge_of_a_chain_that_the_assembly_copies__keeps_the_symmetry(models):
    hinge = "A:2-40; axis 1,0,0 through A/40; degrees 15"
    found = specimens(models / APOFERRITIN, hinge=hinge, conformations=(1.0,), symmetry="O")[0].volume.data
    assert np.corrcoef(symmetry.symmetrise(found, "O").ravel(), found.ravel())[0, 1] > 0.99


@pytest.mark.parametrize("solvent", [False, True])
def test_a_ligand_taken_away__is_what_the_difference_shows(models, say, solvent):
    settings = {"pixel_size_A": 1.2, "solvent": solvent, "hydrogen": False}
    bound = one(models / GALACTOSIDASE, **settings)
    free = one(models / GALACTOSIDASE, without_residues=("PTQ",), **settings)
    difference = bound.volume.data - free.volume.data
    atoms = read_atoms(models / GALACTOSIDASE, hydrogen=False)
    turn, middle = placement(atoms.select(~atoms.water), "C1")
    ligand = atoms.select(atoms.residues == "PTQ")
    reach_A = ICE_REACH_A if solvent else 4.0
    share = share_near(difference, (ligand.positions_A - middle) @ turn.T, 1.2, reach_A)
    say(f"5A1A − ligand: {share:.4f} of the difference's power within {reach_A} Å of the ligand, solvent {solvent}")
    assert share > 0.99
    if not solvent:
        expected = (ligand.heights_A.sum(axis=1)[ligand.kinds] * ligand.occupancies).sum()
        assert difference.sum(dtype=float) * 1.2**3 == pytest.approx(expected, rel=2e-3)
    assert free.mass_kDa == pytest.approx(bound.mass_kDa - ligand.mass_kDa, abs=1e-3)


def test_missing_hydrogens__are_put_where_deposited_ones_are(models, say):
    structure = load_structure(models / APOFERRITIN)
    bare = structure.clone()
    bare.remove_hydrogens()
    deposited, made = (
        {
            (chain.name, str(residue.seqid)): np.array([a.pos.tolist() for a in residue if a.is_hydrogen()])
            for chain in item[0]
            for residue in chain.get_polymer()
        }
        for item in (structure, with_hydrogens(bare))
    )
    distances = np.concatenate(
        [
            np.linalg.norm(deposited[key][:, None] - made[key][None], axis=-1).min(axis=1)
            for key in deposited
            if len(made[key]) and len(deposited[key])
        ]
    )
    n_deposited, n_made = (sum(map(len, found.values())) for found in (deposited, made))
    say(f"7A4M: {n_deposited} hydrogens deposited, {n_made} made; median distance {np.median(distances):.2f} Å")
    assert n_made == pytest.approx(n_deposited, rel=0.02)
    # Deposited ones lie 0.1 Å nearer, at the distance of the electrons.
    assert np.median(distances) < 0.15
    assert np.mean(distances < 0.4) > 0.9


def test_a_model_without_hydrogens__has_the_mass_of_the_whole_and_its_contrast(models, say):
    found = one(models / GALACTOSIDASE)
    bare = one(models / GALACTOSIDASE, hydrogen=False)
    excess_A = [float(item.volume.data.sum(dtype=float)) * 27.0 / item.mass_kDa for item in (found, bare)]
    say(f"5A1A: {found.mass_kDa:.1f} kDa; Σ f − ice {excess_A[0]:.1f} Å/kDa, without hydrogens {excess_A[1]:.1f}")
    # E. coli β-galactosidase: 4 × 116.5 kDa (UniProt P00722).
    assert found.mass_kDa == pytest.approx(466, rel=0.01)
    assert bare.mass_kDa == found.mass_kDa
    # Mean amino acid at 0.73 cm³/g, 8.05 V, less ice, 4.53 V: 3.52 V / 47.88 V·Å² × 1212 Å³/kDa.
    assert excess_A[0] == pytest.approx(3.52 / 47.878 * 1212, rel=0.06)
    assert excess_A[1] < 0.75 * excess_A[0]


def test_water__scatters_where_it_is_asked_for(models):
    dry, wet = (one(models / APOFERRITIN, assembly="", pixel_size_A=1.5, water=w, solvent=False) for w in (False, True))
    atoms = read_atoms(models / APOFERRITIN, assembly="", water=True)
    water = atoms.select(atoms.water)
    # Oxygen of the table, and two hydrogens for each that has none.
    expected = float(np.sum(water.occupancies * (~water.hydrogen * 1.9834 + 2 * 0.5288 * ~water.hydrogen)))
    added = (wet.volume.data.sum(dtype=float) - dry.volume.data.sum(dtype=float)) * 1.5**3
    assert added == pytest.approx(expected, rel=0.02)
    assert wet.mass_kDa == dry.mass_kDa


def test_one_b_factor__replaces_the_models_own(models):
    def sharp_share(b_factor_A2):
        data = one(models / APOFERRITIN, assembly="", pixel_size_A=1.5, b_factor_A2=b_factor_A2).volume.data
        return fourier.fft3_centred(data), data.shape[0]

    (hard, n), (soft, _) = sharp_share(20.0), sharp_share(120.0)
    k = grids.frequencies_1_A((n, n, n), 1.5)
    shell = np.abs(k - 0.25) < 0.01
    ratio = np.sqrt(np.sum(np.abs(soft[shell]) ** 2) / np.sum(np.abs(hard[shell]) ** 2))
    # The border of the ice has no B-factor and little power at 4 Å.
    assert ratio == pytest.approx(np.exp(-100.0 * 0.0625 / 4.0), rel=0.1)


def test_apoferritin_in_a_large_box__is_made_in_time(models, say):
    start = time.process_time()
    found = one(models / APOFERRITIN, pixel_size_A=1.0, box_px=256, symmetry="O")
    spent_s = time.process_time() - start
    say(f"24-mer of {found.mass_kDa:.0f} kDa, 256 px of 1 Å: {spent_s:.1f} CPU-s")
    assert spent_s < 20.0


def test_a_coarse_map__is_the_fine_one_with_its_high_frequencies_cut(models, say):
    fine, coarse = (
        one(models / APOFERRITIN, assembly="", pixel_size_A=pixel, box_px=box) for pixel, box in ((1.25, 80), (2.5, 40))
    )
    cropped = fourier.fourier_crop(fine.volume.data, (40, 40, 40), origin="centre")
    k = grids.frequencies_1_A((40, 40, 40), 2.5)
    one_ft, other_ft = (fourier.fft3_centred(item)[k < 0.19] for item in (coarse.volume.data, cropped))
    left = float(np.linalg.norm(one_ft - other_ft) / np.linalg.norm(other_ft))
    say(f"7A4M chain at 2.5 Å against its transform at 1.25 Å cut: {left:.4f} of the amplitude differs")
    # Nothing is folded back; what differs is the space of the molecule, found on voxels of two sizes.
    assert left < 0.03
    bare = [
        one(models / APOFERRITIN, assembly="", pixel_size_A=pixel, box_px=box, solvent=False).volume.data
        for pixel, box in ((1.25, 80), (2.5, 40))
    ]
    cropped = fourier.fourier_crop(bare[0], (40, 40, 40), origin="centre")
    one_ft, other_ft = (fourier.fft3_centred(item)[k < 0.19] for item in (bare[1], cropped))
    assert float(np.linalg.norm(one_ft - other_ft) / np.linalg.norm(other_ft)) < 2e-3


def test_a_large_box_of_coarse_voxels__does_not_ask_for_the_memory_of_fine_ones(models):
    tracemalloc.start()
    found = one(models / CHANNEL, pixel_size_A=12.0, box_px=100)
    peak_GB = tracemalloc.get_traced_memory()[1] / 1e9
    tracemalloc.stop()
    assert found.volume.data.shape == (100, 100, 100)
    assert peak_GB < 1.5


def test_water_alone_and_absurd_occupancies__are_refused(models, tmp_path):
    water = tmp_path / "water.pdb"
    tail = f"{1.0:8.3f}{2.0:8.3f}{3.0:8.3f}"
    water.write_text(f"HETATM    1  O   HOH A   1    {tail}  1.00 20.00           O\nEND\n")
    with pytest.raises(InvalidInput, match="nothing but water"):
        specimens(water, water=True)
    ligand = tmp_path / "ligand.pdb"
    ligand.write_text(f"HETATM    1  C1  LIG A   1    {tail}  1.00 20.00           C\nEND\n")
    with pytest.raises(InvalidInput, match="nothing is left"):
        specimens(ligand, without_residues=("LIG",))
    for occupancy in ("-1.00", "50.00"):
        bad = tmp_path / "bad.pdb"
        bad.write_text(f"HETATM    1  C1  LIG A   1    {tail} {occupancy:>5} 20.00           C\nEND\n")
        with pytest.raises(CryoframeError, match="occupancy"):
            specimens(bad)
    unknown = tmp_path / "unknown.pdb"
    unknown.write_text(f"HETATM    1  XX  LIG A   1    {tail}  1.00 20.00           X\nEND\n")
    with pytest.raises(CryoframeError, match="scattering factor"):
        specimens(unknown)


def test_assemblies_beyond_all_measure__are_refused_before_they_are_built(models, monkeypatch):
    monkeypatch.setattr("cryoframe_model.structure._MOST_ATOMS", 10_000)
    with pytest.raises(Refused, match="24 copies"):
        specimens(models / APOFERRITIN)
