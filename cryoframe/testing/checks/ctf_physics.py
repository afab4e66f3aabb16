"""Physics checks of CTF fitters: range, phase plate, the microscope's numbers, and refusal. One answer is in truth."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from cryoframe.data.images import CtfFit
from cryoframe.errors import CryoframeError
from cryoframe.testing import experiments, phantoms, testcard
from cryoframe.testing.checks.promise import Check, NotAsked, fail
from cryoframe.testing.sessions import Session

HOOK: Final = ("estimate_ctf",)
#: Names that a search for phase shifts goes by in the parameters.
_PHASE: Final = "phase"
#: Error of a phase shift [°]; with it defocus is known less well, by so many times.
PHASE_DEG, PHASE_PLATE_TIMES = 15.0, 2.0
PIXEL_FRAC, OTHER_KV = 0.8, 200.0


def defocus_range(session: Session) -> None:
    """Near focus and far from it, with astigmatism in other directions, the fit is as good as in between."""
    for variant in ("near", "far"):
        truth = experiments.FITS[variant]
        _near_to(session, session.call(variant, inputs=session.suited(variant)), truth, times=1.0)


def phase_shift_found(session: Session) -> None:
    """With a phase plate in, its shift is found beside the defocus."""
    truth = experiments.FITS["phase_plate"]
    params = session.plugin.params_class
    if not any(_PHASE in name for name in getattr(params, "__dataclass_fields__", ())):
        raise NotAsked("it has no parameter that names the phase")
    fit = session.call("phase_plate", inputs=session.suited("phase_plate"))
    off = testcard.axis_distance_deg(fit.phase_shift_deg, truth.phase_shift_deg)
    if off > PHASE_DEG:
        fail(
            f"phase shift of {fit.phase_shift_deg:.0f}° where it is {truth.phase_shift_deg:.0f}°",
            expected=f"within {PHASE_DEG:g}°, positive as a phase plate's",
        )
    _near_to(session, fit, truth, times=PHASE_PLATE_TIMES)


def microscope_counts(session: Session) -> None:
    """Pixel size, voltage and spherical aberration are the micrograph's, not some microscope's."""
    inputs = dict(session.suited() or session.inputs())
    micrograph, truth = inputs["micrograph"], phantoms.ICE_CTF
    wavelengths = [_wavelength_A(voltage) for voltage in (micrograph.optics.voltage_kV, OTHER_KV)]
    ratio = wavelengths[1] / wavelengths[0]
    # The same rings mean another defocus: λ·Δf·k² and Cs·λ³·k⁴ stay as they were.
    cs_mm, optics = micrograph.optics.cs_mm, micrograph.optics
    others = (
        ("pixel size", replace(micrograph, pixel_size_A=PIXEL_FRAC * micrograph.pixel_size_A,
                               optics=replace(optics, cs_mm=PIXEL_FRAC**4 * cs_mm)), PIXEL_FRAC**2),
        ("voltage", replace(micrograph, optics=replace(optics, voltage_kV=OTHER_KV, cs_mm=cs_mm / ratio**3)),
         1.0 / ratio),
    )  # fmt: skip
    for name, taken, factor in others:
        fit = session.call(inputs={**inputs, "micrograph": taken})
        found = 0.5 * (fit.defocus_u_A + fit.defocus_v_A)
        wanted = 0.5 * factor * (truth.defocus_u_A + truth.defocus_v_A)
        if abs(found - wanted) > session.limits.defocus_A:
            fail(
                f"the same rings at another {name} are taken for a defocus of {found:.0f} Å",
                expected=f"{wanted:.0f} Å within {session.limits.defocus_A:g} Å",
                remedy="Take pixel_size_A and optics from the micrograph.",
            )


def no_rings_refused(session: Session) -> None:
    """Who judges fits accepts one with rings and no other."""
    good = session.nominal().result
    if good.confidence_frac is None and good.accepted:
        raise NotAsked("it does not judge its fits: confidence_frac is None")
    if not good.accepted:
        fail(f"clear rings are not accepted: {good.verdict}", expected="accepted = True")
    try:
        fit = session.call("noise", inputs=session.suited("noise"))
    except CryoframeError:
        return
    if fit.accepted:
        fail(
            f"white noise is accepted, with a confidence of {fit.confidence_frac}",
            expected="accepted = False and a verdict that says why, or an error",
        )
    if not fit.verdict:
        fail("white noise is not accepted, without a word", remedy="Say why in verdict.")


def _near_to(session: Session, fit: CtfFit, truth: CtfFit, *, times: float) -> None:
    limits = session.limits
    for name in ("defocus_u_A", "defocus_v_A"):
        found, wanted = getattr(fit, name), getattr(truth, name)
        if abs(found - wanted) > times * limits.defocus_A:
            fail(
                f"{name} = {found:.0f} Å where it is {wanted:.0f} Å",
                expected=f"within {times * limits.defocus_A:g} Å, also {truth.micrograph_id} focus",
            )
    off = testcard.axis_distance_deg(fit.defocus_angle_deg, truth.defocus_angle_deg)
    if off > 2.0 * times * limits.astigmatism_deg:
        fail(
            f"the axis of astigmatism is at {fit.defocus_angle_deg:.0f}°, not {truth.defocus_angle_deg:.0f}°",
            expected=f"within {2.0 * times * limits.astigmatism_deg:g}°",
        )


def _wavelength_A(voltage_kV: float) -> Any:
    """De Broglie wavelength of an electron, relativistic."""
    volts = 1e3 * voltage_kV
    return 12.2643 / (volts * (1.0 + 0.978476e-6 * volts)) ** 0.5


CHECKS = (
    Check(defocus_range, hooks=HOOK, variant="near"),
    Check(phase_shift_found, hooks=HOOK, variant="phase_plate"),
    Check(microscope_counts, hooks=HOOK),
    Check(no_rings_refused, hooks=HOOK, variant="noise"),
)
