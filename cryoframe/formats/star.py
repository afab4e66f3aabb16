"""STAR files as text: a strict tokenizer, typed access on request, a writer; what columns mean is in ``star_columns``.

Nothing is inferred: a value stays the text it is until ``floats`` or ``ints`` is asked for, a row has exactly as many
fields as the loop has names, the last line ends with a newline, and no result outlives the call.

References
----------
STAR: Hall, J. Chem. Inf. Comput. Sci. 31, 326 (1991), doi:10.1021/ci00002a020; the dialect is RELION's.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from cryoframe.errors import Corrupt, FileError, Incomplete, InvalidInput, Refused, Unsupported
from cryoframe.formats.paths import open_regular
from cryoframe.formats.star_block import StarBlock

__all__ = ["StarBlock", "parse_star", "read_star", "write_star"]

MAX_BYTES = 4 * 2**30
MAX_COLUMNS = 10_000
_TOKEN = re.compile(r"""'(?:[^']|'(?=[^\s]))*'(?=\s|$)|"(?:[^"]|"(?=[^\s]))*"(?=\s|$)|[^\s'"#][^\s]*|#.*|['"].*""")
_RESERVED = re.compile(r"(?i)(data_|save_|loop_$|stop_$|global_$)")
_NAME = re.compile(r"_[!-~]+$")
_FOREIGN = re.compile(r"(?i)(save_\S*|stop_|global_)$")


def read_star(
    path: str | os.PathLike[str], *, require_final_newline: bool = True, max_bytes: int = MAX_BYTES
) -> dict[str, StarBlock]:
    """Read all blocks; the key is the text after ``data_`` (empty for a bare ``data_``).

    Parameters
    ----------
    path
        The file; read afresh at each call.
    require_final_newline
        Take a missing newline at the end for a file cut short. Only for files known to be whole pass False.
    max_bytes
        Refuse larger files.

    Raises
    ------
    Incomplete
        Empty, or the last line has no newline, or a loop has no names yet.
    Corrupt
        With line number: ragged row, duplicate column or block, open quote, text outside a block, NUL.
    Unsupported
        Multi-line ``;`` texts, save frames, two loops in one block.
    Refused
        Larger than `max_bytes`, more than 10 000 columns, not a regular file.
    """
    name = os.fspath(path)
    with open_regular(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        if size > max_bytes:
            raise Refused(f"{size} bytes", path=name, expected=f"at most {max_bytes}", remedy="Raise max_bytes.")
        raw = stream.read()
    return parse_star(raw, path=name, require_final_newline=require_final_newline)


def parse_star(raw: bytes, *, path: str = "", require_final_newline: bool = True) -> dict[str, StarBlock]:
    """Parse the bytes of a STAR file; see :func:`read_star`."""
    if b"\0" in raw:
        line = raw.count(b"\n", 0, raw.index(b"\0")) + 1
        raise Corrupt("NUL byte", path=path, where=f"line {line}", expected="text", remedy="Copy the file again.")
    if require_final_newline and not raw.endswith(b"\n"):
        line = raw.count(b"\n") + 1
        raise Incomplete(
            "the last line has no newline" if raw else "the file is empty",
            path=path,
            where=f"line {line}",
            expected="a newline at the end",
            remedy="Wait until it is fully written.",
        )
    return _Parser(path).parse(raw.decode("utf-8-sig", "surrogateescape"))


class _Parser:
    """One pass over the lines; holds the block under construction."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.blocks: dict[str, StarBlock] = {}
        self.block: StarBlock | None = None
        self.label = ""
        self.in_loop = False
        self.names: list[str] = []
        self.rows: list[list[str]] = []
        self.lines: list[int] = []
        self.version: int | None = None

    def parse(self, text: str) -> dict[str, StarBlock]:
        for number, line in enumerate(text.split("\n"), 1):
            tokens = line.split()
            if not tokens:
                continue
            if "#" in line or '"' in line or "'" in line or line[0] == ";":
                tokens = self._careful(line, number)
                if not tokens:
                    continue
            if self.rows and len(tokens) == len(self.names) > 1 and tokens[0][:1] != "_":
                self.rows.append(tokens)
                self.lines.append(number)
            else:
                self._line(tokens, line.split()[0], number)
        self._close()
        return self.blocks

    def _careful(self, line: str, number: int) -> list[str]:
        """Tokens of a line with quotes or comments; a comment ends the line only where a value could begin."""
        if line[0] == ";":
            raise Unsupported("multi-line text begins", path=self.path, where=f"line {number}", expected="one line")
        tokens: list[str] = []
        for token in _TOKEN.findall(line):
            if token[0] == "#":
                self._comment(token)
                break
            if token[0] in "'\"":
                if len(token) < 2 or token[-1] != token[0]:
                    raise self._error(f"quote {token[:40]!r} is not closed", number, "a closing quote")
                token = token[1:-1]
            tokens.append(token)
        return tokens

    def _comment(self, token: str) -> None:
        words = token[1:].split()
        if len(words) == 2 and words[0] == "version" and words[1].isdigit():
            self.version = int(words[1])

    def _line(self, tokens: list[str], first: str, number: int) -> None:
        """Handle a line that is not plainly one more row; `first` is its first word with any quote still on."""
        if first[:5].lower() == "data_" and len(tokens) == 1:
            self._open(first[5:], number)
        elif _FOREIGN.match(first) and len(tokens) == 1:
            raise Unsupported(f"{first!r}", path=self.path, where=f"line {number}", expected="data_ blocks with loop_")
        elif self.block is None:
            raise self._error(f"text {first[:40]!r} outside a block", number, "data_, then names and values")
        elif first.lower() == "loop_" and len(tokens) == 1:
            self._loop(number)
        elif first[0] == "_" and not self.rows:
            self._name(tokens, number)
        elif self.in_loop and self.names and first[0] != "_":
            self._row(tokens, number)
        else:
            expected = "a row; quote a value that begins with '_'" if self.rows else "a name that begins with '_'"
            raise self._error(f"text {first[:40]!r} out of place", number, expected)

    def _open(self, label: str, number: int) -> None:
        self._close()
        if label in self.blocks:
            raise self._error(f"second block 'data_{label}'", number, "each block once")
        self.label, self.block = label, StarBlock({}, False, self.path, (), self.version)
        self.version = None

    def _loop(self, number: int) -> None:
        if self.in_loop or self.names:
            raise Unsupported(
                "a second table in one block", path=self.path, where=f"line {number}", expected="one table a block"
            )
        self.in_loop = True

    def _name(self, tokens: list[str], number: int) -> None:
        name = tokens[0][1:]
        if not name or not _NAME.match(tokens[0]):
            raise self._error(f"name {tokens[0][:40]!r}", number, "'_' and printable characters")
        if name in self.names:
            raise self._error(f"column {name!r} appears twice", number, "each name once")
        if len(self.names) >= MAX_COLUMNS:
            raise Refused(f"more than {MAX_COLUMNS} columns", path=self.path, where=f"line {number}")
        if len(tokens) != (1 if self.in_loop else 2):
            expected = "a name alone" if self.in_loop else "a name and one value"
            raise self._error(f"{len(tokens) - 1} values after {tokens[0]!r}", number, expected)
        self.names.append(name)
        if not self.in_loop:
            assert self.block is not None
            self.block.columns[name] = [tokens[1]]
            self.block.value_lines[name] = number

    def _row(self, tokens: list[str], number: int) -> None:
        if len(tokens) != len(self.names):
            raise self._error(f"{len(tokens)} fields", number, f"{len(self.names)}, one for each column")
        self.rows.append(tokens)
        self.lines.append(number)

    def _close(self) -> None:
        if self.block is None:
            return
        if self.in_loop:
            if not self.names:
                raise Incomplete(f"loop of block 'data_{self.label}' has no names", path=self.path)
            values = [list(column) for column in zip(*self.rows, strict=True)] or [[] for _ in self.names]
            self.block.columns = dict(zip(self.names, values, strict=True))
            self.block.is_loop, self.block.row_lines = True, self.lines
        self.blocks[self.label] = self.block
        self.block, self.in_loop, self.names, self.rows, self.lines = None, False, [], [], []

    def _error(self, what: str, number: int, expected: str) -> FileError:
        return Corrupt(
            what,
            path=self.path,
            where=f"line {number}",
            expected=expected,
            remedy="Correct the line or write it again.",
        )


def write_star(
    path: str | os.PathLike[str], blocks: Mapping[str, StarBlock | Mapping[str, Sequence[str]]], *, version: int = 30001
) -> None:
    """Write blocks so that RELION 3.1 and later read them; the file is written at exactly `path`.

    Parameters
    ----------
    path
        Target; replaced if it exists.
    blocks
        Block name (without ``data_``) to a :class:`StarBlock`, or to columns of texts (written as a loop).
    version
        Number of RELION's ``# version`` comment; 30001 marks the optics-group dialect.

    Raises
    ------
    InvalidInput
        A text that STAR cannot hold on one line, columns of unequal length, or an unusable name.
    """
    with Path(path).open("w", encoding="utf-8", errors="surrogateescape", newline="\n") as stream:
        for label, given in blocks.items():
            block = given if isinstance(given, StarBlock) else StarBlock({k: list(v) for k, v in given.items()})
            stream.write(f"\n# version {version}\n\ndata_{label}\n\n")
            stream.writelines(_loop_lines(block) if block.is_loop else _value_lines(block))
            stream.write(" \n")


def _loop_lines(block: StarBlock) -> Iterator[str]:
    lengths = {len(values) for values in block.columns.values()}
    if len(lengths) > 1:
        raise InvalidInput(f"columns of unequal length {sorted(lengths)}", expected="equal lengths")
    yield "loop_ \n"
    for number, name in enumerate(block.columns, 1):
        yield f"{_checked_name(name)} #{number} \n"
    columns = [_quoted(values) for values in block.columns.values()]
    for row in zip(*columns, strict=True):
        yield "\t".join(row) + "\n"


def _value_lines(block: StarBlock) -> Iterator[str]:
    for name, values in block.columns.items():
        if len(values) != 1:
            raise InvalidInput(f"{len(values)} values for {name!r} outside a loop", expected="one")
        yield f"{_checked_name(name):<50} {_quoted(values)[0]}\n"


def _checked_name(name: str) -> str:
    if not _NAME.match("_" + name):
        raise InvalidInput(f"STAR column name {name!r}", expected="printable characters without spaces")
    return "_" + name


_PLAIN = re.compile(r"[^\s'\"#;_\0][^\s\0]*$")


def _quoted(values: Sequence[str]) -> list[str]:
    plain = _PLAIN.match
    reserved = _RESERVED.match
    return [value if plain(value) and not reserved(value) else _quote(value) for value in values]


def _quote(value: str) -> str:
    if "\n" in value or "\r" in value or "\0" in value:
        raise InvalidInput(f"value {value!r} has a line break or NUL", expected="one line of text")
    for mark in ('"', "'"):
        if mark not in value:
            return f"{mark}{value}{mark}"
    raise InvalidInput(f"value {value!r} has both kinds of quotes", expected="at most one kind")
