"""The verdict of two independent runs: what they share beside what they claim."""

from __future__ import annotations

import numpy as np
import pytest

from cryoframe.errors import InvalidInput
from cryoframe.numerics.filters import filter_pass
from cryoframe.numerics.seed_agreement import independent_agreement


def test_maps_that_share_less_than_they_claim__raise_the_alarm():
    rng = np.random.default_rng(1)
    white, *own = (rng.standard_normal((48, 48, 48)).astype(np.float32) for _ in range(3))
    common = filter_pass(white, pixel_size_A=2.0, n_dims=3, low_pass_A=12.0)
    first, second = (common + filter_pass(part, pixel_size_A=2.0, n_dims=3, high_pass_A=12.0) for part in own)
    for claimed_A, alarm in ((11.0, False), (8.5, False), (7.0, True)):
        found = independent_agreement(first, second, pixel_size_A=2.0, claimed_A=claimed_A)
        # Read within a shell, 1/96 Å, of where the common part ends.
        assert abs(1.0 / found.common_A - 1.0 / 12.0) < 1.0 / 96.0
        assert found.alarm is alarm


@pytest.mark.parametrize("claimed_A", [0.0, -3.0, float("nan")])
def test_claims_of_nothing__are_refused(claimed_A):
    with pytest.raises(InvalidInput):
        independent_agreement(np.ones((8, 8, 8)), np.ones((8, 8, 8)), pixel_size_A=2.0, claimed_A=claimed_A)
