"""estimate_ctf `spectrum` on real micrographs and spectra of published fits."""

from __future__ import annotations

import csv
import time

import numpy as np
import pytest

from cryoframe import Micrograph, Optics, StageContext
from cryoframe.errors import Cancelled, InvalidInput
from cryoframe.formats import mrc
from cryoframe.numerics import ctf_fit, spectrum
from cryoframe_ctf.plugin import Params, estimate_ctf


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


def test_eight_real_k2_spectra__agree_with_ctffind(shared_data, say):
    folder = shared_data / "ctf" / "betagal_K2_power_spectra"
    du, dv, da = [], [], []
    with (folder / "ctf_truth.csv").open() as lines:
        for row in csv.DictReader(lines):
            power, _ = mrc.read_image(folder / row["micrograph"].replace(".mrc", "_PS.mrc"))
            fit = ctf_fit.fit_spectrum(
                spectrum.half_of_full(power), 1.39955, voltage_kV=200.0, cs_mm=1.4, amplitude_contrast=0.1
            )
            du.append(fit.defocus_u_A - float(row["tutorial_defU"]))
            dv.append(fit.defocus_v_A - float(row["tutorial_defV"]))
            da.append(angle_between(fit.defocus_angle_deg, float(row["tutorial_ang"])))
            say(
                f"{row['micrograph'][:14]} dU {du[-1]:+.0f} dV {dv[-1]:+.0f} Å, {da[-1]:.1f}°, score {fit.score:.3f}, "
                f"rings to {fit.fit_resolution_A:.2f} Å (CTFFIND {float(row['tutorial_maxres']):.2f})"
            )
            assert fit.fit_resolution_A == pytest.approx(float(row["tutorial_maxres"]), rel=0.12)
    assert len(du) == 8
    assert max(map(abs, du)) < 50
    assert max(map(abs, dv)) < 50
    assert sorted(da)[-2] < 5
    assert max(da) < 8


def test_real_micrographs__agree_with_the_reference_fits(shared_data, tmp_path, say):
    for row in references(shared_data):
        micrograph = micrograph_of(shared_data, row)
        started = time.process_time()
        fit = estimate_ctf(micrograph=micrograph, params=Params(), ctx=StageContext(tmp_path))
        seconds = time.process_time() - started
        du, dv = fit.defocus_u_A - float(row["defU_A"]), fit.defocus_v_A - float(row["defV_A"])
        say(
            f"{row['image']}: {fit.defocus_u_A:.0f}/{fit.defocus_v_A:.0f} Å ({du:+.0f}, {dv:+.0f}), "
            f"{fit.defocus_angle_deg:.0f}° ({float(row['angle_deg']):.0f}°), score {fit.score:.3f}, "
            f"rings to {fit.fit_resolution_A:.2f} Å, {seconds:.2f} CPU-s"
        )
        limit = 150 if row["image"].endswith(".mrc") else 400
        assert max(abs(du), abs(dv)) < limit
        assert fit.micrograph_id == row["image"]
        assert fit.defocus_u_A >= fit.defocus_v_A


@pytest.mark.bench
def test_a_4096_micrograph__takes_about_a_cpu_second(tmp_path, say):
    noise = np.random.default_rng(5).standard_normal((4096, 4096)).astype(np.float32)
    micrograph = Micrograph("m", noise, 0.85)
    estimate_ctf(micrograph=micrograph, params=Params(), ctx=StageContext(tmp_path))
    started = time.process_time()
    estimate_ctf(micrograph=micrograph, params=Params(), ctx=StageContext(tmp_path))
    seconds = time.process_time() - started
    say(f"CTF of 4096²: {seconds:.2f} CPU-s")
    assert seconds < 6


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


@pytest.mark.parametrize(
    ("data", "pixel", "says"),
    [
        (np.full((256, 256), np.nan, dtype=np.float32), 1.0, "not finite"),
        (np.ones((16, 16), dtype=np.float32), 1.0, "at least 64 px"),
        (np.ones((256, 256), dtype=np.float32), 0.0, "pixel of 0"),
    ],
)
def test_what_cannot_be_fitted__is_said_with_a_remedy(data, pixel, says, tmp_path):
    with pytest.raises(InvalidInput, match=says) as caught:
        estimate_ctf(micrograph=Micrograph("m", data, pixel), params=Params(), ctx=StageContext(tmp_path))
    assert caught.value.remedy


def test_progress_is_told__and_cancelling_stops(tmp_path):
    data = np.random.default_rng(7).standard_normal((256, 256)).astype(np.float32)
    with pytest.raises(Cancelled):
        estimate_ctf(
            micrograph=Micrograph("m", data, 1.5),
            params=Params(),
            ctx=StageContext(tmp_path, is_cancelled=lambda: True),
        )
