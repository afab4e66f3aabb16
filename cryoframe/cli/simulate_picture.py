"""A picture of one exposure of a simulated session, from the files that landed and the truth. Draws nothing itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from cryoframe.errors import ConfigError

if TYPE_CHECKING:
    from cryoframe.data.images import FrameSource
    from cryoframe.data.optics import GainReference
    from cryoframe.data.twin import ExposureTruth
    from cryoframe.kernel.plugins import Plugins
    from cryoframe.twin.prepare import Ready


def draw(ready: Ready, plugins: Plugins, target: Path, *, number: int = 1) -> None:
    """Write a picture of an exposure as PNG.

    Parameters
    ----------
    ready
        A session that has landed.
    plugins
        Who reads its files.
    target
        The picture.
    number
        Of the exposure, from 1.

    Raises
    ------
    ConfigError
        If the movie is not there, or nobody reads it.
    """
    from cryoframe.compare.truth import Truth
    from cryoframe.twin.deliver import landed_path, shots_of
    from cryoframe.view import pictures
    from cryoframe.view.simulated import overview

    shots, layout = shots_of(ready)
    shot = shots[number - 1]
    truth = Truth.open(ready.config.truth)
    path = landed_path(ready, shot)
    source = cast("FrameSource | None", plugins.ask("open_movie", {"path": path}) if path.is_file() else None)
    if source is None:
        raise ConfigError(f"--picture: movie {path} is not there or cannot be read", expected="a session that landed")
    gain_path = Path(ready.config.folder, layout.gain_path())
    gain = plugins.ask("open_gain", {"path": gain_path}) if ready.config.camera.gain_turn == "none" else None
    exposure = truth.exposure(shot.exposure_id)
    summed = aligned_sum(source, exposure, cast("GainReference | None", gain))
    particles = [one for one in ready.specimens if one.truth_class == "particle"] or ready.specimens
    radius_A = max(float(one.radius_A) for one in particles)
    target.write_bytes(pictures.png(overview(summed, exposure, radius_A=radius_A)))


def aligned_sum(source: FrameSource, truth: ExposureTruth, gain: GainReference | None) -> Any:
    """Return the sum of the frames with the true whole-frame motion undone, `(ny, nx)` float32."""
    from cryoframe.compare.truth import track
    from cryoframe.numerics.fourier import shift_images

    ny, nx = source.shape_px
    pixel_A = truth.exposure.pixel_size_A * truth.exposure.shape_px[0] / ny
    found = track(truth.motion)
    frames_each = source.n_frames / len(found.frame)
    raw = sum(source.read_frame(index) for index in range(source.n_frames))
    dead = np.asarray(raw) <= 0
    total = np.zeros((ny, nx), dtype=np.float32)
    for index in range(source.n_frames):
        frame = source.read_frame(index)
        frame = np.array(frame if gain is None else frame * gain.data, dtype=np.float32)
        frame[dead] = frame[~dead].mean()
        shift_px = found.whole_A[min(int(index / frames_each), len(found.frame) - 1)] / pixel_A
        total += np.asarray(shift_images(frame, shift_px), dtype=np.float32)
    return total
