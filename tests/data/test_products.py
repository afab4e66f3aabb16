"""Products are frozen values; the catalogue knows them all by name; movies hand out frames one by one."""

from __future__ import annotations

import dataclasses
from contextlib import nullcontext

import numpy as np
import pytest

from cryoframe.data import catalogue
from cryoframe.data.images import FrameSource, Micrograph, Movie, ParticleStack
from cryoframe.data.maps import Volume
from cryoframe.data.optics import GainReference, Optics
from cryoframe.data.tables import FscTable, ParticleTable
from cryoframe.errors import InvalidInput, SchemaError
from cryoframe.kernel.stage import stage_specs


class Ramp:
    n_frames, shape_px, pixel_size_A = 3, (2, 4), 1.0

    def read_frame(self, index: int) -> np.ndarray:
        return np.full(self.shape_px, float(index), dtype=np.float32)


def movie(**changes: object) -> Movie:
    return dataclasses.replace(Movie("m", "m.mrc", 3, (2, 4), 1.0, 1.5), **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("cls", catalogue.PRODUCTS, ids=lambda cls: cls.__name__)
def test_every_product__is_found_by_its_name_and_cannot_be_changed(cls: type) -> None:
    assert catalogue.product_class(cls.__name__) is cls
    if cls is not ParticleTable:
        assert cls.__dataclass_params__.frozen  # type: ignore[attr-defined]


def test_an_unknown_product__is_refused_with_the_nearest() -> None:
    with pytest.raises(SchemaError, match="no product is called 'Volum' — did you mean 'Volume'"):
        catalogue.product_class("Volum")


def test_everything_a_stage_eats_or_makes__is_a_product_or_a_plain_value() -> None:
    kinds = {spec.produces for spec in stage_specs().values()}
    kinds |= {part.kind for spec in stage_specs().values() for part in spec.consumes}
    assert kinds <= {*catalogue.PRODUCTS, Optics, str}


def test_frames__come_one_by_one_times_the_gain() -> None:
    gain = GainReference(np.full((2, 4), 2.0, dtype=np.float32))
    assert [float(frame.mean()) for frame in movie(source=Ramp()).frames()] == [0.0, 1.0, 2.0]
    assert [float(frame.mean()) for frame in movie(source=Ramp(), gain=gain).frames()] == [0.0, 2.0, 4.0]
    assert isinstance(Ramp(), FrameSource)


def test_a_movie_without_a_reader__says_how_to_open_it() -> None:
    with pytest.raises(InvalidInput, match=r"no reader attached\. Open it"):
        next(movie().frames())


def test_the_reader__is_no_part_of_a_movies_identity() -> None:
    assert movie(source=Ramp()) == movie()
    assert "Ramp" not in repr(movie(source=Ramp()))


def test_optics__are_found_by_group_and_missing_ones_named() -> None:
    stack = ParticleStack(np.zeros((0, 4, 4), np.float32), ParticleTable.empty(), 1.0, (Optics(optics_group="a"),))
    assert stack.optics_of("a").voltage_kV == 300.0
    with pytest.raises(InvalidInput, match="optics group 'b' is not in the stack; expected a"):
        stack.optics_of("b")


def _boxed(m: int = 12, pixels_A: object = 1.0, **ctf: object) -> ParticleStack:
    columns = {"particle_id": np.arange(m, dtype=np.uint64), "pixel_size_A": np.full(m, pixels_A, np.float32)}
    names = ("defocus_u_A", "defocus_v_A", "defocus_angle_deg", "phase_shift_deg")
    columns |= {name: np.zeros(m, np.float32) for name in names} if not ctf.get("without_ctf") else {}
    return ParticleStack(np.zeros((m, 4, 4), np.float32), ParticleTable.from_columns(columns), 1.0)


def _without_number(name: str) -> ParticleStack:
    stack = _boxed()
    values = np.zeros(12, np.float32)
    values[3] = np.nan
    return dataclasses.replace(stack, particles=stack.particles.with_columns({name: values}))


def test_images_free_of_ctf_effects__need_no_finite_defocus() -> None:
    _without_number("defocus_u_A").require("classify", ctf=False)


def test_a_stack_that_can_be_averaged__is_let_pass() -> None:
    _boxed().require("classify")
    _boxed(without_ctf=True).require("classify", ctf=False)


@pytest.mark.parametrize(
    ("stack", "said"),
    [
        (_boxed(9), "only 9 particles to classify; expected a stack of at least 10"),
        (_boxed(0), "no particles to classify"),
        (dataclasses.replace(_boxed(), images=np.zeros((12, 4, 5), np.float32)), r"expected \(12, n, n\)"),
        (dataclasses.replace(_boxed(), images=np.zeros((11, 4, 4), np.float32)), "for 12 particles"),
        (_boxed(without_ctf=True), "the particles have no CTF"),
        (_boxed(pixels_A=[1.0] * 11 + [1.1]), "pixels from 1.0000 to 1.1000 Å in one stack"),
        (_boxed(pixels_A=[1.0] * 11 + [np.nan]), "in one stack"),
        (_boxed(pixels_A=1.1), "particles with pixels of 1.1000 Å in a stack of 1.0000 Å"),
        (dataclasses.replace(_boxed(), pixel_size_A=0.0), "pixels of 0.0 Å"),
        (dataclasses.replace(_boxed(), pixel_size_A=-1.0), "pixels of -1.0 Å"),
        (dataclasses.replace(_boxed(), pixel_size_A=float("nan")), "pixels of nan Å"),
        (_without_number("defocus_v_A"), "1 of 12 particles have no finite defocus_v_A, the first in row 3"),
        (_without_number("phase_shift_deg"), "no finite phase_shift_deg"),
    ],
    ids=[
        "few",
        "none",
        "not_square",
        "count",
        "no_ctf",
        "mixed_pixels",
        "pixel_of_one_unknown",
        "other_pixel",
        "pixel_zero",
        "pixel_negative",
        "pixel_nan",
        "defocus_nan",
        "phase_nan",
    ],
)
def test_a_stack_no_average_can_come_from__is_refused(stack: ParticleStack, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        stack.require("classify")


@pytest.mark.parametrize(
    ("edge", "pixel_A", "grey", "said"),
    [
        (4, 1.0, 1.0, ""),
        (6, 1.0, 1.0, r"reference of \(6, 6, 6\) voxels of 1.0000 Å for images of 4 px"),
        (4, 1.01, 1.0, "expected the same box and pixel"),
        (4, 1.0, 0.0, "the reference is empty or not finite"),
        (4, 1.0, np.nan, "the reference is empty or not finite"),
    ],
)
def test_a_reference__must_be_like_the_stack(edge: int, pixel_A: float, grey: float, said: str) -> None:
    reference = Volume(np.full((edge,) * 3, grey, np.float32), pixel_A)
    with pytest.raises(InvalidInput, match=said) if said else nullcontext():
        _boxed().require_like(reference)


def test_shells_of_a_transform__count_mates_once_and_leave_no_curve_to_guess() -> None:
    table = FscTable.of_shells([0.0, 0.1], [1.0, 18.0], fsc_unmasked=[1.0, 0.5])
    assert table.column("n_voxels").tolist() == [0, 9]
    assert table.floats("fsc_unmasked").tolist() == [1.0, 0.5]
    assert np.isnan(table.floats("fsc_masked")).all()
    assert np.isnan(table.floats("fsc_corrected")).all()


def test_a_curve_that_was_not_computed__has_no_resolution() -> None:
    table = FscTable.of_shells([0.0, 0.1, 0.2], [1.0, 18.0, 60.0], fsc_unmasked=[1.0, 0.9, 0.8])
    assert table.resolution_A() == pytest.approx(5.0)
    with pytest.raises(SchemaError, match="no values of fsc_corrected"):
        table.resolution_A(curve="fsc_corrected")


def test_a_shell_without_a_value__ends_the_resolution() -> None:
    table = FscTable.of_shells([0.0, 0.1, 0.2, 0.4], [1.0, 18.0, 60.0, 200.0], fsc_unmasked=[1.0, 0.9, np.nan, 0.9])
    assert table.resolution_A() == pytest.approx(5.0)


def test_a_micrograph__has_the_shape_of_its_image() -> None:
    assert Micrograph("m", np.zeros((3, 5), np.float32), 1.0).shape_px == (3, 5)
