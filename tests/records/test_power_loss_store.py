"""The power goes at any system call of a commit: what the store called committed is there whole, the rest not at all.

A model of a disk with folders: a file has what was synced, a folder the names it had when it was last synced; of all
since then nothing, anything or everything may have arrived, a renaming as a whole or not at all.
"""

from __future__ import annotations

import os
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import pytest
from test_syscalls import traced

from cryoframe.records.store import Store

CALLS = (
    "openat,write,pwrite64,lseek,ftruncate,fsync,fdatasync,rename,renameat,renameat2,mkdir,mkdirat,"
    "unlink,unlinkat,rmdir,sendfile,copy_file_range"
)
_CALL = re.compile(r"^\d+\s+(\w+)\((.*)\)\s+= (-?\d+)(?:<(.*)>)?$")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_FILE = re.compile(r"^\d+<((?:\\x[0-9a-f]{2})*)>")
N_PRODUCTS = 8

COMMITTERS = """\
import sys
from pathlib import Path
import numpy as np
from cryoframe.data.images import CtfFit
from cryoframe.formats import products
from cryoframe.records.store import Store
{before}
store = Store(Path(sys.argv[1]))
for number in range(int(sys.argv[2])):
    key = f"{{number:040x}}"
    scratch = store.scratch("ctf", key, 1)
    (scratch / "product").mkdir()
    products.save(CtfFit("m1", 12000.0, 11000.0, number, profile=np.ones((3, 8), np.float32)), scratch / "product")
    (scratch / "log.txt").write_text("well")
    store.commit(scratch, "ctf", "m1", key, job={{"hook": "estimate_ctf"}})
    print(key, flush=True)
"""


@dataclass
class Node:
    """A file or a folder."""

    names: dict[str, Node] | None = None
    kept_names: dict[str, Node] = field(default_factory=dict)
    live: bytearray = field(default_factory=bytearray)
    kept: bytes = b""
    pending: list[tuple[int, bytes]] = field(default_factory=list)

    def sync(self) -> None:
        if self.names is None:
            self.kept, self.pending = bytes(self.live), []
        else:
            self.kept_names = dict(self.names)

    def write(self, start: int, data: bytes) -> None:
        _put(self.live, start, data)
        self.pending.append((start, data))


def _put(content: bytearray, start: int, data: bytes) -> None:
    content.extend(bytes(max(0, start + len(data) - len(content))))
    content[start : start + len(data)] = data


@dataclass
class Disk:
    """What a process did below a folder, and what a loss of power leaves of it."""

    folder: str
    root: Node = field(default_factory=lambda: Node(names={}))
    at: dict[str, int] = field(default_factory=dict)
    acknowledged: bytes = b""

    def node(self, path: str) -> Node | None:
        here: Node | None = self.root
        for part in PurePosixPath(path).relative_to(self.folder).parts:
            here = here.names.get(part) if here is not None and here.names is not None else None
        return here

    def play(self, call: str, words: str, result: int, result_path: str) -> bool:
        """Take in a call; returns whether it changed anything here."""
        opened = _FILE.match(words)
        path = _plain(opened[1] if opened else result_path).decode() if opened or result_path else ""
        texts = [_plain(text) for text in _TEXT.findall(words)]
        if call == "write" and words.startswith("1<"):
            self.acknowledged += texts[0]
            return True
        if call in ("rename", "renameat", "renameat2", "mkdir", "mkdirat", "unlink", "unlinkat", "rmdir"):
            return self._rename_or_so(call, words, [text.decode() for text in texts])
        if not path.startswith(f"{self.folder}/") and path != self.folder:
            return False
        return self._file(call, path, words, texts, result)

    def _rename_or_so(self, call: str, words: str, paths: list[str]) -> bool:
        folder = re.match(r"(?:AT_FDCWD|\d+)<((?:\\x[0-9a-f]{2})*)>", words)
        paths = [os.path.join(_plain(folder[1]).decode(), path) if folder else path for path in paths]  # noqa: PTH118
        if not paths[0].startswith(f"{self.folder}/"):
            return False
        first, name = self.node(str(PurePosixPath(paths[0]).parent)), PurePosixPath(paths[0]).name
        assert first is not None
        assert first.names is not None
        if call.startswith("mkdir"):
            first.names[name] = Node(names={})
        elif call.startswith("rename"):
            second = self.node(str(PurePosixPath(paths[1]).parent))
            assert second is not None
            assert second.names is not None
            second.names[PurePosixPath(paths[1]).name] = first.names.pop(name)
        else:
            first.names.pop(name)
        return True

    def _file(self, call: str, path: str, words: str, texts: list[bytes], result: int) -> bool:
        node = self.node(path)
        if call == "openat":
            self.at[path] = 0
            if node is None and "O_CREAT" in words:
                parent = self.node(str(PurePosixPath(path).parent))
                assert parent is not None
                assert parent.names is not None
                parent.names[PurePosixPath(path).name] = Node()
                return True
            assert node is None or "O_TRUNC" not in words, "the model knows no truncation of what is there"
            return False
        assert node is not None, f"{call} of {path}, which nobody made"
        assert call not in ("sendfile", "copy_file_range", "ftruncate"), f"the model knows no {call}"
        if call in ("fsync", "fdatasync"):
            node.sync()
        elif call == "lseek":
            self.at[path] = result
        elif call == "write":
            node.write(self.at[path], texts[0][:result])
            self.at[path] += result
        elif call == "pwrite64":
            node.write(int(words.rpartition(", ")[2]), texts[0][:result])
        return call != "lseek"

    def found(self, arrives: Callable[[], bool]) -> Iterator[tuple[str, bytes | None]]:
        """Yield each path as it is found when the power is back; a folder has no content."""
        chosen: dict[int, bool] = {}  # a renaming arrives in both folders or in none
        yield from self._below(self.root, "", arrives, chosen)

    def _below(
        self, folder: Node, prefix: str, arrives: Callable[[], bool], chosen: dict[int, bool]
    ) -> Iterator[tuple[str, bytes | None]]:
        assert folder.names is not None
        for name in sorted({*folder.names, *folder.kept_names}):
            old, new = folder.kept_names.get(name), folder.names.get(name)
            node = new if old is not new and chosen.setdefault(id(old or new), arrives()) else old
            if node is None:
                continue
            path = f"{prefix}{name}"
            if node.names is not None:
                yield path, None
                yield from self._below(node, f"{path}/", arrives, chosen)
                continue
            content = bytearray(node.kept)
            for start, data in node.pending:
                if arrives():
                    _put(content, start, data)
            yield path, bytes(content)


def _plain(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


def _judge(place: Path, found: dict[str, bytes | None], acknowledged: list[str]) -> None:
    """Each acknowledged product is whole; each that is there at all is whole too."""
    for path, content in found.items():
        if content is None:
            (place / path).mkdir(parents=True, exist_ok=True)
        else:
            (place / path).parent.mkdir(parents=True, exist_ok=True)
            (place / path).write_bytes(content)
    store = Store(place / "run")
    missing = [key for key in acknowledged if not store.has("ctf", key)]
    assert not missing, f"acknowledged and lost: {missing}"
    assert store.verify() == []
    store.sweep()


def _cut_everywhere(folder: Path, before: str, fracs: tuple[float, ...], n_products: int) -> int:
    """Commit, cut the power at each call, judge each disk found; returns how many differed."""
    disk, chance, n_cuts = Disk(str(folder / "disk")), random.Random(3), 0
    (folder / "disk").mkdir()
    words = (str(folder / "disk" / "run"), str(n_products))
    options = ("-xx", "-s", "70000", "-e", f"trace={CALLS}")
    done = traced(folder, COMMITTERS.format(before=before), *words, options=options)
    assert done.returncode == 0, done.stderr
    seen: set[int] = set()
    for line in (folder / "trace.txt").read_text().splitlines():
        match = _CALL.match(line)
        if match is None or int(match[3]) < 0 or not disk.play(match[1], match[2], int(match[3]), match[4] or ""):
            continue
        acknowledged = disk.acknowledged.decode().rpartition("\n")[0].split()
        for frac in fracs:
            found = dict(disk.found(lambda frac=frac: chance.random() < frac))  # type: ignore[misc]
            state = hash((tuple(sorted(found.items(), key=lambda item: item[0])), tuple(acknowledged)))
            if state in seen:
                continue
            seen.add(state)
            _judge(folder / f"cut{n_cuts}", found, acknowledged)
            n_cuts += 1
    assert len(disk.acknowledged.split()) == n_products
    return n_cuts


def test_the_power_goes_at_any_call_of_a_commit__what_was_committed_is_whole(
    tmp_path: Path, figure: Callable[[str, object], None]
) -> None:
    n_cuts = _cut_everywhere(tmp_path, "", (0.0, 0.3, 0.5, 0.5, 0.8, 1.0), N_PRODUCTS)
    assert n_cuts >= 150
    figure("cuts of power under the store", n_cuts)


def test_a_store_that_does_not_sync__is_found_out_by_the_model(tmp_path: Path) -> None:
    careless = "import os; os.fsync = lambda descriptor: None"
    with pytest.raises(AssertionError):
        _cut_everywhere(tmp_path, careless, (0.0, 0.5), 2)
