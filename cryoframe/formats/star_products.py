"""RELION STAR files and MRC maps ⇄ products; what comes from outside gets its identity and half-set here."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from cryoframe.data import ids
from cryoframe.data.images import ParticleStack
from cryoframe.data.maps import Volume
from cryoframe.data.optics import Optics
from cryoframe.data.tables import ParticleTable
from cryoframe.errors import Refused
from cryoframe.formats import mrc
from cryoframe.formats.star_columns import particles_from_star, particles_to_star
from cryoframe.formats.star_records import OpticsGroup, ParticleRecords

#: Columns of a particle table that RELION has no name for.
_UNNAMED = ("particle_id", "class_probability_frac", "stack", "stack_index", "box_px", "pixel_size_A")


def stack_from_star(
    path: Path, *, images_path: Path, root: Path | None = None, pixel_size_A: float | None = None, seed: int = 0
) -> ParticleStack:
    """Read particles with their images.

    Parameters
    ----------
    path
        The STAR file.
    images_path
        A new file that the images are gathered in, `(n, box, box)` float32, memory-mapped.
    root
        Where the names of stacks start; the STAR file's folder otherwise.
    pixel_size_A
        Pixel of the boxes where the file does not state it.
    seed
        Of the half-sets, where the file states none.

    Raises
    ------
    Refused
        If stack, index or pixel size is missing, or the pixel sizes differ.
    """
    records = particles_from_star(path, pixel_size_A=pixel_size_A)
    columns = records.columns
    for name in ("stack", "stack_index", "pixel_size_A"):
        if name not in columns:
            raise Refused(f"particles without {name}", path=path, remedy="Give the pixel size, or export rlnImageName.")
    pixels = np.unique(np.round(np.asarray(columns["pixel_size_A"], dtype=float), 6))
    if len(pixels) != 1:
        raise Refused(f"particles of {len(pixels)} different pixel sizes", path=path, expected="one")
    names, groups = np.unique(columns["stack"].astype(str), return_inverse=True)
    stacks = [mrc.open_mapped(find_stack(str(name), path, root)) for name in names]
    box = stacks[0].shape[-1]
    images = np.memmap(images_path, np.float32, "w+", shape=(records.n_rows, box, box))
    for row, (group, index) in enumerate(zip(groups.tolist(), columns["stack_index"].tolist(), strict=True)):
        stack = stacks[group].reshape(-1, *stacks[group].shape[-2:])
        if stack.shape[1:] != (box, box):
            raise Refused(
                f"boxes of {stack.shape[2]} × {stack.shape[1]} px in {names[group]}, of {box} px in {names[0]}",
                path=path,
                expected="square boxes of one size",
                remedy="Extract all particles with the same box.",
            )
        if not 0 <= index < len(stack):
            raise Refused(
                f"row {row} is image {index + 1} of {names[group]}, which holds {len(stack)}",
                path=path,
                expected=f"1 to {len(stack)}",
                remedy="The table is of another stack: bring both from the same job.",
            )
        images[row] = stack[int(index)]
    return ParticleStack(images, _table(records, seed), float(pixels[0]), _optics(records))


def table_from_star(path: Path, *, pixel_size_A: float | None = None, seed: int = 0) -> ParticleTable:
    """Read particles or picks without their images; `pixel_size_A` is the micrographs' where the file states none."""
    records = particles_from_star(path, pixel_size_A=pixel_size_A, micrograph_pixel_size_A=pixel_size_A)
    if "x_px" in records.columns:
        raise Refused(
            "positions in pixels of unknown size", path=path, remedy="Give the micrographs' pixel size (--pixel-size)."
        )
    return _table(records, seed)


def volume_from_mrc(path: Path, *, pixel_size_A: float | None = None, symmetry: str = "C1") -> Volume:
    """Read a cubic map; it is marked as coming from outside.

    Raises
    ------
    Refused
        If it is not a cube, or states no pixel size and none is given.
    """
    data, header = mrc.read(path)
    if len(set(data.shape)) != 1:
        raise Refused(f"map of {data.shape} voxels", path=path, expected="a cube")
    pixel = pixel_size_A or header.require_pixel_size_A()
    return Volume(data, pixel, symmetry, f"reference-derived: {path.name}")


def find_stack(name: str, path: Path, root: Path | None = None) -> Path:
    """Return where a stack named in a STAR file lies: below `root`, else beside the file."""
    for folder in (root, path.parent):
        if folder is not None and (folder / name).is_file():
            return folder / name
    raise Refused(f"stack {name} is not found", path=path, remedy="Say where the names of stacks start (root).")


def table_to_star(
    path: Path,
    table: ParticleTable,
    optics: Sequence[Optics],
    *,
    pixel_size_A: float,
    micrograph_pixel_size_A: float | None = None,
    stack_name: str = "",
    box_px: int = 0,
) -> None:
    """Write RELION 3.1's layout.

    Parameters
    ----------
    path
        The STAR file.
    table
        Particles.
    optics
        Their optics groups; groups the table names beyond them get the first one's settings.
    pixel_size_A, box_px
        Of the boxes.
    micrograph_pixel_size_A
        Positions are written only where it is known: RELION keeps them in pixels.
    stack_name
        The image stack, in the order of the rows; without it the table's own names are written, if any.
    """
    columns = {name: table.column(name) for name in table.names if name not in _UNNAMED}
    columns["micrograph_name"] = columns.pop("micrograph_id", np.array(["unknown"] * len(table), dtype=object))
    if micrograph_pixel_size_A is None:
        columns = {name: values for name, values in columns.items() if name not in ("x_A", "y_A")}
    if "half" in columns and bool((table.floats("half") < 1).any()):
        del columns["half"]
    if stack_name:
        columns |= {"stack": np.array([stack_name] * len(table), dtype=object), "stack_index": np.arange(len(table))}
    elif {"stack", "stack_index"} <= set(table.names):
        columns |= {"stack": table.column("stack"), "stack_index": table.column("stack_index")}
    known = {group.optics_group: group for group in optics}
    default = next(iter(known.values()), Optics())
    named = sorted({str(name) for name in columns["optics_group"]}) if "optics_group" in columns else []
    groups = [
        _group(name, known.get(name, default), pixel_size_A, box_px, micrograph_pixel_size_A)
        for name in named or [default.optics_group]
    ]
    particles_to_star(path, ParticleRecords(columns, groups))


def _group(
    name: str, optics: Optics, pixel_size_A: float, box_px: int, micrograph_pixel_size_A: float | None
) -> OpticsGroup:
    group: OpticsGroup = {
        "optics_group": name,
        "voltage_kV": optics.voltage_kV,
        "cs_mm": optics.cs_mm,
        "amplitude_contrast_frac": optics.amplitude_contrast_frac,
        "beam_tilt_x_mrad": optics.beam_tilt_x_mrad,
        "beam_tilt_y_mrad": optics.beam_tilt_y_mrad,
    }
    if box_px:
        group |= {"pixel_size_A": pixel_size_A, "box_px": box_px}
    if micrograph_pixel_size_A is not None:
        group["micrograph_pixel_size_A"] = micrograph_pixel_size_A
    return group


def _optics(records: ParticleRecords) -> tuple[Optics, ...]:
    known = {field.name for field in dataclasses.fields(Optics)}
    return tuple(
        Optics(**{name: value for name, value in group.items() if name in known})  # type: ignore[arg-type]
        for group in records.optics
    )


def _table(records: ParticleRecords, seed: int) -> ParticleTable:
    """Give rows identity and half-set as picks get them: from micrograph and position, or from stack and index."""
    n, given = records.n_rows, dict(records.columns)
    nameless = np.array(["unknown"] * n, dtype=object)
    stacks = given.get("stack", nameless)
    micrographs = [str(name) for name in given.pop("micrograph_name", stacks)]
    index = given.get("stack_index", np.arange(n))
    x_A, y_A = (np.asarray(given.get(name, index), dtype=float) for name in ("x_A", "y_A"))
    places = [f"{name}|{stack}|{at}" for name, stack, at in zip(micrographs, stacks, index, strict=True)]
    identity = [ids.particle_id(place, x, y, "input") for place, x, y in zip(places, x_A, y_A, strict=True)]
    assigned = np.array([ids.half_of(name, seed) for name in micrographs], dtype=np.int64)
    half = np.asarray(given.pop("half", assigned), dtype=np.int64)
    owned: dict[str, ArrayLike] = {
        "particle_id": np.array(identity, dtype=np.uint64),
        "micrograph_id": micrographs,
        "optics_group": [str(name) for name in given["optics_group"]],
        "half": np.where(half > 0, half, assigned).astype(np.uint8),
    }
    declared = ParticleTable.schema.columns
    rest = {
        name: np.asarray(values).astype(declared[name].dtype) if declared[name].dtype != "string" else values
        for name, values in given.items()
        if name in declared and name not in owned
    }
    return ParticleTable.from_columns({**owned, **rest})
