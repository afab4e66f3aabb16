"""RELION's Bayesian polishing goes on from an alignment of ours: it reads motion, movie and gain; on a twin."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cryoframe import Movie, StageContext
from cryoframe.compare.truth import Truth, track
from cryoframe.formats import mrc
from cryoframe.formats.star import StarBlock, read_star, write_star
from cryoframe.formats.star_motion_write import motion_to_star
from cryoframe_formats import gain as gain_file
from cryoframe_formats import tiff_movie
from cryoframe_motion import patch
from cryoframe_motion import plugin as whole_frame

PIXEL_A, BOX, N_FRAMES = 1.5, 160, 12
PROGRAMS = ("relion_preprocess", "relion_motion_refine")
pytestmark = [
    pytest.mark.relion,
    pytest.mark.slow,
    pytest.mark.skipif(any(shutil.which(name) is None for name in PROGRAMS), reason="RELION is not installed"),
]


def ran(folder, *words):
    done = subprocess.run([str(w) for w in words], cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def session(tmp_path_factory, repository):
    folder = tmp_path_factory.mktemp("polish")
    settings = (
        "session.n_movies=2", "session.layout='flat'", "session.seed=5", "image.shape_px=[1024, 1024]",
        f"image.pixel_size_A={PIXEL_A}", f"image.n_frames={N_FRAMES}", "image.dose_e_A2=40.0",
    )  # fmt: skip
    model = repository / "cryoframe" / "cli" / "demo_data" / "5a1a.cif.gz"
    options = [word for setting in settings for word in ("--set", setting)]
    ran(folder, Path(sys.executable).parent / "cryoframe", "simulate", model, "--out", folder / "in", "--truth",
        folder / "truth", "--workers", "1", "--preset", "k3", "--quiet", *options)  # fmt: skip
    return folder


def prepared(session, plugin, folder, workdir):
    """Micrographs, motion, particles at their true places and reference in a project folder of RELION."""
    truth = Truth.open(session / "truth")
    gain = gain_file.open_gain(path=next((session / "in").rglob("*gain*")))
    mrc.write(folder / "gain.mrc", np.ascontiguousarray(gain.data, dtype=np.float32), pixel_size_A=PIXEL_A)
    mics = read_star(session / "truth" / "micrographs.star")
    names = mics["micrographs"].strings("rlnMicrographName")
    for exposure_id, name in zip(truth, names, strict=True):
        path = next((session / "in").rglob(Path(str(truth.made[exposure_id]["movie"])).name))
        source, exposure = tiff_movie.open_movie(path=path), truth.exposure(exposure_id)
        shape, optics = source.shape_px, exposure.optics
        movie = Movie(exposure_id, str(path), N_FRAMES, shape, PIXEL_A, 40.0 / N_FRAMES, optics, gain, source=source)
        made = plugin.correct_motion(movie=movie, params=plugin.Params(), ctx=StageContext(workdir))
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        mrc.write(folder / name, np.array(made.micrograph.data), pixel_size_A=PIXEL_A)
        motion_to_star(folder / Path(name).with_suffix(".star"), made, gain="gain.mrc")
    metadata = {
        "rlnMicrographName": names,
        "rlnMicrographMetadata": [str(Path(name).with_suffix(".star")) for name in names],
        "rlnOpticsGroup": mics["micrographs"].strings("rlnOpticsGroup"),
    }
    write_star(folder / "corrected.star", {"optics": mics["optics"], "micrographs": StarBlock(metadata)})
    particles = read_star(session / "truth" / "particles.star")
    rows = particles["particles"].columns
    rows |= {"rlnRandomSubset": [str(1 + i % 2) for i in range(particles["particles"].n_rows)]}
    write_star(folder / "true.star", {"optics": particles["optics"], "particles": StarBlock(rows)})
    reference(session, folder)


def reference(session, folder):
    specimen = np.asarray(mrc.open_mapped(next((session / "truth" / "maps").glob("*.mrc"))), dtype=np.float32)
    edge = min(BOX, specimen.shape[0])
    framed = np.zeros((BOX,) * 3, dtype=np.float32)
    here, there = (slice(n // 2 - edge // 2, n // 2 - edge // 2 + edge) for n in (BOX, specimen.shape[0]))
    framed[here, here, here] = specimen[there, there, there]
    radius_A = np.sqrt(((np.indices((BOX,) * 3) - BOX // 2) ** 2).sum(axis=0)) * PIXEL_A
    mrc.write(folder / "map.mrc", framed, pixel_size_A=PIXEL_A)
    mrc.write(folder / "mask.mrc", (1 / (1 + np.exp((radius_A - 110) / 5))).astype(np.float32), pixel_size_A=PIXEL_A)
    k = np.arange(BOX // 2 + 1) / (BOX * PIXEL_A)
    curve = [f"{value:.6f}" for value in 1 / (1 + np.exp((k - 1 / 6) * 60))]
    general = {"rlnUnfilteredMapHalf1": ["map.mrc"], "rlnUnfilteredMapHalf2": ["map.mrc"], "rlnMaskName": ["mask.mrc"]}
    fsc = {
        "rlnSpectralIndex": [str(i) for i in range(len(k))],
        "rlnResolution": [f"{value:.6f}" for value in k],
        "rlnFourierShellCorrelationCorrected": curve,
        "rlnFourierShellCorrelationMaskedMaps": curve,
        "rlnFourierShellCorrelationUnmaskedMaps": curve,
        "rlnCorrectedFourierShellCorrelationPhaseRandomizedMaskedMaps": ["0.0"] * len(k),
    }
    write_star(folder / "post.star", {"general": StarBlock(general, is_loop=False), "fsc": StarBlock(fsc)})


def polished_error_A(session, folder):
    """RMS of RELION's tracks of particles against those of the specimen's mean, and that of no motion at all."""
    found, none = [], []
    truth = Truth.open(session / "truth")
    names = read_star(folder / "corrected.star")["micrographs"].strings("rlnMicrographName")
    for exposure_id, name in zip(truth, names, strict=True):
        blocks = read_star(next((folder / "out").rglob(f"{Path(name).stem}_tracks.star")))
        # Where particles go, not what undoes it.
        tracks = -np.stack([np.stack([block.floats("rlnOriginXAngst"), block.floats("rlnOriginYAngst")], axis=-1)
                            for label, block in blocks.items() if label != "general"])  # fmt: skip
        true = track(truth.exposure(exposure_id).motion).whole_A
        centred = tracks - tracks.mean(axis=1, keepdims=True)
        found.append(((centred - (true - true.mean(axis=0))) ** 2).mean())
        none.append(((true - true.mean(axis=0)) ** 2).mean())
    return float(np.sqrt(np.mean(found))), float(np.sqrt(np.mean(none)))


@pytest.mark.parametrize("plugin", [patch, whole_frame], ids=["patch", "global"])
def test_relion__polishes_what_we_aligned(plugin, session, tmp_path, tmp_path_factory, say):
    prepared(session, plugin, tmp_path, tmp_path_factory.mktemp("stage"))
    mics = session / "truth" / "micrographs.star"
    ran(tmp_path, "relion_preprocess", "--i", mics, "--reextract_data_star", "true.star", "--part_star",
        "boxes.star", "--part_dir", "boxes/", "--extract", "--extract_size", BOX, "--norm", "--bg_radius", 65,
        "--invert_contrast", "--white_dust", -1, "--black_dust", -1)  # fmt: skip
    (tmp_path / "out").mkdir()
    told = ran(tmp_path, "relion_motion_refine", "--i", "boxes.star", "--f", "post.star", "--corr_mic",
               "corrected.star", "--o", "out/", "--fdose", 40.0 / N_FRAMES, "--s_vel", 0.5, "--s_div", 3000,
               "--s_acc", 2, "--combine_frames", "--j", 1)  # fmt: skip
    assert "Using movie pixel size from" in told
    assert read_star(tmp_path / "out" / "shiny.star")["particles"].n_rows > 5
    error, none = polished_error_A(session, tmp_path)
    say(
        f"RELION's polished tracks against the true whole-frame motion: RMS {error:.2f} Å; the motion itself {none:.2f}"
    )
    assert error < 0.5 * PIXEL_A
    assert error < none
