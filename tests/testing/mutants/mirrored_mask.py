"""The mask of the other hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cryoframe import Mask, StageContext, Volume, hookimpl
from cryoframe_finish import mask as reference

CAUGHT_BY = "hand"
Params = reference.Params


@hookimpl
def make_mask(volume: Volume, params: Params, ctx: StageContext) -> Mask:
    mask = reference.make_mask(volume, params, ctx)
    return replace(mask, data=np.ascontiguousarray(mask.data[::-1]))
