"""Reads files whole, digest and header, in a process apart while the daemon goes on; decides nothing about them.

A share that hangs hangs the reading process, which is given up after a time of silence; while bytes come it is not
silent, however large the file.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cryoframe import errors
from cryoframe.data.ids import KEY_DIGITS
from cryoframe.errors import Corrupt, EnvironmentFault, FileError, Incomplete, Unsupported
from cryoframe.execution.admit import Reading
from cryoframe.kernel import discovery
from cryoframe.kernel.plugins import Plugins
from cryoframe.watch.child import Child, serve_slowly

SILENCE_S = 60.0
#: A file whose reader falls silent so often is to blame itself; before that, the share may be.
MAX_SILENT = 3
#: One whose reader dies of its header so often, too; a single time the machine may have been short of memory.
MAX_DIED = 2
AWAY = "it went away while it was read"
_CHUNK_BYTES, _BEAT_S = 4 << 20, 1.0


class Intake:
    """The asking side: some files, one after the other.

    Parameters
    ----------
    plugin_files, blocked
        As in the run's configuration.
    silence_s
        After so long without a sign of life the process is given up.
    """

    def __init__(self, plugin_files: Sequence[Path], blocked: Sequence[str], *, silence_s: float = SILENCE_S) -> None:
        argument = {"files": [str(path) for path in plugin_files], "blocked": list(blocked)}
        self._child = Child("cryoframe.watch.intake", argument, deadline_s=silence_s)
        #: Asked whether a file is there while others are read; started when first needed.
        self._other = Child("cryoframe.watch.intake", argument, deadline_s=silence_s)
        self._silent: Counter[Path] = Counter()
        #: The files that are still to be read; the first is being read.
        self.paths: deque[Path] = deque()

    def begin(self, paths: Sequence[Path], kind: str) -> None:
        """Have files read; `kind` is ``Movie`` or ``Micrograph``, or empty where their headers do not matter.

        Raises
        ------
        EnvironmentFault
            If no process can be had.
        """
        self._child.start(*({"read": str(path), "kind": kind} for path in paths))
        self.paths = deque(paths)

    def outcome(self, timeout_s: float) -> Reading | None:
        """Return what was read of the first file, None if that takes longer; whatever comes of it, the next is read.

        Raises
        ------
        FileError
            If the file cannot be used.
        EnvironmentFault
            If it cannot be read now.

        Notes
        -----
        Where the process was lost, `paths` is empty: what it had not come to is to be begun again.
        """
        path = self.paths[0]
        try:
            said = self._child.poll(timeout_s)
        except EnvironmentFault as error:
            self.paths.clear()
            raise self._blamed(path, error) from error
        if said is None:
            return None
        self.paths.popleft()
        self._silent.pop(path, None)
        return _reading(said, path)

    def exists(self, path: Path) -> bool:
        """Whether a file is there, as far as can be told in time; a share that does not answer tells nothing.

        Raises
        ------
        EnvironmentFault
            If there is no answer.
        """
        return bool(self._other.ask({"exists": str(path)})["exists"])

    def close(self) -> None:
        """End the processes."""
        self._child.close()
        self._other.close()

    def _blamed(self, path: Path, error: EnvironmentFault) -> Exception:
        in_header = self._child.beat == "header"
        self._silent[path] += 1
        if in_header and self._silent[path] >= (MAX_DIED if "died" in error.what else MAX_SILENT):
            del self._silent[path]
            return Corrupt(f"its reader did not survive it ({error.what})", path=path)
        return EnvironmentFault(f"{path} cannot be read ({error.what})")


def _reading(said: Mapping[str, Any], path: Path) -> Reading:
    if "type" not in said:
        facts = (int(said["size"]), int(said["mtime_ns"]), str(said["digest"]), dict(said["header"]))
        return Reading(*facts, ctime_ns=int(said.get("ctime_ns", 0)))
    if said["type"] == "OSError":
        raise EnvironmentFault(f"{path} cannot be read ({said['what']})")
    cls = getattr(errors, said["type"], None)
    if isinstance(cls, type) and issubclass(cls, FileError):
        raise cls(said["what"], path=path, expected=said["expected"], remedy=said["remedy"])
    if said["type"] == "EnvironmentFault":
        raise EnvironmentFault(said["what"])
    raise Corrupt(f"the reader failed: {said['type']}: {said['what']}", path=path)


def went_away(error: BaseException) -> bool:
    """Whether a reader failed because its file, which was there, is not: its share may have gone."""
    return isinstance(error.__cause__, (FileNotFoundError, NotADirectoryError))


# -- in the process apart ----------------------------------------------------------------------------------------
class Desk:
    """The answering side."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        offers = (*discovery.scan(), *discovery.local_offers([Path(name) for name in settings["files"]]))
        self._plugins = Plugins(offers, settings["blocked"])

    def answer(self, question: Mapping[str, Any], beat: Callable[[str], None]) -> dict[str, Any]:
        """Answer a question of :class:`Intake`; whatever a reader raises is an answer too."""
        if "exists" in question:
            return {"exists": Path(question["exists"]).exists()}
        try:
            return self._read(Path(question["read"]), question["kind"], beat)
        except OSError as error:
            return {"type": "OSError", "what": error.strerror or type(error).__name__}
        except Exception as error:
            if went_away(error):
                return {"type": "OSError", "what": AWAY}
            said = {name: str(getattr(error, name, "")) for name in ("expected", "remedy")}
            return {"type": type(error).__name__, "what": str(getattr(error, "what", error)), **said}

    def _read(self, path: Path, kind: str, beat: Callable[[str], None]) -> dict[str, Any]:
        beat("digest")
        with path.open("rb") as file:
            before = os.fstat(file.fileno())
            digest = _digest(file.read, beat)
        beat("header")
        header = self._header(path, kind) if kind else {}
        after = path.stat()
        if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
            raise Incomplete("the file changed while it was read", path=path)
        facts = {"size": before.st_size, "mtime_ns": before.st_mtime_ns, "ctime_ns": before.st_ctime_ns}
        return {**facts, "digest": digest, "header": header}

    def _header(self, path: Path, kind: str) -> dict[str, Any]:
        from cryoframe.execution.worker import header_of

        hook = f"open_{kind.lower()}"
        if not self._plugins.offered(hook):
            raise Unsupported("no reader is installed for it", path=path, remedy=f"Add a plugin for {hook}.")
        return header_of(self._plugins, hook, path)


def _digest(read: Callable[[int], bytes], beat: Callable[[str], None]) -> str:
    state, next_s = hashlib.blake2b(digest_size=KEY_DIGITS // 2), time.monotonic() + _BEAT_S
    while piece := read(_CHUNK_BYTES):
        state.update(piece)
        if time.monotonic() >= next_s:
            beat("digest")
            next_s = time.monotonic() + _BEAT_S
    return state.hexdigest()


if __name__ == "__main__":
    serve_slowly(Desk(json.loads(sys.argv[1])).answer)
