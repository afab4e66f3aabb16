"""The report tells what a class table tells: one row a class, units with the figures."""

from __future__ import annotations

from pathlib import Path

from cryoframe import StageContext
from cryoframe.testing import cases
from cryoframe.view import sections
from cryoframe_classify import plugin


def test_classes_of_a_report__have_a_row_of_figures_each_the_largest_first(tmp_path: Path) -> None:
    case = cases.make("classify_2d", "nominal", tmp_path)
    assert case is not None
    params = plugin.Params(n_classes=3, n_iterations=3, particle_diameter_A=96.0)
    classes = plugin.classify_2d(case.inputs["stack"], params, StageContext(tmp_path, seed=1))
    body = sections.SECTIONS[type(classes)](sections.Shown("classes", classes))
    for heading in ("n particles", "resolution [Å]", "accuracy rotation [°]", "accuracy translation [Å]"):
        assert f"<th>{heading}</th>" in body
    assert body.count("<tr>") == 1 + 3
    sizes = sorted(classes.classes.column("n_particles").tolist(), reverse=True)
    assert f"<td>0</td><td>{sizes[0]}</td>" in body
