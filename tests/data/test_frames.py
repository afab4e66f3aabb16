"""Conventions: known positions by hand, and every convention there and back."""

from __future__ import annotations

import itertools

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from cryoframe.data.frames import CHOICES, Convention, ImageGeometry, foreign_columns, from_plugin, to_plugin
from cryoframe.data.tables import ParticleTable
from cryoframe.errors import ContractError, SchemaError

GEOMETRY = ImageGeometry((300, 420), 2.0)
conventions = st.builds(Convention, **{name: st.sampled_from(values) for name, values in CHOICES.items()})


def table(**columns: list[float]) -> ParticleTable:
    return ParticleTable.from_columns({name: np.array(values, np.float32) for name, values in columns.items()})


def full(n: int, seed: int) -> ParticleTable:
    rng = np.random.default_rng(seed)
    names = ("x_A", "y_A", "shift_x_A", "shift_y_A", "defocus_u_A", "defocus_v_A", "defocus_angle_deg",
             "phase_shift_deg", "rot_deg", "tilt_deg", "psi_deg", "figure_of_merit")  # fmt: skip
    columns = {name: rng.uniform(1.0, 170.0, n).astype(np.float32) for name in names}
    return ParticleTable.from_columns({"particle_id": np.arange(n, dtype=np.uint64), **columns})


@pytest.mark.parametrize(
    ("convention", "x", "y"),
    [
        # the pixel in column 10, row 20, of an image of 300 rows and 420 columns, 2 Å a pixel
        (Convention(), 20.0, 40.0),
        (Convention(position_unit="px"), 10.0, 20.0),
        (Convention(position_unit="px", origin="corner"), 10.5, 20.5),
        (Convention(position_unit="px", y_axis="up"), 10.0, 279.0),
        (Convention(position_unit="px", y_axis="up", origin="corner"), 10.5, 279.5),
        (Convention(position_unit="px", origin="centre"), -200.0, -130.0),
        (Convention(position_unit="px", origin="centre", y_axis="up"), -200.0, 130.0),
        (Convention(origin="corner"), 21.0, 41.0),
    ],
)
def test_a_pixel__has_the_coordinates_each_convention_gives_it(convention: Convention, x: float, y: float) -> None:
    theirs = to_plugin(table(x_A=[20.0], y_A=[40.0]), convention, GEOMETRY)
    unit = convention.position_unit
    assert theirs.floats(f"x_{unit}")[0] == pytest.approx(x)
    assert theirs.floats(f"y_{unit}")[0] == pytest.approx(y)


def test_shifts__turn_sign_and_unit() -> None:
    theirs = to_plugin(table(shift_x_A=[3.0], shift_y_A=[-4.0]), Convention(shift_sign="of_particle"), GEOMETRY)
    assert (theirs.floats("shift_x_A")[0], theirs.floats("shift_y_A")[0]) == (-3.0, 4.0)
    pixels = to_plugin(table(shift_x_A=[3.0], shift_y_A=[-4.0]), Convention(shift_unit="px"), GEOMETRY)
    assert (pixels.floats("shift_x_px")[0], pixels.floats("shift_y_px")[0]) == (1.5, -2.0)


def test_defocus__turns_sign_and_unit() -> None:
    ours = table(defocus_u_A=[15000.0], defocus_v_A=[14000.0])
    theirs = to_plugin(ours, Convention(defocus_unit="um", defocus_sign="underfocus_negative"), GEOMETRY)
    assert theirs.floats("defocus_u_um")[0] == pytest.approx(-1.5)
    assert theirs.floats("defocus_v_um")[0] == pytest.approx(-1.4)


def test_angles__turn_unit_and_sense() -> None:
    ours = table(rot_deg=[10.0], tilt_deg=[20.0], psi_deg=[30.0])
    theirs = to_plugin(ours, Convention(angle_unit="rad", euler_sense="inverse"), GEOMETRY)
    found = [np.degrees(theirs.floats(name)[0]) for name in ("rot_rad", "tilt_rad", "psi_rad")]
    assert found == pytest.approx([-30.0, -20.0, -10.0])


def test_the_inverse_sense__is_the_transposed_rotation() -> None:
    from cryoframe.numerics.rotations import euler_to_matrix

    ours = table(rot_deg=[11.0], tilt_deg=[52.0], psi_deg=[-73.0])
    theirs = to_plugin(ours, Convention(euler_sense="inverse"), GEOMETRY)
    a, b = (
        euler_to_matrix(*(t.floats(name)[0] for name in ("rot_deg", "tilt_deg", "psi_deg"))) for t in (ours, theirs)
    )
    assert np.allclose(a.T, b, atol=1e-6)


@hypothesis.given(conventions, st.integers(0, 2**32 - 1), st.integers(1, 500), st.integers(1, 500))
def test_every_convention__there_and_back_is_where_one_was(convention: Convention, seed: int, ny: int, nx: int) -> None:
    geometry = ImageGeometry((ny, nx), 1.37)
    ours = full(5, seed)
    back = from_plugin(to_plugin(ours, convention, geometry), convention, geometry)
    assert set(back.names) == set(ours.names)
    assert back.column("particle_id").tolist() == ours.column("particle_id").tolist()
    for name in ours.names[1:]:
        assert np.allclose(back.floats(name), ours.floats(name), rtol=1e-5, atol=2e-3), name


def test_all_positions_conventions__map_the_same_pixel_to_the_same_angstrom() -> None:
    for unit, y_axis, origin in itertools.product(*(CHOICES[name] for name in ("position_unit", "y_axis", "origin"))):
        convention = Convention(position_unit=unit, y_axis=y_axis, origin=origin)
        theirs = to_plugin(table(x_A=[33.0], y_A=[77.0]), convention, GEOMETRY)
        back = from_plugin(theirs, convention, GEOMETRY)
        assert (back.floats("x_A")[0], back.floats("y_A")[0]) == pytest.approx((33.0, 77.0), abs=1e-4)


def test_the_houses_own_convention__changes_nothing() -> None:
    ours = full(3, 1)
    assert to_plugin(ours, Convention(), GEOMETRY) is ours
    assert foreign_columns(Convention()) == ()


def test_a_plugin_may_write_its_own_columns__and_get_them_converted() -> None:
    convention = Convention(position_unit="px", origin="corner", y_axis="down")
    theirs = convention.particles(x_px=np.float32([10.5]), y_px=np.float32([20.5]), figure_of_merit=np.float32([1.0]))
    home = from_plugin(theirs, convention, GEOMETRY)
    assert (home.floats("x_A")[0], home.floats("y_A")[0]) == (20.0, 40.0)
    assert "x_px" not in home.names


def test_a_word_that_is_no_choice__is_refused() -> None:
    with pytest.raises(ContractError, match=r"CONVENTION\.origin is 'middle'; expected one of \('pixel', 'corner'"):
        Convention(origin="middle")


def test_an_undeclared_foreign_column__is_refused() -> None:
    with pytest.raises(SchemaError, match="no column 'x_px'"):
        table(x_px=[1.0])


def test_a_table_without_positions__has_nothing_to_convert() -> None:
    ours = ParticleTable.from_columns({"particle_id": [1, 2]})
    assert to_plugin(ours, Convention(position_unit="px"), GEOMETRY) == ours
