"""Resolution at each voxel by windowed FSC, and the map low-passed accordingly. No numerics of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from cryoframe import HalfMaps, LocalResolution, Mask, StageContext, Volume, hookimpl
from cryoframe.errors import InvalidInput
from cryoframe.numerics import local_fsc
from cryoframe.numerics.bounds import check_bounds
from cryoframe_finish.admission import check_halves, provenance_of

F32 = npt.NDArray[np.float32]

DEVICES = ("cpu",)


@dataclass(frozen=True)
class Params:
    """The window, and what counts as resolved."""

    window_radius_A: float = 12.5  # the window is 1 up to here
    window_edge_A: float = 25.0  # and falls to 0 over this; its width at half height is twice the radius and the edge
    step_A: float = 0.0  # greatest distance of the places it is put to; 0 = a sixth of its width
    threshold: float = 0.143  # a place is resolved up to where its FSC first falls below this [FSC]
    chance_frac: float = 0.05  # or below what noise exceeds with this probability, where that is more
    coarsest_A: float = 50.0  # given to voxels that nothing is resolved at, and to those outside of the mask

    def __post_init__(self) -> None:
        """Refuse values that cannot be meant."""
        check_bounds(
            self,
            window_radius_A=(0.0, 1000.0),
            window_edge_A=(0.0, 1000.0),
            step_A=(0.0, 1000.0),
            threshold=(0.0, 1.0),
            chance_frac=(1e-6, 0.5),
            coarsest_A=(1.0, 1000.0),
        )
        if not self.window_radius_A + self.window_edge_A > 0.0:
            raise InvalidInput(
                "window_radius_A = 0 and window_edge_A = 0 were set",
                expected="a window wider than 0 Å",
                remedy="Correct window_radius_A or window_edge_A.",
            )


@hookimpl
def estimate_local_resolution(
    half_maps: HalfMaps, mask: Mask | None, params: Params, ctx: StageContext
) -> LocalResolution:
    """Correlate the half-maps within a window about each place, and low-pass their mean voxel by voxel.

    References
    ----------
    Cardone, Heymann & Steven, J. Struct. Biol. 184, 226 (2013), doi:10.1016/j.jsb.2013.08.002.
    """
    first, second, weight = check_halves(half_maps, mask)
    source, n = half_maps.first, int(first.shape[0])
    pixel = source.pixel_size_A
    window = _window(params, pixel)
    total = 2 * int(0.5 * n / local_fsc.band_width(n, window)) + 2
    limit = local_fsc.local_limit(
        _reported(
            local_fsc.local_correlations(first, second, window, mask=weight), partial(_say, ctx, total, n * pixel)
        ),
        threshold=params.threshold,
        chance_frac=params.chance_frac,
        first_shell=n * pixel / params.coarsest_A,
        n_max=n / 2,
    )
    inside = np.ones(first.shape, dtype=bool) if weight is None else weight > 0.5
    shell = limit.at_voxels(n)
    limit_A = np.minimum(n * pixel / np.maximum(shell, 1e-3), params.coarsest_A)
    resolution_A = np.where(inside, limit_A, params.coarsest_A).astype(np.float32)
    filtered = local_fsc.locally_filtered(0.5 * (first + second), n * pixel / limit_A)
    if weight is not None:
        filtered *= weight
    ctx.report(total, total, _tell(resolution_A[inside], params, ctx))
    return LocalResolution(
        resolution_A, pixel, Volume(filtered.astype(np.float32), pixel, source.symmetry, provenance_of(half_maps))
    )


def _window(params: Params, pixel_size_A: float) -> local_fsc.Window:
    width_A = 2.0 * params.window_radius_A + params.window_edge_A
    step_px = max(1.0, (params.step_A or width_A / 6.0) / pixel_size_A)
    return local_fsc.Window(params.window_radius_A / pixel_size_A, params.window_edge_A / pixel_size_A, step_px)


def _reported(bands: Iterator[local_fsc.LocalBand], say: partial[None]) -> Iterator[local_fsc.LocalBand]:
    for done, band in enumerate(bands, 1):
        say(done, band.shell)
        yield band


def _say(ctx: StageContext, total: int, length_A: float, done: int, shell: float) -> None:
    ctx.report(min(done, total - 1), total, f"{length_A / shell:.1f} Å")


def _tell(resolution_A: F32, params: Params, ctx: StageContext) -> str:
    """Metrics of the voxels inside, as one line too."""
    resolved = resolution_A[resolution_A < 0.99 * params.coarsest_A]
    ctx.metric("resolved_frac", resolved.size / max(resolution_A.size, 1))
    if not resolved.size:
        ctx.log(f"nothing is resolved to {params.coarsest_A:g} Å: the half-maps agree no better than noise would")
        return "nothing resolved"
    low, middle, high = (float(value) for value in np.quantile(resolved, (0.05, 0.5, 0.95)))
    for name, value in (("finest", low), ("median", middle), ("coarsest", high)):
        ctx.metric(f"local_resolution_{name}_A", value, "Å")
    ctx.log(f"local resolution {middle:.2f} Å in the median, {low:.2f} to {high:.2f} Å for nine tenths of the voxels")
    return f"{low:.1f} to {high:.1f} Å"
