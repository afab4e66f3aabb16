"""``bench preprocessing``: from movie to particles, ours and RELION on the same simulated files; the parts in a row."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryoframe.bench import ctf, extraction, machine, motion, picking
from cryoframe.bench.calls import AUTOPICK, MOTIONCORR, NOT_FOUND, PREPROCESS, Workbench
from cryoframe.bench.rows import Row, failure
from cryoframe.bench.sizes import PARTS, Sizes
from cryoframe.errors import ConfigError, CryoframeError
from cryoframe.formats.star_motion import MotionRecords, motion_from_star
from cryoframe.kernel.plugins import Plugins

#: Model files that come with the program, by name; β-galactosidase is the demo's.
MODELS = (("apoferritin", "7a4m.cif.gz"), ("membrane", "7l2i_two_chains.cif.gz"))
_PARTS = {"motion": motion, "ctf": ctf, "picking": picking, "extraction": extraction}


@dataclass(frozen=True)
class Done:
    """A benchmark that came to its end."""

    facts: dict[str, str]
    rows: tuple[Row, ...]
    #: Drawings: caption and HTML.
    figures: tuple[tuple[str, str], ...] = ()

    @property
    def failed(self) -> list[Row]:
        """Rows that tell of a failure."""
        return [row for row in self.rows if row.failed]

    @property
    def missed(self) -> list[Row]:
        """Rows whose aim is not reached."""
        return [row for row in self.rows if row.met is False]


def stages_of(parts: Sequence[str]) -> list[tuple[str, str]]:
    """Stages of ours that the parts run: hook and name."""
    return [(_PARTS[part].HOOK, name) for part in parts for name in _PARTS[part].OURS]


def n_steps(sizes: Sizes, parts: Sequence[str]) -> int:
    """How many steps are told."""
    return sum(_PARTS[part].n_steps(sizes) for part in parts)


def missing_peers() -> list[str]:
    """Programs of RELION that are not on this machine."""
    return [program.name for program in (MOTIONCORR, AUTOPICK, PREPROCESS) if program.located() is None]


def tracks_of(paths: Sequence[Path]) -> list[MotionRecords]:
    """Read RELION's motion STAR files.

    Raises
    ------
    ConfigError
        If one is not there.
    """
    for path in paths:
        if not path.is_file():
            raise ConfigError(f"--tracks: there is no file '{path}'", expected="RELION's motion STAR files")
    return [motion_from_star(path) for path in paths]


def run(
    plugins: Plugins,
    sizes: Sizes,
    *,
    parts: Sequence[str] = PARTS,
    betagal: Path,
    tracks: Sequence[MotionRecords] = (),
    folder: Path | None = None,
    seed: int = 1,
    keep: bool = False,
    tell: Callable[[str], None] = lambda _: None,
) -> Done:
    """Make the data, run all on them, and return the table.

    Parameters
    ----------
    plugins
        Whose stages are run.
    sizes, parts
        How much, and which parts.
    betagal
        Model of β-galactosidase.
    tracks
        Drive the movies; empty: motion is drawn.
    folder
        Where data are made, in a folder of their own; the system's when None.
    seed, keep
        Of what is drawn; whether the data are left lying.
    tell
        Called with a word when a step is done.

    Raises
    ------
    EnvironmentFault
        If disk or memory are too small for it.
    """
    place = Path(tempfile.gettempdir()) if folder is None else folder
    machine.check_room(sizes, place, parts)
    scratch = Path(tempfile.mkdtemp(prefix="cryoframe-bench-", dir=place))
    here = Path(__file__).parent / "models"
    models = {"betagal": betagal} | {name: here / file for name, file in MODELS}
    bench = Workbench(plugins, sizes, scratch, models, tracks, seed, keep, tell)
    absent = missing_peers()
    facts = machine.facts(1) | {
        "peer": f"RELION {MOTIONCORR.installed_version()}" if not absent else f"{NOT_FOUND} ({', '.join(absent)})",
        "size": sizes.name,
        "seed": str(seed),
    }
    rows: list[Row] = []
    try:
        for part in parts:
            rows += _part(part, bench)
    finally:
        bench.close()
    if keep:
        facts["data"] = str(scratch)
    return Done(facts, tuple(rows), tuple(bench.figures))


def _part(part: str, bench: Workbench) -> list[Row]:
    """Run one part; what ends it is a row, so that the others are still run."""
    try:
        found: list[Row] = _PARTS[part].run(bench)
    except CryoframeError as error:
        if error.kind == "user":
            raise
        bench.tell(f"{part} failed")
        return failure(part, part, str(error), quantity="the whole part")
    return found
