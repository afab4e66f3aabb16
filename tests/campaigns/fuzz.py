"""Damaged files for every reader, in processes that may die: each is read, or refused by one of the declared errors.

``python tests/campaigns/fuzz.py --minutes 45`` a night; ``--only star`` for one reader. A child reads one damaged
file after the other under limits of memory and time; when it dies, hangs, or raises what it must not, the file is made
smaller as long as it still does so, and kept in ``--out``.
"""

from __future__ import annotations

import argparse
import faulthandler
import hashlib
import os
import random
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from fuzz_targets import TARGETS, Target

from cryoframe.errors import CryoframeError

MEMORY_BYTES, LIMIT_S, BATCH = 3 << 30, 10, 200
TOKENS = (
    b"nan", b"inf", b"-1", b"1e309", b"99999999999999999999", b"0", b"\0", b"\xff\xfe", b"../", b"<!DOCTYPE x [",
    b"&a;", b"loop_\n",
    b"data_\n", b"_rln", b'"', b"'", b"#", b"[", b"]", b"=", b"\r\n", b";", b"@", b"%s", b"\xc3\x28",
)  # fmt: skip
NUMBERS = (0, 1, -1, 127, 128, 255, 256, 32767, 32768, 65535, 65536, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 40)


@dataclass
class Found:
    """What came of a target."""

    n_inputs: int = 0
    seconds: float = 0.0
    outcomes: Counter[str] = field(default_factory=Counter)
    faults: dict[str, Path] = field(default_factory=dict)


def mutated(chance: random.Random, seeds: Sequence[bytes]) -> bytes:
    """Return a seed with a few kinds of damage."""
    content = bytearray(chance.choice(seeds))
    for _ in range(chance.choice((1, 1, 2, 3, 8))):
        chance.choice(_DAMAGES)(chance, content, seeds)
    return bytes(content)


def _flip(chance: random.Random, content: bytearray, seeds: Sequence[bytes]) -> None:
    if content:
        content[_spot(chance, content)] ^= 1 << chance.randrange(8)


def _number(chance: random.Random, content: bytearray, seeds: Sequence[bytes]) -> None:
    size, order = chance.choice((1, 2, 4, 8)), chance.choice(("little", "big"))
    at = _spot(chance, content) & ~(size - 1)
    content[at : at + size] = (chance.choice(NUMBERS) % (1 << 8 * size)).to_bytes(size, order)  # type: ignore[arg-type]


def _cut(chance: random.Random, content: bytearray, seeds: Sequence[bytes]) -> None:
    del content[_spot(chance, content) :]


def _drop(chance: random.Random, content: bytearray, seeds: Sequence[bytes]) -> None:
    at = _spot(chance, content)
    del content[at : at + chance.choice((1, 2, 4, 16, 256))]


def _repeat(chance: random.Random, content: bytearray, seeds: Sequence[bytes]) -> None:
    at, size = _spot(chance, content), chance.choice((1, 4, 16, 64, 1024))
    content[at:at] = content[at : at + size] * chance.choice((1, 2, 50))


def _splice(chance: random.Random, content: bytearray, seeds: Sequence[bytes]) -> None:
    other = chance.choice(seeds)
    at = chance.randrange(len(other) + 1)
    content[_spot(chance, content) :] = other[at:]


def _token(chance: random.Random, content: bytearray, seeds: Sequence[bytes]) -> None:
    at = _spot(chance, content)
    content[at : at + chance.choice((0, 0, 1, 4))] = chance.choice(TOKENS)


_DAMAGES: tuple[Callable[[random.Random, bytearray, Sequence[bytes]], None], ...] = (
    _flip, _flip, _number, _number, _cut, _drop, _repeat, _splice, _token, _token,
)  # fmt: skip


def _spot(chance: random.Random, content: bytearray) -> int:
    """Return a place, more often near the beginning, where the headers are."""
    if not content:
        return 0
    return chance.randrange(min(len(content), chance.choice((64, 512, 4096, len(content)))))


def outcome(target: Target, path: Path) -> str:
    """Return what came of a file: read, the name of a declared error, or a fault."""
    try:
        target.read(path)
        return "read"
    except CryoframeError as error:
        name = type(error).__name__
        return name if name in target.allowed else f"FAULT {name}: {error.what}"[:200]
    except MemoryError:
        return "FAULT MemoryError"
    except Exception as error:
        return f"FAULT {type(error).__name__}: {error}"[:200]


def apart(target: Target, contents: Sequence[bytes], folder: Path) -> Iterator[tuple[int, str]]:
    """Read files in a child; yield (which, what came of it), the last of which may be that the child died."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        _read_all(target, contents, folder, writing)
    os.close(writing)
    n_said = 0
    with os.fdopen(reading, "rb") as said:
        for line in said:
            yield n_said, line.decode(errors="replace").rstrip("\n")
            n_said += 1
    _, status = os.waitpid(pid, 0)
    if n_said < len(contents):
        code = os.waitstatus_to_exitcode(status)
        yield n_said, "FAULT hung" if code == -signal.SIGALRM else f"FAULT died of {code}"


def _read_all(target: Target, contents: Sequence[bytes], folder: Path, writing: int) -> None:
    faulthandler.disable()
    # A child begins with all that its parent has mapped, which a test's process may have much of.
    mapped = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + MEMORY_BYTES,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    path = folder / f"input{target.suffix}"
    for content in contents:
        path.write_bytes(content)
        signal.setitimer(signal.ITIMER_PROF, LIMIT_S)
        signal.alarm(20 * LIMIT_S)
        os.write(writing, outcome(target, path).replace("\n", " ").encode(errors="replace") + b"\n")
    os._exit(0)


def smaller(target: Target, content: bytes, fault: str, folder: Path) -> bytes:
    """Return a smaller file with the same fault."""
    kind = fault[:40]

    def same(candidate: bytes) -> bool:
        return any(said[:40] == kind for _, said in apart(target, [candidate], folder))

    step, until_s = max(1, len(content) // 2), time.monotonic() + 20
    while step and time.monotonic() < until_s:
        at = 0
        while at < len(content) and time.monotonic() < until_s:
            shorter = content[:at] + content[at + step :]
            if same(shorter):
                content = shorter
            else:
                at += step
        step //= 2
    return content


def fuzz(target: Target, seconds: float, chance: random.Random, out: Path) -> Found:
    """Damage files for a reader for a while."""
    found, end_s = Found(), time.monotonic() + seconds
    start_s = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        seeds = target.seeds(Path(name))
        told = [said for _, said in apart(target, seeds, Path(name))]
        seeds = [seed for seed, said in zip(seeds, told, strict=True) if said == "read"]
        if not seeds:
            raise SystemExit(f"{target.name}: no whole file is read: {told}")
        while time.monotonic() < end_s:
            contents = [mutated(chance, seeds) for _ in range(BATCH)]
            for at, said in apart(target, contents, Path(name)):
                found.n_inputs += 1
                found.outcomes[said.partition(":")[0]] += 1
                if said.startswith("FAULT") and said[:60] not in found.faults and len(found.faults) < 20:
                    found.faults[said[:60]] = _kept(target, contents[at], said, Path(name), out=out)
    found.seconds = time.monotonic() - start_s
    return found


def _kept(target: Target, content: bytes, said: str, folder: Path, *, out: Path) -> Path:
    minimal = smaller(target, content, said, folder)
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{target.name}-{hashlib.sha256(minimal).hexdigest()[:10]}{target.suffix}"
    path.write_bytes(minimal)
    return path


def main(words: Sequence[str]) -> int:
    """Fuzz and print; 1 if there was a fault."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=45.0)
    parser.add_argument("--only", action="append", default=[], metavar="TARGET")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("fuzz-findings"))
    options = parser.parse_args(words)
    chosen = [target for target in TARGETS if not options.only or target.name in options.only]
    n_all, n_faults = 0, 0
    for target in chosen:
        found = fuzz(target, 60 * options.minutes / len(chosen), random.Random(options.seed), options.out)
        n_all, n_faults = n_all + found.n_inputs, n_faults + len(found.faults)
        rate = found.n_inputs / found.seconds
        told = ", ".join(f"{name} {count}" for name, count in found.outcomes.most_common(6))
        sys.stdout.write(f"{target.name:<12} {found.n_inputs} inputs, {rate:.0f}/s: {told}\n")
        for fault, path in found.faults.items():
            sys.stdout.write(f"  {fault}: {path}\n")
        sys.stdout.flush()
    bound = f" (95 %: ≤ {300 / n_all:.2g} %)" if n_all and not n_faults else ""
    sys.stdout.write(f"{n_faults} kinds of fault in {n_all} inputs{bound}\n")
    return int(bool(n_faults))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
