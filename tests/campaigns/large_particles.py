"""Many particles of apoferritin with known poses, written chunk by chunk to an MRC stack; `large_set` uses them.

Particles are projections of 6Z6U (octahedral) of random orientation and place, with CTF, an envelope and white noise.
"""

from __future__ import annotations

import mmap
from pathlib import Path

import numpy as np

from cryoframe import Optics, ParticleStack, ParticleTable, StageContext
from cryoframe.data.ids import half_of, particle_id
from cryoframe.formats import mrc
from cryoframe.numerics import ctf, fourier, grids, projection, rotations
from cryoframe_model import seed

MODEL = Path(__file__).resolve().parents[3] / "shared" / "data" / "models" / "6z6u.pdb"
FIELD_A = 192.0
ENVELOPE_A2 = 40.0
PER_MICROGRAPH = 100
OPTICS = Optics(voltage_kV=300.0, cs_mm=2.7, amplitude_contrast_frac=0.1, optics_group="large")
_CHUNK = 250
_HEADER_BYTES = 1024
_GROUPS = {"large": (300.0, 2.7, 0.1)}


def pixel_A(box_px: int) -> float:
    """The field of view is the same for all boxes."""
    return FIELD_A / box_px


def make(folder: Path, count: int, box_px: int, snr: float) -> None:
    """Write ``particles.mrcs``, ``truth.npz`` (map, rotations, shifts) and ``defocus.npy``.

    `snr` is signal over noise variance in an image whose pixel is 1.5 Å; finer pixels share that dose.
    """
    rng = np.random.default_rng([count, box_px, 5])
    truth = true_map(folder, box_px)
    turns = rotations.random_rotations(count, rng)
    shifts_A = rng.normal(0.0, 3.0, (count, 2))
    defocus = _defocus(count, rng)
    images = _mapped_file(folder / "particles.mrcs", count, box_px)
    volume_ft, scale = projection.prepare_volume(truth), 0.0
    for start in range(0, count, _CHUNK):
        part = slice(start, start + _CHUNK)
        clean = _projections(volume_ft, turns[part], shifts_A[part], defocus[part])
        scale = scale or float(np.sqrt(snr) / clean.std() * 128.0 / box_px)
        images[part] = clean * scale + rng.standard_normal(clean.shape, dtype=np.float32)
        images.flush()
        # Pages that were written count as this process's memory until they are given back.
        images._mmap.madvise(mmap.MADV_DONTNEED)
    np.savez(folder / "truth.npz", volume=truth, rotations=turns, shifts_A=shifts_A)
    np.save(folder / "defocus.npy", defocus)


def _mapped_file(path: Path, count: int, box_px: int) -> np.memmap:
    mrc.write(path, np.zeros((1, box_px, box_px), np.float32), pixel_size_A=pixel_A(box_px), is_stack=True)
    with path.open("r+b") as stream:
        stream.truncate(_HEADER_BYTES + 4 * count * box_px**2)
        stream.seek(8)
        stream.write(np.int32(count).tobytes())
        stream.seek(36)
        stream.write(np.int32(count).tobytes())
    return np.memmap(path, np.float32, "r+", offset=_HEADER_BYTES, shape=(count, box_px, box_px))


def true_map(folder: Path, box_px: int) -> np.ndarray:
    """Map `(n, n, n)` of the model on its octahedral axes, with the envelope that the images have."""
    blank = ParticleStack(np.zeros((1, box_px, box_px), np.float32), table(np.zeros((1, 3)), box_px), pixel_A(box_px))
    params = seed.Params(model=MODEL, symmetry="O", low_pass_A=2.05 * pixel_A(box_px))
    volume = seed.make_initial_volume(blank, params, StageContext(folder)).data
    radius_1_A = grids.frequencies_1_A(volume.shape, pixel_A(box_px))
    transform = fourier.fft3_centred(volume) * np.exp(-0.25 * ENVELOPE_A2 * radius_1_A**2).astype(np.float32)
    return np.asarray(fourier.ifft3_centred(transform.astype(np.complex64)), dtype=np.float32)


def _defocus(count: int, rng: np.random.Generator) -> np.ndarray:
    """`(m, 3)` defocus U, V [Å] and angle [deg], the same for all particles of a micrograph."""
    n = -(-count // PER_MICROGRAPH)
    u = rng.uniform(6000, 18000, n)
    each = np.stack([u, u - rng.uniform(0, 400, n), rng.uniform(0, 180, n)], axis=1)
    return np.repeat(each, PER_MICROGRAPH, axis=0)[:count]


def _projections(volume_ft: np.ndarray, turns: np.ndarray, shifts_A: np.ndarray, defocus: np.ndarray) -> np.ndarray:
    box_px = volume_ft.shape[0] // 2
    slices = projection.project(volume_ft, turns)
    slices *= fourier.phase_ramp(box_px, -shifts_A / pixel_A(box_px))
    columns = dict(zip(("defocus_u_A", "defocus_v_A", "defocus_angle_deg"), defocus.T, strict=True))
    columns["phase_shift_deg"] = np.zeros(len(slices))
    groups = np.full(len(slices), "large")
    slices *= ctf.ctf_of_groups(box_px, pixel_A(box_px), groups=groups, optics=_GROUPS, columns=columns)
    return fourier.ifft2_centred(slices.astype(np.complex64))


def table(defocus: np.ndarray, box_px: int) -> ParticleTable:
    """Particle table of images in the order of the stack, half-sets by micrograph."""
    count = len(defocus)
    names = [f"large-{row // PER_MICROGRAPH}" for row in range(count)]
    place = np.arange(count) % PER_MICROGRAPH
    x_A, y_A = (place % 10) * 250.0, (place // 10) * 250.0
    halves = {name: half_of(name, 0) for name in dict.fromkeys(names)}
    if len(halves) < 100:  # chance would make halves of very different size
        halves = {name: 1 + number % 2 for number, name in enumerate(halves)}
    identity = [particle_id(*row, "large") for row in zip(names, x_A, y_A, strict=True)]
    return ParticleTable.from_columns(
        {
            "particle_id": np.array(identity, np.uint64),
            "micrograph_id": names,
            "optics_group": ["large"] * count,
            "half": np.array([halves[name] for name in names], np.uint8),
            "x_A": x_A.astype(np.float32),
            "y_A": y_A.astype(np.float32),
            "figure_of_merit": np.ones(count, np.float32),
            "stack": ["particles.mrcs"] * count,
            "stack_index": np.arange(count, dtype=np.int32),
            "box_px": np.full(count, box_px, np.int32),
            "pixel_size_A": np.full(count, pixel_A(box_px), np.float32),
            "defocus_u_A": defocus[:, 0].astype(np.float32),
            "defocus_v_A": defocus[:, 1].astype(np.float32),
            "defocus_angle_deg": defocus[:, 2].astype(np.float32),
            "phase_shift_deg": np.zeros(count, np.float32),
        }
    )


def stack(folder: Path) -> ParticleStack:
    """The particles, their images mapped."""
    images = mrc.open_mapped(folder / "particles.mrcs")
    box_px = images.shape[-1]
    return ParticleStack(images, table(np.load(folder / "defocus.npy"), box_px), pixel_A(box_px), (OPTICS,))
