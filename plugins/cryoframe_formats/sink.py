"""Writing a file from its beginning to its end: trouble of the disk named, nothing half left; no format is known here.

The file is written at the very path given, by whoever stages it. Formats give it the bytes that make it whole last
(`patch`), so that no reader takes what is there before for a whole file.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

from cryoframe.errors import EnvironmentFault, Refused

Bytes = bytes | bytearray | memoryview


class Sink:
    """A new file that grows at its end. Used as a context: removed where the context is left by an exception.

    Parameters
    ----------
    path
        A regular file there is replaced.
    n_bytes
        What is known to be needed; refused at once where the disk has less.

    Raises
    ------
    EnvironmentFault
        The folder, the disk or the share will not take it.
    Refused
        There is something at `path` that is no regular file.
    """

    def __init__(self, path: Path, *, n_bytes: int = 0) -> None:
        self.path = path
        self.end = 0
        if path.exists() and not path.is_file():
            raise Refused("there is no regular file at the place to write to", path=path, expected="a free name")
        with self._naming_trouble():
            if n_bytes > shutil.disk_usage(path.parent).free:
                raise EnvironmentFault(
                    f"{path} needs {n_bytes / 1e6:.0f} MB, its disk has less free", remedy="Make room, or write less."
                )
            self._created = not path.exists()
            self._file = path.open("wb", buffering=0)

    def append(self, raw: Bytes) -> int:
        """Write at the end; return the offset at which it begins."""
        start = self.end
        left = memoryview(raw).cast("B")
        self.end += len(left)
        with self._naming_trouble():
            while left:  # a disk that is nearly full takes a part without an error
                left = left[self._file.write(left) :]
        return start

    def patch(self, offset: int, raw: Bytes) -> None:
        """Write over what is there already."""
        with self._naming_trouble():
            self._file.seek(offset)
            left = memoryview(raw)
            while left:
                left = left[self._file.write(left) :]
            self._file.seek(self.end)

    def __enter__(self) -> Sink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            with self._naming_trouble():
                self._file.close()
        except EnvironmentFault:
            self._remove()
            if error is None:
                raise
        if error is not None:
            self._remove()

    def _remove(self) -> None:
        with suppress(OSError):
            if self._created:
                self.path.unlink()
            else:
                os.truncate(self.path, 0)

    @contextmanager
    def _naming_trouble(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise EnvironmentFault(
                f"{self.path} cannot be written after {self.end} bytes ({error.strerror or error})",
                expected="a folder that takes the whole file",
                remedy="Make room or mend the disk or share; the file is not left there.",
            ) from error
