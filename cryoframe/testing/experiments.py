"""Phantoms that answer one question each, for checks of physics of stages over one movie or micrograph.

The phantom that every stage is given first is in ``cases``; what is asked of the answers is in ``checks``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np

from cryoframe.data.ids import particle_id
from cryoframe.data.images import CtfFit
from cryoframe.data.optics import GainReference
from cryoframe.data.tables import ParticleTable
from cryoframe.formats import mrc
from cryoframe.testing import cases, phantoms
from cryoframe.testing.cases import Case, Maker
from cryoframe.testing.phantoms import F32, PIXEL_A, Reals

N_FRAMES, BLANK_FRAME = 8, 3
#: Grey value of the specimen, its deviation, and that of the noise of one frame.
GREY, DETAIL, NOISE = 50.0, 3.0, 3.0
#: How far the specimen of fine detail goes from frame to frame (x, y).
STEP_PX: Final = (1.1, -0.6)
DOSE_E_A2 = 5.0
#: Deviation of the camera's gain between pixels.
GAIN_SD = 0.1
#: Least distance asked of a picker [Å].
APART_A = 260.0
CROP_PX = (12, 7)
#: Defocus u, v, angle, phase shift: near focus, far from it, and with a phase plate.
FITS: Final[Mapping[str, CtfFit]] = MappingProxyType(
    {
        "near": CtfFit("near", 7600.0, 6900.0, 140.0),
        "far": CtfFit("far", 31000.0, 29800.0, 75.0),
        "phase_plate": CtfFit("phase plate", 9000.0, 8200.0, 40.0, 70.0),
    }
)


@dataclass(frozen=True)
class Shown:
    """A movie's truth: its frames `(n, ny, nx)` as the camera saw them, the still specimen, its places, the gain."""

    frames: F32
    still: F32
    places_px: Reals
    gain: GainReference | None = None


# -- movies --------------------
def specimen() -> F32:
    """What is filmed: detail of every size down to two pixels."""
    return (GREY + DETAIL * phantoms.texture(phantoms.FIELD_PX)).astype(np.float32)


def _detailed(variant: str, folder: Path) -> Case:
    """A drifting specimen of fine detail; in variant `blank` one frame is black, in `damaged` not a number."""
    still, places = specimen(), np.arange(N_FRAMES)[:, None] * np.array(STEP_PX)
    frames = phantoms.exposed(still, places, noise=NOISE, key="detail")
    if variant != "detail":
        frames[BLANK_FRAME] = 0.0 if variant == "blank" else np.nan
    return Case({"movie": phantoms.filed(folder / "movie.mrc", frames, key=variant)}, Shown(frames, still, places))


def _exposed(variant: str, folder: Path) -> Case:
    """A specimen that keeps still, under a dose that matters: which frame is in the sum, and by how much, shows."""
    still, places = specimen(), np.zeros((N_FRAMES, 2))
    frames = phantoms.exposed(still, places, noise=NOISE, key="dose")
    taken = phantoms.filed(folder / "movie.mrc", frames, dose_per_frame_e_A2=DOSE_E_A2, key=variant)
    return Case({"movie": taken}, Shown(frames, still, places))


def _uncorrected(variant: str, folder: Path) -> Case:
    """The same seen by a camera whose pixels differ."""
    still, places = specimen(), np.zeros((N_FRAMES, 2))
    pattern = 1.0 + GAIN_SD * np.clip(phantoms.rng_of("gain").standard_normal(phantoms.FIELD_PX), -3.0, 3.0)
    gain = pattern.astype(np.float32)
    frames = phantoms.exposed(still, places, noise=NOISE, key="gain") / gain
    mrc.write(folder / "gain.mrc", gain, pixel_size_A=PIXEL_A)
    taken = phantoms.filed(folder / "movie.mrc", frames.astype(np.float32), key=variant)
    return Case({"movie": taken}, Shown(frames, still, places, GainReference(gain, str(folder / "gain.mrc"))))


# -- micrographs --------------------
def _rings(variant: str, folder: Path) -> Case:
    del folder
    fit = FITS[variant]
    hints = {**cases.HINTS, "phase_shift_max_deg": 180.0} if fit.phase_shift_deg else cases.HINTS
    return Case({"micrograph": phantoms.ice(key=variant, fit=fit)}, fit, hints)


def _discs(variant: str, folder: Path) -> Case:
    """Round dark particles: cropped, the contrast turned over, or each darker than the one before."""
    case = cases.make("pick_particles", "card", folder)
    assert case is not None
    taken: phantoms.Field = case.truth
    image = taken.micrograph.data
    if variant == "cropped":
        image = np.ascontiguousarray(image[CROP_PX[0] :, CROP_PX[1] :])
    elif variant == "bright":
        image = (2.0 * np.median(image) - image).astype(np.float32)
    elif variant == "graded":
        taken = phantoms.micrograph(18, noise=0.2, key="card")
        taken = cases.discs(taken, depths=np.linspace(0.3, 1.5, len(taken.centres_A)))
        image = taken.micrograph.data
    shown = replace(taken, micrograph=replace(taken.micrograph, data=image))
    hints = {**case.hints, "min_distance_A": APART_A} if variant == "apart" else case.hints
    return Case({**case.inputs, "micrograph": shown.micrograph}, shown, hints)


def _film(variant: str, folder: Path) -> Case:
    """Molecules in a hole; in variant `carbon` its edge is seen, and the truth is where the carbon is."""
    del folder
    taken = phantoms.micrograph(24).micrograph
    y, x = np.indices(phantoms.FIELD_PX)
    carbon = (x + 0.25 * y > 365.0) & (variant == "carbon")
    rough = 4.0 * phantoms.texture(phantoms.FIELD_PX, b_factor_A2=600.0, key="carbon") - 25.0
    return Case({"micrograph": replace(taken, data=(taken.data + rough * carbon).astype(np.float32))}, carbon)


def _at_the_edge(variant: str, folder: Path) -> Case:
    """Four picks more, whose boxes leave the micrograph; the truth is their identities."""
    case = cases.make("extract_particles", "nominal", folder)
    assert case is not None
    ny, nx = phantoms.FIELD_PX
    table: ParticleTable = case.inputs["particles"]
    places = PIXEL_A * np.array([(3.0, 150.0), (nx - 6.0, 160.0), (150.0, 4.0), (nx - 5.0, ny - 4.0)])
    name = case.truth.micrograph.micrograph_id
    ids = np.array([particle_id(name, x, y, phantoms.PICKER) for x, y in places.tolist()], dtype=np.uint64)
    x_A, y_A = places.T.astype(np.float32)
    outer = table.select(np.arange(4)).with_columns({"particle_id": ids, "x_A": x_A, "y_A": y_A})
    return Case({**case.inputs, "particles": ParticleTable.concat([table, outer])}, set(ids.tolist()))


#: (hook, variant) → its maker.
MAKERS: Final[Mapping[tuple[str, str], Maker]] = MappingProxyType(
    {
        **{("correct_motion", variant): _detailed for variant in ("detail", "blank", "damaged")},
        ("correct_motion", "dose"): _exposed,
        ("correct_motion", "gain"): _uncorrected,
        **{("estimate_ctf", variant): _rings for variant in FITS},
        **{("pick_particles", variant): _discs for variant in ("cropped", "bright", "graded", "apart")},
        **{("clean_micrograph", variant): _film for variant in ("clean", "carbon")},
        ("extract_particles", "edge"): _at_the_edge,
    }
)
