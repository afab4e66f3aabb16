"""The refinement whose answer is kept under tests/recorded/relion; run as a script, it records RELION's answer anew.

``python tests/contrib/recording_refinement.py`` writes tests/recorded/relion/<version>/refine.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from recording import RECORDED

from cryoframe import Volume
from cryoframe.external import Command, record
from cryoframe.testing import phantoms
from cryoframe_relion import poses, refine

PARAMS = refine.Params(particle_diameter_A=96.0, n_iterations=2, coarse_step_deg=15.0, offset_range_A=12.0)
STEM = f"{poses.OUT}/run_it"
OUTPUTS = (
    poses.reconstructed(1), poses.reconstructed(2),
    f"{STEM}002_half1_class001.mrc", f"{STEM}002_half2_class001.mrc", f"{STEM}002_data.star",
    *(f"{STEM}00{number}_{name}.star" for number in (1, 2) for name in ("optimiser", "half1_model")),
)  # fmt: skip


def particles(snr: float = 0.5) -> phantoms.Particles:
    """The particles of the recorded call."""
    return phantoms.particles(60, snr=snr, key="relion")


def reference(made: phantoms.Particles) -> Volume:
    """Their start."""
    return replace(made.volume, provenance="phantom")


def main() -> None:
    """Call RELION and keep what it answers."""
    with tempfile.TemporaryDirectory() as name:
        work, made = Path(name), particles()
        poses.hand_over(made.stack, reference(made), None, work)
        command = refine.build(made.stack, reference(made), None, PARAMS)
        done = refine.MPIRUN.run(command, workdir=work, timeout_s=600)
        for half in (1, 2):
            argv = ("--i", poses.last_table(work), "--o", poses.reconstructed(half), "--subset", str(half), "--ctf")
            refine.RECONSTRUCT.run(Command(argv), workdir=work, timeout_s=600)
        record(command, done, RECORDED / refine.PROGRAM.installed_version() / "refine", OUTPUTS)


if __name__ == "__main__":
    main()
