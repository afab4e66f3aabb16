"""What a stage is handed: stored products memory-mapped, raw files opened by readers, sets joined. All read-only."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryoframe.data.frames import Convention, ImageGeometry, to_plugin
from cryoframe.data.images import Micrograph, Movie, ParticleStack
from cryoframe.data.optics import Optics
from cryoframe.data.results import AtomicModel
from cryoframe.data.tables import ParticleTable
from cryoframe.errors import ContractError, Incomplete, InvalidInput, OutOfReach, Refused, Unsupported
from cryoframe.execution.executor import IDENTITY, InputRef, Job, RawFile
from cryoframe.formats import products

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from cryoframe.kernel.plugins import Plugins
    from cryoframe.kernel.stage import StageSpec

#: Beside a product: which columns of its particle table the stage set.
COLUMNS = "columns.json"
_CHUNK_IMAGES = 256


def open_inputs(job: Job, spec: StageSpec, plugins: Plugins) -> dict[str, Any]:
    """Return the stage's products by argument name, optional ones that are not there as None."""
    refs = {ref.name: ref for ref in job.inputs}
    return {
        wanted.name: _open(refs[wanted.name], Path(job.folder), plugins) if wanted.name in refs else None
        for wanted in spec.consumes
    }


def require_unchanged(job: Job) -> None:
    """Check that the user's files are those that were admitted, before they are read and after.

    Raises
    ------
    Incomplete
        If one was written to since: its content is not what the key of the result says.
    OutOfReach
        If one cannot be reached.
    """
    for file in (file for ref in job.inputs for file in ref.raw):
        try:
            stat = Path(file.path).stat()
        except OSError as error:
            raise OutOfReach(f"{file.path} is out of reach ({error.strerror})") from error
        admitted = tuple(file.facts.get(name) for name in IDENTITY)
        if None not in admitted and admitted != (stat.st_size, stat.st_mtime_ns):
            raise Incomplete(
                "the file changed after it was admitted",
                path=file.path,
                expected=f"size and modification time {admitted}",
                remedy="It is admitted anew when it is next looked at.",
            )


def in_convention(inputs: Mapping[str, Any], convention: Convention) -> dict[str, Any]:
    """Return the inputs with every particle table converted to the plugin's convention."""
    if convention == Convention():
        return dict(inputs)
    return {name: _converted(value, convention, inputs) for name, value in inputs.items()}


def geometry_of(inputs: Mapping[str, Any], convention: Convention, table: ParticleTable) -> ImageGeometry:
    """Return the image that positions refer to.

    Raises
    ------
    ContractError
        If positions of a whole set would have to be converted: each micrograph has its own frame.
    """
    for value in inputs.values():
        if isinstance(value, Micrograph):
            return ImageGeometry(value.shape_px, value.pixel_size_A)
    positions = (convention.position_unit, convention.y_axis, convention.origin)
    if positions != ("A", "down", "pixel") and any(name in table.names for name in ("x_A", "x_px")):
        raise ContractError(
            "CONVENTION asks for other positions in a stage over a set",
            expected="positions as the house writes them; shifts, defocus and angles can be converted",
        )
    sizes = [value.pixel_size_A for value in inputs.values() if isinstance(value, ParticleStack)]
    return ImageGeometry((0, 0), sizes[0] if sizes else 1.0)


def _converted(value: Any, convention: Convention, inputs: Mapping[str, Any]) -> Any:
    if isinstance(value, ParticleTable):
        return to_plugin(value, convention, geometry_of(inputs, convention, value))
    if isinstance(getattr(value, "particles", None), ParticleTable):
        table = to_plugin(value.particles, convention, geometry_of(inputs, convention, value.particles))
        return dataclasses.replace(value, particles=table)
    return value


def part_of(folder: str, field: str) -> Any:
    """Load a stored product, or the part of it that is meant."""
    if not (Path(folder) / products.MANIFEST).is_file():
        there = Path(folder).is_dir()
        raise Refused(
            "the folder holds no product" if there else "the folder is not there",
            path=folder,
            expected=f"a folder with {products.MANIFEST}, which a stage wrote",
        )
    value: Any = products.load(Path(folder))
    if isinstance(value, AtomicModel):
        value = dataclasses.replace(value, path=str(Path(folder) / value.path))
    for name in field.split(".") if field else ():
        value = getattr(value, name)
    return value


def _open(ref: InputRef, scratch: Path, plugins: Plugins) -> Any:
    if ref.raw:
        opened = [_open_raw(file, ref.kind, plugins) for file in ref.raw]
        return tuple(opened) if ref.many else opened[0]
    if ref.many:
        return tuple(part_of(folder, ref.field) for folder in ref.folders)
    if ref.kind == "ParticleStack":
        return _stack(ref, scratch)
    if ref.kind == "ParticleTable":
        return ParticleTable.concat([part_of(folder, ref.field) for folder in ref.folders])
    if len(ref.folders) != 1:
        raise InvalidInput(
            f"{len(ref.folders)} products of class {ref.kind} for one argument '{ref.name}'", expected="one"
        )
    return part_of(ref.folders[0], ref.field)


def _stack(ref: InputRef, scratch: Path) -> ParticleStack:
    """Join stacks one after the other, lay later tables over them, and keep the rows that are left."""
    import numpy as np

    stacks: list[ParticleStack] = [part_of(folder, ref.field) for folder in ref.folders]
    everything = ParticleTable.concat([stack.particles for stack in stacks])
    table = everything
    for folder, field in ref.updates:
        table = table.join(_changes(folder, field))
    first, optics = stacks[0], {group.optics_group: group for stack in stacks for group in stack.optics}
    sizes = {(stack.images.shape[1:], round(stack.pixel_size_A, 6)) for stack in stacks if len(stack.particles)}
    if len(sizes) > 1:
        raise InvalidInput(f"stacks of different boxes or pixels cannot be joined: {sorted(sizes)}")
    if len(stacks) == 1 and len(table) == len(everything):
        return dataclasses.replace(first, particles=table)
    kept = np.isin(everything.column("particle_id"), table.column("particle_id"))
    shape = next(iter(sizes))[0] if sizes else first.images.shape[1:]
    images = _gather(stacks, kept, (len(table), *shape), scratch / f"{ref.name}.images")
    return ParticleStack(images, table, first.pixel_size_A, tuple(optics.values()))


def _changes(folder: str, field: str) -> ParticleTable:
    table: ParticleTable = part_of(folder, field)
    listed = Path(folder) / COLUMNS
    names = json.loads(listed.read_text(encoding="utf-8")) if listed.is_file() else table.names
    return table.without([name for name in table.names if name not in ("particle_id", *names)])


def _gather(
    stacks: list[ParticleStack], kept: NDArray[np.bool_], shape: tuple[int, ...], path: Path
) -> NDArray[np.float32]:
    """Copy the kept images into one memory-mapped file, a few at a time."""
    import numpy as np

    if not shape[0]:
        return np.zeros(shape, dtype=np.float32)
    joined = np.memmap(path, np.float32, "w+", shape=shape)
    at = 0
    for images, chosen in _pieces(stacks, kept):
        joined[at : at + int(chosen.sum())] = images[chosen]
        at += int(chosen.sum())
    joined.flush()
    return np.memmap(path, np.float32, "r", shape=shape)


def _pieces(
    stacks: list[ParticleStack], kept: NDArray[np.bool_]
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.bool_]]]:
    start = 0
    for stack in stacks:
        for low in range(0, len(stack.particles), _CHUNK_IMAGES):
            images = stack.images[low : low + _CHUNK_IMAGES]
            yield images, kept[start + low : start + low + len(images)]
        start += len(stack.particles)


def _open_raw(file: RawFile, kind: str, plugins: Plugins) -> Movie | Micrograph:
    source = read_first(plugins, f"open_{kind.lower()}", file.path)
    pixel_size_A = file.facts.get("pixel_size_A") or source.pixel_size_A
    if not pixel_size_A:
        raise Refused("the file states no pixel size", path=file.path, remedy="Set pixel_size_A in the configuration.")
    optics = Optics(**file.facts.get("optics", {}))
    if kind == "Micrograph":
        dose = float(file.facts.get("dose_e_A2") or getattr(source, "dose_e_A2", None) or 0.0)
        return Micrograph(file.item_id, source.read(), float(pixel_size_A), dose, False, optics)
    gain = str(file.facts.get("gain", ""))
    # A side-car states the dose of the whole exposure.
    dose_per_frame = file.facts.get("dose_per_frame_e_A2") or float(file.facts.get("dose_e_A2") or 0) / source.n_frames
    return Movie(
        file.item_id,
        file.path,
        source.n_frames,
        source.shape_px,
        float(pixel_size_A),
        float(dose_per_frame),
        optics,
        read_first(plugins, "open_gain", gain) if gain else None,
        source,
    )


def read_first(plugins: Plugins, hook: str, path: str) -> Any:
    """Ask every reader offered for `hook`; the first that knows the file answers.

    Raises
    ------
    Incomplete
        If the file is empty.
    Unsupported
        If none does.
    """
    if Path(path).is_file() and not Path(path).stat().st_size:
        raise Incomplete("the file is empty", path=path)
    found = plugins.ask(hook, {"path": Path(path)})
    if found is not None:
        return found
    refused = "; ".join(f"{offer.qualified}: {why}" for offer, why in plugins.refused.items())
    what, remedy = _looks_like(Path(path), hook)
    raise Unsupported(
        f"no reader of '{hook}' knows this file{what}",
        path=path,
        remedy=refused or remedy or "`cryoframe plugins` lists the readers.",
    )


def _looks_like(path: Path, hook: str) -> tuple[str, str]:
    """Return what a file nobody reads seems to be, and what to do then."""
    if not path.is_file():
        return (", which is a directory" if path.is_dir() else ", which is no regular file"), ""
    with path.open("rb") as file:
        head = file.read(1024)
    if head[208:211] == b"MAP":
        n_sections = int.from_bytes(head[8:12], "little")
        if hook == "open_micrograph" and 1 < n_sections < 1 << 16:
            return f": an MRC file of {n_sections} sections", "A stack of frames? Give it in [movies]."
    elif head and all(byte >= 32 or byte in b"\t\n\r\f" for byte in head):
        return ": it is text", "Is it another program's list of files? Name the images themselves."
    return "", ""
