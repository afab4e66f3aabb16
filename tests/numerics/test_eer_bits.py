"""Bits of EER frames: the fast encoder equals the plain one, wrong events are named, a second in a pixel is dropped."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryoframe.errors import InvalidInput
from cryoframe.numerics import eer_bits
from cryoframe.numerics._numba import eer_bits as kernels


def events_of(shape: tuple[int, int], filled: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    pixels = np.flatnonzero(rng.random(shape[0] * shape[1]) < filled)
    rows, columns = np.divmod(pixels, shape[1])
    quarters = rng.integers(0, 4, (len(pixels), 2))
    return (np.stack([4 * rows, 4 * columns], axis=1) + quarters).astype(np.int32)


SHAPES = st.one_of(st.tuples(st.integers(1, 40), st.integers(1, 60)), st.tuples(st.integers(1, 3), st.just(4096)))
FILLED = st.sampled_from([0.0, 0.0005, 0.003, 0.03, 0.5, 0.97, 1.0])


@given(SHAPES, FILLED, st.integers(0, 2**31), st.integers(4, 12), st.booleans())
@settings(max_examples=150, deadline=None)
def test_fast_and_plain_encoders__agree_bit_for_bit(
    shape: tuple[int, int], filled: float, seed: int, run_bits: int, place: bool
) -> None:
    events = events_of(shape, filled, seed)
    arguments = {"run_bits": run_bits, "place_after_long": place}
    fast = eer_bits.encode_frame(events, shape, **arguments)
    assert fast.dtype == np.uint8
    assert len(fast) % 8 == 0
    assert np.array_equal(fast, eer_bits.generic_encode_frame(events, shape, **arguments))


def test_the_loop_as_python__gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    events = events_of((12, 50), 0.02, 4)
    compiled = eer_bits.encode_frame(events, (12, 50), run_bits=5)
    monkeypatch.setattr(kernels, "encode", kernels.encode.py_func)
    assert np.array_equal(eer_bits.encode_frame(events, (12, 50), run_bits=5), compiled)
    assert np.array_equal(
        eer_bits.encode_frame(events, (12, 50), run_bits=4, place_after_long=True),
        eer_bits.generic_encode_frame(events, (12, 50), run_bits=4, place_after_long=True),
    )
    with pytest.raises(InvalidInput, match="event 1 "):
        eer_bits.encode_frame(np.array([[48, 0]]), (12, 50))


def test_a_frame_by_hand__is_what_the_format_says() -> None:
    # Runs of 3 and 127 + 10, places (y 1, x 2) and (0, 0), 58 pixels to the end; all lowest bit first.
    events = np.array([[1, 14], [28, 4]])
    codes = [(3, 7), (6 ^ 0x0A, 4), (127, 7), (10, 7), (0x0A, 4), (58, 7)]
    number, n_bits = 0, 0
    for value, width in codes:
        number |= value << n_bits
        n_bits += width
    assert eer_bits.encode_frame(events, (10, 20)).tobytes() == number.to_bytes(8, "little")


@pytest.mark.parametrize("encode", [eer_bits.encode_frame, eer_bits.generic_encode_frame])
@pytest.mark.parametrize(
    ("events", "words"),
    [
        ([[0, 0], [0, 3]], "event 2 at row 0, column 0.75"),
        ([[0, 8], [0, 0]], "event 2 "),
        ([[0, 0], [4, 40]], "event 2 "),
        ([[-1, 0]], "event 1 "),
        ([[0, -1]], "event 1 "),
        ([[20, 0]], "event 1 "),
    ],
)
def test_events_that_no_frame_can_hold__are_named(encode: object, events: list[list[int]], words: str) -> None:
    assert callable(encode)
    with pytest.raises(InvalidInput, match=words):
        encode(np.array(events), (5, 10))


def test_arrays_that_are_no_events__are_refused() -> None:
    for wrong in (np.zeros((3, 3), np.int32), np.zeros((3, 2)), np.zeros(4, np.int32)):
        with pytest.raises(InvalidInput, match=r"\(m, 2\)"):
            eer_bits.encode_frame(wrong, (5, 10))
    with pytest.raises(InvalidInput, match="4 to 12"):
        eer_bits.encode_frame(np.zeros((0, 2), np.int32), (5, 10), run_bits=13)
    with pytest.raises(InvalidInput, match="sensor"):
        eer_bits.encode_frame(np.zeros((0, 2), np.int32), (0, 10))


@given(st.lists(st.tuples(st.integers(-4, 24), st.integers(-4, 44)), max_size=60))
@settings(max_examples=100, deadline=None)
def test_pixel_by_pixel__keeps_the_first_of_each_pixel_in_order(events: list[tuple[int, int]]) -> None:
    given_events = np.array(events, dtype=np.int32).reshape(-1, 2)
    kept = eer_bits.pixel_by_pixel(given_events, (5, 10))
    first: dict[tuple[int, int], tuple[int, int]] = {}
    for y, x in events:
        if 0 <= y < 20 and 0 <= x < 40:
            first.setdefault((y // 4, x // 4), (y, x))
    assert [tuple(event) for event in kept.tolist()] == [first[pixel] for pixel in sorted(first)]
    assert len(eer_bits.encode_frame(kept, (5, 10)))


@given(SHAPES, FILLED, st.integers(0, 2**31), st.integers(4, 12), st.booleans())
@settings(max_examples=100, deadline=None)
def test_decoders__undo_the_encoder(
    shape: tuple[int, int], filled: float, seed: int, run_bits: int, place: bool
) -> None:
    events = events_of(shape, filled, seed)
    arguments = {"run_bits": run_bits, "place_after_long": place}
    stream = eer_bits.encode_frame(events, shape, **arguments)
    assert np.array_equal(eer_bits.decode_frame(stream, shape, **arguments), events)
    assert np.array_equal(eer_bits.decode_frame(stream.tobytes() + b"\0" * 7, shape, **arguments), events)
    assert np.array_equal(eer_bits.generic_decode_frame(stream, shape, **arguments), events)


@given(st.binary(max_size=80), st.integers(1, 5), st.integers(1, 60), st.integers(4, 12), st.booleans())
@settings(max_examples=300, deadline=None)
def test_any_bytes__are_decoded_alike_or_refused_alike(
    raw: bytes, n_rows: int, n_columns: int, run_bits: int, place: bool
) -> None:
    answers = []
    for decode in (eer_bits.decode_frame, eer_bits.generic_decode_frame):
        try:
            answers.append(decode(raw, (n_rows, n_columns), run_bits=run_bits, place_after_long=place).tolist())
        except InvalidInput as error:
            answers.append(str(error))
    assert answers[0] == answers[1]


@pytest.mark.parametrize("upsampling", [1, 2, 4])
def test_events__are_counted_where_they_fell(upsampling: int) -> None:
    shape = (9, 14)
    events = np.concatenate([events_of(shape, 0.4, seed) for seed in range(3)])
    counts, expected = (np.zeros((9 * upsampling, 14 * upsampling), np.uint16) for _ in range(2))
    eer_bits.add_events(counts, events, upsampling)
    np.add.at(expected, tuple((events * upsampling // 4).T), 1)
    assert np.array_equal(counts, expected)
    with pytest.raises(InvalidInput, match="1 events lie beyond"):
        eer_bits.add_events(counts, np.array([[0, 0], [36, 0]], np.int32), upsampling)
    with pytest.raises(InvalidInput, match="upsampling 3"):
        eer_bits.add_events(counts, events, 3)


def test_loops_of_reading_as_python__give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    events = events_of((12, 50), 0.05, 4)
    stream = eer_bits.encode_frame(events, (12, 50))
    for name in ("decode", "add_events"):
        monkeypatch.setattr(kernels, name, getattr(kernels, name).py_func)
    assert np.array_equal(eer_bits.decode_frame(stream, (12, 50)), events)
    counts = np.zeros((12, 50), np.uint16)
    eer_bits.add_events(counts, events, 1)
    assert counts.sum() == len(events)


def test_encoder__takes_30_million_events_a_second(figure) -> None:
    shape = (4096, 4096)
    events = events_of(shape, 0.03, 1)
    eer_bits.encode_frame(events[:10], shape)
    seconds = []
    for _ in range(3):
        start = time.thread_time()
        stream = eer_bits.encode_frame(events, shape)
        seconds.append(time.thread_time() - start)
    rate = len(events) / min(seconds) / 1e6
    figure("EER encoder, one thread [million events/s]", rate)
    figure("EER encoder [bytes/event]", len(stream) / len(events))
    assert np.array_equal(eer_bits.decode_frame(stream, shape), events)
    start = time.thread_time()
    eer_bits.decode_frame(stream, shape)
    figure("EER decoder, one thread [million events/s]", len(events) / (time.thread_time() - start) / 1e6)
    assert rate >= 30
