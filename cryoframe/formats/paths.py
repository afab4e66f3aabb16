"""Safe opening and resolving of file names found in other people's files; no format is known here."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from cryoframe.errors import Incomplete, Refused


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """Open `path` for reading, but only if it is a regular file; never blocks on a FIFO or a device.

    Raises
    ------
    Incomplete
        There is no such file (yet).
    Refused
        `path` holds a NUL character, or is a directory, FIFO, socket or device.
    """
    text = os.fspath(path)
    if "\0" in text:
        raise Refused("file name holds a NUL character", path=repr(text), remedy="Correct the file that names it.")
    try:
        descriptor = os.open(text, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise Incomplete(
            "no such file", path=text, expected="an existing file", remedy="Wait for it or correct its name."
        ) from error
    except OSError as error:
        if error.errno in _NOT_A_FILE:
            raise Refused(f"cannot be opened as a file ({error.strerror})", path=text) from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise Refused("not a regular file", path=text, expected="a plain file, not a folder, FIFO, socket or device")
    return os.fdopen(descriptor, "rb")


def resolve_beneath(
    root: str | os.PathLike[str],
    text: str,
    *,
    allow: Iterable[str | os.PathLike[str]] = (),
    must_exist: bool = True,
) -> Path:
    """Resolve the file name `text` beneath `root`; refuse whatever leads elsewhere.

    Parameters
    ----------
    root
        Folder that relative names start from and that the result must lie in.
    text
        The name as written in a STAR, mdoc or XML file.
    allow
        Further folders the result may lie in (symlink targets of the facility).
    must_exist
        Demand a regular file at the end of the path.

    Returns
    -------
    The absolute path with all symbolic links followed.

    Raises
    ------
    Refused
        Empty, NUL, escapes `root` by ``..``, by an absolute name or by a symbolic link, or is not a regular file.
    Incomplete
        `must_exist` and nothing is there yet.
    """
    if not text or "\0" in text:
        raise Refused(f"unusable file name {text!r}", expected="a name beneath the project folder")
    roots = [Path(os.path.realpath(os.fspath(folder))) for folder in (root, *allow)]
    try:
        target = Path(os.path.realpath(roots[0] / text))
        kind = target.lstat().st_mode if target.exists() else None
    except (OSError, ValueError) as error:
        raise Refused(f"file name {text[:200]!r} cannot be resolved ({error})") from error
    if not any(target == folder or folder in target.parents for folder in roots):
        raise Refused(
            f"file name {text!r} leads to {target}",
            expected=f"a file beneath {roots[0]}",
            remedy="Put the file there, or list its folder as allowed.",
        )
    if kind is None:
        if must_exist:
            raise Incomplete(f"named file {text!r} is not there", path=target, remedy="Wait for it or copy it there.")
        return target
    if must_exist and not stat.S_ISREG(kind):
        raise Refused(f"named file {text!r} is not a regular file", path=target)
    return target


def split_image_name(text: str) -> tuple[int | None, str]:
    """Split RELION's ``000001@stack.mrcs`` into the 0-based image index and the stack's name.

    Returns
    -------
    ``(0, "stack.mrcs")``; the index is None where the name has no ``@`` (a file of one image).

    Raises
    ------
    Refused
        The number before ``@`` is not a positive integer below 10⁹, or the name is nested (``1@1@x``) or empty.
    """
    number, at, name = text.partition("@")
    if not at:
        return None, text
    if not (number.isascii() and number.isdigit()) or not 1 <= len(number.lstrip("0")) <= _MOST_DIGITS:
        raise Refused(f"image name {text!r} has no positive number before '@'", expected="000001@stack.mrcs")
    head, nested, _ = name.partition("@")
    if not name or (nested and (head.isdigit() or not head)):
        raise Refused(f"image name {text!r} is nested or empty", expected="000001@stack.mrcs")
    return int(number) - 1, name


_MOST_DIGITS = 9
_NOT_A_FILE = frozenset({6, 21, 36, 40, 22})
"""errno of ENXIO, EISDIR, ENAMETOOLONG, ELOOP, EINVAL: the name, not the disk, is at fault."""
