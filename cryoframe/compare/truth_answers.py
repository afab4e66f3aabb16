"""What a pipeline said of each exposure, from a run folder, products or STAR files; nothing is scored here."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cryoframe.compare.truth import Truth
from cryoframe.data.images import CorrectedMicrograph, CtfFit
from cryoframe.data.tables import MotionTable, ParticleTable
from cryoframe.errors import ConfigError, CryoframeError, SchemaError
from cryoframe.formats import products, star_products
from cryoframe.formats.star_columns import micrographs_from_star
from cryoframe.formats.star_motion import MotionRecords, motion_from_star
from cryoframe.records.database import Database
from cryoframe.records.state import State, Task
from cryoframe.records.store import Store

DATABASE = "state.sqlite"
#: Products that hold a table of particles.
_TABLES = ("particles",)
Said = MotionTable | CtfFit | ParticleTable


@dataclass(frozen=True)
class Answer:
    """What one stage said of one exposure."""

    stage: str
    exposure_id: str
    said: Said
    #: Numbers that can be seen without the truth.
    seen: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Fate:
    """What became of one exposure's movie.

    `state` is ``done``; ``rejected`` (at the door) or ``given_up`` (by a stage), the file being blamed; ``failed``, the
    stage or the machine being to blame; ``unfinished``; or ``absent``.
    """

    state: str
    reason: str = ""


@dataclass(frozen=True)
class Answers:
    """Everything a pipeline said; `fates` is empty where only files were given."""

    answers: tuple[Answer, ...]
    fates: dict[str, Fate] = field(default_factory=dict)
    #: Items that are no exposure of this session.
    strangers: tuple[str, ...] = ()


def gathered(sources: Sequence[Path], truth: Truth) -> Answers:
    """Return what is found in run folders, product folders and STAR files together.

    Raises
    ------
    ConfigError
        If a source is none of these, or says nothing of any exposure.
    """
    parts = [_of_run(path, truth) if (path / DATABASE).is_file() else _of_files(path, truth) for path in sources]
    answers = tuple(answer for part in parts for answer in part.answers)
    fates = {name: fate for part in parts for name, fate in part.fates.items()}
    strangers = tuple(name for part in parts for name in part.strangers)
    if not answers and not fates:
        raise ConfigError(
            f"nothing in {', '.join(map(str, sources))} is of an exposure of this session",
            expected="names like " + ", ".join(str(truth.made[name]["movie"]) for name in list(truth)[:2]),
        )
    return Answers(answers, fates, strangers)


def said_of(product: object, stage: str, truth: Truth, *, name: str = "") -> Iterator[Answer]:
    """Yield what a product says of each exposure it is about.

    Parameters
    ----------
    product
        Of a stage.
    stage
        Its name in the table.
    truth
        Whose names of exposures to look for.
    name
        Of the item, where the product is about one.
    """
    if isinstance(product, CorrectedMicrograph):
        yield from _one(stage, name or product.micrograph.micrograph_id, product.motion, truth)
    elif isinstance(product, MotionTable):
        yield from _one(stage, name, product, truth)
    elif isinstance(product, CtfFit):
        yield from _one(stage, name or product.micrograph_id, product, truth)
    else:
        table = product if isinstance(product, ParticleTable) else getattr(product, "particles", None)
        if isinstance(table, ParticleTable) and "x_A" in table.names:
            yield from _of_table(table, stage, name, truth)


def _one(stage: str, name: str, said: Said, truth: Truth) -> Iterator[Answer]:
    exposure_id = truth.exposure_of(name)
    if exposure_id is not None:
        yield Answer(stage, exposure_id, said, seen_of(said))


def _of_table(table: ParticleTable, stage: str, name: str, truth: Truth) -> Iterator[Answer]:
    """Part a table by micrograph; one without micrographs, and one of none, is the item's."""
    exposure_id = truth.exposure_of(name) if name else None
    if exposure_id is not None:
        yield Answer(stage, exposure_id, table, seen_of(table))
        return
    if "micrograph_id" not in table.names:
        return
    of = np.asarray(table.column("micrograph_id"), dtype=object)
    for micrograph in dict.fromkeys(of.tolist()):
        yield from _one(stage, str(micrograph), table.select(of == micrograph), truth)


def seen_of(said: Said) -> dict[str, float]:
    """Return what anybody can see of an answer, without the truth."""
    if isinstance(said, CtfFit):
        seen = {"fit_resolution_A": said.fit_resolution_A, "score": said.score}
        seen["astigmatism_A"] = said.defocus_u_A - said.defocus_v_A
        return {name: value for name, value in seen.items() if value}
    if isinstance(said, MotionTable):
        whole = np.isnan(said.floats("patch_x_A"))
        steps = np.hypot(*(np.diff(said.floats(name)[whole]) for name in ("shift_x_A", "shift_y_A")))
        return {"total_motion_A": float(steps.sum()), "largest_step_A": float(steps.max(initial=0.0))}
    return {"n_particles": float(len(said))}


# -- a run ----------------------------------------------------------------------------------------------------------
def _of_run(folder: Path, truth: Truth) -> Answers:
    database = Database.open(folder / DATABASE, read_only=True)
    try:
        state, store = State(database), Store(folder)
        tasks = state.tasks()
        answers = [answer for task in tasks if task.status == "done" for answer in _of_task(task, state, store, truth)]
        return Answers(tuple(answers), _fates(state, tasks, truth), _strangers(state, truth))
    finally:
        database.close()


def _of_task(task: Task, state: State, store: Store, truth: Truth) -> Iterator[Answer]:
    if not store.has(task.stage_id, task.key):
        return
    item = state.item(task.item_id)
    name = Path(item.path).name if item is not None else task.item_id
    metrics = {key: value for key, (value, _) in state.metrics(task.stage_id, task.item_id).items()}
    for answer in said_of(store.load(task.stage_id, task.key), task.stage_id, truth, name=name):
        yield Answer(answer.stage, answer.exposure_id, answer.said, metrics | answer.seen)


def _fates(state: State, tasks: Sequence[Task], truth: Truth) -> dict[str, Fate]:
    """Say of each exposure what became of it; the worst that happened to its movie counts."""
    fates = dict.fromkeys(truth, Fate("absent", "the run knows no such movie"))
    for item in state.items():
        if (name := truth.exposure_of(Path(item.path).name)) is not None:
            fates[name] = Fate("unfinished")
    for row in state.files():
        name = truth.exposure_of(Path(row.path).name)
        if name is not None and row.status == "rejected" and _is_movie(row.path, truth, name):
            fates[name] = Fate("rejected", row.reason)
    of_item: dict[str, list[Task]] = {}
    for task in tasks:
        item_of = state.item(task.item_id)
        name = truth.exposure_of(Path(item_of.path).name if item_of else task.item_id)
        if name is not None:
            of_item.setdefault(name, []).append(task)
    for name, own in of_item.items():
        bad = [task for task in own if task.status == "given_up"]
        if bad:
            blamed = all(task.error_class == "file" for task in bad)
            fates[name] = Fate("given_up" if blamed else "failed", f"{bad[0].stage_id}: {bad[0].message}")
        elif all(task.status == "done" for task in own):
            fates[name] = Fate("done")
    return fates


def _is_movie(path: str, truth: Truth, name: str) -> bool:
    return Path(path).suffix == Path(str(truth.made[name]["movie"])).suffix


def _strangers(state: State, truth: Truth) -> tuple[str, ...]:
    paths = [Path(item.path).name for item in state.items()]
    return tuple(name for name in paths if truth.exposure_of(name) is None)


# -- files ----------------------------------------------------------------------------------------------------------
def _of_files(path: Path, truth: Truth) -> Answers:
    if path.is_dir():
        found = sorted(place.parent for place in path.rglob(products.MANIFEST))
        if not found:
            raise ConfigError(f"{path} is neither a run folder nor holds products", expected=f"{DATABASE}, or products")
        answers = [answer for folder in found for answer in _of_product(folder, path, truth)]
        return Answers(tuple(answers))
    if path.suffix == ".star":
        return Answers(tuple(_of_star(path, truth)))
    raise ConfigError(f"{path} says nothing of exposures", expected="a run, a folder of products or a STAR file")


def _of_product(folder: Path, root: Path, truth: Truth) -> Iterator[Answer]:
    place = folder.parent if folder.name == "product" else folder
    name = place.name if truth.exposure_of(place.name) else ""
    yield from said_of(products.load(folder), root.name, truth, name=name)


def _of_star(path: Path, truth: Truth) -> Iterator[Answer]:
    with contextlib.suppress(SchemaError):
        records = motion_from_star(path)
        yield from _one(path.parent.name or path.stem, records.movie_name, motion_table(records), truth)
        return
    if _has_micrographs(path):
        yield from _of_micrographs(path, truth)
        return
    yield from said_of(star_products.table_from_star(path), path.stem, truth)


def _has_micrographs(path: Path) -> bool:
    try:
        records = micrographs_from_star(path)
    except CryoframeError:
        return False
    return "x_A" not in records.columns and "stack" not in records.columns


def _of_micrographs(path: Path, truth: Truth) -> Iterator[Answer]:
    records = micrographs_from_star(path)
    names = ("defocus_u_A", "defocus_v_A", "defocus_angle_deg", "phase_shift_deg")
    for row, micrograph in enumerate(records.columns["micrograph_name"]):
        if "defocus_u_A" in records.columns:
            u, v, angle, phase = (float(records.columns[name][row]) for name in names)
            yield from _one(path.stem, str(micrograph), CtfFit(str(micrograph), u, v, angle, phase), truth)


def motion_table(records: MotionRecords) -> MotionTable:
    """Return RELION's motion as a table; local tracks are added to the whole-frame one."""
    whole = np.stack([records.shift_x_px, records.shift_y_px], axis=-1) * records.pixel_size_A
    n = len(records.frame)
    columns = {"frame": [records.frame], "x": [np.full(n, np.nan)], "y": [np.full(n, np.nan)], "shift": [whole]}
    if records.local is not None:
        local = records.local
        of_frame = {int(frame): row for row, frame in enumerate(records.frame)}
        rows = np.array([of_frame.get(int(frame), -1) for frame in local.frame])
        kept = rows >= 0
        shift = np.stack([local.shift_x_px, local.shift_y_px], axis=-1)[kept] * records.pixel_size_A
        columns["frame"].append(local.frame[kept])
        columns["x"].append(local.x_px[kept] * records.pixel_size_A)
        columns["y"].append(local.y_px[kept] * records.pixel_size_A)
        columns["shift"].append(shift + whole[rows[kept]])
    joined = {name: np.concatenate(parts) for name, parts in columns.items()}
    return MotionTable.from_columns(
        {
            "frame": joined["frame"].astype(np.int32),
            "patch_x_A": joined["x"].astype(np.float32),
            "patch_y_A": joined["y"].astype(np.float32),
            "shift_x_A": joined["shift"][:, 0].astype(np.float32),
            "shift_y_A": joined["shift"][:, 1].astype(np.float32),
        }
    )
