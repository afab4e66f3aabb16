"""make_initial_volume `ab_initio`: a map from nothing, with and without symmetry; refusals; what it says of itself."""

from __future__ import annotations

import time
from dataclasses import replace

import betagal
import numpy as np
import pytest
from map_agreement import agreement

from cryoframe import ParticleTable, StageContext
from cryoframe.errors import Cancelled, InvalidInput
from cryoframe.testing import phantoms
from cryoframe_initial import ab_initio


@pytest.fixture(scope="module")
def coil():
    return phantoms.particles(400, snr=0.2, key="ab initio")


def test_coil__is_found_from_nothing(coil, tmp_path, say):
    begun = time.process_time()
    volume = ab_initio.make_initial_volume(
        coil.stack, ab_initio.Params(particle_diameter_A=110.0), StageContext(tmp_path, seed=1)
    )
    spent = time.process_time() - begun
    found = agreement(coil.volume.data, volume.data, phantoms.PIXEL_A)
    say(f"ab-initio, 400 phantoms 32 px: FSC 0.5 to the truth at {found.resolution_A:.1f} Å, {spent:.1f} CPU-s")
    # Twice what directions 10 degrees apart allow at a diameter of 110 Å: 2 * 110 * 0.175.
    assert found.resolution_A < 38.0
    assert found.correlation > 0.9
    assert volume.data.shape == coil.volume.data.shape


@pytest.mark.slow  # twenty seeds: tests/campaigns/ab_initio_seeds.py
def test_real_particles__give_the_molecule_in_d2(shared_data, tmp_path, say):
    stack = betagal.without_poses(betagal.particles(shared_data, tmp_path))
    begun, metrics = time.process_time(), {}
    context = StageContext(tmp_path, seed=1, on_metric=lambda name, value, unit: metrics.__setitem__(name, value))
    params = ab_initio.Params(symmetry="D2", particle_diameter_A=190.0, n_starts=2)
    volume = ab_initio.make_initial_volume(stack, params, context)
    spent = time.process_time() - begun
    known = betagal.model_map(shared_data, tmp_path, stack).data
    found = agreement(known, volume.data, stack.pixel_size_A)
    say(
        f"ab-initio, 593 real particles, D2: FSC 0.5 to 5A1A at {found.resolution_A:.1f} Å"
        f"{', mirrored' if found.is_mirrored else ''}, copies agree to {metrics['symmetry_correlation_frac']:.2f}, "
        f"{spent:.1f} CPU-s"
    )
    # Twice what directions 10 degrees apart allow at 190 Å would be 66 Å; a right map is far better.
    assert found.resolution_A < 22.0
    assert found.correlation > 0.9
    assert metrics["symmetry_correlation_frac"] > 0.4


def test_symmetry_the_particles_do_not_have__is_doubted(coil, tmp_path):
    told = []
    params = ab_initio.Params(symmetry="O", particle_diameter_A=110.0, n_starts=1, n_steps=16)
    volume = ab_initio.make_initial_volume(coil.stack, params, StageContext(tmp_path, on_log=told.append))
    assert volume.symmetry == "O"
    assert any(line.startswith("warning") and "may not have that symmetry" in line for line in told)


def test_map_that_does_not_show_the_axes__gives_way_to_the_next_start(coil, tmp_path, monkeypatch):
    told, seen = [], iter((0.1, 0.6, 0.9))
    lay = ab_initio.ab_initio.laid_on_axes

    def judged(images, model, group, *, r_max):
        laid, found = lay(images, model, group, r_max=r_max)
        mark = next(seen)
        return laid, tuple(axes._replace(correlation=mark, least=mark) for axes in found)

    monkeypatch.setattr(ab_initio.ab_initio, "laid_on_axes", judged)
    metrics = {}
    context = StageContext(
        tmp_path, on_log=told.append, on_metric=lambda name, value, unit: metrics.__setitem__(name, value)
    )
    params = ab_initio.Params(symmetry="C2", particle_diameter_A=110.0, n_steps=4, n_starts=3)
    ab_initio.make_initial_volume(coil.stack, params, context)
    assert sum("agrees with its C2 copies" in line for line in told) == 2
    assert metrics["symmetry_correlation_frac"] == 0.6
    assert not any(line.startswith("warning") for line in told)


def test_images_of_nothing__go_to_another_map(tmp_path, say):
    """A third of the images hold noise alone; two maps are looked for, and the one with detail is handed on."""
    good, noise = phantoms.particles(240, snr=0.4, key="models"), phantoms.particles(120, snr=0.0, key="models too")
    images = np.concatenate([np.asarray(good.stack.images), np.asarray(noise.stack.images)])
    table = ParticleTable.concat([good.stack.particles, _renamed(noise.stack.particles)])
    stack, told, metrics = replace(good.stack, images=images, particles=table), [], {}
    context = StageContext(
        tmp_path, seed=2, on_log=told.append, on_metric=lambda name, value, unit: metrics.__setitem__(name, value)
    )
    params = ab_initio.Params(particle_diameter_A=110.0, n_models=2, n_starts=1)
    volume = ab_initio.make_initial_volume(stack, params, context)
    found = agreement(good.volume.data, volume.data, phantoms.PIXEL_A)
    say(f"two maps, a third noise: kept one holds {metrics['model_share_frac']:.2f}, 0.5 at {found.resolution_A:.1f} Å")
    assert found.resolution_A < 38.0
    assert any("shares of the images of 2 maps" in line for line in told)


def _renamed(table):
    return table.with_columns({"particle_id": table.column("particle_id").astype(np.uint64) ^ np.uint64(2**40)})


def test_same_seed_any_threads__same_bytes(coil, tmp_path):
    params = ab_initio.Params(particle_diameter_A=110.0, n_steps=4, n_starts=2)
    maps = [
        ab_initio.make_initial_volume(coil.stack, params, StageContext(tmp_path, seed=3, n_threads=n)).data
        for n in (1, 2)
    ]
    assert (maps[0] == maps[1]).all()


def test_map__says_that_it_comes_from_the_particles_and_has_no_known_hand(coil, tmp_path):
    told, seen = [], []
    context = StageContext(
        tmp_path, on_log=told.append, on_report=lambda done, total, text: seen.append((done, total, text))
    )
    params = ab_initio.Params(symmetry="C2", particle_diameter_A=110.0, n_steps=4, n_starts=2)
    volume = ab_initio.make_initial_volume(coil.stack, params, context)
    assert volume.provenance.startswith("from the particles alone")
    assert "hand undetermined" in volume.provenance
    assert "reference-derived" not in volume.provenance
    assert volume.symmetry == "C2"
    # Half a turn about z leaves it as it is.
    turned = volume.data[:, 1:, 1:][:, ::-1, ::-1]
    assert np.corrcoef(turned.ravel(), volume.data[:, 1:, 1:].ravel())[0, 1] > 0.99
    assert "mirror" in told[-1]
    assert seen[-1][0] == seen[-1][1]
    assert "Å" in seen[0][2]


def test_request_to_stop__is_heard(coil, tmp_path):
    with pytest.raises(Cancelled):
        ab_initio.make_initial_volume(coil.stack, ab_initio.Params(), StageContext(tmp_path, is_cancelled=lambda: True))


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda s: replace(s, images=s.images[:9], particles=s.particles.select(np.arange(9))), "only 9 particles"),
        (lambda s: replace(s, particles=s.particles.without(["defocus_u_A"])), "no CTF"),
        (lambda s: replace(s, images=s.images[:, :20]), "images of shape"),
        (lambda s: replace(s, optics=()), "optics group"),
        (lambda s: replace(s, images=np.full_like(s.images, np.nan)), "finite"),
    ],
)
def test_what_no_map_can_come_from__is_said_at_once(coil, tmp_path, spoil, complaint):
    with pytest.raises(InvalidInput, match=complaint):
        ab_initio.make_initial_volume(spoil(coil.stack), ab_initio.Params(), StageContext(tmp_path))


@pytest.mark.parametrize("wrong", [{"symmetry": "Q7"}, {"n_steps": 1}, {"start_resolution_A": 10.0}])
def test_settings_that_cannot_be_meant__are_refused(wrong):
    with pytest.raises(InvalidInput):
        ab_initio.Params(**wrong)


def test_ranges_and_particles_that_do_not_fit_the_box__are_refused(coil, tmp_path):
    for settings in ({"offset_range_A": 20000.0}, {"particle_diameter_A": 1.0}):
        with pytest.raises(InvalidInput, match=next(iter(settings))):
            ab_initio.make_initial_volume(coil.stack, ab_initio.Params(**settings), StageContext(tmp_path))


def test_point_group__is_written_as_the_field_writes_it(coil, tmp_path):
    params = ab_initio.Params(symmetry=" c2 ", n_steps=2, n_starts=1, find_axes=False)
    volume = ab_initio.make_initial_volume(coil.stack, params, StageContext(tmp_path))
    assert volume.symmetry == "C2"
    assert "ab_initio, C2" in volume.provenance


def test_images_of_another_scale__are_left_out_of_the_map(coil, tmp_path):
    dropped = []
    images = np.array(coil.stack.images)
    images[5] *= 1e6
    context = StageContext(tmp_path, on_drop=lambda ids, reason, values, threshold: dropped.append((ids, reason)))
    params = ab_initio.Params(n_steps=2, n_starts=1)
    ab_initio.make_initial_volume(replace(coil.stack, images=images), params, context)
    assert [ids for ids, _ in dropped] == [[int(coil.stack.particles.column("particle_id")[5])]]
    assert "10 times" in dropped[0][1]
