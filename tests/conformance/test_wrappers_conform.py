"""The kit over the wrappers of other programs, where those programs are."""

from __future__ import annotations

import shutil

import pytest

from cryoframe.testing import conformance

pytestmark = [
    pytest.mark.relion,
    pytest.mark.skipif(shutil.which("relion_run_motioncorr") is None, reason="RELION is not installed"),
]
test_correct_motion_relion_own = conformance("relion_own", "correct_motion")
