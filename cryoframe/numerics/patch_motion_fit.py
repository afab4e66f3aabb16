"""Newton's method for whole-frame and local motion together; patches and their likeness are in ``patch_motion``."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from cryoframe.numerics.backend import F32, Reals
from cryoframe.numerics.motion_prior import FieldPrior, path_covariance
from cryoframe.numerics.patch_motion import Fit, Likeness, Patches, Spectrum, faded, likeness, measured_spectrum

#: Degrees of freedom of the law that patches' disagreement with the field is taken to follow.
_NU = 4.0
_LONGEST_STEP_PX = 2.0
#: The search ends when nothing moves farther; sizes of motion need as many rounds to settle.
_SETTLED_PX = 0.01


@dataclass(frozen=True, slots=True)
class Expected:
    """What is expected of a movie's motion [px].

    Parameters
    ----------
    local_px
        First guess of the RMS local motion at the end of the exposure; the movie's own is found.
    drift_px
        RMS whole-frame motion at the end, beyond which it is held back.
    jitter_px
        First guess of the RMS deviation of a frame from a smooth path along each axis; the movie's own is found.
    """

    local_px: float
    drift_px: float
    jitter_px: float


@dataclass(frozen=True, slots=True)
class _Information:
    """Fisher information of one movie: `(p, 2, 2)` of patches, times `(f, f)` of frames."""

    patches: Reals
    frames: Reals


def _information(patches: Patches, alike: Likeness, spectrum: Spectrum, fade: F32, trust: Reals) -> _Information:
    """Information on shifts: 2·h ⊗ (diag(q)·Σq − q·qᵀ), q what is left of each frame's signal."""
    k = patches.k_px.astype(np.float64)
    bend = np.bincount(patches.index[2], (k**2).sum(axis=0), len(patches.count)) * spectrum.signal
    bend *= spectrum.weights(fade)
    squared = fade.astype(np.float64) ** 2
    q = squared @ bend / bend.sum() if bend.sum() > 0 else squared.mean(axis=1)
    frames = np.diag(q) * q.sum() - np.outer(q, q)
    h = alike.bends[:, [[0, 1], [1, 2]]] / max(float(np.trace(frames)), 1e-30)
    values, vectors = np.linalg.eigh(h)
    # A patch without signal has bends of either sign: it knows nothing, rather than less than nothing.
    h = (vectors * np.maximum(values, 0.0)[:, None, :]) @ vectors.transpose(0, 2, 1)
    return _Information(2.0 * patches.share * trust[:, None, None] * h, frames)


def _trust(alike: Likeness, info: _Information, patches: Patches) -> tuple[Reals, Reals]:
    """Weights `(p,)` of patches by how they disagree with the field, t-distributed, and what of that noise leaves over.

    The second is the ratio `(p,)` of mean squared residuals to those of noise, 1 at least.
    """
    n_frames, alone = len(info.frames), np.ones(len(info.patches))
    if len(info.patches) < 4 or n_frames < 2:
        return alone, alone
    slope = 2.0 * patches.share * alike.slopes
    inverse = np.linalg.pinv(info.frames, hermitian=True)
    disagreement = np.empty(len(slope))
    for p, (g, h) in enumerate(zip(slope, info.patches, strict=True)):
        disagreement[p] = np.einsum("fa,fg,gb,ab->", g, inverse, g, np.linalg.pinv(h, hermitian=True))
    disagreement /= 2.0 * (n_frames - 1)
    typical = float(np.median(disagreement))
    if not typical > 0.0:
        return alone, alone
    weight: Reals = np.minimum((_NU + 1.0) / (_NU + disagreement / typical), 1.0)
    return weight, np.maximum(disagreement, 1.0)


@dataclass(slots=True)
class _System:
    """Normal equations; unknowns are whole-frame shifts `(2, f)`, then modes `(2, i, j)`."""

    prior: FieldPrior
    whole_precision: Reals

    def sizes(self) -> tuple[int, int, int]:
        n_i, (n_f, n_j) = self.prior.space.shape[1], self.prior.time.shape
        return n_f, n_i, n_j

    def matrix(self, info: _Information, amplitude_px: float) -> Reals:
        n_f, n_i, n_j = self.sizes()
        space, time = self.prior.space, self.prior.time
        lap_time = info.frames @ time
        whole = np.einsum("pab,fg->afbg", info.patches, info.frames)
        cross = np.einsum("pab,pi,fj->afbij", info.patches, space, lap_time)
        local = np.einsum("pab,pi,pk,jl->aijbkl", info.patches, space, space, time.T @ lap_time, optimize=True)
        n_w, n_l = 2 * n_f, 2 * n_i * n_j
        full = np.empty((n_w + n_l, n_w + n_l))
        full[:n_w, :n_w] = whole.reshape(n_w, n_w) + np.kron(np.eye(2), self.whole_precision)
        full[:n_w, n_w:] = cross.reshape(n_w, n_l)
        full[n_w:, :n_w] = full[:n_w, n_w:].T
        full[n_w:, n_w:] = local.reshape(n_l, n_l) + np.eye(n_l) / amplitude_px**2
        return full

    def slope(self, g: Reals, whole: Reals, local: Reals, amplitude_px: float) -> Reals:
        """Slope of the logarithm of the posterior; `g` `(p, f, 2)`, `whole` `(f, 2)`, `local` `(2, i, j)`."""
        by_whole = g.sum(axis=0).T - (self.whole_precision @ whole).T
        by_local = np.einsum("pfa,pi,fj->aij", g, self.prior.space, self.prior.time) - local / amplitude_px**2
        return np.concatenate([by_whole.ravel(), by_local.ravel()])


def _inverse(matrix: Reals) -> Reals:
    return np.asarray(np.linalg.inv(matrix), dtype=np.float64)


def _shifts(prior: FieldPrior, whole: Reals, local: Reals) -> Reals:
    """Translations `(p, f, 2)` of patches."""
    moved: Reals = whole + np.einsum("pi,aij,fj->pfa", prior.space, local, prior.time)
    return moved


def fit_motion(
    patches: Patches,
    start_px: Reals,
    prior: FieldPrior,
    expected: Expected,
    *,
    fade: F32,
    dose_e_A2: Reals,
    base_px: Reals | None = None,
    n_rounds: int = 10,
    n_threads: int = 1,
) -> Fit:
    """Fit the motion of a movie.

    Parameters
    ----------
    patches
        Of its frames, not yet faded; they are, in place.
    start_px
        `(f, 2)` whole-frame translations to start from.
    prior
        Modes of local motion at the patches.
    expected
        Sizes of motion.
    fade
        `(f, r)` what exposure leaves of the signal in each frame, by ring.
    dose_e_A2
        `(f,)` exposure in the middle of each frame.
    base_px
        `(f, 2)` path about which whole frames are expected to move smoothly: jumps; zero where it is not given.
    n_rounds
        At most; fewer where nothing moves by more than 0.01 px.
    """
    n_frames, patches = len(start_px), faded(patches, fade)
    smooth = expected.drift_px**2 * (path_covariance(dose_e_A2) + 25.0)
    jitter = expected.jitter_px
    whole, local = np.array(start_px, dtype=np.float64), np.zeros((2, prior.space.shape[1], prior.time.shape[1]))
    amplitude, trust, spectrum, used = expected.local_px, np.ones(len(patches.spectra)), None, 0
    posterior: Reals = np.zeros((0, 0))
    base, misfit = np.zeros_like(whole) if base_px is None else base_px, np.ones_like(trust)
    for used in range(1, n_rounds + 1):
        shifts = _shifts(prior, whole, local)
        if spectrum is None:
            rings = likeness(patches, shifts, np.zeros(fade.shape[1], np.float32), n_threads=n_threads).rings
            spectrum = measured_spectrum(patches, rings, fade)
        alike = likeness(patches, shifts, spectrum.weights(fade), n_threads=n_threads)
        info = _information(patches, alike, spectrum, fade, trust)
        system = _System(prior, _inverse(smooth + jitter**2 * np.eye(n_frames)))
        g = 2.0 * patches.share * trust[:, None, None] * alike.slopes
        posterior = _inverse(system.matrix(info, amplitude))
        step = posterior @ system.slope(g, whole - base, local, amplitude)
        d_whole, d_local = step[: 2 * n_frames].reshape(2, n_frames).T, step[2 * n_frames :].reshape(local.shape)
        largest = float(np.abs(_shifts(prior, d_whole - d_whole[0], d_local)).max())
        part = min(1.0, _LONGEST_STEP_PX / max(largest, 1e-9))
        whole, local = whole + part * d_whole, local + part * d_local
        amplitude = _amplitude(local, posterior, expected)
        jitter = _jitter(whole - base, posterior, jitter, system.whole_precision, expected)
        if used > 1:
            alone = _information(patches, alike, spectrum, fade, np.ones_like(trust))
            trust, misfit = _trust(alike, alone, patches)
        spectrum = measured_spectrum(patches, alike.rings, fade)
        if largest < _SETTLED_PX and used > 2:
            break
    whole_sd, sd = _deviations(system, posterior)
    sd *= np.sqrt(misfit)[:, None]
    return Fit(whole - whole[0], local, prior, whole_sd, sd, trust, amplitude, used)


def _amplitude(local: Reals, posterior: Reals, expected: Expected) -> float:
    """RMS local motion that explains the coefficients, uncertainty included (a step of expectation maximisation)."""
    if local.size == 0:
        return expected.local_px
    variance = float((local**2).sum() + np.diag(posterior)[-local.size :].sum()) / local.size
    return float(np.clip(np.sqrt(variance), 0.05 * expected.local_px, 20.0 * expected.local_px))


def _jitter(whole: Reals, posterior: Reals, jitter_px: float, precision: Reals, expected: Expected) -> float:
    """RMS deviation of frames from a smooth path, uncertainty included (a step of expectation maximisation)."""
    n_frames = len(whole)
    if n_frames < 4:
        return jitter_px
    part = jitter_px**2 * precision
    uncertain = jitter_px**2 * (np.eye(n_frames) - part)
    variance = float(((part @ whole) ** 2).sum()) + 2.0 * float(np.trace(uncertain))
    for axis in (0, 1):
        mine = slice(axis * n_frames, (axis + 1) * n_frames)
        variance += float(np.trace(part @ posterior[mine, mine] @ part.T))
    return float(np.clip(np.sqrt(variance / (2 * n_frames)), 0.1 * expected.jitter_px, 10.0 * expected.jitter_px))


def _deviations(system: _System, posterior: Reals) -> tuple[Reals, Reals]:
    """Standard deviations of shifts along x against the first frame, `(f,)` of whole frames and `(p, f)` of patches."""
    n_f, n_i, n_j = system.sizes()
    chosen = np.concatenate([np.arange(n_f), 2 * n_f + np.arange(n_i * n_j)])
    covariance = posterior[np.ix_(chosen, chosen)]
    result = np.empty((len(system.prior.space), n_f))
    against = np.eye(n_f) - np.eye(n_f)[0]
    for p, modes in enumerate(system.prior.space):
        row = np.concatenate([against, np.einsum("i,fj->fij", modes, system.prior.time).reshape(n_f, -1)], axis=1)
        result[p] = np.sqrt(np.maximum(np.einsum("fu,uv,fv->f", row, covariance, row), 0.0))
    whole = np.sqrt(np.maximum(np.einsum("fu,uv,fv->f", against, covariance[:n_f, :n_f], against), 0.0))
    return whole, result


def in_angstrom(fit: Fit, pixel_size_A: float) -> Fit:
    """The same fit with one pixel being 1 Å, so that its shifts are in Å."""
    return replace(
        fit,
        whole_px=fit.whole_px * pixel_size_A,
        local_px=fit.local_px * pixel_size_A,
        whole_sd_px=fit.whole_sd_px * pixel_size_A,
        sd_px=fit.sd_px * pixel_size_A,
        amplitude_px=fit.amplitude_px * pixel_size_A,
    )
