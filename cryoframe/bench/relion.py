"""RELION's pickers and its extraction as a benchmark runs them: what they are told, and what they say; no scores."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cryoframe.bench.calls import AUTOPICK, PREPROCESS, Peer, run_program
from cryoframe.bench.pick_fields import PIXEL_A, Kind, PickField
from cryoframe.errors import CryoframeError
from cryoframe.formats import mrc
from cryoframe.formats.star import read_star, write_star

#: Thresholds of RELION's LoG picker among which, with and without the CTF, the best for RELION is chosen by the truth.
LOG_ADJUSTMENTS = (-1.5, -0.75, 0.0, 0.75, 1.5)
_STAR, _PARTICLES = "micrographs.star", "particles.star"


def write_star_file(fields: Sequence[PickField], folder: Path) -> None:
    """Write the STAR file of micrographs with CTFs that lie in `folder`."""
    optics = fields[0].optics
    names = [field.path.name for field in fields]
    columns = {
        "rlnMicrographName": names,
        "rlnOpticsGroup": ["1"] * len(fields),
        "rlnDefocusU": [f"{field.ctf.defocus_u_A:.2f}" for field in fields],
        "rlnDefocusV": [f"{field.ctf.defocus_v_A:.2f}" for field in fields],
        "rlnDefocusAngle": [f"{field.ctf.defocus_angle_deg:.2f}" for field in fields],
        "rlnCtfImage": [f"{name}:mrc" for name in names],
    }
    group = {
        "rlnOpticsGroupName": ["opticsGroup1"],
        "rlnOpticsGroup": ["1"],
        "rlnMicrographPixelSize": [f"{PIXEL_A}"],
        "rlnVoltage": [f"{optics.voltage_kV}"],
        "rlnSphericalAberration": [f"{optics.cs_mm}"],
        "rlnAmplitudeContrast": [f"{optics.amplitude_contrast_frac}"],
    }
    write_star(folder / _STAR, {"optics": group, "micrographs": columns})


def pick_log(folder: Path, out: str, kind: Kind, *, adjustment: float, use_ctf: bool) -> Peer:
    """Run the LoG picker over all micrographs of the STAR file."""
    words: list[object] = [
        "--LoG",
        "--LoG_diam_min",
        0.8 * kind.diameter_A,
        "--LoG_diam_max",
        kind.diameter_A,
        "--shrink",
        0,
    ]
    words += ["--lowpass", 20, "--LoG_adjust_threshold", adjustment, *(["--LoG_use_ctf"] if use_ctf else [])]
    return _autopick(folder, out, words)


def pick_template(folder: Path, out: str, kind: Kind, reference: Path) -> Peer:
    """Run the template picker with a map, its threshold at 0: the best one is chosen afterwards."""
    words: list[object] = [
        "--ref",
        reference,
        "--angpix_ref",
        PIXEL_A,
        "--invert",
        "--ctf",
        "--lowpass",
        20,
        "--ang",
        10,
    ]
    words += ["--healpix_order", 1, "--sym", kind.point_group, "--particle_diameter", kind.diameter_A]
    words += ["--threshold", 0.0, "--min_distance", 0.6 * kind.diameter_A, "--shrink", 0]
    return _autopick(folder, out, words)


def _autopick(folder: Path, out: str, words: Sequence[object]) -> Peer:
    (folder / out).mkdir(exist_ok=True)
    return run_program(AUTOPICK, ["--i", _STAR, "--odir", f"{out}/", "--pickname", "p", *words], folder)


def picks_of(folder: Path, out: str, field: PickField) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """RELION's picks `(m, 2)` [Å] and their scores."""
    path = folder / out / f"{field.path.stem}_p.star"
    # RELION leaves an empty file where it finds nothing.
    if not path.is_file() or not path.stat().st_size:
        return np.empty((0, 2)), np.empty(0)
    (block,) = read_star(path).values()
    names = ("rlnCoordinateX", "rlnCoordinateY", "rlnAutopickFigureOfMerit")
    x, y, merit = (np.array(block.columns.get(name, []), dtype=np.float64) for name in names)
    return np.stack([x, y], axis=1) * PIXEL_A, merit


def extract(
    fields: Sequence[PickField], centres_px: Sequence[NDArray[np.float64]], folder: Path, *, box_px: int
) -> Peer:
    """Cut boxes of the given centres (whole pixels) out of all micrographs of the STAR file."""
    for field, xy in zip(fields, centres_px, strict=True):
        columns = {name: [f"{value:.2f}" for value in xy[:, axis]]
                   for axis, name in enumerate(("rlnCoordinateX", "rlnCoordinateY"))}  # fmt: skip
        write_star(folder / f"{field.path.stem}_p.star", {"": columns})
    words: list[object] = ["--i", _STAR, "--coord_dir", "./", "--coord_suffix", "_p.star", "--part_dir", "out/"]
    words += ["--part_star", _PARTICLES, "--extract", "--extract_size", box_px, "--norm", "--invert_contrast"]
    words += ["--bg_radius", round(0.375 * box_px), "--white_dust", -1, "--black_dust", -1]
    return run_program(PREPROCESS, words, folder)


def extracted(folder: Path, field: PickField) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Centres `(m, 2)` [px] and boxes `(m, n, n)` of one micrograph as RELION cut them."""
    blocks = read_star(folder / _PARTICLES)
    if "particles" not in blocks:
        raise CryoframeError("relion_preprocess ended well and extracted nothing", expected="a box for each place")
    columns = blocks["particles"].columns
    rows = [i for i, name in enumerate(columns["rlnMicrographName"]) if name == field.path.name]
    xy = np.array([[float(columns[name][i]) for name in ("rlnCoordinateX", "rlnCoordinateY")] for i in rows])
    index, _, file = columns["rlnImageName"][rows[0]].partition("@")
    del index
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        images = mrc.read(folder / file)[0]
    order = [int(columns["rlnImageName"][i].partition("@")[0]) - 1 for i in rows]
    return xy, np.asarray(images, dtype=np.float32)[order]
