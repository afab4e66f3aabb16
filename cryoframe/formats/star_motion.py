"""RELION's motion STAR of one movie: whole-frame track, local motion model, local tracks; read only.

Shifts are kept as RELION stores them: pixels of the unbinned movie, the translation to apply to a frame to undo its
motion against the first one. A specimen that drifts towards +x therefore has a falling ``shift_x_px``; that is the sign
of cryoframe's ``MotionTable`` too (asserted against RELION's own motion correction in the tests).

References
----------
Local model: third-order polynomial in time, second-order in space, Zheng et al., Nat. Methods 14, 331 (2017),
doi:10.1038/nmeth.4193, eq. 1; in RELION: Zivanov et al., IUCrJ 6, 5 (2019), doi:10.1107/S205225251801463X.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cryoframe.errors import Corrupt, SchemaError, Unsupported
from cryoframe.formats.star import StarBlock, read_star

Floats = NDArray[np.float64]
_N_COEFFICIENTS = 36


@dataclass(frozen=True)
class LocalTrack:
    """Measured shifts of patches: one entry a patch and frame."""

    frame: NDArray[np.int64]
    x_px: Floats
    y_px: Floats
    shift_x_px: Floats
    shift_y_px: Floats


@dataclass(frozen=True)
class MotionRecords:
    """The motion of one movie."""

    movie_name: str
    gain_name: str | None
    shape_px: tuple[int, int]
    """(ny, nx) of the unbinned movie."""
    n_frames: int
    pixel_size_A: float
    """Of the unbinned movie."""
    binning: float
    dose_per_frame_e_A2: float | None
    pre_exposure_e_A2: float | None
    voltage_kV: float | None
    start_frame: int
    """First frame used, from 0."""
    frame: NDArray[np.int64]
    """Frame of each shift, from 0."""
    shift_x_px: Floats
    shift_y_px: Floats
    model: Floats | None
    """`(2, 6, 3)`: axis x, y; spatial term 1, x, x², y, y², xy; power of time 1, 2, 3."""
    local: LocalTrack | None
    hot_pixels: NDArray[np.int64]
    """`(n, 2)` x, y."""

    def model_shift_px(self, frame: Floats, x_px: Floats, y_px: Floats) -> tuple[Floats, Floats]:
        """Evaluate the local model at frames (from 0) and positions in the unbinned movie; zeros without one."""
        time = np.asarray(frame, np.float64)
        x = np.asarray(x_px, np.float64) / self.shape_px[1] - 0.5
        y = np.asarray(y_px, np.float64) / self.shape_px[0] - 0.5
        if self.model is None:
            zeros = np.zeros(np.broadcast(time, x, y).shape)
            return zeros, zeros.copy()
        space = np.stack(np.broadcast_arrays(np.ones_like(x), x, x * x, y, y * y, x * y))
        powers = np.stack([time, time**2, time**3])
        values = np.einsum("ast,s...,t...->a...", self.model, space, powers)
        return values[0], values[1]


def motion_from_star(path: str | os.PathLike[str]) -> MotionRecords:
    """Read what RELION's motion correction writes beside each micrograph.

    Raises
    ------
    Incomplete, Corrupt, Unsupported, Refused
        With file and line; Unsupported for a model version that is not 0 or 1.
    SchemaError
        A block or column is missing.
    """
    blocks = read_star(path)
    for name in ("general", "global_shift"):
        if name not in blocks:
            raise SchemaError(f"{os.fspath(path)}: no block data_{name}", expected="a motion STAR file of RELION")
    general, track = blocks["general"], blocks["global_shift"]
    frames = track.ints("rlnMicrographFrameNumber")
    n_frames = _one_int(general, "rlnImageSizeZ")
    if len(frames) == 0 or frames.min() < 1 or frames.max() > n_frames or len(set(frames.tolist())) != len(frames):
        raise Corrupt(f"global_shift has frames {sorted(set(frames.tolist()))[:5]}…", path=os.fspath(path),
                      where=f"line {track.line_of('rlnMicrographFrameNumber', 0)}",
                      expected=f"each of 1 to {n_frames} at most once")  # fmt: skip
    return MotionRecords(
        movie_name=general.value("rlnMicrographMovieName"),
        gain_name=_optional_text(general, "rlnMicrographGainName"),
        shape_px=(_one_int(general, "rlnImageSizeY"), _one_int(general, "rlnImageSizeX")),
        n_frames=n_frames,
        pixel_size_A=float(general.floats("rlnMicrographOriginalPixelSize")[0]),
        binning=_optional(general, "rlnMicrographBinning") or 1.0,
        dose_per_frame_e_A2=_optional(general, "rlnMicrographDoseRate"),
        pre_exposure_e_A2=_optional(general, "rlnMicrographPreExposure"),
        voltage_kV=_optional(general, "rlnVoltage"),
        start_frame=int(_optional(general, "rlnMicrographStartFrame") or 1) - 1,
        frame=frames - 1,
        shift_x_px=track.floats("rlnMicrographShiftX"),
        shift_y_px=track.floats("rlnMicrographShiftY"),
        model=_model(blocks, _optional(general, "rlnMotionModelVersion") or 0.0),
        local=_local(blocks.get("local_shift")),
        hot_pixels=_hot(blocks.get("hot_pixels")),
    )


def _model(blocks: dict[str, StarBlock], version: float) -> Floats | None:
    if version not in (0.0, 1.0):
        raise Unsupported(f"motion model version {version:g}", path=blocks["general"].path, expected="0 (none) or 1")
    block = blocks.get("local_motion_model")
    if block is None or version == 0.0:
        return None
    index = block.ints("rlnMotionModelCoeffsIdx")
    if sorted(index.tolist()) != list(range(_N_COEFFICIENTS)):
        raise Corrupt(f"local motion model has {len(index)} coefficients", path=block.path,
                      where=f"line {block.line_of('rlnMotionModelCoeffsIdx', 0)}",
                      expected=f"each of 0 to {_N_COEFFICIENTS - 1} once")  # fmt: skip
    values = np.empty(_N_COEFFICIENTS)
    values[index] = block.floats("rlnMotionModelCoeff")
    return values.reshape(2, 6, 3)


def _local(block: StarBlock | None) -> LocalTrack | None:
    if block is None or block.n_rows == 0:
        return None
    return LocalTrack(
        block.ints("rlnMicrographFrameNumber") - 1,
        block.floats("rlnCoordinateX"),
        block.floats("rlnCoordinateY"),
        block.floats("rlnMicrographShiftX"),
        block.floats("rlnMicrographShiftY"),
    )


def _hot(block: StarBlock | None) -> NDArray[np.int64]:
    if block is None:
        return np.zeros((0, 2), np.int64)
    return np.stack([block.ints("rlnCoordinateX"), block.ints("rlnCoordinateY")], axis=1)


def _one_int(block: StarBlock, name: str) -> int:
    value = int(block.ints(name)[0])
    if value < 1:
        where = f"line {block.line_of(name, 0)}"
        raise Corrupt(f"{name} is {value}", path=block.path, where=where, expected="1 or more")
    return value


def _optional(block: StarBlock, name: str) -> float | None:
    return float(block.floats(name)[0]) if name in block else None


def _optional_text(block: StarBlock, name: str) -> str | None:
    return block.value(name) if name in block and block.value(name) else None
