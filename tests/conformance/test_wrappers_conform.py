"""The kit over the wrappers of other programs, where those programs are."""

from __future__ import annotations

import shutil

import pytest

from cryoframe.testing import conformance
from cryoframe.testing.limits import Limits

pytestmark = [
    pytest.mark.relion,
    pytest.mark.skipif(shutil.which("relion_run_motioncorr") is None, reason="RELION is not installed"),
]
test_correct_motion_relion_own = conformance("relion_own", "correct_motion")
test_classify_2d_relion = conformance("relion", "classify_2d", limits=Limits(deadline_s=600.0))
test_refine_3d_relion = conformance(
    "relion",
    "refine_3d",
    # Two of RELION's iterations at 15 degrees: what is handed over and read back shows; how well it refines does not.
    params={"n_iterations": 2},
    limits=Limits(deadline_s=600.0, pose_deg=25.0, fsc_resolution_px=7.0),
)
