"""Particles of twenty views projected by RELION's own program, with known poses, and how well a classification did."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import NamedTuple

import mrcfile
import numpy as np

from cryoframe.formats import mrc
from cryoframe.formats.star_products import stack_from_star
from cryoframe.numerics import symmetry
from cryoframe.numerics.resample import resample_volume

N_VIEWS, BOX_PX, PIXEL_A = 20, 64, 3.54
OPTICS = ("OpticsGroupName", "OpticsGroup", "Voltage", "SphericalAberration", "AmplitudeContrast", "ImagePixelSize")
POSED = ("AngleRot", "AngleTilt", "AnglePsi", "OriginXAngst", "OriginYAngst")
PLAIN = ("MicrographName", "OpticsGroup", "DefocusU", "DefocusV", "DefocusAngle", "PhaseShift", "ImageName")


class Truth(NamedTuple):
    """View `(m,)`, in-plane angle [degrees] `(m,)` and translation [Å] `(m, 2)`."""

    view: np.ndarray
    psi_deg: np.ndarray
    shift_A: np.ndarray


def star(path: Path, names, rows) -> None:
    optics = (*OPTICS, "ImageSize", "ImageDimensionality")
    lines = [
        "# version 30001",
        "",
        "data_optics",
        "",
        "loop_",
        *(f"_rln{name} #{i + 1}" for i, name in enumerate(optics)),
    ]
    lines += [f"opticsGroup1 1 300.0 2.7 0.1 {PIXEL_A} {BOX_PX} 2", "", "# version 30001", "", "data_particles", ""]
    lines += ["loop_", *(f"_rln{name} #{i + 1}" for i, name in enumerate(names)), *(" ".join(row) for row in rows), ""]
    path.write_text("\n".join(lines))


def make(folder: Path, published_map: Path, n: int, *, snr: float = 0.03):
    """Stack without poses, and the truth; `relion_project` makes the images, CTF and noise included."""
    data, _ = mrc.read(published_map)
    volume = resample_volume(data, PIXEL_A, n=BOX_PX, new_pixel_size_A=PIXEL_A)
    mrc.write(folder / "map.mrc", volume, pixel_size_A=PIXEL_A)
    rng = np.random.default_rng(7)
    grid = symmetry.directions_in_asymmetric_unit(22.0, "D2")
    grid = grid[np.linspace(0, len(grid) - 1, N_VIEWS).round().astype(int)]
    view = rng.integers(0, N_VIEWS, n)
    tilt = grid[view, 1] + rng.normal(0, 3, n)
    rot = grid[view, 0] + rng.normal(0, 3, n) / np.maximum(np.sin(np.radians(grid[view, 1])), 0.2)
    truth = Truth(view, rng.uniform(-180, 180, n), rng.normal(0, 2 * PIXEL_A, (n, 2)))
    u = rng.uniform(8000, 25000, n)
    ctf = np.stack([u, u - rng.uniform(0, 600, n), rng.uniform(0, 180, n), np.zeros(n)], axis=1)
    pose = np.column_stack([rot, tilt, truth.psi_deg, truth.shift_A])

    def rows(stack: str, posed: bool):
        for i in range(n):
            numbers = [*(pose[i] if posed else ()), *ctf[i]]
            yield [f"mic{i // 50:03d}.mrc", "1", *(f"{value:.4f}" for value in numbers), f"{i + 1:06d}@{stack}"]

    star(folder / "in.star", (*PLAIN[:2], *POSED, *PLAIN[2:]), rows("dummy.mrcs", True))
    project = ["relion_project", "--i", "map.mrc", "--ang", "in.star", "--ctf", "--angpix", str(PIXEL_A)]
    subprocess.run([*project, "--o", "clean"], cwd=folder, check=True, capture_output=True)
    sigma = float(images_of(folder / "clean.mrcs").std()) / np.sqrt(snr)
    noisy = [*project, "--o", "noisy", "--add_noise", "--white_noise", f"{sigma:.4f}"]
    subprocess.run(noisy, cwd=folder, check=True, capture_output=True)
    mrc.write(
        folder / "parts.mrcs", (images_of(folder / "noisy.mrcs") / sigma).astype(np.float32), pixel_size_A=PIXEL_A
    )
    star(folder / "parts.star", PLAIN, rows("parts.mrcs", False))
    return stack_from_star(folder / "parts.star", images_path=folder / "parts.raw"), truth


def images_of(path: Path) -> np.ndarray:
    with mrcfile.open(path, permissive=True) as opened:
        return np.array(opened.data)


def purity(labels, truth: Truth) -> float:
    """Share of particles that belong to the commonest view of their class."""
    table = np.zeros((labels.max() + 1, N_VIEWS))
    np.add.at(table, (labels, truth.view), 1)
    return float(table.max(axis=1).sum() / len(labels))


def alignment_errors(labels, psi_deg, shift_A, truth: Truth) -> tuple[float, float]:
    """Median error of in-plane angle [degrees] and translation [Å] within the commonest view of each class.

    What all members of a class share, a turn and a translation in the class's frame, is no error.
    """
    angles, lengths = [], []
    for k in range(labels.max() + 1):
        rows = np.flatnonzero(labels == k)
        if len(rows):
            rows = rows[truth.view[rows] == np.bincount(truth.view[rows]).argmax()]
        if len(rows) < 5:
            continue
        off = (psi_deg - truth.psi_deg)[rows]
        apart = np.abs((off[:, None] - off[None] + 180) % 360 - 180)
        off = (off - off[np.median(apart, axis=1).argmin()] + 180) % 360 - 180
        angles += np.abs(off - np.median(off)).tolist()
        x, y = (shift_A - truth.shift_A)[rows].T
        c, s = np.cos(np.radians(psi_deg[rows])), np.sin(np.radians(psi_deg[rows]))
        moved = np.stack([x * c - y * s, x * s + y * c], axis=1)
        lengths += np.linalg.norm(moved - np.median(moved, axis=0), axis=1).tolist()
    return float(np.median(angles)), float(np.median(lengths))
