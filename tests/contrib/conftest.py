"""Particles of the recorded calls, for the tests of the programs that answered them."""

from __future__ import annotations

import pytest

from cryoframe.testing import phantoms


@pytest.fixture(scope="module")
def made(request: pytest.FixtureRequest) -> phantoms.Particles:
    """What the call that the module's ``recording`` keeps was about."""
    particles: phantoms.Particles = request.module.recording.particles()
    return particles
