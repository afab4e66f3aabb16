"""What may be set of every refiner here; what one alone has is beside its hook."""

from __future__ import annotations

from dataclasses import dataclass

from cryoframe.numerics.bounds import check_bounds


@dataclass(frozen=True)
class Settings:
    """How poses are searched and when to stop."""

    symmetry: str = ""  # point group; empty = that of the reference
    initial_low_pass_A: float = 30.0  # both half-sets start from the reference low-passed to this
    particle_diameter_A: float = 0.0  # of the soft masks around images and maps; 0 = 85 % of the box
    offset_range_A: float = 0.0  # how far from the box centre a particle may lie; 0 = 20 % of the box
    coarse_step_deg: float = 7.5  # step of the search over all orientations
    n_whole: int = 5  # iterations that search all orientations; later ones stay near the poses found
    n_iterations: int = 8  # at most this many
    stop_angle_deg: float = 0.35  # stop when the median change of orientation is below this and resolution stands still

    def __post_init__(self) -> None:
        """Refuse values that cannot be meant."""
        check_bounds(
            self,
            initial_low_pass_A=(1.0, 1000.0),
            particle_diameter_A=(0.0, 20000.0),
            offset_range_A=(0.0, 20000.0),
            coarse_step_deg=(0.5, 60.0),
            n_whole=(1, 1000),
            n_iterations=(1, 1000),
            stop_angle_deg=(0.0, 180.0),
        )
