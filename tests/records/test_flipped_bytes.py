"""One byte of a product, its log or its provenance is another: the next look at the store says so, wherever it is."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from test_store import FIT, KEY, commit

from cryoframe.errors import StoreError
from cryoframe.records.store import Store


@pytest.mark.parametrize("step", [7])
def test_one_flipped_byte_anywhere__is_found(tmp_path: Path, step: int, figure: Callable[[str, object], None]) -> None:
    store = Store(tmp_path / "run")
    folder = commit(store, FIT).path
    n_flipped, missed = 0, []
    for path in sorted(file for file in folder.rglob("*") if file.is_file()):
        whole = path.read_bytes()
        for at in range(0, len(whole), step):
            spoilt = bytearray(whole)
            spoilt[at] ^= 1 << (at % 8)
            path.write_bytes(spoilt)
            n_flipped += 1
            if not store.verify():
                missed.append((path.name, at))
        path.write_bytes(whole)
    assert store.verify() == []
    assert missed == []
    assert n_flipped > 100
    figure("flipped bytes in a product, all found", n_flipped)


def test_a_provenance_that_was_changed__is_not_read(tmp_path: Path) -> None:
    store = Store(tmp_path / "run")
    path = commit(store, FIT).path / "job.json"
    text = path.read_text()
    for at in range(0, len(text), 5):
        if text[at].isalnum():
            path.write_text(text[:at] + ("a" if text[at] != "a" else "b") + text[at + 1 :])
            with pytest.raises(StoreError, match=r"changed after|cannot be read"):
                store.job("ctf", KEY)
    path.write_text(text)
    assert store.job("ctf", KEY)["hook"] == "estimate_ctf"


def test_a_byte_flipped_behind_the_times__is_found_too(tmp_path: Path) -> None:
    store = Store(tmp_path / "run")
    path = next(commit(store, FIT).path.glob("product/*.mrc"))
    facts = path.stat()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    (problem,) = store.verify()
    assert "was changed" in problem.what
