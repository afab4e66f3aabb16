"""Where a run may write: never in a watched folder, and no watched folder in another. Opens and makes nothing."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from functools import partial
from itertools import permutations
from pathlib import Path

from cryoframe.errors import ConfigError
from cryoframe.execution.control import FOLDER as REQUESTS
from cryoframe.execution.executors import SHARED
from cryoframe.kernel.config import RunConfig

#: Folders that a run makes in its own, or in that of its products.
OWN = (*SHARED, REQUESTS, "failures")
#: A watched folder may be on a share that does not answer: then its name is all that is known of it.
_PATIENCE_S = 2.0


def check(config: RunConfig) -> None:
    """Refuse places with which a run would take its own products for raw data, or raw data twice.

    Raises
    ------
    ConfigError
        If one of the run's folders lies in a watched one, or a watched one in another or in what the run writes.
    """
    watched = {folder: real(folder) for folder in config.watch.folders}
    written = {"[run] folder": config.folder} | ({"[run] products": config.products} if config.products else {})
    for name, place in written.items():
        for folder, there in watched.items():
            _keep_apart(name, Path(os.path.realpath(place)), folder, there)
    for (inner, inside), (outer, around) in permutations(watched.items(), 2):
        if inside.is_relative_to(around):
            raise ConfigError(
                f"[watch] folder '{inner}' lies in '{outer}', or is the same: its files would be met twice",
                expected="folders of which none lies in another",
                remedy="Name the outer one alone: what is below it is watched too.",
            )


def _keep_apart(name: str, place: Path, folder: Path, there: Path) -> None:
    if place.is_relative_to(there):
        raise ConfigError(
            f"{name}: '{place}' lies in the watched folder '{folder}', where nothing is ever written",
            expected="a folder outside of what is watched",
            remedy="Products there would be taken for raw data. Give another folder.",
        )
    if any(there.is_relative_to(place / own) for own in OWN):
        raise ConfigError(
            f"[watch] folder '{folder}' lies in what this run writes itself ({name}: '{place}')",
            expected="the folder in which raw data land",
        )


def is_written_by(config: RunConfig, path: Path) -> bool:
    """Whether a file is one of those that the run writes, such as its products."""
    return any(path.is_relative_to(config.folder / own) for own in OWN)


def remarks(config: RunConfig) -> list[str]:
    """Return what there is to be said of the watched folders before the work: a name mistyped is met at once.

    Raises
    ------
    ConfigError
        If one of them is a file.
    """
    said = []
    for folder in config.watch.folders:
        kind = _asked(partial(_kind, folder), "")
        if kind == "file":
            raise ConfigError(f"[watch] folder '{folder}' is a file", expected="the folder in which raw data land")
        if not kind:
            said.append(f"watched folder {folder} is not there, or does not answer; it is waited for")
    return said


def _kind(place: Path) -> str:
    return "file" if place.is_file() else "folder" if place.is_dir() else ""


def real(folder: Path) -> Path:
    """Return a watched folder without symbolic links, as far as its share answers."""
    return Path(_asked(partial(os.path.realpath, folder), os.path.abspath(folder)))  # noqa: PTH100 - "..", unread


def _asked(question: Callable[[], str], otherwise: str) -> str:
    """Return what a share answers, or what is believed `otherwise` if it does not in time."""
    found: list[str] = []

    def ask() -> None:
        try:
            found.append(question())
        except OSError:
            found.append(otherwise)

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(_PATIENCE_S)
    return found[0] if found else otherwise
