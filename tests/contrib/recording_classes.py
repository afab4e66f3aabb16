"""The classification whose answer is kept under tests/recorded/relion; as a script, it records it anew.

``python tests/contrib/recording_classes.py`` writes tests/recorded/relion/<version>/classify.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from recording import RECORDED

from cryoframe.external import record
from cryoframe.testing import cases, phantoms
from cryoframe_relion import classify, poses

PARAMS = classify.Params(n_classes=2, n_iterations=3, particle_diameter_A=96.0)
STEM = f"{poses.OUT}/run_it"
OUTPUTS = (
    f"{STEM}003_classes.mrcs", f"{STEM}003_data.star",
    *(f"{STEM}00{number}_{name}.star" for number in (1, 3) for name in ("optimiser", "model")),
)  # fmt: skip


def particles() -> phantoms.Particles:
    """The particles of the recorded call: two views, at any angle in the plane."""
    case = cases.make("classify_2d", "nominal", Path())
    assert case is not None
    made: phantoms.Particles = case.truth
    return made


def main() -> None:
    """Call RELION and keep what it answers."""
    with tempfile.TemporaryDirectory() as name:
        work, stack = Path(name), particles().stack
        poses.hand_over_particles(classify.in_order(stack), work)
        command = classify.build(stack, PARAMS)
        done = classify.PROGRAM.run(command, workdir=work, timeout_s=600)
        record(command, done, RECORDED / done.version / "classify", OUTPUTS)


if __name__ == "__main__":
    main()
