"""A small asymmetric world of Gaussian blobs with closed-form projections, and RELION's programs run on it."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cryoframe.formats import mrc, star

N, PIXEL_SIZE_A = 64, 2.0
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Blobs:
    """Gaussians: centres `(m, 3)` as (x, y, z) from the box origin [px], widths [px], weights."""

    centres: Array
    sigma_px: Array
    weights: Array

    def map(self, n: int = N) -> NDArray[np.float32]:
        z, y, x = np.mgrid[:n, :n, :n] - float(n // 2)
        total = np.zeros((n, n, n))
        for (cx, cy, cz), sigma, weight in zip(self.centres, self.sigma_px, self.weights, strict=True):
            total += weight * np.exp(-((x - cx) ** 2 + (y - cy) ** 2 + (z - cz) ** 2) / (2 * sigma**2))
        return total.astype(np.float32)

    def projection(self, rotation: Array, shift_px: tuple[float, float] = (0.0, 0.0), n: int = N) -> Array:
        """Closed form of the projection: rotate the centres, drop the third coordinate, move by the offset given."""
        y, x = np.mgrid[:n, :n] - float(n // 2)
        total = np.zeros((n, n))
        for centre, sigma, weight in zip(self.centres, self.sigma_px, self.weights, strict=True):
            cx, cy, _ = rotation @ centre
            r2 = (x - cx - shift_px[0]) ** 2 + (y - cy - shift_px[1]) ** 2
            total += weight * sigma * np.sqrt(2 * np.pi) * np.exp(-r2 / (2 * sigma**2))
        return total


def asymmetric_blobs(seed: int = 3, n_blobs: int = 14) -> Blobs:
    rng = np.random.default_rng(seed)
    return Blobs(rng.uniform(-13, 13, (n_blobs, 3)), rng.uniform(1.3, 2.0, n_blobs), rng.uniform(0.5, 2, n_blobs))


@dataclass(frozen=True)
class Particles:
    """Poses, offsets and CTFs, in the house's columns."""

    rot_deg: Array
    tilt_deg: Array
    psi_deg: Array
    shift_A: Array
    defocus_u_A: Array
    defocus_v_A: Array
    defocus_angle_deg: Array
    phase_shift_deg: Array

    def ctf_arguments(self) -> dict[str, object]:
        names = ("defocus_u_A", "defocus_v_A", "defocus_angle_deg", "phase_shift_deg")
        return {name: getattr(self, name) for name in names} | {
            "voltage_kV": 300.0, "cs_mm": 2.7, "amplitude_contrast": 0.1,
        }  # fmt: skip


def random_particles(m: int, seed: int = 5, *, phase_plate: bool = True) -> Particles:
    rng = np.random.default_rng(seed)
    u = rng.uniform(8000, 20000, m)
    return Particles(
        rng.uniform(-180, 180, m), np.degrees(np.arccos(rng.uniform(-1, 1, m))), rng.uniform(-180, 180, m),
        rng.uniform(-8, 8, (m, 2)), u, u - rng.uniform(200, 3000, m), rng.uniform(0, 180, m),
        rng.uniform(0, 90, m) if phase_plate else np.zeros(m),
    )  # fmt: skip


def write_particles(particles: Particles, folder: Path, stack: str) -> Path:
    """Write RELION 3.1 STAR through our own writer."""
    m = len(particles.rot_deg)
    columns = {
        "rlnAngleRot": particles.rot_deg, "rlnAngleTilt": particles.tilt_deg, "rlnAnglePsi": particles.psi_deg,
        "rlnOriginXAngst": particles.shift_A[:, 0], "rlnOriginYAngst": particles.shift_A[:, 1],
        "rlnDefocusU": particles.defocus_u_A, "rlnDefocusV": particles.defocus_v_A,
        "rlnDefocusAngle": particles.defocus_angle_deg, "rlnPhaseShift": particles.phase_shift_deg,
    }  # fmt: skip
    optics = {
        "rlnOpticsGroup": "1", "rlnOpticsGroupName": "g", "rlnVoltage": "300.0", "rlnSphericalAberration": "2.7",
        "rlnAmplitudeContrast": "0.1", "rlnImagePixelSize": str(PIXEL_SIZE_A), "rlnImageSize": str(N),
        "rlnImageDimensionality": "2",
    }  # fmt: skip
    table = {
        "rlnImageName": [f"{i + 1:06d}@{stack}" for i in range(m)],
        "rlnMicrographName": ["mic.mrc"] * m,
        "rlnOpticsGroup": ["1"] * m,
    } | {name: [f"{value:.6f}" for value in values] for name, values in columns.items()}
    path = folder / "particles.star"
    star.write_star(path, {"optics": {name: [text] for name, text in optics.items()}, "particles": table})
    return path


def relion(program: str, *arguments: str, cwd: Path) -> None:
    """Run one of RELION's programs, or skip where it is absent."""
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed; apt-get install relion")
    done = subprocess.run([program, *arguments], cwd=cwd, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-1500:]


def relion_projections(volume: NDArray[np.float32], particles: Particles, folder: Path) -> NDArray[np.float32]:
    mrc.write(folder / "map.mrc", volume, pixel_size_A=PIXEL_SIZE_A)
    empty = np.zeros((len(particles.rot_deg), N, N), dtype=np.float32)
    mrc.write(folder / "empty.mrcs", empty, pixel_size_A=PIXEL_SIZE_A, is_stack=True)
    path = write_particles(particles, folder, "empty.mrcs")
    relion(
        "relion_project", "--i", "map.mrc", "--ang", path.name, "--o", "proj", "--ctf", "--pad", "2",
        "--angpix", str(PIXEL_SIZE_A), cwd=folder,
    )  # fmt: skip
    return mrc.read(folder / "proj.mrcs")[0]
