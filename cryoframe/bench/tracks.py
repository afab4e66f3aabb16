"""Motion of a simulated specimen as a recorded track says, for scenes; motion drawn from a model is in numerics."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numpy.typing import NDArray

from cryoframe.data.tables import MotionTable
from cryoframe.formats.star_motion import MotionRecords
from cryoframe.numerics.motion_model import Motion

Reals = NDArray[np.float64]
#: Places along each axis at which the truth is written.
N_PLACES = 17


@dataclass(frozen=True, slots=True)
class RecordedMotion(Motion):
    """What RELION found in a real movie, stretched over the field and, where frames differ in number, over time.

    Parameters
    ----------
    records
        The track and its local model, in pixels of the movie it was found in.
    shape_px, pixel_size_A
        Of the field that is to move; its pixels move by as many pixels as those of the recorded one did.
    """

    records: MotionRecords
    shape_px: tuple[int, int]
    pixel_size_A: float

    def displacement_A(self, x_A: npt.ArrayLike, y_A: npt.ArrayLike) -> Reals:
        """Mean displacement during each frame, `(…, f, 2)` (x, y), against the first frame."""
        records, n_frames = self.records, len(self.dose_edges_e_A2) - 1
        x, y = np.broadcast_arrays(np.asarray(x_A, dtype=np.float64), np.asarray(y_A, dtype=np.float64))
        time = np.linspace(0.0, records.n_frames - 1.0, n_frames)
        known = np.asarray(records.frame, dtype=np.float64)
        whole = np.stack([np.interp(time, known, s) for s in (records.shift_x_px, records.shift_y_px)], axis=-1)
        shift = np.broadcast_to(whole - whole[0], (*x.shape, n_frames, 2)).copy()
        if records.model is not None:
            scale_y, scale_x = (theirs / (ours * self.pixel_size_A)
                                for theirs, ours in zip(records.shape_px, self.shape_px, strict=True))  # fmt: skip
            shift += np.stack(records.model_shift_px(time, x[..., None] * scale_x, y[..., None] * scale_y), axis=-1)
        return np.asarray(-shift * self.pixel_size_A, dtype=np.float64)

    def streak_A(self, x_A: npt.ArrayLike, y_A: npt.ArrayLike) -> Reals:
        """Displacement from the beginning to the end of each frame, `(…, f, 2)`, as if it went on evenly."""
        path = self.displacement_A(x_A, y_A)
        return np.gradient(path, axis=-2) if path.shape[-2] > 1 else np.zeros_like(path)

    def height_A(self, x_A: npt.ArrayLike, y_A: npt.ArrayLike) -> Reals:
        """No change of height is known, `(…, f)`."""
        return np.zeros((*np.broadcast(x_A, y_A).shape, len(self.dose_edges_e_A2) - 1))


def recorded_motion(
    records: MotionRecords, dose_edges_e_A2: Reals, *, shape_px: tuple[int, int], pixel_size_A: float
) -> RecordedMotion:
    """Return a recorded track as the motion of a scene whose frames have these edges."""
    none, nothing = np.zeros((0, 2)), np.zeros(2)
    return RecordedMotion(
        dose_edges_e_A2=dose_edges_e_A2,
        early_e_A2=1.0,
        drift_A2_e=nothing,
        whole_early_A=nothing,
        waves_1_A=none,
        phases_rad=np.zeros(0),
        local_early_A=none,
        local_steady_A2_e=none,
        jitter_A=np.zeros((len(dose_edges_e_A2) - 1, 2)),
        dome_A=0.0,
        hole_radius_A=1.0,
        centre_A=(0.0, 0.0),
        records=records,
        shape_px=shape_px,
        pixel_size_A=pixel_size_A,
    )


def truth_table(motion: Motion, shape_px: tuple[int, int], pixel_size_A: float) -> MotionTable:
    """Return the shifts that undo a motion, at a grid of places and, as that of the whole frame, their mean."""
    y, x = (np.linspace(0.0, (n - 1) * pixel_size_A, N_PLACES) for n in shape_px)
    place_x, place_y = (part.ravel() for part in np.meshgrid(x, y))
    local = -motion.displacement_A(place_x, place_y)
    shifts = np.concatenate([local.mean(axis=0)[None], local])
    n_frames = shifts.shape[1]
    places = np.concatenate([[[np.nan, np.nan]], np.stack([place_x, place_y], axis=-1)])
    at = np.repeat(places, n_frames, axis=0).astype(np.float32)
    flat = shifts.reshape(-1, 2).astype(np.float32)
    frame = np.tile(np.arange(n_frames, dtype=np.int32), len(places))
    names = ("patch_x_A", "patch_y_A", "shift_x_A", "shift_y_A")
    columns: dict[str, npt.ArrayLike] = {"frame": frame}
    columns |= dict(zip(names, (*at.T, *flat.T), strict=True))
    return MotionTable.from_columns(columns)
