"""RELION, on files of a simulated session alone, finds what the truth says: motion, then the specimen itself.

Movies → RELION's own motion correction → its extraction at the true places → its reconstruction with the true poses and
CTF: none of our code lies between our simulator's files and its map, so sign, hand, origin, gain and CTF are right.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from cryoframe.cli.main import main
from cryoframe.compare.truth import Truth, track
from cryoframe.formats import mrc
from cryoframe.formats.star import read_star
from cryoframe.numerics import fsc

pytestmark = [
    pytest.mark.relion,
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("relion_run_motioncorr") is None, reason="RELION is not installed"),
]
PIXEL_A, BOX, N_MOVIES = 1.5, 192, 3
SESSION = """
[session]
name = "s"
seed = 3
n_movies = 3
kind = "tiff"
layout = "flat"
[image]
shape_px = [2048, 2048]
pixel_size_A = 1.5
n_frames = 10
frame_time_s = 0.7
dose_per_frame_e_A2 = 3.5
[defocus]
min_A = 8000.0
max_A = 20000.0
[[specimen]]
file = "{model}"
name = "bgal"
concentration_mg_mL = 30.0
symmetry = "D2"
"""


def relion(folder: Path, program: str, *words: object) -> None:
    done = subprocess.run(
        [f"relion_{program}", *(str(word) for word in words)], cwd=folder, capture_output=True, text=True, check=False
    )
    assert "Done" in done.stdout, done.stdout[-1000:] + done.stderr[-2000:]


@pytest.fixture(scope="module")
def worked(tmp_path_factory: pytest.TempPathFactory, shared_data: Path) -> tuple[Path, Truth]:
    """RELION's project over a session, and the truth it never saw but for places and poses."""
    folder = tmp_path_factory.mktemp("relion")
    (folder / "session.toml").write_text(SESSION.format(model=shared_data / "models" / "5a1a.cif"))
    words = ["simulate", folder / "session.toml", "--out", folder / "movies", "--truth", folder / "truth", "--quiet"]
    assert main([str(word) for word in words]) == 0
    movies = sorted((folder / "movies").glob("*.tif*"))
    assert len(movies) == N_MOVIES
    optics = "_rlnOpticsGroupName #1\n_rlnOpticsGroup #2\n_rlnMicrographOriginalPixelSize #3\n_rlnVoltage #4\n"
    optics += "_rlnSphericalAberration #5\n_rlnAmplitudeContrast #6\nopticsGroup1 1 1.5 300.0 2.7 0.1\n"
    rows = "".join(f"movies/{path.name} 1\n" for path in movies)
    (folder / "movies.star").write_text(
        f"# version 30001\n\ndata_optics\n\nloop_\n{optics}\n# version 30001\n\ndata_movies\n\nloop_\n"
        f"_rlnMicrographMovieName #1\n_rlnOpticsGroup #2\n{rows}\n"
    )
    (gain,) = (path for path in (folder / "movies").iterdir() if path.name.startswith("gain"))
    relion(
        folder, "run_motioncorr", "--i", "movies.star", "--o", "mc/", "--use_own", "--gainref", gain,
        "--dose_per_frame", 3.5, "--dose_weighting", "--patch_x", 1, "--patch_y", 1, "--bfactor", 150,
        "--bin_factor", 1, "--first_frame_sum", 1, "--last_frame_sum", -1, "--j", 2,
    )  # fmt: skip
    return folder, Truth.open(folder / "truth")


def test_relions_motion__is_the_true_motion(worked: tuple[Path, Truth], figure) -> None:
    folder, truth = worked
    rms_px = []
    for name in truth:
        block = read_star(folder / "mc" / "movies" / f"{name}.star")["global_shift"]
        found = np.array([[float(value) for value in block.columns[f"rlnMicrographShift{axis}"]] for axis in "XY"]).T
        true = track(truth.exposure(name).motion).local_A.mean(axis=0) / PIXEL_A
        difference = found - true
        # Where the sum lies as a whole is arbitrary: the error of the first frame, against which RELION counts.
        difference -= difference.mean(axis=0)
        rms_px.append(float(np.sqrt(np.mean(np.sum(difference**2, axis=1)))))
    figure("RELION's whole-frame motion of a simulated session against the truth", f"{max(rms_px):.2f} px RMS at most")
    assert max(rms_px) <= 0.5


def test_relions_map__from_true_places_and_poses__is_the_specimen(worked: tuple[Path, Truth], figure) -> None:
    folder, _ = worked
    text = (folder / "truth" / "particles.star").read_text()
    text = re.sub(r"(?m)^(?=s_\d+\.mrc)", "mc/movies/", text)
    if "rlnImageSize" not in text:
        text = re.sub(
            r"(_rlnImageDimensionality #(\d+)) *\n", lambda m: f"{m[1]}\n_rlnImageSize #{int(m[2]) + 1}\n", text
        )
        text = re.sub(r"(?m)^(opticsGroup1\b.*\S)[ \t]*$", rf"\1 {BOX}", text)
    (folder / "true.star").write_text(text)
    relion(
        folder, "preprocess", "--i", "mc/corrected_micrographs.star", "--reextract_data_star", "true.star",
        "--part_star", "particles.star", "--part_dir", "Extract/", "--extract", "--extract_size", BOX,
        "--norm", "--bg_radius", 72, "--invert_contrast",
    )  # fmt: skip
    lines = (folder / "particles.star").read_text().splitlines(keepends=True)
    is_row = [("@Extract" in line) for line in lines]
    number = np.cumsum(is_row)
    assert number[-1] > 100
    volumes = []
    for half in (1, 2, 0):
        kept = [
            line for line, row, n in zip(lines, is_row, number, strict=True) if not row or not half or n % 2 == half % 2
        ]
        (folder / f"half{half}.star").write_text("".join(kept))
        relion(folder, "reconstruct", "--i", f"half{half}.star", "--o", f"half{half}.mrc", "--ctf", "--sym", "D2")
        volumes.append(np.array(mrc.open_mapped(folder / f"half{half}.mrc"), dtype=np.float32))
    specimen = np.zeros_like(volumes[0])
    (path,) = (folder / "truth" / "maps").glob("bgal*.mrc")
    small = mrc.open_mapped(path)
    start, edge = BOX // 2 - small.shape[0] // 2, small.shape[0]
    specimen[start : start + edge, start : start + edge, start : start + edge] = small
    mask = ball(BOX, 66.0)
    first, second, whole = (volume * mask for volume in volumes)
    halves = fsc.fsc_curve(first, second, pixel_size_A=PIXEL_A).fsc
    to_truth = fsc.fsc_curve(whole, specimen * mask, pixel_size_A=PIXEL_A)
    mirrored = fsc.fsc_curve(whole[::-1], specimen * mask, pixel_size_A=PIXEL_A).fsc
    # What halves share is SSNR/(1+SSNR) of half the data; of all of them the map correlates with the truth by the root
    # of SSNR'/(1+SSNR'), SSNR' = 2·SSNR (Rosenthal & Henderson 2003, doi:10.1016/j.jmb.2003.07.013).
    predicted = np.sqrt(np.clip(2.0 * halves / (1.0 + halves), 0.0, 1.0))
    certain = int(np.argmax(predicted[2:] < 0.9)) + 2
    resolution_A = 1.0 / to_truth.frequency_1_A[certain]
    worst = float(np.abs(to_truth.fsc - predicted)[2:certain].max())
    figure(
        "RELION's reconstruction of a simulated session against the specimen",
        f"FSC {to_truth.fsc[2:certain].min():.3f} or more to {resolution_A:.1f} Å, where halves say 0.9; within"
        f" {worst:.3f} of what they say; mirrored {mirrored[4:certain].mean():.2f}; {number[-1]} particles",
    )
    assert resolution_A < 20.0
    assert to_truth.fsc[2:certain].min() > 0.88
    assert worst < 0.05
    assert mirrored[4:certain].mean() < 0.6


def ball(n: int, radius_px: float) -> np.ndarray:
    z, y, x = np.indices((n, n, n)) - n // 2
    distance = np.sqrt(x * x + y * y + z * z)
    return np.clip((radius_px - distance) / 6.0 + 0.5, 0.0, 1.0).astype(np.float32)
