"""Particles into files for RELION's 2-D classification, and its classes and poses back; no program is run here.

RELION's in-plane angles, translations and their signs are ours (CONVENTIONS): numbers are handed over as they are.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from cryoframe import Classes2D, ClassTable, Column, ParticleStack
from cryoframe.errors import InvalidInput, PluginError
from cryoframe.formats import mrc
from cryoframe.formats.star import read_star
from cryoframe.formats.star_columns import particles_from_star
from cryoframe_relion import poses

Array = npt.NDArray[Any]

#: Fewer images than this make no classes.
FEWEST: Final = 10
EXTRA = (
    Column("distribution_frac", "float32", "RELION's share of the class, over all particles' posteriors."),
    Column("accuracy_rotation_deg", "float32", "RELION's rlnAccuracyRotations; 180 where a class shows nothing."),
    Column("accuracy_translation_A", "float32", "RELION's rlnAccuracyTranslationsAngst."),
)
_FOUND: Final = ("psi_deg", "shift_x_A", "shift_y_A", "pose_score")
#: The turn at which the score states how much less probable a pose is.
_SCORE_TURN_DEG: Final = 10.0


def check(stack: ParticleStack, *, ignore_ctf: bool) -> None:
    """Refuse what cannot be classified, before RELION is started.

    Raises
    ------
    InvalidInput
        Saying what, what was expected and what to do.
    """
    stack.require("classify", fewest=FEWEST, ctf=not ignore_ctf)
    n = int(stack.images.shape[-1])
    if n % 2:
        raise InvalidInput(f"boxes of {n} px", expected="an even number: RELION takes no other")


def progress(workdir: Path) -> tuple[int, float]:
    """Return the last iteration that ended, and its resolution [Å], 0 where RELION has not said one."""
    number = poses.last_iteration(workdir)
    if number < 1:
        return 0, 0.0
    path = _file(workdir, number, "model.star")
    text = path.read_text(encoding="utf-8", errors="replace")[:4000] if path.is_file() else ""
    found = re.search(r"_rlnCurrentResolution\s+(\S+)", text)
    value = float(found.group(1)) if found else 0.0
    return number, value if np.isfinite(value) else 0.0


def read(workdir: Path, stack: ParticleStack) -> Classes2D:
    """Make the products of what RELION left in its last iteration, the most populated class first.

    Raises
    ------
    PluginError
        If it left no iteration, or not what it was given.
    """
    columns = particles_from_star(workdir / poses.last_table(workdir)).columns
    place = np.asarray(columns["stack_index"], dtype=np.int64)
    m = len(stack.particles)
    if len(place) != m or not np.array_equal(np.sort(place), np.arange(m)):
        raise PluginError(f"RELION left {len(place)} rows", expected=f"each of the {m} particles once")
    order = np.argsort(place)
    averages, _ = mrc.read(_file(workdir, poses.last_iteration(workdir), "classes.mrcs"))
    labels = np.asarray(columns["class_id"], dtype=np.int64)[order]
    count = np.bincount(labels, minlength=len(averages))
    by_size = np.argsort(-count, kind="stable")
    rank = np.argsort(by_size, kind="stable")
    zero = np.zeros(m, np.float32)
    found = {name: np.asarray(columns[name])[order].astype(np.float32) for name in _FOUND}
    # RELION tells the probability of the best pose, not that of its class: at most this.
    found |= {"class_probability_frac": np.clip(found["pose_score"], 0.0, 1.0), "rot_deg": zero, "tilt_deg": zero}
    particles = stack.particles.with_columns({"class_id": rank[labels].astype(np.int32), **found})
    pictures = np.ascontiguousarray(averages[by_size], np.float32)
    if not np.isfinite(pictures).all():
        raise PluginError("RELION's averages hold values that are not finite")
    return Classes2D(pictures, _table(workdir, stack, count, by_size), particles, stack.pixel_size_A)


def _table(workdir: Path, stack: ParticleStack, count: Array, by_size: Array) -> ClassTable:
    """RELION's own figures of its classes.

    References
    ----------
    Accuracy: Scheres, J. Struct. Biol. 180, 519 (2012), section 2.4, doi:10.1016/j.jsb.2012.09.006: the turn or
    translation at which a pose is expected to be a hundred times less probable. Score, definition: the drop of the
    log-likelihood that the accuracy implies for a turn of 10 degrees, as it grows with the square of a small turn.
    """
    block = read_star(_file(workdir, poses.last_iteration(workdir), "model.star"))["model_classes"]
    said = {
        # As texts: RELION writes "inf" for the resolution of a class that shows nothing.
        name: np.array([float(text) for text in block.strings(label)])[by_size]
        for name, label in (
            ("share", "rlnClassDistribution"),
            ("turn", "rlnAccuracyRotations"),
            ("move", "rlnAccuracyTranslationsAngst"),
            ("resolution", "rlnEstimatedResolution"),
        )
    }
    box_A = int(stack.images.shape[-1]) * stack.pixel_size_A
    turn_deg = np.clip(np.nan_to_num(said["turn"], nan=180.0), 1e-3, 180.0)
    score = np.log(100.0) * (_SCORE_TURN_DEG / turn_deg) ** 2
    return ClassTable.from_columns(
        {
            "class_id": np.arange(len(count), dtype=np.int32),
            "n_particles": count[by_size].astype(np.int64),
            "resolution_A": np.clip(np.nan_to_num(said["resolution"], nan=box_A, posinf=box_A), 0.0, box_A).astype(
                np.float32
            ),
            "class_score": np.where(count[by_size] > 0, score, 0.0).astype(np.float32),
            "distribution_frac": said["share"].astype(np.float32),
            "accuracy_rotation_deg": turn_deg.astype(np.float32),
            "accuracy_translation_A": np.clip(np.nan_to_num(said["move"], nan=1e4), 0.0, 1e4).astype(np.float32),
        },
        extra=EXTRA,
    )


def _file(workdir: Path, number: int, name: str) -> Path:
    return workdir / poses.OUT / f"run_it{number:03d}_{name}"
