"""CTF estimation on micrographs of known CTF, good and bad: error, acceptance, thickness, tilt and cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cryoframe.bench import ctf_fields
from cryoframe.bench.calls import Workbench, failures
from cryoframe.bench.ctf_fields import Field
from cryoframe.bench.rows import Row, Summary, counted, failure
from cryoframe.bench.sizes import Sizes
from cryoframe.compare.bench import Attempted
from cryoframe.compare.inputs import Bound, Given
from cryoframe.data.images import CtfFit
from cryoframe.formats import mrc

HOOK = "estimate_ctf"
OURS = ("spectrum", "profile")
#: Aims; errors are shares of the defocus.
MEDIAN, P99, FALSE, THICKNESS_A, TILT_DEG, WRONG = 0.005, 0.03, 0.005, 50.0, 3.0, 0.05
#: CTFFIND5 on a 4096² micrograph, measured on the same kind of machine, not in the same run.
CTFFIND_CPU_S, CTFFIND_PX = 1.6, 4096
#: Micrographs are told of one by one while they are made, and lie on disk no longer than their group.
GROUP = 50


@dataclass(frozen=True)
class Fitted:
    """A field, and what one stage said of it; `fit` is None where the call failed."""

    field: Field
    answer: Attempted
    fit: CtfFit | None

    @property
    def error_frac(self) -> float:
        """Share of the defocus by which the mean of U and V is wrong."""
        if self.fit is None:
            return float("nan")
        return abs(0.5 * (self.fit.defocus_u_A + self.fit.defocus_v_A) / self.field.defocus_A - 1.0)

    @property
    def plane_error_deg(self) -> float:
        """Angle between the true and the found plane of the specimen, where a tilt is told."""
        if self.fit is None or self.fit.tilt_deg is None:
            return float("nan")
        found = _slopes(self.fit.tilt_deg, self.fit.tilt_axis_deg or 0.0)
        true = _slopes(self.field.tilt_deg, self.field.axis_deg)
        cosine = (1.0 + true @ found) / np.sqrt((1.0 + true @ true) * (1.0 + found @ found))
        return float(np.degrees(np.arccos(min(float(cosine), 1.0))))

    @property
    def accepted(self) -> bool:
        """Whether the stage stands by it."""
        return self.fit is not None and self.fit.accepted


def _slopes(tilt_deg: float, axis_deg: float) -> NDArray[np.float64]:
    """By how much the defocus rises along x and y, Å per Å."""
    axis = np.radians(axis_deg)
    return np.asarray(np.tan(np.radians(tilt_deg)) * np.array([-np.sin(axis), np.cos(axis)]))


def n_steps(sizes: Sizes) -> int:
    """How many steps are told."""
    return -(-sizes.n_ctf // GROUP) + 2


def run(bench: Workbench) -> list[Row]:
    """Make the fields, fit all with each stage, and return the rows."""
    sizes = bench.sizes
    plain = [replace(ctf_fields.drawn(i), shape=(sizes.ctf_px, sizes.ctf_px)) for i in range(sizes.n_ctf)]
    steep = [replace(ctf_fields.tilted(i), shape=(sizes.tilted_px, sizes.tilted_px)) for i in range(sizes.n_tilted)]
    large = [_large(i, sizes.cost_px) for i in range(sizes.n_cost)]
    fitted: dict[str, list[Fitted]] = {name: [] for name in OURS}
    for first in range(0, len(plain), GROUP):
        group = plain[first : first + GROUP]
        _extend(fitted, _fitted(bench, group, f"ctf-{first}"))
        bench.tell(f"CTF of {first + len(group)} of {len(plain)} fields")
    tilts = _fitted(bench, steep, "ctf-tilted")
    bench.tell(f"CTF of {len(steep)} tilted fields")
    costs = _fitted(bench, large, "ctf-cost")
    bench.tell(f"CTF of {len(large)} fields of {sizes.cost_px}²")
    rows: list[Row] = []
    for name in OURS:
        what = f"`{name}`, {counted(sizes.n_ctf, 'field')} {sizes.ctf_px}², 0.35–4 µm, seed {ctf_fields.SEED}"
        every = [one.answer for side in (fitted, tilts, costs) for one in side[name]]
        rows += failure("ctf", what, failures(every))
        rows += _accuracy(fitted[name], what)
        rows += _tilt(tilts[name], f"`{name}`, {counted(sizes.n_tilted, 'field')} {sizes.tilted_px}², 0–40° tilt")
        rows += _cost(costs[name], f"`{name}`, {counted(sizes.n_cost, 'field')} {sizes.cost_px}²", sizes)
    return rows


def _large(index: int, edge_px: int) -> Field:
    """Field on which the cost is measured: as full as a small one."""
    field = ctf_fields.drawn(index, kinds=False)
    n = round(field.n_particles * (edge_px / 1024) ** 2)
    return replace(field, n_particles=n, shape=(edge_px, edge_px))


def _extend(into: dict[str, list[Fitted]], more: dict[str, list[Fitted]]) -> None:
    for name, found in more.items():
        into[name] += found


def _fitted(bench: Workbench, fields: Sequence[Field], name: str) -> dict[str, list[Fitted]]:
    folder = bench.folder(name)
    items = [_written(bench, field, folder, name) for field in fields]
    answers = {use: bench.ours(HOOK, use, items) if items else [] for use in OURS}
    found = {
        use: [Fitted(field, one, one.load() if one.product else None)
              for field, one in zip(fields, made, strict=True)]
        for use, made in answers.items()
    }  # fmt: skip
    bench.done_with(folder)
    return found


def _written(bench: Workbench, field: Field, folder: Path, name: str) -> Bound:
    micrograph = ctf_fields.micrograph_of(field)
    path = folder / f"{name}-{field.index}.mrc"
    mrc.write(path, micrograph.data, pixel_size_A=field.pixel_size_A)
    optics = {
        "voltage_kV": ctf_fields.VOLTAGE_KV,
        "cs_mm": ctf_fields.CS_MM,
        "amplitude_contrast_frac": ctf_fields.AMPLITUDE_CONTRAST,
    }
    given = Given(pixel_size_A=field.pixel_size_A, dose_e_A2=field.dose_e_A2, optics=optics)
    return bench.bound(HOOK, [str(path)], given, path.stem)


def _accuracy(found: Sequence[Fitted], what: str) -> list[Row]:
    good = [one for one in found if one.field.is_good and one.fit is not None]
    bad = [one for one in found if not one.field.is_good and one.fit is not None]
    accepted = [one for one in good if one.accepted]
    rows: list[Row] = []

    def add(quantity: str, value: float, n: int, aim: str = "", met: bool | None = None, note: str = "") -> None:
        rows.append(Row("ctf", what, quantity, (Summary(value, value, value, n),), aim=aim, met=met, note=note))

    errors = np.array([one.error_frac for one in accepted])
    if len(errors):
        median, p99 = 100.0 * float(np.median(errors)), 100.0 * float(np.quantile(errors, 0.99))
        n = len(errors)
        add("defocus error, median of the accepted [%]", median, n, f"≤ {100 * MEDIAN:g} %", median <= 100 * MEDIAN)
        add("defocus error, 99 % of the accepted [%]", p99, n, f"≤ {100 * P99:g} %", p99 <= 100 * P99, f"n = {n}")
    add("good micrographs accepted [%]", 100.0 * len(accepted) / max(len(good), 1), len(good), note=f"n = {len(good)}")
    wrong = sum(one.accepted for one in bad) + sum(one.error_frac > WRONG for one in accepted)
    n_accepted = max(sum(one.accepted for one in (*good, *bad)), 1)
    false = 100.0 * wrong / n_accepted
    note = f"{sum(one.accepted for one in bad)} of {len(bad)} bad ones accepted"
    add("false among the accepted [%]", false, n_accepted, f"≤ {100 * FALSE:g} %", false <= 100 * FALSE, note)
    told = [(one.fit.ice_thickness_A, one.field.thickness_A) for one in accepted if one.fit is not None]
    off = np.array([abs(thick - true) for thick, true in told if thick is not None])
    if len(off):
        within = 100.0 * float(np.mean(off <= THICKNESS_A))
        add("ice thickness, median error where told [nm]", 0.1 * float(np.median(off)), len(off), "≤ 5 nm",
            float(np.median(off)) <= THICKNESS_A,
            f"told of {100.0 * len(off) / len(accepted):.0f} %, {within:.0f} % of them within 5 nm")  # fmt: skip
    return rows


def _tilt(found: Sequence[Fitted], what: str) -> list[Row]:
    quantity = "tilt: angle to the true plane [°]"
    off = [one.plane_error_deg for one in found if one.fit is not None and one.fit.tilt_deg is not None]
    if not off:
        return [Row("ctf", what, quantity, note="not told")] if found else []
    told = f"told of {len(off)} of {len(found)}"
    aim, met = f"≤ {TILT_DEG:g}°", max(off) <= TILT_DEG
    return [Row("ctf", what, quantity, (Summary.of(off),), aim=aim, met=met, note=told)]


def _cost(found: Sequence[Fitted], what: str, sizes: Sizes) -> list[Row]:
    done = [one.answer for one in found if one.answer.product is not None]
    if not done:
        return []
    who, peer = "CTFFIND5 †", CTFFIND_CPU_S
    is_size = sizes.cost_px == CTFFIND_PX
    measured: list[tuple[str, Callable[[Attempted], float]]] = [
        ("CPU s a micrograph, reading included", lambda one: one.cpu_s),
        ("wall s a micrograph, one thread", lambda one: one.seconds),
        ("peak memory [MB]", lambda one: one.peak_MB),
    ]
    rows = [Row("ctf", what, quantity, (Summary.of([value(one) for one in done]),)) for quantity, value in measured]
    median = rows[0].here[0].median
    rows[0] = replace(
        rows[0],
        peer=(Summary(peer, peer, peer, 1),) if is_size else (),
        peer_name=who if is_size else "",
        aim=f"≤ {peer} s" if is_size else "",
        met=median <= peer if is_size else None,
        note="† measured earlier, not in this run" if is_size else "",
    )
    return rows
