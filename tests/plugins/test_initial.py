"""make_initial_volume `from_map`: box, pixel, low-pass, provenance, refusals."""

from __future__ import annotations

import betagal
import numpy as np
import pytest

from cryoframe import StageContext
from cryoframe.errors import ConfigError
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
