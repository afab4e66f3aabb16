"""The call whose answer is kept under tests/recorded/relion; run as a script, it records RELION's answer anew.

``python tests/contrib/recording.py`` writes tests/recorded/relion/<version>/motion; a folder that is there is kept.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import drifting

from cryoframe import Movie
from cryoframe.external import record
from cryoframe_relion import plugin
from cryoframe_relion.handover import hand_over

RECORDED = Path(__file__).resolve().parents[1] / "recorded" / "relion"
OUTPUTS = ("out/movie.star", "out/movie.mrc", "out/movie_noDW.mrc", "out/movie.log")
SHAPE_PX = (128, 160)
PARAMS = plugin.Params(patches=(3, 3))


def movie(folder: Path) -> Movie:
    """The movie of the recorded call."""
    frames = drifting.counts(drifting.scene(SHAPE_PX), gain=drifting.gain_image(SHAPE_PX)).astype("uint16")
    return drifting.filmed(folder / "mov.tif", frames, gain=drifting.gain_image(SHAPE_PX))


def main() -> None:
    """Call RELION and keep what it answers."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        work = folder / "work"
        work.mkdir()
        taken = movie(folder)
        hand_over(taken, work, link=True)
        command = plugin.build(taken, PARAMS)
        done = plugin.PROGRAM.run(command, workdir=work, timeout_s=600)
        record(command, done, RECORDED / done.version / "motion", OUTPUTS)


if __name__ == "__main__":
    main()
