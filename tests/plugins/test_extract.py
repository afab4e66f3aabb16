"""extract_particles `box`: where boxes are cut, how they are normalised, what is written into each row."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryoframe import CtfFit, Micrograph, Optics, ParticleTable, StageContext
from cryoframe.errors import InvalidInput
from cryoframe.formats import mrc
from cryoframe.numerics import boxes
from cryoframe_extract.plugin import Params, extract_particles

FIT = CtfFit("m", 15000.0, 14500.0, 30.0, phase_shift_deg=5.0)
PIXEL_A = 1.25


def noise(shape=(400, 500), seed=1, mean=100.0):
    return (mean + 3 * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


def table(x_px, y_px, pixel_A=PIXEL_A, **more):
    n = len(x_px)
    return ParticleTable.from_columns(
        {
            "particle_id": np.arange(10, 10 + n, dtype=np.uint64),
            "micrograph_id": ["m"] * n,
            "optics_group": ["opticsGroup1"] * n,
            "half": np.ones(n, dtype=np.uint8),
            "x_A": np.asarray(x_px, dtype=np.float32) * np.float32(pixel_A),
            "y_A": np.asarray(y_px, dtype=np.float32) * np.float32(pixel_A),
            "figure_of_merit": np.ones(n, dtype=np.float32),
            **more,
        }
    )


def extract(micrograph, particles, tmp_path, ctx=None, **params):
    return extract_particles(
        micrograph=micrograph,
        particles=particles,
        ctf=FIT,
        params=Params(**params),
        ctx=ctx or StageContext(tmp_path),
    )


def test_a_dark_dot__becomes_bright_at_the_centre_of_the_box(tmp_path):
    data = noise()
    data[120, 207] -= 20.0
    stack = extract(Micrograph("m", data, PIXEL_A), table([207.3], [119.8]), tmp_path, box_px=64)
    assert stack.images.shape == (1, 64, 64)
    assert stack.images.dtype == np.float32
    assert np.unravel_index(stack.images[0].argmax(), (64, 64)) == (32, 32)


@given(st.integers(0, 499), st.integers(0, 399), st.sampled_from([32, 64, 100]))
@settings(max_examples=40, deadline=None)
def test_a_box__is_cut_exactly_where_it_fits(tmp_path_factory, x, y, box):
    data = noise()
    dropped = []
    ctx = StageContext(
        tmp_path_factory.getbasetemp(), on_drop=lambda ids, reason, values, threshold: dropped.append((ids, reason))
    )
    stack = extract(Micrograph("m", data, PIXEL_A), table([x], [y]), None, ctx, box_px=box, invert=False, ramp=False)
    fits = box // 2 <= x <= 500 - box // 2 and box // 2 <= y <= 400 - box // 2
    assert len(stack.images) == fits
    if not fits:
        assert dropped == [([10], "box leaves the micrograph")]
        return
    window = data[y - box // 2 : y + box // 2, x - box // 2 : x + box // 2]
    assert np.corrcoef(window.ravel(), stack.images[0].ravel())[0, 1] == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("ramp", [True, False])
def test_background__has_mean_0_and_deviation_1(tmp_path, ramp):
    data = noise(mean=3e4)
    y, x = np.indices(data.shape)
    data += 0.2 * x - 0.1 * y
    particles = table([100, 250, 300], [100, 200, 250])
    stack = extract(
        Micrograph("m", data, PIXEL_A),
        particles,
        tmp_path,
        box_px=96,
        background_diameter_A=70.0,
        ramp=ramp,
        clip_sd=99,
    )
    ring = boxes.background_ring(96, 28.0)
    for image in stack.images:
        assert image[ring].mean() == pytest.approx(0.0, abs=1e-4)
        assert image[ring].std() == pytest.approx(1.0, abs=1e-4)
        slope = abs(np.polyfit(np.arange(96), image.mean(axis=0), 1)[0])
        assert (slope < 0.004) if ramp else (slope > 0.02)


def test_binning__keeps_centre_and_field_of_view(tmp_path):
    y, x = np.indices((400, 500))
    data = noise() - 60 * np.exp(-((x - 250) ** 2 + (y - 180) ** 2) / (2 * 8.0**2)).astype(np.float32)
    stack = extract(
        Micrograph("m", data, PIXEL_A), table([250], [180]), tmp_path, box_px=128, out_box_px=48, clip_sd=99
    )
    image = stack.images[0]
    assert image.shape == (48, 48)
    assert stack.pixel_size_A == pytest.approx(PIXEL_A * 128 / 48)
    weight = np.where(image > 0.3 * image.max(), image, 0.0)
    at = [float((weight * axis).sum() / weight.sum()) for axis in np.indices((48, 48))]
    assert at == pytest.approx([24, 24], abs=0.1)
    assert stack.particles.floats("pixel_size_A")[0] == pytest.approx(stack.pixel_size_A)


def test_each_row__carries_ctf_image_and_the_box_centre(tmp_path):
    particles = table([100.4, 250.7], [100.2, 200.6])
    stack = extract(Micrograph("mic", noise(), PIXEL_A), particles, tmp_path, box_px=64)
    rows = stack.particles
    rows.check()
    assert rows.has("ctf")
    assert rows.has("image")
    assert rows.floats("x_A") == pytest.approx(np.array([100, 251]) * PIXEL_A)
    assert rows.floats("y_A") == pytest.approx(np.array([100, 201]) * PIXEL_A)
    assert rows.column("particle_id").tolist() == [10, 11]
    assert rows.column("stack_index").tolist() == [0, 1]
    assert rows.floats("defocus_u_A").tolist() == [15000.0] * 2
    assert rows.floats("defocus_v_A").tolist() == [14500.0] * 2
    assert rows.floats("defocus_angle_deg").tolist() == [30.0] * 2
    assert rows.floats("phase_shift_deg").tolist() == [5.0] * 2
    assert stack.optics == (Optics(),)


def test_extracting_anew_with_poses__recentres_and_keeps_the_rest_of_the_shift(tmp_path):
    pose = {
        name: np.zeros(1, dtype=np.float32)
        for name in ("rot_deg", "tilt_deg", "psi_deg", "shift_x_A", "shift_y_A", "pose_score")
    }
    pose["shift_x_A"] += np.float32(7.0)
    pose["shift_y_A"] -= np.float32(3.0)
    particles = table([200.0], [150.0], **pose)
    stack = extract(Micrograph("m", noise(), PIXEL_A), particles, tmp_path, box_px=64)
    rows = stack.particles
    assert rows.floats("x_A") - rows.floats("shift_x_A") == pytest.approx([200 * PIXEL_A - 7.0], abs=1e-4)
    assert rows.floats("y_A") - rows.floats("shift_y_A") == pytest.approx([150 * PIXEL_A + 3.0], abs=1e-4)
    assert abs(rows.floats("shift_x_A")[0]) <= PIXEL_A / 2
    assert rows.floats("x_A")[0] / PIXEL_A == pytest.approx(194)


def test_order_and_company__do_not_change_an_image(tmp_path):
    micrograph = Micrograph("m", noise(), PIXEL_A)
    particles = table([100, 250, 300], [100, 200, 250])
    together = extract(micrograph, particles, tmp_path, box_px=96, out_box_px=48)
    backwards = extract(micrograph, particles.select([2, 1, 0]), tmp_path, box_px=96, out_box_px=48)
    alone = extract(micrograph, particles.select([1]), tmp_path, box_px=96, out_box_px=48)
    assert np.array_equal(together.images, backwards.images[::-1])
    assert np.array_equal(together.images[1], alone.images[0])


def test_no_particles__give_an_empty_stack_with_all_columns(tmp_path):
    stack = extract(Micrograph("m", noise(), PIXEL_A), table([], []), tmp_path, box_px=64)
    assert stack.images.shape == (0, 64, 64)
    assert stack.particles.has("ctf")
    assert stack.particles.has("image")


def test_input__is_left_as_it_was(tmp_path):
    data = noise()
    data.flags.writeable = False
    before = data.copy()
    extract(Micrograph("m", data, PIXEL_A), table([100], [100]), tmp_path, box_px=64)
    assert np.array_equal(data, before)


def test_a_blank_area__is_dropped_with_its_reason(tmp_path):
    data = noise()
    data[50:180, 50:180] = 100.0
    told = []
    ctx = StageContext(tmp_path, on_drop=lambda *what: told.append(what))
    stack = extract(Micrograph("m", data, PIXEL_A), table([110, 300], [110, 200]), tmp_path, ctx, box_px=64)
    assert len(stack.images) == 1
    assert stack.particles.column("particle_id").tolist() == [11]
    assert told[0][:2] == ([10], "background is constant")


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"box_px": 63}, "even numbers"),
        ({"box_px": 64, "out_box_px": 128}, "not larger"),
        ({"box_px": 512}, "at least 512"),
        ({"box_px": 64, "background_diameter_A": 200.0}, "background"),
    ],
)
def test_impossible_boxes__are_refused(params, says, tmp_path):
    with pytest.raises(InvalidInput, match=says):
        extract(Micrograph("m", noise(), PIXEL_A), table([100], [100]), tmp_path, **params)


def test_the_real_micrograph__gives_brighter_centres_than_rims(shared_data, tmp_path, say):
    from cryoframe_pick.plugin import Params as PickParams
    from cryoframe_pick.plugin import pick_particles

    data, _ = mrc.read_image(shared_data / "micrographs" / "epu" / "fei-extended.mrc")
    micrograph = Micrograph("epu", data, 0.853775, optics=Optics(300.0, 2.7, 0.07))
    fit = CtfFit("epu", 10540.6, 10479.9, -72.9)
    picks = pick_particles(
        micrograph=micrograph, ctf=fit, params=PickParams(diameter_A=130.0), ctx=StageContext(tmp_path)
    )
    stack = extract(micrograph, picks, tmp_path, box_px=360, out_box_px=64)
    mean = stack.images.mean(axis=0)
    inner = ~boxes.background_ring(64, 10.0)
    say(f"{len(picks)} picks, {len(stack.images)} boxes; mean image {mean[inner].mean():.2f} inside, 0 outside")
    assert mean[inner].mean() > 0.2


@pytest.mark.bench
def test_ten_thousand_particles_of_256_px__take_less_than_a_minute(tmp_path, say):
    rng = np.random.default_rng(2)
    data = noise((4096, 4096))
    particles = table(rng.uniform(200, 3800, 500), rng.uniform(200, 3800, 500))
    for out in (0, 128):
        started = time.perf_counter()
        stack = extract(Micrograph("m", data, PIXEL_A), particles, tmp_path, box_px=256, out_box_px=out)
        seconds = time.perf_counter() - started
        rate = 60 * len(stack.images) / seconds
        say(f"256 px to {out or 256}: {rate:,.0f} particles a minute on one thread")
        assert rate > 2_000


def dropping(tmp_path):
    told = []
    return told, StageContext(tmp_path, on_drop=lambda *what: told.append(what))


def test_of_duplicates__the_best_is_kept_in_whatever_order_they_come(tmp_path):
    particles = table([200, 203, 300], [150, 152, 200])
    particles = particles.with_columns({"figure_of_merit": np.array([1.0, 2.0, 1.0], dtype=np.float32)})
    for order in ([0, 1, 2], [1, 0, 2], [2, 1, 0]):
        told, ctx = dropping(tmp_path)
        stack = extract(Micrograph("m", noise(), PIXEL_A), particles.select(order), tmp_path, ctx, box_px=64)
        assert sorted(stack.particles.column("particle_id").tolist()) == [11, 12]
        assert told[0][:2] == ([10], "a better one is nearer than duplicate_A")
    all_of_them = extract(Micrograph("m", noise(), PIXEL_A), particles, tmp_path, box_px=64, duplicate_A=0.0)
    assert len(all_of_them.images) == 3


def test_mirrored_edges__keep_particles_whose_centre_is_inside(tmp_path):
    data = noise()
    particles = table([5, 250, 495], [200, 395, 3])
    told, ctx = dropping(tmp_path)
    mirrored = extract(
        Micrograph("m", data, PIXEL_A), particles, tmp_path, ctx, box_px=64, edge="mirror", invert=False, ramp=False
    )
    assert len(mirrored.images) == 3
    assert not told
    assert len(extract(Micrograph("m", data, PIXEL_A), particles, tmp_path, box_px=64).images) == 0
    whole = np.pad(data, 64, mode="symmetric")
    for image, (x, y) in zip(mirrored.images, [(5, 200), (250, 395), (495, 3)], strict=True):
        window = whole[64 + y - 32 : 64 + y + 32, 64 + x - 32 : 64 + x + 32]
        assert np.corrcoef(window.ravel(), image.ravel())[0, 1] == pytest.approx(1.0, abs=1e-5)


def test_half_precision__is_what_16_bits_hold_and_costs_a_thousandth(tmp_path):
    particles = table([100, 250], [100, 200])
    full = extract(Micrograph("m", noise(), PIXEL_A), particles, tmp_path, box_px=64)
    half = extract(Micrograph("m", noise(), PIXEL_A), particles, tmp_path, box_px=64, half_precision=True)
    assert half.images.dtype == np.float32
    assert np.array_equal(half.images.astype(np.float16).astype(np.float32), half.images)
    assert np.abs(half.images - full.images).max() < 2.0**-11 * np.abs(full.images).max()


def test_boxes_mostly_outside_and_unknown_policies__are_refused():
    with pytest.raises(InvalidInput, match="edge"):
        Params(edge="stretch")  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="centre within"):
        boxes.cut_mirrored(noise(), np.array([[-40, 100]]), 64)
    with pytest.raises(InvalidInput, match="duplicate_A"):
        Params(duplicate_A=-1.0)
