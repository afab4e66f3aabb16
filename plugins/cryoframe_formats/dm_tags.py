"""Gatan's DM3 and DM4 tag trees: every group, name and small value; long arrays stay in the file.

References
----------
DM3 and DM4 layout: www.er-c.org/cbb/info/dmformat and P. Cueva, "DM4 file format" (reverse-engineered; no vendor text).
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import BinaryIO, Final

from cryoframe.errors import Corrupt, Incomplete, Refused

MAX_DEPTH: Final = 64
MAX_TAGS: Final = 1_000_000
MAX_INLINE: Final = 4096
SCALARS: Final = {2: "h", 3: "i", 4: "H", 5: "I", 6: "f", 7: "d", 8: "?", 9: "b", 10: "B", 11: "q", 12: "Q"}
_STRUCT, _STRING, _ARRAY = 15, 18, 20


@dataclass(frozen=True, slots=True)
class DmArray:
    """An array left in the file: one kind of element, or several side by side (an array of structures)."""

    offset: int
    codes: tuple[int, ...]
    count: int

    @property
    def n_bytes(self) -> int:
        """Size in the file."""
        return self.count * sum(struct.calcsize("<" + SCALARS[code]) for code in self.codes)


DmValue = int | float | bool | str | tuple[object, ...] | DmArray
DmGroup = dict[str, "DmValue | DmGroup"]


class TagReader:
    """One pass over the tree; unnamed tags are numbered, as the groups are lists."""

    def __init__(self, stream: BinaryIO, path: str) -> None:
        self.stream, self.path = stream, path
        self.size = os.fstat(stream.fileno()).st_size
        self.n_tags = 0
        self.long, self.order, self.version = "I", "<", 3

    def read(self) -> DmGroup:
        """Read header and tree.

        Raises
        ------
        Incomplete
            The file is shorter than its header says.
        Corrupt
            No DM3 or DM4 file, or a tag that contradicts itself.
        Refused
            More than 64 levels or a million tags.
        """
        self.stream.seek(0)
        (self.version,) = self._take(">I")
        if self.version not in (3, 4):
            raise self._corrupt(f"version {self.version}", "3 or 4")
        self.long = "I" if self.version == 3 else "Q"
        length, little = self._take(f">{self.long}I")
        if little not in (0, 1):
            raise self._corrupt(f"byte order {little}", "0 or 1")
        self.order = "<" if little else ">"
        needed = length + (16 if self.version == 3 else 24)
        if needed > self.size:
            raise Incomplete(
                f"{self.size} bytes", path=self.path, where="offset 4", expected=f"{needed} bytes",
                remedy="Wait until it is fully written.",
            )  # fmt: skip
        return self._group(0)

    def _group(self, depth: int) -> DmGroup:
        if depth > MAX_DEPTH:
            raise Refused("tag groups nested too deeply", path=self.path, expected=f"at most {MAX_DEPTH}")
        _, _, count = self._take(f">BB{self.long}")
        self.n_tags += count
        if self.n_tags > MAX_TAGS:
            raise Refused(f"more than {MAX_TAGS} tags", path=self.path, where=f"offset {self.stream.tell()}")
        group: DmGroup = {}
        for number in range(count):
            kind, name_bytes = self._take(">BH")
            name = self._bytes(name_bytes).decode("latin-1") or str(number)
            if self.version == 4:
                self._take(">Q")  # size of the tag, implied by its content
            if kind == 20:
                group[name] = self._group(depth + 1)
            elif kind == 21:
                group[name] = self._value()
            else:
                raise self._corrupt(f"tag of kind {kind}", "20 (group) or 21 (value)")
        return group

    def _value(self) -> DmValue:
        mark = self._bytes(4)
        if mark != b"%%%%":
            raise self._corrupt(f"mark {mark.hex(' ')}", "%%%%")
        (n_info,) = self._take(f">{self.long}")
        if not 0 < n_info <= 512:
            raise self._corrupt(f"description of {n_info} numbers", "1 to 512")
        info = self._take(f">{n_info}{self.long}")
        code = info[0]
        if code in SCALARS:
            (value,) = self._take(self.order + SCALARS[code])
            return value
        if code == _STRUCT:
            return tuple(self._take(self.order + "".join(SCALARS[c] for c in self._fields(info[1:]))))
        if code == _STRING and n_info == 2:
            return self._bytes(min(2 * info[1], self.size)).decode("utf-16-le" if self.order == "<" else "utf-16-be")
        if code == _ARRAY and n_info >= 3:
            return self._array(info)
        raise self._corrupt(f"value of kind {code}", "a number, structure, string or array")

    def _fields(self, info: tuple[int, ...]) -> tuple[int, ...]:
        """Kinds of a structure's fields from ``name length, n, (name length, kind) × n``."""
        kinds = info[3::2][: info[1]] if len(info) >= 2 else ()
        if len(info) < 2 or len(kinds) != info[1] or any(kind not in SCALARS for kind in kinds):
            raise self._corrupt("structure of unknown fields", "numbers")
        return kinds

    def _array(self, info: tuple[int, ...]) -> DmValue:
        codes = self._fields(info[2:-1]) if info[1] == _STRUCT else (info[1],)
        if any(code not in SCALARS for code in codes):
            raise self._corrupt(f"array of kind {info[1]}", "numbers or structures of numbers")
        array = DmArray(self.stream.tell(), codes, info[-1])
        end = array.offset + array.n_bytes
        if end > self.size:
            raise Incomplete(
                f"an array ends at byte {end}, the file at {self.size}", path=self.path, where=f"offset {array.offset}",
                expected=f"{end} bytes or more", remedy="Wait until it is fully written.",
            )  # fmt: skip
        if len(codes) == 1 and array.n_bytes <= MAX_INLINE and codes[0] == 4:
            return self._bytes(array.n_bytes).decode("utf-16-le" if self.order == "<" else "utf-16-be", "replace")
        self.stream.seek(end)
        return array

    def _take(self, layout: str) -> tuple[int, ...]:
        return struct.unpack(layout, self._bytes(struct.calcsize(layout)))

    def _bytes(self, count: int) -> bytes:
        raw = self.stream.read(count)
        if len(raw) < count:
            raise Incomplete(
                f"the file ends at byte {self.size} within a tag", path=self.path, where=f"offset {self.size}",
                remedy="Wait until it is fully written.",
            )  # fmt: skip
        return raw

    def _corrupt(self, what: str, expected: str) -> Corrupt:
        where = f"offset {self.stream.tell()}"
        return Corrupt(what, path=self.path, where=where, expected=expected, remedy="It is no DM file, or damaged.")
