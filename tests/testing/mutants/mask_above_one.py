"""A mask that amplifies."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cryoframe import Mask, StageContext, Volume, hookimpl
from cryoframe_finish import mask as reference

CAUGHT_BY = "known_answer"
Params = reference.Params


@hookimpl
def make_mask(volume: Volume, params: Params, ctx: StageContext) -> Mask:
    mask = reference.make_mask(volume, params, ctx)
    return replace(mask, data=np.float32(1.5) * mask.data)
