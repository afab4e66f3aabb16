"""The picture of a simulated exposure shows what is true of it, and progress is told where nobody has a terminal."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from session_world import made, plugins_of, small

from cryoframe.cli.simulate_picture import aligned_sum, draw
from cryoframe.compare.truth import Truth
from cryoframe.numerics.ctf import ctf
from cryoframe.view.making import making_progress
from cryoframe.view.simulated import CIRCLES, GAP_PX, overview


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Truth:
    folder = tmp_path_factory.mktemp("picture")
    image = {"shape_px": [512, 512], "pixel_size_A": 2.0, "n_frames": 3}
    ready = made(small(folder, session={"n_movies": 1}, image=image))
    draw(ready, plugins_of(ready.config), folder / "p.png")
    assert (folder / "p.png").read_bytes().startswith(b"\x89PNG")
    return Truth.open(folder / "truth")


def _circled(panel: np.ndarray, colour: tuple[int, int, int]) -> int:
    return int((panel == np.array(colour, dtype=np.uint8)).all(axis=-1).sum())


def test_the_overlay__has_a_circle_on_each_particle_and_nowhere_else(truth: Truth) -> None:
    exposure = truth.exposure("small_00001")
    noise = np.random.default_rng(1).standard_normal((512, 512)).astype(np.float32)
    picture = overview(noise, exposure, radius_A=60.0, width_px=256)
    assert picture.shape == (256, 3 * 256 + 2 * GAP_PX, 3)
    plain, marked = picture[:, :256], picture[:, -256:]
    changed = (plain != marked).any(axis=-1)
    y, x = np.nonzero(changed & ~(np.arange(256)[:, None] >= 244))  # below is the bar
    places = np.stack([exposure.particles.floats("x_A"), exposure.particles.floats("y_A")], axis=-1) / 4.0
    distance = np.hypot(x[:, None] - places[:, 0], y[:, None] - places[:, 1])
    assert np.abs(distance.min(axis=1) - 15.5).max() < 15.5  # on some circle, or where two cross
    assert _circled(marked, CIRCLES["particle"]) > 6 * 40
    assert _circled(plain, CIRCLES["particle"]) == 0


def test_rings_of_a_micrograph__lie_on_those_of_the_true_ctf(truth: Truth) -> None:
    exposure = truth.exposure("small_00001")
    n, pixel_A = 512, 2.0
    k = np.fft.fftfreq(n) / pixel_A
    ky, kx = np.meshgrid(k, k, indexing="ij")
    state = exposure.exposure
    transfer = ctf(
        kx, ky, voltage_kV=300.0, cs_mm=2.7, amplitude_contrast=0.1, defocus_u_A=state.defocus_u_A,
        defocus_v_A=state.defocus_v_A, defocus_angle_deg=state.defocus_angle_deg,
    )  # fmt: skip
    noise = np.random.default_rng(2).standard_normal((n, n))
    imaged = np.fft.ifft2(np.fft.fft2(noise) * transfer).real.astype(np.float32)
    picture = overview(imaged, exposure, radius_A=60.0, width_px=512)
    middle = picture[:, 512 + GAP_PX : 2 * 512 + GAP_PX, 0].astype(float)
    observed, true = middle[:, :256], middle[::-1, :255:-1]  # the spectrum is the same through its centre
    ring = np.hypot(*np.meshgrid(np.arange(512) - 256, np.arange(256) - 256, indexing="ij"))
    fair = (ring > 40) & (ring < 240)
    assert np.corrcoef(observed[fair], true[fair])[0, 1] > 0.6


def test_the_aligned_sum__undoes_the_motion_and_fills_dead_pixels(truth: Truth) -> None:
    exposure = truth.exposure("small_00001")
    rng = np.random.default_rng(3)
    scene = rng.uniform(5, 15, (512, 512)).astype(np.float32)
    drift = np.stack([0.8 * np.arange(3), -0.3 * np.arange(3)], axis=-1) / 2.0  # Å, undone, in pixels
    from cryoframe.numerics.fourier import shift_images

    frames = [np.asarray(shift_images(scene, -shift)) for shift in drift]
    for frame in frames:
        frame[:, 100] = 0
    source = SimpleNamespace(n_frames=3, shape_px=(512, 512), pixel_size_A=2.0, read_frame=lambda index: frames[index])
    total = aligned_sum(source, exposure, None)
    inner = np.ones(512, dtype=bool)
    inner[90:110] = False
    assert np.corrcoef(total[:, inner].ravel(), scene[:, inner].ravel())[0, 1] > 0.99
    assert total[:, 100].mean() == pytest.approx(scene.mean() * 3, rel=0.05)


def test_progress__is_a_line_each_where_there_is_no_terminal(tmp_path: Path) -> None:
    stream = io.StringIO()
    with making_progress("movies", 2, stream=stream) as tell:
        tell(1, "first")
        tell(2, "second")
    assert stream.getvalue() == "movies 1/2 first\nmovies 2/2 second\n"


def test_progress__is_a_bar_on_a_terminal() -> None:
    stream = io.StringIO()
    stream.isatty = lambda: True  # type: ignore[method-assign]
    with making_progress("movies", 2, stream=stream) as tell:
        tell(2, "last")
    assert "movies" in stream.getvalue()
    assert "2/2" in stream.getvalue()
