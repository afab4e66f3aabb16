"""Marks small things only."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cryoframe import Micrograph, MicrographVerdict, StageContext, hookimpl
from cryoframe_pick import texture as reference

CAUGHT_BY = "carbon_masked"
Params = reference.Params


@hookimpl
def clean_micrograph(micrograph: Micrograph, params: Params, ctx: StageContext) -> MicrographVerdict:
    found = reference.clean_micrograph(micrograph, params, ctx)
    usable = found.usable if found.usable.mean() > 0.8 else np.ones_like(found.usable)
    return replace(found, usable=usable, usable_frac=float(usable.mean()), verdict="good")
