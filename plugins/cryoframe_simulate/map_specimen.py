"""Hook: MRC maps of unknown scale as specimens of the simulated microscope; arithmetic is in ``cryoframe.numerics``."""

from __future__ import annotations

import bz2
import gzip
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cryoframe import Specimen, SpecimenRequest, Volume, hookimpl
from cryoframe.errors import InvalidInput, Refused
from cryoframe.formats import mrc
from cryoframe.formats.paths import open_regular
from cryoframe.numerics.bounds import check_bounds
from cryoframe.numerics.fourier import good_size
from cryoframe.numerics.grids import radius_px
from cryoframe.numerics.map_potential import PROTEIN_A3_DA, MapPotential, potential_of_map
from cryoframe.numerics.resample import resample_volume
from cryoframe.numerics.symmetry import symmetrise

_LARGEST_BOX_PX = 512
_MARGIN_A = 10.0
_HEADER_BYTES = 1024
#: A map of that symmetry equals its average but for noise and interpolation.
_LEAST_LIKENESS = 0.8
#: What only atoms can answer.
_FOR_MODELS = {"hinge": "", "without_residues": (), "site_damage": False, "water": False, "solvent": True}


@hookimpl
def open_specimen(path: Path, request: SpecimenRequest) -> tuple[Specimen, ...] | None:
    """Make one specimen of an MRC map, plain or compressed; None for files that are no MRC files.

    The map's middle, voxel n//2 of each axis, becomes the middle of the box; its scale that of protein against ice.
    """
    if _head(path)[208:211] != b"MAP":
        return None
    _check(request, path)
    data, header = mrc.read(path)
    if min(data.shape) < 8:
        raise Refused(f"a map of shape {data.shape}", path=path, expected="a volume", remedy="Give a map, not images.")
    pixel_size_A = header.require_pixel_size_A()
    try:
        found = potential_of_map(data, pixel_size_A)
    except InvalidInput as error:
        raise Refused(error.what, path=path, expected=error.expected, remedy=error.remedy) from error
    return (_specimen(path, request, found, pixel_size_A),)


def _head(path: Path) -> bytes:
    """First bytes of a file, inflated where it is compressed; nothing where it cannot be."""
    with open_regular(path) as stream:
        head = stream.read(_HEADER_BYTES)
        stream.seek(0)
        try:
            if head[:2] == b"\x1f\x8b":
                return gzip.GzipFile(fileobj=stream).read(_HEADER_BYTES)
            if head[:3] == b"BZh":
                return bz2.BZ2File(stream).read(_HEADER_BYTES)
        except (EOFError, OSError, zlib.error):
            return b""
    return head


def _check(request: SpecimenRequest, path: Path) -> None:
    check_bounds(request, pixel_size_A=(0.2, 20.0), box_px=(0, _LARGEST_BOX_PX))
    asked = [name for name, default in _FOR_MODELS.items() if getattr(request, name) != default]
    asked += ["conformations"] if tuple(request.conformations) != (0.0,) else []
    asked += ["b_factor_A2"] if request.b_factor_A2 >= 0 else []
    if asked:
        raise InvalidInput(
            f"{', '.join(asked)} set for the map {path.name}",
            expected="settings that do not need atoms",
            remedy="Give an atomic model, or leave these settings out.",
        )


def _specimen(path: Path, request: SpecimenRequest, found: MapPotential, voxel_A: float) -> Specimen:
    if request.pixel_size_A < voxel_A / 4.0:
        raise InvalidInput(
            f"pixel_size_A = {request.pixel_size_A} was set for a map with voxels of {voxel_A:g} Å",
            expected=f"{voxel_A / 4.0:.2g} Å or more",
            remedy="Set a larger pixel, or check the voxel in the map's header.",
        )
    radius_A = float(radius_px(found.envelope.shape)[found.envelope].max()) * voxel_A
    needed_A = 2.0 * (radius_A + _MARGIN_A)
    n = request.box_px or good_size(int(np.ceil(needed_A / request.pixel_size_A)))
    if n % 2 or n * request.pixel_size_A < needed_A - 2.0 * _MARGIN_A or n > _LARGEST_BOX_PX:
        raise InvalidInput(
            f"the map needs {needed_A:.0f} Å to turn in, the box is {n} px of {request.pixel_size_A:g} Å",
            expected=f"an even box of that size, at most {_LARGEST_BOX_PX} px",
            remedy="Set box_px to 0, or another pixel_size_A.",
        )
    volume = resample_volume(found.volume, voxel_A, n=n, new_pixel_size_A=request.pixel_size_A)
    _check_symmetry(volume, request.symmetry, path)
    return Specimen(
        name=request.name or path.name.split(".", 1)[0],
        volume=Volume(volume, request.pixel_size_A, request.symmetry, f"reference-derived: {path.name}"),
        mass_kDa=float(np.count_nonzero(found.envelope)) * voxel_A**3 / PROTEIN_A3_DA / 1000.0,
        radius_A=radius_A,
    )


def _check_symmetry(volume: NDArray[np.float32], symmetry: str, path: Path) -> None:
    likeness = float(np.corrcoef(symmetrise(volume, symmetry).ravel(), volume.ravel())[0, 1])
    if likeness < _LEAST_LIKENESS:
        raise Refused(
            f"the map does not have the symmetry {symmetry} about its middle (correlation {likeness:.2f})",
            path=path,
            expected=f"{_LEAST_LIKENESS} or more with its average",
            remedy="Set symmetry to C1, or give a map on its axes.",
        )
