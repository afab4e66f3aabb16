"""A starting map from a map file, low-passed until it holds no detail of its own. No numerics of its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cryoframe import ParticleStack, StageContext, Volume, hookimpl
from cryoframe.errors import ConfigError
from cryoframe.formats import mrc
from cryoframe.numerics.bounds import check_bounds
from cryoframe.numerics.filters import filter_pass
from cryoframe.numerics.resample import resample_volume

DEVICES = ("cpu",)


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


@hookimpl
def make_initial_volume(stack: ParticleStack, params: Params, ctx: StageContext) -> Volume:
    """Low-pass a given map and bring it to the box and pixel of the particles.

    The result says that it derives from a reference; every later map carries that on.
    """
    if params.path is None:
        raise ConfigError("no map file is given", expected='path = "some.mrc"', remedy="Set `path` of from_map.")
    data, header = mrc.read(params.path)
    pixel_size_A = params.pixel_size_A or header.require_pixel_size_A()
    ctx.report(1, 2, f"read {params.path.name}")
    n = int(stack.images.shape[-1])
    resampled = resample_volume(data, pixel_size_A, n=n, new_pixel_size_A=stack.pixel_size_A)
    low_passed = filter_pass(
        resampled, pixel_size_A=stack.pixel_size_A, n_dims=3, low_pass_A=max(params.low_pass_A, 2 * stack.pixel_size_A)
    )
    ctx.report(2, 2, "")
    return Volume(
        np.asarray(low_passed, dtype=np.float32),
        stack.pixel_size_A,
        params.symmetry,
        f"reference-derived: {params.path.name} low-passed to {params.low_pass_A:g} Å",
    )
