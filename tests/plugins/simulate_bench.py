"""What the tests of the simulated microscope share: a small molecule, a small field, and everything switched off."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from cryoframe import Exposure, SimulatedMovie, Specimen, StageContext, Volume
from cryoframe.numerics import ctf, fourier, projection, rotations
from cryoframe.numerics.grids import frequency_axes_1_A
from cryoframe.numerics.lens import phase_per_potential_A
from cryoframe.testing import phantoms
from cryoframe_simulate.plugin import Params, simulate_movies

PIXEL_A = 2.0
BOX_PX = 64

#: Nothing but particles, ice that takes nothing, a lens and a camera that counts every electron.
PLAIN = {
    "ice_noise": False,
    "inelastic": False,
    "damage": False,
    "motion": False,
    "blur": False,
    "doming": False,
    "coherence": False,
    "coincidence": False,
    "gain": False,
    "defects": False,
    "hot_pixels": False,
    "support": False,
    "spread": False,
}


def coil(pixel_size_A: float = PIXEL_A, box_px: int = BOX_PX, **settings: object) -> Specimen:
    """A molecule without symmetry, 90 Å across, as dense against ice as protein is (about 3 V)."""
    made = phantoms.molecule(box_px, pixel_size_A)
    dense = replace(made, data=(0.03 * made.data).astype(np.float32))
    given = {"mass_kDa": 60.0, "radius_A": 55.0, "concentration_mg_mL": 2.0} | settings
    return Specimen("coil", dense, **given)


def grains(pixel_size_A: float = PIXEL_A, box_px: int = BOX_PX, **settings: object) -> Specimen:
    """A molecule of 60 grains in a ball of 40 Å radius: like the coil, but fine detail has most of its power."""
    rng = np.random.default_rng(7)
    places = rng.standard_normal((60, 3))
    places *= (40.0 * rng.random((60, 1)) ** (1 / 3)) / np.linalg.norm(places, axis=1, keepdims=True)
    axis = (np.arange(box_px) - box_px // 2) * pixel_size_A
    profile = np.exp(-0.5 * ((axis - places[:, :, None]) / pixel_size_A) ** 2)
    data = 0.5 * np.einsum("pz,py,px->zyx", profile[:, 2], profile[:, 1], profile[:, 0], optimize=True)
    made = coil(pixel_size_A, box_px, **settings)
    return replace(made, name="grains", volume=replace(made.volume, data=data.astype(np.float32)))


def nothing(pixel_size_A: float = PIXEL_A) -> Specimen:
    """A specimen that is not there."""
    return Specimen("nothing", Volume(np.zeros((16, 16, 16), dtype=np.float32), pixel_size_A), 50.0, 16.0, 0.0)


def exposure(**settings: object) -> Exposure:
    """A field of 512² pixels, four frames, 20 e/Å²."""
    usual = {
        "exposure_id": "bench",
        "shape_px": (512, 512),
        "pixel_size_A": PIXEL_A,
        "n_frames": 4,
        "dose_per_frame_e_A2": 5.0,
        "frame_time_s": 1.0,
        "defocus_u_A": 12000.0,
        "defocus_v_A": 12000.0,
        "ice_thickness_A": 300.0,
    }
    return Exposure(**(usual | settings))


def shoot(specimens=None, seed: int = 1, shot: Exposure | None = None, **params: object) -> SimulatedMovie:
    """Simulate with everything off that `params` does not name."""
    chosen = [coil()] if specimens is None else list(specimens)
    ctx = StageContext(Path("unused"), stage_id="simulate", item_id="item", seed=seed)
    return simulate_movies(chosen, shot or exposure(), Params(**(PLAIN | params)), ctx)


def summed(made: SimulatedMovie) -> np.ndarray:
    """Sum of the gain-corrected frames, float64."""
    return np.sum([frame.astype(np.float64) for frame in made.movie.frames()], axis=0)


def contrast_of(made: SimulatedMovie, index: int = 0) -> np.ndarray:
    """I/I₀ − 1 of a frame of expected electrons."""
    scene = made.movie.source.frames.scene  # type: ignore[union-attr]
    frame = made.movie.source.read_frame(index).astype(np.float64)  # type: ignore[union-attr]
    return frame / (scene.incident_e_px()[index] * scene.sensor.camera.detection_frac) - 1.0


def boxed(image: np.ndarray, x_px: float, y_px: float, n: int) -> np.ndarray:
    """Box `(n, n)` of an image whose origin n//2 lies at a place."""
    x, y = round(x_px), round(y_px)
    cut = image[y - n // 2 : y - n // 2 + n, x - n // 2 : x - n // 2 + n].astype(np.float32)
    return fourier.shift_images(cut[None], np.array([[x - x_px, y - y_px]]))[0]


def templates(made: SimulatedMovie, specimen: Specimen, rows: np.ndarray, n: int) -> np.ndarray:
    """What the truth's rows promise: contrast of each particle, bright, `(m, n, n)`, by pose and CTF of the table."""
    table, optics, pixel = made.truth.particles.select(rows), made.truth.optics, specimen.volume.pixel_size_A
    pad = (n - specimen.volume.data.shape[0]) // 2
    volume_ft = projection.prepare_volume(np.pad(specimen.volume.data, pad))
    turned = rotations.euler_to_matrix(*(table.floats(name) for name in ("rot_deg", "tilt_deg", "psi_deg")))
    names = ("defocus_u_A", "defocus_v_A", "defocus_angle_deg", "phase_shift_deg")
    transfer = ctf.ctf_half(
        n,
        pixel,
        voltage_kV=optics.voltage_kV,
        cs_mm=optics.cs_mm,
        amplitude_contrast=optics.amplitude_contrast_frac,
        **{name: table.floats(name) for name in names},
    )
    kx, ky = ctf.half_frequencies(n, pixel)
    strength = 2.0 * phase_per_potential_A(optics.voltage_kV) * pixel
    slices = projection.project(volume_ft, turned) * transfer * (strength * np.sinc(kx * pixel) * np.sinc(ky * pixel))
    return fourier.ifft2_centred(slices.astype(np.complex64))


def inner_rows(made: SimulatedMovie, n: int) -> np.ndarray:
    """Rows of particles whose boxes lie inside the field and reach no other particle's centre."""
    table, pixel = made.truth.particles, made.movie.pixel_size_A
    place = np.stack([table.floats("x_A"), table.floats("y_A")], axis=1) / pixel
    ny, nx = made.movie.shape_px
    inside = np.all((place > n // 2 + 1) & (place < np.array([nx, ny]) - n // 2 - 2), axis=1)
    return np.flatnonzero(inside)


def peak_of(image: np.ndarray, template: np.ndarray) -> tuple[float, float]:
    """Where (x, y) a template is found in a box, in pixels from the place it was expected at; sub-pixel by parabola."""
    n = image.shape[-1]
    product = np.fft.fft2(image - image.mean()) * np.conj(np.fft.fft2(template - template.mean()))
    found = np.fft.fftshift(np.fft.ifft2(product).real)
    row, column = np.unravel_index(np.argmax(found), found.shape)

    def vertex(before: float, here: float, after: float) -> float:
        return 0.5 * (before - after) / (before - 2.0 * here + after)

    dy = vertex(*found[row - 1 : row + 2, column])
    dx = vertex(*found[row, column - 1 : column + 2])
    return float(column - n // 2 + dx), float(row - n // 2 + dy)


def alike(a: np.ndarray, b: np.ndarray) -> float:
    """Correlation coefficient."""
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def spectrum(image: np.ndarray) -> np.ndarray:
    """Half transform."""
    return np.fft.rfft2(image)


def windowed(image: np.ndarray) -> np.ndarray:
    """Transform with soft edges: what crosses the edge of the field leaks into every frequency."""
    return np.fft.rfft2((image - image.mean()) * np.outer(np.hanning(image.shape[0]), np.hanning(image.shape[1])))


def shells(shape: tuple[int, int], pixel_size_A: float) -> np.ndarray:
    """Frequencies [1/Å] of the half transform."""
    kx, ky = frequency_axes_1_A(shape, pixel_size_A, centred_half=False)
    return np.hypot(kx, ky)
