"""What each product says of its micrograph in a few numbers, named as the columns of the table of exposures.

The kernel carries these numbers to the bus and the table and does not know what they mean; which there are, and which
of them contradict each other, is said here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isfinite
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from cryoframe.data.images import CorrectedMicrograph, CtfFit, MicrographVerdict, ParticleStack
from cryoframe.data.tables import MotionTable, ParticleTable

if TYPE_CHECKING:
    from numpy.typing import NDArray

Figure = str | int | float | bool
#: Motion up to this dose is early: RELION's --dose_motionstats_cutoff.
EARLY_E_A2 = 4.0
#: Side-cars and configuration may differ by so much, as a share; a dose is measured less exactly than a pixel.
AGREE_FRAC: Mapping[str, float] = MappingProxyType(
    {"pixel_size_A": 0.01, "voltage_kV": 0.01, "dose_e_A2": 0.1, "dose_per_frame_e_A2": 0.1}
)
#: A counting camera counts so much of the dose: DQE and loss in the ice take from it, nothing adds to it.
COUNTED_FRAC = (0.4, 1.15)
#: The fit may be this far from the defocus that was applied: autofocus is off by a tenth or two of a micrometre.
OFF_A, OFF_FRAC = 3000.0, 0.25
OFF_TILT_DEG = 10.0
#: Ice thicker than this costs more signal than its particles are worth.
THICK_A = 1000.0
#: A fit whose rings are those of the image to no finer spacing has the first zero at most right.
COARSE_A = 20.0
#: Ice moves less than this from one frame to the next, the stage does not.
JUMP_A = 30.0


def figures_of(product: object) -> dict[str, Figure]:
    """Return what a product says of its micrograph; nothing for a product that is of no one micrograph.

    Parameters
    ----------
    product
        As a stage returned it.

    Returns
    -------
    By column of ``schemas.EXPOSURES``; what is not known, or not finite, is left out.
    """
    found = FIGURES.get(type(product))
    said = found(product) if found else {}
    return {name: _plain(value) for name, value in said.items() if value is not None and _is_said(value)}


def _is_said(value: object) -> bool:
    return isinstance(value, str) or isfinite(float(value))  # type: ignore[arg-type]


def _plain(value: Any) -> Figure:
    if isinstance(value, (str, bool)):
        return value
    return value if isinstance(value, int) else float(value)


def _corrected(product: CorrectedMicrograph) -> dict[str, Any]:
    plain = product.unweighted or (None if product.micrograph.dose_weighted else product.micrograph)
    said: dict[str, Any] = {"pixel_size_A": product.micrograph.pixel_size_A}
    said |= _moved(product.motion, product.micrograph.dose_e_A2)
    if product.micrograph.dose_e_A2 > 0:
        said["dose_e_A2"] = product.micrograph.dose_e_A2
    if plain is not None:
        said["counts_1_px"] = float(plain.data.mean(dtype="float64"))
    return said


def _moved(motion: MotionTable, dose_e_A2: float) -> dict[str, Any]:
    """Lengths of the way; early and late only where the dose is known."""
    import numpy as np

    whole = np.isnan(motion.floats("patch_x_A"))
    track = np.stack([motion.floats(name)[whole] for name in ("shift_x_A", "shift_y_A")], axis=-1)
    n_frames = len(track)
    if not n_frames:
        return {}
    steps = np.hypot(*np.diff(track, axis=0).T) if n_frames > 1 else np.zeros(0)
    said: dict[str, Any] = {"n_frames": n_frames, "motion_total_A": float(steps.sum())}
    said["motion_step_A"] = float(steps.max(initial=0.0))
    if dose_e_A2 > 0:
        # Step i leads to frame i + 1, in whose middle (i + 1.5) frames of dose have been given.
        early = (np.arange(len(steps)) + 1.5) * dose_e_A2 / n_frames <= EARLY_E_A2
        said |= {"motion_early_A": float(steps[early].sum()), "motion_late_A": float(steps[~early].sum())}
    return said | _local(motion, track[-1])


def _local(motion: MotionTable, whole_A: NDArray[Any]) -> dict[str, Any]:
    import numpy as np

    frames = motion.column("frame")
    last = ~np.isnan(motion.floats("patch_x_A")) & (frames == frames.max())
    if not last.any():
        return {}
    away = np.stack([motion.floats(name)[last] for name in ("shift_x_A", "shift_y_A")], axis=-1) - whole_A
    return {"motion_local_A": float(np.sqrt((away**2).sum(axis=-1).mean()))}


def _fitted(fit: CtfFit) -> dict[str, Any]:
    names = ("defocus_u_A", "defocus_v_A", "defocus_angle_deg", "phase_shift_deg", "fit_resolution_A")
    said: dict[str, Any] = {name: getattr(fit, name) for name in names}
    said |= {"ctf_score": fit.score, "ctf_confidence_frac": fit.confidence_frac, "ctf_accepted": bool(fit.accepted)}
    return said | {"ctf_verdict": fit.verdict, "tilt_deg": fit.tilt_deg, "ice_thickness_A": fit.ice_thickness_A}


def _judged(product: MicrographVerdict) -> dict[str, Any]:
    return {"verdict": product.verdict, "excluded_frac": 1.0 - product.usable_frac}


FIGURES: Mapping[type, Callable[[Any], dict[str, Any]]] = MappingProxyType(
    {
        CorrectedMicrograph: _corrected,
        CtfFit: _fitted,
        MicrographVerdict: _judged,
        ParticleTable: lambda table: {"n_picks": len(table)},
        ParticleStack: lambda stack: {"n_particles": len(stack.particles)},
    }
)


# -- what contradicts what ---------------------------------------------------------------------------------------
def warnings_of(row: Mapping[str, Figure | None]) -> list[str]:
    """Return, in words, what a person should look at in a row of the table of exposures."""
    return [said for check in _CHECKS for said in check(row)]


def disputes(stated: Mapping[str, Figure], used: Mapping[str, Figure], *, by: str, instead: str) -> list[str]:
    """Return in words where what is stated differs from what is used by more than it may.

    Parameters
    ----------
    stated, used
        Figures by name; only those of `AGREE_FRAC` that both have are compared.
    by, instead
        Who states, and what is used instead: ``the side-car``, ``the configuration``.
    """
    found = []
    for name, agree_frac in AGREE_FRAC.items():
        one, other = stated.get(name), used.get(name)
        if not isinstance(one, (int, float)) or not isinstance(other, (int, float)) or not (one > 0 and other > 0):
            continue
        if abs(one / other - 1.0) > agree_frac:
            found.append(f"{name} is {one:.4g} by {by} and {other:.4g} by {instead}, which is used")
    return found


def _against_fit(row: Mapping[str, Figure | None]) -> list[str]:
    said = []
    if row.get("ctf_accepted") is False:
        said.append(f"CTF fit not accepted: {row.get('ctf_verdict') or 'no reason given'}")
    elif row.get("ctf_verdict"):
        said.append(f"CTF: {row['ctf_verdict']}")
    elif (_number(row, "fit_resolution_A") or 0.0) > COARSE_A:
        said.append(
            f"CTF: rings agree with the fit to {row['fit_resolution_A']:.0f} Å only:"
            " is a phase shift, the voltage or the pixel size wrong?"
        )
    u_A, v_A, applied_A = (_number(row, name) for name in ("defocus_u_A", "defocus_v_A", "applied_defocus_A"))
    if u_A is not None and v_A is not None and applied_A:
        fitted_A, applied_A = 0.5 * (u_A + v_A), abs(applied_A)
        if abs(fitted_A - applied_A) > max(OFF_A, OFF_FRAC * applied_A):
            said.append(
                f"defocus {fitted_A:.0f} Å where {applied_A:.0f} Å was applied:"
                " is the voltage, the pixel size or a phase shift wrong?"
            )
    return said


def _against_dose(row: Mapping[str, Figure | None]) -> list[str]:
    counts_1_px, dose_e_A2, pixel_A = (_number(row, name) for name in ("counts_1_px", "dose_e_A2", "pixel_size_A"))
    if counts_1_px is None or not pixel_A:
        return []
    if dose_e_A2 is None:
        return ["no dose is stated: the sum is not dose-weighted"]
    low, high = COUNTED_FRAC
    frac = counts_1_px / (dose_e_A2 * pixel_A**2)
    if low <= frac <= high:
        return []
    return [
        f"{counts_1_px:.3g} counts a pixel where the dose of {dose_e_A2:.3g} e/Å² gives {dose_e_A2 * pixel_A**2:.3g}:"
        " dose or pixel size is wrong, or counts are scaled"
    ]


def _against_jumps(row: Mapping[str, Figure | None]) -> list[str]:
    step_A = _number(row, "motion_step_A")
    if step_A is None or step_A <= JUMP_A:
        return []
    return [f"jumped {step_A:.0f} Å from one frame to the next: the stage slipped, or frames were not found"]


def _against_stage(row: Mapping[str, Figure | None]) -> list[str]:
    fitted_deg, stage_deg = _number(row, "tilt_deg"), _number(row, "stage_tilt_deg")
    if fitted_deg is None or stage_deg is None or abs(abs(fitted_deg) - abs(stage_deg)) <= OFF_TILT_DEG:
        return []
    return [f"the specimen is tilted by {fitted_deg:.0f}° where the stage says {stage_deg:.0f}°"]


def _against_area(row: Mapping[str, Figure | None]) -> list[str]:
    verdict, thickness_A = row.get("verdict"), _number(row, "ice_thickness_A") or 0.0
    said = [f"ice is {thickness_A / 10:.0f} nm thick"] if thickness_A > THICK_A else []
    return said + ([f"micrograph is {verdict}"] if verdict not in (None, "", "good") else [])


def _number(row: Mapping[str, Figure | None], name: str) -> float | None:
    value = row.get(name)
    return float(value) if isinstance(value, (int, float)) else None


_CHECKS = (_against_fit, _against_jumps, _against_dose, _against_stage, _against_area)
