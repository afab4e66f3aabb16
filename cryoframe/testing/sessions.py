"""One plugin under examination: its phantoms on disk, calls of it here, and the sandbox of its calls elsewhere.

What is asked of the plugin is in ``checks``; what runs inside the other process is in ``probe``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import itertools
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar, cast

from cryoframe.data.images import Movie
from cryoframe.errors import ConformanceError, ContractError
from cryoframe.execution import worker_inputs, worker_results
from cryoframe.execution.executor import InputRef, Job, RawFile
from cryoframe.formats import products
from cryoframe.kernel import contract
from cryoframe.kernel.discovery import Offer
from cryoframe.kernel.plugins import Plugin, Plugins
from cryoframe.kernel.stage import StageSpec, stage_specs
from cryoframe.testing import anatomy, cases
from cryoframe.testing.fakes import Listener
from cryoframe.testing.limits import Limits

SEED = 20
_T = TypeVar("_T")


class TimedOut(ConformanceError):
    """A call did not end before its deadline."""


@dataclass(frozen=True)
class Performance:
    """One finished call."""

    result: Any
    seconds: float
    listener: Listener


@dataclass
class Session:
    """A plugin, the phantoms it is given, and what it made of them.

    Parameters
    ----------
    plugins
        The collection the offer comes from; its readers open the phantom's movie.
    offer
        The implementation under examination.
    folder
        An empty folder for all that the examination writes.
    given
        Parameters the caller wants set.
    """

    plugins: Plugins
    offer: Offer
    folder: Path
    limits: Limits = field(default_factory=Limits)
    given: Mapping[str, object] = field(default_factory=dict)
    _memory: dict[str, object] = field(default_factory=dict)
    _counter: Iterator[int] = field(default_factory=itertools.count)

    @property
    def hook(self) -> str:
        """The hook the plugin implements."""
        return self.offer.hook

    @property
    def spec(self) -> StageSpec:
        """What the kernel knows of the hook."""
        return stage_specs()[self.hook]

    @cached_property
    def plugin(self) -> Plugin:
        """The plugin, loaded and checked, away from the caller's folder."""
        with contextlib.chdir(self.fresh_folder("cwd")), _silence():
            return self.plugins.load(self.offer)

    @cached_property
    def implementation(self) -> object:
        """The module or object that implements the hook, whether it keeps the contract or not."""
        with contextlib.suppress(ContractError):
            return self.plugin.module
        module_name, _, attribute = self.offer.target.partition(":")
        found: object = sys.modules[module_name]
        for name in attribute.split(".") if attribute else ():
            found = getattr(found, name)
        return found

    def remember(self, key: str, make: Callable[[], _T]) -> _T:
        """Return what `make` returned the first time it was asked for under `key`."""
        if key not in self._memory:
            self._memory[key] = make()
        return cast("_T", self._memory[key])

    def fresh_folder(self, name: str) -> Path:
        """Return a new empty folder."""
        folder = self.folder / f"{name}-{next(self._counter)}"
        folder.mkdir(parents=True)
        return folder

    # -- what the plugin is given --------------------
    def case(self, variant: str = "nominal") -> cases.Case | None:
        """Return the phantom of a variant, or None where it has no meaning for the hook."""
        folder = self.folder / f"case-{variant}"
        folder.mkdir(exist_ok=True)
        return self.remember(f"case {variant}", lambda: cases.make(self.hook, variant, folder))

    def job(self, variant: str = "nominal") -> Job | None:
        """Return the attempt the kernel would run on that phantom, its inputs stored as the kernel stores them."""
        case = self.case(variant)
        return self.remember(f"job {variant}", lambda: self._make_job(case, variant) if case else None)

    def _make_job(self, case: cases.Case, variant: str) -> Job:
        refs = [self._stored(name, value, variant) for name, value in case.inputs.items() if value is not None]
        readers = tuple(offer for offer in self.plugins.offers if offer.hook in ("open_movie", "open_micrograph"))
        return Job(
            stage_id=self.hook,
            offer=self.offer,
            folder=str(self.fresh_folder(f"job-{variant}")),
            params={name: str(v) if isinstance(v, Path) else v for name, v in self._params(case).items()},
            inputs=tuple(refs),
            item_id="phantom",
            item_digest="phantom",
            seed=SEED,
            services=readers,
        )

    def _params(self, case: cases.Case) -> dict[str, object]:
        """Parameters that suit the phantom: hints by name, a file for each path, then what the caller wants."""
        fields = contract.describe_params(self.plugin.params_class) if self.plugin.params_class else ()
        suited = {f.name: case.hints[f.name] for f in fields if f.name in case.hints}
        files = [value for value in case.hints.values() if isinstance(value, Path)]
        suited |= {f.name: files[0] for f in fields if f.type.startswith("Path") and f.name not in suited and files}
        return suited | dict(self.given)

    def _stored(self, name: str, value: Any, variant: str) -> InputRef:
        if isinstance(value, Movie):
            facts = {
                "pixel_size_A": value.pixel_size_A,
                "dose_per_frame_e_A2": value.dose_per_frame_e_A2,
                "optics": dataclasses.asdict(value.optics),
            }
            return InputRef(name, "Movie", raw=(RawFile("phantom", value.path, facts),))
        values = value if isinstance(value, tuple) else (value,)
        folders = [self.fresh_folder(f"input-{variant}-{name}") for _ in values]
        for one, folder in zip(values, folders, strict=True):
            products.save(one, folder)
        kind, many = type(values[0]).__name__, isinstance(value, tuple)
        return InputRef(name, kind, folders=tuple(map(str, folders)), many=many)

    def inputs(self, variant: str = "nominal") -> dict[str, Any]:
        """Open the stored phantom as a worker does: memory-mapped, read-only, in the plugin's convention."""
        job = self.needed(variant)
        opened = worker_inputs.open_inputs(job, self.spec, self.plugins)
        return worker_inputs.in_convention(opened, self.plugin.convention)

    def any_job(self) -> Job:
        """Return a job that names the plugin; it has inputs only where there is a phantom."""
        bare = Job(self.hook, self.offer, str(self.fresh_folder("job-bare")))
        return (self.job() if self.hook in stage_specs() else None) or bare

    def needed(self, variant: str) -> Job:
        """Return the job of a variant that is known to exist."""
        job = self.job(variant)
        if job is None:
            raise ConformanceError(f"{self.hook} has no phantom '{variant}'")
        return job

    def input_files(self) -> dict[Path, bytes]:
        """Digest every file the phantoms lie in."""
        folders = [path for path in self.folder.iterdir() if path.name.startswith(("input-", "case-"))]
        return {path: anatomy.file_bytes(path) for folder in folders for path in folder.rglob("*") if path.is_file()}

    # -- calling it --------------------
    def call(
        self,
        variant: str = "nominal",
        *,
        n_threads: int = 1,
        device: str = "cpu",
        listener: Listener | None = None,
        inputs: Mapping[str, Any] | None = None,
        seconds: float | None = None,
        checkpoint_dir: Path | None = None,
    ) -> Any:
        """Call the plugin in this process and return what it returns, unjudged.

        Raises
        ------
        TimedOut
            If the call is not back after `seconds` (by default the limit).
        """
        job, voice = self.needed(variant), listener or Listener()
        params = contract.params_from(self.plugin.params_class, job.params) if self.plugin.params_class else None
        ctx = voice.context(
            self.fresh_folder("work"),
            stage_id=job.stage_id,
            item_id=job.item_id,
            seed=job.seed,
            n_threads=n_threads,
            device=device,
            checkpoint_dir=checkpoint_dir,
        )
        arguments = {**(inputs or self.inputs(variant)), "params": params, "ctx": ctx}
        limit_s = seconds or self.limits.deadline_s
        with contextlib.chdir(self.fresh_folder("cwd")), _silence(), _deadline(limit_s, self.hook):
            return self.plugins.call(self.plugin, self.hook, arguments)

    def accept(self, value: object, variant: str = "nominal", listener: Listener | None = None) -> Any:
        """Let the kernel judge and complete a result, as it would before storing it."""
        job = self.needed(variant)
        notes = worker_results.Notes()
        if listener:
            notes.drop(listener.dropped, "said by the stage", (), None)
        params = contract.params_from(self.plugin.params_class, job.params) if self.plugin.params_class else None
        inputs = worker_inputs.open_inputs(job, self.spec, self.plugins)
        product, _ = worker_results.accept(
            value, job, self.spec, inputs=inputs, plugin=self.plugin, params=params, notes=notes
        )
        return product

    @cached_property
    def read_only_error(self) -> str:
        """The error of a plugin that writes into its inputs, or an empty string."""
        try:
            self.remember("read-only call", lambda: self._perform(None))
        except (ValueError, TypeError) as error:
            if "read-only" in str(error) or "readonly" in str(error):
                return f"{type(error).__name__}: {error}"
            raise
        return ""

    def nominal(self) -> Performance:
        """Return the call on the nominal phantom, made once; on copies where the plugin writes into its inputs."""
        if self.read_only_error:
            return self.remember("call on copies", lambda: self._perform(self.copies()))
        return self.remember("read-only call", lambda: self._perform(None))

    def suited(self, variant: str = "nominal") -> Mapping[str, Any] | None:
        """Return copies of the inputs for a plugin that writes into them, None (the stored ones) for all others."""
        return self.copies(variant) if self.read_only_error else None

    def copies(self, variant: str = "nominal") -> dict[str, Any]:
        """Return the inputs as arrays that may be written to."""
        return {name: anatomy.writable(value) for name, value in self.inputs(variant).items()}

    def _perform(self, inputs: Mapping[str, Any] | None) -> Performance:
        listener = Listener()
        begun = time.perf_counter()
        result = self.call(listener=listener, inputs=inputs)
        return Performance(result, time.perf_counter() - begun, listener)

    def house_result(self, variant: str = "nominal") -> Any:
        """Return a result with positions and angles in the house's convention, otherwise as the plugin returned it."""
        if variant == "nominal":
            return self.at_home(self.nominal().result, variant)
        return self.at_home(self.call(variant, inputs=self.suited(variant)), variant)

    def at_home(self, value: Any, variant: str) -> Any:
        """Convert the particle table of a result from the plugin's convention."""
        from cryoframe.data.frames import Convention, from_plugin

        table = anatomy.particles_of(value)
        if table is None or self.plugin.convention == Convention():
            return value
        job = self.needed(variant)
        inputs = worker_inputs.open_inputs(job, self.spec, self.plugins)
        geometry = worker_inputs.geometry_of(inputs, self.plugin.convention, table)
        converted = from_plugin(table, self.plugin.convention, geometry)
        return converted if table is value else dataclasses.replace(value, particles=converted)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep what a plugin prints off the screen; printing is judged in the sandbox."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


@contextlib.contextmanager
def _deadline(seconds: float, what: str) -> Iterator[None]:
    """Interrupt a call that takes too long; only the main thread can be interrupted, others wait."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(number: int, frame: FrameType | None) -> None:
        del number, frame
        raise TimedOut(
            f"{what} was not back after {seconds:g} s", remedy="Report progress, and look at ctx.cancelled()."
        )

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
