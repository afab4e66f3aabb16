"""extract_particles ``box``: cut, shrink, normalise, turn protein bright; the arithmetic is in ``numerics.boxes``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from cryoframe import CtfFit, Micrograph, ParticleStack, ParticleTable, StageContext, hookimpl
from cryoframe.errors import InvalidInput
from cryoframe.numerics import boxes, spectrum
from cryoframe.numerics.bounds import check_bounds

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Params:
    """What may be set."""

    box_px: int = 256  #: edge of the box cut from the micrograph
    out_box_px: int = 0  #: edge after Fourier cropping, which makes the pixel larger; 0 = as cut
    background_diameter_A: float = 0.0  #: outside this circle is background; 0 = three quarters of the box
    ramp: bool = True  #: subtract the plane that fits the background, not only its mean
    clip_sd: float = 8.0  #: grey values further from the micrograph's median than this many deviations are cut
    duplicate_A: float = 10.0  #: of particles nearer to each other than this only the best is kept; 0 = keep all
    edge: Literal["drop", "mirror"] = "drop"  #: boxes that leave the micrograph: drop them, or mirror what is missing
    half_precision: bool = False  #: round to what 16-bit numbers hold, so that stacks written as such lose nothing
    invert: bool = True  #: turn protein bright; false where the micrograph has bright protein already

    def __post_init__(self) -> None:
        """Refuse values that cannot be meant."""
        check_bounds(
            self,
            box_px=(8, 8192),
            out_box_px=(0, 8192),
            background_diameter_A=(0.0, 100000.0),
            clip_sd=(1.0, 1000.0),
            duplicate_A=(0.0, 100000.0),
        )
        if self.edge not in ("drop", "mirror"):
            raise InvalidInput(f"edge {self.edge!r} was set", expected="drop or mirror")


@hookimpl
def extract_particles(
    micrograph: Micrograph, particles: ParticleTable, ctf: CtfFit, params: Params, ctx: StageContext
) -> ParticleStack:
    """Cut a box around each particle; those whose box leaves the micrograph are dropped, with the reason."""
    out_px = params.out_box_px or params.box_px
    _check(micrograph, params, out_px)
    pixel_A = micrograph.pixel_size_A
    out_pixel_A = pixel_A * params.box_px / out_px
    known = np.isfinite(_centres_A(particles))
    placed = known[:, 0] & known[:, 1]
    _drop(ctx, particles, ~placed, "position is not a number", np.zeros(len(particles)))
    particles = _without_duplicates(particles.select(placed), params.duplicate_A, ctx)
    corners, middle = boxes.box_corners(_centres_A(particles) / pixel_A, params.box_px)
    over = boxes.outside_by_px(corners, params.box_px, micrograph.shape_px)
    allowed_px = params.box_px // 2 if params.edge == "mirror" else 0
    inside = over <= allowed_px
    _drop(ctx, particles, ~inside, "box leaves the micrograph", over)
    ctx.report(0, 2, f"cutting {int(inside.sum())} of {len(particles)} boxes")

    clipped = spectrum.clip_outliers(micrograph.data, n_sigma=params.clip_sd)
    cut = boxes.cut_mirrored if params.edge == "mirror" else boxes.cut_boxes
    images = cut(clipped, corners[inside], params.box_px)
    images = boxes.shrink_boxes(images, out_px, n_threads=ctx.n_threads)
    if params.invert:
        np.negative(images, out=images)
    ctx.report(1, 2, "normalising")
    radius_px = 0.5 * (params.background_diameter_A or 0.75 * params.box_px * pixel_A) / out_pixel_A
    spread = boxes.normalise(images, boxes.background_ring(out_px, radius_px), ramp=params.ramp)
    if params.half_precision:
        images = images.astype(np.float16).astype(np.float32)
    kept = particles.select(inside)
    _drop(ctx, kept, spread <= 0, "background is constant", spread)
    good = spread > 0
    table = _described(kept.select(good), middle[inside][good], micrograph, ctf, box=(out_px, out_pixel_A))
    ctx.report(2, 2, f"{len(table)} particles")
    return ParticleStack(images if good.all() else images[good], table, out_pixel_A, (micrograph.optics,))


def _check(micrograph: Micrograph, params: Params, out_px: int) -> None:
    if params.box_px < 8 or out_px < 8 or out_px > params.box_px or params.box_px % 2 or out_px % 2:
        raise InvalidInput(
            f"box_px = {params.box_px} and out_box_px = {params.out_box_px} were set",
            expected="even numbers of at least 8, the second not larger than the first",
        )
    spectrum.check_recording(micrograph.data, micrograph.pixel_size_A, smallest_px=params.box_px)


def _without_duplicates(particles: ParticleTable, distance_A: float, ctx: StageContext) -> ParticleTable:
    """Drop particles that lie on a better one; without figures of merit or identities the first is the better."""
    n = len(particles)
    merit = particles.floats("figure_of_merit") if "figure_of_merit" in particles.names else np.zeros(n)
    tie = particles.column("particle_id") if "particle_id" in particles.names else np.arange(n)
    single = boxes.not_duplicated(_centres_A(particles), merit, tie, distance_A)  # type: ignore[arg-type]  # identities
    _drop(ctx, particles, ~single, "a better one is nearer than duplicate_A", merit)
    return particles.select(single)


def _centres_A(particles: ParticleTable) -> NDArray[np.float64]:
    """True centres (x, y): the position, less the refined shift where there is one."""
    x, y = particles.floats("x_A"), particles.floats("y_A")
    if particles.has("pose"):
        x, y = x - particles.floats("shift_x_A"), y - particles.floats("shift_y_A")
    return np.stack([x, y], axis=1)


def _drop(
    ctx: StageContext,
    particles: ParticleTable,
    chosen: NDArray[np.bool_],
    reason: str,
    values: NDArray[np.integer] | NDArray[np.floating],
) -> None:
    if chosen.any() and "particle_id" in particles.names:
        ids = [int(identity) for identity in particles.column("particle_id")[chosen]]
        ctx.drop(ids, reason, values=[float(value) for value in values[chosen]], threshold=0.0)


def _described(
    particles: ParticleTable,
    middle: NDArray[np.integer],
    micrograph: Micrograph,
    ctf: CtfFit,
    *,
    box: tuple[int, float],
) -> ParticleTable:
    """Rows with image and CTF columns, positions at the boxes' centres, and what is left of a shift."""
    n, pixel_A = len(particles), micrograph.pixel_size_A
    columns: dict[str, object] = {
        "x_A": (middle[:, 0] * pixel_A).astype(np.float32),
        "y_A": (middle[:, 1] * pixel_A).astype(np.float32),
        "stack": [micrograph.micrograph_id] * n,
        "stack_index": np.arange(n, dtype=np.int32),
        "box_px": np.full(n, box[0], dtype=np.int32),
        "pixel_size_A": np.full(n, box[1], dtype=np.float32),
        "defocus_u_A": np.full(n, ctf.defocus_u_A, dtype=np.float32),
        "defocus_v_A": np.full(n, ctf.defocus_v_A, dtype=np.float32),
        "defocus_angle_deg": np.full(n, ctf.defocus_angle_deg, dtype=np.float32),
        "phase_shift_deg": np.full(n, ctf.phase_shift_deg, dtype=np.float32),
    }
    if particles.has("pose"):
        left = middle * pixel_A - _centres_A(particles)
        columns["shift_x_A"], columns["shift_y_A"] = left.T.astype(np.float32)
    return particles.with_columns(columns)  # type: ignore[arg-type]  # arrays and lists of str are array-like
