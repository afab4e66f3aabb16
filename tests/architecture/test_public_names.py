"""What cryoframe promises to others: its public names and its entry points."""

from __future__ import annotations

import importlib

import pytest
import repository_facts as facts

import cryoframe

PRODUCTS = {
    "AcquisitionMetadata", "AtomicModel", "Classes2D", "Classes3D", "CorrectedMicrograph", "CtfFit", "DefectMap",
    "GainReference", "HalfMaps", "Heterogeneity", "LocalResolution", "Mask", "Micrograph", "MicrographVerdict",
    "MotionField", "MotionMetadata", "Movie", "Optics", "ParticleStack", "Refinement", "SharpenedMap", "Volume",
}  # fmt: skip
TWIN = {
    "Exposure", "ExposureTruth", "FadingPart", "Recording", "ReferenceImage", "SimulatedMovie", "Specimen",
    "SpecimenRequest", "Trouble", "ViewPeak",
}  # fmt: skip
SOURCES = {"EventSource", "FrameSource", "MicrographSource"}
TABLES = {"ClassTable", "CtfTable", "FscTable", "IterationTable", "MotionTable", "ParticleTable", "Table"}
DECLARATIONS = {"Column", "ColumnGroup", "Convention", "Schema"}
MACHINERY = {"Alarm", "Bus", "CryoframeError", "Run", "StageContext", "hookimpl"}
EXECUTION = {"Executor", "ExecutorRequest", "Job", "Outcome", "Processes"}


def test_public_names__are_exactly_those_listed() -> None:
    assert set(cryoframe.__all__) == PRODUCTS | TWIN | SOURCES | TABLES | DECLARATIONS | MACHINERY | EXECUTION


def test_public_names__are_sorted_and_each_resolves() -> None:
    assert list(cryoframe.__all__) == sorted(cryoframe.__all__)
    assert all(getattr(cryoframe, name).__name__ == name for name in cryoframe.__all__ if name != "hookimpl")


def test_every_event_class__is_a_public_name() -> None:
    events = importlib.import_module("cryoframe.records.events")
    assert {name: getattr(cryoframe, name) for name in events.EVENT_NAMES} == {
        name: getattr(events, name) for name in events.EVENT_NAMES
    }


def test_every_product_of_the_catalogue__is_a_public_name() -> None:
    from cryoframe.data.catalogue import PRODUCTS as CATALOGUE

    assert {cls.__name__ for cls in CATALOGUE} <= set(cryoframe.__all__)


def test_an_unknown_name__is_an_attribute_error_that_names_it() -> None:
    with pytest.raises(AttributeError, match="no public name 'Volumen'"):
        getattr(cryoframe, "Volumen")  # noqa: B009


@pytest.mark.parametrize(("hook", "name", "module"), facts.offered(), ids=lambda part: part)
def test_every_entry_point__loads_and_implements_its_hook(hook: str, name: str, module: str) -> None:
    plugin = importlib.import_module(module)
    assert hasattr(getattr(plugin, hook), "cryoframe_impl"), f"{name}: {module}.{hook} is not marked with hookimpl"


def test_every_group_of_entry_points__is_a_hook() -> None:
    from cryoframe.kernel.stage import hook_names

    assert {hook for hook, _, _ in facts.offered()} <= set(hook_names())
