"""A refinement that is ended at each of its iterations, one after the other, comes to the bytes of a quiet one."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from test_refine_engine import made_of

from cryoframe import StageContext
from cryoframe_refine import plugin

PARAMS = plugin.Params(coarse_step_deg=20.0, n_whole=2, n_iterations=4, particle_diameter_A=120.0)


class Ended(BaseException):
    """The process is gone: nobody tidies up."""


def test_ended_at_each_iteration__it_ends_with_the_same_bytes(
    tmp_path: Path, figure: Callable[[str, object], None]
) -> None:
    made, lines = made_of(), []
    quiet = plugin.refine_3d(made.stack, made.volume, None, PARAMS, StageContext(tmp_path, on_log=lines.append))
    numbers = [int(found[1]) for line in lines if (found := re.match(r"iteration (\d+)", line))]
    assert len(numbers) >= 4
    folder = tmp_path / "ended"
    folder.mkdir()
    for number in numbers[:-1]:

        def hear(line: str, number: int = number) -> None:
            if line.startswith(f"iteration {number}"):
                raise Ended

        with pytest.raises(Ended):
            plugin.refine_3d(made.stack, made.volume, None, PARAMS, StageContext(folder, on_log=hear))
    said: list[str] = []
    again = plugin.refine_3d(made.stack, made.volume, None, PARAMS, StageContext(folder, on_log=said.append))
    assert said[0].startswith("taken up after iteration")
    assert again.volume.data.tobytes() == quiet.volume.data.tobytes()
    assert again.half_maps.first.data.tobytes() == quiet.half_maps.first.data.tobytes()
    assert again.half_maps.second.data.tobytes() == quiet.half_maps.second.data.tobytes()
    assert again.particles == quiet.particles
    figure("iterations at which a refinement was ended, same bytes", len(numbers) - 1)
