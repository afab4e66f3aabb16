"""What both implementations of correct_motion owe: jumps, sums on request, events, polishing metadata, refusals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from eer_encoder import encode, random_events, write_eer
from test_motion_patch import PIXEL_A, Filmed, small

from cryoframe import GainReference, Optics, StageContext
from cryoframe.errors import CryoframeError, Incomplete, InvalidInput
from cryoframe.numerics import fourier
from cryoframe_formats import eer
from cryoframe_motion import patch, plugin

BOTH = pytest.mark.parametrize("stage", [patch, plugin], ids=["patch", "global"])
INNER = (slice(16, -16), slice(16, -16))


def correct(stage, movie, tmp_path, ctx=None, **params):
    if stage is patch:
        params = {"patches": (2, 2)} | params
    return stage.correct_motion(movie=movie, params=stage.Params(**params), ctx=ctx or StageContext(tmp_path))


def telling(tmp_path):
    """A context, and the metrics and lines that it was told."""
    metrics, lines = {}, []
    keep = lambda name, value, unit: metrics.update({name: value})  # noqa: E731
    return StageContext(tmp_path, on_metric=keep, on_log=lines.append), metrics, lines


def whole_px(result):
    of_whole = np.isnan(result.motion.floats("patch_x_A"))
    columns = [result.motion.floats(name)[of_whole] for name in ("shift_x_A", "shift_y_A")]
    return np.stack(columns, axis=1) / PIXEL_A


def jumping(at=4, by=(60.0, -40.0), n_frames=12):
    """A movie whose specimen jumps by so many pixels, and its path."""
    still = small((384, 416), n_frames=n_frames)
    path = still.truth(0.0, 0.0).copy()
    path[at:] += by
    moved = [np.roll(f, (-int(by[1]), -int(by[0])), (0, 1)) if i >= at else f for i, f in enumerate(still.frames)]
    return Filmed(np.array(moved), lambda x, y: np.broadcast_to(path, (*np.shape(x), n_frames, 2)).copy()), path


# -- jumps --------------------
@BOTH
@pytest.mark.parametrize(("at", "by"), [(4, (60.0, -40.0)), (1, (20.0, 10.0)), (8, (0.0, 110.0))])
def test_a_stage_jump__is_undone_and_told(stage, at, by, tmp_path, say):
    movie, path = jumping(at, by)
    ctx, metrics, lines = telling(tmp_path)
    result = correct(stage, movie.movie(), tmp_path, ctx)
    error = np.sqrt(np.mean((whole_px(result) - path) ** 2))
    say(f"jump of {np.hypot(*by):.0f} px: RMS {error:.2f} px, agreement {metrics['frame_agreement_frac']:.2f}")
    assert error < 0.5
    assert metrics["n_frames_unfit"] == 0
    assert metrics["frame_agreement_frac"] > 0.7
    assert not lines


@BOTH
def test_frames_that_fit_nowhere__are_told(stage, tmp_path):
    movie, other = small((384, 416), n_frames=12), small((384, 416), n_frames=12, seed=77)
    movie.frames[8:] = other.frames[8:]
    ctx, metrics, lines = telling(tmp_path)
    result = correct(stage, movie.movie(), tmp_path, ctx)
    assert metrics["n_frames_unfit"] == 4
    assert metrics["frame_agreement_frac"] < 0.3
    assert "frames 8, 9, 10, 11" in lines[0]
    agreed = result.motion.floats("agreement_frac")[:12]
    assert agreed[8:].max() < agreed[:8].min()


# -- sums --------------------
@BOTH
def test_halves_and_first_frames__are_given_when_asked_for(stage, tmp_path):
    movie = small(n_frames=7)
    result = correct(stage, movie.movie(), tmp_path, halves=True, first_frames=3)
    assert result.even.data + result.odd.data == pytest.approx(result.unweighted.data, abs=1e-3)
    dose = movie.movie().dose_per_frame_e_A2
    doses = [m.dose_e_A2 / dose for m in (result.micrograph, result.even, result.odd, result.first)]
    assert doses == pytest.approx([7, 4, 3, 3])
    assert not any(m.dose_weighted for m in (result.even, result.odd, result.first))
    early = correct(stage, Filmed(movie.frames[:3], movie.truth).movie(), tmp_path)
    assert np.corrcoef(result.first.data[INNER].ravel(), early.unweighted.data[INNER].ravel())[0, 1] > 0.95
    # Their noise is their own: halves share the specimen only.
    half = [m.data[INNER] - result.unweighted.data[INNER] * m.dose_e_A2 / (7 * dose) for m in (result.even, result.odd)]
    assert np.corrcoef(half[0].ravel(), half[1].ravel())[0, 1] < -0.9
    without = correct(stage, movie.movie(), tmp_path)
    assert without.even is without.odd is without.first is None
    assert np.array_equal(without.micrograph.data, result.micrograph.data)


@BOTH
def test_super_resolution__is_cropped_in_fourier_space(stage, tmp_path):
    movie = small((256, 288))
    fine = correct(stage, movie.movie(), tmp_path)
    result = correct(stage, movie.movie(), tmp_path, bin_factor=2.0, halves=True)
    assert result.micrograph.data.shape == result.even.data.shape == (128, 144)
    assert result.micrograph.pixel_size_A == result.odd.pixel_size_A == pytest.approx(2 * PIXEL_A)
    assert result.unweighted.data.mean() == pytest.approx(4 * fine.unweighted.data.mean(), rel=0.01)
    expected = 4 * fourier.fourier_crop(fine.unweighted.data, (128, 144))
    assert np.corrcoef(result.unweighted.data[INNER].ravel(), expected[INNER].ravel())[0, 1] > 0.98
    assert result.metadata.bin_factor == 2.0
    assert result.metadata.pixel_size_A == PIXEL_A
    with pytest.raises(InvalidInput, match="oblong"):
        correct(stage, movie.movie(), tmp_path, bin_factor=15.0)


# -- events --------------------
@pytest.fixture(scope="module")
def events(tmp_path_factory):
    """An event movie of 26 frames of 64 × 64 pixels, of even light."""
    rng = np.random.default_rng(5)
    frames = [random_events(rng, (64, 64), 900) for _ in range(26)]
    path = tmp_path_factory.mktemp("eer") / "m.eer"
    write_eer(path, [encode(one, 64 * 64, 7) for one in frames], (64, 64))
    return path


@BOTH
def test_events__are_grouped_and_made_finer_with_their_dose_and_gain(stage, events, tmp_path):
    source = eer.open_eer(events, frames_per_fraction=2)
    gain = GainReference((1.0 + 0.1 * np.random.default_rng(6).standard_normal((64, 64))).astype(np.float32), "g.gain")
    movie = replace(small().movie(), n_frames=13, shape_px=(64, 64), path=str(events), source=source,
                    dose_per_frame_e_A2=0.5, gain=gain)  # fmt: skip
    plain = correct(stage, movie, tmp_path, check_gain=False, defect_sd=50.0)
    assert plain.metadata.frames_per_fraction == 2
    assert plain.metadata.n_left_over == 0
    result = correct(stage, movie, tmp_path, eer_frames=4, eer_upsampling=2, check_gain=False, defect_sd=50.0)
    metadata = result.metadata
    assert (metadata.n_frames, metadata.n_left_over, metadata.frames_per_fraction, metadata.upsampling) == (6, 2, 4, 2)
    assert metadata.shape_px == result.micrograph.data.shape == (128, 128)
    assert result.micrograph.pixel_size_A == pytest.approx(PIXEL_A / 2)
    assert metadata.dose_per_frame_e_A2 == pytest.approx(1.0)
    assert result.micrograph.dose_e_A2 == pytest.approx(6.0)
    # What is left over has been on the specimen all the same.
    assert metadata.whole_dose_e_A2 == pytest.approx(6.5)
    assert result.unweighted.data.sum() == pytest.approx(24 / 26 * plain.unweighted.data.sum(), rel=0.01)
    both = correct(stage, movie, tmp_path, eer_frames=4, eer_upsampling=2, bin_factor=2.0, check_gain=False,
                   defect_sd=50.0)  # fmt: skip
    assert both.micrograph.data.shape == (64, 64)
    assert both.unweighted.data.sum() == pytest.approx(result.unweighted.data.sum(), rel=0.01)


@BOTH
def test_grouping__is_refused_where_there_are_no_events_or_too_few(stage, events, tmp_path):
    with pytest.raises(InvalidInput, match="grouped from events"):
        correct(stage, small().movie(), tmp_path, eer_frames=4)
    movie = replace(small().movie(), n_frames=26, shape_px=(64, 64), source=eer.open_eer(events, frames_per_fraction=1))
    with pytest.raises(InvalidInput, match="26 internal frames"):
        correct(stage, movie, tmp_path, eer_frames=27)
    with pytest.raises(InvalidInput, match="1, 2 or 4"):
        correct(stage, movie, tmp_path, eer_upsampling=3)


# -- what polishing needs --------------------
@BOTH
def test_polishing__is_told_camera_dose_and_uncertainty(stage, tmp_path):
    movie = small()
    movie.frames[:, 20, 30] = 200
    gain = GainReference(np.ones((256, 288), dtype=np.float32), "gain.mrc")
    result = correct(stage, movie.movie(gain=gain), tmp_path, pre_dose_e_A2=1.5, check_gain=False)
    metadata = result.metadata
    assert [30, 20] in metadata.defects_px.tolist()
    assert (metadata.gain, metadata.origin_frame, metadata.voltage_kV) == ("gain.mrc", 0, 200.0)
    dose = movie.movie().dose_per_frame_e_A2
    assert metadata.dose_after_e_A2[:2] == pytest.approx([1.5 + dose, 1.5 + 2 * dose])
    deviation = result.motion.floats("shift_sd_A")
    assert deviation[0] == 0.0
    assert np.isfinite(deviation).all()
    assert (deviation[result.motion.column("frame") > 0] > 0).all()
    result.motion.check()


# -- what cannot be done --------------------
@BOTH
@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"pixel_size_A": 0.0}, "pixel of 0"),
        ({"pixel_size_A": -1.0}, "pixel of -1"),
        ({"pixel_size_A": float("nan")}, "pixel of nan"),
        ({"n_frames": 0}, "0 frames"),
        ({"gain": GainReference(np.ones((64, 64), dtype=np.float32))}, "gain reference has shape"),
        ({"gain": GainReference(np.full((256, 288), np.nan, dtype=np.float32))}, "not finite"),
        ({"shape_px": (256, 256)}, "as announced"),
        ({"source": None}, "no reader"),
        ({"optics": Optics(120.0)}, "critical exposure"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_corrected__is_refused_with_a_remedy(stage, change, says, tmp_path):
    with pytest.raises(InvalidInput, match=says) as caught:
        correct(stage, replace(small().movie(), **change), tmp_path)
    assert caught.value.expected or caught.value.remedy


@BOTH
@pytest.mark.parametrize("spoil", ["nan", "inf", "saturated", "cut"])
def test_damaged_frames__end_in_the_declared_error(spoil, stage, tmp_path):
    movie = small()

    class Damaged(Filmed):
        def read_frame(self, index):
            frame = super().read_frame(index)
            if index == 2:
                frame[10, 10] = {"nan": np.nan, "inf": -np.inf}.get(spoil, 1.0)
                if spoil == "saturated":
                    frame[:, :60] = 255.0
                if spoil == "cut":
                    raise Incomplete("frame 2 ends early", path="m.tif", expected="256 rows")
            return frame

    says = {"saturated": "saturated", "cut": "ends early"}.get(spoil, "not finite")
    with pytest.raises(CryoframeError, match=f"frame 2 .*{says}") as caught:
        correct(stage, Damaged(movie.frames, movie.truth).movie(), tmp_path)
    assert isinstance(caught.value, Incomplete if spoil == "cut" else InvalidInput)


@BOTH
def test_a_movie_without_a_dose__is_never_weighted_silently(stage, tmp_path):
    movie = small().movie(dose_per_frame_e_A2=0.0)
    ctx, _, lines = telling(tmp_path)
    if stage is patch:
        with pytest.raises(InvalidInput, match="dose of 0"):
            correct(stage, movie, tmp_path)
    else:
        assert not correct(stage, movie, tmp_path, ctx).micrograph.dose_weighted
        assert "no dose" in lines[0]
    result = correct(stage, movie, tmp_path, dose_weighting=False)
    assert result.unweighted is None
    assert not result.micrograph.dose_weighted


@BOTH
def test_one_frame__is_its_own_sum(stage, tmp_path):
    movie = small(n_frames=1)
    result = correct(stage, movie.movie(), tmp_path, defect_sd=99.0)
    assert result.unweighted.data == pytest.approx(movie.frames[0].astype(np.float32), abs=1e-3)
    assert not whole_px(result).any()
    assert result.metadata.n_frames == 1
