"""Damaged files in small, every file that ever was a finding, and a proof that the fuzzer sees what is wrong."""

from __future__ import annotations

import ctypes
import random
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from fuzz import apart, mutated, outcome, smaller
from fuzz_targets import TARGETS, Target

from cryoframe.errors import StoreError

N_INPUTS = 40
FOUND = sorted((Path(__file__).parent / "found").iterdir())
BY_NAME = {target.name: target for target in TARGETS}


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_damaged_files__are_read_or_refused(target: Target, tmp_path: Path, figure: Callable) -> None:
    seeds = target.seeds(tmp_path)
    if not seeds:
        pytest.skip(f"{target.name}: its whole files are real ones, and those are not here")
    chance = random.Random(7)
    said = [told for _, told in apart(target, [mutated(chance, seeds) for _ in range(N_INPUTS)], tmp_path)]
    assert [one for one in said if one.startswith("FAULT")] == []
    assert len(said) == N_INPUTS
    figure(f"{target.name}: read of {N_INPUTS}", said.count("read"))


@pytest.mark.parametrize("path", FOUND, ids=lambda path: path.name)
def test_what_was_a_finding_once__is_none_any_more(path: Path) -> None:
    assert not outcome(BY_NAME[path.name.partition("-")[0]], path).startswith("FAULT")


def _raises(error: Exception) -> Callable[[Path], object]:
    def read(path: Path) -> object:
        raise error

    return read


@pytest.mark.parametrize(
    ("read", "said"),
    [
        (_raises(KeyError("x")), "FAULT KeyError"), (_raises(StoreError("x")), "FAULT StoreError"),
        (_raises(MemoryError()), "FAULT MemoryError"), (lambda path: ctypes.string_at(0), "FAULT died of -11"),
        (lambda path: bytes(1 << 40), "FAULT MemoryError"),
    ],
)  # fmt: skip
def test_a_reader_that_misbehaves__is_seen(read: Callable[[Path], object], said: str, tmp_path: Path) -> None:
    bad = Target("bad", ".x", read, lambda folder: [b"x"])
    assert next(told for _, told in list(apart(bad, [b"x"], tmp_path))).startswith(said)


def test_a_finding__is_made_small(tmp_path: Path) -> None:
    def read(path: Path) -> object:
        if b"!" in path.read_bytes():
            raise KeyError("!")
        return None

    bad = Target("bad", ".x", read, lambda folder: [b"x"])
    assert smaller(bad, b"a" * 40 + b"!" + b"b" * 23, "FAULT KeyError: '!'", tmp_path) == b"!"
