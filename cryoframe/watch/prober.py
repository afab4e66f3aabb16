"""How many frames a movie has now and what its side-car says, read by a process apart; judges nothing."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cryoframe import errors
from cryoframe.data.images import AcquisitionMetadata, FrameSource
from cryoframe.errors import Corrupt, EnvironmentFault, FileError
from cryoframe.kernel import discovery
from cryoframe.kernel.plugins import Plugins
from cryoframe.watch.child import Child, serve
from cryoframe.watch.intake import AWAY, MAX_SILENT, went_away


class Prober:
    """The asking side.

    Parameters
    ----------
    plugin_files, blocked
        As in the run's configuration: its own readers are asked too.
    """

    def __init__(self, plugin_files: Sequence[Path], blocked: Sequence[str], *, deadline_s: float = 30.0) -> None:
        argument = {"files": [str(path) for path in plugin_files], "blocked": list(blocked)}
        self._child = Child("cryoframe.watch.prober", argument, deadline_s=deadline_s)
        self._silent: Counter[Path] = Counter()

    def n_frames(self, path: Path) -> int:
        """Return the number of frames a movie has.

        Raises
        ------
        FileError
            As the reader says; Corrupt if it does not survive the file, again and again.
        EnvironmentFault
            If the file is not there, or cannot be read now.
        """
        return int(self._ask({"movie": str(path)}, path)["n_frames"])

    def metadata(self, path: Path) -> dict[str, Any]:
        """Return what a side-car says, unknown values left out; empty if no reader knows it.

        Raises
        ------
        FileError
            As the reader says.
        EnvironmentFault
            As :meth:`n_frames`.
        """
        return dict(self._ask({"metadata": str(path)}, path)["facts"])

    def close(self) -> None:
        """End the helper."""
        self._child.close()

    def _ask(self, question: Mapping[str, Any], path: Path) -> dict[str, Any]:
        try:
            said = self._child.ask(question)
        except EnvironmentFault as error:
            self._silent[path] += 1
            if self._silent[path] < MAX_SILENT:  # the share may hang, or the machine be short of memory
                raise EnvironmentFault(f"{path} cannot be read ({error.what})") from error
            del self._silent[path]
            raise Corrupt(f"its reader did not survive it ({error.what})", path=path) from error
        self._silent.pop(path, None)
        if "type" not in said:
            return said
        if said["type"] == "EnvironmentFault":
            raise EnvironmentFault(f"{path} cannot be read ({said['what']})")
        cls = getattr(errors, said["type"], None)
        if isinstance(cls, type) and issubclass(cls, FileError):
            raise cls(said["what"], path=path)
        raise Corrupt(f"its reader failed ({said['type']}: {said['what']})", path=path)


# -- in the helper -----------------------------------------------------------------------------------------------
class _Readers:
    """The answering side."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        offers = (*discovery.scan(), *discovery.local_offers([Path(name) for name in settings["files"]]))
        self._plugins = Plugins(offers, settings["blocked"])

    def answer(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """Answer a question of :class:`Prober`; whatever a reader raises is an answer too."""
        try:
            if "movie" in question:
                source = self._plugins.ask("open_movie", {"path": Path(question["movie"])})
                if not isinstance(source, FrameSource):
                    raise errors.Unsupported("no reader knows this movie")
                return {"n_frames": int(source.n_frames)}
            said = self._plugins.ask("read_metadata", {"path": Path(question["metadata"])})
            facts = dataclasses.asdict(said) if isinstance(said, AcquisitionMetadata) else {}
            return {"facts": {name: value for name, value in facts.items() if value not in (None, "")}}
        except OSError as error:
            return {"type": "EnvironmentFault", "what": error.strerror or type(error).__name__}
        except Exception as error:
            if went_away(error):
                return {"type": "EnvironmentFault", "what": AWAY}
            return {"type": type(error).__name__, "what": getattr(error, "what", str(error))}


if __name__ == "__main__":
    serve(_Readers(json.loads(sys.argv[1])).answer)
