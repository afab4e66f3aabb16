"""estimate_ctf `spectrum` and `profile` on real micrographs and spectra of published fits, and on what is no image."""

from __future__ import annotations

import csv
import time
from dataclasses import replace

import numpy as np
import pytest

from cryoframe import Micrograph, Optics, StageContext
from cryoframe.errors import Cancelled, InvalidInput
from cryoframe.formats import mrc
from cryoframe_ctf import plugin, profile
from cryoframe_ctf.plugin import Params, estimate_ctf

METHODS = [pytest.param(plugin, id="spectrum"), pytest.param(profile, id="profile")]


def angle_between(a, b):
    return abs((a - b + 90) % 180 - 90)


def references(shared_data):
    with (shared_data / "micrographs" / "reference_ctf_fits.csv").open() as lines:
        return list(csv.DictReader(lines))


def micrograph_of(shared_data, row):
    folder = shared_data / "micrographs"
    if row["image"].endswith(".mrc"):
        data, _ = mrc.read_image(folder / "epu" / "fei-extended.mrc")
    else:
        imagecodecs = pytest.importorskip("imagecodecs")
        data = imagecodecs.imread(folder / "apoferritin_EMPIAR-10146" / row["image"]).astype(np.float32)
    optics = Optics(float(row["kV"]), float(row["Cs_mm"]), float(row["ac"]))
    return Micrograph(row["image"], data, float(row["pixel_A"]), optics=optics)


def fitted(micrograph, folder, method=plugin, **settings):
    return method.estimate_ctf(micrograph=micrograph, params=method.Params(**settings), ctx=StageContext(folder))


@pytest.mark.parametrize("method", METHODS)
def test_eight_real_k2_spectra__agree_with_ctffind(shared_data, tmp_path, say, method):
    folder = shared_data / "ctf" / "betagal_K2_power_spectra"
    du, dv, da = [], [], []
    with (folder / "ctf_truth.csv").open() as lines:
        for row in csv.DictReader(lines):
            power, _ = mrc.read_image(folder / row["micrograph"].replace(".mrc", "_PS.mrc"))
            given = Micrograph(row["micrograph"], power, 1.39955, optics=Optics(200.0, 1.4, 0.1))
            fit = fitted(given, tmp_path, method, input="spectrum")
            du.append(fit.defocus_u_A - float(row["tutorial_defU"]))
            dv.append(fit.defocus_v_A - float(row["tutorial_defV"]))
            da.append(angle_between(fit.defocus_angle_deg, float(row["tutorial_ang"])))
            say(
                f"{row['micrograph'][:14]} dU {du[-1]:+.0f} dV {dv[-1]:+.0f} Å, {da[-1]:.1f}°, score {fit.score:.3f}, "
                f"rings to {fit.fit_resolution_A:.2f} Å (CTFFIND {float(row['tutorial_maxres']):.2f}), "
                f"confidence {fit.confidence_frac:.4f}"
            )
            assert fit.accepted
            assert fit.fit_resolution_A == pytest.approx(float(row["tutorial_maxres"]), rel=0.12)
    assert len(du) == 8
    assert max(map(abs, du)) < 50
    assert max(map(abs, dv)) < 50
    assert sorted(da)[-2] < 5
    assert max(da) < 8


@pytest.mark.parametrize("method", METHODS)
def test_real_micrographs__agree_with_the_reference_fits(shared_data, tmp_path, say, method):
    for row in references(shared_data):
        micrograph = micrograph_of(shared_data, row)
        started = time.process_time()
        fit = fitted(micrograph, tmp_path, method)
        seconds = time.process_time() - started
        du, dv = fit.defocus_u_A - float(row["defU_A"]), fit.defocus_v_A - float(row["defV_A"])
        say(
            f"{row['image'][-24:]}: {fit.defocus_u_A:.0f}/{fit.defocus_v_A:.0f} Å ({du:+.0f}, {dv:+.0f}), "
            f"{fit.defocus_angle_deg:.0f}° ({float(row['angle_deg']):.0f}°), confidence {fit.confidence_frac:.4f}, "
            f"rings to {fit.fit_resolution_A:.2f} Å, tilt {fit.tilt_deg or 0:.1f}°, {seconds:.2f} CPU-s"
        )
        limit = 150 if row["image"].endswith(".mrc") else 400
        assert max(abs(du), abs(dv)) < limit
        assert fit.micrograph_id == row["image"]
        assert fit.defocus_u_A >= fit.defocus_v_A
        assert fit.accepted, fit.verdict


def test_both_halves_of_a_real_image__have_its_defocus(shared_data, tmp_path, say):
    for row in references(shared_data):
        micrograph = micrograph_of(shared_data, row)
        halves = [fitted(replace(micrograph, data=part), tmp_path) for part in np.array_split(micrograph.data, 2)]
        means = [0.5 * (half.defocus_u_A + half.defocus_v_A) for half in halves]
        whole = 0.5 * (float(row["defU_A"]) + float(row["defV_A"]))
        say(f"{row['image'][-24:]}: halves at {means[0]:.0f} and {means[1]:.0f} Å, the whole at {whole:.0f} Å")
        limit = 150 if row["image"].endswith(".mrc") else 400
        assert all(half.accepted for half in halves)
        assert max(abs(mean - whole) for mean in means) < limit
        # A specimen inclined by 10° differs by 160 Å between the middles of two halves of these fields.
        assert abs(means[0] - means[1]) < limit


@pytest.mark.bench
@pytest.mark.parametrize(("method", "limit_s"), [pytest.param(plugin, 1.6, id="spectrum"), (profile, 0.8)])
def test_a_4096_micrograph__takes_less_than_ctffind5(shared_data, tmp_path, say, method, limit_s):
    data, _ = mrc.read_image(shared_data / "micrographs" / "epu" / "fei-extended.mrc")
    pads = [(0, 4096 - length) for length in data.shape]
    full = np.pad(data, pads, mode="reflect").astype(np.float32)
    micrograph = Micrograph("m", full, 0.8538, 47.6, optics=Optics(300.0, 2.7, 0.07))
    fitted(micrograph, tmp_path, method)
    started = time.process_time()
    fitted(micrograph, tmp_path, method)
    seconds = time.process_time() - started
    say(f"CTF of 4096² by {method.__name__}: {seconds:.2f} CPU-s, read excluded (CTFFIND5: 1.6, read included)")
    assert seconds < limit_s


def test_result__does_not_depend_on_threads_and_input_is_untouched(tmp_path):
    data = np.random.default_rng(6).standard_normal((700, 600)).astype(np.float32)
    before = data.copy()
    data.flags.writeable = False
    micrograph = Micrograph("m", data, 1.5)
    fits = [
        estimate_ctf(micrograph=micrograph, params=Params(), ctx=StageContext(tmp_path, n_threads=n)) for n in (1, 2)
    ]
    assert fits[0].defocus_u_A == fits[1].defocus_u_A
    assert np.array_equal(fits[0].profile, fits[1].profile)
    assert np.array_equal(data, before)


def noise(shape=(256, 256), **options):
    return np.random.default_rng(8).standard_normal(shape, **options).astype(np.float32)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("data", "pixel", "says"),
    [
        (np.full((256, 256), np.nan, dtype=np.float32), 1.0, "not finite"),
        (np.where(np.arange(256) == 7, np.float32(np.nan), noise()), 1.0, "not finite"),
        (np.where(np.arange(256) == 7, np.float32(np.inf), noise()), 1.0, "not finite"),
        (np.full((256, 256), 3.0, dtype=np.float32), 1.0, "every pixel"),
        (np.minimum(noise(), 0.3), 1.0, "largest value"),
        (np.ones((16, 16), dtype=np.float32), 1.0, "at least 64 px"),
        (noise((64, 64)), 1.0, "rings"),
        (noise(), 0.0, "pixel of 0"),
        (noise(), -1.0, "pixel of -1"),
        (noise(), float("nan"), "pixel of nan"),
        (noise(), 50.0, "rings"),
    ],
)
def test_what_cannot_be_fitted__is_said_with_a_remedy(data, pixel, says, tmp_path, method):
    with pytest.raises(InvalidInput, match=says) as caught:
        fitted(Micrograph("m", data, pixel), tmp_path, method)
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("data", "says"), [(noise((256, 200)), "shape"), (noise((255, 255)), "shape"), (noise(), "positive")]
)
def test_what_is_no_spectrum__is_refused(data, says, tmp_path):
    with pytest.raises(InvalidInput, match=says):
        fitted(Micrograph("m", data, 1.0), tmp_path, input="spectrum")


@pytest.mark.parametrize(
    "settings", [{"input": "movie"}, {"confidence_min_frac": 1.5}, {"vacuum_grey": float("nan")}, {"low_A": 2.0}]
)
@pytest.mark.parametrize("method", METHODS)
def test_settings_that_cannot_be_meant__are_refused(settings, method):
    with pytest.raises(InvalidInput):
        method.Params(**settings)


@pytest.mark.parametrize("method", METHODS)
def test_an_image_without_rings__is_not_accepted_and_says_why(tmp_path, method):
    metrics = {}
    ctx = StageContext(tmp_path, on_metric=lambda name, value, unit: metrics.update({name: value}))
    micrograph = Micrograph("m", noise((1024, 1024)), 1.2)
    fit = method.estimate_ctf(micrograph=micrograph, params=method.Params(), ctx=ctx)
    assert not fit.accepted
    assert fit.verdict in ("no rings", "another defocus is nearly as good")
    assert fit.confidence_frac < 0.9
    assert fit.ice_thickness_A is None
    assert fit.tilt_deg is None
    assert metrics["ctf_accepted"] == 0.0


def test_progress_is_told__and_cancelling_stops(tmp_path):
    data = np.random.default_rng(7).standard_normal((256, 256)).astype(np.float32)
    with pytest.raises(Cancelled):
        estimate_ctf(
            micrograph=Micrograph("m", data, 1.5),
            params=Params(),
            ctx=StageContext(tmp_path, is_cancelled=lambda: True),
        )


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("vacuum", "weighted", "says"), [(30.0, False, "no share of vacuum_grey"), (50.0, True, "dose-weighted")]
)
def test_intensity_that_cannot_be_compared__gives_no_thickness_and_says_why(tmp_path, method, vacuum, weighted, says):
    data = np.random.default_rng(9).poisson(40.0, (512, 512)).astype(np.float32)
    lines = []
    micrograph = Micrograph("m", data, 1.2, dose_weighted=weighted)
    ctx = StageContext(tmp_path, on_log=lines.append)
    fit = method.estimate_ctf(micrograph=micrograph, params=method.Params(vacuum_grey=vacuum), ctx=ctx)
    assert fit.ice_thickness_A is None
    assert says in " ".join(lines)


def test_intensity_behind_the_slit__gives_the_thickness(tmp_path):
    vacuum = 40.0
    data = np.random.default_rng(9).poisson(vacuum * np.exp(-450.0 / 3950.0), (512, 512)).astype(np.float32)
    fit = fitted(Micrograph("m", data, 1.2), tmp_path, vacuum_grey=vacuum)
    # The mean of 512² counts of 36 is known to 0.03 %, which is 1.3 Å.
    assert fit.ice_thickness_A == pytest.approx(450.0, abs=5.0)
