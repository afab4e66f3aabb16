"""What is checked before hours are spent: folders, room on the disk, and what the session will cost."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from cryoframe.data.twin import Specimen
from cryoframe.errors import ConfigError
from cryoframe.twin.faults import Planned
from cryoframe.twin.plan import camera_of
from cryoframe.twin.session import SessionConfig
from cryoframe.twin.species import N_LOOKED_AT, expected_in

#: Electrons a pixel and second that counting cameras are used with, at most (assumed; K2 and K3 are with 8 to 20).
MOST_E_PX_S = 40.0
#: Sensor of the cameras that write EER.
EER_SENSOR_PX = (4096, 4096)
#: Room that stays free beyond what the session needs.
RESERVE_BYTES = 500 * 10**6
#: LZW takes so many times the entropy of Poisson counts; an event of an EER file so many bytes.
LZW, BYTES_EVENT = 1.2, 1.2
#: CPU seconds of a physical pixel and frame, and of a particle; measured with the stage `physical` on one core.
SECONDS_PX, SECONDS_PARTICLE, SECONDS_START = 5.5e-8, 0.02, 5.0


@dataclass(frozen=True)
class Estimate:
    """What a session will take."""

    n_movies: int
    movie_MB: float
    disk_GB: float
    free_GB: float
    cpu_s: float
    wall_s: float
    particles_per_movie: float
    particles: float

    def facts(self) -> dict[str, float]:
        """Return it for JSON."""
        return asdict(self)


def estimate(
    config: SessionConfig, plan: Sequence[Planned], specimens: Sequence[Specimen], *, n_workers: int
) -> Estimate:
    """Return what the session will take of disk, time and particles."""
    ny, nx = config.image.shape_px
    shot = plan[0].shot
    n_px = ny * nx * shot.super_resolution**2
    if config.kind == "eer":
        movie = BYTES_EVENT * config.image.total_e_A2 * config.image.pixel_size_A**2 * ny * nx
    else:
        per_px = config.image.frame_e_A2 * (config.image.pixel_size_A / shot.super_resolution) ** 2
        movie = (poisson_bytes(per_px) if config.kind == "tiff" else 1.0) * n_px * config.image.n_frames
    looked_at = [planned.exposure for planned in plan[:N_LOOKED_AT]] if specimens else []
    per_movie = sum(sum(expected_in(exposure, specimens)) for exposure in looked_at) / max(len(looked_at), 1)
    truth = 2 * sum(part.volume.data.nbytes for part in specimens) + len(plan) * 200_000
    cpu_s = SECONDS_PX * ny * nx * config.image.n_frames + SECONDS_PARTICLE * per_movie
    return Estimate(
        n_movies=len(plan),
        movie_MB=movie / 1e6,
        disk_GB=(movie * len(plan) + 4 * n_px + truth) / 1e9,
        free_GB=shutil.disk_usage(existing(config.folder)).free / 1e9,
        cpu_s=cpu_s * len(plan),
        wall_s=SECONDS_START + cpu_s * len(plan) / n_workers,
        particles_per_movie=per_movie,
        particles=per_movie * len(plan),
    )


def poisson_bytes(mean: float) -> float:
    """Return how many bytes a Poisson count of that mean takes in a compressed file.

    Entropy of a normal law of the same variance, 1/12 for the whole numbers; below one count -p·log p is nearer.
    """
    if mean < 0.5:
        empty = math.exp(-mean)
        bits = -empty * math.log2(empty) - (1 - empty) * math.log2(1 - empty)
    else:
        bits = 0.5 * math.log2(2 * math.pi * math.e * (mean + 1 / 12))
    return LZW * bits / 8


def check_room(config: SessionConfig, needed: Estimate) -> None:
    """Refuse a session that its disk has no room for.

    Raises
    ------
    ConfigError
        Naming what is needed and what is there.
    """
    reserve_GB = RESERVE_BYTES / 1e9
    if needed.free_GB < needed.disk_GB + reserve_GB:
        raise ConfigError(
            f"{needed.n_movies} movies need about {needed.disk_GB:.2g} GB, and the disk of {config.folder} has"
            f" {needed.free_GB:.2g} GB free",
            expected=f"{needed.disk_GB + reserve_GB:.3g} GB, {reserve_GB:g} GB of it left over",
            remedy="Give another --out, fewer --movies, or smaller frames.",
        )


def remarks(config: SessionConfig, plan: Sequence[Planned] = (), specimens: Sequence[Specimen] = ()) -> list[str]:
    """Return what is odd about a session, and allowed."""
    image, camera = config.image, camera_of(config)
    rate = image.frame_e_A2 * image.pixel_size_A**2 / image.frame_time_s
    found = []
    if camera is not None and camera.counting and rate > MOST_E_PX_S:
        found.append(
            f"{rate:.0f} electrons a pixel and second are more than the camera {camera.name} can tell apart:"
            " it will lose many; set image.frame_time_s longer"
        )
    if config.kind == "eer" and tuple(image.shape_px) != EER_SENSOR_PX:
        found.append(
            f"EER files of {image.shape_px[1]} × {image.shape_px[0]} pixels are no camera's: RELION takes gain"
            " references of 4096 × 4096 alone for them"
        )
    exposures = [one.exposure for one in plan[:N_LOOKED_AT] if not one.exposure.trouble.empty_hole]
    n_each = [expected_in(exposure, specimens) for exposure in exposures] if specimens else []
    for index, specimen in enumerate(specimens):
        n_empty = sum(numbers[index] == 0.0 for numbers in n_each) if specimen.concentration_mg_mL else 0
        if n_empty:
            found.append(
                f"in {n_empty} of the first {len(n_each)} movies the ice is too thin for '{specimen.name}'"
                f" ({2.0 * specimen.radius_A:.0f} Å across): none of it is there; [ice] min_A and max_A say how thick"
            )
    return found


def check_folders(config: SessionConfig, *, resume: bool) -> None:
    """Refuse folders that hold something else, and a truth that a pipeline could see.

    Raises
    ------
    ConfigError
        Naming the folder.
    """
    folder, truth = config.folder.resolve(), config.truth.resolve()
    if truth == folder or truth.is_relative_to(folder):
        raise ConfigError(
            f"the truth folder {truth} lies inside the session's folder {folder}",
            expected="a folder the pipeline never sees",
            remedy="Give another --truth.",
        )
    if folder.is_relative_to(truth):
        raise ConfigError(
            f"the session's folder {folder} lies inside the truth folder {truth}", remedy="Give another --out."
        )
    for name, place in (("--out", folder), ("--truth", truth)):
        if place.exists() and not place.is_dir():
            raise ConfigError(f"{name}: '{place}' is a file", expected="a folder")
        if not resume and place.is_dir() and any(place.iterdir()):
            raise ConfigError(
                f"{name}: folder {place} is not empty",
                expected="a new folder",
                remedy=f"Give another {name}, or --resume to go on with a session that was interrupted.",
            )


def existing(path: Path) -> Path:
    """Return the nearest folder above that is there."""
    path = path.absolute()
    return next(place for place in (path, *path.parents) if place.is_dir())


def same_disk(a: Path, b: Path) -> bool:
    """Whether a rename leads from one folder to the other."""
    return os.stat(existing(a)).st_dev == os.stat(existing(b)).st_dev  # noqa: PTH116 - st_dev of a path that is there
