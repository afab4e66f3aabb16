"""Physics checks of motion correctors: sharpness, counts, gain, exposure weights, damaged frames. Drift is in truth."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from cryoframe.data.images import CorrectedMicrograph, Micrograph
from cryoframe.errors import ConformanceError, CryoframeError
from cryoframe.numerics import fourier
from cryoframe.testing import experiments, phantoms
from cryoframe.testing.checks.orientation import shifts_of_frames_A
from cryoframe.testing.checks.promise import Check, NotAsked, fail
from cryoframe.testing.phantoms import PIXEL_A, Reals
from cryoframe.testing.sessions import Session

Image = npt.NDArray[Any]
Transform = npt.NDArray[np.complex128]
HOOK: Final = ("correct_motion",)
#: Spacings [Å] whose agreement with the specimen is looked at: four to two and a quarter pixels.
FINE_A: Final = (16.0, 9.0)
_FINER: Final = 4
#: Bands of frequency in which the weights of the frames are measured [1/Å].
WEIGHED_1_A: Final = ((0.045, 0.06), (0.06, 0.07), (0.07, 0.08))
#: Measured decay with dose over the one expected; the noise of the phantom leaves it uncertain by 5 to 10 %.
DECAY_FRAC: Final = (0.7, 1.4)


def sum_sharper(session: Session) -> None:
    """The sum has the specimen's fine detail, which a sum of frames as they come has lost."""
    shown, result = _case(session, "detail").truth, _of(session, "detail")
    plain = shown.frames.sum(axis=0)
    aligned = fourier.shift_images(shown.frames, -shown.places_px).sum(axis=0)
    lost, best, found = (likeness(image, shown.still) for image in (plain, aligned, _whole(session, result).data))
    if found < lost + 0.9 * (best - lost):
        fail(
            f"at {FINE_A[0]:g} to {FINE_A[1]:g} Å its sum is like the specimen by {found:.2f}",
            expected=f"near {best:.2f}, as of frames moved back by the true drift; unmoved they have {lost:.2f}",
            remedy="Sum the frames moved by the shifts that were found.",
        )


def sum_follows_shifts(session: Session) -> None:
    """Frames moved by the shifts it reports give the sum it returns: the table's origin is the micrograph's."""
    shown, result = _case(session, "detail").truth, _of(session, "detail")
    shifts = shifts_of_frames_A(result)
    if shifts.shape != shown.places_px.shape:
        fail(f"shifts of {len(shifts)} frames", expected=f"{len(shown.places_px)}, one row each with patch_x_A = NaN")
    moved = fourier.shift_images(shown.frames, shifts / PIXEL_A).sum(axis=0)
    off_px = displacement_px(_whole(session, result).data, moved)
    if np.hypot(*off_px) > session.limits.motion_px:
        fail(
            f"its sum lies ({off_px[0]:.2f}, {off_px[1]:.2f}) px beside the frames moved by its shifts",
            expected=f"less than {session.limits.motion_px:g} px: what is found on the sum is traced back by them",
            remedy="Report the shifts that were applied, from the same origin.",
        )


def counts_kept(session: Session) -> None:
    """Nothing is lost of the counts: the unweighted sum holds the frames' total."""
    shown, result = _case(session, "detail").truth, _of(session, "detail")
    found, total = float(_whole(session, result).data.mean()), float(shown.frames.sum(axis=0).mean())
    if abs(found / total - 1.0) > 0.01:
        fail(
            f"a pixel of its sum holds {found:.4g} on average, the frames together {total:.4g}",
            expected="the same within 1 %: a sum of the frames, not their mean",
        )


def gain_applied_once(session: Session) -> None:
    """Frames are multiplied by the gain reference, once."""
    shown = _case(session, "gain").truth
    inputs = session.inputs("gain")
    result = session.call("gain", inputs={**inputs, "movie": replace(inputs["movie"], gain=shown.gain)})
    image = np.asarray(_whole(session, result).data, dtype=np.float64)
    left = (image / image.mean() / (shown.still / shown.still.mean()) - 1.0)[8:-8, 8:-8]
    pattern = shown.gain.data[8:-8, 8:-8].astype(np.float64) - 1.0
    power = float(np.sum(pattern * left) / np.sum(pattern**2))
    if abs(power) > 0.15:
        words = "not applied" if power < 0 else "applied more than once"
        fail(f"the gain is {words}: the camera's pattern is left in the sum with a share of {power:+.2f}", expected="0")
    if float(left.std()) > 0.7 * experiments.GAIN_SD:
        fail(
            f"pixels of its sum are off by {100 * left.std():.0f} %",
            expected=f"about {100 * experiments.NOISE / experiments.GREY / experiments.N_FRAMES**0.5:.0f} %, the noise",
            remedy="Lay the gain reference on the frames as it comes, and multiply by it.",
        )


def dose_weights(session: Session) -> None:
    """A sum that says it is dose-weighted weighs frames by their exposure, one that does not weighs them alike."""
    shown, result = _case(session, "dose").truth, _of(session, "dose")
    if not isinstance(result.micrograph, Micrograph) or result.micrograph.data.shape != shown.still.shape:
        raise NotAsked("its sum has not the shape of the frames")
    # What a frame alone has is its noise: how much of that is in the sum is its weight.
    own = shown.frames - shown.still
    weights = frame_weights(result.micrograph.data, own, shifts_of_frames_A(result))
    after = experiments.DOSE_E_A2 * np.arange(len(own))
    for (low, high), weight in zip(WEIGHED_1_A, weights, strict=True):
        critical = critical_exposure_e_A2(0.5 * (low + high))
        decay = decay_with(after, weight) * 2.0 * critical
        where = f"at {1.0 / high:.0f} to {1.0 / low:.0f} Å"
        if not result.micrograph.dose_weighted and abs(decay) > 0.3:
            fail(f"{where} later frames weigh less, and it does not say so", remedy="Set dose_weighted = True.")
        if result.micrograph.dose_weighted and not DECAY_FRAC[0] < decay < DECAY_FRAC[1]:
            fail(
                f"{where} its weights fall by {decay:.2f} of what the exposure takes of the signal",
                expected=f"exp(−N/2N_e) with N_e = {critical:.0f} e/Å² there (Grant & Grigorieff 2015), or"
                " dose_weighted = False",
                remedy="Weigh by the exposure up to each frame, in e/Å² and not a pixel.",
            )


def bad_frame(session: Session) -> None:
    """One black frame, or one of no numbers, is refused in words or does not spoil the others."""
    for variant in ("blank", "damaged"):
        shown = _case(session, variant).truth
        try:
            result = _of(session, variant)
        except ConformanceError:
            raise
        except CryoframeError as error:
            if not (error.expected or error.remedy):
                fail(f"it refuses with '{error}' alone", remedy="Say which frame, and what was expected.")
            continue
        image = np.asarray(result.micrograph.data)
        if not np.isfinite(image).all():
            fail(f"a {variant} frame leaves {int((~np.isfinite(image)).sum())} pixels that are not finite")
        kept = np.arange(len(shown.frames)) != experiments.BLANK_FRAME
        off = (shifts_of_frames_A(result) / PIXEL_A + shown.places_px)[kept]
        rms_px = float(np.sqrt(np.mean(np.sum((off - off.mean(axis=0)) ** 2, axis=1))))
        if rms_px > session.limits.motion_px:
            fail(
                f"beside a {variant} frame the others are off by {rms_px:.2f} px",
                expected=f"less than {session.limits.motion_px:g} px, or a refusal that names the frame",
            )


def critical_exposure_e_A2(frequency_1_A: float) -> float:
    """Exposure after which the power of the signal has fallen to 1/e at 300 kV: Grant & Grigorieff, eLife 4, e06980."""
    return float(0.245 * frequency_1_A**-1.665 + 2.81)


def frame_weights(image: Image, own: Image, shifts_A: Reals) -> Reals:
    """How much of what frames `(n, ny, nx)` alone have is in an image, by band `(b, n)`."""
    ky, kx = np.fft.fftfreq(image.shape[0], PIXEL_A)[:, None], np.fft.rfftfreq(image.shape[1], PIXEL_A)
    k = np.hypot(ky, kx)
    total = np.fft.rfft2(np.asarray(image, dtype=np.float64))
    weights = np.empty((len(WEIGHED_1_A), len(own)))
    for frame, (noise, (x_A, y_A)) in enumerate(zip(own, shifts_A, strict=True)):
        moved = np.fft.rfft2(noise) * np.exp(-2j * np.pi * (kx * x_A + ky * y_A))
        for band, (low, high) in enumerate(WEIGHED_1_A):
            inside = (k >= low) & (k < high)
            weights[band, frame] = np.vdot(moved[inside], total[inside]).real / np.sum(np.abs(moved[inside]) ** 2)
    return weights


def decay_with(dose_e_A2: Image, weight: Reals) -> float:
    """Rate d [Å²/e] at which weights fall as exp(−d·N), by least squares of their logarithms."""
    logarithm = np.log(np.maximum(weight, 1e-3 * np.abs(weight).max()))
    away = dose_e_A2 - dose_e_A2.mean()
    return float(-np.sum(away * logarithm) / np.sum(away**2))


def likeness(image: Image, still: Image) -> float:
    """Correlation of an image with the specimen over fine detail, wherever it came to lie."""
    a, b = _fine(image), _fine(still)
    peak = _surface(a, b).max()
    scale = np.sqrt(np.sum(_twice(np.abs(a) ** 2)) * np.sum(_twice(np.abs(b) ** 2)))
    return float(peak / scale)


def displacement_px(image: Image, other: Image) -> tuple[float, float]:
    """How far (x, y) an image lies beside another, to a quarter of a pixel."""
    surface = _surface(_fine(image), _fine(other))
    y, x = np.unravel_index(int(surface.argmax()), surface.shape)
    ny, nx = surface.shape
    return ((x + nx // 2) % nx - nx // 2) / _FINER, ((y + ny // 2) % ny - ny // 2) / _FINER


def _fine(image: Image) -> Transform:
    """Transform of the fine detail of an image, zero elsewhere."""
    ny, nx = image.shape
    k = np.hypot(np.fft.fftfreq(ny, PIXEL_A)[:, None], np.fft.rfftfreq(nx, PIXEL_A))
    made = np.fft.rfft2(np.asarray(image, dtype=np.float64))
    kept: Transform = np.where((k > 1.0 / FINE_A[0]) & (k < 1.0 / FINE_A[1]), made, 0.0)
    return kept


def _twice(half: Reals) -> Reals:
    """Samples of the half transform, weighed by how often they are in the whole."""
    both = 2.0 * half
    both[:, 0] = half[:, 0]
    return both


def _surface(a: Transform, b: Transform) -> Reals:
    """Cross-correlation on a grid four times as fine, in units of the sum over the whole transform."""
    ny, half = a.shape
    nx = 2 * (half - 1)
    product = a * b.conj()
    wide = np.zeros((_FINER * ny, _FINER * nx // 2 + 1), dtype=np.complex128)
    wide[: ny // 2, :half], wide[-(ny // 2) :, :half] = product[: ny // 2], product[-(ny // 2) :]
    surface: Reals = np.fft.irfft2(wide, (_FINER * ny, _FINER * nx)) * (_FINER * ny * _FINER * nx)
    return surface


def _whole(session: Session, result: CorrectedMicrograph) -> Micrograph:
    """The sum without weights, of the frames' shape."""
    found = result.micrograph if result.unweighted is None else result.unweighted
    if found.dose_weighted:
        raise NotAsked("it gives no sum without dose weighting")
    if found.data.shape != phantoms.FIELD_PX:
        fail(f"its sum is {found.data.shape}", expected=f"{phantoms.FIELD_PX}, the shape of the frames")
    return found


def _of(session: Session, variant: str) -> Any:
    """What the plugin made of a variant, made once."""
    return session.remember(f"result of {variant}", lambda: session.call(variant, inputs=session.suited(variant)))


def _case(session: Session, variant: str) -> Any:
    case = session.case(variant)
    assert case is not None
    return case


CHECKS = (
    Check(sum_sharper, hooks=HOOK, variant="detail"),
    Check(sum_follows_shifts, hooks=HOOK, variant="detail"),
    Check(counts_kept, hooks=HOOK, variant="detail"),
    Check(gain_applied_once, hooks=HOOK, variant="gain"),
    Check(dose_weights, hooks=HOOK, variant="dose"),
    Check(bad_frame, hooks=HOOK, variant="blank"),
)
