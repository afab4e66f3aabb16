"""Good is what has no stain."""

from __future__ import annotations

from dataclasses import replace

from cryoframe import Micrograph, MicrographVerdict, StageContext, hookimpl
from cryoframe_pick import texture as reference

CAUGHT_BY = "grain_called_empty"
Params = reference.Params


@hookimpl
def clean_micrograph(micrograph: Micrograph, params: Params, ctx: StageContext) -> MicrographVerdict:
    found = reference.clean_micrograph(micrograph, params, ctx)
    return replace(found, verdict="good") if found.verdict == "empty" else found
