"""Divides by whatever the pixel size is."""

from __future__ import annotations

from dataclasses import replace

from cryoframe import Micrograph, MicrographVerdict, StageContext, hookimpl
from cryoframe_pick import texture as reference

CAUGHT_BY = "impossible_image_refused"
Params = reference.Params


@hookimpl
def clean_micrograph(micrograph: Micrograph, params: Params, ctx: StageContext) -> MicrographVerdict:
    scale = 4.0 / micrograph.pixel_size_A
    found = reference.clean_micrograph(replace(micrograph, pixel_size_A=4.0), params, ctx)
    return replace(found, tile_A=found.tile_A / scale)
