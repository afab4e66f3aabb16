"""A session's specimens: read by whoever reads such files, distractors made of them, concentrations settled."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import numpy as np
from numpy.typing import NDArray

from cryoframe.data.twin import Specimen, SpecimenRequest
from cryoframe.errors import ConfigError
from cryoframe.kernel.plugins import Plugins
from cryoframe.twin.session import SessionConfig, Species

#: Species that say nothing of their concentration cover this share of the field together.
COVER_FRAC = 1 / 6
#: mg/mL over kDa → particles per Å³ (Avogadro's number).
PER_A3 = 6.02214076e23 * 1e-3 / 1e3 / 1e24
#: Copies in an aggregate, and the share of a broken particle that is left.
N_TOGETHER, LEFT_FRAC = 3, 0.55


def open_species(config: SessionConfig, plugins: Plugins) -> tuple[Specimen, ...]:
    """Return every specimen of the session, with its concentration.

    Raises
    ------
    ConfigError
        If there is none, a file is missing, or nobody reads it.
    """
    if not config.specimens:
        raise ConfigError("the session has no specimen", remedy='Name a model, or add [[specimen]] with file = "…".')
    by_name = {one.name: _opened(one, config, plugins) for one in config.specimens if one.file is not None}
    settled = _settled(config, by_name)
    made = {
        one.name: _distractors(one, settled[one.of])
        for one in config.specimens
        if one.distractor in ("aggregate", "broken")
    }
    return tuple(specimen for one in config.specimens for specimen in {**settled, **made}[one.name])


def expected_per_A2(specimen: Specimen, thickness_A: float) -> float:
    """Return how many particles of a specimen there are on an Å² of ice."""
    return specimen.concentration_mg_mL / specimen.mass_kDa * PER_A3 * thickness_A


def _opened(one: Species, config: SessionConfig, plugins: Plugins) -> tuple[Specimen, ...]:
    path = one.file
    if path is None or not path.is_file():
        raise ConfigError(f"specimen '{one.name}': there is no file '{path}'", expected="an atomic model or a map")
    request = SpecimenRequest(
        name=one.name,
        pixel_size_A=config.image.pixel_size_A,
        assembly=one.assembly,
        b_factor_A2=one.b_factor_A2,
        site_damage=one.site_damage,
        conformations=one.conformations,
        hinge=one.hinge,
        without_residues=one.without_residues,
        symmetry=one.symmetry,
    )
    answer = plugins.ask("open_specimen", {"path": path, "request": request})
    if answer is None:
        refused = "; ".join(f"{offer.qualified}: {why}" for offer, why in plugins.refused.items())
        readers = ", ".join(offer.name for offer in plugins.offered("open_specimen")) or "nobody"
        raise ConfigError(
            f"specimen '{one.name}': no reader understands '{path}'",
            expected=f"a file that one of {readers} reads",
            remedy=refused,
        )
    truth_class = one.distractor or "particle"
    settings = {"surface_frac": one.surface_frac, "views": one.peaks, "truth_class": truth_class}
    found = cast("tuple[Specimen, ...]", answer)
    return tuple(
        replace(specimen, concentration_mg_mL=one.concentration_mg_mL / len(found), **settings)  # type: ignore[arg-type]
        for specimen in found
    )


def _settled(config: SessionConfig, by_name: dict[str, tuple[Specimen, ...]]) -> dict[str, tuple[Specimen, ...]]:
    """Give the species that say nothing of it a concentration, each an equal share of what may be covered."""
    silent = [name for name, found in by_name.items() if not any(one.concentration_mg_mL for one in found)]
    thickness_A = 0.5 * (config.ice.min_A + config.ice.max_A)
    settled = dict(by_name)
    for name in silent:
        found = by_name[name]
        per_A2 = COVER_FRAC / len(silent) / (math.pi * max(one.radius_A for one in found) ** 2) / len(found)
        settled[name] = tuple(
            replace(one, concentration_mg_mL=per_A2 / thickness_A * one.mass_kDa / PER_A3) for one in found
        )
    return settled


def _distractors(one: Species, parents: Sequence[Specimen]) -> tuple[Specimen, ...]:
    parent = parents[0]
    share = one.fraction * sum(found.concentration_mg_mL for found in parents)
    make = _aggregate if one.distractor == "aggregate" else _broken
    data, mass_factor, radius_factor = make(parent)
    return (
        replace(
            parent,
            name=one.name,
            volume=replace(parent.volume, data=data, symmetry="C1"),
            mass_kDa=parent.mass_kDa * mass_factor,
            radius_A=parent.radius_A * radius_factor,
            concentration_mg_mL=share * mass_factor,  # so that `fraction` is one of numbers, not of mass
            surface_frac=one.surface_frac,
            views=one.peaks,
            truth_class=one.distractor,
            fading=(),
        ),
    )


def _aggregate(parent: Specimen) -> tuple[NDArray[np.float32], float, float]:
    """Lay turned copies side by side, touching: a quarter turn of a cube needs no interpolation."""
    data, step = np.asarray(parent.volume.data, dtype=np.float32), parent.radius_A / parent.volume.pixel_size_A
    n = data.shape[0]
    wide = n + 2 * math.ceil(1.2 * step)
    wide += (wide - n) % 2  # n//2 stays the origin
    sheet = np.zeros((wide, wide, wide), dtype=np.float32)
    for copy in range(N_TOGETHER):
        turn = 2.0 * math.pi * copy / N_TOGETHER
        offset = [wide // 2 - n // 2 + round(1.1 * step * part) for part in (0.0, math.sin(turn), math.cos(turn))]
        turned = _quarter_turned(data, copy)
        sheet[tuple(slice(at, at + n) for at in offset)] += turned
    return sheet, float(N_TOGETHER), 2.1


def _quarter_turned(data: NDArray[np.float32], copy: int) -> NDArray[np.float32]:
    """Turn a cube by 90° about one of its axes, the origin n//2 kept."""
    axes = ((1, 2), (0, 2), (0, 1))[copy % 3]
    turned = np.rot90(data, k=1 if copy else 0, axes=axes)
    if copy and data.shape[0] % 2 == 0:  # reversing an even axis moves n//2 by one
        turned = np.roll(turned, 1, axis=axes[0])
    return np.asarray(turned, dtype=np.float32)


def _broken(parent: Specimen) -> tuple[NDArray[np.float32], float, float]:
    """Take away what lies beyond a soft plane through the particle."""
    data = np.asarray(parent.volume.data, dtype=np.float32)
    n, pixel = data.shape[0], parent.volume.pixel_size_A
    height_A = (np.arange(n) - n // 2) * pixel
    cut_A = (2.0 * LEFT_FRAC - 1.0) * parent.radius_A
    kept = 1.0 / (1.0 + np.exp((height_A - cut_A) / 3.0))
    return np.asarray(data * kept[:, None, None], dtype=np.float32), LEFT_FRAC, 1.0
