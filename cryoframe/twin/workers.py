"""One exposure made in a worker process: the stage is called, the movie written, the truth committed by one rename.

An exposure is done when its folder of the truth has its final name; whatever a dead process left is made anew.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import signal
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from multiprocessing import connection, parent_process
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from cryoframe.data.ids import digest_bytes, digest_file
from cryoframe.data.twin import Exposure, Recording, ReferenceImage, SimulatedMovie, Specimen
from cryoframe.errors import ConfigError, ContractError, InvalidInput, PluginError
from cryoframe.formats import products
from cryoframe.kernel import contract, discovery
from cryoframe.kernel.context import StageContext
from cryoframe.kernel.device import limit_threads
from cryoframe.kernel.plugins import Plugins
from cryoframe.records.folders import sync
from cryoframe.twin.faults import Planned
from cryoframe.twin.plan import generator

#: The manifest of a finished exposure, in its folder of the truth.
DONE = "exposure.json"
HOOK = "simulate_movies"


@dataclass(frozen=True)
class Bench:
    """What every exposure of a session is made with."""

    use: str
    #: As JSON, so that the bench can be a key.
    params: str
    specimens: tuple[Path, ...]
    truth: Path
    staging: Path
    seed: int
    kind: str
    gain_name: str
    #: As the session's layout calls it; it lies as the gain does.
    defects_name: str
    gain_turn: str = "none"
    plugin_files: tuple[Path, ...] = ()
    layout: str = "flat"

    def truth_of(self, exposure_id: str) -> Path:
        """Return where the truth of an exposure has, or will have, its final place."""
        return self.truth / "exposures" / exposure_id

    def movie_of(self, exposure_id: str, name: str) -> Path:
        """Return where an exposure's movie waits to land."""
        return self.staging / "movies" / exposure_id / name

    @property
    def gain_path(self) -> Path:
        """Where the gain reference waits to land."""
        return self.staging / "references" / self.gain_name

    @property
    def defects_path(self) -> Path:
        """Where the camera's defects wait to land."""
        return self.staging / "references" / self.defects_name


@dataclass(frozen=True)
class Made:
    """A finished exposure: its movie's name, size and digest, and what the stage said of microscope and camera."""

    exposure_id: str
    movie: str
    n_bytes: int
    digest: str
    gain_digest: str
    voltage_kV: float
    n_particles: int
    #: Of the movie, which a super-resolution camera makes finer.
    shape_px: tuple[int, int]

    @classmethod
    def read(cls, folder: Path) -> Made | None:
        """Return what a finished exposure's manifest says, None where it is not finished."""
        try:
            content = json.loads((folder / DONE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        content["shape_px"] = tuple(content["shape_px"])
        return cls(**content)


def begin(n_threads: int) -> None:
    """Prepare a worker process: bounded threads, and an end when the process that started it ends."""
    limit_threads(n_threads)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who started us: what is begun is finished
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)


def make(bench: Bench, planned: Planned, movie_name: str) -> Made:
    """Make one exposure and commit it.

    Raises
    ------
    ConfigError, PluginError, ContractError
        If the stage, its parameters or the file's kind cannot be had.
    """
    exposure = planned.exposure
    final = bench.truth_of(exposure.exposure_id)
    work = _fresh(bench.truth / ".making" / f"{exposure.exposure_id}.{os.getpid()}")
    (work / "stage").mkdir()
    plugins, specimens = _loaded(bench)
    simulated = _simulated(bench, plugins, specimens, exposure, work / "stage")
    gain_digest = _references(bench, plugins, simulated, work)
    target = bench.movie_of(exposure.exposure_id, movie_name)
    _fresh(target.parent)
    recording = _recording(bench, planned, simulated)
    if plugins.ask("write_movie", {"path": target, "recording": recording}) is None:
        writers = ", ".join(offer.name for offer in plugins.offered("write_movie")) or "none is installed"
        raise ConfigError(f"no writer of movies writes kind '{bench.kind}'", expected=f"one of {writers}")
    if planned.kept_frac < 1.0:
        os.truncate(target, int(target.stat().st_size * planned.kept_frac))
    sync(target)
    product = work / "truth"
    product.mkdir()
    products.save(simulated.truth, product)
    movie = simulated.movie
    made = Made(
        exposure.exposure_id,
        movie_name,
        target.stat().st_size,
        digest_file(target),
        gain_digest,
        movie.optics.voltage_kV,
        len(simulated.truth.particles),
        (int(movie.shape_px[0]), int(movie.shape_px[1])),
    )
    (product / DONE).write_text(json.dumps(asdict(made), indent=1) + "\n", encoding="utf-8")
    for path in product.iterdir():
        sync(path)
    final.parent.mkdir(parents=True, exist_ok=True)
    if final.exists():
        shutil.rmtree(final)
    product.rename(final)
    shutil.rmtree(work)
    return made


@functools.lru_cache(maxsize=1)
def _loaded(bench: Bench) -> tuple[Plugins, tuple[Specimen, ...]]:
    """Load plugins and specimens once a process."""
    offers = (*discovery.scan(), *discovery.local_offers(bench.plugin_files))
    return Plugins(offers), tuple(cast("Specimen", products.load(folder)) for folder in bench.specimens)


def stage_params(plugins: Plugins, use: str, params: Mapping[str, object]) -> Any:
    """Return the parameters of the stage that makes movies, checked."""
    plugin = plugins.load(plugins.select(HOOK, use))
    if plugin.params_class is None:
        return None
    return contract.params_from(plugin.params_class, params, where=f"[simulate] params of {use}")


def _simulated(
    bench: Bench, plugins: Plugins, specimens: tuple[Specimen, ...], exposure: Exposure, workdir: Path
) -> SimulatedMovie:
    plugin = plugins.load(plugins.select(HOOK, bench.use))
    ctx = StageContext(workdir, HOOK, exposure.exposure_id, bench.seed)
    arguments = {
        "specimens": specimens,
        "exposure": exposure,
        "params": stage_params(plugins, bench.use, json.loads(bench.params)),
        "ctx": ctx,
    }
    try:
        answer = plugins.call(plugin, HOOK, arguments)
    except InvalidInput as error:
        raise InvalidInput(
            f"{exposure.exposure_id}: {error.what}", expected=error.expected, remedy=error.remedy
        ) from error
    if not isinstance(answer, SimulatedMovie):
        raise ContractError(f"{bench.use} made a {type(answer).__name__}", expected="a SimulatedMovie")
    if answer.movie.source is None:
        raise ContractError(f"{bench.use} made a movie without frames", expected="movie.source")
    return answer


# -- references ---------------------------------------------------------------------------------------------------
def turned(data: NDArray[Any], turn: str) -> NDArray[Any]:
    """Return a reference as its file has it."""
    if turn.startswith("rotate"):
        return np.ascontiguousarray(np.rot90(data, int(turn.removeprefix("rotate_")) // 90))
    axis = {"flip_rows": 0, "flip_columns": 1}.get(turn)
    return np.ascontiguousarray(data if axis is None else np.flip(data, axis))


def _references(bench: Bench, plugins: Plugins, simulated: SimulatedMovie, work: Path) -> str:
    """Write the camera's references, the first time; return the gain's digest."""
    gain = np.ascontiguousarray(simulated.gain.data, dtype=np.float32)
    digest = digest_bytes(gain.tobytes())
    defects = np.asarray(simulated.defects.data, dtype=bool)
    for final, data in ((bench.gain_path, gain), (bench.defects_path, defects)):
        name = final.name
        if final.exists():
            continue
        part = work / name
        pixel = simulated.movie.pixel_size_A
        image = ReferenceImage(part, turned(data, bench.gain_turn), pixel)
        if plugins.ask("write_reference", {"image": image}) is None:
            raise PluginError(f"no writer of references writes '{name}'", expected="a plugin for write_reference")
        final.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(part, final.with_name(f".{name}.{os.getpid()}"))
        final.with_name(f".{name}.{os.getpid()}").replace(final)
    return digest


# -- what the file holds ------------------------------------------------------------------------------------------
def _recording(bench: Bench, planned: Planned, simulated: SimulatedMovie) -> Recording:
    shot, movie = planned.shot, simulated.movie
    stated_px = shot.pixel_size_A * movie.pixel_size_A / planned.exposure.pixel_size_A
    camera = shot.camera.replace("_", " ").capitalize() if bench.kind == "eer" else shot.camera  # as "Falcon 4i"
    said = {"camera": camera, "exposure_s": f"{shot.exposure_s:g}", "time_utc": shot.time_utc.isoformat()}
    if bench.layout == "epu" and bench.kind != "eer":
        said["program"] = "EPU"  # else a reader takes the file for SerialEM's, whose first line it would have
    stated = {"pixel_size_A": stated_px, "voltage_kV": movie.optics.voltage_kV, "facts": said}
    turn = _flipped_sensitivity(simulated) if planned.gain_flipped else None
    if bench.kind == "eer":
        source = simulated.events
        if source is None:
            raise ContractError(f"{bench.use} made a movie without events", expected="events, which EER files hold")
        n = source.n_internal_frames
        dose = shot.dose_e_A2 / n
        events = (source.read_events(index) for index in range(n))
        kept = events if turn is None else _resensed_events(events, turn, bench.seed, shot.exposure_id)
        return Recording("eer", n, source.shape_px, "uint8", dose_per_frame_e_A2=dose, events=kept, **stated)  # type: ignore[arg-type]
    frames = _raw_frames(simulated, turn, bench.seed)
    dose = shot.dose_e_A2 / movie.n_frames
    shape, dtype = movie.shape_px, simulated.raw_dtype
    return Recording(
        bench.kind,
        movie.n_frames,
        shape,
        dtype,
        dose_per_frame_e_A2=dose,
        frames=frames,
        **stated,  # type: ignore[arg-type]
    )


def _raw_frames(
    simulated: SimulatedMovie, turn: NDArray[np.float32] | None, seed: int
) -> Iterator[NDArray[np.generic]]:
    movie, dtype = simulated.movie, np.dtype(simulated.raw_dtype)
    source = movie.source
    assert source is not None  # asked for when the movie was made
    for index in range(movie.n_frames):
        frame = np.asarray(source.read_frame(index), dtype=np.float32)
        if turn is not None:
            frame = _resensed(frame, turn, generator(seed, "gain", simulated.truth.exposure.exposure_id, index), dtype)
        if dtype.kind in "ui":
            limits = np.iinfo(dtype)
            frame = np.clip(np.rint(frame), limits.min, limits.max)
        yield frame.astype(dtype)


def _flipped_sensitivity(simulated: SimulatedMovie) -> NDArray[np.float32]:
    """Return, pixel by pixel, the sensitivity turned over the rows against the true one (gain = 1/sensitivity)."""
    gain = np.asarray(simulated.gain.data, dtype=np.float32)
    other = gain[::-1]
    return np.divide(gain, other, out=np.zeros_like(gain), where=other > 0)


def _resensed(
    frame: NDArray[np.float32], ratio: NDArray[np.float32], rng: np.random.Generator, dtype: np.dtype[Any]
) -> NDArray[np.float32]:
    """Return counts as a sensor with `ratio` times the sensitivity gives them: Poisson counts thinned, or added to."""
    if dtype.kind == "f":
        return frame * ratio
    whole = np.maximum(frame, 0).astype(np.int64)
    kept = rng.binomial(whole, np.minimum(ratio, 1.0))
    added = rng.poisson(whole * np.maximum(ratio - 1.0, 0.0))
    return np.asarray(kept + added, dtype=np.float32)


def _resensed_events(
    events: Iterable[NDArray[np.int32]], ratio: NDArray[np.float32], seed: int, exposure_id: str
) -> Iterator[NDArray[np.int32]]:
    """Return events as a sensor with `ratio` times the sensitivity gives them: thinned, or added to.

    A pixel has one event an internal frame, so what is added comes in the next one in which its pixel has none.
    """
    width, late = ratio.shape[1], np.empty(0, dtype=np.int64)
    for index, found in enumerate(events):
        rng = generator(seed, "gain", exposure_id, index)
        pixel = (found[:, 0] // 4).astype(np.int64) * width + found[:, 1] // 4
        wanted = ratio.ravel()[pixel]
        kept = rng.random(len(found)) < wanted
        added = np.repeat(pixel, rng.poisson(np.maximum(wanted - 1.0, 0.0)))
        first = np.zeros(len(late), dtype=bool)
        first[np.unique(late, return_index=True)[1]] = True
        first &= ~np.isin(late, pixel[kept])
        place = np.stack(np.divmod(late[first], width), axis=1) * 4
        place += rng.integers(0, 4, place.shape)
        every = np.concatenate([found[kept], place.astype(np.int32)])
        yield every[np.argsort(np.concatenate([pixel[kept], late[first]]), kind="stable")]
        late = np.concatenate([late[~first], added])


def _fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
