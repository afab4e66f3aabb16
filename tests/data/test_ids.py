"""Identities depend on content alone, are the same everywhere and forever, and do not collide."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import hypothesis
from hypothesis import strategies as st

from cryoframe.data.ids import KEY_DIGITS, digest_bytes, digest_facts, digest_file, half_of, particle_id


def test_keys__are_the_same_on_every_machine_and_in_every_version() -> None:
    """Pinned: if one of these changes, every stored result and every half-set changes with it."""
    prefixed = (4).to_bytes(8, "little") + b"cryo" + (5).to_bytes(8, "little") + b"frame"
    assert digest_bytes(b"cryo", b"frame") == hashlib.blake2b(prefixed, digest_size=20).hexdigest()
    expected = hashlib.blake2b(b"m|1234|5678|blob", digest_size=8).digest()
    assert particle_id("m", 12.34, 56.78, "blob") == int.from_bytes(expected, "little")
    assert half_of("m", 7) == 1 + hashlib.blake2b(b"m|7", digest_size=1).digest()[0] % 2


@hypothesis.given(st.lists(st.binary(max_size=8), max_size=4), st.lists(st.binary(max_size=8), max_size=4))
def test_two_lists_of_bytes__have_one_key_only_if_they_are_one(a: list[bytes], b: list[bytes]) -> None:
    assert (digest_bytes(*a) == digest_bytes(*b)) == (a == b)


def test_a_key__has_forty_digits() -> None:
    assert len(digest_bytes()) == len(digest_facts({})) == KEY_DIGITS == 40


@hypothesis.given(
    st.dictionaries(st.text(max_size=5), st.integers() | st.floats(allow_nan=False) | st.text(max_size=5))
)
def test_facts__have_one_key_whatever_their_order(facts: dict[str, object]) -> None:
    assert digest_facts(facts) == digest_facts(dict(reversed(facts.items())))
    assert digest_facts({**facts, "another": 1}) != digest_facts({**facts, "another": 2})


def test_a_file__is_its_bytes_not_its_name(tmp_path: Path) -> None:
    one, other = tmp_path / "a", tmp_path / "b"
    one.write_bytes(b"x" * 3_000_001)
    other.write_bytes(b"x" * 3_000_001)
    assert digest_file(one) == digest_file(other) == hashlib.blake2b(one.read_bytes(), digest_size=20).hexdigest()
    other.write_bytes(b"x" * 3_000_000 + b"y")
    assert digest_file(one) != digest_file(other)


def test_a_particle__is_where_it_is_to_a_hundredth_of_an_angstrom() -> None:
    here = particle_id("m", 100.001, 50.0, "blob")
    assert here == particle_id("m", 100.004, 50.0, "blob")
    others = [
        ("m", 100.02, 50.0, "blob"),
        ("m", 100.0, 50.02, "blob"),
        ("n", 100.0, 50.0, "blob"),
        ("m", 100.0, 50.0, "t"),
    ]
    assert len({here, *(particle_id(*other) for other in others)}) == 5


def test_a_hundred_thousand_picks__have_identities_of_their_own() -> None:
    ids = {particle_id("m", 0.37 * x, 0.41 * y, "blob") for x in range(400) for y in range(250)}
    assert len(ids) == 100_000


def test_half_sets__are_even_and_depend_on_the_seed() -> None:
    halves = [half_of(f"micrograph-{index}", 0) for index in range(4000)]
    assert set(halves) == {1, 2}
    assert abs(halves.count(1) - 2000) < 4 * math.sqrt(1000)  # four standard deviations of a fair coin
    agree = sum(a == half_of(f"micrograph-{index}", 1) for index, a in enumerate(halves))
    assert abs(agree - 2000) < 4 * math.sqrt(1000)
