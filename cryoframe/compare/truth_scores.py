"""What a stage said of an exposure against what is true of it: motion, CTF, picks, poses; one definition a number.

Every function takes one product and the truth, and returns plain numbers by name; the table is ``truth_table``'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from cryoframe.compare.metrics import pick_pairs
from cryoframe.compare.truth import Track, track
from cryoframe.data.images import CtfFit
from cryoframe.data.tables import MotionTable, ParticleTable
from cryoframe.data.twin import ExposureTruth
from cryoframe.numerics import rotations, symmetry

Floats = NDArray[np.float64]
#: Picks count within these shares of the particles' diameter.
RADII = (0.5, 0.25)


@dataclass(frozen=True)
class Quantity:
    """What a number is: its name for people, its unit, its definition."""

    title: str
    unit: str
    doc: str


QUANTITIES: Mapping[str, Quantity] = MappingProxyType(
    {
        "motion_rms_A": Quantity(
            "whole-frame motion, RMS", "Å", "over frames, of shift minus true shift, the mean over frames taken out"
        ),
        "motion_local_rms_A": Quantity(
            "local motion, RMS", "Å", "over frames and places, of shift minus true shift there, the means taken out"
        ),
        "motion_frame_rms_A": Quantity(
            "frame to frame, RMS", "Å", "over frames, of the step to the next frame minus the true step"
        ),
        "defocus_error_A": Quantity("defocus", "Å", "|(U + V)/2 minus the true one|, the mean of the exposure"),
        "astigmatism_error_A": Quantity("astigmatism", "Å", "|(U - V)·exp(2iθ) minus the true one|"),
        "phase_shift_error_deg": Quantity("phase shift", "°", "|phase shift minus the true one|"),
        "pose_angle_deg": Quantity("orientation", "°", "angle to the true one, least over the point group"),
        "pose_shift_A": Quantity("particle's centre", "Å", "distance to the true one"),
        "particle_defocus_error_A": Quantity("particle's defocus", "Å", "|(U + V)/2 minus the true one|"),
    }
)


# -- motion ---------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class MotionErrors:
    """Shift minus true shift on the frames that both have, x first, the mean over frames taken out of each track.

    `whole_A` `(n, 2)`; `local_A` `(p, n, 2)` at the places the stage measured, else at those of the truth against its
    whole-frame track; no places where the truth has none.
    """

    whole_A: Floats
    local_A: Floats


def motion_errors(found: MotionTable, truth: MotionTable) -> MotionErrors | None:
    """Compare motion on the frames that both have; None where there is none.

    Where nothing says where zero is, the mean over frames is taken out of each track: it moves the micrograph, not its
    frames against each other.
    """
    mine, true = track(found), track(truth)
    frames, at_mine, at_true = np.intersect1d(mine.frame, true.frame, return_indices=True)
    if not len(frames):
        return None
    whole = _centred(mine.whole_A[at_mine] - true.whole_A[at_true])
    local = _local(mine, true, at_mine, at_true) if len(true.places_A) else np.zeros((0, len(frames), 2))
    return MotionErrors(whole, local)


def motion_scores(found: MotionTable, truth: ExposureTruth) -> dict[str, float]:
    """Compare motion with the true one; see :func:`motion_errors`."""
    errors = motion_errors(found, truth.motion)
    if errors is None:
        return {}
    scores = {"motion_rms_A": _rms(errors.whole_A)}
    if len(errors.whole_A) > 1:
        scores["motion_frame_rms_A"] = _rms(np.diff(errors.whole_A, axis=0))
    if len(errors.local_A):
        scores["motion_local_rms_A"] = _rms(errors.local_A)
    return scores


def _local(mine: Track, true: Track, at_mine: NDArray[np.int64], at_true: NDArray[np.int64]) -> Floats:
    """Errors at the places the stage measured, else at those of the truth against its whole-frame track."""
    if len(mine.places_A):
        places, shifts = mine.places_A, mine.local_A[:, at_mine]
        wanted = _between(true, places)[:, at_true]
    else:
        shifts, wanted = mine.whole_A[at_mine][None], true.local_A[:, at_true]
    return _centred(shifts - wanted)


def _between(true: Track, places_A: Floats) -> Floats:
    """Interpolate the true motion between its places, bilinearly; beyond the outermost it is theirs."""
    from scipy.interpolate import RegularGridInterpolator

    x, y = (np.unique(true.places_A[:, axis]) for axis in (0, 1))
    if len(x) * len(y) != len(true.places_A) or min(len(x), len(y)) < 2:
        return np.repeat(true.local_A.mean(axis=0)[None], len(places_A), axis=0)
    order = np.lexsort((true.places_A[:, 0], true.places_A[:, 1]))
    values = true.local_A[order].reshape(len(y), len(x), -1)
    inside = np.clip(places_A, (x[0], y[0]), (x[-1], y[-1]))
    found = RegularGridInterpolator((y, x), values)(inside[:, ::-1])
    return np.asarray(found.reshape(len(places_A), -1, 2), dtype=np.float64)


def _centred(error: Floats) -> Floats:
    return np.asarray(error - np.nanmean(error, axis=-2, keepdims=True), dtype=np.float64)


def _rms(error: Floats) -> float:
    return float(np.sqrt(np.nanmean((error**2).sum(axis=-1))))


# -- CTF ------------------------------------------------------------------------------------------------------------
def ctf_scores(found: CtfFit, truth: ExposureTruth) -> dict[str, float]:
    """Compare a micrograph's CTF with the true one at the middle of the ice, the mean of the movie as sums show it."""
    exposure = truth.exposure
    mean = 0.5 * (found.defocus_u_A + found.defocus_v_A) - 0.5 * (truth.defocus_u_A + truth.defocus_v_A)
    vectors = [
        (one.defocus_u_A - one.defocus_v_A) * np.exp(2j * np.radians(one.defocus_angle_deg))
        for one in (found, exposure)
    ]
    return {
        "defocus_error_A": abs(float(mean)),
        "astigmatism_error_A": float(abs(vectors[0] - vectors[1])),
        "phase_shift_error_deg": abs((found.phase_shift_deg - exposure.phase_shift_deg + 90.0) % 180.0 - 90.0),
    }


# -- picks ----------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class PickCounts:
    """Picks of one exposure: `by_class` counts what each pick is on, `background` being nothing at all."""

    n_found: int
    n_true: int
    n_matched: int
    by_class: Mapping[str, int]

    @classmethod
    def total(cls, counts: list[PickCounts]) -> PickCounts:
        """Add up."""
        names = sorted({name for one in counts for name in one.by_class})
        by_class = {name: sum(one.by_class.get(name, 0) for one in counts) for name in names}
        return cls(
            sum(one.n_found for one in counts),
            sum(one.n_true for one in counts),
            sum(one.n_matched for one in counts),
            by_class,
        )

    def scores(self) -> dict[str, float]:
        """Precision, recall and F1; NaN where nothing was there."""
        precision = self.n_matched / self.n_found if self.n_found else float("nan")
        recall = self.n_matched / self.n_true if self.n_true else float("nan")
        both = self.n_found + self.n_true
        return {"precision": precision, "recall": recall, "f1": 2 * self.n_matched / both if both else float("nan")}


def pick_counts(found: ParticleTable, truth: ExposureTruth, *, radius_A: float, edge_A: float) -> PickCounts:
    """Match picks one to one with true particles, then with what is there besides.

    Particles nearer than `edge_A` to the edge of the field are asked of nobody: a pick on one counts neither way.
    """
    xy, centres = centres_of(found), centres_of(truth.particles)
    kinds = np.asarray(truth.particles.column("truth_class"), dtype=object)
    inner = _inside(centres, truth, edge_A)
    wanted = np.flatnonzero((kinds == "particle") & inner)
    pairs = pick_pairs(xy, centres[wanted], radius_A=radius_A)
    left = pairs < 0
    n_matched = int((~left).sum())
    by_class = {"particle": n_matched}
    at_edge = np.flatnonzero((kinds == "particle") & ~inner)
    n_edge = _take(xy, left, centres[at_edge], radius_A)
    for kind in sorted({str(one) for one in kinds} - {"particle"}):
        by_class[kind] = _take(xy, left, centres[kinds == kind], radius_A)
    by_class["background"] = int(left.sum())
    return PickCounts(len(xy) - n_edge, len(wanted), n_matched, by_class)


def _take(xy: Floats, left: NDArray[np.bool_], centres: Floats, radius_A: float) -> int:
    """Match picks that are left over, and strike them off."""
    rows = np.flatnonzero(left)
    hit = pick_pairs(xy[rows], centres, radius_A=radius_A) >= 0
    left[rows[hit]] = False
    return int(hit.sum())


def centres_of(table: ParticleTable) -> Floats:
    """Return `(n, 2)` where particles are: a box's place minus the shift that centres it."""
    xy = np.stack([table.floats("x_A"), table.floats("y_A")], axis=-1)
    if table.has("pose"):
        xy = xy - np.stack([table.floats("shift_x_A"), table.floats("shift_y_A")], axis=-1)
    return xy


def _inside(centres: Floats, truth: ExposureTruth, edge_A: float) -> NDArray[np.bool_]:
    ny, nx = truth.exposure.shape_px
    extent = np.array([nx - 1, ny - 1]) * truth.exposure.pixel_size_A
    return np.asarray(((centres >= edge_A) & (centres <= extent - edge_A)).all(axis=-1), dtype=bool)


# -- poses ----------------------------------------------------------------------------------------------------------
def pose_scores(found: ParticleTable, truth: ExposureTruth, *, radius_A: float, point_group: str) -> dict[str, Floats]:
    """Compare poses of particles that are where a true one is; one value a matched particle.

    Orientations are compared as they are: a map refined in a frame of its own must be brought into the specimen's
    first.
    """
    table = truth.particles
    true = table.select(np.asarray(table.column("truth_class") == "particle", dtype=bool))
    pairs = pick_pairs(centres_of(found), centres_of(true), radius_A=radius_A)
    mine, theirs = np.flatnonzero(pairs >= 0), pairs[pairs >= 0]
    if not len(mine):
        return {}
    scores: dict[str, Floats] = {}
    if found.has("pose"):
        names = ("rot_deg", "tilt_deg", "psi_deg")
        turned = [
            rotations.euler_to_matrix(*(one.floats(name)[rows] for name in names))
            for one, rows in ((found, mine), (true, theirs))
        ]
        scores["pose_angle_deg"] = np.asarray(symmetry.reduce_pose_error(turned[0], turned[1], point_group))
        scores["pose_shift_A"] = np.linalg.norm(centres_of(found)[mine] - centres_of(true)[theirs], axis=-1)
    if found.has("ctf"):
        scores["particle_defocus_error_A"] = np.abs(_defocus_A(found)[mine] - _defocus_A(true)[theirs])
    return scores


def _defocus_A(table: ParticleTable) -> Floats:
    return np.asarray(0.5 * (table.floats("defocus_u_A") + table.floats("defocus_v_A")))
