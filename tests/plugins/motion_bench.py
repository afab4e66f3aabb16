"""Full-size movies with known motion, corrected by `patch`, `global` and RELION in processes of their own; a table.

Run from the repository: ``python tests/plugins/motion_bench.py 24 track:1`` or ``… 40 drawn:2``; `--scratch` keeps
what it makes. Movies are LZW-compressed TIFF, 4096², one thread everywhere. Times are CPU seconds of whole processes,
start included.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import tifffile

sys.path.insert(0, str(Path(__file__).parent))

from moving_specimen import DOSE_E_A2, PIXEL_A, TRACKS, Truth, contrast, drawn, film, recorded

from cryoframe.formats.star_motion import motion_from_star
from cryoframe.numerics import fourier
from cryoframe.numerics.grids import frequencies_1_A
from cryoframe.numerics.motion_model import MotionModel, draw_motion

SHAPE = (4096, 4096)
BANDS_A = ((60, 30), (30, 15), (15, 8), (8, 5))
DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
CHILD = """
import sys, importlib, numpy as np
from pathlib import Path
from cryoframe import Movie, Optics, StageContext
from cryoframe_formats import tiff_movie
path, module, dose, out = sys.argv[1:]
source = tiff_movie.open_movie(path=Path(path))
plugin = importlib.import_module(module)
movie = Movie("mov", path, source.n_frames, source.shape_px, {pixel}, float(dose), Optics(200.0, 1.4), source=source)
made = plugin.correct_motion(movie=movie, params=plugin.Params(), ctx=StageContext(Path(out).parent))
columns = [made.motion.floats(name) for name in ("patch_x_A", "shift_x_A", "shift_y_A")]
np.savez(out, table=np.stack(columns), plain=made.unweighted.data)
"""
STAR = """
data_optics
loop_
_rlnOpticsGroupName #1
_rlnOpticsGroup #2
_rlnMicrographOriginalPixelSize #3
_rlnVoltage #4
_rlnSphericalAberration #5
_rlnAmplitudeContrast #6
og1 1 {pixel} 200.0 1.4 0.1

data_movies
loop_
_rlnMicrographMovieName #1
_rlnOpticsGroup #2
movie.tif 1
"""


def measured(command: list[str], folder: Path) -> tuple[float, float, float]:
    """CPU seconds, wall seconds, peak MB of a command."""
    env = dict(os.environ, OMP_NUM_THREADS="1", NUMBA_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    began = time.perf_counter()
    child = subprocess.Popen(command, cwd=folder, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peak_kB = 0
    while True:
        # Not ru_maxrss: a child begins with that of its parent.
        lines = Path(f"/proc/{child.pid}/status").read_text().splitlines()
        peak_kB = max([peak_kB, *(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))])
        pid, status, used = os.wait4(child.pid, os.WNOHANG)
        if pid:
            break
        time.sleep(0.05)
    if status:
        raise SystemExit(f"{command[0]} ended with status {status}")
    return used.ru_utime + used.ru_stime, time.perf_counter() - began, peak_kB / 1024


def truth_of(what: str, n_frames: int, dose: float) -> Truth:
    """A real track, or one drawn from the model of motion."""
    kind, number = what.split(":")
    if kind == "track":
        return recorded(DATA, TRACKS[int(number)], SHAPE)
    return drawn(draw_motion(MotionModel(), np.arange(n_frames + 1) * dose, rng=np.random.default_rng(int(number))))


def ours(out: Path) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """Whole-frame shifts, those of patches, and the plain sum."""
    with np.load(out) as kept:
        patch_x, *shifts = kept["table"]
        whole, moved = np.isnan(patch_x), np.stack(shifts, axis=1) / PIXEL_A
        n_frames = int(whole.sum())
        local = moved[~whole].reshape(-1, n_frames, 2) if not whole.all() else None
        return moved[whole], local, kept["plain"]


def theirs(folder: Path, places: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same of RELION."""
    records = motion_from_star(folder / "out" / "movie.star")
    whole = np.stack([records.shift_x_px, records.shift_y_px], axis=1)
    frame = np.arange(len(whole), dtype=float)
    local = np.stack(records.model_shift_px(frame, *(p[:, None] for p in places)), axis=-1)
    import mrcfile

    with mrcfile.open(folder / "out" / "movie_noDW.mrc", permissive=True) as file:
        return whole, whole + local, np.array(file.data)


def rms(values: np.ndarray) -> str:
    """Along x and y."""
    x, y = np.sqrt((values.reshape(-1, 2) ** 2).mean(axis=0))
    return f"{x:.3f}/{y:.3f}"


def likeness(image: np.ndarray, still: np.ndarray) -> list[float]:
    """Correlation with the specimen by band."""
    k = frequencies_1_A(SHAPE, PIXEL_A, False)
    spectra = [fourier.rfft2(a.astype(np.float32)) for a in (image, still)]
    found = []
    for low, high in BANDS_A:
        one, other = (ft[(k > 1 / low) & (k < 1 / high)] for ft in spectra)
        found.append(float(np.vdot(one, other).real / np.sqrt(np.vdot(one, one).real * np.vdot(other, other).real)))
    return found


def main() -> None:
    """Film, correct, compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("n_frames", type=int)
    parser.add_argument("motion", help="track:0 to track:7 (24 frames), or drawn:SEED")
    parser.add_argument("--scratch", type=Path, default=None)
    given = parser.parse_args()
    folder = given.scratch or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    dose = DOSE_E_A2 if given.n_frames == 24 else 1.0
    truth = truth_of(given.motion, given.n_frames, dose)
    still = contrast(DATA, SHAPE)
    filmed = film(still, truth, given.n_frames, dose_e_A2=dose)
    with tifffile.TiffWriter(folder / "movie.tif") as file:
        for frame in filmed.frames:
            # Both programs turn the rows of TIFF files over.
            file.write(frame[::-1], compression="lzw", rowsperstrip=64, contiguous=False)
    (folder / "movies.star").write_text(STAR.format(pixel=PIXEL_A))
    places = filmed.centres_px()
    at_patches = truth(*places)
    lone = likeness(filmed.frames.sum(axis=0, dtype=np.float32), still)
    began = time.process_time()
    for _ in range(4):
        fourier.irfft2(fourier.rfft2(still), SHAPE)
    two_ffts = (time.process_time() - began) / 4 * given.n_frames
    del filmed
    say = sys.stdout.write
    say(f"{given.n_frames} x 4096², {given.motion}; two FFTs a frame would be {two_ffts:.1f} CPU-s\n")
    say("who      CPU-s  wall-s  peak-MB  whole x/y px  local x/y px  likeness over uncorrected by band [Å]\n")
    programs = (("patch", "cryoframe_motion.patch"), ("global", "cryoframe_motion.plugin"), ("relion", ""))
    for name, module in programs:
        if module:
            out = folder / f"{name}.npz"
            child = [sys.executable, "-c", CHILD.format(pixel=PIXEL_A), "movie.tif", module, str(dose), str(out)]
            cost = measured(child, folder)
            whole, local, plain = ours(out)
        else:
            options = ("--patch_x 5 --patch_y 5 --bfactor 150 --dose_weighting --save_noDW --preexposure 0 --j 1 "
                       f"--dose_per_frame {dose} --use_own --i movies.star --o out/").split()  # fmt: skip
            cost = measured(["relion_run_motioncorr", *options], folder)
            whole, local, plain = theirs(folder, places)
        mean = at_patches.mean(axis=0)
        bent = "-" if local is None else rms((local - local.mean(axis=0)) - (at_patches - mean))
        ratio = ", ".join(f"{a}-{b}: {w / v:.2f}" for (a, b), w, v in
                          zip(BANDS_A, likeness(plain, still), lone, strict=True))  # fmt: skip
        say(f"{name:7} {cost[0]:6.1f} {cost[1]:7.1f} {cost[2]:8.0f}  {rms(whole - mean):12}  {bent:12}  {ratio}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
