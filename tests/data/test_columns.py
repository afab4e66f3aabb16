"""A column states its type, unit, frame and sign; every declared column says what it needs to say."""

from __future__ import annotations

import pytest

from cryoframe.data.columns import DTYPES, Column
from cryoframe.data.schemas import ALL_SCHEMAS, PARTICLES
from cryoframe.data.units import UNIT_SUFFIXES, unit_of
from cryoframe.data.upgrade import check_version
from cryoframe.errors import SchemaError, Unsupported

DECLARED = [(schema, column) for schema in ALL_SCHEMAS for column in schema.columns.values()]
IDS = [f"{schema.name}-{column.name}" for schema, column in DECLARED]


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("dose_e_A2", "e/Å²"),
        ("frequency_1_A", "1/Å"),
        ("b_factor_A2", "Å²"),
        ("x_A", "Å"),
        ("tilt_deg", "deg"),
        ("beam_tilt_x_mrad", "mrad"),
        ("voltage_kV", "kV"),
        ("box_px", "px"),
        ("n_particles", ""),
        ("alpha", ""),
    ],
)
def test_a_unit__is_read_from_the_longest_suffix(name: str, unit: str) -> None:
    assert unit_of(name) == unit


def test_every_suffix__is_read_back() -> None:
    assert {unit_of(f"quantity{suffix}") for suffix in UNIT_SUFFIXES} == set(UNIT_SUFFIXES.values())


def test_a_column__takes_its_unit_from_its_name_or_as_stated() -> None:
    assert Column("x_A", "float32", "Position.").unit == "Å"
    assert Column("x", "float32", "Position.", unit="furlong").unit == "furlong"


def test_a_column_of_unknown_type__is_refused() -> None:
    with pytest.raises(SchemaError, match="has type 'float16'; expected one of bool"):
        Column("x_A", "float16", "Position.")


def test_metadata__is_what_is_stated_and_nothing_empty() -> None:
    column = Column("x_A", "float32", "Position.", frame="micrograph", sign="grows")
    expected = {"doc": "Position.", "unit": "Å", "frame": "micrograph", "sign": "grows", "source": "definition"}
    assert column.metadata() == expected


@pytest.mark.parametrize(("schema", "column"), DECLARED, ids=IDS)
def test_every_declared_column__has_a_type_a_sentence_and_a_source(schema: object, column: Column) -> None:
    assert column.dtype in DTYPES
    assert column.doc.endswith(".")
    assert column.doc[0].isupper()
    assert column.source


GEOMETRIC = [
    column for column in PARTICLES.columns.values() if column.unit in ("Å", "deg") and "defocus_" not in column.name
]


@pytest.mark.parametrize("column", GEOMETRIC, ids=lambda column: column.name)
def test_every_position_shift_and_angle__says_which_way_it_counts(column: Column) -> None:
    if column.name in ("pixel_size_A", "phase_shift_deg"):
        assert column.frame or column.sign
        return
    assert column.frame
    assert column.sign or column.handedness


@pytest.mark.parametrize("schema", ALL_SCHEMAS, ids=lambda schema: schema.name)
def test_every_schema__has_distinct_columns_and_a_key_it_declares(schema: object) -> None:
    names = [column.name for group in (*schema.required, *schema.optional) for column in group]  # type: ignore[attr-defined]
    assert len(set(names)) == len(names)
    assert schema.key == "" or schema.key in names  # type: ignore[attr-defined]


def test_a_column_of_one_name__means_one_thing_everywhere() -> None:
    types: dict[str, set[str]] = {}
    for _, column in DECLARED:
        types.setdefault(column.name, set()).add(f"{column.dtype} {column.unit}")
    assert not {name: kinds for name, kinds in types.items() if len(kinds) > 1}


def test_a_group__is_found_by_name() -> None:
    assert PARTICLES.group("identity").names == ("particle_id", "micrograph_id", "optics_group", "half")
    with pytest.raises(SchemaError, match="no column group 'ident'"):
        PARTICLES.group("ident")


def test_a_version_that_is_not_ours__is_refused() -> None:
    check_version("particles/1", PARTICLES)
    with pytest.raises(Unsupported, match="table is 'particles/9'; expected particles/1"):
        check_version("particles/9", PARTICLES)
