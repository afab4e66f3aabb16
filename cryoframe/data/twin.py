"""What a simulated microscope is told and what it knows: specimens, exposures, truth, recordings. Values only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from cryoframe.data.images import Movie
from cryoframe.data.maps import Volume
from cryoframe.data.optics import DefectMap, GainReference, Optics
from cryoframe.data.tables import MotionTable, ParticleTable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class ViewPeak:
    """One von Mises-Fisher peak of preferred viewing directions; kappa 0 = every direction alike."""

    weight: float = 1.0
    rot_deg: float = 0.0
    tilt_deg: float = 0.0
    kappa: float = 0.0


@dataclass(frozen=True)
class FadingPart:
    """Atoms that the beam destroys before the rest: their potential, not contained in the specimen's own map."""

    volume: Volume
    #: Exposure after which 1/e of them is left, at 300 kV and 80 K.
    lifetime_e_A2: float
    #: Growth of their B-factor, Å² per e/Å².
    b_rate_A4_e: float = 0.0


@dataclass(frozen=True)
class Specimen:
    """One species of the sample as the beam sees it, and how much of it there is.

    `volume` holds Σ f/volume [1/Å²] minus the mean potential of the ice it displaces, origin at voxel n//2, undamaged,
    without the atoms of `fading`. `conformation` is its place on a series, 0 to 1. `truth_class` is ``particle``, or
    what it is instead (``aggregate``, ``broken``, ``contamination``); species of one `name` are one thing to a picker.
    """

    name: str
    volume: Volume
    mass_kDa: float
    radius_A: float
    concentration_mg_mL: float = 1.0
    surface_frac: float = 0.0
    views: tuple[ViewPeak, ...] = (ViewPeak(),)
    conformation: float = 0.0
    truth_class: str = "particle"
    fading: tuple[FadingPart, ...] = ()


@dataclass(frozen=True)
class SpecimenRequest:
    """How a model or map becomes specimens; what a reader of specimens is asked."""

    name: str = ""
    pixel_size_A: float = 1.0
    #: 0 = as large as the specimen needs.
    box_px: int = 0
    assembly: str = "1"
    water: bool = False
    hydrogen: bool = True
    #: One B-factor for all atoms; negative = the model's own.
    b_factor_A2: float = -1.0
    #: Whether displaced ice is subtracted.
    solvent: bool = True
    #: Whether atoms that the beam destroys first come as parts of their own.
    site_damage: bool = False
    #: Places on the conformational series, 0 to 1; one specimen each.
    conformations: tuple[float, ...] = (0.0,)
    #: Hinge as ``selection;axis x,y,z;degrees`` in the reader's own words; empty = rigid.
    hinge: str = ""
    #: Residue names taken away (an absent ligand).
    without_residues: tuple[str, ...] = ()
    #: Turn the model onto the axes of this point group; C1 = leave it as it lies.
    symmetry: str = "C1"


@dataclass(frozen=True)
class Trouble:
    """What goes wrong in one exposure, as nature or the instrument does it; zeros = nothing."""

    stage_jump_A: float = 0.0
    stage_jump_frame: int = 0
    #: Defocus at the last frame against the first.
    defocus_drift_A: float = 0.0
    #: Image drift by charging, as a steady pull [Å per e/Å²], growing with distance from the centre (magnification).
    charging_A3_e: float = 0.0
    #: Share of the field covered by crystalline ice.
    crystalline_ice_frac: float = 0.0
    #: No ice and no particles.
    empty_hole: bool = False
    #: The energy slit is out.
    slit_lost: bool = False
    #: Rows and columns (first row, first column, rows, columns) of the sensor that give nothing.
    dead_block_px: tuple[int, int, int, int] = (0, 0, 0, 0)
    #: True dose over the dose that was asked for.
    dose_factor: float = 1.0


@dataclass(frozen=True)
class Exposure:
    """One exposure: where, with which settings, on what ice. True values; what side-cars state may differ.

    Shape and pixel are those of the camera's sensor; files of a super-resolution camera have twice the shape and half
    the pixel. Defocus is that of the middle of the ice, in the centre of the field, in the beginning.
    """

    exposure_id: str
    shape_px: tuple[int, int] = (4096, 4096)
    pixel_size_A: float = 1.0
    n_frames: int = 40
    #: As asked for; the true one is `trouble.dose_factor` times it.
    dose_per_frame_e_A2: float = 1.0
    frame_time_s: float = 0.1
    defocus_u_A: float = 15000.0
    defocus_v_A: float = 15000.0
    defocus_angle_deg: float = 0.0
    phase_shift_deg: float = 0.0
    beam_tilt_x_mrad: float = 0.0
    beam_tilt_y_mrad: float = 0.0
    optics_group: str = "opticsGroup1"
    stage_tilt_deg: float = 0.0
    stage_tilt_axis_deg: float = 0.0
    ice_thickness_A: float = 300.0
    #: (∂t/∂x, ∂t/∂y), Å per Å.
    ice_ramp: tuple[float, float] = (0.0, 0.0)
    ice_rim_extra_A: float = 0.0
    hole_radius_A: float = 6000.0
    #: (x, y) of the centre of the hole against the centre of the field.
    hole_offset_A: tuple[float, float] = (0.0, 0.0)
    #: Share of the specimens' stated concentration that is here.
    concentration_factor: float = 1.0
    trouble: Trouble = field(default_factory=Trouble)
    #: Names of the catalogue's faults that are in this exposure, of whatever kind.
    faults: tuple[str, ...] = ()


@dataclass(frozen=True)
class ExposureTruth:
    """What is true of one exposure; the pipeline never sees it.

    Parameters
    ----------
    exposure, optics
        What was asked for, troubles included, and the microscope.
    particles
        One row for each particle whose centre lies in the field: identity, position, CTF, pose (shifts 0) and the
        group ``specimen``. ``x_A, y_A`` is the mean place during the **first frame**, from the centre of pixel [0, 0]
        of the frames as written. A sum of frames that `motion` has aligned to the first one shows the particle there;
        one aligned to another frame f shows it at ``x_A − shift_x_A(f)``, since the shift undoes the motion. The pose
        is that against the beam, stage tilt included. Defocus is the mean over the movie for the particle's own z:
        `defocus_u_A`, `defocus_v_A` plus z. Half-sets are not assigned (0).
    motion
        Shifts that undo the motion against the first frame, at the centre of the field (NaN patch) and at a grid of
        places.
    ice_thickness_A, support
        `(gy, gx)` at the middles of squares of `grid_A` from the field's corner: thickness along the beam; 1 where the
        support film is, 2 where ice is crystalline, 3 where crystals lie on it, 0 elsewhere (float32 for maps' sake).
    zero_loss_frac
        Mean share of the electrons that lose no energy in ice and carbon.
    incident_e_px, recorded_e_px
        Electrons on the specimen, and events or electrons the camera records (raw frames times the gain), per physical
        pixel and frame.
    coincidence_loss_frac
        Share of detected electrons lost to coincidence.
    magnification
        Rows of the matrix that turns measured frequencies into true ones, as rlnMagMat00 … 11.
    seed
        What all randomness was drawn by, together with the exposure's name.
    defocus_change_A
        What drift of the defocus and doming add to the exposure's defocus, mean over movie and field. A sum of all
        frames shows `defocus_u_A`, `defocus_v_A`.
    """

    exposure: Exposure
    optics: Optics
    particles: ParticleTable
    motion: MotionTable
    ice_thickness_A: NDArray[np.float32]
    support: NDArray[np.float32]
    grid_A: float
    zero_loss_frac: float
    incident_e_px: float
    recorded_e_px: float
    coincidence_loss_frac: float = 0.0
    magnification: tuple[tuple[float, float], tuple[float, float]] = ((1.0, 0.0), (0.0, 1.0))
    seed: int = 0
    defocus_change_A: float = 0.0

    @property
    def defocus_u_A(self) -> float:
        """Larger defocus of the middle of the ice, the mean of the movie over the field."""
        return self.exposure.defocus_u_A + self.defocus_change_A

    @property
    def defocus_v_A(self) -> float:
        """Smaller one."""
        return self.exposure.defocus_v_A + self.defocus_change_A


@runtime_checkable
class EventSource(Protocol):
    """Counted events one internal frame after the other, as an event-writing camera has them."""

    @property
    def n_internal_frames(self) -> int:
        """Internal frames of the whole exposure."""

    @property
    def shape_px(self) -> tuple[int, int]:
        """Sensor `(ny, nx)`."""

    def read_events(self, index: int) -> NDArray[np.int32]:
        """Return `(m, 2)` (row, column) of the events of an internal frame in quarter pixels, pixel by pixel."""


@dataclass(frozen=True)
class SimulatedMovie:
    """A raw movie that is made as it is read, the camera's references, and the truth.

    `movie.source` yields raw frames: whole numbers for a counting camera, neither gain-corrected nor repaired, always
    the same for the same frame. `events` is there for cameras that write events.
    """

    movie: Movie
    truth: ExposureTruth
    gain: GainReference
    defects: DefectMap
    #: uint8, uint16, int16 or float32: what the camera's files hold.
    raw_dtype: str = "uint8"
    events: EventSource | None = field(default=None, compare=False, repr=False, metadata={"stored": False})


@dataclass(frozen=True)
class Recording:
    """What a writer of movie files is given. Frames, or events, come once, in order."""

    #: ``tiff``, ``mrc`` or ``eer``.
    kind: str
    n_frames: int
    shape_px: tuple[int, int]
    dtype: str
    pixel_size_A: float
    dose_per_frame_e_A2: float
    voltage_kV: float = 300.0
    frames: Iterable[NDArray[np.generic]] = ()
    events: Iterable[NDArray[np.int32]] = ()
    #: Camera name, exposure time and the like, as the format has room for them.
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ReferenceImage:
    """What a writer of camera references is given: a gain or defect image as the file shall hold it."""

    path: Path
    data: NDArray[np.generic]
    pixel_size_A: float = 1.0
