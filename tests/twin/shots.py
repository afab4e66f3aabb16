"""Exposures for tests of the session's files."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from cryoframe.twin.shot import Shot

FIRST = Shot(
    exposure_id="exposure_00001", number=1, time_utc=datetime(2025, 1, 8, 15, 49, 21, 104970, UTC), grid_square=8999138,
    foil_hole=9015883, place_in_hole=0, image_shift_um=(0.5, -0.25), beam_tilt_mrad=(0.2, -0.1),
    stage_um=(-97.153, -152.723, 85.711), stage_tilt_deg=12.5, nominal_defocus_A=27000.0, pixel_size_A=1.0559,
    dose_e_A2=40.5, n_frames=50, exposure_s=0.89, shape_px=(2046, 2880), voltage_kV=300.0, magnification=165000,
    camera="k3", kind="tiff", slit_eV=20.0, super_resolution=2,
)  # fmt: skip


def shots(n: int, **changed: Any) -> list[Shot]:
    """Two exposures a hole, three holes a square."""
    return [
        replace(
            FIRST,
            exposure_id=f"exposure_{k + 1:05d}",
            number=k + 1,
            time_utc=FIRST.time_utc + timedelta(seconds=4 * k),
            place_in_hole=k % 2,
            foil_hole=FIRST.foil_hole + k // 2,
            grid_square=FIRST.grid_square + k // 6,
            **changed,
        )
        for k in range(n)
    ]
