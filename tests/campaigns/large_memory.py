"""Memory of stages that stream 100 000 images of 256²: ``python tests/campaigns/large_memory.py --limit-s 600``.

A float16 stack of that many images (13 GB, a file) is made of a few hundred particles of `large_particles`, over and
over, each copy with one pixel of its own, so that no two are alike; what a stage holds does not depend on what it sees.
`refine_3d` (O, one iteration over all orientations, then the sums and maps of all particles in the whole box) or
`classify_2d` runs in a child; its resident memory is read twice a second, and split into what is its own and what is
pages of mapped files. A child that is not done at the limit is ended, and what it was doing is said.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import large_particles
import numpy as np
from large_set import DIAMETER_A

from cryoframe import ParticleStack, StageContext, Volume
from cryoframe_classify import plugin as classify
from cryoframe_refine import plugin as refine

_DISTINCT = 250


def make(folder: Path, count: int, box_px: int) -> None:
    """Write ``many.raw``, float16 `(count, n, n)`, and what the few particles in it are."""
    few = min(count, _DISTINCT)
    large_particles.make(folder, few, box_px, 0.05)
    images = np.array(large_particles.stack(folder).images, dtype=np.float16)
    with (folder / "many.raw").open("wb") as stream:
        for start in range(0, count, few):
            part = images[: min(few, count - start)]
            # Copies differ by a row of pixels that spells their number.
            digits = (np.arange(start, start + len(part))[:, None] >> np.arange(20)) & 1
            part[:, 0, :20] = digits
            part.tofile(stream)


def stack(folder: Path, count: int, box_px: int) -> ParticleStack:
    """All of them; each copy has the CTF of its particle, and a micrograph and place of its own."""
    defocus = np.load(folder / "defocus.npy")
    table = large_particles.table(defocus[np.arange(count) % len(defocus)], box_px)
    images = np.memmap(folder / "many.raw", np.float16, "r", shape=(count, box_px, box_px))
    return ParticleStack(images, table, large_particles.pixel_A(box_px), (large_particles.OPTICS,))


def run(what: str, folder: Path, count: int, box_px: int) -> None:
    """One stage in this process; what it does is written to ``doing``."""
    particles = stack(folder, count, box_px)

    def said(done: int, total: int, message: str) -> None:
        (folder / "doing").write_text(f"{message or 'the end'} ({done} of {total})")

    context = StageContext(folder, on_report=said, on_log=lambda line: said(0, 0, line))
    if what == "classify":
        params = classify.Params(n_classes=100, particle_diameter_A=DIAMETER_A, n_iterations=3)
        classify.classify_2d(particles, params, context)
        return
    reference = Volume(np.load(folder / "truth.npz")["volume"], particles.pixel_size_A, "O")
    refine.refine_3d(particles, reference, None, refine.Params(particle_diameter_A=DIAMETER_A, n_iterations=1), context)


def watched(command: Sequence[str], folder: Path, limit_s: float, n_threads: int) -> str:
    """Highest memory of a child, and whether it came to its end."""
    one = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), "1") | {"NUMBA_NUM_THREADS": str(n_threads)}
    child = subprocess.Popen([sys.executable, str(Path(__file__).resolve()), *command], env=os.environ | one)
    begun_s, peaks = time.monotonic(), dict.fromkeys(("VmHWM", "RssAnon", "RssFile"), 0)
    while child.poll() is None and time.monotonic() - begun_s < limit_s:
        time.sleep(0.5)
        for line in _status(child.pid):
            name, _, value = line.partition(":")
            if name in peaks:
                peaks[name] = max(peaks[name], int(value.split()[0]) // 1024)
    ended = child.poll() is None
    if ended:
        child.kill()
    rc = child.wait()
    doing = (folder / "doing").read_text() if (folder / "doing").exists() else "nothing yet"
    how = f"ended by the limit of {limit_s:.0f} s" if ended else f"exit status {rc}"
    return (
        f"peak {peaks['VmHWM']} MB (its own {peaks['RssAnon']} MB, pages of mapped files {peaks['RssFile']} MB); {how} "
        f"after {time.monotonic() - begun_s:.0f} s, last: {doing}"
    )


def _status(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:  # it has just ended
        return []


def main(argv: Sequence[str] | None = None) -> int:
    """Make the stack, run each stage in a child, and print its memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--box", type=int, default=256)
    parser.add_argument("--stages", nargs="+", choices=("classify", "refine"), default=["classify", "refine"])
    parser.add_argument("--limit-s", type=float, default=3600.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="keep the stack here, and take the one there is")
    parser.add_argument("--one", nargs=2, metavar=("WHAT", "FOLDER"), help="run a stage in this process")
    asked = parser.parse_args(argv)
    if asked.one:
        run(asked.one[0], Path(asked.one[1]), asked.count, asked.box)
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = asked.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "many.raw").exists():
            make(folder, asked.count, asked.box)
        for what in asked.stages:
            command = ["--one", what, str(folder), "--count", str(asked.count), "--box", str(asked.box)]
            said = watched(command, folder, asked.limit_s, asked.threads)
            sys.stdout.write(f"{what}, {asked.count} images of {asked.box}²: {said}\n")
            sys.stdout.flush()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
