"""Particle records → RELION 3.1's two-block STAR layout; reading is in ``star_columns``."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from cryoframe.errors import InvalidInput
from cryoframe.formats.star import StarBlock, write_star
from cryoframe.formats.star_records import Column, OpticsGroup, OpticsValue, ParticleRecords
from cryoframe.formats.star_schema import OPTICS_COLUMNS, ROW_COLUMNS, StarColumn


def particles_to_star(
    path: str | os.PathLike[str],
    records: ParticleRecords | Mapping[str, Sequence[Any] | Column],
    optics: Sequence[Mapping[str, OpticsValue]] | None = None,
    *,
    block: str = "particles",
) -> None:
    """Write RELION 3.1's layout: an optics block and one row a particle.

    Parameters
    ----------
    path
        Target, written in place.
    records
        What :func:`particles_from_star` returns, or its ``columns``; unknown names in a plain mapping are refused.
    optics
        Optics groups; default those of `records`. Each needs ``optics_group``; positions in Å need
        ``micrograph_pixel_size_A`` or ``movie_pixel_size_A``.
    block
        Name of the second block.

    Raises
    ------
    InvalidInput
        Unknown column, unequal lengths, a row of an unlisted optics group, or no pixel size to convert with.
    """
    if not isinstance(records, ParticleRecords):
        records = ParticleRecords({name: np.asarray(values) for name, values in records.items()}, [])
    groups = [dict(group) for group in (optics if optics is not None else records.optics)]
    numbers = {str(group.get("optics_group", "")): int(group.get("number", i)) for i, group in enumerate(groups, 1)}
    if len(numbers) != len(groups) or "" in numbers or len(set(numbers.values())) != len(numbers):
        raise InvalidInput("optics groups without distinct names and numbers", expected="optics_group in each")
    if not groups:
        raise InvalidInput("no optics group", expected="at least one, with voltage_kV, cs_mm, pixel_size_A, box_px")
    table = {"optics": _optics_block(groups, numbers), block: _rows_block(records, groups, numbers)}
    write_star(path, table)


def _optics_block(groups: list[OpticsGroup], numbers: dict[str, int]) -> StarBlock:
    labels = {column.name: column.label for column in OPTICS_COLUMNS}
    names = [column.name for column in OPTICS_COLUMNS if any(column.name in group for group in groups)]
    names += sorted({name for group in groups for name in group if name not in labels})
    if any("pixel_size_A" in group for group in groups) and "n_dimensions" not in names:
        names.append("n_dimensions")
    full = [{"n_dimensions": 2, **group, "number": numbers[str(group["optics_group"])]} for group in groups]
    if "number" not in names:
        names.insert(1, "number")
    for name in names:
        if any(name not in group for group in full):
            raise InvalidInput(f"optics groups with and without {name!r}", expected="the same keys in each group")
    return StarBlock({labels.get(name, name): [_text(group[name]) for group in full] for name in names})


def _rows_block(records: ParticleRecords, groups: list[OpticsGroup], numbers: dict[str, int]) -> StarBlock:
    columns = dict(records.columns)
    n = records.n_rows
    names = columns.pop("optics_group", np.array([groups[0]["optics_group"]] * n, object))
    missing = sorted({str(name) for name in names} - set(numbers))
    if missing:
        raise InvalidInput(f"rows of unlisted optics groups {missing}", expected=f"one of {sorted(numbers)}")
    columns.pop("pixel_size_A", None)
    columns.pop("box_px", None)
    out: dict[str, list[str]] = {}
    if "stack" in columns:
        stacks, indices = columns.pop("stack"), columns.pop("stack_index")
        out["rlnImageName"] = [f"{int(i) + 1:06d}@{stack}" for i, stack in zip(indices, stacks, strict=True)]
    for column in ROW_COLUMNS:
        for target in (column, replace(column, name=column.name.removesuffix("_A") + "_px", scale="")):
            if target.name in columns and (target is column or column.scale):
                values = columns.pop(target.name)
                out[column.label] = _write_column(values, target, names, groups)
    if columns:
        raise InvalidInput(f"columns {sorted(columns)} have no RELION name", remedy="Leave them out.")
    out["rlnOpticsGroup"] = [str(numbers[str(name)]) for name in names]
    out.update({label: values for label, values in records.unmapped.items() if label not in out})
    return StarBlock(out)


def _write_column(values: Column, column: StarColumn, names: Column, groups: list[OpticsGroup]) -> list[str]:
    if column.kind == "text":
        return [str(value) for value in values]
    if column.kind == "int":
        return [str(int(value) - column.offset) for value in values]
    numbers = np.asarray(values, np.float64)
    if column.scale == "micrograph_pixel":
        sizes = {
            str(g["optics_group"]): float(g.get("micrograph_pixel_size_A", g.get("movie_pixel_size_A", 0.0)))
            for g in groups
        }
        pixel = np.array([sizes[str(name)] for name in names], np.float64)
        if not (pixel > 0).all():
            raise InvalidInput(
                f"{column.name} cannot be written in pixels", expected="micrograph_pixel_size_A in each optics group"
            )
        numbers = numbers / pixel
    return [repr(value) for value in numbers.tolist()]


def _text(value: OpticsValue) -> str:
    return repr(value) if isinstance(value, float) else str(value)
