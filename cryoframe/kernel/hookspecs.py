"""THE page: every stage and every service hook, typed, in beam order. A plugin implements one of these by name.

A stage implementation has the very argument names below (fewer are allowed: pluggy prunes), the same product types,
and ``params`` annotated with its own frozen dataclass whose fields all have a default and a doc.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cryoframe.data.alarm import Alarm
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
from cryoframe.data.optics import GainReference
from cryoframe.data.results import AtomicModel, Classes3D, Heterogeneity, Refinement, SharpenedMap
from cryoframe.data.tables import ParticleTable
from cryoframe.data.twin import Exposure, Recording, ReferenceImage, SimulatedMovie, Specimen, SpecimenRequest
from cryoframe.kernel.attempt import Executor, ExecutorRequest
from cryoframe.kernel.context import StageContext
from cryoframe.kernel.stage import hookimpl, service, stage
from cryoframe.records.bus import Bus

__all__ = ["hookimpl"]


# --- at the microscope ---------------------------------------------------------------------------------------
@stage(over="exposure")
def simulate_movies(  # type: ignore[empty-body]
    specimens: Sequence[Specimen], exposure: Exposure, params: Any, ctx: StageContext
) -> SimulatedMovie:
    """Make the raw movie of one exposure as a microscope would, with its truth.

    The same specimens, exposure, parameters and seed give the same frames, whoever makes them, in whatever order.

    Parameters
    ----------
    specimens
        What is in the ice, each with its concentration.
    exposure
        Where, with which settings, on what ice.
    """


@stage(over="movie")
def correct_motion(movie: Movie, params: Any, ctx: StageContext) -> CorrectedMicrograph:  # type: ignore[empty-body]
    """Align a movie's frames and sum them, dose-weighted; report the motion that was undone.

    Parameters
    ----------
    movie
        Raw frames; ``movie.frames()`` yields them gain-corrected, one at a time.
    """


# --- one micrograph at a time ----------------------------------------------------------------------------------
@stage(over="micrograph")
def estimate_ctf(micrograph: Micrograph, params: Any, ctx: StageContext) -> CtfFit:  # type: ignore[empty-body]
    """Fit the contrast transfer function to a micrograph's power spectrum.

    Parameters
    ----------
    micrograph
        Preferably not dose-weighted.
    """


@stage(over="micrograph", optional=True)
def denoise_micrograph(micrograph: Micrograph, params: Any, ctx: StageContext) -> Micrograph:  # type: ignore[empty-body]
    """Return the micrograph with less noise, for picking only.

    Parameters
    ----------
    micrograph
        As recorded, protein dark.
    """


@stage(over="micrograph", optional=True)
def clean_micrograph(micrograph: Micrograph, params: Any, ctx: StageContext) -> MicrographVerdict:  # type: ignore[empty-body]
    """Say where a micrograph can be used, and whether it is worth it: carbon, dirt, crystalline ice, nothing.

    Parameters
    ----------
    micrograph
        As recorded, protein dark.
    """


@stage(over="micrograph")
def pick_particles(micrograph: Micrograph, ctf: CtfFit, params: Any, ctx: StageContext) -> ParticleTable:  # type: ignore[empty-body]
    """Find particles; return their positions and figures of merit.

    The kernel adds identity, micrograph and half-set. A picker returns ``x_A, y_A, figure_of_merit``, or columns of
    the ``CONVENTION`` it declares.

    Parameters
    ----------
    micrograph
        As recorded, protein dark.
    ctf
        The micrograph's CTF.
    """


@stage(over="micrograph")
def extract_particles(  # type: ignore[empty-body]
    micrograph: Micrograph, particles: ParticleTable, ctf: CtfFit, params: Any, ctx: StageContext
) -> ParticleStack:
    """Cut boxes around the picks, normalise them and turn protein bright.

    Parameters
    ----------
    micrograph
        As recorded, protein dark.
    particles
        With positions; particles too near the edge may be dropped.
    ctf
        The micrograph's CTF, written into each particle's row.
    """


# --- all particles ---------------------------------------------------------------------------------------------
@stage(over="set")
def classify_2d(stack: ParticleStack, params: Any, ctx: StageContext) -> Classes2D:  # type: ignore[empty-body]
    """Average like views without a reference.

    Parameters
    ----------
    stack
        All particles so far.
    """


@stage(over="set")
def select_particles(classes: Classes2D, params: Any, ctx: StageContext) -> ParticleTable:  # type: ignore[empty-body]
    """Keep the particles of good classes.

    Parameters
    ----------
    classes
        Averages and assignments.
    """


@stage(over="set")
def make_initial_volume(stack: ParticleStack, params: Any, ctx: StageContext) -> Volume:  # type: ignore[empty-body]
    """Make a starting map, of the stack's box and pixel.

    Parameters
    ----------
    stack
        Particles; may serve for the box and pixel only.
    """


@stage(over="set", halves="joint")
def classify_3d(stack: ParticleStack, reference: Volume, params: Any, ctx: StageContext) -> Classes3D:  # type: ignore[empty-body]
    """Sort particles by three-dimensional structure.

    Parameters
    ----------
    stack
        Particles.
    reference
        Starting map, low-passed by the stage.
    """


@stage(over="set", halves="per_half")
def refine_3d(  # type: ignore[empty-body]
    stack: ParticleStack, reference: Volume, mask: Mask | None, params: Any, ctx: StageContext
) -> Refinement:
    """Refine poses and map, the half-sets apart from the first iteration on.

    Parameters
    ----------
    stack
        Particles with CTF and half-set.
    reference
        Starting map; both halves start from it low-passed to where it cannot bind them together.
    mask
        Solvent mask, or None.
    """


@stage(over="set", halves="per_half")
def refine_ctf(stack: ParticleStack, refinement: Refinement, params: Any, ctx: StageContext) -> ParticleTable:  # type: ignore[empty-body]
    """Refine defocus and aberrations of the particles against the map.

    Parameters
    ----------
    stack, refinement
        Particles; map and poses.
    """


@stage(over="set", halves="per_half")
def polish_particles(  # type: ignore[empty-body]
    movies: Sequence[Movie], stack: ParticleStack, refinement: Refinement, params: Any, ctx: StageContext
) -> ParticleStack:
    """Follow each particle through its movie and average the frames anew.

    Parameters
    ----------
    movies
        The raw movies.
    stack, refinement
        Particles; map and poses.
    """


@stage(over="set", halves="joint")
def analyse_heterogeneity(  # type: ignore[empty-body]
    stack: ParticleStack, refinement: Refinement, params: Any, ctx: StageContext
) -> Heterogeneity:
    """Find continuous or discrete variability.

    Parameters
    ----------
    stack, refinement
        Particles; map and poses.
    """


# --- the map -----------------------------------------------------------------------------------------------------
@stage(over="set", halves="joint")
def make_mask(volume: Volume, params: Any, ctx: StageContext) -> Mask:  # type: ignore[empty-body]
    """Make a soft solvent mask.

    Parameters
    ----------
    volume
        A map.
    """


@stage(over="set", halves="per_half")
def postprocess(half_maps: HalfMaps, mask: Mask, params: Any, ctx: StageContext) -> SharpenedMap:  # type: ignore[empty-body]
    """Correct the FSC for the mask, sharpen and low-pass the map.

    Parameters
    ----------
    half_maps, mask
        Independent halves; soft mask.
    """


@stage(over="set", halves="per_half")
def estimate_local_resolution(  # type: ignore[empty-body]
    half_maps: HalfMaps, mask: Mask | None, params: Any, ctx: StageContext
) -> LocalResolution:
    """Estimate the resolution at each voxel.

    Parameters
    ----------
    half_maps
        Independent halves.
    mask
        Where to estimate, or None for everywhere.
    """


@stage(over="set", halves="joint")
def build_model(map: SharpenedMap, sequences: Sequence[str], params: Any, ctx: StageContext) -> AtomicModel:  # type: ignore[empty-body]
    """Build an atomic model into a map.

    Parameters
    ----------
    map, sequences
        Sharpened map; amino-acid sequences, one a chain.
    """


# --- services (not stages) -----------------------------------------------------------------------------------------
@service()
def open_movie(path: Path) -> FrameSource | None:
    """Open a movie file, or return None when it is not of your kind (judge by its first bytes, not by its name).

    Parameters
    ----------
    path
        The file, opened for reading only.
    """


@service()
def open_micrograph(path: Path) -> MicrographSource | None:
    """Open a micrograph file, or return None when it is not of your kind.

    Parameters
    ----------
    path
        The file, opened for reading only.
    """


@service()
def read_metadata(path: Path) -> AcquisitionMetadata | None:
    """Read a side-car file, or return None when it is not of your kind.

    Parameters
    ----------
    path
        The side-car file.
    """


@service()
def open_gain(path: Path) -> GainReference | None:
    """Read a gain reference, or return None when the file is not of your kind.

    Parameters
    ----------
    path
        The gain reference file.
    """


@service()
def open_specimen(path: Path, request: SpecimenRequest) -> tuple[Specimen, ...] | None:
    """Make specimens of a model or map, or return None when the file is not of your kind.

    Parameters
    ----------
    path
        An atomic model, a map, or what else you can read.
    request
        Pixel, solvent, damage, conformations: what the specimens shall be.
    """


@service()
def write_movie(path: Path, recording: Recording) -> bool | None:
    """Write a raw movie as a camera does, or return None when you do not write that kind.

    Parameters
    ----------
    path
        The new file; its name ends as the kind's files do.
    recording
        Frames or events, and what the file says of them.
    """


@service()
def write_reference(image: ReferenceImage) -> bool | None:
    """Write a gain reference or a defect map, or return None when you do not write files of that name.

    Parameters
    ----------
    image
        Path and data, already in the orientation the file shall have.
    """


@service(first=False)
def subscribe(bus: Bus) -> None:
    """Add listeners to the bus; called once on every plugin offered for it.

    Parameters
    ----------
    bus
        The run's event bus.
    """


@service(first=False)
def notify(alarm: Alarm) -> None:
    """Tell somebody of an alarm; called for each ``[[alarm]]`` that names you, on a thread of its own.

    Parameters
    ----------
    alarm
        What it is about; ``alarm.settings`` is your module's ``Params``, if it has one.
    """


@service()
def make_executor(request: ExecutorRequest) -> Executor:  # type: ignore[empty-body]
    """Make what runs attempts, here or on other machines; called on the one that ``[run] executor`` names.

    Parameters
    ----------
    request
        The run's folder, who hears of progress, how many at a time, and the settings.
    """
