"""SerialEM's text list of a camera's defects: written from a map, and read strictly; no hook lives here.

Rows and columns are counted from 0, rows from the top, that is from the last row of our maps, as in TIFF movies.

References
----------
The keywords are those of the lists that SerialEM writes and IMOD's ``clip`` reads: ``BadPixels x y …``,
``BadColumns x …``, ``BadRows y …``, ``PartialBadColumn x width first-y last-y``,
``PartialBadRow y height first-x last-x``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cryoframe.errors import Corrupt, Refused

_PIXELS_A_LINE, _LINES_A_LINE = 10, 20
_MAX_SIDE_PX: Final = 65_535
_PLAIN: Final = ("RotationAndFlip", "WasScaled", "K2Type", "FalconType", "NumToAvgSuperRes")


def defect_list_text(defects: NDArray[np.bool_]) -> str:
    """Return the list of a map `(ny, nx)`, true where defective.

    Whole columns and rows come as such, runs along a column as partial columns, the rest as pixels.
    """
    top_down: NDArray[np.bool_] = np.asarray(defects, np.bool_)[::-1]
    ny, nx = top_down.shape
    lines = [f"CameraSizeX {nx}", f"CameraSizeY {ny}", *(f"{name} 0" for name in _PLAIN), "UsableArea 0 0 0 0"]
    columns: NDArray[np.bool_] = np.all(top_down, axis=0)
    rows: NDArray[np.bool_] = np.all(top_down, axis=1)
    rest = top_down & ~columns[None, :] & ~rows[:, None]
    runs, pixels = _column_runs(rest)
    lines += [f"PartialBadColumn {x} {width} {first} {last}" for x, width, first, last in runs]
    lines += _in_lines("BadPixels", [f"{x} {y}" for x, y in pixels], _PIXELS_A_LINE)
    lines += _in_lines("BadColumns", np.flatnonzero(columns).tolist(), _LINES_A_LINE)
    lines += _in_lines("BadRows", np.flatnonzero(rows).tolist(), _LINES_A_LINE)
    return "\n".join(lines) + "\n"


def defects_from_text(words: str, path: str = "") -> NDArray[np.bool_]:
    """Return the map `(ny, nx)` of a list.

    Raises
    ------
    Corrupt
        No size, an unknown keyword, or numbers that are none or lie outside; the line is named.
    Refused
        An absurd size.
    """
    entries = [(number, line.split()) for number, line in enumerate(words.splitlines(), start=1) if line.strip()]
    sizes = {name: _numbers(rest, number, path) for number, (name, *rest) in entries if name.startswith("CameraSize")}
    if set(sizes) != {"CameraSizeX", "CameraSizeY"} or any(len(size) != 1 for size in sizes.values()):
        raise Corrupt("the list of defects names no camera size", path=path, expected="CameraSizeX and CameraSizeY")
    nx, ny = sizes["CameraSizeX"][0], sizes["CameraSizeY"][0]
    if not (0 < nx <= _MAX_SIDE_PX and 0 < ny <= _MAX_SIDE_PX):
        raise Refused(f"a camera of {nx} × {ny} pixels", path=path, expected=f"edges of 1 to {_MAX_SIDE_PX}")
    top_down = np.zeros((ny, nx), np.bool_)
    for number, (name, *rest) in entries:
        try:
            _mark(top_down, name, _numbers(rest, number, path))
        except (IndexError, ValueError) as error:
            where = f"line {number}"
            raise Corrupt(f"{name} {' '.join(rest)[:80]}", path=path, where=where, expected=str(error)) from error
    return np.ascontiguousarray(top_down[::-1])


def _mark(top_down: NDArray[np.bool_], name: str, numbers: Sequence[int]) -> None:
    if name == "BadPixels":
        if len(numbers) % 2:
            raise ValueError("pairs of numbers")
        top_down[list(numbers[1::2]), list(numbers[::2])] = True
    elif name == "BadColumns":
        top_down[:, list(numbers)] = True
    elif name == "BadRows":
        top_down[list(numbers)] = True
    elif name in ("PartialBadColumn", "PartialBadRow"):
        start, width, first, last = numbers
        view = top_down if name == "PartialBadColumn" else top_down.T
        if not (first <= last < view.shape[0] and 0 < width <= view.shape[1] - start):
            raise ValueError("a place on the camera")
        view[first : last + 1, start : start + width] = True
    elif name == "UsableArea":
        if any(numbers):
            raise ValueError("0 0 0 0; a usable area is not read here")
    elif name not in (*_PLAIN, "CameraSizeX", "CameraSizeY"):
        raise ValueError("a keyword of SerialEM's lists of defects")


def _numbers(words: Iterable[str], number: int, path: str) -> list[int]:
    found = list(words)
    if not all(word.isascii() and word.isdigit() and len(word) < 10 for word in found):
        raise Corrupt(f"{' '.join(found)[:80]}", path=path, where=f"line {number}", expected="whole numbers from 0")
    return [int(word) for word in found]


def _column_runs(rest: NDArray[np.bool_]) -> tuple[list[list[int]], list[tuple[int, int]]]:
    """Return runs of two and more pixels (x, width, first y, last y), like neighbours joined, and pixels (x, y)."""
    edges = np.diff(rest.astype(np.int8), axis=0, prepend=0, append=0).T
    first_x, first_y = np.nonzero(edges == 1)
    _, after_y = np.nonzero(edges == -1)
    runs: list[list[int]] = []
    pixels: list[tuple[int, int]] = []
    open_runs: dict[tuple[int, int], list[int]] = {}
    for x, first, after in zip(first_x.tolist(), first_y.tolist(), after_y.tolist(), strict=True):
        if after == first + 1:
            pixels.append((x, first))
            continue
        before = open_runs.get((first, after))
        if before is not None and before[0] + before[1] == x:
            before[1] += 1
            continue
        open_runs[first, after] = [x, 1, first, after - 1]
        runs.append(open_runs[first, after])
    return runs, pixels


def _in_lines(name: str, items: Sequence[object], n_a_line: int) -> list[str]:
    return [" ".join([name, *map(str, items[start : start + n_a_line])]) for start in range(0, len(items), n_a_line)]
