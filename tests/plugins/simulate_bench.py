"""What the tests of the simulated microscope share: a small molecule, a small field, and everything switched off."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from cryoframe import Exposure, SimulatedMovie, Specimen, StageContext, Volume
from cryoframe.testing import phantoms
from cryoframe_simulate.plugin import Params, simulate_movies

PIXEL_A = 2.0
BOX_PX = 64

#: Nothing but particles, ice that takes nothing, a lens and a camera that counts every electron.
PLAIN = {
    "ice_noise": False,
    "inelastic": False,
    "damage": False,
    "motion": False,
    "blur": False,
    "doming": False,
    "coherence": False,
    "coincidence": False,
    "gain": False,
    "defects": False,
    "hot_pixels": False,
    "support": False,
    "spread": False,
}


def coil(pixel_size_A: float = PIXEL_A, box_px: int = BOX_PX, **settings: object) -> Specimen:
    """A molecule without symmetry, 90 Å across, as dense against ice as protein is (about 3 V)."""
    made = phantoms.molecule(box_px, pixel_size_A)
    dense = replace(made, data=(0.03 * made.data).astype(np.float32))
    given = {"mass_kDa": 60.0, "radius_A": 55.0, "concentration_mg_mL": 2.0} | settings
    return Specimen("coil", dense, **given)


def nothing(pixel_size_A: float = PIXEL_A) -> Specimen:
    """A specimen that is not there."""
    return Specimen("nothing", Volume(np.zeros((16, 16, 16), dtype=np.float32), pixel_size_A), 50.0, 16.0, 0.0)


def exposure(**settings: object) -> Exposure:
    """A field of 512² pixels, four frames, 20 e/Å²."""
    usual = {
        "exposure_id": "bench",
        "shape_px": (512, 512),
        "pixel_size_A": PIXEL_A,
        "n_frames": 4,
        "dose_per_frame_e_A2": 5.0,
        "frame_time_s": 1.0,
        "defocus_u_A": 12000.0,
        "defocus_v_A": 12000.0,
        "ice_thickness_A": 300.0,
    }
    return Exposure(**(usual | settings))


def shoot(specimens=None, seed: int = 1, shot: Exposure | None = None, **params: object) -> SimulatedMovie:
    """Simulate with everything off that `params` does not name."""
    chosen = [coil()] if specimens is None else list(specimens)
    ctx = StageContext(Path("unused"), stage_id="simulate", item_id="item", seed=seed)
    return simulate_movies(chosen, shot or exposure(), Params(**(PLAIN | params)), ctx)


def summed(made: SimulatedMovie) -> np.ndarray:
    """Sum of the gain-corrected frames, float64."""
    return np.sum([frame.astype(np.float64) for frame in made.movie.frames()], axis=0)
