"""Checks of conventions on the test card: axes, origin, sign, hand, contrast; how good a result is stands in truth."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cryoframe.data.frames import Convention
from cryoframe.errors import InvalidInput
from cryoframe.testing import anatomy, phantoms, testcard
from cryoframe.testing.checks.promise import Check, fail
from cryoframe.testing.sessions import Session

Reals = npt.NDArray[np.float64]
IMAGES = ("correct_motion", "denoise_micrograph", "extract_particles")
MAPS = ("make_initial_volume", "refine_3d", "classify_3d", "make_mask", "postprocess")
PIXEL_A = phantoms.PIXEL_A


def orientation(session: Session) -> None:
    """Nothing is turned, flipped or transposed: the test card comes back as it went in."""
    found = _symmetry(session)
    if found != "identity":
        fail(
            f"its result is turned by '{found}'",
            expected="the axes of the input: x along the fast axis, y along rows, row 0 first",
            remedy="See `cryoframe conventions`; a plugin may declare a CONVENTION of its own.",
        )


def _symmetry(session: Session) -> str:
    try:
        if session.hook == "estimate_ctf":
            truth, fit = phantoms.ICE_CTF, session.nominal().result
            axis = fit.defocus_angle_deg + (90.0 if fit.defocus_u_A < fit.defocus_v_A else 0.0)
            return testcard.identify_angle_symmetry(truth.defocus_angle_deg, axis)
        if session.hook == "pick_particles":
            return _symmetry_of_picks(session)
        if session.hook in MAPS:
            name, reversed_sections = testcard.identify_map_symmetry(phantoms.molecule().data, _map(session))
            return f"{name}, sections reversed" if reversed_sections else name
        return testcard.identify_image_symmetry(*_card_and_image(session))
    except InvalidInput as error:
        return fail(f"its result cannot be recognised: {error}")


def _symmetry_of_picks(session: Session) -> str:
    truth_px = _truth(session, "card").centres_A / PIXEL_A
    found_px = _positions(session.house_result("card")) / PIXEL_A
    return testcard.identify_picks_symmetry(truth_px, found_px, phantoms.FIELD_PX, within_px=8.0)


def _card_and_image(session: Session) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """What went in and what came out, for stages that return images."""
    if session.hook == "correct_motion":
        return _truth(session, "nominal").still, session.nominal().result.micrograph.data
    if session.hook == "denoise_micrograph":
        return _truth(session, "card"), session.house_result("card").data
    mean = np.asarray(session.house_result("card").images, dtype=np.float64).mean(axis=0)
    n, half = phantoms.BOX_PX // 2 + 1, phantoms.BOX_PX // 4
    middle = mean.shape[-1] // 2
    stamp = np.pad(testcard.card_image((n, n)), 4)
    inner = slice(middle - half - 4, middle - half - 4 + n + 8)
    # extracted particles are bright; contrast has a check of its own
    seen = mean[inner, inner]
    return stamp, seen if abs(seen.min() - np.median(seen)) < abs(seen.max() - np.median(seen)) else -seen


def hand(session: Session) -> None:
    """The map has the hand of the truth."""
    try:
        found = testcard.identify_map_hand(phantoms.molecule().data, _map(session))
    except InvalidInput as error:
        fail(f"its map cannot be recognised: {error}")
    if found != "right":
        fail("its map is the mirror image of the truth", remedy="Check the sign of one axis or of the Euler angles.")


def contrast(session: Session) -> None:
    """Particles and maps are bright, micrographs dark where the protein is, as they were recorded."""
    if session.hook in MAPS:
        with_truth = testcard.correlation(phantoms.molecule().data, _map(session))
    elif session.hook == "extract_particles":
        with_truth = _brightness(session)
    else:
        variant = "nominal" if session.hook == "correct_motion" else "card"
        before, after = _card_and_image(session)
        del variant
        with_truth = testcard.correlation(before, after)
    if with_truth < 0.0:
        fail("its contrast is inverted", expected="protein bright in particles and maps, dark in micrographs")


def _brightness(session: Session) -> float:
    """How much brighter the boxes' middle is than their border, for dark particles cut from a micrograph."""
    mean = np.asarray(session.house_result("card").images, dtype=np.float64).mean(axis=0)
    border = np.concatenate([mean[0], mean[-1], mean[:, 0], mean[:, -1]])
    quarter = mean.shape[-1] // 4
    return float(mean[quarter:-quarter, quarter:-quarter].mean() - border.mean())


def positions_unbiased(session: Session) -> None:
    """Positions have the house's origin: the centre of the first pixel, not its corner, for picks and boxes alike."""
    if session.hook == "pick_particles":
        truth, found = _truth(session, "card").centres_A, _positions(session.house_result("card"))
        distance = np.linalg.norm(found[:, None] - truth[None], axis=-1)
        near = distance.min(axis=1) < 5.0 * PIXEL_A if len(truth) and len(found) else np.zeros(0, dtype=bool)
        if not near.any():
            return  # orientation and recall say so
        offset_px = np.median((found - truth[distance.argmin(axis=1)])[near], axis=0) / PIXEL_A
    else:
        offset_px = _box_offset_px(session)
    if np.abs(offset_px).max() > session.limits.position_px:
        fail(
            f"positions are off by ({offset_px[0]:.2f}, {offset_px[1]:.2f}) px",
            expected=f"less than {session.limits.position_px:g} px: zero is the centre of the first pixel, and a box is"
            " centred on n//2",
            remedy='A program that counts from the pixel\'s corner declares CONVENTION = Convention(origin="corner").',
        )


def _box_offset_px(session: Session) -> Reals:
    """Where the test card came to lie in the boxes, by cross-correlation with where it should be; (x, y) in pixels."""
    mean = np.asarray(session.house_result("card").images, dtype=np.float64).mean(axis=0)
    n, box = phantoms.BOX_PX // 2 + 1, mean.shape[-1]
    wanted = np.zeros_like(mean)
    start = box // 2 - n // 2
    wanted[start : start + n, start : start + n] = testcard.card_image((n, n))
    surface = np.fft.irfft2(np.fft.rfft2(mean - mean.mean()) * np.fft.rfft2(wanted - wanted.mean()).conj(), mean.shape)
    y, x = np.unravel_index(int(np.abs(surface).argmax()), surface.shape)
    return np.array([_wrapped(_vertex(surface[y], int(x)), box), _wrapped(_vertex(surface[:, x], int(y)), box)])


def _vertex(line: Reals, at: int) -> float:
    """Top of the parabola through a periodic line's value at `at` and its neighbours."""
    left, top, right = np.abs(line[at - 1]), np.abs(line[at]), np.abs(line[(at + 1) % len(line)])
    bend = left - 2.0 * top + right
    return at + (0.5 * float((left - right) / bend) if bend else 0.0)


def _wrapped(value: float, n: int) -> float:
    return value - n if value > n / 2 else value


def defocus_sign_and_order(session: Session) -> None:
    """Underfocus is positive, and `defocus_u_A` is the larger one."""
    fit = session.nominal().result
    if min(fit.defocus_u_A, fit.defocus_v_A) <= 0:
        fail(f"defocus is {fit.defocus_u_A:.0f}, {fit.defocus_v_A:.0f} Å", expected="positive for underfocus")
    if fit.defocus_u_A < fit.defocus_v_A:
        fail(
            f"defocus_u_A = {fit.defocus_u_A:.0f} < defocus_v_A = {fit.defocus_v_A:.0f}",
            expected="u the larger, and defocus_angle_deg its direction",
        )


def shift_sign(session: Session) -> None:
    """Shifts are the translation applied to the image, not the way the specimen went."""
    if session.hook == "correct_motion":
        found, truth = frame_shifts_A(session), -_truth(session, "nominal").drift_A
        found, truth = found - found[0], truth - truth[0]
    else:
        found, truth = _pose_shifts(session), _truth(session, "nominal").shifts_A
    along = float(np.sum(found * truth))
    if along < 0 and abs(along) > 0.2 * float(np.linalg.norm(found) * np.linalg.norm(truth)):
        fail(
            "its shifts have the opposite sign", expected="the translation that, applied to the image, undoes the shift"
        )


def frame_shifts_A(session: Session) -> Reals:
    """Return the whole-frame shifts `(n, 2)` (x, y) of the nominal motion result, in frame order."""
    return shifts_of_frames_A(session.nominal().result)


def shifts_of_frames_A(result: Any) -> Reals:
    """Return the whole-frame shifts `(n, 2)` (x, y) of a motion result, in frame order."""
    table = result.motion
    whole = np.isnan(table.floats("patch_x_A"))
    order = np.argsort(table.column("frame")[whole], kind="stable")
    return np.stack([table.floats(f"shift_{axis}_A")[whole][order] for axis in "xy"], axis=-1)


def _pose_shifts(session: Session) -> Reals:
    table = anatomy.particles_of(session.house_result())
    given = _truth(session, "nominal").stack.particles
    if table is None:
        return fail("its result has no particles")
    place = {item: row for row, item in enumerate(table.column("particle_id").tolist())}
    rows = [place[item] for item in given.column("particle_id").tolist()]
    return np.stack([table.floats(f"shift_{axis}_A")[rows] for axis in "xy"], axis=-1)


def convention_honoured(session: Session) -> None:
    """A declared convention is one the house can convert, and the result comes back in it."""
    declared = session.plugin.convention
    if declared == Convention():
        return
    table = anatomy.particles_of(session.nominal().result)
    own = {f"x_{declared.position_unit}", f"shift_x_{declared.shift_unit}", f"defocus_u_{declared.defocus_unit}"}
    if table is not None and not own & set(table.names):
        fail(
            f"it declares {declared} and returns columns {', '.join(table.names)}",
            expected=f"some of {', '.join(sorted(own))}",
            remedy="Return the columns of the declared convention, or declare none.",
        )


def _truth(session: Session, variant: str) -> Any:
    case = session.case(variant)
    return case.truth if case else None


def _positions(table: Any) -> Reals:
    return np.stack([table.floats("x_A"), table.floats("y_A")], axis=-1)


def _map(session: Session) -> npt.NDArray[np.float32]:
    """Return the map in a result, sampled as the truth is."""
    result: Any = session.nominal().result
    for name in ("volume", "volumes"):
        result = getattr(result, name, result)
    result = result[0] if isinstance(result, tuple) else result
    data: npt.NDArray[np.float32] = result.data
    if data.shape != (phantoms.BOX_PX,) * 3:
        fail(f"its map is {data.shape}", expected=f"the box of the input, {phantoms.BOX_PX} px")
    return data


CHECKS = (
    Check(orientation, hooks=("estimate_ctf", "pick_particles", *IMAGES, *MAPS), variant="nominal"),
    Check(hand, hooks=MAPS),
    Check(contrast, hooks=(*IMAGES, *MAPS)),
    Check(positions_unbiased, hooks=("pick_particles", "extract_particles"), variant="card"),
    Check(defocus_sign_and_order, hooks=("estimate_ctf",)),
    Check(shift_sign, hooks=("correct_motion", "refine_3d")),
    Check(convention_honoured),
)
