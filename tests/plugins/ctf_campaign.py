"""Sums of simulated exposures of known CTF, made without their movies; run as a program it prints the campaign's table.

A field is one exposure taken in a single frame: ice, particles, damage, partial coherence, energy loss and counting are
those of the simulated microscope; motion is not in it, since a stage before has undone it.

    python tests/plugins/ctf_campaign.py 2000 --method spectrum
    python tests/plugins/ctf_campaign.py 800 --kind bad
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np

from cryoframe import CtfFit, Micrograph, Optics, StageContext
from cryoframe.numerics import crystals, fourier, ice, noise, rotations
from cryoframe.numerics.camera_presets import camera_named
from cryoframe.numerics.ctf import Envelope
from cryoframe.numerics.field import StageTilt
from cryoframe.numerics.lens import Lens
from cryoframe.numerics.scene import Effects, FadingPatches, Loss, ParticleGroup, Scene, Sensor
from cryoframe.numerics.scene_frames import SceneFrames
from cryoframe_ctf import plugin, profile

VOLTAGE_KV, CS_MM, AMPLITUDE_CONTRAST = 300.0, 2.7, 0.1
SEED = 20
BOX_PX, RADIUS_A, N_SHAPES = 128, 32.0, 4
#: One protein atom in so many Å³, each taken as carbon; the ice it displaces has this share of their mean potential.
ATOM_A3, DISPLACED_FRAC = 16.3, 0.6
#: What else than a usable micrograph is in a campaign, and how often.
TROUBLES = {"empty": 0.05, "no ice": 0.03, "crystals": 0.05, "carbon": 0.03}


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
        return self.dose_e_A2 * self.pixel_size_A**2 * camera_named("k3").detection_frac


def drawn(index: int, *, seed: int = SEED, kinds: bool = True) -> Field:
    """Field number `index` of a campaign: the ranges of a session, and what goes wrong in one."""
    rng = noise.generator(seed, index)
    kind, at = "good", rng.random()
    for name, share in TROUBLES.items():
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


def bad(index: int, *, seed: int = SEED) -> Field:
    """Field of which nothing should be accepted: each trouble in turn, all else drawn as in a session."""
    # Numbers far from those of a session, so that no bad field is counted twice.
    field = drawn(10**6 + index, seed=seed, kinds=False)
    return dataclasses.replace(field, kind=tuple(TROUBLES)[index % len(TROUBLES)])


def large(index: int, *, seed: int = SEED) -> Field:
    """Good field of 2048², whose rings tell more of the ice."""
    return dataclasses.replace(drawn(index, seed=seed, kinds=False), shape=(2048, 2048), n_particles=150)


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


def atoms(rng: np.random.Generator) -> np.ndarray:
    """Atoms `(n, 3)` [Å] of a ball of protein."""
    n = int(4.0 / 3.0 * np.pi * RADIUS_A**3 / ATOM_A3)
    places = rng.standard_normal((n, 3))
    return places * (RADIUS_A * rng.random((n, 1)) ** (1 / 3) / np.linalg.norm(places, axis=1, keepdims=True))


def patches_of(field: Field, rng: np.random.Generator) -> np.ndarray:
    """Projected potentials `(n, b, b)` [1/Å] of the particles of a field, against the ice they displace."""
    pixel = field.pixel_size_A
    edges = (np.arange(BOX_PX + 1) - BOX_PX // 2 - 0.5) * pixel
    middle = 0.5 * (edges[1:] + edges[:-1])
    chord = 2.0 * np.sqrt(np.maximum(RADIUS_A**2 - middle[:, None] ** 2 - middle[None, :] ** 2, 0.0))
    k = np.hypot(np.fft.fftfreq(BOX_PX, pixel)[:, None], np.fft.rfftfreq(BOX_PX, pixel)[None, :])
    heights, widths = ice.AMORPHOUS_CARBON.heights_A[0], ice.AMORPHOUS_CARBON.widths_A2[0]
    factor = sum(a * np.exp(-0.25 * (b + 20.0) * k * k) for a, b in zip(heights, widths, strict=True))
    shapes = [atoms(rng) for _ in range(N_SHAPES)]
    counts = np.empty((field.n_particles, BOX_PX, BOX_PX), dtype=np.float32)
    for i, turn in enumerate(rotations.random_rotations(field.n_particles, rng)):
        seen = shapes[i % N_SHAPES] @ turn.T
        counts[i] = np.histogram2d(seen[:, 1], seen[:, 0], bins=(edges, edges))[0]
    counts -= (DISPLACED_FRAC * chord * pixel**2 / ATOM_A3).astype(np.float32)
    return fourier.irfft2(fourier.rfft2(counts) * (factor / pixel**2).astype(np.float32), (BOX_PX, BOX_PX)).astype(
        np.float32
    )


def scene_of(field: Field) -> Scene:
    """The exposure: one frame, motion undone."""
    rng = noise.generator(SEED, field.index, 1)
    shape, pixel, thickness = field.shape, field.pixel_size_A, field.thickness_A
    extent = np.array(shape) * pixel
    half = 0.5 * field.astigmatism_A
    lens = Lens(VOLTAGE_KV, CS_MM, AMPLITUDE_CONTRAST, field.defocus_A + half, field.defocus_A - half, field.angle_deg,
                envelope=Envelope(focal_spread_A=60.0, source_angle_mrad=0.02))  # fmt: skip
    groups: tuple[ParticleGroup, ...] = ()
    stage = StageTilt(field.tilt_deg, field.axis_deg)
    if field.kind in ("good", "crystals"):
        x, y = (rng.uniform(0.0, side, field.n_particles) for side in extent[::-1])
        free = max(0.5 * thickness - RADIUS_A, 0.0)
        height = stage.specimen_plane(x - 0.5 * extent[1], y - 0.5 * extent[0])[2]
        z = height + rng.uniform(-free, free, field.n_particles)
        groups = (ParticleGroup(x, y, z, (FadingPatches(patches_of(field, rng)),)),)
    support = amount = None
    if field.kind == "crystals":
        full = np.full(shape, thickness)
        support, crystalline = crystals.crystalline_ice(full, pixel, covered_frac=0.8, rng=rng, patch_A=500.0)
        amount = np.where(crystalline, np.float32(0.0), np.float32(1.0))
    elif field.kind == "carbon":
        support = ice.amorphous_projection(shape, pixel, 120.0, rng=rng, solid=ice.AMORPHOUS_CARBON)
    bare = field.kind in ("empty", "no ice")
    return Scene(
        f"field{field.index}",
        SEED,
        shape,
        pixel,
        np.array([0.0, field.dose_e_A2]),
        3.0,
        Sensor(camera_named("k3")),
        lens,
        film=ice.IceFilm(0.0 if bare else thickness),
        stage=stage,
        particles=() if bare else groups,
        support=support,
        ice_amount=amount,
        loss=Loss(ice.inelastic_mean_free_path_A(VOLTAGE_KV)),
        effects=Effects(coincidence=False, gain=False, defects=False, motion=False),
    )


def micrograph_of(field: Field) -> Micrograph:
    """Counts of the field; an empty one is what a camera gives whose beam meets vacuum or a grid bar."""
    scene = scene_of(field)
    rng = noise.generator(SEED, field.index, 2)
    expected = SceneFrames(scene).expected(0)
    if field.kind == "empty":
        expected = np.full(field.shape, 0.02 * field.vacuum_grey)
        ramp = np.linspace(0.7, 1.3, field.shape[1])
        expected = expected * ramp
    optics = Optics(VOLTAGE_KV, CS_MM, AMPLITUDE_CONTRAST)
    counts = rng.poisson(expected).astype(np.float32)
    return Micrograph(f"field{field.index}", counts, field.pixel_size_A, dose_e_A2=field.dose_e_A2, optics=optics)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What was found of one field."""

    field: Field
    fit: CtfFit
    cpu_s: float
    intensity_thickness_A: float

    @property
    def error_frac(self) -> float:
        """Relative error of the mean defocus."""
        return 0.5 * (self.fit.defocus_u_A + self.fit.defocus_v_A) / self.field.defocus_A - 1.0

    @property
    def astigmatism_error_A(self) -> float:
        """Length of the difference of the astigmatisms as vectors of twice their angles."""
        found = (self.fit.defocus_u_A - self.fit.defocus_v_A) * np.exp(2j * np.radians(self.fit.defocus_angle_deg))
        return float(abs(found - self.field.astigmatism_A * np.exp(2j * np.radians(self.field.angle_deg))))

    @property
    def tilt_error_deg(self) -> float:
        """Angle between the true and the found plane; what tells no tilt is off by all of it."""
        tilt = self.fit.tilt_deg
        found = slopes(tilt, self.fit.tilt_axis_deg or 0.0) if tilt is not None else np.zeros(2)
        truth = slopes(self.field.tilt_deg, self.field.axis_deg)
        cosine = (1.0 + truth @ found) / np.sqrt((1.0 + truth @ truth) * (1.0 + found @ found))
        return float(np.degrees(np.arccos(min(cosine, 1.0))))

    @property
    def is_false(self) -> bool:
        """Accepted, and it ought not to have been."""
        return self.fit.accepted and (not self.field.is_good or abs(self.error_frac) > 0.05)


def slopes(tilt_deg: float, axis_deg: float) -> np.ndarray:
    """By how much the defocus rises along x and y, Å per Å."""
    axis = np.radians(axis_deg)
    return np.tan(np.radians(tilt_deg)) * np.array([-np.sin(axis), np.cos(axis)])


def fitted(field: Field, method: ModuleType = plugin, **settings: float) -> Outcome:
    """Make a field and fit it; the thickness by intensity needs no fit of its own."""
    micrograph = micrograph_of(field)
    started = time.process_time()
    params = method.Params(**settings)
    fit = method.estimate_ctf(micrograph=micrograph, params=params, ctx=StageContext(Path("unused")))
    seconds = time.process_time() - started
    free_path_A = ice.inelastic_mean_free_path_A(VOLTAGE_KV)
    by_intensity = free_path_A * np.log(field.vacuum_grey / float(micrograph.data.mean(dtype=np.float64)))
    return Outcome(field, fit, seconds, float(by_intensity))


def quantile(values: Sequence[float] | np.ndarray, at: float) -> float:
    """Quantile, NaN of nothing."""
    return float(np.quantile(values, at)) if len(values) else float("nan")


def share(truths: Sequence[bool] | np.ndarray) -> float:
    """Share of 1 that is true, NaN of nothing."""
    return float(np.mean(truths)) if len(truths) else float("nan")


def bound_95(outcomes: Sequence[Outcome]) -> float:
    """Upper 95 % bound on the share of bad fields that is accepted: Clopper & Pearson, by bisection."""
    bad_ones = [one.fit.accepted for one in outcomes if not one.field.is_good]
    n, seen = len(bad_ones), sum(bad_ones)
    if n == 0 or seen == n:
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(50):
        p = 0.5 * (low + high)
        at_most = sum(math.comb(n, k) * p**k * (1.0 - p) ** (n - k) for k in range(seen + 1))
        low, high = (p, high) if at_most > 0.05 else (low, p)
    return high


def table(outcomes: Iterable[Outcome]) -> dict[str, float]:
    """Figures of a campaign; shares are of 1, errors of the accepted."""
    every = list(outcomes)
    good = [one for one in every if one.field.is_good]
    accepted = [one for one in good if one.fit.accepted]
    errors = np.array([abs(one.error_frac) for one in accepted])
    told = [one for one in accepted if one.fit.ice_thickness_A is not None]
    thickness = np.array([abs((one.fit.ice_thickness_A or 0.0) - one.field.thickness_A) for one in told])
    by_intensity = np.array([abs(one.intensity_thickness_A - one.field.thickness_A) for one in good])
    return {
        "fields": len(every),
        "good": len(good),
        "good_accepted_frac": len(accepted) / max(len(good), 1),
        "bad_accepted": sum(one.fit.accepted for one in every if not one.field.is_good),
        "false_accepted_frac": sum(one.is_false for one in every) / max(sum(one.fit.accepted for one in every), 1),
        "bad_accepted_bound_95_frac": bound_95(every),
        "median_error_frac": quantile(errors, 0.5),
        "p99_error_frac": quantile(errors, 0.99),
        "largest_error_frac": quantile(errors, 1.0),
        "median_astigmatism_error_A": quantile([one.astigmatism_error_A for one in accepted], 0.5),
        "tilt_told_frac": share([one.fit.tilt_deg is not None for one in accepted]),
        "largest_tilt_error_deg": quantile([one.tilt_error_deg for one in accepted], 1.0),
        "tilt_within_3_deg_frac": share([one.tilt_error_deg <= 3.0 for one in accepted]),
        "thickness_told_frac": len(told) / max(len(accepted), 1),
        "thickness_median_error_A": quantile(thickness, 0.5),
        "thickness_within_50A_frac": share(thickness <= 50.0),
        "intensity_thickness_median_error_A": quantile(by_intensity, 0.5),
        "intensity_thickness_within_50A_frac": share(by_intensity <= 50.0),
        "cpu_s": float(np.mean([one.cpu_s for one in every])),
    }


#: What the fields of a campaign are drawn by.
KINDS = {"session": drawn, "bad": bad, "large": large, "tilted": tilted}


def main() -> None:
    """Run a campaign and write its table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("n_fields", type=int)
    parser.add_argument("--method", choices=("spectrum", "profile"), default="spectrum")
    parser.add_argument("--first", type=int, default=0, help="number of the first field; others are other fields")
    parser.add_argument(
        "--kind", choices=tuple(KINDS), default="session", help="bad: nothing but what is to be refused"
    )
    chosen = parser.parse_args()
    method = plugin if chosen.method == "spectrum" else profile
    outcomes = []
    for index in range(chosen.n_fields):
        outcomes.append(fitted(KINDS[chosen.kind](chosen.first + index), method))
        last = outcomes[-1]
        if last.is_false or (last.fit.accepted and last.field.is_good and abs(last.error_frac) > 0.03):
            sys.stdout.write(f"{last.field}: {100 * last.error_frac:+.1f} %, {last.fit.confidence_frac:.3f}\n")
        if (index + 1) % 250 == 0 or index + 1 == chosen.n_fields:
            lines = "\n".join(f"{name:>36} {value:.4g}" for name, value in table(outcomes).items())
            sys.stdout.write(f"{chosen.method}, {chosen.kind}\n{lines}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
