"""The truth of the physical stage, held against itself: what changes while a movie lasts is in every part of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from simulate_bench import exposure, shoot

from cryoframe import SimulatedMovie
from cryoframe.compare.truth import DONE, EXPOSURES, SESSION, Truth
from cryoframe.compare.truth_answers import gathered
from cryoframe.compare.truth_table import score
from cryoframe.data.twin import Trouble
from cryoframe.formats import products
from cryoframe.twin.truth_folder import gather


def truth_folder(folder: Path, made: SimulatedMovie) -> Path:
    """The truth of one exposure as a session lays it down."""
    name = made.truth.exposure.exposure_id
    place = folder / EXPOSURES / name
    place.mkdir(parents=True)
    products.save(made.truth, place)
    (place / DONE).write_text(json.dumps({"movie": f"{name}.tiff", "shape_px": list(made.movie.shape_px)}))
    coil = {"name": "coil", "symmetry": "C1", "truth_class": "particle", "radius_A": 55.0}
    (folder / SESSION).write_text(json.dumps({"species": [coil], "faults": []}))
    gather(folder, {})
    return folder


def test_the_truth_of_a_defocus_that_drifts_and_domes__scores_itself_without_error(tmp_path: Path) -> None:
    shot = exposure(trouble=Trouble(defocus_drift_A=1500.0), defocus_v_A=11000.0, defocus_angle_deg=20.0)
    made = shoot(seed=3, shot=shot, doming=True, dome_A=400.0)
    change_A = made.truth.defocus_change_A
    drift_A = 0.5 * 1500.0
    assert abs(change_A - drift_A) > 10.0  # the dome has its part
    own = made.truth.particles.floats("defocus_u_A") - made.truth.particles.floats("z_A")
    assert own == pytest.approx(12000.0 + change_A, abs=0.01)
    folder = truth_folder(tmp_path, made)
    truth = Truth.open(folder)
    scores = score(gathered([folder / "micrographs.star", folder / "particles.star"], truth), truth)
    errors = {row.quantity: row.worst for row in scores.rows if row.unit == "Å" and "defocus" in row.quantity}
    assert errors == pytest.approx({"defocus_error_A": 0.0, "particle_defocus_error_A": 0.0}, abs=2e-3)
