"""Public names of cryoframe, loaded on first use (PEP 562); nothing else is promised."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryoframe.data.alarm import Alarm
    from cryoframe.data.columns import Column, ColumnGroup, Schema
    from cryoframe.data.frames import Convention
    from cryoframe.data.images import (
        AcquisitionMetadata,
        Classes2D,
        CorrectedMicrograph,
        CtfFit,
        FrameSource,
        Micrograph,
        MicrographSource,
        MicrographVerdict,
        Movie,
        ParticleStack,
    )
    from cryoframe.data.maps import HalfMaps, LocalResolution, Mask, Volume
    from cryoframe.data.motion import MotionField, MotionMetadata
    from cryoframe.data.optics import DefectMap, GainReference, Optics
    from cryoframe.data.results import AtomicModel, Classes3D, Heterogeneity, Refinement, SharpenedMap
    from cryoframe.data.tables import (
        ClassTable,
        CtfTable,
        FscTable,
        IterationTable,
        MotionTable,
        ParticleTable,
        Table,
    )
    from cryoframe.data.twin import (
        EventSource,
        Exposure,
        ExposureTruth,
        FadingPart,
        Recording,
        ReferenceImage,
        SimulatedMovie,
        Specimen,
        SpecimenRequest,
        Trouble,
        ViewPeak,
    )
    from cryoframe.errors import CryoframeError
    from cryoframe.execution.processes import Processes
    from cryoframe.execution.run import Run
    from cryoframe.kernel.attempt import Executor, ExecutorRequest, Job, Outcome
    from cryoframe.kernel.context import StageContext
    from cryoframe.kernel.stage import hookimpl
    from cryoframe.records.bus import Bus

__version__ = "0.1.0"

_HOMES = {
    "cryoframe.data.alarm": ("Alarm",),
    "cryoframe.data.columns": ("Column", "ColumnGroup", "Schema"),
    "cryoframe.data.frames": ("Convention",),
    "cryoframe.data.images": (
        "AcquisitionMetadata", "Classes2D", "CorrectedMicrograph", "CtfFit", "FrameSource", "Micrograph",
        "MicrographSource", "MicrographVerdict", "Movie", "ParticleStack",
    ),
    "cryoframe.data.maps": ("HalfMaps", "LocalResolution", "Mask", "Volume"),
    "cryoframe.data.motion": ("MotionField", "MotionMetadata"),
    "cryoframe.data.optics": ("DefectMap", "GainReference", "Optics"),
    "cryoframe.data.results": ("AtomicModel", "Classes3D", "Heterogeneity", "Refinement", "SharpenedMap"),
    "cryoframe.data.tables": (
        "ClassTable", "CtfTable", "FscTable", "IterationTable", "MotionTable", "ParticleTable", "Table",
    ),
    "cryoframe.data.twin": (
        "EventSource", "Exposure", "ExposureTruth", "FadingPart", "Recording", "ReferenceImage", "SimulatedMovie",
        "Specimen", "SpecimenRequest", "Trouble", "ViewPeak",
    ),
    "cryoframe.errors": ("CryoframeError",),
    "cryoframe.records.bus": ("Bus",),
    "cryoframe.kernel.attempt": ("Executor", "ExecutorRequest", "Job", "Outcome"),
    "cryoframe.kernel.context": ("StageContext",),
    "cryoframe.execution.processes": ("Processes",),
    "cryoframe.execution.run": ("Run",),
    "cryoframe.kernel.stage": ("hookimpl",),
}  # fmt: skip
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "AcquisitionMetadata", "Alarm", "AtomicModel", "Bus", "ClassTable", "Classes2D", "Classes3D", "Column",
    "ColumnGroup", "Convention", "CorrectedMicrograph", "CryoframeError", "CtfFit", "CtfTable", "DefectMap",
    "EventSource", "Executor", "ExecutorRequest", "Exposure", "ExposureTruth", "FadingPart", "FrameSource", "FscTable",
    "GainReference", "HalfMaps",
    "Heterogeneity", "IterationTable", "Job", "LocalResolution", "Mask", "Micrograph", "MicrographSource",
    "MicrographVerdict", "MotionField", "MotionMetadata", "MotionTable",
    "Movie", "Optics", "Outcome", "ParticleStack", "ParticleTable", "Processes", "Recording", "ReferenceImage",
    "Refinement", "Run", "Schema",
    "SharpenedMap", "SimulatedMovie", "Specimen", "SpecimenRequest", "StageContext", "Table", "Trouble", "ViewPeak",
    "Volume", "hookimpl",
]  # fmt: skip


def __getattr__(name: str) -> object:
    if name in _HOME_OF:
        return getattr(import_module(_HOME_OF[name]), name)
    if name == "Event" or name in _event_names():
        return getattr(import_module("cryoframe.records.events"), name)
    if name[:1].isupper() and hasattr(session := import_module("cryoframe.records.session_events"), name):
        return getattr(session, name)
    raise AttributeError(f"module 'cryoframe' has no public name '{name}'")


def _event_names() -> tuple[str, ...]:
    return tuple(import_module("cryoframe.records.events").EVENT_NAMES)


def __dir__() -> list[str]:
    return sorted(__all__)
