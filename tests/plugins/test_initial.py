"""make_initial_volume `from_map`: box, pixel, low-pass, provenance, refusals, doubts of its pixel and its axes."""

from __future__ import annotations

from dataclasses import replace

import betagal
import numpy as np
import pytest
import scipy.ndimage

from cryoframe import StageContext
from cryoframe.errors import ConfigError, InvalidInput
from cryoframe.formats import mrc
from cryoframe.numerics import fourier, radial
from cryoframe.testing import phantoms
from cryoframe_initial import from_map


def test_real_map__comes_in_the_particles_box_low_passed(shared_data, tmp_path):
    stack = betagal.particles(shared_data, tmp_path)
    params = from_map.Params(path=shared_data / betagal.MAP, pixel_size_A=3.54, symmetry="D2")
    volume = from_map.make_initial_volume(stack, params, StageContext(tmp_path))
    assert volume.data.shape == (64, 64, 64)
    assert volume.data.dtype == np.float32
    assert volume.pixel_size_A == pytest.approx(3.54)
    assert volume.symmetry == "D2"
    assert volume.provenance.startswith("reference-derived: betaGal_NGL.mrc")
    power = radial.radial_average(np.abs(fourier.fft3_centred(volume.data)) ** 2)
    ring = 64 * 3.54 / 30.0
    assert power[int(ring) + 3 :].max() < 1e-6 * power[1]
    # The map is D2: half a turn about z leaves it as it is.
    turned = volume.data[:, 1:, 1:][:, ::-1, ::-1]
    assert np.corrcoef(turned.ravel(), volume.data[:, 1:, 1:].ravel())[0, 1] > 0.99


def test_map_of_another_voxel__is_brought_to_the_stacks(tmp_path):
    stack = phantoms.particles(2).stack
    fine = phantoms.molecule(48, phantoms.PIXEL_A / 1.5)
    mrc.write(tmp_path / "fine.mrc", fine.data, pixel_size_A=fine.pixel_size_A)
    volume = from_map.make_initial_volume(
        stack, from_map.Params(path=tmp_path / "fine.mrc", low_pass_A=20.0), StageContext(tmp_path)
    )
    same = from_map.filter_pass(phantoms.molecule().data, pixel_size_A=phantoms.PIXEL_A, n_dims=3, low_pass_A=20.0)
    assert volume.data.shape == same.shape
    assert np.corrcoef(volume.data.ravel(), same.ravel())[0, 1] > 0.995


def test_missing_path__is_asked_for(tmp_path):
    with pytest.raises(ConfigError, match="path"):
        from_map.make_initial_volume(phantoms.particles(2).stack, from_map.Params(), StageContext(tmp_path))


def given(tmp_path, data, *, pixel_size_A=phantoms.PIXEL_A, is_stack=False, stack=None, **params):
    lines, metrics = [], {}
    context = StageContext(
        tmp_path, on_log=lines.append, on_metric=lambda name, value, unit: metrics.__setitem__(name, value)
    )
    mrc.write(tmp_path / "map.mrc", data.astype(np.float32), pixel_size_A=pixel_size_A, is_stack=is_stack)
    settings = from_map.Params(path=tmp_path / "map.mrc", **params)
    volume = from_map.make_initial_volume(stack or phantoms.particles(2).stack, settings, context)
    return volume, " ".join(lines), metrics


@pytest.mark.parametrize("group", ["X", "D0", "C1000", "", "c 2", "O1"])
def test_unknown_point_group__is_refused_before_the_map_is_read(group):
    with pytest.raises(InvalidInput, match="unknown point group"):
        from_map.Params(symmetry=group)


@pytest.mark.parametrize("spoil", [lambda d: 0.0 * d, lambda d: 0.0 * d + 3.0, lambda d: np.where(d > 1, np.nan, d)])
def test_map_of_nothing__is_refused(tmp_path, spoil):
    with pytest.raises(InvalidInput, match="empty or not finite"):
        given(tmp_path, spoil(phantoms.molecule().data))


def test_stack_of_images__is_not_taken_for_a_map(tmp_path):
    with pytest.raises(InvalidInput, match="is a stack of 32 images"):
        given(tmp_path, phantoms.molecule().data, is_stack=True)


def test_particles_of_no_pixel__are_refused(tmp_path):
    with pytest.raises(InvalidInput, match=r"pixels of 0.0 Å"):
        given(tmp_path, phantoms.molecule().data, stack=replace(phantoms.particles(2).stack, pixel_size_A=0.0))


@pytest.mark.parametrize(("pixel_size_A", "doubted"), [(4.0, False), (0.5, True), (40.0, True)])
def test_map_much_smaller_or_larger_than_the_box__makes_its_pixel_doubted(tmp_path, pixel_size_A, doubted):
    said = given(tmp_path, phantoms.molecule().data, pixel_size_A=pixel_size_A)[1]
    assert ("pixel sizes may be wrong" in said) == doubted


def test_what_was_done__is_said_and_written_as_it_is_read(tmp_path):
    volume = given(tmp_path, phantoms.molecule().data, low_pass_A=0.0, symmetry=" c2 ")[0]
    assert volume.provenance == "reference-derived: map.mrc low-passed to 8 Å"
    assert volume.symmetry == "C2"


def test_map_off_the_axes_of_its_group__raises_the_alarm(shared_data, tmp_path):
    known = betagal.published_map(shared_data, 64, 3.54)
    stack = replace(
        phantoms.particles(0).stack, images=np.zeros((0, 64, 64), np.float32), pixel_size_A=known.pixel_size_A
    )
    turned = scipy.ndimage.rotate(known.data, 10.0, axes=(0, 1), reshape=False, order=1)
    agreement = {}
    for name, data in (("on", known.data), ("turned", turned), ("moved", np.roll(known.data, 3, axis=0))):
        _, said, metrics = given(tmp_path, data, pixel_size_A=3.54, stack=stack, symmetry="D2")
        agreement[name] = metrics["symmetry_correlation_frac"]
        assert ("turn and move it" in said) == (name != "on")
    assert agreement["on"] > 0.995
    assert max(agreement["turned"], agreement["moved"]) < 0.95
