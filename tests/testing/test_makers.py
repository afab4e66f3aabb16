"""Checks of writers and makers catch the fault they name; planted faults around the house's own writer of MRC movies."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from cryoframe.kernel.discovery import local_offers, scan
from cryoframe.testing import run_checks

_HEAD = """
import dataclasses
import numpy as np
from cryoframe import hookimpl
from cryoframe_formats import mrc_movie_write
"""
PLANTED = {
    "upside_down": ("recording = dataclasses.replace(recording, frames=(f[::-1] for f in recording.frames))", "movie_written_as_given"),
    "wraps": ("recording = dataclasses.replace(recording, frames=(f.astype(recording.dtype) for f in recording.frames))", "overflow_refused"),
    "wrong_pixel": ("recording = dataclasses.replace(recording, pixel_size_A=2 * recording.pixel_size_A)", "movie_written_as_given"),
    "writes_beside": ("path.with_suffix('.log').write_text('x')", "only_that_file_written"),
    "shortens": ("frames = list(recording.frames); recording = dataclasses.replace(recording, frames=frames, n_frames=len(frames))", "too_few_frames_refused"),
    "takes_all": ("recording = dataclasses.replace(recording, kind='mrc')", "other_kinds_declined"),
}  # fmt: skip


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_fault_of_a_writer__is_named(name: str, tmp_path: Path) -> None:
    line, check = PLANTED[name]
    text = f"{_HEAD}\n@hookimpl\ndef write_movie(path, recording):\n    {line}\n    return mrc_movie_write.write_movie(path, recording)\n"
    (tmp_path / f"{name}.py").write_text(text)
    offers = local_offers([tmp_path / f"{name}.py"])
    results = run_checks("write_movie", name, offers=(*offers, *scan()))
    assert check in {result.check for result in results if not result.passed}


def test_the_planted_faults__are_on_a_writer_that_passes() -> None:
    assert all(result.passed for result in run_checks("write_movie", "mrc"))
    assert dataclasses.is_dataclass(run_checks("write_movie", "mrc", only=["signature"])[0])
