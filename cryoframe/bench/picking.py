"""Picking on simulated micrographs of four specimens: ours and RELION's, ranked against the truth; and the cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cryoframe.bench import pick_fields, relion
from cryoframe.bench.calls import AUTOPICK, NOT_FOUND, Peer, Workbench, failures
from cryoframe.bench.pick_fields import KINDS, PIXEL_A, Kind, PickField
from cryoframe.bench.rows import Row, Summary, counted, failure
from cryoframe.bench.sizes import Sizes
from cryoframe.compare.bench import Attempted
from cryoframe.compare.inputs import Bound, Given
from cryoframe.compare.pick_ranking import Picked, PickQuality, pick_quality
from cryoframe.data.twin import Specimen
from cryoframe.formats import mrc
from cryoframe.view import plots

HOOK, OURS = "pick_particles", ("blob", "template")
#: The peers, and how they were tuned.
LOG = "RELION LoG (best of ten settings by the truth)"
TEMPLATE = "RELION template (F1 at the best threshold by the truth)"
#: Picks count within these shares of the diameter.
SHARES = (0.5, 0.25)
#: Aim for a micrograph of 4096²: one a second and core.
CPU_S, LARGE_PX = 1.0, 4096
#: Two hundred particles: one of them found or not is 0.005.
TOLERANCE = 0.005
#: So low a threshold that the ranking, not the threshold, is judged.
LOOSE = {"threshold": 1.5, "false_frac": 1.0}


@dataclass(frozen=True)
class Side:
    """A picker's quality within each of :data:`SHARES`, and what it cost a micrograph."""

    quality: tuple[PickQuality, ...]
    cpu_s: tuple[float, ...] = ()
    seconds: tuple[float, ...] = ()
    peak_MB: tuple[float, ...] = ()
    #: F1 as shipped, where the ranking was made with another threshold.
    shipped: tuple[float, ...] = ()


def n_steps(sizes: Sizes) -> int:
    """How many steps are told."""
    del sizes
    return 3 * len(KINDS) + 1


def run(bench: Workbench) -> list[Row]:
    """Pick all fields with all, and return the rows."""
    rows: list[Row] = []
    for kind in KINDS:
        folder = bench.folder(f"picking-{kind.model}{'4' if kind.is_four else ''}")
        sample = pick_fields.specimen(kind, bench)
        fields = [
            pick_fields.make_field(
                kind, sample, bench.plugins, folder=folder, defocus_A=defocus_A, edge_px=bench.sizes.pick_px,
                seed=bench.seed,
            )
            for defocus_A in bench.sizes.defoci_A
        ]  # fmt: skip
        bench.tell(f"{len(fields)} fields of {kind.name}")
        relion.write_star_file(fields, folder)
        rows += _blob(bench, kind, fields, folder)
        rows += _template(bench, kind, fields, folder, sample)
        bench.done_with(folder)
    rows += _large(bench)
    bench.tell(f"cost on {bench.sizes.cost_px}²")
    return rows


def given_of(field: PickField) -> Given:
    """What the micrograph's file does not say."""
    optics = {name: getattr(field.optics, name) for name in ("voltage_kV", "cs_mm", "amplitude_contrast_frac")}
    return Given(pixel_size_A=PIXEL_A, dose_e_A2=pick_fields.DOSE_E_A2, optics=optics)


def _items(bench: Workbench, fields: Sequence[PickField], name: str) -> list[Bound]:
    return [
        bench.bound(HOOK, [str(one.path), f"ctf={one.ctf_folder}"], given_of(one), f"{name}-{one.path.stem}")
        for one in fields
    ]


def _judged(answers: Sequence[Attempted], fields: Sequence[PickField], kind: Kind) -> tuple[PickQuality, ...]:
    picked = []
    for one, field in zip(answers, fields, strict=True):
        if one.product is not None:
            table = one.load()
            xy = np.stack([table.floats("x_A"), table.floats("y_A")], axis=1)
            picked.append(Picked(xy, table.floats("figure_of_merit"), field.true_xy_A, field.extent_A))
    return _quality(picked, kind) if picked else ()


def _quality(picked: Sequence[Picked], kind: Kind) -> tuple[PickQuality, ...]:
    return tuple(pick_quality(picked, diameter_A=kind.diameter_A, radius_A=share * kind.diameter_A) for share in SHARES)


def _theirs(fields: Sequence[PickField], folder: Path, out: str, kind: Kind) -> tuple[PickQuality, ...]:
    picked = [Picked(*relion.picks_of(folder, out, one), one.true_xy_A, one.extent_A) for one in fields]
    return _quality(picked, kind)


def _what(use: str, kind: Kind, sizes: Sizes) -> str:
    defoci = ", ".join(f"{defocus_A / 1e4:g}" for defocus_A in sizes.defoci_A)
    return f"`{use}`, {kind.name}, {counted(len(sizes.defoci_A), 'field')} {sizes.pick_px}² at {defoci} µm"


def _blob(bench: Workbench, kind: Kind, fields: Sequence[PickField], folder: Path) -> list[Row]:
    items = _items(bench, fields, "blob")
    params = {"diameter_A": kind.diameter_A}
    ranked = bench.ours(HOOK, "blob", items, params | LOOSE)
    shipped = bench.ours(HOOK, "blob", items, params)
    bench.tell(f"blob on {kind.name}")
    _draw(bench, kind, fields[0], shipped[0])
    mine = Side(
        _judged(ranked, fields, kind),
        *_spent(shipped),
        shipped=tuple(one.f1 for one in _judged(shipped, fields, kind)),
    )
    failed, peer = failures([*ranked, *shipped]), None
    if AUTOPICK.located():
        peer, said = _best_log(fields, folder, kind)
        failed = "; ".join(filter(None, (failed, said)))
    what = _what("blob", kind, bench.sizes)
    return failure("picking", what, failed) + _rows(mine, peer, what, LOG)


def _draw(bench: Workbench, kind: Kind, field: PickField, answer: Attempted) -> None:
    """Draw a field with the picks on it."""
    if answer.product is None:
        return
    x_px, y_px = (answer.load().floats(name) / PIXEL_A for name in ("x_A", "y_A"))
    image, _ = mrc.read_image(field.path)
    drawn = plots.marked_image(image, x_px, y_px, radius_px=0.5 * kind.diameter_A / PIXEL_A, pixel_size_A=PIXEL_A)
    defocus_um = field.ctf.defocus_v_A / 1e4
    bench.figures.append((f"{kind.name} at {defocus_um:.1f} µm: {len(x_px)} picks of blob as shipped", drawn))


def _best_log(fields: Sequence[PickField], folder: Path, kind: Kind) -> tuple[Side | None, str]:
    """Run RELION's LoG with every setting; the best of each figure counts, whichever setting gave it."""
    found: list[tuple[Peer, tuple[PickQuality, ...]]] = []
    failed = ""
    for use_ctf in (False, True):
        for adjustment in relion.LOG_ADJUSTMENTS:
            out = f"log{adjustment}{use_ctf}"
            peer = relion.pick_log(folder, out, kind, adjustment=adjustment, use_ctf=use_ctf)
            failed = failed or peer.message
            if peer.done is not None:
                found.append((peer, _theirs(fields, folder, out, kind)))
    if not found:
        return None, failed
    best = tuple(_best([quality[place] for _, quality in found]) for place in range(len(SHARES)))
    return _peer_side([peer for peer, _ in found], best, len(fields)), failed


def _best(found: Sequence[PickQuality]) -> PickQuality:
    precision = max(one.ranking.average_precision for one in found)
    best_f1 = max(one.ranking.best_f1 for one in found)
    return PickQuality(found[0].ranking._replace(average_precision=precision, best_f1=best_f1),
                       max(one.f1 for one in found), found[0].n_true)  # fmt: skip


def _peer_side(peers: Sequence[Peer], quality: tuple[PickQuality, ...], n_fields: int) -> Side:
    return Side(
        quality,
        tuple(peer.cpu_s / n_fields for peer in peers),
        tuple(peer.seconds / n_fields for peer in peers),
        tuple(peer.peak_MB for peer in peers),
    )


def _template(bench: Workbench, kind: Kind, fields: Sequence[PickField], folder: Path, sample: Specimen) -> list[Row]:
    volume = sample.volume
    reference = folder / "reference.mrc"
    mrc.write(reference, volume.data, pixel_size_A=volume.pixel_size_A)
    params = {"diameter_A": kind.diameter_A, "reference": str(reference)}
    answers = bench.ours(HOOK, "template", _items(bench, fields, "template"), params)
    quality = _judged(answers, fields, kind)
    mine = Side(quality, *_spent(answers), shipped=tuple(one.f1 for one in quality))
    failed, peer = failures(answers), None
    if AUTOPICK.located():
        found = _peers_template(fields[0], volume.data, folder, kind)
        failed = "; ".join(filter(None, (failed, found.message)))
        if found.done is not None:
            peer = _peer_side([found], _theirs(fields, folder, "template", kind), len(fields))
    bench.tell(f"template on {kind.name}")
    what = _what("template", kind, bench.sizes)
    return failure("picking", what, failed) + _rows(mine, peer, what, TEMPLATE)


def _peers_template(field: PickField, data: np.ndarray, folder: Path, kind: Kind) -> Peer:
    theirs = folder / "relions_reference.mrc"
    mrc.write(theirs, data * pick_fields.relions_scale(field), pixel_size_A=PIXEL_A)
    return relion.pick_template(folder, "template", kind, theirs)


def _spent(answers: Sequence[Attempted]) -> tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]:
    done = [one for one in answers if one.product is not None]
    return tuple(one.cpu_s for one in done), tuple(one.seconds for one in done), tuple(one.peak_MB for one in done)


def _rows(mine: Side, peer: Side | None, what: str, who: str) -> list[Row]:
    if not mine.quality:
        return []
    name = who if AUTOPICK.located() else NOT_FOUND
    rows = []
    for place, share in enumerate(SHARES):
        here = mine.quality[place].ranking
        theirs = peer.quality[place].ranking if peer else None
        n = mine.quality[place].n_true
        pairs = (("average precision", here.average_precision, theirs.average_precision if theirs else math.nan),
                 ("best F1", here.best_f1, theirs.best_f1 if theirs else math.nan))  # fmt: skip
        for quantity, ours, other in pairs:
            note = f"as shipped {mine.shipped[place]:.3f}; n = {n}" if quantity == "best F1" else f"n = {n}"
            met = ours > other - TOLERANCE if theirs else None
            rows.append(
                Row("picking", what, f"{quantity} within {share} diameters", (_exact(ours, n),),
                    (_exact(other, n),) if theirs else (), name, "not below the peer's", met, True, note=note)
            )  # fmt: skip
    return rows + _costs(mine, peer, what, name)


def _exact(value: float, n: int) -> Summary:
    return Summary(value, value, value, n)


def _costs(mine: Side, peer: Side | None, what: str, name: str) -> list[Row]:
    rows = []
    for quantity, attribute in (
        ("CPU s a micrograph", "cpu_s"),
        ("wall s a micrograph, one thread", "seconds"),
        ("peak memory [MB]", "peak_MB"),
    ):
        here = (Summary.of(getattr(mine, attribute)),)
        theirs = (Summary.of(getattr(peer, attribute)),) if peer else ()
        rows.append(Row("picking", what, quantity, here, theirs, name))
    return rows


def _aimed(row: Row) -> Row:
    return replace(row, aim=f"≤ {CPU_S:g} s", met=row.here[0].median <= CPU_S)


def _large(bench: Workbench) -> list[Row]:
    """Cost of each picker on a large micrograph; RELION's start and templates are in its figure as ours are in ours."""
    kind, edge = KINDS[0], bench.sizes.cost_px
    folder = bench.folder("picking-cost")
    sample = pick_fields.specimen(kind, bench)
    field = pick_fields.make_field(
        kind, sample, bench.plugins, folder=folder, defocus_A=15000.0, edge_px=edge, seed=bench.seed
    )
    relion.write_star_file([field], folder)
    reference = folder / "reference.mrc"
    mrc.write(reference, sample.volume.data, pixel_size_A=PIXEL_A)
    items = _items(bench, [field], "cost") * bench.sizes.n_cost
    rows = []
    for use, more in (("blob", {}), ("template", {"reference": str(reference)})):
        answers = bench.ours(HOOK, use, items, {"diameter_A": kind.diameter_A} | more)
        failed, peer = failures(answers), None
        if AUTOPICK.located():
            found = (
                relion.pick_log(folder, "log", kind, adjustment=0.0, use_ctf=False)
                if use == "blob"
                else _peers_template(field, sample.volume.data, folder, kind)
            )
            failed = "; ".join(filter(None, (failed, found.message)))
            peer = _peer_side([found], (), 1) if found.done is not None else None
        what = f"`{use}`, {kind.name}, one field {edge}² at 1.5 µm"
        name = f"RELION {'LoG' if use == 'blob' else 'template'}" if AUTOPICK.located() else NOT_FOUND
        rows += failure("picking", what, failed)
        if failures(answers) == "":
            costs = _costs(Side((), *_spent(answers)), peer, what, name)
            rows += [_aimed(costs[0]), *costs[1:]] if edge == LARGE_PX else costs
    bench.done_with(folder)
    return rows
