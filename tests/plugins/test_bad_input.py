"""What is no micrograph is refused by every shipped stage over one, with what was expected and what to do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import cryoframe
from cryoframe.errors import InvalidInput
from cryoframe.kernel.discovery import scan
from cryoframe.testing.conformance import Kit
from cryoframe.testing.fakes import Listener

HOOKS = ("estimate_ctf", "clean_micrograph", "pick_particles", "extract_particles")
STAGES = sorted(
    (offer.hook, offer.name) for offer in scan() if offer.hook in HOOKS and offer.distribution == "cryoframe"
)


def spoilt(image, value):
    data = image.copy()
    data[5, 7] = value
    return data


#: name → what is done to a micrograph, and what the error says.
BAD = {
    "one pixel is NaN": (lambda m: replace(m, data=spoilt(m.data, np.nan)), "not finite"),
    "one pixel is infinite": (lambda m: replace(m, data=spoilt(m.data, np.inf)), "not finite"),
    "one pixel is infinitely dark": (lambda m: replace(m, data=spoilt(m.data, -np.inf)), "not finite"),
    "every pixel is NaN": (lambda m: replace(m, data=np.full_like(m.data, np.nan)), "not finite"),
    "half is saturated": (lambda m: replace(m, data=np.minimum(m.data, np.median(m.data))), "largest value"),
    "constant": (lambda m: replace(m, data=np.full_like(m.data, 7.0)), "every pixel"),
    "pixel size 0": (lambda m: replace(m, pixel_size_A=0.0), "pixel of 0"),
    "negative pixel size": (lambda m: replace(m, pixel_size_A=-1.2), "pixel of -1.2"),
    "pixel size NaN": (lambda m: replace(m, pixel_size_A=float("nan")), "pixel of nan"),
    "infinite pixel size": (lambda m: replace(m, pixel_size_A=float("inf")), "pixel of inf"),
    "8 by 8": (lambda m: replace(m, data=m.data[:8, :8].copy()), r"\(8, 8\)|8 × 8"),
    "one row": (lambda m: replace(m, data=m.data[:1].copy()), "shape"),
    "no rows": (lambda m: replace(m, data=m.data[:0].copy()), "shape"),
    "two images": (lambda m: replace(m, data=np.stack([m.data, m.data])), "shape"),
}


@pytest.fixture(scope="module", params=STAGES, ids=lambda stage: "-".join(stage))
def session(request, tmp_path_factory):
    hook, name = request.param
    return Kit(hook, name, tmp_path_factory.mktemp("bad-input")).session


def test_every_shipped_stage_over_a_micrograph__is_in_the_table():
    assert {hook for hook, _ in STAGES} == set(HOOKS)
    assert len(STAGES) >= 6


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_micrograph__is_refused_with_what_was_expected_and_a_remedy(session, name):
    spoil, says = BAD[name]
    inputs = session.inputs()
    with pytest.raises(InvalidInput, match=says) as refused:
        session.call(inputs={**inputs, "micrograph": spoil(inputs["micrograph"])})
    assert refused.value.remedy or refused.value.expected


def test_a_micrograph_without_dose__is_worked_on_as_one_with_it(session):
    inputs = session.inputs()
    without = session.call(inputs={**inputs, "micrograph": replace(inputs["micrograph"], dose_e_A2=0.0)})
    with_dose = session.nominal().result
    assert type(without) is type(with_dose)
    if isinstance(without, cryoframe.CtfFit):
        assert without.defocus_u_A == with_dose.defocus_u_A
    elif isinstance(without, cryoframe.ParticleTable):
        assert np.array_equal(without.column("x_A"), with_dose.column("x_A"))


def test_a_particle_without_a_place__is_dropped_and_said_so(tmp_path: Path):
    session = Kit("extract_particles", "box", tmp_path).session
    inputs = session.inputs()
    x_A = np.array(inputs["particles"].column("x_A"))
    x_A[3] = np.nan
    lost = inputs["particles"].with_columns({"x_A": x_A})
    listener = Listener()
    stack = session.call(inputs={**inputs, "particles": lost}, listener=listener)
    lost_id = int(lost.column("particle_id")[3])
    assert listener.dropped == [lost_id]
    assert lost_id not in stack.particles.column("particle_id").tolist()
    assert len(stack.images) == len(lost) - 1
