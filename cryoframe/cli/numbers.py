"""Numbers on the command line: what is out of reason is refused before anything begins. For argparse's ``type=``."""

from __future__ import annotations

import math
from argparse import ArgumentTypeError

#: Pixels of images and maps; beyond this nothing of a molecule is in them.
MAX_PIXEL_A = 100.0
MAX_THREADS = 4096


def pixel_size_A(text: str) -> float:
    """Return a pixel size in Å."""
    value = _number(text)
    if not 0 < value <= MAX_PIXEL_A:
        raise ArgumentTypeError(f"pixel_size_A is {text}, expected more than 0 and at most {MAX_PIXEL_A:g} Å")
    return value


def not_negative(text: str) -> float:
    """Return a finite number that is 0 or more."""
    value = _number(text)
    if value < 0:
        raise ArgumentTypeError(f"{text} is negative, expected 0 or more")
    return value


def n_threads(text: str) -> int:
    """Return a number of threads."""
    return _at_work(text, "threads")


def n_workers(text: str) -> int:
    """Return a number of worker processes."""
    return _at_work(text, "workers")


def seed(text: str) -> int:
    """Return a seed, 0 or more."""
    value = _whole(text)
    if value < 0:
        raise ArgumentTypeError(f"seed {text} is negative, expected 0 or more")
    return value


def _at_work(text: str, noun: str) -> int:
    value = _whole(text)
    if not 1 <= value <= MAX_THREADS:
        raise ArgumentTypeError(f"{text} {noun}, expected 1 to {MAX_THREADS}")
    return value


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ArgumentTypeError(f"'{text}' is no finite number")
    return value


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise ArgumentTypeError(f"'{text}' is no whole number") from error
