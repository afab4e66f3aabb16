"""correct_motion `patch` on movies of β-galactosidase that moves as real movies did: truth, peers, gain, refusals."""

from __future__ import annotations

import shutil
from dataclasses import replace

import moving_specimen
import numpy as np
import pytest
import tifffile
from moving_specimen import DOSE_E_A2, PIXEL_A, TRACKS, Filmed, drawn, film, recorded

from cryoframe import GainReference, Optics, StageContext
from cryoframe.errors import InvalidInput
from cryoframe.numerics import fourier
from cryoframe.numerics.camera_faults import Orientation, as_stored, gain_reference, orientations
from cryoframe.numerics.grids import frequencies_1_A
from cryoframe.numerics.motion_model import MotionModel, draw_motion
from cryoframe_formats import tiff_movie
from cryoframe_motion import plugin as whole_frame
from cryoframe_motion.patch import Params, correct_motion
from cryoframe_relion import plugin as relion

SHAPE = (1024, 960)
#: A quarter of a full frame's sides holds 1/17 of its molecules: contrast makes up for that, no more.
STRONGER = 4.1


@pytest.fixture(scope="module")
def still(shared_data):
    return STRONGER * moving_specimen.contrast(shared_data, SHAPE)


@pytest.fixture(scope="module")
def real(shared_data, still):
    """A movie that moves as a real one did."""
    return film(still, recorded(shared_data, TRACKS[0], SHAPE), 24)


def small(shape=(256, 288), n_frames=6, seed=3, contrast=0.4):
    """A movie of structured noise that moves by 4 px."""
    k = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None])
    ft = fourier.rfft2(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))
    made = fourier.irfft2((ft * np.exp(-((k / 0.1) ** 2)) * (k > 0)).astype(np.complex64), shape)
    track = np.linspace([0, 0], [4.0, -2.0], n_frames)

    def everywhere(x, y):
        return np.broadcast_to(track, (*np.shape(x), n_frames, 2)).copy()

    return film((contrast * made / made.std()).astype(np.float32), everywhere, n_frames, fades=False)


def correct(movie, tmp_path, ctx=None, **params):
    return correct_motion(movie=movie, params=Params(**params), ctx=ctx or StageContext(tmp_path))


def tracks_px(result, n_patches=25):
    """Whole-frame shifts `(f, 2)`, and those of patches `(p, f, 2)`."""
    table = result.motion
    shifts = np.stack([table.floats("shift_x_A"), table.floats("shift_y_A")], axis=1) / PIXEL_A
    whole = np.isnan(table.floats("patch_x_A"))
    n_frames = int(whole.sum())
    return shifts[whole], shifts[~whole].reshape(-1, n_frames, 2)


def errors_px(result, movie):
    """RMS along an axis of the whole-frame shift, and of what patches move besides."""
    truth = movie.truth(*movie.centres_px())
    whole, patches = tracks_px(result)
    off = whole - truth.mean(axis=0)
    local = (patches - patches.mean(axis=0)) - (truth - truth.mean(axis=0))
    return np.sqrt(np.mean(off**2)), np.sqrt(np.mean(local**2))


def likeness(image, still, low_A=30.0, high_A=6.0):
    """Correlation with the truth in a band."""
    k = frequencies_1_A(still.shape, PIXEL_A, False)
    one, other = (fourier.rfft2(a.astype(np.float32))[(k > 1 / low_A) & (k < 1 / high_A)] for a in (image, still))
    return float(np.vdot(one, other).real / np.sqrt(np.vdot(one, one).real * np.vdot(other, other).real))


# -- truth --------------------
@pytest.mark.parametrize("name", TRACKS[1:4])
def test_real_tracks__are_found_whole_and_local(name, shared_data, still, tmp_path, say):
    movie = film(still, recorded(shared_data, name, SHAPE), 24)
    result = correct(movie.movie(), tmp_path)
    whole, local = errors_px(result, movie)
    say(f"{name}: RMS error of whole frames {whole:.3f} px, of local motion {local:.3f} px")
    assert whole <= 0.25
    assert local <= 0.5
    assert len(result.motion) == 24 * 26
    result.motion.check()


def test_drawn_motion_of_forty_frames__is_found(still, tmp_path, say):
    # The field is as rough over this quarter of a frame as over a whole one.
    model = MotionModel(correlation_A=700.0)
    motion = draw_motion(model, np.arange(41), rng=np.random.default_rng(6))
    movie = film(still, drawn(motion), 40, dose_e_A2=1.0)
    result = correct(movie.movie(dose_per_frame_e_A2=1.0), tmp_path, correlation_A=700.0)
    whole, local = errors_px(result, movie)
    say(f"40 frames: RMS error of whole frames {whole:.3f} px, of local motion {local:.3f} px")
    assert whole <= 0.25
    assert local <= 0.5


def test_the_sum__shows_more_than_uncorrected_and_almost_what_the_truth_shows(real, still, tmp_path, say):
    corrected = correct(real.movie(), tmp_path)
    plain = corrected.unweighted.data
    lone = real.frames.sum(axis=0, dtype=np.float32)
    bands = [(60, 30), (30, 15), (15, 8), (8, 5)]
    gains = [likeness(plain, still, *band) / max(likeness(lone, still, *band), 1e-3) for band in bands]
    weighted = [likeness(corrected.micrograph.data, still, *band) / likeness(plain, still, *band) for band in bands]
    say("likeness to the specimen over the uncorrected sum's, by band [Å]: "
        + ", ".join(f"{a}-{b}: {g:.2f}" for (a, b), g in zip(bands, gains, strict=True)))  # fmt: skip
    say("and dose-weighted over plain: " + ", ".join(f"{w:.2f}" for w in weighted))
    assert gains[2] > 3.0
    assert gains[1] > 1.5
    assert weighted[3] > 1.1


def test_the_dose_weighted_sum__has_the_power_of_the_analytic_weights(tmp_path):
    rng = np.random.default_rng(4)
    frames = rng.poisson(5.0, (16, 256, 256)).astype(np.uint8)
    result = correct(Filmed(frames, None).movie(), tmp_path, n_rounds=1)
    ft = [
        np.abs(fourier.rfft2(image.data - image.data.mean())) ** 2 for image in (result.micrograph, result.unweighted)
    ]
    ring = np.rint(frequencies_1_A((256, 256), PIXEL_A, False) * 256 * PIXEL_A).astype(int)
    ratio = np.bincount(ring.ravel(), ft[0].ravel())[8:110] / np.bincount(ring.ravel(), ft[1].ravel())[8:110]
    # White noise keeps its power under Grant & Grigorieff's weights; some 400 samples a ring: 7 % each.
    assert ratio.mean() == pytest.approx(1.0, abs=0.03)
    assert result.micrograph.data.mean() == pytest.approx(result.unweighted.data.mean(), rel=1e-3)


@pytest.mark.relion
@pytest.mark.skipif(shutil.which("relion_run_motioncorr") is None, reason="RELION is not installed")
def test_on_the_same_movie__relion_and_whole_frames_are_not_better(real, tmp_path, say):
    path = tmp_path / "m.tif"
    with tifffile.TiffWriter(path) as file:
        for frame in real.frames:
            file.write(frame[::-1], compression="lzw", contiguous=False)
    movie = replace(real.movie(), path=str(path), source=tiff_movie.open_movie(path=path))
    ours = errors_px(correct(movie, tmp_path), real)
    work = tmp_path / "relion"
    work.mkdir()
    theirs = errors_px(relion.correct_motion(movie=movie, params=relion.Params(), ctx=StageContext(work)), real)
    plain = whole_frame.correct_motion(movie=movie, params=whole_frame.Params(), ctx=StageContext(tmp_path))
    whole = tracks_px(plain)[0] - real.truth(*real.centres_px()).mean(axis=0)
    say(f"whole / local RMS error [px]: patch {ours[0]:.3f} / {ours[1]:.3f}, RELION {theirs[0]:.3f} / {theirs[1]:.3f}, "
        f"global {np.sqrt((whole**2).mean()):.3f}")  # fmt: skip
    assert ours[0] <= theirs[0]
    assert ours[1] <= theirs[1]


# -- sums --------------------
def test_threads_and_reading_again__do_not_change_a_bit(tmp_path):
    movie = small().movie()
    one = correct(movie, tmp_path, patches=(2, 2))
    two = correct(movie, tmp_path, StageContext(tmp_path, n_threads=2), patches=(2, 2))
    again = correct(movie, tmp_path, patches=(2, 2), memory_MB=0.1)
    for other in (two, again):
        assert np.array_equal(one.micrograph.data, other.micrograph.data)
        assert np.array_equal(tracks_px(one)[1], tracks_px(other)[1])


@pytest.mark.parametrize("scale", [1.0, 100.0, 0.37])
def test_frames_of_any_type__are_held_as_they_are(scale, tmp_path):
    movie = small()

    class Scaled(Filmed):
        def read_frame(self, index):
            return self.frames[index] * np.float32(scale)

    one = correct(movie.movie(), tmp_path, patches=(2, 2))
    other = correct(Scaled(movie.frames, movie.truth).movie(), tmp_path, patches=(2, 2))
    assert other.unweighted.data == pytest.approx(scale * one.unweighted.data, abs=0.02 * scale)


def test_halves_and_first_frames__are_given_when_asked_for(tmp_path):
    movie = small(n_frames=7)
    result = correct(movie.movie(), tmp_path, halves=True, first_frames=3)
    assert result.even.data + result.odd.data == pytest.approx(result.unweighted.data, abs=1e-3)
    doses = [m.dose_e_A2 / DOSE_E_A2 for m in (result.micrograph, result.even, result.odd, result.first)]
    assert doses == pytest.approx([7, 4, 3, 3])
    assert not any(m.dose_weighted for m in (result.even, result.odd, result.first))
    early = correct(Filmed(movie.frames[:3], movie.truth).movie(), tmp_path)
    inner = (slice(16, -16), slice(16, -16))
    assert np.corrcoef(result.first.data[inner].ravel(), early.unweighted.data[inner].ravel())[0, 1] > 0.95
    without = correct(movie.movie(), tmp_path)
    assert without.even is without.odd is without.first is None
    assert np.array_equal(without.micrograph.data, result.micrograph.data)


def test_super_resolution__is_cropped_in_fourier_space(tmp_path):
    movie = small((256, 288))
    fine = correct(movie.movie(), tmp_path)
    result = correct(movie.movie(), tmp_path, bin_factor=2.0)
    assert result.micrograph.data.shape == (128, 144)
    assert result.micrograph.pixel_size_A == pytest.approx(2 * PIXEL_A)
    assert result.unweighted.data.mean() == pytest.approx(4 * fine.unweighted.data.mean(), rel=0.01)
    expected = 4 * fourier.fourier_crop(fine.unweighted.data, (128, 144))
    inner = (slice(16, -16), slice(16, -16))
    assert np.corrcoef(result.unweighted.data[inner].ravel(), expected[inner].ravel())[0, 1] > 0.98
    with pytest.raises(InvalidInput, match="oblong"):
        correct(movie.movie(), tmp_path, bin_factor=15.0)


def test_one_patch__is_whole_frames_only(tmp_path):
    movie = small()
    result = correct(movie.movie(), tmp_path, patches=(1, 1))
    assert len(result.motion) == 6
    assert tracks_px(result)[0] == pytest.approx(movie.truth(0.0, 0.0), abs=0.4)


def test_hot_and_dead_pixels__are_found_in_the_sum_and_mended(tmp_path):
    movie = small()
    rows, columns = np.random.default_rng(8).integers(4, 250, (2, 30))
    movie.frames[:, rows[:15], columns[:15]] = 200
    movie.frames[:, rows[15:], columns[15:]] = 0
    metrics = {}
    ctx = StageContext(tmp_path, on_metric=lambda name, value, unit: metrics.update({name: value}))
    result = correct(movie.movie(), tmp_path, ctx, defect_sd=5.0)
    assert 15 <= metrics["n_defects"] <= 32
    assert result.unweighted.data[rows[:15], columns[:15]].max() < 40
    assert tracks_px(result)[0] == pytest.approx(movie.truth(0.0, 0.0), abs=0.4)
    assert {"total_motion_A", "local_motion_A", "motion_sd_A", "n_patches_doubted"} <= set(metrics)


# -- gain --------------------
@pytest.fixture(scope="module")
def raw():
    gain = gain_reference((384, 384), np.random.default_rng(9), pixel_sd_frac=0.05)
    clean = small((384, 384), n_frames=12)
    rng = np.random.default_rng(10)
    return gain, Filmed(rng.poisson(5.0 * clean.frames / gain).astype(np.uint8), clean.truth)


def test_the_right_gain__is_taken(raw, tmp_path):
    gain, movie = raw
    metrics = {}
    ctx = StageContext(tmp_path, on_metric=lambda name, value, unit: metrics.update({name: value}))
    result = correct(movie.movie(gain=GainReference(gain)), tmp_path, ctx)
    assert metrics["gain_correlation"] > 0.05
    flat = correct(movie.movie(), tmp_path, n_rounds=1).unweighted.data
    still = np.corrcoef((1 / gain).ravel(), flat.ravel())[0, 1]
    assert abs(np.corrcoef((1 / gain).ravel(), result.unweighted.data.ravel())[0, 1]) < still


@pytest.mark.parametrize("way", [o for o in orientations() if o != Orientation()], ids=str)
def test_a_gain_the_wrong_way_round__is_refused_and_the_right_one_named(way, raw, tmp_path):
    gain, movie = raw
    stored = GainReference(np.ascontiguousarray(as_stored(gain, way)), "gain.mrc")
    with pytest.raises(InvalidInput, match="wrong way round") as caught:
        correct(movie.movie(gain=stored), tmp_path)
    assert ("reverse order" in caught.value.remedy) == way.flipped
    assert ("turned" in caught.value.remedy) == (way.quarter_turns != 0)
    assert "gain.mrc" in str(caught.value)
    assert correct(movie.movie(gain=stored), tmp_path, check_gain=False, n_rounds=1).unweighted is not None


def test_a_gain_of_frames_that_are_not_square__is_named_too(tmp_path):
    clean = small((256, 384), n_frames=12)
    gain = gain_reference((256, 384), np.random.default_rng(11), pixel_sd_frac=0.05)
    frames = np.random.default_rng(12).poisson(5.0 * clean.frames / gain).astype(np.uint8)
    movie = Filmed(frames, clean.truth).movie(gain=GainReference(as_stored(gain, Orientation(1, False))))
    with pytest.raises(InvalidInput, match="wrong way round") as caught:
        correct(movie, tmp_path)
    assert "90° anticlockwise" in caught.value.remedy


def test_a_gain_of_another_camera_or_inverted__is_refused(raw, tmp_path):
    gain, movie = raw
    other = gain_reference((384, 384), np.random.default_rng(13), pixel_sd_frac=0.05)
    with pytest.raises(InvalidInput, match="in no orientation"):
        correct(movie.movie(gain=GainReference(other)), tmp_path)
    with pytest.raises(InvalidInput, match="divided by"):
        correct(movie.movie(gain=GainReference((1 / gain).astype(np.float32))), tmp_path)


def test_an_even_gain__is_taken_with_a_line_in_the_log(tmp_path):
    lines = []
    movie = small().movie(gain=GainReference(np.ones((256, 288), dtype=np.float32)))
    correct(movie, tmp_path, StageContext(tmp_path, on_log=lines.append))
    assert "which way round" in lines[0]


# -- what cannot be done --------------------
def test_a_single_frame__is_its_own_sum(tmp_path):
    movie = small(n_frames=1)
    result = correct(movie.movie(), tmp_path, defect_sd=99.0)
    assert result.unweighted.data == pytest.approx(movie.frames[0].astype(np.float32), abs=1e-4)
    assert np.abs(tracks_px(result)[1]).max() == 0.0


@pytest.mark.parametrize(
    ("change", "params", "says"),
    [
        ({"pixel_size_A": 0.0}, {}, "pixel of 0"),
        ({"pixel_size_A": float("nan")}, {}, "pixel of nan"),
        ({"n_frames": 0}, {}, "0 frames"),
        ({"dose_per_frame_e_A2": 0.0}, {}, "dose of 0"),
        ({"gain": GainReference(np.ones((64, 64), dtype=np.float32))}, {}, "gain reference has shape"),
        ({"gain": GainReference(np.full((256, 288), np.inf, dtype=np.float32))}, {}, "not finite"),
        ({"gain": GainReference(np.ones((288, 256), dtype=np.float32))}, {}, "gain reference has shape"),
        ({"shape_px": (256, 256)}, {}, "as announced"),
        ({"source": None}, {}, "no reader"),
        ({"optics": Optics(120.0)}, {}, "critical exposure"),
    ],
)
def test_what_a_movie_lacks__is_said(change, params, says, tmp_path):
    with pytest.raises(InvalidInput, match=says) as caught:
        correct(replace(small().movie(), **change), tmp_path, **params)
    assert caught.value.expected or caught.value.remedy


def test_without_a_dose__weighting_has_to_be_given_up_explicitly(tmp_path):
    movie = small().movie(dose_per_frame_e_A2=0.0)
    result = correct(movie, tmp_path, dose_weighting=False)
    assert result.unweighted is None
    assert not result.micrograph.dose_weighted


@pytest.mark.parametrize(("spoil", "says"), [("nan", "not finite"), ("inf", "not finite"), ("saturated", "saturated")])
def test_damaged_frames__are_named(spoil, says, tmp_path):
    movie = small()

    class Damaged(Filmed):
        def read_frame(self, index):
            frame = super().read_frame(index)
            if index == 2:
                frame[10, 10] = {"nan": np.nan, "inf": -np.inf}.get(spoil, 1.0)
                if spoil == "saturated":
                    frame[:, :60] = 255.0
            return frame

    with pytest.raises(InvalidInput, match=f"frame 2 .*{says}"):
        correct(Damaged(movie.frames, movie.truth).movie(), tmp_path)


@pytest.mark.parametrize(
    "wrong",
    [{"patches": (0, 5)}, {"bin_factor": 0.5}, {"resolution_A": float("nan")}, {"low_A": 3.0}, {"n_rounds": 0},
     {"memory_MB": -1.0}],
)  # fmt: skip
def test_settings_that_cannot_be_meant__are_refused(wrong):
    with pytest.raises(InvalidInput):
        Params(**wrong)
