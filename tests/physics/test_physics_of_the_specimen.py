"""The resolution ladder, hydrogens, B-factors and damage of specimens made of a real model (7A4M, 1.22 Å, PDB)."""

from __future__ import annotations

import gemmi
import numpy as np
import pytest

from cryoframe import SpecimenRequest
from cryoframe.numerics import fourier, grids
from cryoframe.numerics.atoms import potential
from cryoframe.numerics.damage import SITES
from cryoframe.numerics.filters import apply_b_factor
from cryoframe.numerics.fsc import fsc_curve, resolution_at
from cryoframe.numerics.insertion import empty_accumulator
from cryoframe.numerics.map_features import map_features, peaks_seen, values_at
from cryoframe.numerics.projection import prepare_volume, project
from cryoframe.numerics.radial import expand_radial, radial_average
from cryoframe.numerics.reconstruction import accumulate, solve
from cryoframe.numerics.rotations import random_rotations
from cryoframe.numerics.symmetry import rotation_matrices
from cryoframe_model.seed import placement
from cryoframe_model.specimen import open_specimen
from cryoframe_model.structure import build_atoms, load_structure, read_atoms

LADDER_A = (1.2, 1.5, 2.0, 3.0)
PIXEL_A = 0.5


@pytest.fixture(scope="module")
def model(shared_data):
    """One chain of apoferritin with its waters."""
    return shared_data / "models" / "7a4m.cif"


@pytest.fixture(scope="module")
def placed(model):
    """Heavy atoms, waters' oxygens and hydrogens of the molecule, in the frame of the maps."""
    atoms = read_atoms(model, assembly="", water=True)
    turn, middle = placement(atoms.select(~atoms.hydrogen & ~atoms.water), "C1")
    places = (atoms.positions_A - middle) @ turn.T
    heavy = ~atoms.hydrogen
    return places[heavy & ~atoms.water], places[heavy & atoms.water], places[atoms.hydrogen & ~atoms.water]


def specimen(model, **settings):
    request = SpecimenRequest(**{"pixel_size_A": PIXEL_A, "assembly": "", "water": True, **settings})
    found = open_specimen(path=model, request=request)
    assert found is not None
    return found[0]


def as_measured(ft, d_A, rng):
    """Weights and noise (centred half transforms) of a map whose half-maps correlate to 0.143 at `d_A`.

    White noise whose power at d is that of the full map there, SSNR = 2·0.143/(1 − 0.143); the map is weighted by
    SSNR/(1 + SSNR), and ends at d.
    """
    n = ft.shape[0]
    power = radial_average(np.abs(ft) ** 2)
    last = round(n * PIXEL_A / d_A)
    noise_power = power[last] * (1.0 - 0.143) / (2.0 * 0.143)
    noise = fourier.fft3_centred(rng.standard_normal((n, n, n), dtype=np.float32))
    noise *= np.float32(np.sqrt(noise_power / n**3))
    weights = power / (power + noise_power)
    weights[last + 1 :] = 0.0
    inside = grids.frequencies_1_A((n, n, n), PIXEL_A) <= 1.0 / d_A
    return expand_radial(weights, n, n_dims=3) * inside, noise


def real_map(ft):
    return fourier.ifft3_centred(ft.astype(np.complex64))


@pytest.mark.parametrize("b_factor_A2", [-1.0, 20.0], ids=["own B", "B 20"])
def test_atoms_apart_and_waters_seen__fall_from_1_2_to_3_A(model, placed, b_factor_A2, figure):
    """Mission S-01: separated atoms at 1.2 to 1.5 Å, waters at 2 Å, neither at 3 Å."""
    heavy, waters, _ = placed
    ft = fourier.fft3_centred(specimen(model, b_factor_A2=b_factor_A2).volume.data)
    counts = []
    for d_A in LADDER_A:
        weights, noise = as_measured(ft, d_A, np.random.default_rng(1))
        found = map_features(real_map((ft + noise) * weights), PIXEL_A, heavy, waters)
        counts.append((found.n_pairs_apart, found.n_waters_seen))
        figure(
            f"at {d_A} Å, B {b_factor_A2:g}",
            f"{found.n_pairs_apart} of {found.n_pairs} pairs apart, {found.n_waters_seen} of {found.n_waters} waters",
        )
    pairs, seen = np.array(counts).T
    assert np.all(np.diff(pairs) < 0)
    assert np.all(np.diff(seen) <= 0)
    assert pairs[0] > 0.5 * found.n_pairs
    assert pairs[-1] < 0.02 * found.n_pairs
    assert seen[2] > 0.9 * found.n_waters
    assert seen[-1] < 0.65 * found.n_waters


def test_hydrogens__are_seen_in_the_difference_at_1_2_A_and_not_at_3(model, placed, figure):
    """Mission S-06; the difference of maps with and without hydrogens, with the noise of each resolution."""
    hydrogens = placed[2]
    with_them = specimen(model)
    without = specimen(model, hydrogen=False, box_px=with_them.volume.data.shape[0])
    ft = fourier.fft3_centred(with_them.volume.data)
    difference_ft = ft - fourier.fft3_centred(without.volume.data)
    anywhere = np.random.default_rng(2).uniform(-25.0, 25.0, hydrogens.shape)
    shares = []
    for d_A in LADDER_A:
        weights, noise = as_measured(ft, d_A, np.random.default_rng(3))
        difference = real_map((difference_ft + noise) * weights)
        seen, by_chance = (
            float(peaks_seen(difference, PIXEL_A, places, reach_A=0.3).mean()) for places in (hydrogens, anywhere)
        )
        figure(f"hydrogens with a peak of 3 σ at {d_A} Å", f"{seen:.3f}, at random places {by_chance:.3f}")
        shares.append(seen)
        assert by_chance < 0.03
    assert shares[0] > 0.6
    assert np.all(np.diff(shares) < 0)
    assert shares[-1] < 0.05


def test_potential_of_a_model__is_that_of_an_independent_program(model, figure):
    """gemmi's own density calculator, same scattering factors, its own sampling, blurring and cutting."""
    structure = load_structure(model)
    atoms = build_atoms(structure, "", model)
    n, pixel_A, blur_A2 = 108, 0.7, 20.0
    side_A = n * pixel_A
    middle = atoms.positions_A.mean(axis=0)
    ours = potential(
        atoms.positions_A - middle,
        atoms.kinds,
        (atoms.heights_A, atoms.widths_A2),
        b_factors_A2=atoms.b_factors_A2,
        n=n,
        pixel_size_A=pixel_A,
        occupancies=atoms.occupancies,
    )
    structure.cell = gemmi.UnitCell(side_A, side_A, side_A, 90, 90, 90)
    structure.spacegroup_hm = "P 1"
    for site in structure[0].all():
        site.atom.pos = gemmi.Position(*(np.array(site.atom.pos.tolist()) - middle + side_A / 2))
        site.atom.aniso = gemmi.SMat33f(0, 0, 0, 0, 0, 0)
    structure.setup_cell_images()
    calculator = gemmi.DensityCalculatorE()
    calculator.d_min, calculator.rate = 2.0 * pixel_A, 2.0
    calculator.blur, calculator.cutoff = blur_A2, 1e-6
    calculator.set_grid_cell_and_spacegroup(structure)
    calculator.put_model_density_on_grid(structure[0])
    theirs = np.array(calculator.grid.array).transpose(2, 1, 0)
    cropped = fourier.fourier_crop(theirs, (n, n, n), origin="corner")
    cropped = apply_b_factor(cropped.astype(np.float64), -blur_A2, pixel_size_A=pixel_A, n_dims=3)
    k = grids.frequencies_1_A((n, n, n), pixel_A)
    one, other = (fourier.fft3_centred(np.asarray(item, np.float64))[k < 0.45 / pixel_A] for item in (ours, cropped))
    # Origins: ours voxel n//2 of the box, theirs half the cell: the same voxel.
    scale = float(np.real(np.vdot(other, one)) / np.real(np.vdot(other, other)))
    likeness = float(np.real(np.vdot(other, one)) / np.sqrt(np.real(np.vdot(one, one) * np.vdot(other, other))))
    figure("potential against gemmi's, to 1.56 Å", f"scale {scale:.5f}, correlation {likeness:.6f}")
    assert scale == pytest.approx(1.0, abs=0.01)
    assert likeness > 0.999
    assert ours.sum(dtype=float) * pixel_A**3 == pytest.approx(
        theirs.sum(dtype=float) * side_A**3 / theirs.size, rel=1e-3
    )


def test_sites_fade_in_the_order_of_their_lifetimes__and_the_rest_stays(model, figure):
    """Mission S-68: sulphur of cysteine and carboxyls first, methionine after, the main chain last.

    At 7A4M's own B-factors and 1 Å voxels; a site is read at its outermost atom, against its value undamaged.
    """
    pixel_A = 1.0
    found = specimen(model, site_damage=True, water=False, pixel_size_A=pixel_A, solvent=False)
    atoms = read_atoms(model, assembly="")
    turn, middle = placement(atoms.select(~atoms.hydrogen), "C1")
    places = (atoms.positions_A - middle) @ turn.T
    whole = atoms.occupancies > 0.99
    outermost = {"CYS": ("SG",), "carboxyl": ("OE1", "OE2", "OD1", "OD2"), "MET": ("SD",), "main chain": ("CA",)}
    residues = {"CYS": ("CYS",), "carboxyl": ("GLU", "ASP"), "MET": ("MET",), "main chain": ("LEU", "VAL", "ALA")}
    chosen = {
        name: whole & np.isin(atoms.names, names) & np.isin(atoms.residues, residues[name])
        for name, names in outermost.items()
    }
    assert all(picked.any() for picked in chosen.values())
    left = {name: [] for name in chosen}
    doses = (0.0, 10.0, 20.0, 40.0)
    for dose_e_A2 in doses:
        volume = found.volume.data.copy()
        for part in found.fading:
            faded = apply_b_factor(part.volume.data, part.b_rate_A4_e * dose_e_A2, pixel_size_A=pixel_A, n_dims=3)
            volume += (np.exp(-dose_e_A2 / part.lifetime_e_A2) * faded).astype(np.float32)
        for name, picked in chosen.items():
            left[name].append(float(values_at(volume, pixel_A, places[picked]).mean()))
    for name, values in left.items():
        left[name] = [value / values[0] for value in values]
        figure(f"density left of {name} at {doses[1:]} e/Å²", [round(value, 2) for value in left[name][1:]])
    for index in (1, 2, 3):
        cysteine, carboxyl, methionine, rest = (left[name][index] for name in chosen)
        assert max(cysteine, carboxyl) < methionine < rest
        assert rest > 0.97
    for name in ("CYS", "carboxyl", "MET"):
        assert np.all(np.diff(left[name]) < 0)
    # Half of the carboxyl density is gone after 10 to 15 e/Å², lifetime and growing B-factor together.
    assert 0.3 < left["carboxyl"][1] < 0.75
    assert {part.lifetime_e_A2 for part in found.fading} == {site.lifetime_e_A2 for site in SITES}


def test_noiseless_views_of_the_octahedral_specimen__make_it_again_to_nyquist(model, figure):
    """Mission S-04: two halves of a hundred views each, poses known, octahedral symmetry."""
    found = specimen(model, assembly="1", symmetry="O", pixel_size_A=3.0, water=False)
    n, rng = found.volume.data.shape[0], np.random.default_rng(4)
    volume_ft, halves = prepare_volume(found.volume.data), []
    for _ in range(2):
        rotations, sums = random_rotations(100, rng), empty_accumulator(n)
        images_ft = project(volume_ft, rotations)
        accumulate(sums, images_ft, rotations, np.zeros((100, 2)), operators=rotation_matrices("O"))
        halves.append(solve(sums))
    between = fsc_curve(*halves, pixel_size_A=3.0)
    truth = fsc_curve(0.5 * (halves[0] + halves[1]), found.volume.data, pixel_size_A=3.0)
    inner = truth.frequency_1_A < 0.45 / 3.0
    figure("FSC to the specimen up to 0.9 Nyquist, least", float(truth.fsc[inner].min()))
    assert resolution_at(between.frequency_1_A[:-1], between.fsc[:-1]).how == "never below"
    assert truth.fsc[inner].min() > 0.95
