"""pick_particles ``template``: views of a map or class averages, at every angle; it is in ``numerics.template_search``.

A template finds itself in noise, too: each micrograph's picks are held against the templates at frequencies that
picking did not use, and a micrograph whose picks do not resemble them there is told of.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from cryoframe import CtfFit, Micrograph, ParticleTable, StageContext, hookimpl
from cryoframe.errors import ConfigError, InvalidInput
from cryoframe.formats import mrc
from cryoframe.numerics.bounds import check_bounds
from cryoframe.numerics.pick_choice import Search
from cryoframe.numerics.template_search import FoundViews, Reference, find_views
from cryoframe_pick.settings import Settings, check

#: Standard deviations of resemblance beyond the picking band below which the picks may be noise.
_SURE_SD = 3.0


@dataclass(frozen=True)
class Params(Settings):
    """What may be set; the reference is masked beyond the particle's diameter."""

    reference: Path | None = None  #: MRC file of a map or of class averages, protein bright; must be given
    kind: Literal["map", "averages"] = "map"  #: which of the two it is
    pixel_size_A: float = 0.0  #: pixel of that file where its header is wrong; 0 = as the header says
    symmetry: str = "C1"  #: point group the map is aligned to
    low_pass_A: float = 20.0  #: nothing finer of the reference is used to pick
    view_step_deg: float = 30.0  #: between views of the map
    psi_step_deg: float = 15.0  #: between angles in the plane
    false_picks: float = 1.0  #: peaks of pure noise that one micrograph may give [picks]
    threshold: float = 0.0  #: least z-value, whatever `false_picks` says [standard deviations]

    def __post_init__(self) -> None:
        """Refuse values that cannot be meant."""
        super().__post_init__()
        check_bounds(
            self,
            pixel_size_A=(0.0, 1000.0),
            low_pass_A=(2.0, 1000.0),
            view_step_deg=(5.0, 180.0),
            psi_step_deg=(2.0, 180.0),
            false_picks=(1e-6, 1e6),
            threshold=(0.0, 1000.0),
        )
        if self.kind not in ("map", "averages"):
            raise InvalidInput(f"kind {self.kind!r} was set", expected="map or averages")


@hookimpl
def pick_particles(micrograph: Micrograph, ctf: CtfFit, params: Params, ctx: StageContext) -> ParticleTable:
    """Find views of a reference; ``figure_of_merit`` is the z-value of the best template."""
    check(micrograph, params.diameter_A)
    reference = _reference(params)
    ctx.report(0, 1, "templates")
    search = Search(
        diameter_A=params.diameter_A,
        scales=(0.9,),
        threshold=params.threshold,
        distance_A=params.least_distance_A,
        false_frac=params.false_frac,
        junk_sd=params.junk_sd,
    )
    found = find_views(
        micrograph.data,
        micrograph.pixel_size_A,
        reference,
        search,
        optics=_optics(micrograph, ctf) if params.use_ctf else {},
        n_false=params.false_picks,
        rng=ctx.rng,
        n_threads=ctx.n_threads,
    )
    _tell(found, ctx)
    return ParticleTable.from_columns(
        {
            "x_A": found.positions_A[:, 0].astype(np.float32),
            "y_A": found.positions_A[:, 1].astype(np.float32),
            "figure_of_merit": found.z.astype(np.float32),
        }
    )


def _reference(params: Params) -> Reference:
    if params.reference is None:
        raise ConfigError(
            "no reference is given",
            expected='reference = "some.mrc"',
            remedy="Set `reference` of the picker `template`, and `kind` where it holds class averages.",
        )
    data, header = mrc.read(params.reference)
    return Reference(
        np.asarray(data, dtype=np.float32),
        params.pixel_size_A or header.require_pixel_size_A(),
        params.kind,
        params.diameter_A,
        low_pass_A=params.low_pass_A,
        view_step_deg=params.view_step_deg,
        psi_step_deg=params.psi_step_deg,
        symmetry=params.symmetry,
    )


def _optics(micrograph: Micrograph, ctf: CtfFit) -> dict[str, float]:
    optics = micrograph.optics
    return {
        "voltage_kV": optics.voltage_kV,
        "cs_mm": optics.cs_mm,
        "amplitude_contrast": optics.amplitude_contrast_frac,
        "defocus_u_A": ctf.defocus_u_A,
        "defocus_v_A": ctf.defocus_v_A,
        "defocus_angle_deg": ctf.defocus_angle_deg,
        "phase_shift_deg": ctf.phase_shift_deg,
    }


def _tell(found: FoundViews, ctx: StageContext) -> None:
    judged = found.likeness
    ctx.metric("n_picks", len(found.z))
    ctx.metric("z_threshold", found.threshold)
    ctx.metric("noise_picks_expected", found.n_by_chance)
    ctx.metric("average_like_template", judged.in_band)
    ctx.metric("average_like_template_held_out", judged.held_out)
    ctx.metric("held_out_z", judged.held_out_z)
    if len(found.z) and judged.held_out_z < _SURE_SD:
        ctx.log(
            f"The average of these {len(found.z)} picks resembles the template by {judged.in_band:.2f} at the"
            f" frequencies they were picked by, and by {judged.held_out:.2f} beyond ({judged.held_out_z:.1f} standard"
            " deviations): they may be noise that the template found itself in."
        )
    ctx.report(1, 1, f"{len(found.z)} picks")
