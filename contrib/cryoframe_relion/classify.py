"""classify_2d ``relion``: RELION's own 2-D classification; what it is given and what it left is in ``views``.

References
----------
Scheres, J. Struct. Biol. 180, 519 (2012), doi:10.1016/j.jsb.2012.09.006; Scheres et al., J. Mol. Biol. 348, 139
(2005), doi:10.1016/j.jmb.2005.02.031.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from cryoframe import Classes2D, ParticleStack, StageContext, hookimpl
from cryoframe.external import Command, Program
from cryoframe.numerics import polar_images
from cryoframe.numerics.bounds import check_bounds, check_extent
from cryoframe_relion import poses, views

DEVICES = ("cpu",)
PROGRAM: Final = Program(
    "relion_refine",
    find=("relion_refine",),
    version=("--version", r"RELION version:\s*([\w.]+)"),
    citation="doi:10.1016/j.jsb.2012.09.006",
    tested=("3.1.3",),
    install="Install RELION (Debian: `apt install relion`; else https://relion.readthedocs.io) and put it on the PATH.",
)


@dataclass(frozen=True)
class Params:
    """What may be set; the names are those of our own classifier where they mean the same."""

    n_classes: int = 16  #: classes; RELION leaves some empty
    n_iterations: int = 25  #: rounds of expectation and maximisation
    particle_diameter_A: float = 0.0  #: of the soft mask around images and averages; 0 = 85 % of the box
    offset_range_A: float = 0.0  #: how far from the last best place a particle is looked for; 0 = 8 % of the box
    psi_step_deg: float = 12.0  #: first step of in-plane angles; oversampling halves it
    tau2_fudge: float = 2.0  #: [a factor] RELION's regularisation parameter T, its --tau2_fudge
    ignore_ctf: bool = False  #: take images as free of CTF effects
    n_threads: int = 1  #: of RELION; more change the last bits of its averages
    extra_arguments: tuple[str, ...] = ()  #: handed on to RELION as they are
    executable: str = ""  #: path of relion_refine where it is not on the PATH
    timeout_s: float = 360000.0  #: RELION is ended after this

    def __post_init__(self) -> None:
        """Refuse values that cannot be meant."""
        check_bounds(
            self,
            n_classes=(1, 1000),
            n_iterations=(1, 1000),
            particle_diameter_A=(0.0, 20000.0),
            offset_range_A=(0.0, 20000.0),
            psi_step_deg=(0.1, 90.0),
            tau2_fudge=(0.01, 100.0),
            n_threads=(1, 1000),
            timeout_s=(1.0, 1e7),
        )


@hookimpl
def classify_2d(stack: ParticleStack, params: Params, ctx: StageContext) -> Classes2D:
    """Average like views without a reference, with RELION; poses and classes that are known already are not told."""
    views.check(stack, ignore_ctf=params.ignore_ctf)
    check_extent(
        stack.images.shape[-1] * stack.pixel_size_A,
        particle_diameter_A=params.particle_diameter_A,
        offset_range_A=params.offset_range_A,
    )
    usable = _usable(stack, ctx)
    if (n_classes := _n_classes(usable, params)) < params.n_classes:
        ctx.log(f"{params.n_classes} classes were asked for and {n_classes} are made: half of the images")
    relion = PROGRAM.at(params.executable)
    ctx.report(0, params.n_iterations, "handing particles over")
    poses.hand_over_particles(usable, ctx.workdir)
    ctx.log(f"RELION {relion.installed_version()} at {relion.executable()}")
    relion.run(
        build(usable, params, seed=ctx.seed),
        workdir=ctx.workdir,
        timeout_s=params.timeout_s,
        is_cancelled=lambda: _asked(ctx, params.n_iterations),
        on_log=ctx.log,
    )
    result = views.read(ctx.workdir, usable)
    result = replace(result, particles=result.particles.ordered_like(stack.particles))
    best_A = float(result.classes.floats("resolution_A").min(initial=np.inf))
    ctx.metric("resolution_best_class_A", best_A, "Å")
    ctx.report(params.n_iterations, params.n_iterations, f"{n_classes} classes, best {best_A:.1f} Å")
    return result


def _usable(stack: ParticleStack, ctx: StageContext) -> ParticleStack:
    """Images a class can be made of, in the order of their identities: RELION takes all, and starts by their order."""
    ids = np.asarray(stack.particles.column("particle_id"))
    spread = np.array([image.std(dtype=np.float64) if np.isfinite(image).all() else np.nan for image in stack.images])
    return in_order(stack, polar_images.fit_images(spread, ids, ctx.drop, fewest=views.FEWEST))


def in_order(stack: ParticleStack, wanted: npt.NDArray[np.bool_] | None = None) -> ParticleStack:
    """Particles in the order of their identities, all or those `(m,)` that are `wanted`."""
    rows = np.argsort(np.asarray(stack.particles.column("particle_id")), kind="stable")
    rows = rows if wanted is None else rows[wanted[rows]]
    return replace(stack, images=np.asarray(stack.images[rows]), particles=stack.particles.select(rows))


def build(stack: ParticleStack, params: Params, *, seed: int = 0) -> Command:
    """Return what RELION is told; all names are below the work folder."""
    n, pixel_A = int(stack.images.shape[-1]), stack.pixel_size_A
    diameter_A = params.particle_diameter_A or 0.85 * n * pixel_A
    argv = ["--i", poses.STAR, "--o", f"{poses.OUT}/run", "--K", str(_n_classes(stack, params))]
    argv += ["--iter", str(params.n_iterations), "--tau2_fudge", f"{params.tau2_fudge:g}"]
    argv += ["--particle_diameter", f"{diameter_A:g}", "--zero_mask", "--flatten_solvent"]
    argv += ["--psi_step", f"{params.psi_step_deg:g}", "--oversampling", "1"]
    argv += ["--offset_range", f"{params.offset_range_A / pixel_A or 0.08 * n:.2f}", "--offset_step", "2"]
    argv += [] if params.ignore_ctf else ["--ctf"]
    argv += ["--norm", "--scale", "--pad", "2", "--pool", "30", "--dont_check_norm"]
    argv += ["--dont_combine_weights_via_disc", "--j", str(params.n_threads), "--random_seed", str(1 + seed % 2**30)]
    return Command((*argv, *params.extra_arguments))


def _n_classes(stack: ParticleStack, params: Params) -> int:
    """Classes that are made: two images each at least, as in our own."""
    return max(min(params.n_classes, len(stack.particles) // 2), 1)


def _asked(ctx: StageContext, n_iterations: int) -> bool:
    """Say how far RELION is; the report raises when the call was asked to stop."""
    number, resolution_A = views.progress(ctx.workdir)
    known = f", {resolution_A:.1f} Å" if resolution_A else ""
    ctx.report(min(number, n_iterations), n_iterations, f"RELION, iteration {number}{known}")
    return ctx.cancelled()
