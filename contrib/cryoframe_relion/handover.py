"""Puts a movie, its gain and its STAR file where RELION finds them; what RELION is told to do is in ``plugin``.

RELION turns the rows of a TIFF movie over as our reader does, and leaves those of MRC files alone: a linked movie and a
gain written as MRC are in our orientation on both roads.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cryoframe import Movie
from cryoframe.errors import FileError, InvalidInput
from cryoframe.formats import mrc
from cryoframe.formats.mrc_header import build_header
from cryoframe.formats.star import write_star

STAR: Final = "movies.star"
GAIN: Final = "gain.mrc"
OPTICS_GROUP: Final = "opticsGroup1"
#: int16, float32, uint16: bytes and 4-bit pixels have been read with either sign, by one version or another.
_PLAIN_MODES: Final = (1, 2, 6)
_TIFF: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def linked_name(movie: Movie) -> str | None:
    """Return under which name RELION can read the user's own file, or None for kinds it reads otherwise than we do."""
    path = Path(movie.path) if movie.path else None
    if path is None or not path.is_file():
        return None
    with path.open("rb") as stream:
        head = stream.read(212)
    if head[:4] in _TIFF:
        return None if path.suffix.lower() == ".eer" else "movie.tif"
    if head[208:211] != b"MAP":
        return None
    try:
        header = mrc.read_header(path)
    except FileError:
        return None
    plain = header.mode in _PLAIN_MODES and not header.packed and header.axis_order == (1, 2, 3)
    return "movie.mrcs" if plain and header.shape == (movie.n_frames, *movie.shape_px) else None


def hand_over(movie: Movie, workdir: Path, *, link: bool) -> str:
    """Write or link everything into `workdir` and return the movie's name there.

    Parameters
    ----------
    movie
        Its gain, if any, is written beside it; frames are handed over without it.
    workdir
        Empty folder.
    link
        Let RELION read the user's own file where it can.

    Raises
    ------
    InvalidInput
        If frames have to be written and hold values that are not finite.
    """
    name = linked_name(movie) if link else None
    if name:
        (workdir / name).symlink_to(Path(movie.path).resolve())
    else:
        name = "movie.mrcs"
        _write_frames(movie, workdir / name)
    if movie.gain is not None:
        mrc.write(workdir / GAIN, movie.gain.data, pixel_size_A=movie.pixel_size_A)
    write_star(workdir / STAR, star_blocks(movie, name))
    return name


def star_blocks(movie: Movie, name: str) -> dict[str, dict[str, list[str]]]:
    """Return the blocks of the STAR file that names one movie."""
    optics = movie.optics
    return {
        "optics": {
            "rlnOpticsGroupName": [OPTICS_GROUP],
            "rlnOpticsGroup": ["1"],
            "rlnMicrographOriginalPixelSize": [f"{movie.pixel_size_A:.6f}"],
            "rlnVoltage": [f"{optics.voltage_kV:.6f}"],
            "rlnSphericalAberration": [f"{optics.cs_mm:.6f}"],
            "rlnAmplitudeContrast": [f"{optics.amplitude_contrast_frac:.6f}"],
        },
        "movies": {"rlnMicrographMovieName": [name], "rlnOpticsGroup": ["1"]},
    }


def _write_frames(movie: Movie, path: Path) -> None:
    ny, nx = movie.shape_px
    pixels_A = (movie.pixel_size_A,) * 3
    unknown = (0.0, -1.0, -2.0, -1.0)
    with path.open("wb") as stream:
        stream.write(
            build_header((movie.n_frames, ny, nx), 2, pixel_size_A=pixels_A, is_stack=True, statistics=unknown)
        )
        for frame in _frames(movie):
            stream.write(np.ascontiguousarray(frame, "<f4").data)


def _frames(movie: Movie) -> Iterator[NDArray[np.float32]]:
    if movie.source is None:
        raise InvalidInput(
            f"movie '{movie.movie_id}' has no reader attached, and RELION cannot be given the file itself",
            expected="a movie opened by one of the readers",
        )
    for index in range(movie.n_frames):
        frame = movie.source.read_frame(index)
        if not np.isfinite(frame).all():
            raise InvalidInput(
                f"frame {index} of '{movie.movie_id}' holds values that are not finite", expected="counts"
            )
        yield frame
