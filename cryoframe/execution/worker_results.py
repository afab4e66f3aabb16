"""What a stage returned, judged before it is saved: class, shape, schema, finiteness, identities, half-sets."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryoframe.data.frames import Convention, ImageGeometry, from_plugin
from cryoframe.data.ids import half_of, particle_id
from cryoframe.data.images import CtfFit, Micrograph, MicrographVerdict, Movie, ParticleStack
from cryoframe.data.maps import Volume
from cryoframe.data.results import AtomicModel
from cryoframe.data.tables import ParticleTable, Table
from cryoframe.errors import ContractError, HalfSetError, SchemaError
from cryoframe.execution.worker_inputs import COLUMNS, geometry_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    from cryoframe.execution.executor import Job
    from cryoframe.kernel.plugins import Plugin
    from cryoframe.kernel.stage import StageSpec

DROPPED = "dropped.json"
DERIVED = "reference-derived"
_OWNED = ("half", "micrograph_id", "optics_group")
_NDIM = {
    ("Micrograph", "data"): 2, ("ParticleStack", "images"): 3, ("Classes2D", "averages"): 3, ("Volume", "data"): 3,
    ("Mask", "data"): 3, ("LocalResolution", "data"): 3, ("GainReference", "data"): 2,
    ("MicrographVerdict", "usable"): 2,
}  # fmt: skip


@dataclass
class Notes:
    """What is written beside the product: particles that were dropped, and the columns the stage set."""

    dropped: list[dict[str, Any]] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)

    def drop(self, ids: Sequence[int], reason: str, values: Sequence[float], threshold: float | None) -> None:
        """Keep what a stage said of particles it leaves out."""
        kept = [int(item) for item in ids]
        entry = {"particle_id": kept, "reason": reason, "value": [float(v) for v in values], "threshold": threshold}
        self.dropped.append(entry)

    def write(self, folder: Path, work: Path, product: object) -> list[Path]:
        """Write the notes, and move a file the product names out of the stage's private folder."""
        written = []
        for name, content in ((DROPPED, self.dropped), (COLUMNS, self.columns)):
            if content:
                written.append(folder / name)
                written[-1].write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        if isinstance(product, AtomicModel):
            if not (work / product.path).is_file():
                raise ContractError(f"file {product.path} is not in ctx.workdir", expected="the file the product names")
            written.append(folder / product.path)
            shutil.copyfile(work / product.path, written[-1])
        return written


def accept(
    value: object, job: Job, spec: StageSpec, *, inputs: Mapping[str, Any], plugin: Plugin, params: object, notes: Notes
) -> tuple[Any, Notes]:
    """Return the product as it will be stored: in the house's convention, with the kernel's own columns.

    Raises
    ------
    ContractError, SchemaError, HalfSetError
        If the result is not what the hookspec promises.
    """
    if type(value) is not spec.produces:
        raise ContractError(f"{job.offer.name} returned a {type(value).__name__}", expected=spec.produces.__name__)
    product: Any = value
    if isinstance(product, ParticleTable):
        base = _base(inputs)
        table = _at_home(product, plugin.convention, inputs)
        product = _picks(table, job, inputs, params, notes) if base is None else _updated(table, base, job, notes)
    elif isinstance(getattr(product, "particles", None), ParticleTable):
        table = _at_home(product.particles, plugin.convention, inputs)
        table = _updated(table, _base(inputs), job, notes, ordered=isinstance(product, ParticleStack))
        product = dataclasses.replace(product, particles=table)
    product = _identified(product, job, inputs)
    product = _labelled(product, any(_derived(item) for item in inputs.values()))
    check(product, spec.produces.__name__)
    if isinstance(product, ParticleStack) and len(product.images) != len(product.particles):
        raise ContractError(f"{len(product.images)} images for {len(product.particles)} rows")
    return product, notes


def _at_home(table: ParticleTable, convention: Convention, inputs: Mapping[str, Any]) -> ParticleTable:
    if convention == Convention():
        return table
    return from_plugin(table, convention, geometry_of(inputs, convention, table))


def _base(inputs: Mapping[str, Any]) -> ParticleTable | None:
    """Return the particles that were handed in: the table that is the argument, else that of a stack or of classes."""
    for value in inputs.values():
        if isinstance(value, ParticleTable):
            return value
    tables = (getattr(value, "particles", None) for value in inputs.values())
    return next((table for table in tables if isinstance(table, ParticleTable)), None)


# -- picks -------------------------------------------------------------------------------------------------------
def _picks(table: ParticleTable, job: Job, inputs: Mapping[str, Any], params: object, notes: Notes) -> ParticleTable:
    """Give picks their identity, micrograph, optics group and half-set: the kernel's columns, nobody else's."""
    import numpy as np

    micrograph = next(value for value in inputs.values() if isinstance(value, Micrograph))
    for name in ("x_A", "y_A", "figure_of_merit"):
        if name not in table.names:
            raise SchemaError(f"{job.offer.name} returned no column '{name}'", expected="x_A, y_A, figure_of_merit")
    if owned := [name for name in ("particle_id", *_OWNED) if name in table.names]:
        error = HalfSetError if "half" in owned else ContractError
        raise error(
            f"{job.offer.name} returned {', '.join(owned)}", expected="columns that only the kernel sets absent"
        )
    x_A, y_A = table.floats("x_A"), table.floats("y_A")
    _inside(x_A, y_A, ImageGeometry(micrograph.shape_px, micrograph.pixel_size_A))
    # What the picker promises: a distance it works out from other parameters, or the one that was set.
    promised_A = getattr(params, "least_distance_A", 0.0) or getattr(params, "min_distance_A", 0.0)
    _apart(x_A, y_A, float(promised_A or 0.0))
    n = len(table)
    ids = [particle_id(job.item_digest, x, y, job.offer.name) for x, y in zip(x_A.tolist(), y_A.tolist(), strict=True)]
    _different(job.offer.name, ids, x_A, y_A)
    owned_columns: dict[str, ArrayLike] = {
        "particle_id": np.array(ids, dtype=np.uint64),
        "micrograph_id": [job.item_id] * n,
        "optics_group": [micrograph.optics.optics_group] * n,
        "half": np.full(n, half_of(job.item_digest, job.seed), dtype=np.uint8),
    }
    notes.columns = list(table.names)
    house = ParticleTable.from_columns(owned_columns)
    return house.with_columns({name: table.column(name) for name in table.names})


def _inside(x_A: NDArray[np.float64], y_A: NDArray[np.float64], image: ImageGeometry) -> None:
    pixel, (ny, nx) = image.pixel_size_A, image.shape_px
    outside = ~((x_A >= -pixel) & (x_A <= nx * pixel) & (y_A >= -pixel) & (y_A <= ny * pixel))
    if bool(outside.any()):
        at = int(outside.argmax())
        raise ContractError(
            f"{int(outside.sum())} of {len(x_A)} picks lie outside the micrograph, one at ({x_A[at]}, {y_A[at]}) Å",
            expected=f"0 to {nx * pixel:.1f} and 0 to {ny * pixel:.1f} Å",
            remedy="Return Å from the centre of the first pixel, or declare a CONVENTION.",
        )


def _different(name: str, ids: Sequence[int], x_A: NDArray[np.float64], y_A: NDArray[np.float64]) -> None:
    """Refuse a position that is there twice: a pick's identity is its position."""
    seen: set[int] = set()
    for at, item in enumerate(ids):
        if item in seen:
            raise ContractError(
                f"{name} repeats a position: two picks at ({x_A[at]:.2f}, {y_A[at]:.2f}) Å",
                expected="each position once, to a hundredth of an Å",
            )
        seen.add(item)


def _apart(x_A: NDArray[np.float64], y_A: NDArray[np.float64], distance_A: float) -> None:
    """Refuse picks nearer than the picker promises: sorted by x, each is compared with its followers."""
    import numpy as np

    order = np.argsort(x_A, kind="stable")
    x, y = x_A[order], y_A[order]
    for step in range(1, len(x)) if distance_A else ():
        dx, dy = x[step:] - x[:-step], y[step:] - y[:-step]
        if not bool((dx < distance_A).any()):
            return
        nearest_A = float(np.sqrt((dx**2 + dy**2).min()))
        if nearest_A < distance_A * (1 - 1e-4):  # positions are float32
            raise ContractError(
                f"two picks are {nearest_A:.2f} Å apart", expected=f"min_distance_A = {distance_A} at least"
            )


# -- particles that were handed in -----------------------------------------------------------------------------------
def _updated(
    table: ParticleTable, base: ParticleTable | None, job: Job, notes: Notes, *, ordered: bool = False
) -> ParticleTable:
    """Join what the stage changed into what it was given; kernel-owned columns must be as they were."""
    import numpy as np

    if base is None:
        return table
    if "particle_id" not in table.names:
        raise SchemaError(f"{job.offer.name} returned particles without 'particle_id'")
    full = base.join(table.without([name for name in _OWNED if name in table.names]))
    place = np.argsort(np.argsort(table.column("particle_id"), kind="stable"), kind="stable")
    in_order = full.select(np.argsort(full.column("particle_id"), kind="stable")[place])
    for name in _OWNED:
        if name in table.names and not bool(np.array_equal(table.column(name), in_order.column(name))):
            error = HalfSetError if name == "half" else ContractError
            raise error(f"{job.offer.name} changed column '{name}'", expected="that column as it was handed in")
    kept = set(full.column("particle_id").tolist())
    said = {item for entry in notes.dropped for item in entry["particle_id"]}
    if silent := [item for item in base.column("particle_id").tolist() if item not in kept and item not in said]:
        notes.drop(silent, f"not returned by {job.offer.name}", (), None)
    notes.columns = [name for name in table.names if name not in ("particle_id", *_OWNED)]
    return in_order if ordered else full


# -- everything ---------------------------------------------------------------------------------------------------
def _identified(product: Any, job: Job, inputs: Mapping[str, Any]) -> Any:
    """Set what is not the stage's to choose: a micrograph's identity and optics, the place of a file."""
    if isinstance(product, (CtfFit, MicrographVerdict)):
        return dataclasses.replace(product, micrograph_id=job.item_id)
    if isinstance(product, AtomicModel):
        return dataclasses.replace(product, path=Path(product.path).name)
    if isinstance(product, Micrograph):
        optics = [value.optics for value in inputs.values() if isinstance(value, (Movie, Micrograph))]
        return dataclasses.replace(product, micrograph_id=job.item_id, optics=optics[0] if optics else product.optics)
    nested = {
        name: _identified(value, job, inputs) for name, value in _fields(product) if isinstance(value, Micrograph)
    }
    return dataclasses.replace(product, **nested) if nested else product


def _derived(value: Any) -> bool:
    if isinstance(value, Volume):
        return value.provenance.startswith(DERIVED)
    return any(_derived(item) for _, item in _fields(value))


def _labelled(product: Any, derived: bool) -> Any:
    """Carry the mark of a map that came from a reference on to every map made with it."""
    if not derived or isinstance(product, Table):
        return product
    if isinstance(product, Volume):
        mark = product.provenance if product.provenance.startswith(DERIVED) else f"{DERIVED}: {product.provenance}"
        return dataclasses.replace(product, provenance=mark)
    if isinstance(product, tuple):
        return tuple(_labelled(item, derived) for item in product)
    maps = {name: _labelled(value, derived) for name, value in _fields(product)}
    return dataclasses.replace(product, **maps) if maps else product


def _fields(value: Any) -> Iterator[tuple[str, Any]]:
    if dataclasses.is_dataclass(value):
        for item in dataclasses.fields(value):
            yield item.name, getattr(value, item.name)


def check(value: Any, where: str, *, kind: str = "") -> None:
    """Walk through the product; numbers must be finite, arrays of the declared type, tables as their schema says."""
    import math

    import numpy as np

    if isinstance(value, Table):
        _check_table(value, where)
    elif isinstance(value, np.ndarray):
        _check_array(value, where, kind)
    elif isinstance(value, tuple):
        for index, item in enumerate(value):
            check(item, f"{where}[{index}]")
    elif isinstance(value, (float, np.floating)) and not math.isfinite(value):
        raise ContractError(f"{where} is {value}", expected="a finite number")
    for item in dataclasses.fields(value) if dataclasses.is_dataclass(value) else ():
        part = getattr(value, item.name)
        wanted = _NDIM.get((type(value).__name__, item.name))
        if wanted and np.ndim(part) != wanted:
            raise ContractError(f"{where}.{item.name} has {np.ndim(part)} dimensions", expected=str(wanted))
        if item.metadata.get("stored", True):
            check(part, f"{where}.{item.name}", kind=str(item.type))


def _check_array(array: NDArray[Any], where: str, kind: str) -> None:
    import numpy as np

    if "float32" in kind and array.dtype != np.float32:
        raise ContractError(f"{where} is {array.dtype}", expected="float32")
    if array.dtype.kind == "f":
        for low in range(0, len(array), 64):  # a piece at a time: it may be larger than the memory
            if not bool(np.isfinite(array[low : low + 64]).all()):
                raise ContractError(f"{where} holds values that are not finite", expected="finite numbers")


def _check_table(table: Table, where: str) -> None:
    import numpy as np

    table.check()
    for name in table.names if isinstance(table, ParticleTable) else ():
        values = table.column(name)
        if values.dtype.kind == "f" and not bool(np.isfinite(values).all()):
            raise SchemaError(f"{where}: column '{name}' holds values that are not finite", expected="finite numbers")
