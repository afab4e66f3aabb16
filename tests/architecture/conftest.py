"""What these tests measure is printed when the run is over."""

from __future__ import annotations

from cryoframe.testing.pytest_plugin import figure

__all__ = ["figure"]
