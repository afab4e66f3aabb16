"""Checks of a result against the phantom's truth, and of silence where there is nothing; conventions come before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from cryoframe.data.images import CtfFit
from cryoframe.errors import CryoframeError, InvalidInput
from cryoframe.numerics import fsc, rotations
from cryoframe.testing import anatomy, phantoms, testcard
from cryoframe.testing.checks.orientation import frame_shifts_A
from cryoframe.testing.checks.promise import Check, fail
from cryoframe.testing.sessions import Session

PIXEL_A = phantoms.PIXEL_A


def known_answer(session: Session) -> None:
    """On a phantom of known truth the result is near it."""
    _ANSWERS[session.hook](session)


def null_noise(session: Session) -> None:
    """From pure noise it finds nothing."""
    _SILENCES[session.hook](session)


def _exposed(session: Session) -> None:
    """Frames come back when read again, and show the particles where, how and as the truth says."""
    made = session.nominal().result
    source, table = made.movie.source, made.truth.particles
    if source is None:
        fail("its movie has no source", remedy="Movie(…, source=…): a FrameSource that makes frames as they are read.")
    if not np.array_equal(source.read_frame(0), source.read_frame(0)):
        fail("frame 0 is another when read again", remedy="Name the generator of each frame by seed and index.")
    total = np.sum([np.asarray(frame, dtype=np.float64) for frame in made.movie.frames()], axis=0)
    half, pixel_A = phantoms.BOX_PX // 2, made.movie.pixel_size_A
    place = np.stack([table.floats("y_A"), table.floats("x_A")], axis=1) / pixel_A
    whole = np.round(place).astype(int)
    rows = np.flatnonzero(np.all((whole >= half) & (whole <= np.array(total.shape) - half), axis=1))
    if len(rows) < 5:
        fail(f"{len(rows)} particles lie well inside the field", expected="about 15 by concentration and volume")
    views = np.stack([table.floats(name)[rows] for name in ("rot_deg", "tilt_deg", "psi_deg")], axis=1)
    fits = [
        CtfFit(
            "",
            defocus_u_A=float(table.floats("defocus_u_A")[row]),
            defocus_v_A=float(table.floats("defocus_v_A")[row]),
            defocus_angle_deg=float(table.floats("defocus_angle_deg")[row]),
        )
        for row in rows
    ]
    scores = []
    for row, view, fit in zip(rows, views, fits, strict=True):
        off_A = (whole[row] - place[row])[::-1][None] * pixel_A
        (clean,) = phantoms.projections(_truth(session).volume, view[None], shifts_A=off_A, fit=fit)
        y, x = whole[row]
        scores.append(testcard.correlation(clean, -total[y - half : y + half, x - half : x + half]))
    # In a box the shot noise is six times the molecule: 0.16; of other poses it is 0.02 ± 0.01.
    if np.median(scores) < 0.1:
        fail(
            f"particles correlate with their projections by {np.median(scores):.2f}",
            expected="more than 0.1, protein dark, by the positions, poses and CTF of the truth",
        )


def _motion(session: Session) -> None:
    truth = -_truth(session).drift_A
    found = frame_shifts_A(session)
    if found.shape != truth.shape:
        fail(f"shifts of {len(found)} frames", expected=f"{len(truth)}, one row a frame with patch_x_A = NaN")
    residual = (found - found.mean(axis=0)) - (truth - truth.mean(axis=0))
    rms_px = float(np.sqrt(np.mean(np.sum(residual**2, axis=1)))) / PIXEL_A
    if rms_px > session.limits.motion_px:
        fail(f"residual motion of {rms_px:.2f} px", expected=f"less than {session.limits.motion_px:g} px")


def _ctf(session: Session) -> None:
    fit, truth = session.nominal().result, phantoms.ICE_CTF
    limits = session.limits
    for name in ("defocus_u_A", "defocus_v_A"):
        if abs(getattr(fit, name) - getattr(truth, name)) > limits.defocus_A:
            fail(
                f"{name} = {getattr(fit, name):.0f} Å where it is {getattr(truth, name):.0f} Å",
                expected=f"within {limits.defocus_A:g} Å",
            )
    off = testcard.axis_distance_deg(fit.defocus_angle_deg, truth.defocus_angle_deg)
    if off > limits.astigmatism_deg:
        fail(f"the axis of astigmatism is {off:.0f}° off", expected=f"less than {limits.astigmatism_deg:g}°")


def _ctf_of_noise(session: Session) -> None:
    try:
        fit = session.call("noise", inputs=session.suited("noise"))
    except CryoframeError:
        return
    good = session.nominal().result
    if fit.score > 0.5 * good.score and good.score > 0:
        fail(f"white noise scores {fit.score:.2f}, a real fit {good.score:.2f}", expected="less than half")


def _picks(session: Session) -> None:
    truth = _truth(session).centres_A / PIXEL_A
    table = session.house_result()
    found = np.stack([table.floats("x_A"), table.floats("y_A")], axis=-1) / PIXEL_A
    within_px, n = phantoms.BOX_PX / 4, len(truth)
    hits = int(testcard.matched(truth, found, within_px).sum())
    if hits < session.limits.recall_frac * n:
        fail(f"{hits} of {n} particles found", expected=f"at least {100 * session.limits.recall_frac:g} %")
    false = len(found) - int(testcard.matched(found, truth, within_px).sum())
    if false > session.limits.false_frac * n:
        fail(f"{false} picks where nothing is", expected=f"at most {session.limits.false_frac * n:.0f}")


def _picks_of_noise(session: Session) -> None:
    allowed = 0.15 * len(_truth(session).centres_A)
    found = session.call("noise", inputs=session.suited("noise"))
    if len(found) > allowed:
        fail(f"{len(found)} picks in pure noise", expected=f"at most {allowed:.0f}")


def _boxes(session: Session) -> None:
    """Boxes agree with the projections they were made from."""
    truth, result = _truth(session), session.house_result()
    by_place = {item: row for row, item in enumerate(truth.table().column("particle_id").tolist())}
    rows = [by_place[item] for item in result.particles.column("particle_id").tolist()]
    centres = truth.centres_A[rows]
    off = np.round(centres / PIXEL_A) * PIXEL_A - centres
    table = result.particles
    if table.has("pose") or "shift_x_A" in table.names:
        off = np.stack([table.floats("shift_x_A"), table.floats("shift_y_A")], axis=-1)
    clean = phantoms.projections(phantoms.molecule(), truth.euler_deg[rows], shifts_A=off, fit=phantoms.CTF)
    scores = [testcard.correlation(image, seen) for image, seen in zip(clean, result.images, strict=True)]
    if np.median(scores) < 0.15:  # signal over noise is 0.1 in a box; of unrelated images it is 0 ± 0.03
        fail(f"boxes correlate with their particles by {np.median(scores):.2f}", expected="more than 0.15")
    for name in ("defocus_u_A", "defocus_v_A", "defocus_angle_deg"):
        if name not in table.names or not np.allclose(table.floats(name), getattr(phantoms.CTF, name), rtol=1e-3):
            fail(f"particles do not carry the micrograph's {name}", remedy="Write the CTF group into the table.")


def _classes(session: Session) -> None:
    """Two views, two classes: nearly every particle is with its like."""
    pure = with_their_like(session, session.house_result())
    if pure < 0.85:
        fail(f"{100 * pure:.0f} % of particles are with their like", expected="at least 85 %")


def with_their_like(session: Session, result: Any) -> float:
    """Share of a classification's particles that show what most of their class show."""
    table = result.particles
    truth = _truth(session)
    ids = truth.stack.particles.column("particle_id").tolist()
    view = dict(zip(ids, (truth.euler_deg[:, 1] > 45.0).tolist(), strict=True))
    labels = table.column("class_id")
    mine = np.array([view[item] for item in table.column("particle_id").tolist()])
    pure = sum(max(int(mine[labels == k].sum()), int((~mine[labels == k]).sum())) for k in np.unique(labels))
    return pure / max(len(mine), 1)


def _initial(session: Session) -> None:
    result, stack = session.nominal().result, _truth(session).stack
    if result.data.shape[0] != stack.images.shape[-1] or abs(result.pixel_size_A - stack.pixel_size_A) > 1e-4:
        fail(
            f"its map has {result.data.shape[0]} px of {result.pixel_size_A:g} Å",
            expected=f"the stack's, {stack.images.shape[-1]} px of {stack.pixel_size_A:g} Å",
        )


def _refined(session: Session) -> None:
    truth, result, limits = _truth(session), session.house_result(), session.limits
    curve = fsc.fsc_curve(truth.volume.data, np.asarray(result.volume.data), pixel_size_A=PIXEL_A)
    reached_px = fsc.resolution_at(curve.frequency_1_A, curve.fsc, 0.5).resolution_A / PIXEL_A
    if reached_px > limits.fsc_resolution_px:
        fail(f"FSC with the truth falls to 0.5 at {reached_px:.1f} px", expected=f"{limits.fsc_resolution_px:g} px")
    table = result.particles
    place = {item: row for row, item in enumerate(table.column("particle_id").tolist())}
    rows = [place[item] for item in truth.stack.particles.column("particle_id").tolist()]
    found = rotations.euler_to_matrix(*(table.floats(name)[rows] for name in ("rot_deg", "tilt_deg", "psi_deg")))
    off = rotations.angular_distance_deg(found, rotations.euler_to_matrix(*truth.euler_deg.T))
    if np.median(off) > limits.pose_deg:
        fail(f"median pose error of {np.median(off):.1f}°", expected=f"less than {limits.pose_deg:g}°")
    shifts = np.stack([table.floats("shift_x_A")[rows], table.floats("shift_y_A")[rows]], axis=-1)
    wrong_px = float(np.median(np.linalg.norm(shifts - truth.shifts_A, axis=-1))) / PIXEL_A
    if wrong_px > limits.shift_px:
        fail(f"median shift error of {wrong_px:.2f} px", expected=f"less than {limits.shift_px:g} px")


def _refined_noise(session: Session) -> None:
    """Half-maps of noise agree no further than the common reference binds them: no structure from nothing."""
    try:
        result = session.call("noise", inputs=session.suited("noise"))
    except CryoframeError:
        return
    first, second = (np.asarray(half.data) for half in (result.half_maps.first, result.half_maps.second))
    curve = fsc.fsc_curve(first, second, pixel_size_A=PIXEL_A)
    fine = np.asarray(curve.frequency_1_A) > 1.0 / 14.0  # finer than any sensible starting low-pass
    mean = float(np.nanmean(np.asarray(curve.fsc)[fine]))
    if mean > 0.2:
        fail(f"half-maps of noise agree: mean FSC {mean:.2f} beyond 14 Å", expected="about 0: the halves never meet")


def _masked(session: Session) -> None:
    truth, data = _truth(session), np.asarray(session.nominal().result.data)
    if data.min() < 0.0 or data.max() > 1.0:
        fail(f"mask values from {data.min():.2f} to {data.max():.2f}", expected="0 to 1")
    inside = float(np.sum(truth.data * data) / np.sum(truth.data))
    if inside < 0.9:
        fail(f"the mask holds {100 * inside:.0f} % of the density", expected="at least 90 %")
    if data.mean() > 0.6:
        fail(f"the mask fills {100 * data.mean():.0f} % of the box", expected="the molecule and a soft edge")


def _sharpened(session: Session) -> None:
    result, truth = session.nominal().result, _truth(session)
    halves = session.inputs()["half_maps"]
    curve = fsc.fsc_curve(np.asarray(halves.first.data), np.asarray(halves.second.data), pixel_size_A=PIXEL_A)
    told, plain = _resolution_A(result.fsc), fsc.resolution_at(curve.frequency_1_A, curve.fsc, 0.143).resolution_A
    if not 0.6 * plain < told < 1.3 * plain:
        fail(f"its FSC falls to 0.143 at {told:.1f} Å", expected=f"near {plain:.1f} Å, where the unmasked one falls")
    if testcard.correlation(truth.data, np.asarray(result.volume.data)) < 0.5:
        fail("the sharpened map does not resemble the truth", expected="a correlation above 0.5")


def _resolution_A(table: Any) -> float:
    corrected = table.floats("fsc_corrected")
    return float(table.resolution_A(0.143, curve="fsc_unmasked" if np.isnan(corrected).all() else "fsc_corrected"))


def _sharpened_noise(session: Session) -> None:
    try:
        result = session.call("noise", inputs=session.suited("noise"))
    except CryoframeError:
        return
    fsc_values = result.fsc.floats("fsc_unmasked")
    if float(np.nanmean(fsc_values[2:])) > 0.2:
        fail("independent noise gets an FSC above zero", expected="about 0 at every frequency")
    corrected = result.fsc.floats("fsc_corrected")[4:]
    if corrected.size and float(np.nanmean(np.nan_to_num(corrected))) > 0.2:
        fail("its mask correction leaves an FSC above zero for noise", expected="about 0 at every frequency")


def _local(session: Session) -> None:
    data = np.asarray(session.nominal().result.data)
    inside = data[phantoms.mask().data > 0.9]
    if inside.min() < 2 * PIXEL_A * 0.99:
        fail(f"local resolution of {inside.min():.1f} Å", expected=f"no finer than Nyquist, {2 * PIXEL_A:g} Å")


def _selected(session: Session) -> None:
    table = session.nominal().result
    if not 0 < len(table) <= len(session.inputs()["classes"].particles):
        fail(f"{len(table)} particles selected", expected="some of those given")


def _denoised(session: Session) -> None:
    before, after = session.inputs()["micrograph"], session.nominal().result
    if after.data.shape != before.data.shape:
        fail(f"the image is {after.data.shape}", expected=f"{before.data.shape}")
    if _roughness(np.asarray(after.data)) >= _roughness(np.asarray(before.data)):
        fail("neighbouring pixels differ as much as before", expected="less noise")


def _cleaned(session: Session) -> None:
    """The stain of the phantom is marked, the rest is not."""
    stain, found = np.asarray(_truth(session)), session.nominal().result
    y, x = np.indices(stain.shape)
    row, column = (np.minimum((at * PIXEL_A / found.tile_A).astype(int), n - 1) for at, n in
                   zip((y, x), found.usable.shape, strict=True))  # fmt: skip
    usable = np.asarray(found.usable)[row, column]
    if usable[stain].mean() > 0.2:
        fail(f"{100 * usable[stain].mean():.0f} % of a dark stain is usable", expected="at most 20 %")
    if usable[~stain].mean() < 0.6:
        fail(f"{100 * usable[~stain].mean():.0f} % of clean ice is usable", expected="at least 60 %")


def _roughness(image: Any) -> float:
    return float(np.std(np.diff(image, axis=0)) / max(float(np.std(image)), 1e-9))


def _truth(session: Session) -> Any:
    case = session.case()
    if case is None:
        raise InvalidInput(f"{session.hook} has no phantom", expected="a hook with one: see testing.cases")
    return case.truth


def _no_rows_from_noise(session: Session) -> None:
    """A result from noise has a valid form; nothing more is promised."""
    from cryoframe.testing.checks.results import judge

    try:
        result = session.call("noise", inputs=session.suited("noise"))
    except CryoframeError:
        return
    judge(session, result, "noise")
    table = anatomy.particles_of(result)
    if table is not None and "pose_score" in table.names and float(np.median(table.floats("pose_score"))) > 1.0:
        fail("pose scores above 1", expected="probabilities")


_ANSWERS: Final[Mapping[str, Callable[[Session], None]]] = MappingProxyType(
    {
        "simulate_movies": _exposed,
        "correct_motion": _motion,
        "estimate_ctf": _ctf,
        "denoise_micrograph": _denoised,
        "clean_micrograph": _cleaned,
        "pick_particles": _picks,
        "extract_particles": _boxes,
        "classify_2d": _classes,
        "select_particles": _selected,
        "make_initial_volume": _initial,
        "refine_3d": _refined,
        "make_mask": _masked,
        "postprocess": _sharpened,
        "estimate_local_resolution": _local,
    }
)
_SILENCES: Final[Mapping[str, Callable[[Session], None]]] = MappingProxyType(
    {
        "estimate_ctf": _ctf_of_noise,
        "pick_particles": _picks_of_noise,
        "refine_3d": _refined_noise,
        "postprocess": _sharpened_noise,
        "classify_2d": _no_rows_from_noise,
        "correct_motion": _no_rows_from_noise,
    }
)
CHECKS = (
    Check(known_answer, hooks=tuple(_ANSWERS)),
    Check(null_noise, hooks=tuple(_SILENCES), variant="noise"),
)
