"""pick_particles ``blob``: matched filters for round particles, aware of the CTF; they are in ``numerics.blob``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cryoframe import CtfFit, Micrograph, ParticleTable, StageContext, hookimpl
from cryoframe.numerics import blob
from cryoframe.numerics.bounds import check_bounds, check_order
from cryoframe_pick.settings import Settings, check, transfer_of


@dataclass(frozen=True)
class Params(Settings):
    """What may be set."""

    inner_diameter_A: float = 0.0  #: diameter of the hollow of a shell-like particle; 0 = solid
    smallest_scale: float = 0.8  #: sizes from this fraction of the diameter up to the diameter are tried
    n_scales: int = 3  #: how many sizes
    threshold: float = 4.0  #: least z-value, in standard deviations of the score where no particle is

    def __post_init__(self) -> None:
        """Refuse values that cannot be meant."""
        super().__post_init__()
        check_bounds(
            self,
            inner_diameter_A=(0.0, 20000.0),
            smallest_scale=(0.1, 1.0),
            n_scales=(1, 16),
            threshold=(0.0, 1000.0),
        )
        check_order(self, "inner_diameter_A", "diameter_A")


@hookimpl
def pick_particles(micrograph: Micrograph, ctf: CtfFit, params: Params, ctx: StageContext) -> ParticleTable:
    """Find round particles; ``figure_of_merit`` is a z-value: standard deviations of what noise gives."""
    check(micrograph, params.diameter_A)
    ctx.report(0, 1, "matched filter")
    search = blob.Search(
        diameter_A=params.diameter_A,
        inner_diameter_A=params.inner_diameter_A,
        scales=tuple(float(scale) for scale in np.linspace(1.0, params.smallest_scale, params.n_scales)),
        threshold=params.threshold,
        distance_A=params.least_distance_A,
        false_frac=params.false_frac,
        junk_sd=params.junk_sd,
    )
    found = blob.find_blobs(
        micrograph.data,
        micrograph.pixel_size_A,
        search,
        transfer=transfer_of(micrograph, ctf) if params.use_ctf else None,
        n_threads=ctx.n_threads,
    )
    ctx.metric("n_picks", len(found.z))
    ctx.metric("noise_picks_expected", found.n_by_chance)
    ctx.report(1, 1, f"{len(found.z)} picks")
    return ParticleTable.from_columns(
        {
            "x_A": found.positions_A[:, 0].astype(np.float32),
            "y_A": found.positions_A[:, 1].astype(np.float32),
            "figure_of_merit": found.z.astype(np.float32),
        }
    )
