"""Checks of writers catch the fault they name; planted around the house's own writer of MRC movies."""

from __future__ import annotations

from pathlib import Path

import pytest

from cryoframe.kernel.discovery import local_offers, scan
from cryoframe.testing import run_checks

_PLUGIN = """
from dataclasses import replace
from pathlib import Path
from cryoframe import Recording, hookimpl
from cryoframe_formats import mrc_movie_write

@hookimpl
def write_movie(path: Path, recording: Recording) -> bool | None:
    {line}
    return mrc_movie_write.write_movie(path, recording)
"""
PLANTED = {
    "upside_down": (
        "recording = replace(recording, frames=(f[::-1] for f in recording.frames))",
        "movie_written_as_given",
    ),
    "wraps": (
        "recording = replace(recording, frames=(f.astype(recording.dtype) for f in recording.frames))",
        "overflow_refused",
    ),
    "wrong_pixel": (
        "recording = replace(recording, pixel_size_A=2 * recording.pixel_size_A)",
        "movie_written_as_given",
    ),
    "writes_beside": ("path.with_suffix('.log').write_text('x')", "only_that_file_written"),
    "shortens": (
        "f = list(recording.frames); recording = replace(recording, frames=f, n_frames=len(f))",
        "too_few_frames_refused",
    ),
    "takes_all": ("recording = replace(recording, kind='mrc')", "other_kinds_declined"),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_fault_of_a_writer__is_named(name: str, tmp_path: Path) -> None:
    line, check = PLANTED[name]
    (tmp_path / f"{name}.py").write_text(_PLUGIN.format(line=line))
    offers = local_offers([tmp_path / f"{name}.py"])
    results = run_checks("write_movie", name, offers=(*offers, *scan()))
    assert check in {result.check for result in results if not result.passed}


def test_the_planted_faults__are_on_a_writer_that_passes() -> None:
    results = run_checks("write_movie", "mrc")
    assert len(results) >= 8
    assert not [result for result in results if not result.passed]
