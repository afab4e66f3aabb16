"""A starting map from a map file, low-passed until it holds no detail of its own. No numerics of its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cryoframe import ParticleStack, StageContext, Volume, hookimpl
from cryoframe.errors import ConfigError, InvalidInput
from cryoframe.formats import mrc
from cryoframe.numerics.bounds import check_bounds
from cryoframe.numerics.filters import filter_pass
from cryoframe.numerics.resample import resample_volume
from cryoframe.numerics.symmetry import canonical_group, rotation_matrices, symmetrise

F32 = npt.NDArray[np.float32]

DEVICES = ("cpu",)
#: Map and box are expected to differ in width by less than this factor.
_UNLIKE = 4.0
#: A map's shape is compared with its symmetric average no finer than this.
_COARSE_A = 30.0
#: Beta-galactosidase on its axes agrees to 1.00, turned by 10 degrees to 0.94, moved by 3 of 64 voxels to 0.92.
_LEAST_SYMMETRY = 0.97


@dataclass(frozen=True)
class Params:
    """Which map, and how much of it to trust."""

    path: Path | None = None  # MRC file of the map; must be given
    pixel_size_A: float = 0.0  # voxel of the map where its header is wrong; 0 = as the header says
    low_pass_A: float = 30.0  # nothing finer than this is taken from the map
    symmetry: str = "C1"  # point group the map is aligned to

    def __post_init__(self) -> None:
        """Refuse values that cannot be meant."""
        check_bounds(self, pixel_size_A=(0.0, 1000.0), low_pass_A=(0.0, 1000.0))
        rotation_matrices(self.symmetry)


@hookimpl
def make_initial_volume(stack: ParticleStack, params: Params, ctx: StageContext) -> Volume:
    """Low-pass a given map and bring it to the box and pixel of the particles.

    The result says that it derives from a reference; every later map carries that on.
    """
    if params.path is None:
        raise ConfigError("no map file is given", expected='path = "some.mrc"', remedy="Set `path` of from_map.")
    stack.require("make a map for", fewest=0, ctf=False)
    data, header = mrc.read(params.path)
    pixel_size_A = params.pixel_size_A or header.require_pixel_size_A()
    _check(data, header, params.path.name)
    ctx.report(1, 2, f"read {params.path.name}")
    n, pixel_A = int(stack.images.shape[-1]), stack.pixel_size_A
    _tell_extent(max(data.shape) * pixel_size_A, n * pixel_A, ctx)
    resampled = resample_volume(data, pixel_size_A, n=n, new_pixel_size_A=pixel_A)
    low_pass_A = max(params.low_pass_A, 2.0 * pixel_A)
    low_passed = filter_pass(resampled, pixel_size_A=pixel_A, n_dims=3, low_pass_A=low_pass_A)
    group = canonical_group(params.symmetry)
    if group != "C1":
        coarse_A = max(low_pass_A, _COARSE_A)
        _tell_symmetry(filter_pass(resampled, pixel_size_A=pixel_A, n_dims=3, low_pass_A=coarse_A), group, ctx)
    ctx.report(2, 2, "")
    return Volume(
        np.asarray(low_passed, dtype=np.float32),
        pixel_A,
        group,
        f"reference-derived: {params.path.name} low-passed to {low_pass_A:g} Å",
    )


def _check(data: F32, header: mrc.MrcHeader, name: str) -> None:
    if header.ispg == 0 and header.n_intervals[2] == 1 and data.shape[0] > 1:
        raise InvalidInput(
            f"{name} is a stack of {data.shape[0]} images by its header",
            expected="a map",
            remedy="Give the map, or write its header anew as one of a volume.",
        )
    if not np.isfinite(data).all() or not np.ptp(data) > 0.0:
        raise InvalidInput(f"the map in {name} is empty or not finite", expected="a map with density")


def _tell_extent(map_A: float, box_A: float, ctx: StageContext) -> None:
    """Say so where map and box are so unlike in size that a pixel size is to be doubted."""
    if not 1.0 / _UNLIKE < map_A / box_A < _UNLIKE:
        ctx.log(
            f"ALARM: the map is {map_A:.0f} Å wide and the boxes of the particles are {box_A:.0f} Å: one of both pixel "
            "sizes may be wrong; set pixel_size_A of from_map where it is the map's"
        )


def _tell_symmetry(coarse: F32, group: str, ctx: StageContext) -> None:
    """Say how like the map is to its average over the group: one that lies off the group's axes is not."""
    shape = coarse - coarse.mean()
    average = symmetrise(shape, group)
    average -= average.mean()
    lengths = float(np.linalg.norm(shape)) * float(np.linalg.norm(average))
    alike = float((shape * average).sum(dtype=np.float64)) / lengths if lengths > 0.0 else 0.0
    ctx.metric("symmetry_correlation_frac", alike)
    if alike < _LEAST_SYMMETRY:
        ctx.log(
            f"ALARM: the map agrees with its average over {group} to {alike:.2f} only, where one on the group's axes "
            "reaches 1.00: turn and move it onto them, or set symmetry to C1"
        )
