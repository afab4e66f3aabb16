"""Motion of any alignment → the STAR file that RELION's Bayesian polishing reads; ``star_motion`` reads it.

RELION looks for the file beside each micrograph, under the name that ``rlnMicrographMetadata`` gives it. Places and
shifts are in pixels of the movie's frames; the local model is of third order in time and of second order in space.

References
----------
Zivanov, Nakane & Scheres, IUCrJ 6, 5 (2019), doi:10.1107/S205225251801463X.
"""

from __future__ import annotations

import os

import numpy as np

from cryoframe.data.images import CorrectedMicrograph
from cryoframe.data.motion import MotionField, MotionMetadata
from cryoframe.data.tables import MotionTable
from cryoframe.errors import InvalidInput
from cryoframe.formats.star import StarBlock, write_star
from cryoframe.formats.star_motion import MotionRecords


def motion_to_star(
    path: str | os.PathLike[str], corrected: CorrectedMicrograph, *, movie: str | None = None, gain: str | None = None
) -> None:
    """Write the motion of a corrected micrograph for RELION's ``relion_motion_refine``.

    Parameters
    ----------
    path
        The STAR file.
    corrected
        With ``metadata``, whichever implementation made it.
    movie, gain
        Names to write instead of those of the metadata, as seen from RELION's project folder.

    Raises
    ------
    InvalidInput
        The alignment left no metadata, or dose and pixel are not known.
    """
    metadata = corrected.metadata
    if metadata is None:
        raise InvalidInput(
            f"the alignment of '{corrected.micrograph.micrograph_id}' left no metadata of its movie",
            expected="CorrectedMicrograph.metadata, as polishing needs it",
            remedy="Align it with an implementation that states them, or fill in a MotionMetadata.",
        )
    if not metadata.dose_per_frame_e_A2 > 0:
        raise InvalidInput(
            f"the dose of a frame of '{metadata.movie}' is not known",
            expected="a dose above 0: polishing weighs frames by it",
            remedy="State dose_per_frame_e_A2 of the movies.",
        )
    blocks = {"general": _general(metadata, movie or metadata.movie, metadata.gain if gain is None else gain)}
    write_star(path, blocks | _motion(corrected.motion, metadata))


def _general(metadata: MotionMetadata, movie: str, gain: str) -> StarBlock:
    ny, nx = metadata.shape_px
    values: dict[str, object] = {
        "rlnImageSizeX": nx,
        "rlnImageSizeY": ny,
        "rlnImageSizeZ": metadata.n_frames,
        "rlnMicrographMovieName": movie,
        **({"rlnMicrographGainName": gain} if gain else {}),
        "rlnMicrographBinning": metadata.bin_factor,
        "rlnMicrographOriginalPixelSize": metadata.pixel_size_A,
        "rlnMicrographDoseRate": metadata.dose_per_frame_e_A2,
        "rlnMicrographPreExposure": metadata.pre_dose_e_A2,
        "rlnVoltage": metadata.voltage_kV,
        "rlnMicrographStartFrame": 1,
        "rlnMotionModelVersion": 1,
    }
    if metadata.frames_per_fraction > 1 or metadata.upsampling > 1:
        values |= {"rlnEERUpsampling": metadata.upsampling, "rlnEERGrouping": metadata.frames_per_fraction}
    return StarBlock({name: [str(value)] for name, value in values.items()}, is_loop=False)


def _motion(table: MotionTable, metadata: MotionMetadata) -> dict[str, StarBlock]:
    pixel_A = metadata.pixel_size_A
    ny, nx = metadata.shape_px
    field = MotionField.of(table, (nx * pixel_A, ny * pixel_A))
    origin = field.whole_A[0] / pixel_A
    blocks = {
        "global_shift": StarBlock(
            {
                "rlnMicrographFrameNumber": [str(frame + 1) for frame in field.frame.tolist()],
                "rlnMicrographShiftX": _texts(field.whole_A[:, 0] / pixel_A - origin[0]),
                "rlnMicrographShiftY": _texts(field.whole_A[:, 1] / pixel_A - origin[1]),
            }
        ),
        "local_motion_model": StarBlock(
            {
                "rlnMotionModelCoeffsIdx": [str(i) for i in range(36)],
                "rlnMotionModelCoeff": _texts(field.polynomial_A().ravel() / pixel_A),
            }
        ),
    }
    if metadata.defects_px is not None and len(metadata.defects_px):
        x, y = np.asarray(metadata.defects_px).T
        blocks["hot_pixels"] = StarBlock({"rlnCoordinateX": _texts(x), "rlnCoordinateY": _texts(y)})
    local = np.flatnonzero(~np.isnan(table.floats("patch_x_A")))
    if len(local):
        frame = np.asarray(table.column("frame"), dtype=np.int64)[local]
        at = np.searchsorted(field.frame, frame)
        shift = np.stack([table.floats(name)[local] for name in ("shift_x_A", "shift_y_A")], axis=-1)
        shift = (shift - field.whole_A[at]) / pixel_A
        blocks["local_shift"] = StarBlock(
            {
                "rlnMicrographFrameNumber": [str(i + 1) for i in frame.tolist()],
                "rlnCoordinateX": _texts(table.floats("patch_x_A")[local] / pixel_A),
                "rlnCoordinateY": _texts(table.floats("patch_y_A")[local] / pixel_A),
                "rlnMicrographShiftX": _texts(shift[:, 0]),
                "rlnMicrographShiftY": _texts(shift[:, 1]),
            }
        )
    return blocks


def _texts(values: np.ndarray) -> list[str]:
    return [f"{value:.9g}" for value in np.asarray(values, dtype=np.float64).tolist()]


def motion_table_of(records: MotionRecords) -> MotionTable:
    """Return RELION's motion as a table in Å; tracks of patches are added to that of whole frames."""
    pixel_A = records.pixel_size_A
    whole = np.stack([records.shift_x_px, records.shift_y_px], axis=-1)
    frame, x, y, shift = [records.frame], [np.full(len(whole), np.nan)], [np.full(len(whole), np.nan)], [whole]
    if records.local is not None:
        local = records.local
        order = np.argsort(records.frame)
        at = np.clip(np.searchsorted(records.frame[order], local.frame), 0, len(order) - 1)
        kept = records.frame[order][at] == local.frame
        frame.append(local.frame[kept])
        x.append(local.x_px[kept])
        y.append(local.y_px[kept])
        shift.append(np.stack([local.shift_x_px, local.shift_y_px], axis=-1)[kept] + whole[order][at][kept])
    joined = (np.concatenate(x), np.concatenate(y), *np.concatenate(shift).T)
    names = ("patch_x_A", "patch_y_A", "shift_x_A", "shift_y_A")
    columns = {name: (values * pixel_A).astype(np.float32) for name, values in zip(names, joined, strict=True)}
    return MotionTable.from_columns({"frame": np.concatenate(frame).astype(np.int32)} | columns)


def metadata_of(records: MotionRecords) -> MotionMetadata:
    """Return what RELION's file says of the movie."""
    return MotionMetadata(
        movie=records.movie_name,
        shape_px=records.shape_px,
        pixel_size_A=records.pixel_size_A,
        n_frames=records.n_frames,
        dose_per_frame_e_A2=records.dose_per_frame_e_A2 or 0.0,
        pre_dose_e_A2=records.pre_exposure_e_A2 or 0.0,
        voltage_kV=records.voltage_kV or 300.0,
        bin_factor=records.binning,
        origin_frame=int(records.frame[0]),
        gain=records.gain_name or "",
        defects_px=records.hot_pixels.astype(np.int32),
    )
