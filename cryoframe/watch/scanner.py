"""What is under a root now, as seen by a process of its own; what it means is decided elsewhere. Opens read-only.

The rescan is the truth. To keep it cheap the helper remembers what it said and answers with the differences.
"""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from cryoframe.errors import EnvironmentFault
from cryoframe.watch.child import Child, serve


class Seen(NamedTuple):
    """A directory entry; `kind` is file, link or other."""

    kind: str
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int


class Look(NamedTuple):
    """An opened file; `hole` tells that part of it was reserved but never written."""

    size: int
    mtime_ns: int
    ctime_ns: int
    hole: bool


@dataclass(frozen=True)
class Changes:
    """What differs from the last scan; all there is if `fresh`."""

    fresh: bool
    changed: Mapping[str, Seen]
    gone: Sequence[str]
    n_files: int
    unreadable: Sequence[str]


class Scanner:
    """The asking side, for one root."""

    def __init__(self, root: Path, *, deadline_s: float = 60.0) -> None:
        self.root = root
        self._child = Child("cryoframe.watch.scanner", os.fspath(root), deadline_s=deadline_s)

    def scan(self) -> Changes:
        """Look through the whole tree.

        Raises
        ------
        EnvironmentFault
            If the root is not there, or does not answer: an outage, which says nothing about its files.
        """
        said = self._ask({"scan": True})
        changed = {path: Seen(*entry) for path, entry in said["changed"].items()}
        return Changes(said["fresh"], changed, said["gone"], said["n_files"], said["unreadable"])

    def look(self, paths: Sequence[str]) -> dict[str, Look | str]:
        """Open files and see how large they are now; a text says why one cannot be opened."""
        said = self._ask({"look": list(paths)})["looks"]
        return {path: look if isinstance(look, str) else Look(*look) for path, look in said.items()}

    def close(self) -> None:
        """End the helper."""
        self._child.close()

    def _ask(self, question: Mapping[str, Any]) -> dict[str, Any]:
        said = self._child.ask(question)
        if "error" in said:
            raise EnvironmentFault(f"{self.root} cannot be scanned ({said['error']})")
        return said


# -- in the helper -----------------------------------------------------------------------------------------------
class Tree:
    """The answering side."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._known: dict[str, Seen] = {}
        self._device: int | None = None

    def answer(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """Answer a question of :class:`Scanner`."""
        try:
            if "look" in question:
                return {"looks": {path: _look(os.path.join(self._root, path)) for path in question["look"]}}  # noqa: PTH118
            return self._scan()
        except OSError as error:
            return {"error": error.strerror or type(error).__name__}

    def _scan(self) -> dict[str, Any]:
        device = os.stat(self._root).st_dev  # noqa: PTH116 - names that are not text stay text with surrogates
        unreadable: list[str] = []
        found = dict(self._walk(unreadable))
        if not found and self._known and device != self._device:
            return {"error": "it is empty and on another file system: its share seems to be unmounted"}
        for folder in unreadable:  # what cannot be listed now is not gone
            prefix = f"{folder}/"
            found |= {path: seen for path, seen in self._known.items() if path.startswith(prefix)}
        fresh, self._device = self._device is None, device
        changed = {path: seen for path, seen in found.items() if self._known.get(path) != seen}
        gone = [path for path in self._known if path not in found]
        self._known = found
        return {"fresh": fresh, "changed": changed, "gone": gone, "n_files": len(found), "unreadable": unreadable}

    def _walk(self, unreadable: list[str]) -> Iterator[tuple[str, Seen]]:
        folders = [""]
        while folders:
            folder = folders.pop()
            try:
                with os.scandir(os.path.join(self._root, folder) if folder else self._root) as entries:  # noqa: PTH118
                    listed = list(entries)
            except FileNotFoundError:
                if not folder:
                    raise
                continue  # removed since its parent was listed
            except OSError:
                if not folder:
                    raise
                unreadable.append(folder)
                continue
            for entry in listed:
                path = f"{folder}/{entry.name}" if folder else entry.name
                if entry.is_dir(follow_symlinks=False):
                    folders.append(path)
                elif (seen := self._entry(path, entry)) is not None:
                    yield path, seen

    def _entry(self, path: str, entry: os.DirEntry[str]) -> Seen | None:
        try:
            facts = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            return None
        except OSError:
            return self._known.get(path)
        kind = "file" if stat.S_ISREG(facts.st_mode) else "link" if stat.S_ISLNK(facts.st_mode) else "other"
        return Seen(kind, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino)


def _look(path: str) -> tuple[int, int, int, bool] | str:
    """Open and ask the open file: over a network only that is sure to be fresh (close-to-open)."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        return error.strerror or type(error).__name__
    try:
        facts = os.fstat(descriptor)
        hole = False
        if facts.st_size:
            hole = os.lseek(descriptor, 0, os.SEEK_HOLE) < facts.st_size
        return facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, hole
    except OSError as error:
        return error.strerror or type(error).__name__
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    serve(Tree(json.loads(sys.argv[1])).answer)
