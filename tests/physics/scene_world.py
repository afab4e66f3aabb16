"""Small scenes for tests: one particle or many, with every effect off but those asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cryoframe.numerics.camera_presets import Camera, camera_named
from cryoframe.numerics.ice import IceFilm
from cryoframe.numerics.lens import Lens
from cryoframe.numerics.scene import Effects, FadingPatches, ParticleGroup, Scene, Sensor

NOTHING = Effects(
    particles=False, ice=False, damage=False, motion=False, blur=False, inelastic=False, coincidence=False, gain=False,
    defects=False,
)  # fmt: skip
K3 = camera_named("k3")
FALCON = camera_named("falcon_4i")


def effects(*names: str) -> Effects:
    return replace(NOTHING, **dict.fromkeys(names, True))


def patches(n: int, box: int = 48, *, width_A: float = 3.0, seed: int = 1) -> np.ndarray:
    """Rough blobs of some Gaussians each, projected potential [1/Å]."""
    rng = np.random.default_rng(seed)
    y, x = np.indices((box, box)) - box // 2
    made = np.zeros((n, box, box), dtype=np.float32)
    for patch in made:
        for _ in range(12):
            at = rng.normal(0.0, box / 10.0, 2)
            patch += 0.5 * np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / (2.0 * width_A**2))
    return made


def group(
    places: list[tuple[float, float, float]], *, width_A: float = 3.0, strength: float = 1.0, **fading: float
) -> ParticleGroup:
    x, y, z = np.array(places, dtype=np.float64).T
    return ParticleGroup(
        x, y, z, (FadingPatches(np.float32(strength) * patches(len(places), width_A=width_A), **fading),)
    )


def scene(
    shape: tuple[int, int] = (128, 160),
    *,
    camera: Camera = K3,
    on: Effects = NOTHING,
    n_frames: int = 4,
    dose_e_A2: float = 4.0,
    **more: object,
) -> Scene:
    values: dict[str, object] = {
        "name": "exposure_1",
        "seed": 7,
        "pixel_size_A": 1.0,
        "dose_edges_e_A2": np.linspace(0.0, dose_e_A2, n_frames + 1),
        "frame_time_s": 0.1,
        "sensor": Sensor(camera, raw_dtype="uint8" if camera.counting else "float32"),
        "lens": Lens(defocus_u_A=9000.0, defocus_v_A=8000.0, defocus_angle_deg=20.0),
        "film": IceFilm(300.0),
        "effects": on,
    }
    return Scene(shape=shape, **(values | more))
