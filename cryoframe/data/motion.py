"""What polishing needs to know of an alignment, whoever made it: motion at any place, dose, camera. No files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryoframe.errors import InvalidInput

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    from cryoframe.data.tables import MotionTable


@dataclass(frozen=True)
class MotionMetadata:
    """How a movie was read and exposed when its motion was measured.

    Parameters
    ----------
    movie
        Path of the movie.
    shape_px, pixel_size_A
        Of its frames as read, up-sampling of events included; shifts and places of the motion table are theirs.
    n_frames
        Frames that were aligned and summed.
    dose_per_frame_e_A2
        Exposure of each of them; 0 where it is not known.
    pre_dose_e_A2
        Exposure of the specimen before the first.
    voltage_kV
        Of the electrons.
    bin_factor
        Pixel of the sums over that of the frames.
    origin_frame
        The frame, from 0, whose shift is zero.
    gain
        Name of the gain reference that frames were multiplied by; empty where there was none.
    defects_px
        `(n, 2)` column and row of pixels that were mended in every frame.
    n_left_over
        Frames of the file, recorded after the last one used, that fill no frame of the movie and are in no sum. The
        specimen has got their dose.
    frames_per_fraction
        Frames of the file that were added to make one (EER grouping); 1 where none were.
    upsampling
        Pixels of the frames to one of the sensor, along each axis.
    """

    movie: str
    shape_px: tuple[int, int]
    pixel_size_A: float
    n_frames: int
    dose_per_frame_e_A2: float = 0.0
    pre_dose_e_A2: float = 0.0
    voltage_kV: float = 300.0
    bin_factor: float = 1.0
    origin_frame: int = 0
    gain: str = ""
    defects_px: NDArray[np.int32] | None = None
    n_left_over: int = 0
    frames_per_fraction: int = 1
    upsampling: int = 1

    @property
    def dose_after_e_A2(self) -> NDArray[np.float64]:
        """Exposure of the specimen at the end of each frame, `(n_frames,)`."""
        import numpy as np

        return self.pre_dose_e_A2 + self.dose_per_frame_e_A2 * np.arange(1.0, self.n_frames + 1.0)

    @property
    def whole_dose_e_A2(self) -> float:
        """Exposure of the specimen when the file ends, frames that are left over included."""
        n_frames = self.n_frames + self.n_left_over / self.frames_per_fraction
        return self.pre_dose_e_A2 + self.dose_per_frame_e_A2 * n_frames


@dataclass(frozen=True)
class MotionField:
    """A motion table as a field: shifts of every frame at any place.

    Local motion, that of patches against whole frames, is a surface of second order over the field for each frame, as
    RELION's model has it; where there are fewer than six patches, one of lower order.

    Parameters
    ----------
    frame
        `(f,)` frames, rising.
    whole_A
        `(f, 2)` (x, y) shifts of whole frames.
    centre_A, half_A
        (x, y) of the middle of the field, and half its extent: places are measured in them.
    surface_A
        `(f, 2, 6)` of each frame and axis: of 1, u, u², v, v², uv.

    References
    ----------
    Second order in space: Zheng et al., Nat. Methods 14, 331 (2017), doi:10.1038/nmeth.4193, eq. 1.
    """

    frame: NDArray[np.int64]
    whole_A: NDArray[np.float64]
    centre_A: tuple[float, float]
    half_A: tuple[float, float]
    surface_A: NDArray[np.float64]

    @classmethod
    def of(cls, table: MotionTable, extent_A: tuple[float, float]) -> MotionField:
        """Fit the field of a table.

        Parameters
        ----------
        table
            Whole-frame rows, and rows of patches where there are any.
        extent_A
            (x, y) sizes of the field.

        Raises
        ------
        InvalidInput
            There is no whole-frame row, or a patch lacks a frame.
        """
        import numpy as np

        frame = np.asarray(table.column("frame"), dtype=np.int64)
        place = np.stack([table.floats("patch_x_A"), table.floats("patch_y_A")], axis=-1)
        shift = np.stack([table.floats("shift_x_A"), table.floats("shift_y_A")], axis=-1)
        of_whole = np.isnan(place[:, 0])
        frames, first = np.unique(frame[of_whole], return_index=True)
        if not len(frames):
            raise InvalidInput("the motion table has no rows of whole frames", expected="rows whose patch is NaN")
        whole = shift[of_whole][first]
        half = (0.5 * extent_A[0], 0.5 * extent_A[1])
        places, which = np.unique(place[~of_whole], axis=0, return_inverse=True)
        local = np.full((len(places), len(frames), 2), np.nan)
        local[which.ravel(), np.searchsorted(frames, frame[~of_whole])] = shift[~of_whole]
        if not np.isfinite(local).all():
            raise InvalidInput("a patch of the motion table lacks a frame", expected="the same frames for all patches")
        surface = np.zeros((len(frames), 2, 6))
        if len(places):
            basis = _basis((places - half) / half)
            n_terms = 6 if len(places) >= 6 else 1
            fitted = np.linalg.lstsq(basis[:, :n_terms], (local - whole).reshape(len(places), -1), rcond=1e-6)[0]
            surface[..., :n_terms] = fitted.reshape(n_terms, len(frames), 2).transpose(1, 2, 0)
        return cls(frames, whole, half, half, surface)

    def shifts_A(self, x_A: ArrayLike, y_A: ArrayLike) -> NDArray[np.float64]:
        """Translations `(…, f, 2)` (x, y) that undo the motion of each frame at places [Å from pixel [0, 0]]."""
        import numpy as np

        place = np.stack(np.broadcast_arrays(np.asarray(x_A, float), np.asarray(y_A, float)), axis=-1)
        local = np.einsum("...s,fas->...fa", _basis((place - self.centre_A) / self.half_A), self.surface_A)
        return np.asarray(self.whole_A + local, dtype=np.float64)

    def polynomial_A(self) -> NDArray[np.float64]:
        """Local motion as RELION models it, `(2, 6, 3)`: axis; 1, x, x², y, y², xy; power 1, 2, 3 of the frame.

        Places are x/width − ½ and y/height − ½, frames count from the first one; its motion is zero.
        """
        import numpy as np

        time = (self.frame - self.frame[0]).astype(np.float64)
        powers = np.stack([time, time**2, time**3], axis=1) / np.maximum(time[-1], 1.0) ** np.array([1, 2, 3])
        n_terms = min(3, max(len(time) - 1, 0))
        found = np.zeros((3, 12))
        if n_terms:
            surface = (self.surface_A - self.surface_A[0]).reshape(len(time), 12)
            found[:n_terms] = np.linalg.lstsq(powers[:, :n_terms], surface, rcond=None)[0]
        found /= np.maximum(time[-1], 1.0) ** np.array([1, 2, 3])[:, None]
        # u = 2·(x/width − ½), so that each order of a place takes a factor of two.
        return np.asarray(found.T.reshape(2, 6, 3) * np.array([1.0, 2.0, 4.0, 2.0, 4.0, 4.0])[:, None])


def _basis(place: NDArray[np.float64]) -> NDArray[np.float64]:
    import numpy as np

    u, v = place[..., 0], place[..., 1]
    return np.stack([np.ones_like(u), u, u * u, v, v * v, u * v], axis=-1)
