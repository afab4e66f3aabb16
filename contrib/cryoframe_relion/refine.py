"""refine_3d ``relion``: RELION's own gold-standard auto-refinement; what it is given and what it left is in ``poses``.

References
----------
Scheres, J. Struct. Biol. 180, 519 (2012), doi:10.1016/j.jsb.2012.09.006; Zivanov et al., eLife 7, e42166 (2018),
doi:10.7554/eLife.42166.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from cryoframe import Mask, ParticleStack, Refinement, StageContext, Volume, hookimpl
from cryoframe.external import Command, Program
from cryoframe.numerics.bounds import check_bounds, check_extent
from cryoframe.numerics.symmetry import canonical_group, rotation_matrices
from cryoframe_relion import poses

DEVICES = ("cpu",)
PROGRAM: Final = Program(
    "relion_refine_mpi",
    find=("relion_refine_mpi",),
    version=("--version", r"RELION version:\s*([\w.]+)"),
    citation="doi:10.7554/eLife.42166",
    tested=("3.1.3",),
    install="Install RELION (Debian: `apt install relion`; else https://relion.readthedocs.io) and put it on the PATH.",
)
MPIRUN: Final = Program(
    "mpirun",
    find=("mpirun",),
    version=("--version", r"\(Open MPI\)\s*([\w.]+)"),
    citation="https://www.open-mpi.org",
    tested=("4.1.4",),
    install="Install Open MPI (Debian: `apt install openmpi-bin`): RELION keeps half-sets apart in processes.",
)
RECONSTRUCT: Final = Program(
    "relion_reconstruct",
    find=("relion_reconstruct",),
    version=PROGRAM.version,
    citation=PROGRAM.citation,
    tested=PROGRAM.tested,
    install=PROGRAM.install,
)
#: One leads, one for each half-set.
_N_PROCESSES: Final = 3
#: Healpix order 0 seen through RELION's one level of oversampling [degrees].
_COARSEST_DEG: Final = 30.0
_FINEST_ORDER: Final = 6
_RECONSTRUCT_TIMEOUT_S: Final = 36000.0
#: Open MPI refuses root by default; containers are root. Ranks that wait leave the processor to others.
_ENVIRONMENT: Final = (
    ("OMPI_ALLOW_RUN_AS_ROOT", "1"),
    ("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"),
    ("OMPI_MCA_mpi_yield_when_idle", "1"),
)


@dataclass(frozen=True)
class Params:
    """What may be set; the names are those of our own refiners where they mean the same."""

    symmetry: str = ""  #: point group; empty = that of the reference
    initial_low_pass_A: float = 30.0  #: both half-sets start from the reference low-passed to this
    particle_diameter_A: float = 0.0  #: of the soft masks around images and maps; 0 = 85 % of the box
    offset_range_A: float = 0.0  #: how far from the box centre a particle may lie; 0 = 20 % of the box
    coarse_step_deg: float = 7.5  #: first step over all orientations, oversampling included; RELION has 30, 15, 7.5 …
    join_halves_A: float = 40.0  #: half-sets share what is coarser than this; 0 = nothing
    n_iterations: int = 0  #: at most this many; 0 = until RELION finds that it converged
    n_threads_each: int = 1  #: threads of each of RELION's processes; more change the last bits of its maps
    extra_arguments: tuple[str, ...] = ()  #: handed on to RELION as they are
    executable: str = ""  #: path of relion_refine_mpi where it is not on the PATH
    timeout_s: float = 360000.0  #: RELION is ended after this

    def __post_init__(self) -> None:
        """Refuse values that cannot be meant."""
        check_bounds(
            self,
            initial_low_pass_A=(1.0, 1000.0),
            particle_diameter_A=(0.0, 20000.0),
            offset_range_A=(0.0, 20000.0),
            coarse_step_deg=(0.4, 60.0),
            join_halves_A=(0.0, 1000.0),
            n_iterations=(0, 1000),
            n_threads_each=(1, 1000),
            timeout_s=(1.0, 1e7),
        )
        if self.symmetry:
            rotation_matrices(self.symmetry)


@hookimpl
def refine_3d(
    stack: ParticleStack, reference: Volume, mask: Mask | None, params: Params, ctx: StageContext
) -> Refinement:
    """Refine poses and map with RELION, from nothing but the reference: poses that are known already are not told."""
    poses.check(stack, reference, mask)
    check_extent(
        stack.images.shape[-1] * stack.pixel_size_A,
        particle_diameter_A=params.particle_diameter_A,
        offset_range_A=params.offset_range_A,
    )
    relion = PROGRAM.at(params.executable)
    ctx.report(0, 1, "handing particles and reference over")
    poses.hand_over(stack, reference, mask, ctx.workdir)
    ctx.log(f"RELION {relion.installed_version()} at {relion.executable()}")
    command = build(stack, reference, mask, params, seed=ctx.seed)
    MPIRUN.run(
        command,
        workdir=ctx.workdir,
        timeout_s=params.timeout_s,
        is_cancelled=lambda: _asked(ctx, params.n_iterations),
        on_log=ctx.log,
    )
    symmetry = symmetry_of(reference, params)
    if not poses.converged(ctx.workdir):
        _reconstruct_halves(symmetry, ctx)
    result = poses.read(ctx.workdir, stack, reference, symmetry=symmetry, diameter_A=diameter_A(stack, params))
    resolution_A = result.fsc.resolution_A(0.143, curve="fsc_masked")
    ctx.metric("resolution_masked_A", resolution_A, "Å")
    ctx.report(1, 1, f"{resolution_A:.1f} Å")
    return result


def _reconstruct_halves(symmetry: str, ctx: StageContext) -> None:
    """Make half-maps of the poses found: stopped early, RELION leaves filtered and masked ones, which agree on both."""
    ctx.log(
        "RELION was stopped before it converged: half-maps are its reconstructions at the poses of the last iteration"
    )
    for half in (1, 2):
        argv = ("--i", poses.last_table(ctx.workdir), "--o", poses.reconstructed(half), "--subset", str(half))
        RECONSTRUCT.run(
            Command((*argv, "--ctf", "--sym", symmetry)),
            workdir=ctx.workdir,
            timeout_s=_RECONSTRUCT_TIMEOUT_S,
            is_cancelled=ctx.cancelled,
            on_log=ctx.log,
        )


def symmetry_of(reference: Volume, params: Params) -> str:
    """Point group, as RELION writes it."""
    return canonical_group(params.symmetry or reference.symmetry)


def diameter_A(stack: ParticleStack, params: Params) -> float:
    """Diameter of the masks."""
    return params.particle_diameter_A or 0.85 * float(stack.images.shape[-1]) * stack.pixel_size_A


def build(
    stack: ParticleStack,
    reference: Volume,
    mask: Mask | None,
    params: Params,
    *,
    seed: int = 0,
) -> Command:
    """Return what mpirun is told; all names are below the work folder."""
    range_px = params.offset_range_A / stack.pixel_size_A or 0.2 * float(stack.images.shape[-1])
    argv = [
        "--oversubscribe",
        "-n",
        str(_N_PROCESSES),
        params.executable or PROGRAM.name,
        "--o",
        f"{poses.OUT}/run",
        "--i",
        poses.STAR,
    ]
    argv += ["--ref", poses.REFERENCE, "--auto_refine", "--split_random_halves", "--firstiter_cc", "--ctf"]
    argv += ["--ini_high", f"{params.initial_low_pass_A:g}", "--particle_diameter", f"{diameter_A(stack, params):g}"]
    argv += ["--sym", symmetry_of(reference, params), "--flatten_solvent", "--zero_mask", "--norm", "--scale"]
    argv += ["--healpix_order", str(healpix_order(params.coarse_step_deg)), "--oversampling", "1"]
    argv += ["--auto_local_healpix_order", "4", "--offset_range", f"{range_px:.2f}", "--offset_step", "2"]
    argv += ["--low_resol_join_halves", f"{params.join_halves_A or -1:g}", "--pad", "2", "--pool", "30"]
    argv += ["--dont_check_norm", "--dont_combine_weights_via_disc", "--j", str(params.n_threads_each)]
    argv += ["--random_seed", str(1 + seed % 2**30)]
    if mask is not None:
        argv += ["--solvent_mask", poses.MASK]
    if params.n_iterations:
        argv += ["--auto_iter_max", str(params.n_iterations)]
    return Command((*argv, *params.extra_arguments), environment=_ENVIRONMENT)


def healpix_order(step_deg: float) -> int:
    """RELION's order whose step, seen through one level of oversampling, is nearest."""
    return min(max(round(math.log2(_COARSEST_DEG / step_deg)), 0), _FINEST_ORDER)


def _asked(ctx: StageContext, n_iterations: int) -> bool:
    """Say how far RELION is; the report raises when the call was asked to stop."""
    number, resolution_A = poses.progress(ctx.workdir)
    known = f", {resolution_A:.1f} Å" if resolution_A else ""
    # How many iterations it will take RELION does not know beforehand.
    ctx.report(number, max(n_iterations, number) + 1, f"RELION, iteration {number}{known}")
    return ctx.cancelled()
