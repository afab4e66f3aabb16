"""Params of every shipped stage: what cannot be meant is refused by name before any data are looked at."""

from __future__ import annotations

import dataclasses
import math
from importlib import import_module

import pytest

from cryoframe.errors import InvalidInput

SHIPPED = (
    "cryoframe_classify.by_class", "cryoframe_classify.plugin", "cryoframe_classify.streaming",
    "cryoframe_ctf.plugin", "cryoframe_ctf.profile", "cryoframe_extract.plugin",
    "cryoframe_finish.local_resolution", "cryoframe_finish.mask", "cryoframe_finish.postprocess",
    "cryoframe_initial.ab_initio", "cryoframe_initial.from_map", "cryoframe_model.seed", "cryoframe_motion.patch",
    "cryoframe_motion.plugin", "cryoframe_pick.plugin", "cryoframe_pick.template", "cryoframe_pick.texture",
    "cryoframe_refine.classes", "cryoframe_refine.nonuniform", "cryoframe_refine.plugin",
    "cryoframe_simulate.params",
)  # fmt: skip
NUMBERS = [
    (module, field.name)
    for module in SHIPPED
    for field in dataclasses.fields(import_module(module).Params)
    if type(field.default) in (int, float)
]


def test_shipped__is_every_stage_plugin(repository) -> None:
    found = {
        ".".join(path.relative_to(repository / "plugins").with_suffix("").parts)
        for path in (repository / "plugins").glob("*/*.py")
        # Notifiers are no stages: they must be told an address, so their Params have no value by default.
        if "class Params" in path.read_text(encoding="utf-8") and path.parent.name != "cryoframe_notify"
    }
    assert found == set(SHIPPED)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e300])
@pytest.mark.parametrize(("module", "name"), NUMBERS)
def test_infinite_and_absurd_numbers__are_refused_by_name(module, name, value) -> None:
    with pytest.raises(InvalidInput, match=rf"\b{name}\b") as caught:
        import_module(module).Params(**{name: value})
    assert caught.value.expected
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("module", "params", "says"),
    [
        ("cryoframe_classify.plugin", {"n_classes": 0}, "n_classes = 0"),
        ("cryoframe_classify.plugin", {"n_iterations": -1}, "n_iterations"),
        ("cryoframe_classify.plugin", {"finest_resolution_A": 50.0}, "finest_resolution_A = 50"),
        ("cryoframe_ctf.plugin", {"low_A": 3.0}, "low_A = 3"),
        ("cryoframe_ctf.plugin", {"defocus_min_A": 60000.0}, "defocus_min_A"),
        ("cryoframe_extract.plugin", {"box_px": 0}, "box_px = 0"),
        ("cryoframe_finish.mask", {"edge_A": -1.0}, "edge_A"),
        ("cryoframe_motion.plugin", {"n_running": 0}, "n_running"),
        ("cryoframe_pick.plugin", {"n_scales": 17}, "n_scales = 17"),
        ("cryoframe_pick.plugin", {"inner_diameter_A": 200.0}, "inner_diameter_A"),
        ("cryoframe_refine.plugin", {"n_iterations": 0}, "n_iterations"),
    ],
)
def test_values_that_cannot_be_meant__are_refused(module, params, says) -> None:
    with pytest.raises(InvalidInput, match=says):
        import_module(module).Params(**params)
