"""The session's folder as the player touches it: never through a symbolic link, never outside, full disks named."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final

from cryoframe.errors import EnvironmentFault, Refused

_BLOCK: Final = 1 << 20
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


class LandingFolder:
    """Where files land.

    Parameters
    ----------
    root
        The session's folder; it must be there.

    Every method may be repeated without harm.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, path: str, source: Path | bytes, *, span: tuple[int, int], offset: int, create: bool) -> None:
        """Write bytes of a source into a file.

        Parameters
        ----------
        path
            Relative to the folder.
        source
            Bytes, or a staged file.
        span
            Start and stop in the source.
        offset
            Where they go.
        create
            Begin the file, or begin it anew.

        Raises
        ------
        EnvironmentFault
            The disk is full, or the file is not as this player left it.
        Refused
            A symbolic link is in the way.
        """
        with self._parent(path, make=create) as (folder, name), _explained(path):
            if create:
                _part_with_staged(folder, name)
            flags = _FILE | (os.O_CREAT | os.O_TRUNC if create else 0)
            descriptor = os.open(name, flags, 0o644, dir_fd=folder)
            try:
                facts = os.fstat(descriptor)
                if not stat.S_ISREG(facts.st_mode):
                    raise Refused("not a regular file", path=path, expected="the file that this player began")
                if facts.st_size < offset:
                    raise EnvironmentFault(
                        f"{path} has {facts.st_size} bytes where this player had written {offset}",
                        expected="that nobody else touches the session's folder",
                        remedy="Land the session into a new folder.",
                    )
                _copy(source, descriptor, span, offset)
            finally:
                os.close(descriptor)

    def place(self, path: str, source: Path | bytes) -> None:
        """Let a whole file appear at once: linked where that can be, else copied under a hidden name and renamed."""
        with self._parent(path, make=True) as (folder, name), _explained(path):
            hidden = f".{name}.landing"[:255]
            with contextlib.suppress(FileNotFoundError):
                os.unlink(hidden, dir_fd=folder)
            if isinstance(source, bytes) or not _linked(source, folder, hidden):
                flags = _FILE | os.O_CREAT | os.O_EXCL
                descriptor = os.open(hidden, flags, 0o644, dir_fd=folder)
                try:
                    size = len(source) if isinstance(source, bytes) else source.stat().st_size
                    _copy(source, descriptor, (0, size), 0)
                finally:
                    os.close(descriptor)
            os.rename(hidden, name, src_dir_fd=folder, dst_dir_fd=folder)
            with contextlib.suppress(FileNotFoundError):  # renaming one link of a file onto another does nothing
                os.unlink(hidden, dir_fd=folder)

    def move(self, path: str, target: str) -> None:
        """Rename a file or a folder."""
        with self._parent(path) as (folder, name), self._parent(target, make=True) as (other, new), _explained(path):
            try:
                os.rename(name, new, src_dir_fd=folder, dst_dir_fd=other)
            except FileNotFoundError:
                os.stat(new, dir_fd=other, follow_symlinks=False)  # it was done before

    def stamp(self, path: str, skew_s: float) -> None:
        """Set a file's time as a writer whose clock is wrong would."""
        moment = time.time() + skew_s
        with self._parent(path) as (folder, name), _explained(path):
            os.utime(name, (moment, moment), dir_fd=folder, follow_symlinks=False)

    @contextlib.contextmanager
    def _parent(self, path: str, *, make: bool = False) -> Iterator[tuple[int, str]]:
        """Open the folder that holds the path, one part after the other, following no link."""
        pure = PurePosixPath(path)
        if pure.is_absolute() or ".." in pure.parts or not pure.name:
            raise Refused("leaves the session's folder", path=path, expected="a path within it")
        with contextlib.ExitStack() as stack:
            with _explained(str(self.root)):
                folder = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, folder)
            for part in pure.parts[:-1]:
                with _explained(path):
                    if make:
                        with contextlib.suppress(FileExistsError):
                            os.mkdir(part, dir_fd=folder)
                    folder = os.open(part, _FOLDER, dir_fd=folder)
                stack.callback(os.close, folder)
            yield folder, pure.name


def _part_with_staged(folder: int, name: str) -> None:
    """Unlink a file that is a second name of a staged one: writing into it would spoil that."""
    with contextlib.suppress(FileNotFoundError):
        if os.stat(name, dir_fd=folder, follow_symlinks=False).st_nlink > 1:
            os.unlink(name, dir_fd=folder)


def _linked(source: Path, folder: int, name: str) -> bool:
    try:
        os.link(source, name, dst_dir_fd=folder)
    except OSError as error:
        if error.errno in _FULL:
            raise
        return False
    return True


def _copy(source: Path | bytes, descriptor: int, span: tuple[int, int], offset: int) -> None:
    start, stop = span
    if isinstance(source, bytes):
        _write(descriptor, source[start:stop], offset)
        return
    with source.open("rb", buffering=0) as stream:
        for at in range(start, stop, _BLOCK):
            block = os.pread(stream.fileno(), min(_BLOCK, stop - at), at)
            if len(block) < min(_BLOCK, stop - at):
                raise EnvironmentFault(
                    f"staged file {source} ends at byte {at + len(block)}", expected=f"{stop} bytes",
                    remedy="Make the session anew; staged files must stay as they are until they have landed.",
                )  # fmt: skip
            _write(descriptor, block, offset + at - start)


def _write(descriptor: int, block: bytes, offset: int) -> None:
    view = memoryview(block)
    while view:
        n_written = os.pwrite(descriptor, view, offset)
        view, offset = view[n_written:], offset + n_written


@contextlib.contextmanager
def _explained(path: str) -> Iterator[None]:
    """Turn what the system refuses into the project's errors."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise EnvironmentFault(
                f"no space left for {path}", remedy="Free some; the same command with --resume goes on."
            ) from error
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise Refused(
                "a symbolic link or a file is in the way", path=path, expected="folders that the session made itself"
            ) from error
        raise EnvironmentFault(f"{path} cannot be written ({error.strerror})") from error
