"""Simulated micrographs of four specimens at three defoci with the true places, for pickers and what is near them.

A field is one exposure taken in a single frame: motion is not in it, since a stage before has undone it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from cryoframe import CtfFit, Exposure, Micrograph, Optics, Specimen, SpecimenRequest, StageContext
from cryoframe.bench.pick_fields import four_together
from cryoframe_model.specimen import open_specimen
from cryoframe_simulate.plugin import Params, simulate_movies

PIXEL_A = 1.5
DEFOCI_A = (8000.0, 15000.0, 25000.0)
DOSE_E_A2 = 40.0
#: name → longest diameter [Å], inner diameter [Å], concentration [mg/mL].
SPECIMENS = {
    "betagal": (180.0, 0.0, 30.0),
    "apoferritin": (128.0, 72.0, 30.0),
    "ribosome-sized": (270.0, 0.0, 60.0),
    "membrane protein": (110.0, 0.0, 10.0),
}


@dataclass(frozen=True)
class Field:
    """A micrograph, its CTF, the true places `(n, 2)` (x, y) [Å] and the specimen."""

    micrograph: Micrograph
    ctf: CtfFit
    centres_A: np.ndarray
    specimen: Specimen
    diameter_A: float
    inner_A: float


def two_chains(model: Path, made: Path) -> Path:
    """Two of four chains of a membrane protein's model, some 150 kDa."""
    kept = []
    for line in model.read_text().splitlines():
        if line.startswith(("ATOM", "HETATM")) and line.split()[6] not in ("A", "B"):
            continue
        kept.append(line)
    made.write_text("\n".join(kept) + "\n")
    return made


@cache
def specimen_of(name: str, shared_data: Path, scratch: Path) -> Specimen:
    """The specimen as the beam sees it."""
    models = shared_data / "models"
    if name == "ribosome-sized":
        return four_together(specimen_of("betagal", shared_data, scratch))
    path = {"betagal": models / "5a1a.cif", "apoferritin": models / "7a4m.cif"}.get(name)
    path = path or two_chains(models / "7l2i.cif", scratch / "two_chains.cif")
    assembly = "1" if name != "membrane protein" else ""
    (made,) = open_specimen(path, SpecimenRequest(name=name, pixel_size_A=PIXEL_A, assembly=assembly))
    return made


def field(name: str, defocus_A: float, shared_data: Path, scratch: Path, *, side_px: int = 2048) -> Field:
    """One micrograph; the same arguments give the same."""
    diameter_A, inner_A, concentration = SPECIMENS[name]
    specimen = replace(specimen_of(name, shared_data, scratch), concentration_mg_mL=concentration)
    exposure = Exposure(
        f"{name}-{defocus_A:.0f}".replace(" ", "-"), shape_px=(side_px, side_px), pixel_size_A=PIXEL_A, n_frames=1,
        dose_per_frame_e_A2=DOSE_E_A2, frame_time_s=3.0, defocus_u_A=defocus_A + 100.0, defocus_v_A=defocus_A - 100.0,
        defocus_angle_deg=30.0, ice_thickness_A=max(300.0, 1.1 * diameter_A),
    )  # fmt: skip
    params = Params(motion=False, gain=False, defects=False, hot_pixels=False, coincidence=False,
                    ice_motion=False, site_damage=False)  # fmt: skip
    made = simulate_movies(specimens=(specimen,), exposure=exposure, params=params, ctx=StageContext(scratch, seed=5))
    data = np.asarray(made.movie.source.read_frame(0), dtype=np.float32)
    optics = made.movie.optics
    table = made.truth.particles
    centres = np.stack([table.floats("x_A"), table.floats("y_A")], axis=1)
    micrograph = Micrograph(
        exposure.exposure_id, data, PIXEL_A, DOSE_E_A2,
        optics=Optics(optics.voltage_kV, optics.cs_mm, optics.amplitude_contrast_frac),
    )  # fmt: skip
    fit = CtfFit(exposure.exposure_id, exposure.defocus_u_A, exposure.defocus_v_A, exposure.defocus_angle_deg)
    return Field(micrograph, fit, centres, specimen, diameter_A, inner_A)
