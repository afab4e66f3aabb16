"""A facility's own picker in one file: minima of the smoothed micrograph, in the pixels the facility thinks in."""

from dataclasses import dataclass

from scipy.ndimage import gaussian_filter, minimum_filter

from cryoframe import Convention, Micrograph, ParticleTable, hookimpl

CONVENTION = Convention(position_unit="px", y_axis="down", origin="corner")


@dataclass(frozen=True)
class Params:
    radius_px: float = 60.0  #: radius of the particles


@hookimpl
def pick_particles(micrograph: Micrograph, params: Params) -> ParticleTable:
    smooth = gaussian_filter(micrograph.data, params.radius_px / 2)
    y, x = (smooth == minimum_filter(smooth, int(2 * params.radius_px))).nonzero()
    return CONVENTION.particles(x_px=x + 0.5, y_px=y + 0.5, figure_of_merit=-smooth[y, x])
