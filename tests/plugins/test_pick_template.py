"""pick_particles `template`: its settings, its voice, and both pickers beside RELION's on simulated micrographs."""

from __future__ import annotations

import shutil

import numpy as np
import pick_bench
import pick_fields
import pytest

from cryoframe import StageContext
from cryoframe.errors import ConfigError, InvalidInput
from cryoframe.formats import mrc
from cryoframe.numerics.peaks import match_points
from cryoframe.testing import phantoms
from cryoframe_pick import plugin, template


@pytest.fixture(scope="module")
def molecule_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("reference") / "molecule.mrc"
    mrc.write(path, phantoms.molecule().data, pixel_size_A=phantoms.PIXEL_A)
    return path


def picked(taken, folder, **params):
    heard, said = {}, []
    ctx = StageContext(
        folder,
        on_metric=lambda name, value, unit: heard.__setitem__(name, value),
        on_log=said.append,
    )
    table = template.pick_particles(
        micrograph=taken.micrograph, ctf=taken.ctf, params=template.Params(diameter_A=100.0, **params), ctx=ctx
    )
    table.check(partial=True)
    return table, heard, said


def test_molecules__are_found_and_nothing_is_said_against_them(molecule_file, tmp_path):
    taken = phantoms.micrograph(24)
    table, heard, said = picked(taken, tmp_path, reference=molecule_file)
    found = np.stack([table.floats("x_A"), table.floats("y_A")], axis=1)
    precision, recall = match_points(found, taken.centres_A, 16.0)
    assert precision > 0.85
    assert recall > 0.85
    assert heard["held_out_z"] > 3.0
    assert not said


def test_picks_of_noise__are_told_of(molecule_file, tmp_path):
    taken = phantoms.micrograph(0)
    table, heard, said = picked(
        taken, tmp_path, reference=molecule_file, false_picks=40.0, false_frac=1.0, min_distance_A=20.0
    )
    # Fewer than were allowed: so low a threshold is not extrapolated to, and the field is small.
    assert 0.0 < heard["noise_picks_expected"] <= 40.0
    assert abs(heard["held_out_z"]) < 3.0
    assert len(said) == (1 if len(table) else 0)
    assert all("may be noise" in line for line in said)


def test_picks__are_as_far_apart_as_asked(molecule_file, tmp_path):
    table, *_ = picked(phantoms.micrograph(24), tmp_path, reference=molecule_file, min_distance_A=150.0)
    at = np.stack([table.floats("x_A"), table.floats("y_A")], axis=1)
    gaps = np.hypot(*(at[:, None] - at[None]).transpose(2, 0, 1))[np.triu_indices(len(at), 1)]
    assert gaps.min() >= 150.0 - 1e-3


def test_missing_and_impossible_references__are_refused(molecule_file, tmp_path):
    taken = phantoms.micrograph(3)
    with pytest.raises(ConfigError, match="no reference"):
        picked(taken, tmp_path)
    with pytest.raises(InvalidInput, match="kind"):
        template.Params(kind="movie")  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="low_pass_A"):
        template.Params(low_pass_A=float("nan"))
    with pytest.raises(InvalidInput, match="at most half"):
        template.pick_particles(
            micrograph=taken.micrograph,
            ctf=taken.ctf,
            params=template.Params(reference=molecule_file, diameter_A=900.0),
            ctx=StageContext(tmp_path),
        )  # fmt: skip


def fields_of(name, shared_data, scratch):
    return [pick_fields.field(name, defocus_A, shared_data, scratch) for defocus_A in pick_fields.DEFOCI_A]


@pytest.mark.slow
@pytest.mark.relion
@pytest.mark.skipif(shutil.which("relion_autopick") is None, reason="RELION is not installed")
@pytest.mark.parametrize("name", list(pick_fields.SPECIMENS))
def test_blob__is_as_good_as_relions_LoG_with_the_best_threshold(name, shared_data, tmp_path, figure):
    fields = fields_of(name, shared_data, tmp_path)
    diameter_A = fields[0].diameter_A
    pick_bench.write_micrographs(fields, tmp_path)
    theirs, seconds = [], 0.0
    for ctf in ((), ("--LoG_use_ctf",)):
        for adjustment in pick_bench.LOG_ADJUSTMENTS:
            out = f"log{adjustment}{len(ctf)}"
            words = ("--LoG", "--LoG_diam_min", 0.8 * diameter_A, "--LoG_diam_max", diameter_A, "--shrink", 0)
            seconds = pick_bench.autopick(
                tmp_path, out, *words, "--lowpass", 20, "--LoG_adjust_threshold", adjustment, *ctf
            )
            theirs.append([pick_bench.picks_of(tmp_path, out, one) for one in fields])
    loose = plugin.Params(diameter_A=diameter_A, threshold=1.5, false_frac=1.0)
    ranked, _ = pick_bench.ours(plugin.pick_particles, loose, fields, tmp_path)
    shipped, cpu_s = pick_bench.ours(plugin.pick_particles, plugin.Params(diameter_A=diameter_A), fields, tmp_path)
    for share in (0.5, 0.25):
        mine, _ = pick_bench.quality(ranked, fields, share)
        _, as_shipped = pick_bench.quality(shipped, fields, share)
        best = [pick_bench.quality(one, fields, share)[0] for one in theirs]
        precision, f1 = max(one.average_precision for one in best), max(one.best_f1 for one in best)
        figure(
            f"{name}, within {share} diameters",
            f"blob AP {mine.average_precision:.3f} F1 {mine.best_f1:.3f} (as shipped {as_shipped:.3f}),"
            f" {cpu_s:.1f} CPU s; RELION LoG AP {precision:.3f} F1 {f1:.3f}, {seconds:.1f} s",
        )
        # Two hundred particles: one of them found or not is 0.005.
        assert mine.average_precision > precision - 0.005
        assert mine.best_f1 > f1 - 0.005


@pytest.mark.slow
@pytest.mark.relion
@pytest.mark.skipif(shutil.which("relion_autopick") is None, reason="RELION is not installed")
@pytest.mark.parametrize(("name", "group"), [("apoferritin", "O"), ("betagal", "D2"), ("membrane protein", "C1")])
def test_template__is_as_good_as_relions_template_picker(name, group, shared_data, tmp_path, figure):
    fields = fields_of(name, shared_data, tmp_path)
    diameter_A, volume = fields[0].diameter_A, fields[0].specimen.volume
    reference = tmp_path / "reference.mrc"
    mrc.write(reference, volume.data, pixel_size_A=volume.pixel_size_A)
    pick_bench.write_micrographs(fields, tmp_path)
    (tmp_path / "template").mkdir()
    theirs_file = tmp_path / "relions_reference.mrc"
    mrc.write(theirs_file, volume.data * pick_bench.relions_scale(fields[0]), pixel_size_A=volume.pixel_size_A)
    seconds = pick_bench.autopick(
        tmp_path, "template", "--ref", theirs_file, "--angpix_ref", pick_fields.PIXEL_A, "--invert", "--ctf",
        "--lowpass", 20, "--ang", 10, "--healpix_order", 1, "--sym", group, "--particle_diameter", diameter_A,
        "--threshold", 0.0, "--min_distance", 0.6 * diameter_A, "--shrink", 0,
    )  # fmt: skip
    theirs = [pick_bench.picks_of(tmp_path, "template", one) for one in fields]
    params = template.Params(reference=reference, diameter_A=diameter_A)
    mine, cpu_s = pick_bench.ours(template.pick_particles, params, fields, tmp_path)
    for share in (0.5, 0.25):
        ours, as_shipped = pick_bench.quality(mine, fields, share)
        peer, _ = pick_bench.quality(theirs, fields, share)
        figure(
            f"{name}, within {share} diameters",
            f"template AP {ours.average_precision:.3f} F1 {ours.best_f1:.3f} (as shipped {as_shipped:.3f}),"
            f" {cpu_s:.1f} CPU s; RELION AP {peer.average_precision:.3f} F1 {peer.best_f1:.3f}, {seconds:.0f} s",
        )
        assert ours.average_precision > peer.average_precision - 0.005
        assert ours.best_f1 > peer.best_f1 - 0.005
