"""Sessions out of the ordinary, each landed and watched: results against the truth, and what told of trouble.

``python tests/campaigns/scenarios.py`` for all, ``… tilt wrong_dose`` for some; a few movies each, some 20 CPU seconds
a scenario. A scenario passes if its results are right within its limits, or if a warning, verdict or refusal says
what is expected of it; `UNKNOWABLE` is for what no single movie can show.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryoframe.compare.truth import Truth
from cryoframe.compare.truth_answers import gathered
from cryoframe.compare.truth_table import Scores, score
from cryoframe.data.ids import digest_facts
from cryoframe.execution.exposures import exposures
from cryoframe.records.database import Database
from cryoframe.records.state import State

REPOSITORY = Path(__file__).resolve().parents[2]
MODEL = REPOSITORY / "cryoframe" / "cli" / "demo_data" / "5a1a.cif.gz"
COMMAND = "import sys; from cryoframe.cli.main import entry; sys.argv = ['cryoframe', *sys.argv[1:]]; sys.exit(entry())"
#: A passing scenario that is wrong and says nothing, because nothing in it could know.
UNKNOWABLE = "nothing in one movie can tell"

SESSION: Mapping[str, Any] = {
    "session": {"name": "twin", "seed": 3, "n_movies": 2, "folder": "land", "truth": "truth", "layout": "epu"},
    "microscope": {"preset": "krios_g4"},
    "camera": {"preset": "k3"},
    "image": {
        "shape_px": [1024, 1024], "pixel_size_A": 1.5, "n_frames": 10, "dose_e_A2": 40.0, "frame_time_s": 0.3,
    },
    "defocus": {"min_A": 12000.0, "max_A": 18000.0},
    "ice": {"min_A": 250.0, "max_A": 350.0},
    "specimen": [{"file": str(MODEL), "name": "betagal", "symmetry": "D2"}],
}  # fmt: skip
RUN: Mapping[str, Any] = {
    "run": {"name": "scenario", "folder": "run", "workers": 1},
    "optics": {"voltage_kV": 300.0, "cs_mm": 2.7, "amplitude_contrast_frac": 0.1},
    "movies": {},
    "watch": {
        "folder": "land", "patterns": ["*_fractions.tiff"], "settle_s": 0.2, "long_settle_s": 1.0, "poll_s": 0.2,
        "metadata": "required",
    },
    "motion": {"run": "correct_motion", "use": "patch", "params": {"patches": [3, 3]}},
    "ctf": {"run": "estimate_ctf", "use": "spectrum", "params": {}},
    "clean": {"run": "clean_micrograph", "use": "texture", "params": {}},
    "picks": {"run": "pick_particles", "use": "blob", "params": {"diameter_A": 180.0}},
}  # fmt: skip
STAGES = ("motion", "ctf", "clean", "picks")


@dataclass(frozen=True)
class Scenario:
    """What is made, what is configured, and what has to come of it.

    `most` bounds medians of the score, `told` is what some warning, verdict or reason has to say in each movie
    (or, with `instead`, in those whose results are beyond the bounds).
    """

    doc: str
    session: Mapping[str, Any] = field(default_factory=dict)
    run: Mapping[str, Any] = field(default_factory=dict)
    most: Mapping[str, float] = field(default_factory=dict)
    told: str = ""
    instead: bool = False


DEFOCUS, MOTION, PHASE = "accepted defocus error [Å]", "motion motion_rms_A", "accepted phase error [°]"
USUAL: Mapping[str, float] = {DEFOCUS: 150.0, MOTION: 1.0}

SCENARIOS: Mapping[str, Scenario] = {
    "usual": Scenario("nothing out of the ordinary", most=USUAL),
    "tilt": Scenario(
        "stage tilted by 30°",
        {"tilt": {"stage_tilt_deg": 30.0, "axis_deg": 20.0}, "image": {"shape_px": [1536, 1536]}},
        most={DEFOCUS: 250.0, MOTION: 1.5, "tilt error [°]": 5.0},
    ),
    "phase_plate": Scenario(
        "phase plate of 90°, searched for",
        {"defocus": {"phase_shift_deg": 90.0, "min_A": 6000.0, "max_A": 10000.0}, "image": {"shape_px": [1536, 1536]}},
        {"ctf": {"params": {"phase_shift_max_deg": 180.0}}},
        most={DEFOCUS: 200.0, PHASE: 15.0},
    ),
    "phase_plate_untold": Scenario(
        "phase plate of 90°, and nobody says so",
        {"defocus": {"phase_shift_deg": 90.0, "min_A": 6000.0, "max_A": 10000.0}, "image": {"shape_px": [1536, 1536]}},
        most={DEFOCUS: 150.0}, told="CTF", instead=True,
    ),
    "thick_ice": Scenario(
        "ice of 110 nm",
        {"ice": {"min_A": 1100.0, "max_A": 1100.0}, "image": {"shape_px": [1536, 1536]}},
        most={DEFOCUS: 150.0, MOTION: 1.0, "ice error [nm]": 10.0}, told="ice is 1", instead=True,
    ),
    "very_thick_ice": Scenario(
        "ice of 160 nm, twice what CTF fits are calibrated for: its first node lies at 5.6 Å",
        {"ice": {"min_A": 1600.0, "max_A": 1600.0}, "image": {"shape_px": [1536, 1536]}},
        most={DEFOCUS: 150.0}, told="ice is", instead=True,
    ),
    "low_dose": Scenario(
        "a fifth of the usual dose",
        {"image": {"dose_e_A2": 8.0}},
        most={DEFOCUS: 300.0, MOTION: 2.5}, told="CTF", instead=True,
    ),
    "super_resolution": Scenario(
        "K3 super-resolution files, cropped in Fourier space; the side-car states the pixel of the sensor",
        {"camera": {"preset": "k3_super"}},
        {"movies": {"pixel_size_A": 0.75}, "motion": {"params": {"patches": [3, 3], "bin_factor": 2.0}}},
        most=USUAL,
    ),
    "super_resolution_untold": Scenario(
        "the same, and nobody says that the side-car states the pixel of the sensor",
        {"camera": {"preset": "k3_super"}},
        {"motion": {"params": {"patches": [3, 3], "bin_factor": 2.0}}},
        most=USUAL,
        told="pixel_size_A is 0.75 by the file's header and 1.5 by the side-car",
    ),
    "eer": Scenario(
        "Falcon events, grouped into fractions",
        {
            "session": {"kind": "eer"}, "camera": {"preset": "falcon_4i"},
            "image": {"n_frames": 80, "frame_time_s": 0.04, "shape_px": [1536, 1536]},
        },
        {"watch": {"patterns": ["*.eer"]}},
        most={DEFOCUS: 150.0, MOTION: 2.0},  # a quarter of the usual dose a fraction: twice the error
    ),
    "wrong_pixel_size": Scenario(
        "header and side-car state a pixel 5 % too large; the configuration is right",
        {"fault": [{"name": "wrong_pixel_size"}]},
        {"movies": {"pixel_size_A": 1.5}},
        most=USUAL, told="pixel_size_A is 1.575 by the side-car and 1.5 by the configuration",
    ),
    "wrong_pixel_size_untold": Scenario(
        "header and side-car state a pixel 5 % too large; nobody else says anything",
        {"fault": [{"name": "wrong_pixel_size"}]},
        most=USUAL, told=UNKNOWABLE, instead=True,
    ),
    "wrong_pixel_size_double": Scenario(
        "the configuration states the pixel of super-resolution for files without",
        run={"movies": {"pixel_size_A": 0.75}},
        most=USUAL, told="pixel_size_A is 1.5 by the side-car and 0.75 by the configuration",
    ),
    "wrong_voltage": Scenario(
        "the configuration says 200 kV where the microscope has 300",
        run={"optics": {"voltage_kV": 200.0}},
        most=USUAL, told="voltage_kV is 300 by the side-car and 200 by the configuration",
    ),
    "wrong_dose": Scenario(
        "the side-car states half the dose",
        {"fault": [{"name": "wrong_dose"}]},
        most=USUAL, told="dose or pixel size is wrong",
    ),
    "wrong_dose_configured": Scenario(
        "the configuration states half the dose",
        run={"movies": {"dose_per_frame_e_A2": 2.0}},
        most=USUAL, told="by the side-car and 2 by the configuration",
    ),
    "beam_faded": Scenario(
        "the beam gives a third of what is stated",
        {"fault": [{"name": "beam_faded", "exposures": "1-", "value": 0.33}]},
        most={DEFOCUS: 300.0, MOTION: 2.5}, told="dose or pixel size is wrong",
    ),
    "gain_flipped": Scenario(
        "the gain reference lies turned over its rows",
        {"fault": [{"name": "gain_flipped", "exposures": "1-"}]},
        told="its rows in reverse order",
    ),
}  # fmt: skip


@dataclass
class Outcome:
    """What came of one scenario."""

    name: str
    figures: dict[str, float]
    said: dict[str, str]
    problems: list[str]

    def lines(self) -> list[str]:
        """Return it for people."""
        numbers = ", ".join(f"{name} {value:.3g}" for name, value in self.figures.items())
        verdict = "ok " if not self.problems else "BAD"
        told = sorted({words for words in self.said.values() if words})
        return [f"{verdict} {self.name}: {numbers}", *(f"      said: {words}" for words in told), *self.problems]


def play(name: str, folder: Path, *, smaller: Mapping[str, Any] | None = None) -> Outcome:
    """Make a scenario's session, watch it, and judge what came of it; equal sessions are made once."""
    scenario = SCENARIOS[name]
    session = _merged(_merged(SESSION, smaller or {}), scenario.session)
    made = folder.parent / "made" / digest_facts(session)[:12]
    if not (made / "truth" / "faults.json").is_file():
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(parents=True)
        _write(made / "session.toml", session)
        _command(made, "simulate", "session.toml", "--workers", "1", "--quiet")
    shutil.copytree(made, folder, copy_function=os.link)
    _write(folder / "run.toml", _run_config(folder, scenario))
    _command(folder, "watch", "run.toml", "--quiet", "--until-idle", "4", may_fail=True)
    return judged(name, folder)


def judged(name: str, folder: Path) -> Outcome:
    """Judge a scenario's run that has ended."""
    scenario, truth = SCENARIOS[name], Truth.open(folder / "truth")
    scores = score(gathered([folder / "run"], truth), truth)
    rows = _rows(folder / "run")
    figures = _figures(scores, rows, truth)
    said = {str(row["micrograph_id"]): "; ".join(str(row[n]) for n in ("reason", "warnings") if row[n]) for row in rows}
    outcome = Outcome(name, figures, said, [])
    beyond = [
        f"      {quantity}: {figures.get(quantity, float('nan')):.3g}, at most {most:g}"
        for quantity, most in scenario.most.items()
        if not figures.get(quantity, float("nan")) <= most
    ]
    silent = [item for item, words in said.items() if scenario.told not in words] if scenario.told else []
    if scenario.told == UNKNOWABLE:
        return outcome
    if scenario.told and silent and not (scenario.instead and not beyond):
        outcome.problems.append(f"      not told: {scenario.told} ({', '.join(silent)})")
    if beyond and not scenario.told:
        outcome.problems += beyond
    return outcome


def _rows(run: Path) -> list[dict[str, Any]]:
    database = Database.open(run / "state.sqlite", read_only=True)
    try:
        return [dict(row) for row in exposures(State(database)).rows()]
    finally:
        database.close()


def _figures(scores: Scores, rows: Sequence[Mapping[str, Any]], truth: Truth) -> dict[str, float]:
    wanted = ("motion_rms_A", "f1 within 0.5 diameter")
    found = {f"{row.stage} {row.quantity}": row.value for row in scores.rows if row.quantity in wanted}
    errors: dict[str, list[float]] = {DEFOCUS: [], PHASE: [], "tilt error [°]": [], "ice error [nm]": []}
    for row in rows:
        exposure_id = truth.exposure_of(str(row["micrograph_id"]))
        if exposure_id is None:
            continue
        true = truth.exposure(exposure_id)
        if row["ctf_accepted"]:
            mean_A = row["defocus_u_A"] + row["defocus_v_A"] - true.defocus_u_A - true.defocus_v_A
            errors[DEFOCUS].append(abs(mean_A) / 2)
            turned = row["phase_shift_deg"] - true.exposure.phase_shift_deg
            errors[PHASE].append(abs((turned + 90.0) % 180.0 - 90.0))
        if row["tilt_deg"] is not None:
            errors["tilt error [°]"].append(abs(abs(row["tilt_deg"]) - abs(true.exposure.stage_tilt_deg)))
        if row["ice_thickness_A"] is not None:
            errors["ice error [nm]"].append(abs(row["ice_thickness_A"] - float(true.ice_thickness_A.mean())) / 10)
    found |= {name: statistics.median(values) for name, values in errors.items() if values}
    return found | {"CTF accepted": float(sum(bool(row["ctf_accepted"]) for row in rows)), "movies": float(len(rows))}


def _run_config(folder: Path, scenario: Scenario) -> dict[str, Any]:
    content = _merged(RUN, scenario.run)
    gain = sorted(path for path in (folder / "land").rglob("*") if "gain" in path.name.lower())
    if gain:
        content["movies"]["gain"] = str(gain[0])
    stages = [{"id": name, "threads": 1, **content.pop(name)} for name in STAGES]
    return content | {"stage": stages}


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    made = copy.deepcopy(dict(base))
    for key, value in over.items():
        made[key] = _merged(made.get(key, {}), value) if isinstance(value, Mapping) else copy.deepcopy(value)
    return made


def _write(path: Path, content: Mapping[str, Any]) -> None:
    lines = []
    for name, table in content.items():
        for one in table if isinstance(table, list) else [table]:
            lines.append(f"[[{name}]]" if isinstance(table, list) else f"[{name}]")
            lines += [f"{key} = {_toml(value)}" for key, value in one.items()]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_toml(one)}" for key, one in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False)


def _command(folder: Path, *words: str, may_fail: bool = False) -> None:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode and not may_fail:
        raise SystemExit(f"{folder}: cryoframe {' '.join(words)}\n{done.stderr}")


def main(words: Sequence[str]) -> int:
    """Play scenarios and print what came of them; 1 when one of them is wrong and silent."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="SCENARIO", help=", ".join(SCENARIOS))
    parser.add_argument("--folder", type=Path, help="where to work; kept")
    parser.add_argument("--judge", action="store_true", help="judge what is in the folder; play nothing")
    options = parser.parse_args(words)
    n_bad = 0
    with tempfile.TemporaryDirectory() as scratch:
        for name in options.names or SCENARIOS:
            folder = (options.folder or Path(scratch)) / name
            outcome = judged(name, folder) if options.judge else play(name, folder)
            n_bad += bool(outcome.problems)
            sys.stdout.write("\n".join(outcome.lines()) + "\n")
            sys.stdout.flush()
    return int(n_bad > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
