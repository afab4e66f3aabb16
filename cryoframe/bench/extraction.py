"""Extraction of boxes from the same micrographs at the same places by ours and by RELION: rate, memory, equality."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cryoframe.bench import pick_fields, relion
from cryoframe.bench.calls import NOT_FOUND, PREPROCESS, Peer, Workbench, failures
from cryoframe.bench.pick_fields import KINDS, PIXEL_A, PickField
from cryoframe.bench.picking import given_of
from cryoframe.bench.rows import Row, Summary, counted, failure
from cryoframe.bench.sizes import Sizes
from cryoframe.compare.bench import Attempted
from cryoframe.data.ids import half_of, particle_id
from cryoframe.data.tables import ParticleTable
from cryoframe.formats import products

HOOK, OURS = "extract_particles", ("box",)
#: Particles of 256 px a minute on two cores that are aimed at: so many on one.
RATE_1_MIN = 5000.0
ALIKE = 0.999
DEFOCI_A = (12000.0, 18000.0)


def n_steps(sizes: Sizes) -> int:
    """How many steps are told."""
    del sizes
    return 3


def run(bench: Workbench) -> list[Row]:
    """Cut boxes out of two micrographs of β-galactosidase and return the rows."""
    kind, edge, box = KINDS[0], bench.sizes.cost_px, bench.sizes.box_px
    folder = bench.folder("extraction")
    sample = pick_fields.specimen(kind, bench)
    fields = [
        pick_fields.make_field(
            kind, sample, bench.plugins, folder=folder, defocus_A=defocus_A, edge_px=edge, seed=bench.seed + 1
        )
        for defocus_A in DEFOCI_A
    ]
    centres = [_whole_px(field, box) for field in fields]
    bench.tell(f"{len(fields)} fields, {sum(map(len, centres))} particles")
    answers = _ours(bench, fields, centres, folder)
    bench.tell("extracted here")
    peer = None
    if PREPROCESS.located():
        relion.write_star_file(fields, folder)
        peer = relion.extract(fields, centres, folder, box_px=box)
        bench.tell("extracted by RELION")
    what = f"`{OURS[0]}`, {sum(map(len, centres))} particles of {box} px, {counted(len(fields), 'field')} {edge}²"
    failed = "; ".join(filter(None, (failures(answers), peer.message if peer else "")))
    rows = failure("extraction", what, failed)
    if not failures(answers):
        rows += _rows(answers, peer, fields, centres, folder=folder, what=what)
    bench.done_with(folder)
    return rows


def _whole_px(field: PickField, box_px: int) -> NDArray[np.float64]:
    """True centres at whole pixels whose boxes lie inside: what both programs cut alike."""
    xy = np.round(field.true_xy_A / PIXEL_A)
    half = box_px // 2
    inside = np.all((xy >= half) & (xy <= field.edge_px - half - 1), axis=1)
    return np.asarray(xy[inside], dtype=np.float64)


def _ours(
    bench: Workbench, fields: Sequence[PickField], centres: Sequence[NDArray[np.float64]], folder: Path
) -> list[Attempted]:
    items = []
    for field, xy in zip(fields, centres, strict=True):
        place = folder / f"{field.path.stem}.picks"
        place.mkdir()
        products.save(_table(field.path.stem, xy * PIXEL_A), place)
        files = [str(field.path), f"particles={place}", f"ctf={field.ctf_folder}"]
        items.append(bench.bound(HOOK, files, given_of(field), f"extract-{field.path.stem}"))
    params = {"box_px": bench.sizes.box_px, "duplicate_A": 0.0}
    return bench.ours(HOOK, OURS[0], items, params)


def _table(name: str, xy_A: NDArray[np.float64]) -> ParticleTable:
    n = len(xy_A)
    ids = [particle_id(name, float(x), float(y), "bench") for x, y in xy_A]
    return ParticleTable.from_columns(
        {
            "particle_id": np.array(ids, dtype=np.uint64),
            "micrograph_id": [name] * n,
            "optics_group": ["opticsGroup1"] * n,
            "half": np.full(n, half_of(name, 0), dtype=np.uint8),
            "x_A": xy_A[:, 0].astype(np.float32),
            "y_A": xy_A[:, 1].astype(np.float32),
            "figure_of_merit": np.ones(n, dtype=np.float32),
        }
    )


def _rows(
    answers: Sequence[Attempted],
    peer: Peer | None,
    fields: Sequence[PickField],
    centres: Sequence[NDArray[np.float64]],
    *,
    folder: Path,
    what: str,
) -> list[Row]:
    n = sum(map(len, centres))
    done = peer if peer is not None and peer.done is not None else None
    name = "relion_preprocess" if PREPROCESS.located() else NOT_FOUND
    per_min = [60.0 * len(xy) / one.cpu_s for xy, one in zip(centres, answers, strict=True)]
    median = Summary.of(per_min)
    rate = Row(
        "extraction", what, "particles a minute of CPU time, reading and writing included", (median,),
        (Summary.of([60.0 * n / done.cpu_s]),) if done else (), name,
        f"≥ {RATE_1_MIN:.0f}", median.median >= RATE_1_MIN, larger_is_better=True,
    )  # fmt: skip
    rows = [rate]
    for quantity, here, theirs in (
        (
            "wall s a micrograph, one thread",
            [one.seconds for one in answers],
            done.seconds / len(fields) if done else 0,
        ),
        ("peak memory [MB]", [one.peak_MB for one in answers], done.peak_MB if done else 0),
    ):
        other = (Summary.of([theirs]),) if done else ()
        rows.append(Row("extraction", what, quantity, (Summary.of(here),), other, name))
    if done:
        pairs = zip(answers, fields, strict=True)
        alike = [value for one, field in pairs for value in _alike(one, field, folder)]
        quantity = "correlation of a box with the peer's"
        least = min(alike, default=float("nan"))
        aim, met = f"≥ {ALIKE}", least >= ALIKE
        row = Row("extraction", what, quantity, (Summary.of(alike),), peer_name=name, aim=aim, met=met)
        rows.append(replace(row, note=f"{len(alike)} boxes of both"))
    return rows


def _alike(answer: Attempted, field: PickField, folder: Path) -> list[float]:
    """Correlation of each box with the peer's at the same place."""
    stack = answer.load()
    mine = np.round(np.stack([stack.particles.floats(name) for name in ("x_A", "y_A")], axis=1) / PIXEL_A)
    theirs, images = relion.extracted(folder, field)
    of_place = {tuple(place): row for row, place in enumerate(np.round(theirs).astype(int).tolist())}
    found = []
    for row, place in enumerate(mine.astype(int).tolist()):
        if (other := of_place.get(tuple(place))) is not None:
            a, b = (np.asarray(image, dtype=np.float64).ravel() for image in (stack.images[row], images[other]))
            found.append(float(np.corrcoef(a, b)[0, 1]))
    return found
