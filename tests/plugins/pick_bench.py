"""Ours and RELION's pickers on the same simulated micrographs."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import numpy as np
from pick_fields import PIXEL_A, Field

from cryoframe import StageContext
from cryoframe.formats import mrc
from cryoframe.formats.star import read_star
from cryoframe.numerics.ctf import wavelength_A
from cryoframe.numerics.pick_scores import Ranking, rank_quality

#: Thresholds of RELION's pickers among which the best for RELION is chosen by the truth.
LOG_ADJUSTMENTS = (-1.5, -0.75, 0.0, 0.75, 1.5)


def write_micrographs(fields: list[Field], folder: Path) -> None:
    """Micrographs and their STAR file with CTFs, for RELION."""
    rows = []
    for one in fields:
        name = f"{one.micrograph.micrograph_id}.mrc"
        mrc.write(folder / name, one.micrograph.data, pixel_size_A=PIXEL_A)
        fit = one.ctf
        rows.append(f"{name} 1 {fit.defocus_u_A} {fit.defocus_v_A} {fit.defocus_angle_deg} {name}:mrc")
    optics = one.micrograph.optics
    (folder / "micrographs.star").write_text(
        "# version 30001\n\ndata_optics\n\nloop_\n_rlnOpticsGroupName #1\n_rlnOpticsGroup #2\n"
        "_rlnMicrographPixelSize #3\n_rlnVoltage #4\n_rlnSphericalAberration #5\n_rlnAmplitudeContrast #6\n"
        f"opticsGroup1 1 {PIXEL_A} {optics.voltage_kV} {optics.cs_mm} {optics.amplitude_contrast_frac}\n\n"
        "# version 30001\n\ndata_micrographs\n\nloop_\n_rlnMicrographName #1\n_rlnOpticsGroup #2\n_rlnDefocusU #3\n"
        "_rlnDefocusV #4\n_rlnDefocusAngle #5\n_rlnCtfImage #6\n" + "\n".join(rows) + "\n\n"
    )


def relions_scale(one: Field) -> np.float32:
    """Factor that gives a potential [1/Å²] the contrast it has in a micrograph of deviation 1, which RELION relies on.

    A weak phase φ = λ·∫V dz shows as 2φ of the mean, and the noise is the root of the mean; what coherence, losses and
    the detector leave of it is 0.8.
    """
    mean = float(one.micrograph.data.mean())
    return np.float32(2.0 * wavelength_A(one.micrograph.optics.voltage_kV) * PIXEL_A * np.sqrt(mean) * 0.8)


def autopick(folder: Path, out: str, *words: object) -> float:
    """Run RELION's picker; its CPU seconds are wall seconds of one thread."""
    started = time.perf_counter()
    command = ["relion_autopick", "--i", "micrographs.star", "--odir", f"{out}/", "--pickname", "p", *map(str, words)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-1500:]
    return time.perf_counter() - started


def picks_of(folder: Path, out: str, one: Field) -> tuple[np.ndarray, np.ndarray]:
    """RELION's picks in Å, best first."""
    path = folder / out / f"{one.micrograph.micrograph_id}_p.star"
    # RELION leaves an empty file where it finds nothing.
    if not path.is_file() or not path.stat().st_size:
        return np.empty((0, 2)), np.empty(0)
    (block,) = read_star(path).values()
    x, y, merit = (
        np.array(block.columns.get(f"rln{n}", []), dtype=float)
        for n in ("CoordinateX", "CoordinateY", "AutopickFigureOfMerit")
    )
    order = np.argsort(-merit)
    return np.stack([x, y], axis=1)[order] * PIXEL_A, merit[order]


def judged(xy: np.ndarray, one: Field, share: float) -> tuple[np.ndarray, np.ndarray, int]:
    """Which picks count, which of them are right, and how many true places count.

    Particles and picks nearer the border than half a diameter count neither way: those particles are cut, and cannot
    be extracted.
    """
    extent_A = np.array(one.micrograph.data.shape[::-1]) * PIXEL_A
    margin_A = 0.5 * one.diameter_A
    counts = np.all((one.centres_A > margin_A) & (one.centres_A < extent_A - margin_A), axis=1)
    nearest = np.full(len(xy), -1)
    free = np.ones(len(counts), dtype=bool)
    for i, place in enumerate(xy):
        distance = np.where(free, np.hypot(*(one.centres_A - place).T), np.inf)
        if distance.min() <= share * one.diameter_A:
            nearest[i] = distance.argmin()
            free[nearest[i]] = False
    right = nearest >= 0
    at_border = ~np.all((xy > margin_A) & (xy < extent_A - margin_A), axis=1)
    kept = np.where(right, counts[nearest], ~at_border).astype(bool)
    return kept, right, int(counts.sum())


def quality(picks: list[tuple[np.ndarray, np.ndarray]], fields: list[Field], share: float) -> tuple[Ranking, float]:
    """AP and best F1 over all fields with matches within `share` of the diameter, and the F1 of the list as it is."""
    found = [judged(xy, one, share) for (xy, _), one in zip(picks, fields, strict=True)]
    right = np.concatenate([r[k] for k, r, _ in found])
    scores = np.concatenate([s[k] for (_, s), (k, _, _) in zip(picks, found, strict=True)])
    n_true = sum(n for *_, n in found)
    return rank_quality(right, scores, n_true), 2.0 * int(right.sum()) / max(len(right) + n_true, 1)


def ours(hook, params, fields: list[Field], scratch: Path):
    """Picks and CPU seconds of one of our pickers."""
    started = time.process_time()
    found = []
    for one in fields:
        table = hook(micrograph=one.micrograph, ctf=one.ctf, params=params, ctx=StageContext(scratch))
        xy = np.stack([table.floats("x_A"), table.floats("y_A")], axis=1)
        found.append((xy, table.floats("figure_of_merit")))
    return found, time.process_time() - started
