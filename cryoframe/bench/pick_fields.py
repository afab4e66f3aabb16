"""Simulated micrographs of four specimens with the true places, for pickers and extraction; nothing is picked here.

A field is one exposure taken in a single frame: motion is not in it, since a stage before has undone it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from cryoframe.bench.calls import Workbench
from cryoframe.bench.cameras import camera_for
from cryoframe.data.images import CtfFit
from cryoframe.data.maps import Volume
from cryoframe.data.optics import Optics
from cryoframe.data.twin import Exposure, SimulatedMovie, Specimen
from cryoframe.errors import ContractError
from cryoframe.formats import mrc, products
from cryoframe.kernel.context import StageContext
from cryoframe.kernel.plugins import Plugins
from cryoframe.numerics.ctf import wavelength_A
from cryoframe.twin.workers import HOOK, stage_params

PIXEL_A, DOSE_E_A2, SIMULATOR = 1.5, 40.0, "physical"
#: What motion correction, and a camera without faults, would leave.
_PARAMS: dict[str, object] = dict.fromkeys(
    ("motion", "gain", "defects", "hot_pixels", "coincidence", "ice_motion", "site_damage"), False
)  # fmt: skip


@dataclass(frozen=True)
class Kind:
    """A specimen: longest diameter, concentration, point group as RELION names it, and the model it is made of."""

    name: str
    diameter_A: float
    concentration_mg_mL: float
    point_group: str
    model: str
    assembly: str = "1"
    is_four: bool = False


KINDS = (
    Kind("β-galactosidase", 180.0, 30.0, "D2", "betagal"),
    Kind("apoferritin", 128.0, 30.0, "O", "apoferritin"),
    Kind("ribosome-sized", 270.0, 60.0, "C1", "betagal", is_four=True),
    Kind("membrane protein", 110.0, 10.0, "C1", "membrane", assembly=""),
)


@dataclass(frozen=True)
class PickField:
    """A micrograph's file, its CTF as a product, the true places `(n, 2)` (x, y) [Å], and its size."""

    path: Path
    ctf_folder: Path
    ctf: CtfFit
    optics: Optics
    true_xy_A: NDArray[np.float64]
    edge_px: int
    mean: float

    @property
    def extent_A(self) -> tuple[float, float]:
        """(width, height)."""
        return self.edge_px * PIXEL_A, self.edge_px * PIXEL_A


def specimen(kind: Kind, bench: Workbench) -> Specimen:
    """Return the specimen as the beam sees it."""
    one = bench.specimen(kind.model, PIXEL_A, assembly=kind.assembly)
    made = four_together(one) if kind.is_four else one
    return replace(made, concentration_mg_mL=kind.concentration_mg_mL)


def four_together(one: Specimen) -> Specimen:
    """Four molecules side by side, two turned: 1.9 MDa, as large as a ribosome."""
    n, pixel = one.volume.data.shape[0], one.volume.pixel_size_A
    wide = 2 * n
    total = np.zeros((wide, wide, wide), dtype=np.float32)
    reach = round(48.0 / pixel), round(68.0 / pixel)
    for i, (dz, dy) in enumerate(((-1, -1), (-1, 1), (1, -1), (1, 1))):
        data = one.volume.data if i % 3 else np.ascontiguousarray(one.volume.data.transpose(2, 0, 1))
        start = [wide // 2 - n // 2 + dz * reach[0], wide // 2 - n // 2 + dy * reach[1], wide // 2 - n // 2]
        total[tuple(slice(at, at + n) for at in start)] += data
    return replace(
        one, name="ribosome-sized", volume=Volume(total, pixel), mass_kDa=4 * one.mass_kDa, radius_A=150.0, fading=()
    )


def make_field(
    kind: Kind, sample: Specimen, plugins: Plugins, *, folder: Path, defocus_A: float, edge_px: int, seed: int
) -> PickField:
    """Make one micrograph and lay it down; the same arguments give the same."""
    name = f"{kind.model}{'4' if kind.is_four else ''}-{defocus_A:.0f}"
    exposure = Exposure(
        name, shape_px=(edge_px, edge_px), pixel_size_A=PIXEL_A, n_frames=1, dose_per_frame_e_A2=DOSE_E_A2,
        frame_time_s=3.0, defocus_u_A=defocus_A + 100.0, defocus_v_A=defocus_A - 100.0, defocus_angle_deg=30.0,
        ice_thickness_A=max(300.0, 1.1 * kind.diameter_A),
    )  # fmt: skip
    params = stage_params(plugins, SIMULATOR, _PARAMS | {"camera": camera_for(edge_px).name})
    plugin = plugins.load(plugins.select(HOOK, SIMULATOR))
    given = {
        "specimens": (sample,), "exposure": exposure, "params": params,
        "ctx": StageContext(folder, HOOK, name, seed),
    }  # fmt: skip
    made = cast("SimulatedMovie", plugins.call(plugin, HOOK, given))
    if made.movie.source is None:
        raise ContractError(f"{SIMULATOR} made a movie without frames", expected="a source of frames")
    data = np.asarray(made.movie.source.read_frame(0), dtype=np.float32)
    path, ctf_folder = folder / f"{name}.mrc", folder / f"{name}.ctf"
    mrc.write(path, data, pixel_size_A=PIXEL_A)
    fit = CtfFit(name, exposure.defocus_u_A, exposure.defocus_v_A, exposure.defocus_angle_deg)
    ctf_folder.mkdir()
    products.save(fit, ctf_folder)
    places = made.truth.particles
    centres = np.stack([places.floats("x_A"), places.floats("y_A")], axis=1)
    optics = made.movie.optics
    told = Optics(optics.voltage_kV, optics.cs_mm, optics.amplitude_contrast_frac)
    return PickField(path, ctf_folder, fit, told, centres, edge_px, float(data.mean()))


def relions_scale(field: PickField) -> np.float32:
    """Factor that gives a potential [1/Å²] the contrast it has in a micrograph of deviation 1, which RELION relies on.

    A weak phase φ = λ·∫V dz shows as 2φ of the mean, and the noise is the root of the mean; what coherence, losses and
    the detector leave of it is 0.8.
    """
    contrast = 2.0 * wavelength_A(field.optics.voltage_kV) * PIXEL_A
    return np.float32(contrast * np.sqrt(field.mean) * 0.8)
