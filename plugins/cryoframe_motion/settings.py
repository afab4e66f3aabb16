"""What may be set of both correctors: how frames are read, mended and summed; how they are aligned is their own."""

from __future__ import annotations

from dataclasses import dataclass

from cryoframe.numerics.bounds import check_bounds


@dataclass(frozen=True)
class Settings:
    """From frames to sums."""

    dose_weighting: bool = True  #: weigh frames by what their exposure has left of the signal
    pre_dose_e_A2: float = 0.0  #: exposure of the specimen before the first frame
    bin_factor: float = (
        1.0  #: factor by which the micrograph's pixels are larger than the movie's (super-resolution: 2)
    )
    halves: bool = False  #: also give sums of even and of odd frames
    first_frames: int = 0  #: also give the sum of so many first frames
    eer_frames: int = 0  #: frames of an event file that are added to make one; 0 leaves it to the file's reader
    eer_upsampling: int = 1  #: pixels of frames to one of the sensor along each axis, for event files: 1, 2 or 4
    check_gain: bool = True  #: refuse a gain reference that does not fit the frames, and say which way round it does
    defect_sd: float = 8.0  #: pixels of the sum that stand out by more than this many deviations are mended
    memory_MB: float = 1000.0  #: movies larger than this, in the file's own numbers, are read again for each pass

    def __post_init__(self) -> None:
        """Refuse values that cannot be meant."""
        check_bounds(
            self,
            pre_dose_e_A2=(0.0, 1000.0),
            bin_factor=(1.0, 16.0),
            first_frames=(0, 1_000_000),
            eer_frames=(0, 100_000),
            eer_upsampling=(1, 4),
            defect_sd=(1.0, 1000.0),
            memory_MB=(0.0, 1e7),
        )
