"""A session's specimens: read by whoever reads such files, distractors made of them, concentrations settled."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import cast

from cryoframe.data.twin import Exposure, Specimen, SpecimenRequest
from cryoframe.errors import ConfigError, CryoframeError
from cryoframe.kernel.plugins import Plugins
from cryoframe.numerics.field import Species as Solute
from cryoframe.numerics.field import expected_count
from cryoframe.numerics.ice import IceFilm
from cryoframe.twin.distractors import aggregate_of, broken_of
from cryoframe.twin.faults import Planned
from cryoframe.twin.plan import generator
from cryoframe.twin.session import SessionConfig, Species

#: Species that say nothing of their concentration cover this share of the field together.
COVER_FRAC = 1 / 6
#: Exposures of a session that are looked at for how many particles are in one.
N_LOOKED_AT = 24
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


@contextmanager
def refusing(where: str) -> Iterator[None]:
    """Turn what a plugin refuses about its input into a mistake of the session's: the input was named there.

    Raises
    ------
    ConfigError
        With the words of the refusal.
    """
    try:
        yield
    except ConfigError:
        raise
    except CryoframeError as error:
        if error.kind != "file":
            raise
        place = f"{path}: " if (path := getattr(error, "path", "")) else ""
        raise ConfigError(f"{where}: {place}{error.what}", expected=error.expected, remedy=error.remedy) from error


def expected_per_A2(specimen: Specimen, thickness_A: float) -> float:
    """Return how many particles of a specimen there are on an Å² of ice."""
    return specimen.concentration_mg_mL / specimen.mass_kDa * PER_A3 * thickness_A


def share_of_ice(specimens: Sequence[Specimen]) -> float:
    """Return the share of the ice's volume that spheres around all particles fill, were they free to overlap."""
    return sum(expected_per_A2(one, 4.0 / 3.0 * math.pi * one.radius_A**3) for one in specimens)


def expected_in(exposure: Exposure, specimens: Sequence[Specimen]) -> list[float]:
    """Return how many particles of each specimen are expected in an exposure's field.

    Only where the ice of the hole is thick enough for a particle is there any; its ramp and its rim count.
    """
    ny, nx = (n * exposure.pixel_size_A for n in exposure.shape_px)
    if exposure.trouble.empty_hole:
        return [0.0] * len(specimens)
    film = IceFilm(
        exposure.ice_thickness_A,
        exposure.ice_ramp,
        exposure.ice_rim_extra_A,
        exposure.hole_radius_A,
        (0.5 * nx + exposure.hole_offset_A[0], 0.5 * ny + exposure.hole_offset_A[1]),
    )
    factor = exposure.concentration_factor
    return [
        expected_count((ny, nx), film, Solute(one.concentration_mg_mL * factor, one.mass_kDa, one.radius_A))
        for one in specimens
    ]


def check_ice(plan: Sequence[Planned], specimens: Sequence[Specimen]) -> None:
    """Refuse a session in which no particle finds ice thick enough, unless every hole is to be empty.

    Raises
    ------
    ConfigError
        Naming the smallest species and the thickness it needs.
    """
    exposures = [one.exposure for one in plan[:N_LOOKED_AT] if not one.exposure.trouble.empty_hole]
    found = [one for one in specimens if one.truth_class == "particle" and one.concentration_mg_mL > 0.0] or specimens
    if not exposures or any(any(expected_in(exposure, found)) for exposure in exposures):
        return
    least = min(found, key=lambda one: one.radius_A)
    thickest_A = max(exposure.ice_thickness_A for exposure in exposures)
    raise ConfigError(
        f"ice of at most {thickest_A:.0f} Å is too thin for '{least.name}', {2.0 * least.radius_A:.0f} Å across: every"
        " movie would be empty",
        expected=f"[ice] max_A of {2.0 * least.radius_A:.0f} or more",
        remedy="Set [ice] min_A and max_A, or the fault empty_hole where no particle is wanted.",
    )


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
    with refusing(f"specimen '{one.name}'"):
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
    with refusing(f"specimen '{one.name}'"):
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
