"""Which phantom each hook is given, in each variant a check asks for. How phantoms are made is in phantoms."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from cryoframe.data.images import Classes2D, Micrograph
from cryoframe.data.maps import HalfMaps, Volume
from cryoframe.data.results import Refinement
from cryoframe.data.tables import ClassTable, FscTable, IterationTable, ParticleTable
from cryoframe.testing import phantoms, testcard

_OF_PARTICLES: Final = ("nominal", "empty", "one", "duplicate", "reordered", "bad", "noise")
_OF_MICROGRAPHS: Final = ("nominal", "empty", "one", "bad", "noise", "card")
#: Which variants of the phantom each hook has: the others would mean nothing to it.
VARIANTS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "simulate_movies": ("nominal", "empty", "one", "bad"),
        "correct_motion": ("nominal", "empty", "one", "bad", "noise", "detail", "blank", "damaged", "dose", "gain"),
        "estimate_ctf": ("nominal", "empty", "bad", "noise", "near", "far", "phase_plate"),
        "denoise_micrograph": ("nominal", "empty", "bad", "noise", "card"),
        "clean_micrograph": ("nominal", "empty", "bad", "noise", "clean", "carbon"),
        "pick_particles": (*_OF_MICROGRAPHS, "cropped", "bright", "graded", "apart"),
        "extract_particles": ("nominal", "empty", "one", "duplicate", "reordered", "bad", "card", "edge"),
        "classify_2d": _OF_PARTICLES,
        "select_particles": ("nominal", "empty", "one", "duplicate", "reordered", "bad"),
        "make_initial_volume": _OF_PARTICLES,
        "classify_3d": _OF_PARTICLES,
        "refine_3d": _OF_PARTICLES,
        "refine_ctf": _OF_PARTICLES,
        "analyse_heterogeneity": _OF_PARTICLES,
        "make_mask": ("nominal", "empty", "bad"),
        "postprocess": ("nominal", "empty", "bad", "noise"),
        "estimate_local_resolution": ("nominal", "empty", "bad", "noise"),
    }
)
#: Values for parameters of these names, so that a plugin looks for what the phantom holds.
HINTS: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "diameter_A": 96.0,
        "particle_diameter_A": 96.0,
        "min_diameter_A": 70.0,
        "max_diameter_A": 120.0,
        "mask_diameter_A": 112.0,
        "box_px": phantoms.BOX_PX,
        "box_size_px": phantoms.BOX_PX,
        "n_classes": 6,
    }
)
#: For iterative stages: as much work as the phantom needs, in seconds rather than minutes.
BRIEFLY: Final[Mapping[str, Any]] = MappingProxyType(
    {**HINTS, "n_iterations": 2, "n_whole": 1, "coarse_step_deg": 12.0, "angular_step_deg": 12.0}
)


@dataclass(frozen=True)
class Case:
    """Inputs of one call by argument name, what is true of them, and parameter values that suit them."""

    inputs: Mapping[str, Any]
    truth: Any = None
    hints: Mapping[str, Any] = field(default_factory=lambda: dict(HINTS))


#: Makes a hook's case of a variant in a folder.
Maker = Callable[[str, Path], Case]


def make(hook: str, variant: str, folder: Path) -> Case | None:
    """Return the case, or None where there is no phantom for the hook or the variant means nothing to it."""
    from cryoframe.testing import experiments

    if variant not in VARIANTS.get(hook, ()):
        return None
    return experiments.MAKERS.get((hook, variant), _MAKERS[hook])(variant, folder)


def has_phantom(hook: str) -> bool:
    """Whether the kit can call implementations of this hook."""
    return hook in VARIANTS


# -- at the microscope --------------------
def _exposing(variant: str, folder: Path) -> Case:
    del folder
    sample = phantoms.specimen(concentration_mg_mL=0.0 if variant == "empty" else 3.3)
    if variant == "bad":
        sample = replace(sample, volume=replace(sample.volume, data=np.full_like(sample.volume.data, np.nan)))
    taken = phantoms.exposure(n_frames=1 if variant == "one" else 6)
    return Case({"specimens": (sample,), "exposure": taken}, sample)


# -- one image --------------------
def _movie(variant: str, folder: Path) -> Case:
    shape = phantoms.FIELD_PX
    still = 10.0 + 4.0 * testcard.card_image(shape)
    if variant == "bad":
        still = np.full(shape, np.nan, dtype=np.float32)
    flat = np.full(shape, 10.0, dtype=np.float32)
    filmed = phantoms.movie(
        folder / "movie.mrc",
        flat if variant in ("empty", "noise") else still,
        n_frames=1 if variant == "one" else 8,
        noise=0.0 if variant == "empty" else 1.0,
    )
    return Case({"movie": filmed.movie}, filmed)


def _ice(variant: str, folder: Path) -> Case:
    del folder
    image = phantoms.ice(signal=0.0 if variant == "noise" else 1.0)
    return Case({"micrograph": _spoilt(image, variant)}, phantoms.ICE_CTF)


def _denoised(variant: str, folder: Path) -> Case:
    del folder
    if variant == "card":
        return _card_case()
    taken = phantoms.micrograph(0 if variant == "noise" else 24)
    return Case({"micrograph": _spoilt(taken.micrograph, variant)}, taken)


def _spoilt(image: Micrograph, variant: str) -> Micrograph:
    if variant == "empty":
        return replace(image, data=np.full_like(image.data, 100.0))
    return replace(image, data=np.full_like(image.data, np.nan)) if variant == "bad" else image


def _card_case() -> Case:
    taken = phantoms.micrograph(0)
    dark = 100.0 - 10.0 * testcard.card_image(phantoms.FIELD_PX)
    return Case({"micrograph": replace(taken.micrograph, data=dark.astype(np.float32))}, dark)


def _cleaning(variant: str, folder: Path) -> Case:
    """A field with one large, dark stain; its truth is where that is."""
    del folder
    taken = phantoms.micrograph(0 if variant == "noise" else 24)
    y, x = np.indices(phantoms.FIELD_PX)
    stain = (np.hypot(x - 320, y - 90) < 60) & (variant != "noise")
    stained = replace(taken.micrograph, data=(taken.micrograph.data - 40.0 * stain).astype(np.float32))
    return Case({"micrograph": _spoilt(stained, variant)}, stain)


def _picking(variant: str, folder: Path) -> Case:
    files = _reference_files(folder)
    if variant == "card":
        taken = discs(phantoms.micrograph(18, noise=0.2, key="card"))
        _write_ball(files["reference"])
    else:
        taken = phantoms.micrograph({"noise": 0, "empty": 0, "one": 1}.get(variant, 24))
    return Case(
        {"micrograph": _spoilt(taken.micrograph, variant), "ctf": taken.ctf},
        taken,
        {**HINTS, **files},
    )


def _write_ball(path: Path) -> None:
    """What casts the discs' shadow, for pickers that look for views of a map."""
    from cryoframe.formats import mrc

    n = phantoms.BOX_PX
    z, y, x = (np.indices((n, n, n)) - n // 2) * phantoms.PIXEL_A
    radius_A = np.sqrt(z * z + y * y + x * x)
    mrc.write(path, (1.0 / (1.0 + np.exp((radius_A - 45.0) / 4.0))).astype(np.float32), pixel_size_A=phantoms.PIXEL_A)


def discs(taken: phantoms.Field, *, depths: phantoms.Reals | None = None) -> phantoms.Field:
    """The same field with round dark discs of the molecule's size in place of molecules, their centres sub-pixel.

    `depths` `(n,)` says how dark each is; 1 where it is not given.
    """
    ny, nx = phantoms.FIELD_PX
    y, x = np.mgrid[0:ny, 0:nx] * phantoms.PIXEL_A
    image = 0.2 * phantoms.rng_of("discs").standard_normal((ny, nx))
    for depth, (centre_x, centre_y) in zip(
        np.ones(len(taken.centres_A)) if depths is None else depths, taken.centres_A, strict=True
    ):
        image -= depth / (1.0 + np.exp((np.hypot(x - centre_x, y - centre_y) - 45.0) / 4.0))
    return replace(taken, micrograph=replace(taken.micrograph, data=(100.0 + image).astype(np.float32)))


def _extraction(variant: str, folder: Path) -> Case:
    del folder
    taken = phantoms.micrograph(1 if variant == "one" else 24)
    table = taken.table()
    if variant == "card":
        taken, table = _marked(taken)
    if variant == "empty":
        table = table.select(np.zeros(len(table), dtype=bool))
    if variant == "duplicate":
        table = _doubled(table)
    if variant == "reordered":
        table = table.select(np.arange(len(table))[::-1])
    image = _spoilt(taken.micrograph, "bad" if variant == "bad" else "nominal")
    return Case({"micrograph": image, "particles": table, "ctf": taken.ctf}, taken)


def _marked(taken: phantoms.Field) -> tuple[phantoms.Field, ParticleTable]:
    """A small dark test card, its middle on a whole pixel, at each position."""
    ny, nx = phantoms.FIELD_PX
    n = phantoms.BOX_PX // 2 + 1
    stamp = testcard.card_image((n, n))
    image = np.full((ny, nx), 100.0) + 0.02 * phantoms.rng_of("marks").standard_normal((ny, nx))
    centres = np.round(taken.centres_A / phantoms.PIXEL_A)
    for x, y in centres.astype(int):
        image[y - n // 2 : y + n // 2 + 1, x - n // 2 : x + n // 2 + 1] -= stamp
    marked = replace(
        taken,
        micrograph=replace(taken.micrograph, data=image.astype(np.float32)),
        centres_A=centres * phantoms.PIXEL_A,
    )
    return marked, marked.table()


def _doubled(table: ParticleTable) -> ParticleTable:
    """The table with its first row once more, under another identity."""
    again = table.select([0])
    again = again.with_columns({"particle_id": again.column("particle_id").astype(np.uint64) ^ np.uint64(1)})
    return ParticleTable.concat([table, again])


# -- particles --------------------
def stack_case(variant: str, n: int = 160, *, snr: float = 0.5) -> phantoms.Particles:
    """Particles in a variant; the truth is in the order of the rows."""
    made = phantoms.particles(
        {"empty": 0, "one": 1}.get(variant, n), snr=0.0 if variant == "noise" else snr, key="stack"
    )
    return _varied(made, variant)


def _stack_only(variant: str, folder: Path) -> Case:
    made = stack_case(variant, 120)
    reference = _reference_files(folder)
    return Case({"stack": made.stack}, made, {**HINTS, **reference})


def _views(variant: str, folder: Path) -> Case:
    """Particles of two views only, at any angle in the plane: two classes, and known which is which."""
    del folder
    n = {"empty": 0, "one": 1}.get(variant, 120)
    rng = phantoms.rng_of("class views")
    euler = np.stack([np.zeros(n), np.where(np.arange(n) % 2, 90.0, 0.0), rng.uniform(-180.0, 180.0, n)], axis=-1)
    made = phantoms.particles(n, snr=0.0 if variant == "noise" else 1.0, key="views", views=euler)
    varied = _varied(made, variant)
    return Case({"stack": varied.stack}, varied, {**HINTS, "n_iterations": 12})


def _varied(made: phantoms.Particles, variant: str) -> phantoms.Particles:
    rows, table = np.arange(len(made.stack.particles)), made.stack.particles
    if variant == "duplicate":
        table, rows = _doubled(table), np.append(rows, 0)
    if variant == "reordered":
        rows = phantoms.rng_of("order").permutation(len(rows))
        table = table.select(rows)
    images = np.array(made.stack.images)[rows]
    if variant == "bad":
        images[3] = np.nan
    stack = replace(made.stack, images=images, particles=table)
    return replace(made, stack=stack, euler_deg=made.euler_deg[rows], shifts_A=made.shifts_A[rows])


def _refining(variant: str, folder: Path) -> Case:
    del folder
    made = stack_case(variant)
    reference = replace(made.volume, provenance="phantom")
    return Case({"stack": made.stack, "reference": reference, "mask": None}, made, BRIEFLY)


def _selecting(variant: str, folder: Path) -> Case:
    made = _views(variant, folder)
    table = made.inputs["stack"].particles
    n = len(table)
    # By what each particle shows, not by its row: rows come in other orders too.
    view = (made.truth.euler_deg[:, 1] > 45.0).astype(np.int64)
    classes = ClassTable.from_columns(
        {
            "class_id": np.array([0, 1], dtype=np.int32),
            "n_particles": np.array([(view == 0).sum(), (view == 1).sum()], dtype=np.int64),
            "resolution_A": np.array([10.0, 40.0], dtype=np.float32),
            "class_score": np.array([10.0, 1.0], dtype=np.float32),
        }
    )
    assigned = table.with_columns(
        {"class_id": view.astype(np.int32), "class_probability_frac": np.ones(n, dtype=np.float32)}
    )
    averages = phantoms.projections(phantoms.molecule(), np.array([[0.0, 0.0, 0.0], [0.0, 90.0, 0.0]]))
    if variant == "bad":
        averages = np.full_like(averages, np.nan)
    return Case({"classes": Classes2D(averages, classes, assigned, phantoms.PIXEL_A)}, made.truth)


def _refined(variant: str, folder: Path) -> Case:
    """Particles beside a finished refinement, for stages that come after one."""
    case = _refining(variant, folder)
    made: phantoms.Particles = case.truth
    n = len(made.stack.particles)
    names = ("rot_deg", "tilt_deg", "psi_deg")
    pose = {name: made.euler_deg[:, axis].astype(np.float32) for axis, name in enumerate(names)}
    pose |= {f"shift_{axis}_A": made.shifts_A[:, i].astype(np.float32) for i, axis in enumerate("xy")}
    posed = made.stack.particles.with_columns(pose | {"pose_score": np.ones(n, dtype=np.float32)})
    halves = phantoms.half_maps()
    refinement = Refinement(made.volume, halves, FscTable.empty(), posed, IterationTable.empty())
    return Case({"stack": replace(made.stack, particles=posed), "refinement": refinement}, made)


# -- maps --------------------
def _volume(variant: str) -> Volume:
    made = phantoms.molecule()
    if variant in ("empty", "bad"):
        return replace(made, data=np.full_like(made.data, 0.0 if variant == "empty" else np.nan))
    grain = 0.01 * phantoms.rng_of("volume").standard_normal(made.data.shape)
    return replace(made, data=(made.data + grain).astype(np.float32))


def _masking(variant: str, folder: Path) -> Case:
    del folder
    return Case({"volume": _volume(variant)}, phantoms.molecule())


def _finishing(variant: str, folder: Path) -> Case:
    del folder
    halves = phantoms.half_maps(signal=0.0 if variant == "noise" else 1.0)
    if variant in ("empty", "bad"):
        filled = np.full_like(halves.first.data, 0.0 if variant == "empty" else np.nan)
        halves = HalfMaps(replace(halves.first, data=filled), replace(halves.second, data=filled.copy()))
    return Case({"half_maps": halves, "mask": phantoms.mask()}, phantoms.molecule())


def _reference_files(folder: Path) -> Mapping[str, Any]:
    """A map and a model in files, for stages whose parameters name one."""
    from cryoframe.formats import mrc

    path = folder / "reference.mrc"
    volume = phantoms.molecule()
    mrc.write(path, volume.data, pixel_size_A=volume.pixel_size_A)
    model = folder / "reference.cif"
    model.write_text(_as_model())
    maps = dict.fromkeys(("map", "map_file", "volume", "file", "path", "reference"), path)
    return {**maps, "model": model, "model_file": model}


def _as_model() -> str:
    """The phantom as an mmCIF file of one carbon a lump: width as B-factor, share of the most weight as occupancy."""
    names = ["id", "type_symbol", "label_atom_id", "label_alt_id", "label_comp_id", "label_asym_id", "label_seq_id"]
    names += ["auth_seq_id", "auth_asym_id", "Cartn_x", "Cartn_y", "Cartn_z", "occupancy", "B_iso_or_equiv"]
    b_factor_A2 = 8.0 * np.pi**2 * phantoms.LUMP_SIGMA_A**2
    centres, weights = phantoms.lumps()
    rows = [
        f"{i} C C . UNK A {i} {i} A {x:.3f} {y:.3f} {z:.3f} {weight / max(weights):.3f} {b_factor_A2:.1f}"
        for i, ((x, y, z), weight) in enumerate(zip(centres, weights, strict=True), start=1)
    ]
    return "\n".join(["data_phantom", "loop_", *(f"_atom_site.{name}" for name in names), *rows, ""])


_MAKERS: Final[Mapping[str, Maker]] = MappingProxyType(
    {
        "simulate_movies": _exposing,
        "correct_motion": _movie,
        "estimate_ctf": _ice,
        "denoise_micrograph": _denoised,
        "clean_micrograph": _cleaning,
        "pick_particles": _picking,
        "extract_particles": _extraction,
        "classify_2d": _views,
        "select_particles": _selecting,
        "make_initial_volume": _stack_only,
        "classify_3d": _refining,
        "refine_3d": _refining,
        "refine_ctf": _refined,
        "analyse_heterogeneity": _refined,
        "make_mask": _masking,
        "postprocess": _finishing,
        "estimate_local_resolution": _finishing,
    }
)
