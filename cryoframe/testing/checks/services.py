"""Checks of readers: they know their own kind, decline others, refuse what is damaged, and turn nothing round."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from cryoframe.errors import CryoframeError, FileError, InvalidInput
from cryoframe.testing import specimens, testcard
from cryoframe.testing.checks.promise import Check, fail
from cryoframe.testing.sessions import Session

READERS = ("open_movie", "open_micrograph", "read_metadata", "open_gain")
_N_FRAMES = {"open_movie": specimens.N_FRAMES}


def foreign_files_declined(session: Session) -> None:
    """A file of nobody's kind is declined with None, or refused as a file; it never raises anything else."""
    for name in specimens.NOBODYS:
        path = _specimen(session, name)
        try:
            answer = _ask(session, path)
        except FileError:
            continue
        except Exception as error:
            fail(
                f"{name}: it falls over with {type(error).__name__}: {error}",
                remedy="Judge by the first bytes; return None.",
            )
        if answer is not None:
            fail(f"{name}: it takes it for its own", remedy="Judge by the first bytes; return None.")


def truncated_file_refused(session: Session) -> None:
    """A file of its own kind that ends early is refused as a file, when opened or when read."""
    for path in _own(session):
        whole = path.read_bytes()
        for kept in (0.95, 0.5, 0.1):
            short = path.with_name(f"short-{kept}-{path.name}")
            short.write_bytes(whole[: int(kept * len(whole))])
            if session.hook == "read_metadata":
                _refused_or_fine(session, short)
            else:
                _refused(session, short)


def _refused(session: Session, path: Path) -> None:
    try:
        answer = _ask(session, path)
        pixels = None if answer is None else _pixels(answer)
    except CryoframeError:
        return
    except Exception as error:
        fail(f"{path.name}: it falls over with {type(error).__name__}: {error}", remedy="Raise Incomplete or Corrupt.")
    if pixels is not None:
        fail(f"{path.name}: it reads pixels that are not there", remedy="Compare the file's size with its header.")


def _refused_or_fine(session: Session, path: Path) -> None:
    try:
        _ask(session, path)
    except CryoframeError:
        return
    except Exception as error:
        fail(f"{path.name}: it falls over with {type(error).__name__}: {error}", remedy="Raise Incomplete or Corrupt.")


def file_untouched(session: Session) -> None:
    """Reading changes neither the file nor its folder."""
    for path in [_specimen(session, name) for name in specimens.KINDS]:
        before = (path.read_bytes(), path.stat().st_mtime_ns, sorted(path.parent.iterdir()))
        try:
            answer = _ask(session, path)
            if answer is not None and session.hook != "read_metadata":
                _pixels(answer)
        except CryoframeError:
            pass
        if before != (path.read_bytes(), path.stat().st_mtime_ns, sorted(path.parent.iterdir())):
            fail(f"it changed {path.name} or its folder", remedy="Open for reading only; raw data are only ever read.")


def card_as_written(session: Session) -> None:
    """The test card is read as it was written: row 0 first, x fastest, in frames of the right number."""
    card = testcard.card_image(specimens.SHAPE_PX)
    for path in _own(session):
        pixels = _pixels(_ask(session, path))
        if pixels.dtype != np.float32:
            fail(f"{path.name}: pixels are {pixels.dtype}", expected="float32")
        frames = pixels if pixels.ndim == 3 else pixels[None]
        wanted = _N_FRAMES.get(session.hook, 1)
        if len(frames) != wanted:
            fail(f"{path.name}: {len(frames)} frames", expected=str(wanted))
        try:
            found = testcard.identify_image_symmetry(card, frames[0])
        except InvalidInput as error:
            fail(f"{path.name}: {error}")
        if found != "identity":
            fail(f"{path.name}: it comes turned by '{found}'", expected="row 0 first, x along the fast axis")


def _own(session: Session) -> list[Path]:
    """Specimens the reader takes for its own."""
    if session.hook not in READERS:
        return []
    found = []
    for name in specimens.KINDS:
        path = _specimen(session, name)
        try:
            if name not in specimens.NOBODYS and _ask(session, path) is not None:
                found.append(path)
        except FileError:
            continue
    return found


def _specimen(session: Session, name: str) -> Path:
    n_frames = _N_FRAMES.get(session.hook, 1)
    return specimens.write(name, session.fresh_folder("specimen"), n_frames=n_frames)


def _ask(session: Session, path: Path) -> Any:
    return session.plugins.call(session.plugin, session.hook, {"path": path})


def _pixels(answer: Any) -> Any:
    """Everything there is to read: frames of a movie, a micrograph, a gain."""
    if hasattr(answer, "read_frame"):
        return np.stack([answer.read_frame(index) for index in range(answer.n_frames)])
    return answer.read() if hasattr(answer, "read") else answer.data


_READER_CHECKS = (
    Check(foreign_files_declined, "load", hooks=READERS),
    Check(truncated_file_refused, "load", hooks=READERS),
    Check(file_untouched, "load", hooks=READERS),
    Check(card_as_written, "load", hooks=("open_movie", "open_micrograph", "open_gain")),
)


def checks_of(hook: str) -> tuple[Check, ...]:
    """Return the checks of a service."""
    return tuple(check for check in _READER_CHECKS if hook in check.hooks)
