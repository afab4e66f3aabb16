"""A watched tree that is not there: folders, files with bytes and times, and a share that goes away, lags, refuses."""

from __future__ import annotations

import errno
import io
import os
import stat as modes
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from simulated_world import BEGIN_NS, World

HERE, ELSEWHERE = 17, 1
_FIRST_DESCRIPTOR = 1 << 20


class Hangs(BaseException):
    """Whoever touched the share is stuck in the system until it is back."""


@dataclass(eq=False)
class Node:
    """A file, link or pipe; `shown` are size, mtime and ctime as the share's cache has them."""

    kind: str
    inode: int
    data: bytes = b""
    #: From here on nothing was ever written.
    hole_at: int | None = None
    mtime_ns: int = 0
    ctime_ns: int = 0
    refuses: int = 0
    n_names: int = 1
    shown: tuple[int, int, int] = (0, 0, 0)
    shown_s: float = float("-inf")


@dataclass
class Folder:
    """A folder; `refuses` is the error with which it cannot be listed."""

    inode: int
    refuses: int = 0


@dataclass
class _Open:
    node: Node
    at: int = 0
    size: int = field(default=0)


class Disk:
    """One tree below `root`, as all helpers see it.

    Parameters
    ----------
    world
        Its time and chance.
    root
        The name of its root.
    """

    def __init__(self, world: World, root: str) -> None:
        self.world, self.root = world, root
        self.files: dict[str, Node] = {}
        self.folders: dict[str, Folder] = {"": Folder(2)}
        #: Why the share is away: an error number, -1 (it hangs), 0 (it is there); `is_bare`: its mount point is seen.
        self.away, self.is_bare = 0, False
        self.latency_s, self.stale_s, self.grain_ns, self.skew_s = 1e-4, 0.0, 1, 0.0
        self.p_refuses = 0.0
        self._last_ns, self._n_inodes = 0, 100
        self._open: dict[int, _Open] = {}
        self._n_open = _FIRST_DESCRIPTOR

    # -- the writer's side -----------------------------------------------------------------------------------------
    def _stamp(self) -> int:
        now_ns = BEGIN_NS + round((self.world.now_s + self.skew_s) * 1e9)
        now_ns -= now_ns % self.grain_ns
        if self.grain_ns == 1:
            now_ns = max(now_ns, self._last_ns + 1)
        self._last_ns = now_ns
        return now_ns

    def _inode(self) -> int:
        self._n_inodes += 1
        return self._n_inodes

    def make(self, path: str, *, kind: str = "file") -> Node:
        """Make an entry, or empty the one there is."""
        folder = ""
        for part in path.split("/")[:-1]:
            folder = f"{folder}/{part}" if folder else part
            self.folders.setdefault(folder, Folder(self._inode()))
        node = self.files.get(path)
        if node is None:
            node = self.files[path] = Node(kind, self._inode())
        self.write(path, b"")
        return node

    def write(self, path: str, data: bytes, *, hole_at: int | None = None) -> None:
        """Let a file's content be this from now on."""
        node = self.files[path]
        node.data, node.hole_at = data, hole_at
        node.mtime_ns = node.ctime_ns = self._stamp()

    def set_times(self, path: str, mtime_ns: int) -> None:
        node = self.files[path]
        node.mtime_ns, node.ctime_ns = mtime_ns, self._stamp()

    def refuse(self, path: str, error: int) -> None:
        """Let a file not be opened with an error, 0: let it be."""
        node = self.files[path]
        node.refuses, node.ctime_ns = error, self._stamp()

    def rename(self, path: str, to: str) -> None:
        node = self.files.pop(path)
        self.make(to).n_names -= 1
        self.files[to] = node
        node.ctime_ns = self._stamp()

    def link(self, path: str, to: str) -> None:
        self.make(to).n_names -= 1
        node = self.files[to] = self.files[path]
        node.n_names += 1
        node.ctime_ns = self._stamp()

    def remove(self, path: str) -> None:
        self.files.pop(path).n_names -= 1

    # -- the reader's side -----------------------------------------------------------------------------------------
    def _reach(self, what: str) -> None:
        self.world.advance(self.latency_s * (0.5 + self.world.chance("latency").random()))
        if self.away < 0:
            raise Hangs
        if self.away:
            raise _error(self.away, what)

    def _inside(self, path: str) -> str:
        path = os.fspath(path)
        if path == self.root:
            return ""
        if not path.startswith(f"{self.root}/"):
            raise _error(errno.ENOENT, path)
        return path[len(self.root) + 1 :]

    def _node(self, path: str) -> Node:
        name = self._inside(path)
        if self.is_bare or name not in self.files:
            raise _error(errno.ENOENT, path)
        return self.files[name]

    def stat(self, path: str, *, follow_symlinks: bool = True) -> Any:
        del follow_symlinks
        self._reach(path)
        name = self._inside(path)
        if name in self.folders and (not self.is_bare or not name):
            return SimpleNamespace(st_mode=modes.S_IFDIR, st_dev=ELSEWHERE if self.is_bare else HERE, st_ino=2)
        return self._facts(self._node(path))

    def _facts(self, node: Node, *, fresh: bool = False) -> Any:
        if fresh or self.world.now_s - node.shown_s >= self.stale_s:
            node.shown, node.shown_s = (len(node.data), node.mtime_ns, node.ctime_ns), self.world.now_s
        size, mtime_ns, ctime_ns = node.shown
        mode = {"file": modes.S_IFREG, "link": modes.S_IFLNK, "other": modes.S_IFIFO}[node.kind]
        return SimpleNamespace(
            st_mode=mode, st_size=size, st_mtime_ns=mtime_ns, st_ctime_ns=ctime_ns, st_ino=node.inode, st_dev=HERE
        )

    def scandir(self, path: str) -> Listing:
        self._reach(path)
        folder = self._inside(path)
        if folder not in self.folders or (self.is_bare and folder):
            raise _error(errno.ENOENT, path)
        if refuses := self.folders[folder].refuses or self._chance(folder):
            raise _error(refuses, path)
        return Listing([] if self.is_bare else list(self._entries(folder)))

    def _chance(self, folder: str) -> int:
        is_struck = bool(folder) and self.world.happens("folder refuses once", self.p_refuses)
        return self.world.pick("errors", (errno.EIO, errno.ESTALE, errno.EACCES)) if is_struck else 0

    def _entries(self, folder: str) -> Iterator[Entry]:
        head = f"{folder}/" if folder else ""
        for name, one in self.folders.items():
            if name and name.rpartition("/")[0] == folder:
                yield Entry(self, name[len(head) :], one, None)
        for name, node in self.files.items():
            if name.rpartition("/")[0] == folder:
                yield Entry(self, name[len(head) :], None, node)

    def open(self, path: str, flags: int = 0, mode: int = 0) -> int:
        del mode
        self._reach(path)
        node = self._node(path)
        if node.kind == "link" and flags & os.O_NOFOLLOW:
            raise _error(errno.ELOOP, path)
        if node.refuses:
            raise _error(node.refuses, path)
        self._facts(node, fresh=True)
        self._n_open += 1
        self._open[self._n_open] = _Open(node)
        return self._n_open

    def fstat(self, descriptor: int) -> Any:
        self._reach("open file")
        return self._facts(self._open[descriptor].node, fresh=True)

    def pread(self, descriptor: int, n_bytes: int, at: int) -> bytes:
        self._reach("open file")
        return self._open[descriptor].node.data[at : at + n_bytes]

    def lseek(self, descriptor: int, at: int, how: int) -> int:
        assert (at, how) == (0, os.SEEK_HOLE)
        node = self._open[descriptor].node
        return len(node.data) if node.hole_at is None else min(node.hole_at, len(node.data))

    def close(self, descriptor: int) -> None:
        del self._open[descriptor]

    def read(self, descriptor: int, n_bytes: int) -> bytes:
        opened = self._open[descriptor]
        piece = self.pread(descriptor, n_bytes, opened.at)
        opened.at += len(piece)
        return piece

    def content(self, path: str) -> bytes:
        """Return a file's bytes, read in one go."""
        descriptor = self.open(path)
        try:
            return self.pread(descriptor, 1 << 30, 0)
        finally:
            self.close(descriptor)


def _error(number: int, path: str) -> OSError:
    return OSError(number, os.strerror(number), path)


class Listing:
    """What ``os.scandir`` returns."""

    def __init__(self, entries: list[Entry]) -> None:
        self._entries = entries

    def __enter__(self) -> Iterator[Entry]:
        return iter(self._entries)

    def __exit__(self, *_: object) -> None:
        """Nothing is open."""


class Entry:
    """What is in a :class:`Listing`."""

    def __init__(self, disk: Disk, name: str, folder: Folder | None, node: Node | None) -> None:
        self._disk, self.name, self._folder, self._node = disk, name, folder, node

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        del follow_symlinks
        return self._folder is not None

    def inode(self) -> int:
        return (self._folder or self._node).inode  # type: ignore[union-attr]

    def stat(self, *, follow_symlinks: bool = True) -> Any:
        del follow_symlinks
        assert self._node is not None
        if not self._node.n_names:
            raise _error(errno.ENOENT, self.name)
        if self._disk.away > 0:
            raise _error(self._disk.away, self.name)
        return self._disk._facts(self._node)


class DiskPath:
    """Stands in for ``pathlib.Path`` where helpers read files; `disk` is set by who makes the class."""

    disk: Disk

    def __init__(self, path: str) -> None:
        self._path = os.fspath(path)

    def __fspath__(self) -> str:
        return self._path

    __str__ = __fspath__

    def open(self, mode: str) -> Reader:
        assert mode == "rb"
        return Reader(self.disk, self.disk.open(self._path))

    def stat(self) -> Any:
        return self.disk.stat(self._path)

    def exists(self) -> bool:
        try:
            self.stat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True


class Reader(io.RawIOBase):
    """An open file."""

    def __init__(self, disk: Disk, descriptor: int) -> None:
        super().__init__()
        self._disk, self._descriptor = disk, descriptor

    def fileno(self) -> int:
        return self._descriptor

    def read(self, size: int = -1) -> bytes:
        return self._disk.read(self._descriptor, size)

    def close(self) -> None:
        if not self.closed:
            self._disk.close(self._descriptor)
        super().close()
