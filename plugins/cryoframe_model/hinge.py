"""Conformational series: parts of a model turned about an axis, told in one line of text; no maps are made here.

A hinge reads ``selection; axis; degrees``:

- selection: chains and ranges of residues, separated by commas: ``A:100-200, B`` (all of B), ``A:7`` (one residue);
- axis: ``axis 0,0,1 through A/100`` (a direction in the file's frame, through the Cα or P of a residue),
  ``axis 0,0,1 through 10,20,30`` (through a point, Å), or ``axis A/100 to A/120`` (from residue to residue);
- degrees: ``degrees 20``, the turn at the end of the series, right-handed about the axis.

Names and numbers are those of the file's authors. The turn is made before the biological assembly is built, so every
copy of a chain moves alike; a copy that shall move alone has to be a chain of its own in the file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
from numpy.typing import NDArray

from cryoframe.errors import InvalidInput, nearest
from cryoframe.numerics.rotations import axis_rotation

EXAMPLE = "A:100-200; axis 0,0,1 through A/100; degrees 20"
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_TRIPLE = re.compile(rf"({_NUMBER})\s*,\s*({_NUMBER})\s*,\s*({_NUMBER})")
_RESIDUE = re.compile(r"(\w+)\s*/\s*(-?\d+)")
_RANGE = re.compile(r"(?:chain\s+)?(\w+)(?:\s*:\s*(-?\d+)(?:\s*-\s*(-?\d+))?)?")
_SMALLEST_AXIS_A = 1e-3

Point = tuple[float, float, float] | tuple[str, int]


@dataclass(frozen=True)
class Hinge:
    """What turns about what, and how far.

    Parameters
    ----------
    parts
        (chain, first, last residue) of what turns.
    direction
        Direction (x, y, z) of the axis, or the residue (chain, number) it leads to.
    through
        Point (x, y, z) [Å] of the axis, or residue (chain, number).
    degrees
        Turn at place 1 of the series.
    """

    parts: tuple[tuple[str, int, int], ...]
    direction: Point
    through: Point
    degrees: float


def parse_hinge(text: str) -> Hinge:
    """Read a hinge.

    Raises
    ------
    InvalidInput
        Saying which part of the text is not understood.
    """
    pieces = [piece.strip() for piece in text.split(";")]
    if len(pieces) != 3:
        raise _unclear(text, f"has {len(pieces)} parts separated by ';'", "three: selection; axis …; degrees …")
    parts = tuple(_part(text, item.strip()) for item in pieces[0].split(","))
    direction, through = _axis(text, pieces[1])
    found = re.fullmatch(rf"degrees\s+({_NUMBER})", pieces[2])
    if found is None or not 0.0 < abs(float(found[1])) <= 180.0:
        raise _unclear(text, f"'{pieces[2]}' is no turn", "'degrees' and a number from -180 to 180, not 0")
    return Hinge(parts, direction, through, float(found[1]))


def turned(structure: Any, hinge: Hinge, place: float, path: Path) -> Any:
    """A copy of a structure with the hinge turned to `place`, 0 to 1.

    Raises
    ------
    InvalidInput
        A chain or residue of the hinge is not in the model, or its axis has no length.
    """
    copy = structure.clone()
    model = copy[0]
    through = _point(model, hinge.through, path)
    direction = _point(model, hinge.direction, path)
    if len(hinge.direction) == 2:
        direction = direction - through
    if not np.linalg.norm(direction) > _SMALLEST_AXIS_A:
        raise InvalidInput(
            "the axis of the hinge has no length",
            expected="a direction, or two residues apart",
            remedy="Correct hinge.",
        )
    rotation = axis_rotation(direction, place * hinge.degrees)
    for part in hinge.parts:
        for residue in _residues(model, part, path):
            for atom in residue:
                moved = rotation @ (np.array(atom.pos.tolist()) - through) + through
                atom.pos = gemmi.Position(*moved)
    return copy


def _unclear(text: str, what: str, expected: str) -> InvalidInput:
    return InvalidInput(f"hinge '{text}': {what}", expected=expected, remedy=f"Write it like '{EXAMPLE}'.")


def _part(text: str, item: str) -> tuple[str, int, int]:
    found = _RANGE.fullmatch(item)
    if found is None:
        raise _unclear(text, f"'{item}' selects nothing", "chain, chain:residue or chain:first-last")
    chain, first, last = found.groups()
    if first is None:
        return chain, -(10**6), 10**6
    low, high = int(first), int(last if last is not None else first)
    if low > high:
        raise _unclear(text, f"'{item}' ends before it begins", "first-last with first of at most last")
    return chain, low, high


def _axis(text: str, piece: str) -> tuple[Point, Point]:
    words = re.fullmatch(r"axis\s+(.+?)\s+(through|to)\s+(?:residue\s+)?(.+)", piece)
    if words is not None and words[2] == "through" and (direction := _TRIPLE.fullmatch(words[1])):
        through = _TRIPLE.fullmatch(words[3]) or _RESIDUE.fullmatch(words[3])
        if through is not None:
            return _read(direction), _read(through)
    if words is not None and words[2] == "to":
        start, end = _RESIDUE.fullmatch(words[1]), _RESIDUE.fullmatch(words[3])
        if start is not None and end is not None:
            return _read(end), _read(start)
    raise _unclear(text, f"'{piece}' is no axis", "'axis x,y,z through CHAIN/RESIDUE' or 'axis A/1 to A/9'")


def _read(found: re.Match[str]) -> Point:
    if len(found.groups()) == 2:
        return found[1], int(found[2])
    return float(found[1]), float(found[2]), float(found[3])


def _point(model: Any, point: Point, path: Path) -> NDArray[np.float64]:
    if len(point) == 3:
        return np.array(point, dtype=np.float64)
    chain, number = point
    residue = next(iter(_residues(model, (chain, number, number), path)))
    atom = residue.find_atom("CA", "*", gemmi.Element("C")) or residue.find_atom("P", "*") or residue[0]
    return np.array(atom.pos.tolist(), dtype=np.float64)


def _residues(model: Any, part: tuple[str, int, int], path: Path) -> list[Any]:
    name, first, last = part
    chains = [chain for chain in model if chain.name == name]
    if not chains:
        names = [chain.name for chain in model]
        raise InvalidInput(
            f"hinge: {path.name} has no chain '{name}'{nearest(name, names)}",
            expected=f"one of {', '.join(names[:20])}",
            remedy="Correct hinge.",
        )
    found = [residue for chain in chains for residue in chain if first <= residue.seqid.num <= last]
    if not found:
        numbers = [residue.seqid.num for chain in chains for residue in chain.get_polymer()]
        range_known = f"{min(numbers)} to {max(numbers)}" if numbers else "none"
        raise InvalidInput(
            f"hinge: chain {name} of {path.name} has no residue from {first} to {last}",
            expected=f"residues of its polymer: {range_known}",
            remedy="Correct hinge.",
        )
    return found
