"""Particles as the search for a first map takes them: checked, cropped, in the order of their identities."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cryoframe import ParticleStack, StageContext
from cryoframe.numerics import polar_images

Array = npt.NDArray[Any]

#: Fewer images than this make no map.
FEWEST = 10
_CTF = ("defocus_u_A", "defocus_v_A", "defocus_angle_deg", "phase_shift_deg")


def take(
    stack: ParticleStack,
    ctx: StageContext,
    *,
    r_max: float,
    diameter_A: float,
    ignore_ctf: bool,
    n_most: int,
    rng: np.random.Generator,
) -> polar_images.PolarImages:
    """Crop at most `n_most` images, drawn at random from all, to frequencies up to `r_max` [cycles per box]."""
    n, pixel = int(stack.images.shape[-1]), stack.pixel_size_A
    rows = np.argsort(np.asarray(stack.particles.column("particle_id")), kind="stable")
    if len(rows) > n_most:
        rows = rows[np.sort(rng.choice(len(rows), n_most, replace=False))]
    side = polar_images.cropped_side(n, r_max)
    images, spread = polar_images.crop(stack.images, rows, side, folder=ctx.workdir)
    identities = np.asarray(stack.particles.column("particle_id"))[rows]
    usable = polar_images.fit_images(spread, identities, ctx.drop, fewest=FEWEST)
    if not usable.all():
        images, rows = images[usable], rows[usable]
    edge_px = min(max(3.0, 0.06 * n), 0.25 * n)
    radius_px = min(0.5 * diameter_A / pixel, n / 2 - 1 - 0.5 * edge_px)
    return polar_images.PolarImages(images, n, pixel, _optics(stack, rows, ignore_ctf), radius_px, edge_px)


def _optics(stack: ParticleStack, rows: Array, ignore_ctf: bool) -> polar_images.Optics:
    if ignore_ctf:
        return polar_images.Optics(np.zeros((len(rows), 4)), np.zeros(len(rows), np.int64), ())
    groups = np.asarray(stack.particles.column("optics_group"))[rows].astype(str)
    for name in np.unique(groups):
        stack.optics_of(str(name))
    settings = {o.optics_group: (o.voltage_kV, o.cs_mm, o.amplitude_contrast_frac) for o in stack.optics}
    return polar_images.make_optics(groups, settings, {name: stack.particles.floats(name)[rows] for name in _CTF})
