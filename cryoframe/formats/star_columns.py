"""RELION particle and micrograph STAR files → columns in cryoframe's names and units, for RELION 1 to 5.

The tokenizer is in ``star``, the table of columns in ``star_schema``, the writer (re-exported here) in
``star_export``, motion tracks in ``star_motion``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cryoframe.errors import Corrupt, Refused, SchemaError
from cryoframe.formats.paths import split_image_name
from cryoframe.formats.star import StarBlock, read_star
from cryoframe.formats.star_export import particles_to_star
from cryoframe.formats.star_records import Column, Dialect, OpticsGroup, OpticsValue, ParticleRecords, zernike
from cryoframe.formats.star_schema import OPTICS_COLUMNS, ROW_COLUMNS, ROW_OPTICS, StarColumn

__all__ = ["ParticleRecords", "micrographs_from_star", "particles_from_star", "particles_to_star", "zernike"]

_INT_TYPES: dict[str, type[np.integer[Any]]] = {"half": np.uint8, "class_id": np.int32}
_MOST_BOX_PX = 100_000


def particles_from_star(
    path: str | os.PathLike[str],
    *,
    pixel_size_A: float | None = None,
    micrograph_pixel_size_A: float | None = None,
    require_final_newline: bool = True,
) -> ParticleRecords:
    """Read particles, or picked coordinates, of any RELION version.

    Parameters
    ----------
    path
        ``particles.star``, ``run_data.star``, ``*_autopick.star`` and the like.
    pixel_size_A, micrograph_pixel_size_A
        Pixel of the boxes and of the micrographs where the file does not state it. A 3.0 file never states the
        latter: without it positions stay in pixels, as columns ``x_px`` and ``y_px``, and ``flags`` says so.
    require_final_newline
        As in :func:`cryoframe.formats.star.read_star`.

    Returns
    -------
    ParticleRecords

    Raises
    ------
    Incomplete, Corrupt, Unsupported, Refused
        With file and line; Corrupt also for a number of an unknown optics group.
    SchemaError
        No block with particles or coordinates.
    """
    blocks = read_star(path, require_final_newline=require_final_newline)
    known: dict[str, float | None] = {"image_pixel": pixel_size_A, "micrograph_pixel": micrograph_pixel_size_A}
    return _records(blocks, ("particles", "images", ""), ("rlnImageName", "rlnCoordinateX"), known, path)


def micrographs_from_star(path: str | os.PathLike[str], *, pixel_size_A: float | None = None) -> ParticleRecords:
    """Read micrographs or movies (``micrographs_ctf.star``, ``corrected_micrographs.star``, ``movies.star``).

    Parameters
    ----------
    path
        The STAR file.
    pixel_size_A
        Pixel of the micrographs where the file does not state it.

    Returns
    -------
    ParticleRecords, one row a micrograph.
    """
    known: dict[str, float | None] = {"micrograph_pixel": pixel_size_A, "image_pixel": None}
    wanted = ("rlnMicrographName", "rlnMicrographMovieName")
    return _records(read_star(path), ("micrographs", "movies", "coordinate_files", "images", ""), wanted, known, path)


def _records(
    blocks: Mapping[str, StarBlock],
    names: Sequence[str],
    wanted: Sequence[str],
    known: dict[str, float | None],
    path: str | os.PathLike[str],
) -> ParticleRecords:
    block = _main_block(blocks, names, wanted, path)
    flags: list[str] = []
    if "optics" in blocks:
        dialect: Dialect = "3.1"
        optics = _optics_from_block(blocks["optics"])
        members = _members(block, optics)
    else:
        optics, members = _optics_from_rows(block)
        dialect = "3.0" if any(label in block for label in (*ROW_OPTICS, "rlnImageName")) else "coordinates"
    columns: dict[str, Column] = {}
    used = {"rlnOpticsGroup", *(ROW_OPTICS if "optics" not in blocks else ())}
    pixels = _pixels(optics, members, known)
    if "optics" not in blocks and pixels["image_pixel"] is not None:
        used |= {"rlnMagnification", "rlnDetectorPixelSize"}
    for column in ROW_COLUMNS:
        if column.label in block and column.name not in columns:
            columns.update(_read_column(block, column, pixels, flags))
            used.add(column.label)
    columns.update(_image_columns(block))
    _order_defocus(columns, flags)
    columns["optics_group"] = np.array([str(group["optics_group"]) for group in optics], object)[members]
    columns.update(_box_columns(optics, members, pixels, path))
    _fill_defaults(columns)
    used |= {"rlnImageName"}
    rest = {name: values for name, values in block.columns.items() if name not in used}
    return ParticleRecords(columns, optics, rest, dialect, tuple(flags))


def _main_block(
    blocks: Mapping[str, StarBlock], names: Sequence[str], wanted: Sequence[str], path: str | os.PathLike[str]
) -> StarBlock:
    for name in names:
        if name in blocks and any(label in blocks[name] for label in wanted):
            return blocks[name]
    raise SchemaError(
        f"{os.fspath(path)}: no block {' or '.join('data_' + name for name in names)} with {' or '.join(wanted)}",
        expected=f"one; the file has {', '.join('data_' + name for name in blocks) or 'none'}",
    )


def _optics_from_block(block: StarBlock) -> list[OpticsGroup]:
    groups: list[OpticsGroup] = [{} for _ in range(block.n_rows)]
    by_label = {column.label: column for column in OPTICS_COLUMNS}
    for label in block.names:
        column = by_label.get(label, StarColumn(label, label, "text"))
        values: Sequence[OpticsValue] = (
            block.strings(label)
            if column.kind == "text"
            else [int(v) for v in block.ints(label)]
            if column.kind == "int"
            else [float(v) for v in block.floats(label)]
        )
        for group, value in zip(groups, values, strict=True):
            group[column.name] = value
    for row, group in enumerate(groups):
        group.setdefault("number", row + 1)
        group.setdefault("optics_group", f"opticsGroup{group['number']}")
    return groups


def _members(block: StarBlock, optics: list[OpticsGroup]) -> NDArray[np.int64]:
    """Row number in `optics` of each particle."""
    if "rlnOpticsGroup" not in block:
        if len(optics) != 1:
            raise Corrupt(
                f"{len(optics)} optics groups, but no column rlnOpticsGroup", path=block.path, expected="the column"
            )
        return np.zeros(block.n_rows, np.int64)
    place = {int(group["number"]): row for row, group in enumerate(optics)}
    numbers = block.ints("rlnOpticsGroup")
    rows = np.array([place.get(int(number), -1) for number in numbers], np.int64)
    if (rows < 0).any():
        row = int(np.flatnonzero(rows < 0)[0])
        raise Corrupt(
            f"optics group {numbers[row]} is not in data_optics",
            path=block.path,
            where=f"line {block.line_of('rlnOpticsGroup', row)}",
            expected=f"one of {sorted(place)}",
        )
    return rows


def _optics_from_rows(block: StarBlock) -> tuple[list[OpticsGroup], NDArray[np.int64]]:
    """Group rows of a 3.0 file by their microscope settings, in order of first appearance."""
    values: dict[str, NDArray[np.float64]] = {
        name: block.floats(label) for label, name in ROW_OPTICS.items() if label in block
    }
    if "rlnMagnification" in block and "rlnDetectorPixelSize" in block:
        # Detector pixel in µm over magnification is the pixel of the image the row belongs to (RELION 3.0).
        magnification = block.floats("rlnMagnification")
        if (magnification <= 0).any():
            row = int(np.flatnonzero(magnification <= 0)[0])
            where = f"line {block.line_of('rlnMagnification', row)}"
            raise Refused(f"magnification {magnification[row]}", path=block.path, where=where, expected="above 0")
        values["pixel_size_A"] = np.round(block.floats("rlnDetectorPixelSize") * 1e4 / magnification, 9)
    if "rlnOpticsGroup" in block:
        values["number"] = block.ints("rlnOpticsGroup").astype(np.float64)
    order: dict[tuple[float, ...], int] = {}
    rows = zip(*(column.tolist() for column in values.values()), strict=True) if values else [()] * block.n_rows
    members = np.array([order.setdefault(row, len(order)) for row in rows], np.int64)
    optics: list[OpticsGroup] = []
    for number, row_values in enumerate(order or {(): 0}, 1):
        group: OpticsGroup = {"optics_group": f"opticsGroup{number}", "number": number}
        group.update({name: v for name, v in zip(values, row_values, strict=False) if name != "number"})
        optics.append(group)
    return optics, members


def _pixels(
    optics: list[OpticsGroup], members: NDArray[np.int64], known: dict[str, float | None]
) -> dict[str, NDArray[np.float64] | None]:
    """Pixel size of each row's image and micrograph, None where not stated by file or caller."""

    def rows(names: Sequence[str], given: float | None) -> NDArray[np.float64] | None:
        if given is not None:
            return np.full(len(members), given)
        sizes = [next((float(group[name]) for name in names if name in group), None) for group in optics]
        if any(size is None or not size > 0 for size in sizes):
            return None
        return np.array(sizes, np.float64)[members]

    return {
        "image_pixel": rows(("pixel_size_A",), known["image_pixel"]),
        "micrograph_pixel": rows(("micrograph_pixel_size_A", "movie_pixel_size_A"), known["micrograph_pixel"]),
    }


def _read_column(
    block: StarBlock, column: StarColumn, pixels: dict[str, NDArray[np.float64] | None], flags: list[str]
) -> dict[str, Column]:
    if column.kind == "text":
        return {column.name: np.array(block.strings(column.label), object)}
    if column.kind == "int":
        values = block.ints(column.label) + column.offset
        if column.name == "half" and not np.isin(values, (0, 1, 2)).all():
            row = int(np.flatnonzero(~np.isin(values, (0, 1, 2)))[0])
            where = f"line {block.line_of(column.label, row)}"
            raise Corrupt(f"half-set {values[row]}", path=block.path, where=where, expected="0, 1 or 2")
        kind: np.iinfo[Any] = np.iinfo(_INT_TYPES.get(column.name, np.int64))
        if len(beyond := np.flatnonzero((values < kind.min) | (values > kind.max))):
            where = f"line {block.line_of(column.label, int(beyond[0]))}"
            raise Corrupt(
                f"{column.label} is {block.strings(column.label)[int(beyond[0])]}",
                path=block.path,
                where=where,
                expected=f"≤ {kind.max}",
            )
        return {column.name: values.astype(kind.dtype)}
    numbers = block.floats(column.label, finite=column.kind != "score")
    if not column.scale:
        return {column.name: numbers}
    pixel = pixels[column.scale]
    if pixel is None:
        name = column.name.removesuffix("_A") + "_px"
        flags.append(f"{name} stays in pixels: the file does not state the {column.scale.replace('_', ' ')} size")
        return {name: numbers}
    return {column.name: numbers * pixel}


def _image_columns(block: StarBlock) -> dict[str, Column]:
    if "rlnImageName" not in block:
        return {}
    stacks, indices = [], []
    for row, text in enumerate(block.strings("rlnImageName")):
        try:
            index, stack = split_image_name(text)
        except Refused as error:
            where = f"line {block.line_of('rlnImageName', row)}"
            raise Refused(error.what, path=block.path, where=where, expected=error.expected) from None
        stacks.append(stack)
        indices.append(0 if index is None else index)
    return {"stack": np.array(stacks, object), "stack_index": np.array(indices, np.int32)}


def _box_columns(
    optics: list[OpticsGroup],
    members: NDArray[np.int64],
    pixels: dict[str, NDArray[np.float64] | None],
    path: str | os.PathLike[str],
) -> dict[str, Column]:
    columns: dict[str, Column] = {}
    if (size := pixels["image_pixel"]) is not None:
        columns["pixel_size_A"] = size
    if all("box_px" in group for group in optics):
        edges_px = [int(group["box_px"]) for group in optics]
        if any(not 0 < edge_px <= _MOST_BOX_PX for edge_px in edges_px):
            said = ", ".join(map(str, edges_px))
            raise Corrupt(f"rlnImageSize is {said}", path=path, expected=f"boxes of 1 to {_MOST_BOX_PX} pixels")
        columns["box_px"] = np.array(edges_px, np.int32)[members]
    return columns


def _fill_defaults(columns: dict[str, Column]) -> None:
    """Add what RELION takes as given where a file is silent: no astigmatism angle, no phase plate, no shift."""
    for present, silent in (
        ("defocus_u_A", ("defocus_angle_deg", "phase_shift_deg")),
        ("psi_deg", ("rot_deg", "tilt_deg", "shift_x_A", "shift_y_A")),
    ):
        if present in columns:
            for name in silent:
                columns.setdefault(name, np.zeros(len(columns[present]), dtype=np.float64))
    if "defocus_u_A" in columns:
        columns.setdefault("defocus_v_A", columns["defocus_u_A"])


def _order_defocus(columns: dict[str, Column], flags: list[str]) -> None:
    """Make U the larger defocus: swapping U and V and turning the angle by 90° names the same astigmatism."""
    if not {"defocus_u_A", "defocus_v_A", "defocus_angle_deg"} <= set(columns):
        return
    u, v, angle = (columns[name] for name in ("defocus_u_A", "defocus_v_A", "defocus_angle_deg"))
    swap = v > u
    if swap.any():
        flags.append(f"defocus U and V exchanged and the angle turned by 90° in {int(swap.sum())} rows, so that U ≥ V")
        columns["defocus_u_A"], columns["defocus_v_A"] = np.where(swap, v, u), np.where(swap, u, v)
        columns["defocus_angle_deg"] = np.where(swap, np.where(angle < 0, angle + 90, angle - 90), angle)
