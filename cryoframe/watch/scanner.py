"""What is under a root now, as seen by a process of its own; what it means is decided elsewhere. Opens read-only.

The rescan is the truth. To keep it cheap the helper remembers what it said and answers with the differences; and
where asking each of very many files how large it is takes long, that is done in some scans only, and the others find
what is new, replaced or gone by the names alone.
"""

from __future__ import annotations

import json
import os
import stat
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

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
    """An opened file; `hole` tells that part of it was reserved but never written, `blank` that it ends in zeros."""

    size: int
    mtime_ns: int
    ctime_ns: int
    hole: bool
    blank: bool = False


@dataclass(frozen=True)
class Changes:
    """What differs from the last scan; all there is if `fresh`."""

    fresh: bool
    changed: Mapping[str, Seen]
    gone: Sequence[str]
    n_files: int
    unreadable: Sequence[str]
    #: There is more of this scan to be had; what is gone is told at its end.
    more: bool = False
    #: Processor time of the whole scan, and how long it took; told with each page.
    cpu_s: float = 0.0
    wall_s: float = 0.0


T = TypeVar("T")
WAIT_S = 10.0
#: So many changes are told at a time.
PAGE = 2000
#: Each file is asked for its size again after so many times what that took; always, where it took no time to speak of
#: or the files are few.
FULL_EVERY, CHEAP_S, FEW = 10.0, 0.05, 1000
#: A file whose last bytes are all zero may have been reserved, and not be written to its end.
END_BYTES = 32


class Scanner:
    """The asking side, for one root."""

    def __init__(self, root: Path, *, deadline_s: float = 60.0) -> None:
        self.root = root
        self._child = Child("cryoframe.watch.scanner", os.fspath(root), deadline_s=deadline_s)
        self._fault: EnvironmentFault | None = None

    @property
    def channel(self) -> Child | None:
        """What is to be waited for until there is an answer; nothing where there is one already."""
        return self._child if self._fault is None else None

    def ask_scan(self) -> None:
        """Have the whole tree looked through; :meth:`changes` has what is found, or why nothing is."""
        self._put({"scan": True})

    def ask_rest(self) -> None:
        """Have the next page of the last scan told, as :meth:`ask_scan`."""
        self._put({"rest": True})

    def ask_look(self, paths: Sequence[str]) -> None:
        """Have files opened; :meth:`looks` has how they are."""
        self._put({"look": list(paths)})

    def changes(self, timeout_s: float) -> Changes | None:
        """Return a page of what the scan that was asked for found, None if that takes longer.

        Raises
        ------
        EnvironmentFault
            If the root is not there, or does not answer: an outage, which says nothing about its files.
        """
        said = self._answer(timeout_s)
        if said is None:
            return None
        changed = {sys.intern(path): Seen(*entry) for path, entry in said["changed"].items()}
        found = (said["fresh"], changed, said["gone"], said["n_files"], said["unreadable"])
        return Changes(*found, more=said["more"], cpu_s=said["cpu_s"], wall_s=said["wall_s"])

    def looks(self, timeout_s: float) -> dict[str, Look | str] | None:
        """Return how the files are that were asked for, None if that takes longer; a text says why one is not opened.

        Raises
        ------
        EnvironmentFault
            As :meth:`changes`.
        """
        said = self._answer(timeout_s)
        if said is None:
            return None
        return {path: look if isinstance(look, str) else Look(*look) for path, look in said["looks"].items()}

    def scan(self) -> Changes:
        """Look through the whole tree; :meth:`rest` has what is more than a page.

        Raises
        ------
        EnvironmentFault
            If the root is not there, or does not answer: an outage, which says nothing about its files.
        """
        self.ask_scan()
        return self._waited_for(self.changes)

    def rest(self) -> Changes:
        """Return the next page of the last scan.

        Raises
        ------
        EnvironmentFault
            As :meth:`scan`.
        """
        self.ask_rest()
        return self._waited_for(self.changes)

    def look(self, paths: Sequence[str]) -> dict[str, Look | str]:
        """Open files and see how large they are now; a text says why one cannot be opened."""
        self.ask_look(paths)
        return self._waited_for(self.looks)

    def close(self) -> None:
        """End the helper."""
        self._child.close()

    def _put(self, question: Mapping[str, Any]) -> None:
        """Put a question; what goes wrong with that is an answer, to be had at its time."""
        try:
            self._fault = None
            self._child.start(question)
        except EnvironmentFault as error:
            self._fault = error

    def _answer(self, timeout_s: float) -> dict[str, Any] | None:
        fault, self._fault = self._fault, None
        if fault is not None:
            raise fault
        said = self._child.poll(timeout_s)
        if said is not None and "error" in said:
            raise EnvironmentFault(f"{self.root} cannot be scanned ({said['error']})")
        return said

    @staticmethod
    def _waited_for(answer: Callable[[float], T | None]) -> T:
        found = None
        while found is None:  # it comes, or its deadline
            found = answer(WAIT_S)
        return found


class AtOnce:
    """A scanner without a process, for one that has `scan` and `look` of its own: it answers as it is asked."""

    channel: Child | None = None
    _asked: Callable[[], Any]

    def scan(self) -> Changes:
        """Look through the whole tree."""
        raise NotImplementedError

    def look(self, paths: list[str]) -> dict[str, Look | str]:
        """Open files and see how large they are now."""
        raise NotImplementedError

    def ask_scan(self) -> None:
        """As :meth:`Scanner.ask_scan`."""
        self._asked = self.scan

    def ask_look(self, paths: list[str]) -> None:
        """As :meth:`Scanner.ask_look`."""
        self._asked = partial(self.look, paths)

    def changes(self, _: float) -> Changes:
        """As :meth:`Scanner.changes`."""
        return cast(Changes, self._asked())

    def looks(self, _: float) -> dict[str, Look | str]:
        """As :meth:`Scanner.looks`."""
        return cast(dict[str, Look | str], self._asked())


# -- in the helper -----------------------------------------------------------------------------------------------
class Tree:
    """The answering side; `clock` tells seconds that only go forwards."""

    def __init__(self, root: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._root, self._clock = root, clock
        #: Of each folder, what is in it.
        self._known: dict[str, dict[str, Seen]] = {}
        self._device: int | None = None
        self._full_at_s = 0.0
        self._changed: Iterator[tuple[str, Seen]] = iter(())
        self._end: dict[str, Any] = {}

    def answer(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """Answer a question of :class:`Scanner`."""
        try:
            if "look" in question:
                return {"looks": {path: _look(os.path.join(self._root, path)) for path in question["look"]}}  # noqa: PTH118
            if "rest" not in question:
                self._scan()
            return self._page()
        except OSError as error:
            return {"error": error.strerror or type(error).__name__}

    def _scan(self) -> None:
        device = os.stat(self._root).st_dev  # noqa: PTH116 - names that are not text stay text with surrogates
        start_s, cpu_s, unreadable = self._clock(), time.process_time(), list[str]()
        full = start_s >= self._full_at_s
        found = dict(self._walk(unreadable, full=full))
        if not any(found.values()) and any(self._known.values()) and device != self._device:
            raise OSError(0, "it is empty and on another file system: its share seems to be unmounted")
        for folder in unreadable:  # what cannot be listed now is not gone
            found |= {name: its for name, its in self._known.items() if f"{name}/".startswith(f"{folder}/")}
        took_s = self._clock() - start_s
        if full and took_s > CHEAP_S and sum(map(len, found.values())) > FEW:
            self._full_at_s = start_s + FULL_EVERY * took_s
        known, self._known = self._known, found
        fresh, self._device = self._device is None, device
        self._changed = _changed(found, known)
        gone = [
            _path(folder, name) for folder, its in known.items() for name in its.keys() - found.get(folder, {}).keys()
        ]
        self._end = {"gone": gone, "n_files": sum(map(len, found.values())), "unreadable": unreadable, "fresh": fresh}
        self._end |= {"cpu_s": time.process_time() - cpu_s, "wall_s": took_s}

    def _page(self) -> dict[str, Any]:
        """Return some of what the last scan found, and at the end of it what is gone."""
        changed = dict(islice(self._changed, PAGE))
        if len(changed) == PAGE:
            return {**self._end, "changed": changed, "gone": [], "more": True}
        return {**self._end, "changed": changed, "more": False}

    def _walk(self, unreadable: list[str], *, full: bool) -> Iterator[tuple[str, dict[str, Seen]]]:
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
            known, found = self._known.get(folder, {}), dict[str, Seen]()
            for entry in listed:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(_path(folder, entry.name))
                    continue
                seen = known.get(entry.name)
                if full or seen is None or seen.inode != entry.inode():
                    seen = _seen(entry, seen)
                if seen is not None:
                    found[entry.name] = seen
            yield folder, found


def _seen(entry: os.DirEntry[str], known: Seen | None) -> Seen | None:
    try:
        facts = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None
    except OSError:
        return known
    kind = "file" if stat.S_ISREG(facts.st_mode) else "link" if stat.S_ISLNK(facts.st_mode) else "other"
    seen = Seen(kind, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino)
    return known if seen == known else seen


def _changed(
    found: Mapping[str, Mapping[str, Seen]], known: Mapping[str, Mapping[str, Seen]]
) -> Iterator[tuple[str, Seen]]:
    for folder, its in found.items():
        before = known.get(folder, {})
        yield from ((_path(folder, name), seen) for name, seen in its.items() if before.get(name) != seen)


def _path(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _look(path: str) -> tuple[int, int, int, bool, bool] | str:
    """Open and ask the open file: over a network only that is sure to be fresh (close-to-open)."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        return error.strerror or type(error).__name__
    try:
        facts = os.fstat(descriptor)
        hole = blank = False
        if facts.st_size:
            hole = os.lseek(descriptor, 0, os.SEEK_HOLE) < facts.st_size
            blank = not any(os.pread(descriptor, END_BYTES, max(0, facts.st_size - END_BYTES)))
        return facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, hole, blank
    except OSError as error:
        return error.strerror or type(error).__name__
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    serve(Tree(json.loads(sys.argv[1])).answer)
