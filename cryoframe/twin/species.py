"""A session's specimens: read by whoever reads such files, distractors made of them, concentrations settled."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import cast

from cryoframe.data.twin import Specimen, SpecimenRequest
from cryoframe.errors import ConfigError
from cryoframe.kernel.plugins import Plugins
from cryoframe.twin.distractors import aggregate_of, broken_of
from cryoframe.twin.plan import generator
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
        one.name: _distractors(one, settled[one.of], config.seed)
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


def _distractors(one: Species, parents: Sequence[Specimen], seed: int) -> tuple[Specimen, ...]:
    """Make a distractor of a species; `fraction` is one of numbers, so its mass goes into the concentration."""
    parent, rng = parents[0], generator(seed, "distractor", one.name)
    made = (
        aggregate_of(parent, n_copies=N_TOGETHER, rng=rng)
        if one.distractor == "aggregate"
        else broken_of(parent, kept_frac=LEFT_FRAC, rng=rng)
    )
    together = sum(found.concentration_mg_mL for found in parents)
    return (
        replace(
            made,
            name=one.name,
            concentration_mg_mL=one.fraction * together * made.mass_kDa / parent.mass_kDa,
            surface_frac=one.surface_frac,
            views=one.peaks,
        ),
    )
