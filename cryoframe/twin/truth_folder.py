"""The truth of a session gathered: one table, RELION STAR files, motion, faults. Reading it back is compare's."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cryoframe.compare.truth import Track, Truth, track
from cryoframe.data.optics import Optics
from cryoframe.data.tables import ParticleTable
from cryoframe.data.twin import ExposureTruth
from cryoframe.formats.star import StarBlock, write_star
from cryoframe.formats.star_export import particles_to_star
from cryoframe.formats.star_records import Column, OpticsGroup

Floats = NDArray[np.float64]
_ROWS = (
    "x_A", "y_A", "defocus_u_A", "defocus_v_A", "defocus_angle_deg", "phase_shift_deg", "rot_deg", "tilt_deg",
    "psi_deg", "shift_x_A", "shift_y_A",
)  # fmt: skip


@dataclass(frozen=True)
class _One:
    """An exposure with the names that STAR files give it."""

    truth: ExposureTruth
    movie: str
    motion: str
    movie_pixel_A: float
    movie_shape_px: tuple[int, int]

    @property
    def micrograph(self) -> str:
        """What motion correction will call it."""
        return str(PurePosixPath(self.movie).with_suffix(".mrc"))


def gather(truth: Path, movies: Mapping[str, str]) -> Truth:
    """Write what is true of the session as a whole.

    Parameters
    ----------
    truth
        The truth folder, exposures finished.
    movies
        exposure_id → path of its movie, relative to the session's folder.
    """
    opened = Truth.open(truth)
    every = [_one(opened, name, movies.get(name, str(opened.made[name]["movie"]))) for name in opened]
    (truth / "motion").mkdir(exist_ok=True)
    for one in every:
        _motion_star(truth / one.motion, one)
    table = ParticleTable.concat([one.truth.particles for one in every])
    table.check()
    _replaced(truth / "particles.arrow", table.write)
    groups = optics_groups(every)
    box_px = _box_px(opened, every[0].movie_pixel_A)
    groups = [{**group, "box_px": box_px} for group in groups]
    is_particle = np.asarray(table.column("truth_class") == "particle", dtype=bool)
    species = [str(entry["name"]) for entry in opened.session["species"]]
    names = {one.truth.exposure.exposure_id: one.micrograph for one in every}
    for name, rows in (("particles.star", is_particle), ("distractors.star", ~is_particle)):
        columns = _columns(table.select(rows), names, species, pixel_A=every[0].movie_pixel_A)
        _replaced(truth / name, lambda path, columns=columns: particles_to_star(path, columns, groups))
    _replaced(truth / "micrographs.star", lambda path: _micrographs(path, every, groups))
    faults = {"faults": opened.session["faults"], "exposures": opened.faults(), "landing": opened.happened()}
    _replaced(truth / "faults.json", lambda path: path.write_text(json.dumps(faults, indent=1) + "\n") and None)
    return opened


def optics_groups(every: Sequence[_One]) -> list[OpticsGroup]:
    """Return RELION's optics groups, beam tilt included."""
    found: dict[str, OpticsGroup] = {}
    for one in every:
        optics: Optics = one.truth.optics
        group: OpticsGroup = {
            "optics_group": optics.optics_group,
            "movie_pixel_size_A": one.movie_pixel_A,
            "voltage_kV": optics.voltage_kV,
            "cs_mm": optics.cs_mm,
            "amplitude_contrast_frac": optics.amplitude_contrast_frac,
            # Positions count from the centre of the file's first pixel: only its own pixel divides them without a rest.
            "micrograph_pixel_size_A": one.movie_pixel_A,
            "pixel_size_A": one.movie_pixel_A,
            "beam_tilt_x_mrad": optics.beam_tilt_x_mrad,
            "beam_tilt_y_mrad": optics.beam_tilt_y_mrad,
        }
        found.setdefault(optics.optics_group, group)
    return [found[name] for name in sorted(found)]


def _one(opened: Truth, name: str, movie: str) -> _One:
    truth, made = opened.exposure(name), opened.made[name]
    shape = (int(made["shape_px"][0]), int(made["shape_px"][1]))
    finer = shape[0] / truth.exposure.shape_px[0]
    return _One(truth, movie, f"motion/{name}.star", truth.exposure.pixel_size_A / finer, shape)


def _columns(
    table: ParticleTable, names: Mapping[str, str], species: Sequence[str], *, pixel_A: float
) -> dict[str, Column]:
    columns: dict[str, Column] = {"micrograph_name": _texts(names[str(m)] for m in table.column("micrograph_id"))}
    columns |= {name: table.floats(name) for name in _ROWS if name in table.names}
    for axis in "xy":  # boxes are cut around whole pixels: what is left of the place becomes the particle's shift
        whole_A = np.rint(columns[f"{axis}_A"] / pixel_A) * pixel_A
        columns[f"shift_{axis}_A"] = columns[f"shift_{axis}_A"] + whole_A - columns[f"{axis}_A"]
        columns[f"{axis}_A"] = whole_A
    columns["class_id"] = np.array([species.index(str(name)) for name in table.column("species")], dtype=np.int64)
    columns["optics_group"] = _texts(str(name) for name in table.column("optics_group"))
    return columns


def _box_px(opened: Truth, pixel_A: float) -> int:
    """Return a box for the particles, twice their diameter; RELION cuts no box before it knows of one."""
    return 16 * math.ceil(2.0 * opened.diameter_A / pixel_A / 16)


def _texts(values: Any) -> Column:
    return np.array(list(values), dtype=object)


def _micrographs(path: Path, every: Sequence[_One], groups: Sequence[OpticsGroup]) -> None:
    """Write the micrographs with the CTF that the sums of their frames show: drift and doming included."""
    truths = [one.truth for one in every]
    columns: dict[str, Column] = {
        "micrograph_name": _texts(one.micrograph for one in every),
        "movie_name": _texts(one.movie for one in every),
        "motion_star": _texts(one.motion for one in every),
        "optics_group": _texts(one.truth.optics.optics_group for one in every),
    }
    columns |= {name: np.array([getattr(truth, name) for truth in truths]) for name in ("defocus_u_A", "defocus_v_A")}
    shot = ("defocus_angle_deg", "phase_shift_deg")
    columns |= {name: np.array([getattr(truth.exposure, name) for truth in truths]) for name in shot}
    particles_to_star(path, columns, groups, block="micrographs")


def _motion_star(path: Path, one: _One) -> None:
    """Write the motion as RELION's motion correction would: pixels of the movie, local tracks beyond the global one."""
    found = track(one.truth.motion)
    exposure = one.truth.exposure
    ny, nx = one.movie_shape_px
    general = {
        "rlnImageSizeX": nx,
        "rlnImageSizeY": ny,
        "rlnImageSizeZ": exposure.n_frames,
        "rlnMicrographMovieName": one.movie,
        "rlnMicrographBinning": 1.0,
        "rlnMicrographOriginalPixelSize": one.movie_pixel_A,
        "rlnMicrographDoseRate": exposure.dose_per_frame_e_A2 * exposure.trouble.dose_factor,
        "rlnMicrographPreExposure": 0.0,
        "rlnVoltage": one.truth.optics.voltage_kV,
        "rlnMicrographStartFrame": 1,
        "rlnMotionModelVersion": 1 if len(found.places_A) >= 6 else 0,
    }
    px = one.movie_pixel_A
    blocks = {
        "general": StarBlock({name: [_text(value)] for name, value in general.items()}, is_loop=False),
        "global_shift": _shift_block(found.frame, found.whole_A / px),
    }
    if len(found.places_A) >= 6:
        local = (found.local_A - found.whole_A) / px
        blocks["local_motion_model"] = _model_block(found, local, one)
        blocks["local_shift"] = _local_block(found, local, px)
    _replaced(path, lambda part: write_star(part, blocks))


def _shift_block(frame: NDArray[np.int64], shift_px: Floats) -> StarBlock:
    return StarBlock(
        {
            "rlnMicrographFrameNumber": [str(int(value) + 1) for value in frame],
            "rlnMicrographShiftX": [_text(value) for value in shift_px[:, 0]],
            "rlnMicrographShiftY": [_text(value) for value in shift_px[:, 1]],
        }
    )


def _local_block(found: Track, local_px: Floats, px: float) -> StarBlock:
    n_places, n_frames = local_px.shape[:2]
    place = np.repeat(found.places_A / px, n_frames, axis=0)
    columns = {
        "rlnMicrographFrameNumber": [str(int(value) + 1) for value in np.tile(found.frame, n_places)],
        "rlnCoordinateX": [_text(value) for value in place[:, 0]],
        "rlnCoordinateY": [_text(value) for value in place[:, 1]],
        "rlnMicrographShiftX": [_text(value) for value in local_px[..., 0].ravel()],
        "rlnMicrographShiftY": [_text(value) for value in local_px[..., 1].ravel()],
    }
    return StarBlock(columns)


def _model_block(found: Track, local_px: Floats, one: _One) -> StarBlock:
    """Fit RELION's local motion model (Zheng et al. 2017, doi:10.1038/nmeth.4193, eq. 1) to the true local motion."""
    ny, nx = one.movie_shape_px
    x = found.places_A[:, 0] / one.movie_pixel_A / nx - 0.5
    y = found.places_A[:, 1] / one.movie_pixel_A / ny - 0.5
    space = np.stack([np.ones_like(x), x, x * x, y, y * y, x * y], axis=-1)
    time = found.frame[:, None].astype(np.float64) ** (1, 2, 3)
    design = np.einsum("ps,ft->pfst", space, time).reshape(-1, 18)
    fitted = np.linalg.lstsq(design, local_px.reshape(-1, 2), rcond=None)[0]
    values = fitted.T.ravel()
    return StarBlock(
        {
            "rlnMotionModelCoeffsIdx": [str(index) for index in range(len(values))],
            "rlnMotionModelCoeff": [_text(value) for value in values],
        }
    )


def _text(value: object) -> str:
    return repr(float(value)) if isinstance(value, (float, np.floating)) else str(value)


def _replaced(path: Path, write: Any) -> None:
    """Write a file beside its place and give it its name: a reader finds all of it or the one before."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    write(part)
    part.replace(path)
