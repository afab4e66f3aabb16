"""Folders that something is to be written into: made, or refused in words. What goes into them is decided elsewhere."""

from __future__ import annotations

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
        folder.mkdir(parents=True, exist_ok=True)
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
