"""Which camera records a benchmark's square fields."""

from __future__ import annotations

from cryoframe.errors import ConfigError
from cryoframe.numerics.camera_presets import Camera, camera_named

_NAMES = ("k3", "falcon_4i")


def camera_for(edge_px: int) -> Camera:
    """Return the first camera with room for a square of that edge.

    Raises
    ------
    ConfigError
        If none has.
    """
    for name in _NAMES:
        camera = camera_named(name)
        if edge_px <= min(camera.n_rows, camera.n_columns):
            return camera
    raise ConfigError(f"a field of {edge_px}² fits on no camera", expected=f"one that {' or '.join(_NAMES)} can hold")
