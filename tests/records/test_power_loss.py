"""The power goes at any system call: what was acknowledged is there, on a model disk that keeps what was synced.

The system calls of a process that writes the journal are traced with their data and played to a model: a write is on
the disk once its file was synced, a name once its folder was; of writes since then none, or any, may have arrived. At
each cut the disk as it would be found is written out and the journal opened. A kill cannot show this: it keeps the
page cache.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from test_journal import WRITER, check_whole
from test_syscalls import traced

from cryoframe.errors import StoreError

CALLS = "trace=openat,write,pwrite64,fsync,fdatasync,ftruncate,unlink"
_CALL = re.compile(r"^\d+\s+(\w+)\((.*)\)\s+= (-?\d+)(?:<(.*)>)?$")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_FILE = re.compile(r"^\d+<((?:\\x[0-9a-f]{2})*)>")


def _plain(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


@dataclass
class Disk:
    """What a process wrote, and what of it a loss of power leaves."""

    folder: str
    live: dict[str, bytearray] = field(default_factory=dict)
    synced: dict[str, bytes] = field(default_factory=dict)
    pending: dict[str, list[tuple[int, bytes]]] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    acknowledged: bytes = b""

    def play(self, call: str, words: str, result: str) -> bool:
        """Take in a call; returns whether it touched the folder or acknowledged something."""
        if call == "write":
            if words.startswith("1<"):
                self.acknowledged += _plain(_TEXT.search(words)[1])  # type: ignore[index]
            return words.startswith("1<")
        opened = _FILE.match(words)
        path = _plain(opened[1] if opened else result).decode() if opened or result else ""
        if call == "unlink":
            path = _plain(_TEXT.search(words)[1]).decode()  # type: ignore[index]
        if not path.startswith(self.folder) or path.endswith("-shm"):
            return False
        if path == self.folder:
            if call in ("fsync", "fdatasync"):
                self.names = set(self.live)
            return True
        self._change(call, path, words)
        return True

    def _change(self, call: str, path: str, words: str) -> None:
        if call == "openat":
            self.live.setdefault(path, bytearray())
            return
        if call == "unlink":
            self.live.pop(path, None)
            return
        content = self.live[path]
        if call == "pwrite64":
            data, start = _plain(_TEXT.search(words)[1]), int(words.rpartition(", ")[2])  # type: ignore[index]
            content.extend(bytes(max(0, start + len(data) - len(content))))
            content[start : start + len(data)] = data
            self.pending.setdefault(path, []).append((start, data))
        elif call == "ftruncate":
            del content[int(words.rpartition(", ")[2]) :]
        else:
            self.synced[path], self.pending[path] = bytes(content), []

    def found(self, arrives: Callable[[], bool]) -> Iterator[tuple[str, bytes]]:
        """Yield each file as it is found when the power is back."""
        for path in sorted(self.names):
            content = bytearray(self.synced.get(path, b""))
            for start, data in self.pending.get(path, []):
                if arrives():
                    content.extend(bytes(max(0, start + len(data) - len(content))))
                    content[start : start + len(data)] = data
            yield path, bytes(content)


def _ids(acknowledged: bytes) -> list[str]:
    whole = acknowledged.decode().rpartition("\n")[0]
    return whole.split()


def _cut_everywhere(folder: Path, code: str, arriving_frac: float) -> int:
    """Run the writer, cut the power at each of its calls, judge each disk found; returns how many differed."""
    disk = Disk(str(folder / "run"))
    (folder / "run").mkdir()
    words = (str(folder / "run" / "state.sqlite"), "12")
    done = traced(folder, code, *words, options=("-xx", "-s", "9000", "-e", CALLS))
    assert done.returncode == 0, done.stderr
    chance, n_cuts = random.Random(2), 0
    before: tuple[dict[str, bytes], list[str]] | None = None
    for line in (folder / "trace.txt").read_text().splitlines():
        match = _CALL.match(line)
        if match is None or int(match[3]) < 0 or not disk.play(match[1], match[2], match[4] or ""):
            continue
        found = dict(disk.found(lambda: chance.random() < arriving_frac))
        wanted = _ids(disk.acknowledged)
        if (found, wanted) == before:
            continue
        before = (found, wanted)
        if not any(found.values()):
            assert not wanted, "acknowledged, and no file is there"
            continue
        place = folder / f"cut{n_cuts}"
        place.mkdir()
        for path, content in found.items():
            (place / Path(path).name).write_bytes(content)
        check_whole(place / "state.sqlite", wanted)
        n_cuts += 1
    assert len(_ids(disk.acknowledged)) == 36
    return n_cuts


@pytest.mark.slow
@pytest.mark.parametrize(("arriving_frac", "least"), [(0.0, 25), (0.5, 150)])
def test_the_power_goes_at_any_call__every_acknowledged_event_is_there(
    tmp_path: Path, arriving_frac: float, least: int, figure: Callable[[str, object], None]
) -> None:
    n_cuts = _cut_everywhere(tmp_path, WRITER, arriving_frac)
    assert n_cuts >= least
    figure(f"cuts of power under the journal, {100 * arriving_frac:.0f} % of what was not synced arriving", n_cuts)


@pytest.mark.slow
def test_a_journal_that_does_not_sync__is_found_out_by_the_model(tmp_path: Path) -> None:
    opened = "Database.open(Path(sys.argv[1]))"
    careless = WRITER.replace(
        "bus = Bus", f"base = {opened}; base._connection.execute('PRAGMA synchronous=OFF')\nbus = Bus"
    )
    with pytest.raises((AssertionError, StoreError)):
        _cut_everywhere(tmp_path, careless.replace(f"Journal({opened})", "Journal(base)"), 0.0)
