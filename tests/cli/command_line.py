"""The program under test, how it is started, and what it is run on; no fixture and no assertion lives here."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

PROGRAM = Path(sys.executable).with_name("cryoframe")
Cli = Callable[..., subprocess.CompletedProcess[str]]

#: A facility's one-file plugin with a stage of each kind that is quick to run.
FACILITY = """
from dataclasses import dataclass

import numpy as np

from cryoframe import CtfFit, Micrograph, ParticleTable, StageContext, hookimpl
from cryoframe.errors import Corrupt


@dataclass(frozen=True)
class Params:
    defocus_A: float = 10000.0  # what is answered
    n: int = 3  # how many picks
    trip: str = ""  # refuse micrographs whose name holds this


@hookimpl
def estimate_ctf(micrograph: Micrograph, params: Params, ctx: StageContext) -> CtfFit:
    ctx.metric("mean_grey", float(np.mean(micrograph.data)), "")
    if params.trip and params.trip in micrograph.micrograph_id:
        raise Corrupt("this one is refused", path=micrograph.micrograph_id, expected="another")
    return CtfFit("", params.defocus_A, params.defocus_A - micrograph.optics.voltage_kV, 0.0)


@hookimpl
def pick_particles(micrograph: Micrograph, ctf: CtfFit, params: Params, ctx: StageContext) -> ParticleTable:
    place = (10.0 * np.arange(params.n)).astype(np.float32)
    return ParticleTable.from_columns({"x_A": place, "y_A": place, "figure_of_merit": place + ctf.defocus_u_A})
"""
RUN = """
[run]
name = "small"
folder = "run"
workers = 1

[plugins]
files = ["facility.py"]

[micrographs]
files = "data/*.mrc"

[[stage]]
id = "ctf"
run = "estimate_ctf"
use = "facility"
params = { trip = "bad" }

[[stage]]
id = "pick"
run = "pick_particles"
use = "facility"
"""


def started(tmp_path: Path, *words: str | Path) -> subprocess.Popen[str]:
    """Start the program in a group of its own, deaf to nothing: a test run in the background may ignore SIGINT."""
    listening = (
        "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])"
    )
    command = [sys.executable, "-c", listening, str(PROGRAM), *map(str, words)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, cwd=tmp_path, text=True, start_new_session=True, **pipes)  # type: ignore[call-overload, no-any-return]
