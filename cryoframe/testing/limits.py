"""What the kit lets pass: times, memory, and how near to the phantom's truth a result has to be."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bounds of the checks; a plugin for which one is wrong states another and says why.

    Parameters
    ----------
    deadline_s
        One call on a phantom.
    import_s
        CPU time to import the plugin after cryoframe and its numerics are there.
    silent_s
        A call longer than this has to report progress.
    cancel_s
        A cancelled call ends within this.
    growth_MB
        Memory that every one of repeated calls may keep.
    defocus_A, astigmatism_deg
        Error of a CTF fit; 150 Å is what two programs agree to on good data (CTF Challenge 2015,
        doi:10.1016/j.jsb.2015.04.003, spread of the defocus).
    motion_px
        Root mean square of the residual drift.
    position_px
        Median offset of picks or boxes along an axis.
    recall_frac, false_frac
        Picks found, and picks where nothing is, as fractions of the particles there are.
    pose_deg, shift_px
        Median error of poses found by a refinement.
    fsc_resolution_px
        Where the FSC with the truth falls below 0.5, in pixels; 2 is Nyquist.
    order_frac
        Rows that may change when rows are re-ordered, for stages over a set.
    """

    deadline_s: float = 120.0
    import_s: float = 0.100
    silent_s: float = 2.0
    cancel_s: float = 1.5
    growth_MB: float = 2.0
    defocus_A: float = 150.0
    astigmatism_deg: float = 5.0
    motion_px: float = 0.5
    position_px: float = 0.3
    recall_frac: float = 0.75
    false_frac: float = 0.25
    pose_deg: float = 10.0
    shift_px: float = 1.0
    fsc_resolution_px: float = 5.0
    order_frac: float = 0.02
