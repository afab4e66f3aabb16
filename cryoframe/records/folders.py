"""Folders that something is to be written into: made, or refused in words. What goes into them is decided elsewhere."""

from __future__ import annotations

import os
from pathlib import Path

from cryoframe.errors import ConfigError


def made(folder: Path, named: str, *, remedy: str = "Give another folder.") -> Path:
    """Make a folder and its parents, if they are not there.

    Parameters
    ----------
    folder
        The folder.
    named
        What said so, as people wrote it: ``[run] folder``, ``--out``.
    remedy
        What to do about it.

    Raises
    ------
    ConfigError
        If there cannot be such a folder.
    """
    try:
        durable_folder(folder)
    except FileExistsError as error:
        raise ConfigError(f"{named}: '{folder}' is a file", expected="a folder", remedy=remedy) from error
    except NotADirectoryError as error:
        place = next((parent for parent in folder.parents if parent.exists()), folder)
        raise ConfigError(
            f"{named}: '{folder}' lies below '{place}', which is a file", expected="a folder", remedy=remedy
        ) from error
    except OSError as error:
        raise ConfigError(f"{named}: folder '{folder}' cannot be made ({error.strerror})", remedy=remedy) from error
    return folder


def durable_folder(folder: Path) -> None:
    """Make a folder and those above it, so that a loss of power leaves none of them without its name."""
    if folder.is_dir():
        return
    if not folder.parent.exists():
        durable_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync(folder.parent)


def sync(path: Path) -> None:
    """Bring a file, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
