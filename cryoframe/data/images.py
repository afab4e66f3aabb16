"""Two-dimensional products: movies, micrographs, particle stacks, class averages. No reading of files here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

from cryoframe.data.motion import MotionMetadata
from cryoframe.data.optics import GainReference, Optics
from cryoframe.data.tables import ClassTable, MotionTable, ParticleTable
from cryoframe.errors import InvalidInput

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from cryoframe.data.maps import Volume


@runtime_checkable
class FrameSource(Protocol):
    """What a movie reader hands out: frames on demand, nothing held."""

    @property
    def n_frames(self) -> int:
        """Number of frames (after grouping, for event files)."""

    @property
    def shape_px(self) -> tuple[int, int]:
        """Frame shape `(ny, nx)`."""

    @property
    def pixel_size_A(self) -> float | None:
        """Pixel the file states, None when it states none that makes sense."""

    def read_frame(self, index: int) -> NDArray[np.float32]:
        """Return frame `index` (from 0), `(ny, nx)` float32, row 0 first."""


@runtime_checkable
class MicrographSource(Protocol):
    """What a micrograph reader hands out."""

    @property
    def shape_px(self) -> tuple[int, int]:
        """Image shape `(ny, nx)`."""

    @property
    def pixel_size_A(self) -> float | None:
        """Pixel the file states, None when it states none that makes sense."""

    @property
    def voltage_kV(self) -> float | None:
        """Acceleration voltage the file states."""

    @property
    def dose_e_A2(self) -> float | None:
        """Total dose the file states."""

    def read(self) -> NDArray[np.float32]:
        """Return the image, `(ny, nx)` float32."""


@dataclass(frozen=True)
class AcquisitionMetadata:
    """What a side-car file (mdoc, EPU XML) or header says of an exposure; None where it says nothing."""

    source: str
    exposure_id: str = ""
    voltage_kV: float | None = None
    pixel_size_A: float | None = None
    dose_e_A2: float | None = None
    n_frames: int | None = None
    applied_defocus_A: float | None = None
    stage_x_um: float | None = None
    stage_y_um: float | None = None
    tilt_deg: float | None = None
    image_shift_x_um: float | None = None
    image_shift_y_um: float | None = None
    time_utc: str | None = None


@dataclass(frozen=True)
class Movie:
    """A raw movie in the user's own file, which is only ever read."""

    movie_id: str
    path: str
    n_frames: int
    shape_px: tuple[int, int]
    pixel_size_A: float
    dose_per_frame_e_A2: float
    optics: Optics = field(default_factory=Optics)
    gain: GainReference | None = None
    #: Attached where the movie is read; never stored.
    source: FrameSource | None = field(default=None, compare=False, repr=False, metadata={"stored": False})

    def frames(self) -> Iterator[NDArray[np.float32]]:
        """Yield the frames one after the other, `(ny, nx)` float32, multiplied by the gain where there is one."""
        if self.source is None:
            raise InvalidInput(
                f"movie '{self.movie_id}' has no reader attached", remedy="Open it with cryoframe.open_movie(path)."
            )
        for index in range(self.n_frames):
            frame = self.source.read_frame(index)
            yield frame if self.gain is None else frame * self.gain.data


@dataclass(frozen=True)
class Micrograph:
    """One image of the specimen, `(ny, nx)` float32, protein dark as recorded."""

    micrograph_id: str
    data: NDArray[np.float32]
    pixel_size_A: float
    dose_e_A2: float = 0.0
    dose_weighted: bool = False
    optics: Optics = field(default_factory=Optics)

    @property
    def shape_px(self) -> tuple[int, int]:
        """Image shape `(ny, nx)`."""
        return (int(self.data.shape[0]), int(self.data.shape[1]))


@dataclass(frozen=True)
class CorrectedMicrograph:
    """A movie's aligned sum with the motion that was undone.

    Sums of some of the frames, not dose-weighted, are there where they were asked for: `even` of frames 0, 2, …, `odd`
    of frames 1, 3, …, `first` of the first few. `metadata` is what polishing needs besides the motion; None where the
    implementation does not say.
    """

    #: Which part a stage is given that is not given `micrograph`: weighing by dose takes rings, and their fading, away.
    PARTS: ClassVar[Mapping[str, str]] = MappingProxyType({"estimate_ctf": "plain"})

    micrograph: Micrograph
    motion: MotionTable
    unweighted: Micrograph | None = None
    even: Micrograph | None = None
    odd: Micrograph | None = None
    first: Micrograph | None = None

    @property
    def plain(self) -> Micrograph:
        """The sum of all frames that is not dose-weighted, where there is one."""
        return self.unweighted or self.micrograph

    metadata: MotionMetadata | None = None


@dataclass(frozen=True)
class CtfFit:
    """The CTF of one micrograph; columns as in the particle table, see ``schemas.CTF``."""

    micrograph_id: str
    defocus_u_A: float
    defocus_v_A: float
    defocus_angle_deg: float
    phase_shift_deg: float = 0.0
    fit_resolution_A: float = 0.0
    score: float = 0.0
    #: Ring profile for people: frequency, observed and fitted, `(3, n)` float32.
    profile: NDArray[np.float32] | None = None
    #: Background-flattened spectrum beside the fit, `(n, n)` float32, for people.
    spectrum: NDArray[np.float32] | None = None
    #: Probability that the defocus is right to 3 %; None where the stage does not judge its fit.
    confidence_frac: float | None = None
    #: False where the fit is not to be relied on; `verdict` says why.
    accepted: bool = True
    #: What speaks against the micrograph, in words; empty where nothing does.
    verdict: str = ""
    #: Thickness of the ice along the beam; None where it cannot be told.
    ice_thickness_A: float | None = None
    #: Angle of the specimen against the image plane, right-handed about `tilt_axis_deg`; None where it is not known.
    tilt_deg: float | None = None
    #: Direction of the tilt axis in [0, 180) from the x axis towards the y axis.
    tilt_axis_deg: float | None = None
    #: Defocus by place, `(n, 3)` float32: x_A and y_A of the micrograph, mean of U and V there [Å].
    local_defocus: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class MicrographVerdict:
    """Where a micrograph can be used and whether it is worth it, with the evidence.

    Parameters
    ----------
    usable
        `(gy, gx)` float32, share of each square of `tile_A` from the micrograph's first pixel that may hold particles.
    verdict
        ``good``, ``contaminated`` (carbon, dirt, cracks), ``crystalline`` (ice or crystals of something else), or
        ``empty`` (nothing but grain).
    usable_frac
        Share of the squares that are usable.
    uneven_sd
        Standard deviation, over squares, of the logarithm of the variance within a square.
    structure_frac
        Share of the variance that is neither fine grain nor a gradient.
    bragg_ratio
        Brightest spot of the spectrum over the median of its ring.
    stripe_ratio
        Brightest direction of the spectrum over the dimmest.
    """

    micrograph_id: str
    usable: NDArray[np.float32]
    tile_A: float
    verdict: str
    usable_frac: float = 1.0
    uneven_sd: float = 0.0
    structure_frac: float = 0.0
    bragg_ratio: float = 0.0
    stripe_ratio: float = 0.0


@dataclass(frozen=True)
class ParticleStack:
    """Particle images, `(n, box, box)` float32, protein bright, mean 0 and deviation 1 outside the particle."""

    images: NDArray[np.float32]
    particles: ParticleTable
    pixel_size_A: float
    optics: tuple[Optics, ...] = ()

    def finite_by_identity(self) -> tuple[ParticleStack, list[int]]:
        """Return the particles whose images are finite, in the order of their identities, and the others' identities.

        A stage that works in this order gives the same result in whatever order particles come in.
        """
        import numpy as np

        ids = np.asarray(self.particles.column("particle_id"))
        finite = np.array([bool(np.isfinite(image).all()) for image in self.images], dtype=bool)
        rows = np.argsort(ids, kind="stable")
        rows = rows[finite[rows]]
        images = np.asarray(self.images, dtype=np.float32)[rows]
        return replace(self, images=images, particles=self.particles.select(rows)), ids[~finite].tolist()

    def require(self, purpose: str, *, fewest: int = 10, ctf: bool = True) -> None:
        """Refuse at once what no average and no map can come from.

        Parameters
        ----------
        purpose
            What the particles are wanted for, as in "only 3 particles to `purpose`".
        fewest
            Least number of particles.
        ctf
            Whether each must have its CTF.

        Raises
        ------
        InvalidInput
            Too few particles, boxes that do not fit, no CTF or one that is not finite, no pixel size or mixed ones.
        """
        m, shape = len(self.particles), self.images.shape
        if m < fewest:
            raise InvalidInput(
                f"only {m} particles to {purpose}" if m else f"no particles to {purpose}",
                expected=f"a stack of at least {fewest}",
                remedy="Pick or keep more particles.",
            )
        if len(shape) != 3 or shape[1] != shape[2] or shape[0] != m:
            raise InvalidInput(
                f"images of shape {shape} for {m} particles", expected=f"({m}, n, n): one square box a particle"
            )
        if ctf and not self.particles.has("ctf"):
            raise InvalidInput(
                "the particles have no CTF",
                expected="columns defocus_u_A, defocus_v_A, defocus_angle_deg, phase_shift_deg",
                remedy="Run estimate_ctf, or bring a STAR file with defocus; set ignore_ctf, where a stage has it, "
                "for images without CTF effects.",
            )
        self._require_pixel()
        if ctf:
            self._require_finite_ctf()

    def _require_pixel(self) -> None:
        import numpy as np

        if not (np.isfinite(self.pixel_size_A) and self.pixel_size_A > 0.0):
            raise InvalidInput(
                f"pixels of {self.pixel_size_A} Å",
                expected="a finite size above 0",
                remedy="State the pixel size of the boxes where the file does not, or a wrong one.",
            )
        if "pixel_size_A" not in self.particles.names or not len(self.particles):
            return
        sizes = self.particles.floats("pixel_size_A")
        least, largest = float(sizes.min()), float(sizes.max())
        if not largest - least <= 1e-3 * self.pixel_size_A:
            raise InvalidInput(
                f"pixels from {least:.4f} to {largest:.4f} Å in one stack",
                expected="one pixel size",
                remedy="Extract all particles with the same pixel and box.",
            )
        if not abs(largest / self.pixel_size_A - 1.0) <= 1e-3:
            raise InvalidInput(
                f"particles with pixels of {largest:.4f} Å in a stack of {self.pixel_size_A:.4f} Å",
                expected="one pixel size",
                remedy="Read stack and table from the files they were written to together.",
            )

    def _require_finite_ctf(self) -> None:
        import numpy as np

        for name in self.particles.schema.group("ctf").names:
            bad = np.flatnonzero(~np.isfinite(self.particles.floats(name)))
            if len(bad):
                raise InvalidInput(
                    f"{len(bad)} of {len(self.particles)} particles have no finite {name}, the first in row {bad[0]}",
                    expected="a finite CTF for each particle",
                    remedy="Fit their micrographs anew with estimate_ctf, or leave these particles out.",
                )

    def require_like(self, reference: Volume) -> None:
        """Refuse a map that these particles cannot be aligned to.

        Raises
        ------
        InvalidInput
            Another box or pixel, nothing in it, values that are not finite.
        """
        import numpy as np

        n, pixel_A = int(self.images.shape[-1]), self.pixel_size_A
        if reference.data.shape != (n, n, n) or abs(reference.pixel_size_A / pixel_A - 1.0) > 1e-3:
            raise InvalidInput(
                f"reference of {reference.data.shape} voxels of {reference.pixel_size_A:.4f} Å for images of {n} px of "
                f"{pixel_A:.4f} Å",
                expected="the same box and pixel",
                remedy="Make the starting map with make_initial_volume, which takes both from the stack.",
            )
        if not np.isfinite(reference.data).all() or not np.any(reference.data):
            raise InvalidInput("the reference is empty or not finite", expected="a map with density")

    def optics_of(self, group: str) -> Optics:
        """Return the settings of one optics group."""
        for optics in self.optics:
            if optics.optics_group == group:
                return optics
        raise InvalidInput(
            f"optics group '{group}' is not in the stack", expected=", ".join(o.optics_group for o in self.optics)
        )


@dataclass(frozen=True)
class Classes2D:
    """Class averages `(k, box, box)` float32, their table, and the particles with class and in-plane pose."""

    averages: NDArray[np.float32]
    classes: ClassTable
    particles: ParticleTable
    pixel_size_A: float
