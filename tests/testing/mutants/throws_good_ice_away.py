"""Marks all around each particle."""

from __future__ import annotations

from dataclasses import replace

from cryoframe import Micrograph, MicrographVerdict, StageContext, hookimpl
from cryoframe_pick import texture as reference

CAUGHT_BY = "clean_field_kept"
Params = reference.Params


@hookimpl
def clean_micrograph(micrograph: Micrograph, params: Params, ctx: StageContext) -> MicrographVerdict:
    found = reference.clean_micrograph(micrograph, params, ctx)
    usable = found.usable.copy()
    usable[::2] = 0.0
    return replace(found, usable=usable, usable_frac=float(usable.mean()), verdict="contaminated")
