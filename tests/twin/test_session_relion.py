"""RELION on a simulated session finds what the truth says: motion, places, poses, CTF, hand; no code of ours between.

Frames are aligned by `relion_run_motioncorr`, boxes cut by `relion_preprocess` where the truth's STAR says, and the map
made by `relion_reconstruct` from the truth's poses and CTF; it must be the specimen's map as far as its noise allows.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from session_world import made

from cryoframe.compare.truth import Truth
from cryoframe.compare.truth_answers import gathered
from cryoframe.compare.truth_table import score
from cryoframe.formats import mrc
from cryoframe.formats.star import StarBlock, read_star, write_star
from cryoframe.numerics import fsc
from cryoframe.twin.session import from_mapping

PIXEL_A, BOX_PX, N_MOVIES, DOSE_E_A2, N_FRAMES = 1.5, 160, 12, 40.0, 12
PROGRAMS = ("relion_run_motioncorr", "relion_preprocess", "relion_reconstruct")
Volumes = NDArray[np.float32]


def _run(folder: Path, *words: str | int | float) -> None:
    command = [str(word) for word in words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Path:
    """A folder with a session in ``out`` and its truth in ``truth``, motion corrected by RELION in ``mc``."""
    if absent := [name for name in PROGRAMS if shutil.which(name) is None]:
        pytest.skip(f"{', '.join(absent)} not installed")
    folder = tmp_path_factory.mktemp("relion")
    content = {
        "session": {"name": "r", "seed": 11, "n_movies": N_MOVIES, "layout": "flat", "folder": "out", "truth": "truth"},
        "image": {"shape_px": [1024, 1024], "pixel_size_A": PIXEL_A, "n_frames": N_FRAMES, "dose_e_A2": DOSE_E_A2,
                  "frame_time_s": 0.5},
        "defocus": {"min_A": 9000.0, "max_A": 18000.0},
        "grid": {"shots_per_hole": 2},
        "specimen": [{"file": str(repository / "cryoframe" / "cli" / "demo_data" / "5a1a.cif.gz"), "name": "betagal",
                      "symmetry": "D2", "concentration_mg_mL": 22.0}],
    }  # fmt: skip
    made(from_mapping(content, folder=folder), n_workers=2)
    blocks = read_star(folder / "truth" / "micrographs.star")
    rows = blocks["micrographs"].columns
    movies = {"rlnMicrographMovieName": [f"out/{name}" for name in rows["rlnMicrographMovieName"]],
              "rlnOpticsGroup": rows["rlnOpticsGroup"]}  # fmt: skip
    write_star(folder / "movies.star", {"optics": blocks["optics"], "movies": StarBlock(movies)})
    _run(
        folder, "relion_run_motioncorr", "--i", "movies.star", "--o", "mc/", "--use_own", "--j", 1, "--dose_weighting",
        "--dose_per_frame", DOSE_E_A2 / N_FRAMES, "--gainref", "out/gain.mrc", "--patch_x", 1, "--patch_y", 1,
        "--bfactor", 150,
    )  # fmt: skip
    for name in rows["rlnMicrographName"]:
        (folder / name).symlink_to(folder / "mc" / "out" / name)
    return folder


@pytest.mark.slow
@pytest.mark.relion
def test_relions_motion__is_the_true_one_within_half_a_pixel(
    session: Path, figure: Callable[[str, object], None]
) -> None:
    truth = Truth.open(session / "truth")
    rows = score(gathered(sorted((session / "mc" / "out").glob("*.star")), truth), truth).rows
    found = {row.quantity: row for row in rows}["motion_rms_A"]
    figure("RELION's whole-frame motion against the truth, RMS, median [px]", round(found.value / PIXEL_A, 2))
    assert found.n == N_MOVIES
    assert found.value <= 0.5 * PIXEL_A


@pytest.mark.slow
@pytest.mark.relion
def test_relions_map_from_true_poses__is_the_specimen_as_far_as_its_noise_allows(
    session: Path, figure: Callable[[str, object], None]
) -> None:
    (session / "ex").mkdir()
    _run(
        session, "relion_preprocess", "--i", "truth/micrographs.star", "--reextract_data_star", "truth/particles.star",
        "--part_star", "ex/particles.star", "--part_dir", "ex/", "--extract", "--extract_size", BOX_PX, "--norm",
        "--bg_radius", 65, "--invert_contrast", "--white_dust", -1, "--black_dust", -1,
    )  # fmt: skip
    halves = _halves(session)
    specimen = _framed(np.asarray(mrc.open_mapped(session / "truth" / "maps" / "betagal.mrc"), dtype=np.float32))
    together = 0.5 * (halves[0] + halves[1])
    mask = _mask()
    half, whole, mirrored = (
        fsc.fsc_curve(np.ascontiguousarray(a), np.ascontiguousarray(b), pixel_size_A=PIXEL_A, mask=mask)
        for a, b in (halves, (together, specimen), (np.roll(together[:, :, ::-1], 1, axis=2), specimen))
    )
    # FSC of the mean of two halves with the noiseless map: Rosenthal & Henderson 2003, doi:10.1016/j.jmb.2003.07.013.
    expected = np.sqrt(2 * np.clip(half.fsc, 0, 1) / (1 + np.clip(half.fsc, 0, 1)))
    finest = fsc.resolution_at(whole.frequency_1_A, whole.fsc, 0.5).resolution_A
    figure("RELION's map of true poses to the specimen, FSC 0.5 [Å]", round(finest, 1))
    figure("the same of the mirrored map [Å]",
           round(fsc.resolution_at(mirrored.frequency_1_A, mirrored.fsc, 0.5).resolution_A, 1))  # fmt: skip
    sure = (expected > 0.95) & (whole.frequency_1_A > 0)
    assert sure.sum() >= 8
    assert (whole.fsc[sure] > 0.9).all()
    known = (half.fsc > 0.3) & (whole.frequency_1_A > 0)
    assert float(np.mean(whole.fsc[known] - expected[known])) > -0.05
    assert fsc.resolution_at(mirrored.frequency_1_A, mirrored.fsc, 0.5).resolution_A > 3 * finest


def _halves(session: Path) -> tuple[Volumes, Volumes]:
    blocks = read_star(session / "ex" / "particles.star")
    rows = blocks["particles"].columns
    found = []
    for half in (0, 1):
        chosen = StarBlock({name: values[half::2] for name, values in rows.items()})
        write_star(session / f"half{half}.star", {"optics": blocks["optics"], "particles": chosen})
        _run(session, "relion_reconstruct", "--i", f"half{half}.star", "--o", f"half{half}.mrc", "--ctf", "--sym", "D2",
             "--angpix", PIXEL_A, "--maxres", 4)  # fmt: skip
        found.append(np.asarray(mrc.open_mapped(session / f"half{half}.mrc"), dtype=np.float32))
    return found[0], found[1]


def _framed(volume: Volumes) -> Volumes:
    """Bring a map into the boxes' frame, the origin n//2 kept."""
    framed = np.zeros((BOX_PX,) * 3, dtype=np.float32)
    n = min(BOX_PX, volume.shape[0])
    there, here = (slice(edge // 2 - n // 2, edge // 2 - n // 2 + n) for edge in (BOX_PX, volume.shape[0]))
    framed[there, there, there] = volume[here, here, here]
    return framed


def _mask() -> Volumes:
    places = np.indices((BOX_PX,) * 3) - BOX_PX // 2
    radius_A = np.sqrt((places**2).sum(axis=0)) * PIXEL_A
    return np.asarray(1 / (1 + np.exp((radius_A - 100.0) / 5.0)), dtype=np.float32)
