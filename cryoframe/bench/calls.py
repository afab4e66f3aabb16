"""How a benchmark calls ours and others: each in a process of its own, CPU seconds and memory of its children included.

Stages run as in ``cryoframe compare``. Programs without a stage are run under ``external`` and measured alike: CPU from
the resource usage of all that was waited for, memory by looking at the whole family of processes while it runs.
"""

from __future__ import annotations

import resource
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from cryoframe.bench.sizes import Sizes
from cryoframe.compare.bench import Attempted, Setting, attempt
from cryoframe.compare.inputs import Bound, Given, bind
from cryoframe.data.twin import Specimen, SpecimenRequest
from cryoframe.errors import ConfigError, CryoframeError
from cryoframe.execution.processes import Processes
from cryoframe.external import Command, Done, Program
from cryoframe.formats.star_motion import MotionRecords
from cryoframe.kernel.discovery import Offer
from cryoframe.kernel.plugins import Plugins

TIMEOUT_S = 3600.0
MOTIONCORR, AUTOPICK, PREPROCESS = (
    Program(
        name,
        find=(name,),
        version=("--version", r"RELION version:\s*([\w.]+)"),
        citation="doi:10.1107/S205225251801463X",
        tested=("3.1.3",),
        install="Install RELION (Debian: `apt install relion`) and put it on the PATH; without it peers are skipped.",
    )
    for name in ("relion_run_motioncorr", "relion_autopick", "relion_preprocess")
)
NOT_FOUND = "RELION not found: peers skipped"


@dataclass
class Workbench:
    """What every part of a benchmark is given.

    Parameters
    ----------
    plugins
        Whose stages are run.
    sizes
        How much.
    scratch
        Where everything is made; each part has a folder of its own there.
    models
        Name of a model → its file.
    tracks
        Recorded tracks that drive the movies; motion is drawn where there are none.
    seed, keep
        Of all that is drawn; whether what is made is left lying.
    tell
        Called with a word when a step is done.
    """

    plugins: Plugins
    sizes: Sizes
    scratch: Path
    models: Mapping[str, Path]
    tracks: Sequence[MotionRecords] = ()
    seed: int = 1
    keep: bool = False
    tell: Callable[[str], None] = lambda _: None
    #: Drawings for the page: caption and HTML.
    figures: list[tuple[str, str]] = field(default_factory=list)
    _specimens: dict[tuple[str, float, str], Specimen] = field(default_factory=dict)
    _executor: Processes = field(default_factory=Processes)
    _warm: set[Offer] = field(default_factory=set)

    def specimen(self, model: str, pixel_size_A: float, *, assembly: str = "1") -> Specimen:
        """Return a model as the beam sees it; opened once.

        Raises
        ------
        ConfigError
            If no reader understands it.
        """
        key = (model, pixel_size_A, assembly)
        if key not in self._specimens:
            request = SpecimenRequest(name=model, pixel_size_A=pixel_size_A, assembly=assembly)
            answer = self.plugins.ask("open_specimen", {"path": self.models[model], "request": request})
            if not answer:
                raise ConfigError(f"no reader of specimens understands '{self.models[model]}'")
            self._specimens[key] = cast("tuple[Specimen, ...]", answer)[0]
        return self._specimens[key]

    def folder(self, name: str) -> Path:
        """Make a new folder."""
        folder = self.scratch / name
        folder.mkdir(parents=True)
        return folder

    def done_with(self, folder: Path) -> None:
        """Remove a folder, unless all is kept."""
        if not self.keep:
            shutil.rmtree(folder, ignore_errors=True)

    def bound(self, hook: str, files: Sequence[str], given: Given, name: str) -> Bound:
        """Bind the files of one call."""
        scratch = self.scratch / "inputs" / name
        (one,) = bind(hook, files, given, scratch, asked=None)
        return one

    def ours(
        self, hook: str, name: str, items: Sequence[Bound], params: Mapping[str, Any] | None = None
    ) -> list[Attempted]:
        """Run a stage on items, one thread each; what fails is said in the answers."""
        calls = self.scratch / "calls"
        calls.mkdir(exist_ok=True)
        offer = self.plugins.select(hook, name)
        setting = Setting(params=params or {}, seed=self.seed, timeout_s=TIMEOUT_S, warm=offer not in self._warm)
        self._warm.add(offer)
        return attempt(offer, items, self.plugins, setting=setting, scratch=calls, executor=self._executor)

    def close(self) -> None:
        """End the helper processes, and remove what was made unless all is kept."""
        self._executor.close()
        self.done_with(self.scratch)


def failures(answers: Sequence[Attempted]) -> str:
    """Return in words which of the calls failed; empty where none did."""
    failed = [one for one in answers if one.product is None]
    if not failed:
        return ""
    first = failed[0]
    return f"{len(failed)} of {len(answers)} calls, e.g. {first.item_id}: {first.message or first.error_class}"


@dataclass(frozen=True)
class Peer:
    """What came of running somebody's program."""

    done: Done | None
    seconds: float
    cpu_s: float
    peak_MB: float
    message: str = ""


def run_program(program: Program, argv: Sequence[object], folder: Path) -> Peer:
    """Run a program to its end in `folder`; a failure is said in the answer."""
    peak, others = [0.0], frozenset(_children("self"))

    def watch() -> bool:
        peak[0] = max(peak[0], _family_MB(others))
        return False

    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done, message = None, ""
    try:
        command = Command(tuple(map(str, argv)), environment=(("OMP_NUM_THREADS", "1"),))
        done = program.run(command, workdir=folder, timeout_s=TIMEOUT_S, is_cancelled=watch)
    except CryoframeError as error:
        message = error.what
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Peer(done, time.monotonic() - begun, cpu_s, peak[0], message)


def _family_MB(others: frozenset[str]) -> float:
    """Return the memory of the children of this process but `others`, theirs included, shared libraries aside."""
    family, total = [pid for pid in _children("self") if pid not in others], 0.0
    for pid in family:
        family += _children(pid)
        try:
            lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) / 1024 for line in lines if line.startswith(("RssAnon", "RssShmem")))
    return total


def _children(pid: str) -> list[str]:
    try:
        return [
            child
            for task in Path(f"/proc/{pid}/task").iterdir()
            for child in (task / "children").read_text(encoding="ascii").split()
        ]
    except OSError:
        return []
