"""Makes its cache folder while it is imported."""

from __future__ import annotations

from pathlib import Path

from cryoframe import CtfFit, Micrograph, ParticleTable, StageContext, hookimpl
from cryoframe_pick import plugin as reference

CAUGHT_BY = "import_quiet"
Params = reference.Params

Path("picker_cache").mkdir(exist_ok=True)
(Path("picker_cache") / "version").write_text("1")


@hookimpl
def pick_particles(micrograph: Micrograph, ctf: CtfFit, params: Params, ctx: StageContext) -> ParticleTable:
    return reference.pick_particles(micrograph, ctf, params, ctx)
