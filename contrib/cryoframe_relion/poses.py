"""Particles and reference into files for RELION's refinement, and its poses and half-maps back; no program is run here.

RELION's frame, axes, angles and signs are ours (CONVENTIONS): numbers are handed over as they are.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from cryoframe import (
    FscTable,
    HalfMaps,
    IterationTable,
    Mask,
    ParticleStack,
    ParticleTable,
    Refinement,
    Volume,
)
from cryoframe.errors import HalfSetError, InvalidInput, PluginError
from cryoframe.formats import mrc
from cryoframe.formats.star import read_star
from cryoframe.formats.star_columns import particles_from_star
from cryoframe.formats.star_products import table_to_star
from cryoframe.numerics import fsc
from cryoframe.numerics.masks import spherical_mask

Array = npt.NDArray[Any]

STAR: Final = "particles.star"
STACK: Final = "particles.mrcs"
REFERENCE: Final = "reference.mrc"
MASK: Final = "mask.mrc"
OUT: Final = "out"
#: What RELION finds; the particles go to it without.
FOUND: Final = ("rot_deg", "tilt_deg", "psi_deg", "shift_x_A", "shift_y_A", "pose_score")
_NOT_TOLD: Final = (*FOUND, "class_id", "class_probability_frac")
_MASK_EDGE_PX: Final = 5.0


def check(stack: ParticleStack, reference: Volume, mask: Mask | None) -> None:
    """Refuse what cannot be refined, before RELION is started.

    Raises
    ------
    InvalidInput, HalfSetError
        Saying which input, what was expected and what to do.
    """
    stack.require("refine")
    n = int(stack.images.shape[-1])
    stack.require_like(reference)
    if n % 2:
        raise InvalidInput(f"boxes of {n} px", expected="an even number: RELION takes no other")
    if mask is not None:
        _check_mask(mask, n, stack.pixel_size_A)
    if not all(np.isfinite(image).all() for image in stack.images):
        raise InvalidInput("images hold values that are not finite", expected="finite pixels")
    half = np.asarray(stack.particles.column("half"))
    if not np.isin(half, (1, 2)).all() or len(np.unique(half)) != 2:
        raise HalfSetError(
            "particles without a half-set, or all in one",
            expected="each in half-set 1 or 2",
            remedy="Leave rlnRandomSubset out of the STAR file, and half-sets are assigned by micrograph.",
        )


def _check_mask(mask: Mask, n: int, pixel_A: float) -> None:
    if mask.data.shape != (n, n, n) or not np.max(mask.data) > 0.5:
        raise InvalidInput(
            f"mask of {mask.data.shape} voxels",
            expected=f"({n}, {n}, {n}) with voxels above 0.5",
            remedy="Make it anew with make_mask.",
        )
    if not abs(mask.pixel_size_A / pixel_A - 1.0) <= 1e-3:
        raise InvalidInput(
            f"a mask with voxels of {mask.pixel_size_A:.4f} Å for images of {pixel_A:.4f} Å",
            expected="one pixel size",
            remedy="Make it of a map of these particles.",
        )


def hand_over(stack: ParticleStack, reference: Volume, mask: Mask | None, workdir: Path) -> None:
    """Write stack, STAR file, reference and mask into `workdir`."""
    hand_over_particles(stack, workdir)
    pixel = stack.pixel_size_A
    mrc.write(workdir / REFERENCE, reference.data, pixel_size_A=pixel)
    if mask is not None:
        mrc.write(workdir / MASK, np.clip(mask.data, 0.0, 1.0), pixel_size_A=pixel)


def hand_over_particles(stack: ParticleStack, workdir: Path) -> None:
    """Write stack and STAR file into `workdir`, poses and classes left out, and make the folder of the answer."""
    (workdir / OUT).mkdir()
    pixel = stack.pixel_size_A
    mrc.write(workdir / STACK, np.asarray(stack.images, dtype=np.float32), pixel_size_A=pixel, is_stack=True)
    table = stack.particles.without([name for name in _NOT_TOLD if name in stack.particles.names])
    table_to_star(
        workdir / STAR, table, stack.optics, pixel_size_A=pixel, stack_name=STACK, box_px=int(stack.images.shape[-1])
    )


def progress(workdir: Path) -> tuple[int, float]:
    """Return the last iteration that ended, and its resolution [Å], 0 where RELION has not said one."""
    number = last_iteration(workdir)
    if number < 1:
        return 0, 0.0
    path = workdir / OUT / f"run_it{number:03d}_half1_model.star"
    # Its processes write side by side: this file may come after the other.
    text = path.read_text(encoding="utf-8", errors="replace")[:4000] if path.is_file() else ""
    found = re.search(r"_rlnCurrentResolution\s+(\S+)", text)
    value = float(found.group(1)) if found else 0.0
    return number, value if np.isfinite(value) else 0.0


def last_iteration(workdir: Path) -> int:
    """Return the highest iteration whose optimiser file is there; -1 for none."""
    names = (re.fullmatch(r"run_it(\d+)_optimiser\.star", path.name) for path in (workdir / OUT).glob("run_it*"))
    return max((int(found.group(1)) for found in names if found), default=-1)


def converged(workdir: Path) -> bool:
    """Whether RELION came to its own end, with a map of all particles and half-maps without any filter."""
    return (workdir / OUT / "run_half2_class001_unfil.mrc").is_file()


def last_table(workdir: Path) -> str:
    """Return the name of the particles' table of the last iteration.

    Raises
    ------
    PluginError
        If RELION left no iteration.
    """
    last = last_iteration(workdir)
    if last < 1:
        raise PluginError(
            f"RELION ended well and left no iteration in {workdir / OUT}", remedy="Look at its log there."
        )
    return f"{OUT}/run_it{last:03d}_data.star"


def reconstructed(half: int) -> str:
    """Name of a half-map made of the poses of an iteration."""
    return f"{OUT}/half{half}.mrc"


def read(workdir: Path, stack: ParticleStack, reference: Volume, *, symmetry: str, diameter_A: float) -> Refinement:
    """Make the products of what RELION left: of its end where it converged, else of its last iteration.

    The map of all particles is RELION's filtered one; half-maps are without filter and mask.

    Raises
    ------
    PluginError
        If it left no iteration.
    """
    out, last, ended = workdir / OUT, last_iteration(workdir), converged(workdir)
    table = workdir / (f"{OUT}/run_data.star" if ended else last_table(workdir))
    names = [f"{OUT}/run_half{half}_class001_unfil.mrc" if ended else reconstructed(half) for half in (1, 2)]
    halves = [_map(workdir / name) for name in names]
    filtered = ["run_class001"] if ended else [f"run_it{last:03d}_half{half}_class001" for half in (1, 2)]
    whole = np.mean([_map(out / f"{name}.mrc") for name in filtered], axis=0)

    def volume(data: Array) -> Volume:
        return Volume(data.astype(np.float32), stack.pixel_size_A, symmetry, reference.provenance)

    return Refinement(
        volume=volume(whole),
        half_maps=HalfMaps(volume(halves[0]), volume(halves[1])),
        fsc=_fsc(halves[0], halves[1], stack.pixel_size_A, diameter_A),
        particles=_with_poses(stack.particles, table),
        iterations=_iterations(out, last),
    )


def _map(path: Path) -> Array:
    data, _ = mrc.read(path)
    if not np.isfinite(data).all():
        raise PluginError(f"RELION's map {path.name} holds values that are not finite")
    return data


def _fsc(first: Array, second: Array, pixel_size_A: float, diameter_A: float) -> FscTable:
    """The one definition of the curve, within a sphere for the masked one; RELION's own says about the same."""
    n = len(first)
    mask = spherical_mask(n, min(0.5 * diameter_A / pixel_size_A, n / 2 - 1 - _MASK_EDGE_PX), edge_px=_MASK_EDGE_PX)
    bare = fsc.fsc_curve(first, second, pixel_size_A=pixel_size_A)
    masked = fsc.fsc_curve(first, second, pixel_size_A=pixel_size_A, mask=mask)
    return FscTable.of_shells(bare.frequency_1_A, bare.n_voxels, fsc_unmasked=bare.fsc, fsc_masked=masked.fsc)


def _with_poses(particles: ParticleTable, path: Path) -> ParticleTable:
    """Particles in their own order with RELION's poses; RELION writes rows in another."""
    columns = particles_from_star(path).columns
    place = np.asarray(columns["stack_index"], dtype=np.int64)
    if len(place) != len(particles) or not np.array_equal(np.sort(place), np.arange(len(particles))):
        raise PluginError(f"RELION left {len(place)} rows", expected=f"each of the {len(particles)} particles once")
    order = np.argsort(place)
    return particles.with_columns({name: np.asarray(columns[name])[order].astype(np.float32) for name in FOUND})


def _iterations(out: Path, last: int) -> IterationTable:
    rows = [_row(out, number) for number in range(1, last + 1)]
    return IterationTable.from_columns(
        {
            "iteration": np.arange(1, last + 1, dtype=np.int32),
            **{
                name: np.array([row[column] for row in rows], dtype=np.float32)
                for column, name in enumerate(("resolution_A", "angle_change_deg", "shift_change_A"))
            },
        }
    )


def _row(out: Path, number: int) -> tuple[float, float, float]:
    model = read_star(out / f"run_it{number:03d}_half1_model.star")["model_general"]
    optimiser = read_star(out / f"run_it{number:03d}_optimiser.star")["optimiser_general"]
    said = (
        model.value("rlnCurrentResolution"),
        optimiser.value("rlnChangesOptimalOrientations"),
        optimiser.value("rlnChangesOptimalOffsets"),
    )
    return tuple(float(text) for text in said)  # type: ignore[return-value]
