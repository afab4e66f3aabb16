"""What side-cars and references say of a session without faults is what was simulated: slit, plate, time, defects."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import mrcfile
import pytest
from session_world import made, plugins_of, settings, small

from cryoframe.errors import ConfigError
from cryoframe.twin.checks import remarks
from cryoframe.twin.plan import make_plan
from cryoframe.twin.prepare import layout_of, prepare, settled
from cryoframe.twin.session import SessionConfig, from_mapping


def _stated(folder: Path, **changed: Any) -> tuple[SessionConfig, bytes]:
    """Return the settled session of the stage ``physical`` and its first movie's side-car."""
    changed = {"session": {"layout": "epu"}, "simulate": {"use": "physical"}} | changed
    content = settings(folder, **changed)
    raw = from_mapping(content, folder=folder)
    config, _ = settled(raw, plugins_of(raw))
    shot = make_plan(config)[0].shot
    return config, b"".join(layout_of(config, shot).side_cars(shot).values())


@pytest.mark.parametrize(
    ("preset", "slit_eV"), [("krios_g3", 20.0), ("krios_g4", 10.0), ("glacios_200", 0.0), ("talos_200", 0.0)]
)
def test_the_slit_that_is_stated__is_the_one_that_is_simulated(tmp_path: Path, preset: str, slit_eV: float) -> None:
    config, side_car = _stated(tmp_path, microscope={"preset": preset})
    assert config.microscope.slit_eV == slit_eV
    assert (b"EnergySelectionSlitWidth" in side_car) == (slit_eV > 0)
    assert (f"EnergySelectionSlitWidth>{slit_eV:g}<".encode() in side_car) == (slit_eV > 0)


def test_a_slit_that_is_set__is_simulated_and_stated(tmp_path: Path) -> None:
    raw = small(tmp_path, microscope={"slit_eV": 15.0}, simulate={"use": "physical"})
    config, params = settled(raw, plugins_of(raw))
    assert config.microscope.slit_eV == params["slit_eV"] == 15.0


def test_a_lost_slit_without_a_slit__is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="slit_lost needs an energy slit"):
        _stated(tmp_path, microscope={"preset": "glacios_200"}, fault=[{"name": "slit_lost"}])


def test_a_phase_plate__is_stated_where_there_is_a_phase_shift(tmp_path: Path) -> None:
    for shift_deg in (0.0, 90.0):
        config = small(tmp_path, defocus={"phase_shift_deg": shift_deg})
        assert make_plan(config)[0].shot.phase_plate == (shift_deg > 0)


@pytest.mark.parametrize("text", ["2026-01-05T08:00:00", "2026-01-05T10:00:00+02:00", "2026-01-05T08:00:00Z"])
def test_the_session_begins__at_the_time_that_was_set_wherever_its_clock_is(tmp_path: Path, text: str) -> None:
    config = small(tmp_path, session={"begin_utc": text})
    assert make_plan(config)[0].shot.time_utc == datetime(2026, 1, 5, 8, tzinfo=UTC)


@pytest.mark.parametrize(
    ("layout", "kind", "name"),
    [
        ("flat", "tiff", "defects.mrc"),
        ("serialem", "tiff", "frames/defects_small.txt"),
        ("epu", "mrc", "FoilHole_*-defects.MRC"),
    ],
)
def test_the_cameras_defects__land_beside_the_gain_and_are_kept_in_the_truth(
    tmp_path: Path, layout: str, kind: str, name: str
) -> None:
    made(small(tmp_path, session={"layout": layout, "kind": kind, "n_movies": 1}))
    (landed,) = (tmp_path / "out").glob(name)
    kept = tmp_path / "truth" / "references" / landed.name
    assert kept.read_bytes() == landed.read_bytes()
    if landed.suffix == ".txt":
        assert landed.read_text().startswith("CameraSizeX 96")
        (mdoc,) = (tmp_path / "out").rglob("*.mdoc")
        assert f"DefectFile = {landed.name}" in mdoc.read_text()
    else:
        with mrcfile.open(landed, permissive=True) as file:
            assert file.data.shape == (64, 96)
            assert not file.data.any()


def test_ice_too_thin_for_a_particle__is_refused_and_half_thin_ice_remarked_on(tmp_path: Path) -> None:
    thin = small(tmp_path, ice={"min_A": 20.0, "max_A": 40.0, "rim_extra_A": 0.0, "ramp": 0.0})
    with pytest.raises(ConfigError, match="every movie would be empty"):
        prepare(thin, plugins_of(thin), n_workers=1, resume=False, dry=True)
    mixed = small(tmp_path, session={"n_movies": 12}, ice={"min_A": 20.0, "max_A": 200.0, "rim_extra_A": 0.0})
    ready = prepare(mixed, plugins_of(mixed), n_workers=1, resume=False, dry=True)
    *_, remark = remarks(ready.config, ready.plan, ready.specimens)
    assert "too thin for 'thing'" in remark
    empty = {"name": "empty_hole", "exposures": "1-"}
    nothing = small(tmp_path, ice={"min_A": 20.0, "max_A": 40.0}, fault=[empty])
    assert prepare(nothing, plugins_of(nothing), n_workers=1, resume=False, dry=True).cost.particles == 0.0


@pytest.mark.parametrize(("layout", "is_serialem"), [("epu", False), ("serialem", True)])
def test_the_movies_description__names_the_program_of_the_layout(
    tmp_path: Path, layout: str, is_serialem: bool
) -> None:
    made(small(tmp_path, session={"layout": layout, "n_movies": 1}))
    files = [path for path in (tmp_path / "out").rglob("*") if path.suffix in (".tif", ".tiff")]
    (movie,) = [path for path in files if not path.stem.endswith(("gain", "defects"))]
    assert (b"SerialEMCCD" in movie.read_bytes()) == is_serialem
