"""A rigid protein in a belt that is different in every image, as detergent is; or without one. With its truth."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from cryoframe import ParticleStack, Volume
from cryoframe.numerics import fourier, masks, rotations
from cryoframe.testing import phantoms

BOX_PX, PIXEL_A, LUMP_A = 48, 4.0, 3.5
BELT_RADIUS_A, BELT_TUBE_A = 46.0, 14.0


@dataclass(frozen=True)
class Specimen:
    """Particles, their poses, the protein alone, and a mask of where it is."""

    stack: ParticleStack
    rotations: np.ndarray
    shifts_A: np.ndarray
    protein: Volume
    protein_mask: np.ndarray


def protein_places(rng: np.random.Generator) -> np.ndarray:
    """Lumps `(m, 3)` (x, y, z) [Å]: a stalk through the belt with uneven heads above and below it; no symmetry."""
    stalk = rng.uniform((-20, -20, -30), (20, 20, 30), (60, 3))
    above = rng.uniform((-38, -28, 28), (26, 34, 62), (80, 3))
    below = rng.uniform((-18, -24, -48), (34, 14, -28), (35, 3))
    return np.concatenate([stalk, above, below])


def belt_places(rng: np.random.Generator, n: int) -> np.ndarray:
    """Lumps anywhere in a ring about z, drawn anew for each particle."""
    angle, turn = rng.uniform(0, 2 * np.pi, (2, n))
    tube = BELT_TUBE_A * np.sqrt(rng.uniform(0, 1, n))
    radius = BELT_RADIUS_A + tube * np.cos(turn)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), tube * np.sin(turn)], axis=-1)


def density(places: np.ndarray) -> Volume:
    """Gaussian lumps as a map."""
    axis = (np.arange(BOX_PX) - BOX_PX // 2) * PIXEL_A
    profile = np.exp(-0.5 * ((axis - places[:, :, None]) / LUMP_A) ** 2)
    data = np.einsum("pz,py,px->zyx", profile[:, 2], profile[:, 1], profile[:, 0], optimize=True)
    return Volume(data.astype(np.float32), PIXEL_A)


def picture(places: np.ndarray, weight: float = 1.0) -> np.ndarray:
    """Their projection along z."""
    axis = (np.arange(BOX_PX) - BOX_PX // 2) * PIXEL_A
    profile = np.exp(-0.5 * ((axis - places[:, :2, None]) / LUMP_A) ** 2)
    return weight * np.einsum("py,px->yx", profile[:, 1], profile[:, 0], optimize=True)


def particles(n: int, *, belt: float, snr: float, seed: int) -> Specimen:
    """Images `(n, 48, 48)` with CTF and white noise; `belt` is its mass over the protein's, `snr` the protein's own."""
    rng = np.random.default_rng(seed)
    places = protein_places(np.random.default_rng(11))
    turns = rotations.random_rotations(n, rng)
    shifts = rng.uniform(-2.0, 2.0, (n, 2)) * PIXEL_A
    n_belt = round(belt * len(places))
    offset = np.concatenate([-shifts, np.zeros((n, 1))], axis=1)
    bare = np.stack([picture(places @ turn.T + move) for turn, move in zip(turns, offset, strict=True)])
    whole = bare + np.stack(
        [
            picture(belt_places(rng, max(n_belt, 1)) @ turn.T + move, float(n_belt > 0))
            for turn, move in zip(turns, offset, strict=True)
        ]
    )
    # A defocus for each micrograph: one alone would leave its zeros empty.
    defocus = rng.uniform(10000.0, 22000.0, phantoms.N_MICROGRAPHS)[np.arange(n) % phantoms.N_MICROGRAPHS]
    fits = [replace(phantoms.CTF, defocus_u_A=float(d), defocus_v_A=float(d)) for d in defocus]
    ctfs = np.concatenate([phantoms.transfer(BOX_PX, PIXEL_A, fit) for fit in fits])
    seen, alone = (fourier.ifft2_centred((fourier.fft2_centred(x) * ctfs).astype(np.complex64)) for x in (whole, bare))
    noise = rng.standard_normal(seen.shape)
    images = (seen * (np.sqrt(snr) / alone.std()) + noise).astype(np.float32)
    table = phantoms.identified(n, seed).with_columns(
        phantoms._image_columns(n)
        | {"box_px": np.full(n, BOX_PX, np.int32)}
        | phantoms.ctf_columns(n)
        | {name: defocus.astype(np.float32) for name in ("defocus_u_A", "defocus_v_A")}
    )
    protein = density(places)
    smooth = density(places[:, :]).data
    inside = masks.map_mask(smooth, 0.1 * float(smooth.max()), extend_px=1.0, edge_px=3.0)
    return Specimen(ParticleStack(images, table, PIXEL_A, (phantoms.OPTICS,)), turns, shifts, protein, inside)
