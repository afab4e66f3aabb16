"""Sums of simulated exposures of known CTF, made without their movies: good ones and bad ones; nothing is fitted here.

A field is one exposure taken in a single frame: ice, particles, damage, partial coherence, energy loss and counting are
those of the simulated microscope; motion is not in it, since a stage before has undone it.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from cryoframe.bench.cameras import camera_for
from cryoframe.data.images import Micrograph
from cryoframe.data.optics import Optics
from cryoframe.numerics import crystals, fourier, ice, noise, rotations
from cryoframe.numerics.ctf import Envelope
from cryoframe.numerics.field import StageTilt
from cryoframe.numerics.lens import Lens
from cryoframe.numerics.scene import Effects, FadingPatches, Loss, ParticleGroup, Scene, Sensor
from cryoframe.numerics.scene_frames import SceneFrames

VOLTAGE_KV, CS_MM, AMPLITUDE_CONTRAST = 300.0, 2.7, 0.1
SEED = 20
BOX_PX, RADIUS_A, N_SHAPES = 128, 32.0, 4
#: One protein atom in so many Å³, each taken as carbon; the ice it displaces has this share of their mean potential.
ATOM_A3, DISPLACED_FRAC = 16.3, 0.6
#: What else than a usable micrograph is in a campaign, and how often.
TROUBLES = (("empty", 0.05), ("no ice", 0.03), ("crystals", 0.05), ("carbon", 0.03))


@dataclasses.dataclass(frozen=True)
class Field:
    """Truth of one micrograph of a campaign."""

    index: int
    kind: str
    pixel_size_A: float
    defocus_A: float
    astigmatism_A: float
    angle_deg: float
    dose_e_A2: float
    thickness_A: float
    n_particles: int
    tilt_deg: float = 0.0
    axis_deg: float = 0.0
    shape: tuple[int, int] = (1024, 1024)

    @property
    def is_good(self) -> bool:
        """Whether there is anything to fit, and nobody would throw it away."""
        return self.kind == "good"

    @property
    def vacuum_grey(self) -> float:
        """Mean counts of the same exposure through vacuum."""
        return self.dose_e_A2 * self.pixel_size_A**2 * camera_for(self.shape[0]).detection_frac


def drawn(index: int, *, seed: int = SEED, kinds: bool = True) -> Field:
    """Field number `index` of a campaign: the ranges of a session, and what goes wrong in one."""
    rng = noise.generator(seed, index)
    kind, at = "good", rng.random()
    for name, share in TROUBLES:
        if kinds and 0.0 <= at < share:
            kind = name
        at -= share
    return Field(
        index,
        kind,
        pixel_size_A=float(rng.uniform(0.8, 1.4)),
        defocus_A=float(np.exp(rng.uniform(np.log(3500.0), np.log(40000.0)))),
        astigmatism_A=float(rng.uniform(0.0, 1000.0)),
        angle_deg=float(rng.uniform(0.0, 180.0)),
        dose_e_A2=float(rng.uniform(20.0, 60.0)),
        thickness_A=float(rng.uniform(200.0, 800.0)),
        n_particles=int(rng.integers(10, 60)),
    )


def tilted(index: int, *, seed: int = SEED) -> Field:
    """Field of a tilted stage, 2048²."""
    rng = noise.generator(seed, 1000, index)
    flat = drawn(index, seed=seed, kinds=False)
    return dataclasses.replace(
        flat,
        defocus_A=float(rng.uniform(10000.0, 25000.0)),
        tilt_deg=float(rng.uniform(0.0, 40.0)),
        axis_deg=float(rng.uniform(0.0, 360.0)),
        thickness_A=float(rng.uniform(200.0, 400.0)),
        n_particles=200,
        shape=(2048, 2048),
    )


def atoms(rng: np.random.Generator) -> NDArray[np.float64]:
    """Atoms `(n, 3)` [Å] of a ball of protein."""
    n = int(4.0 / 3.0 * np.pi * RADIUS_A**3 / ATOM_A3)
    places = rng.standard_normal((n, 3))
    lengths = np.linalg.norm(places, axis=1, keepdims=True)
    return np.asarray(places * (RADIUS_A * rng.random((n, 1)) ** (1 / 3) / lengths))


def patches_of(field: Field, rng: np.random.Generator) -> NDArray[np.float32]:
    """Projected potentials `(n, b, b)` [1/Å] of the particles of a field, against the ice they displace."""
    pixel = field.pixel_size_A
    edges = (np.arange(BOX_PX + 1) - BOX_PX // 2 - 0.5) * pixel
    middle = 0.5 * (edges[1:] + edges[:-1])
    chord = 2.0 * np.sqrt(np.maximum(RADIUS_A**2 - middle[:, None] ** 2 - middle[None, :] ** 2, 0.0))
    k = np.hypot(np.fft.fftfreq(BOX_PX, pixel)[:, None], np.fft.rfftfreq(BOX_PX, pixel)[None, :])
    heights, widths = ice.AMORPHOUS_CARBON.heights_A[0], ice.AMORPHOUS_CARBON.widths_A2[0]
    factor = np.sum([a * np.exp(-0.25 * (b + 20.0) * k * k) for a, b in zip(heights, widths, strict=True)], axis=0)
    shapes = [atoms(rng) for _ in range(N_SHAPES)]
    counts = np.empty((field.n_particles, BOX_PX, BOX_PX), dtype=np.float32)
    for i, turn in enumerate(rotations.random_rotations(field.n_particles, rng)):
        seen = shapes[i % N_SHAPES] @ turn.T
        counts[i] = np.histogram2d(seen[:, 1], seen[:, 0], bins=(edges, edges))[0]
    counts -= (DISPLACED_FRAC * chord * pixel**2 / ATOM_A3).astype(np.float32)
    turned = fourier.rfft2(counts) * (factor / pixel**2).astype(np.float32)
    return fourier.irfft2(turned, (BOX_PX, BOX_PX)).astype(np.float32)


def scene_of(field: Field) -> Scene:
    """The exposure: one frame, motion undone."""
    rng = noise.generator(SEED, field.index, 1)
    shape, pixel, thickness = field.shape, field.pixel_size_A, field.thickness_A
    half = 0.5 * field.astigmatism_A
    lens = Lens(VOLTAGE_KV, CS_MM, AMPLITUDE_CONTRAST, field.defocus_A + half, field.defocus_A - half, field.angle_deg,
                envelope=Envelope(focal_spread_A=60.0, source_angle_mrad=0.02))  # fmt: skip
    stage = StageTilt(field.tilt_deg, field.axis_deg)
    groups = (_particles(field, stage, rng),) if field.kind in ("good", "crystals") else ()
    support = amount = None
    if field.kind == "crystals":
        full = np.full(shape, thickness)
        support, crystalline = crystals.crystalline_ice(full, pixel, covered_frac=0.8, rng=rng, patch_A=500.0)
        amount = np.where(crystalline, np.float32(0.0), np.float32(1.0))
    elif field.kind == "carbon":
        support = ice.amorphous_projection(shape, pixel, 120.0, rng=rng, solid=ice.AMORPHOUS_CARBON)
    return Scene(
        f"field{field.index}",
        SEED,
        shape,
        pixel,
        np.array([0.0, field.dose_e_A2]),
        3.0,
        Sensor(camera_for(shape[0])),
        lens,
        film=ice.IceFilm(0.0 if field.kind in ("empty", "no ice") else thickness),
        stage=stage,
        particles=groups,
        support=support,
        ice_amount=amount,
        loss=Loss(ice.inelastic_mean_free_path_A(VOLTAGE_KV)),
        effects=Effects(coincidence=False, gain=False, defects=False, motion=False),
    )


def _particles(field: Field, stage: StageTilt, rng: np.random.Generator) -> ParticleGroup:
    extent = np.array(field.shape) * field.pixel_size_A
    x, y = (rng.uniform(0.0, side, field.n_particles) for side in extent[::-1])
    free = max(0.5 * field.thickness_A - RADIUS_A, 0.0)
    height = stage.specimen_plane(x - 0.5 * extent[1], y - 0.5 * extent[0])[2]
    z = height + rng.uniform(-free, free, field.n_particles)
    return ParticleGroup(x, y, z, (FadingPatches(patches_of(field, rng)),))


def micrograph_of(field: Field) -> Micrograph:
    """Counts of the field; an empty one is what a camera gives whose beam meets vacuum or a grid bar."""
    scene = scene_of(field)
    rng = noise.generator(SEED, field.index, 2)
    expected = SceneFrames(scene).expected(0)
    if field.kind == "empty":
        ramp = np.linspace(0.7, 1.3, field.shape[1], dtype=np.float32)
        expected = np.full(field.shape, 0.02 * field.vacuum_grey, dtype=np.float32) * ramp
    optics = Optics(VOLTAGE_KV, CS_MM, AMPLITUDE_CONTRAST)
    counts = rng.poisson(expected).astype(np.float32)
    return Micrograph(f"field{field.index}", counts, field.pixel_size_A, dose_e_A2=field.dose_e_A2, optics=optics)
