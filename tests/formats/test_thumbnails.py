"""Small pictures are PNGs with what they should show where it is; what cannot be drawn is left out."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from numpy.typing import NDArray

from cryoframe.data.images import CorrectedMicrograph, CtfFit, Micrograph, MicrographVerdict
from cryoframe.data.tables import MotionTable, ParticleTable
from cryoframe.formats.png import png, shrink, stretch
from cryoframe.formats.thumbnails import FIRST, MARK, PAPER, SECOND, thumbnails

NOISE = np.random.default_rng(1).normal(size=(768, 1536)).astype(np.float32)


def decoded(content: bytes) -> NDArray[np.uint8]:
    """Read a PNG whose rows are not filtered, checking every checksum."""
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    at, chunks = 8, {}
    while at < len(content):
        (length,) = struct.unpack(">I", content[at : at + 4])
        kind, body = content[at + 4 : at + 8], content[at + 8 : at + 8 + length]
        assert struct.unpack(">I", content[at + 8 + length : at + 12 + length])[0] == zlib.crc32(kind + body)
        chunks[kind], at = body, at + 12 + length
    nx, ny, depth, colour_type = struct.unpack(">IIBB", chunks[b"IHDR"][:10])
    assert depth == 8
    samples = 3 if colour_type == 2 else 1
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), dtype=np.uint8).reshape(ny, 1 + nx * samples)
    assert not rows[:, 0].any()
    return rows[:, 1:].reshape((ny, nx) if samples == 1 else (ny, nx, 3))


def test_png__comes_back_as_it_went() -> None:
    image = np.arange(60, dtype=np.uint8).reshape(5, 12)
    assert np.array_equal(decoded(png(image)), image)
    assert np.array_equal(decoded(png(np.repeat(image[:, :, None], 3, axis=2)))[:, :, 1], image)
    assert b"PLTE" in png(image, palette=[(1, 2, 3)] * 60)


def test_shrinking__is_the_mean_of_blocks_and_cuts_what_fills_none() -> None:
    small = shrink(NOISE, 200)
    assert small.shape == (96, 192)
    np.testing.assert_allclose(small[3, 5], NOISE[24:32, 40:48].mean(), atol=1e-6)
    assert shrink(NOISE[:10, :11], 200).shape == (10, 11)
    assert stretch(np.full((4, 4), np.nan, dtype=np.float32)).max() == 0


def test_picks__are_ringed_where_they_are() -> None:
    pixel_A = 2.0
    places = np.array([[400, 300], [1000, 500]], dtype=np.float32)  # x, y in pixels; the picture is four times smaller
    table = ParticleTable.from_columns({"x_A": places[:, 0] * pixel_A, "y_A": places[:, 1] * pixel_A})
    shown = decoded(thumbnails(table, Micrograph("m", NOISE, pixel_A))["picks"])
    assert shown.shape == (192, 384)
    marks = np.argwhere(shown == MARK)[:, ::-1]
    for centre in places / 4:
        near = marks[np.abs(marks - centre).max(axis=1) < 40]
        np.testing.assert_allclose(near.mean(axis=0), centre, atol=1.0)
        assert np.ptp(np.hypot(*(near - near.mean(axis=0)).T)) < 2.5  # a ring


def test_what_may_not_be_used__is_hatched_there_and_nowhere_else() -> None:
    usable = np.ones((4, 8), dtype=np.float32)
    usable[1, 6] = 0.0
    verdict = MicrographVerdict("m", usable, 192.0, "good")
    shown = decoded(thumbnails(verdict, Micrograph("m", NOISE, 1.0))["usable"])
    y, x = np.nonzero(shown == SECOND)
    assert (y.min() // 48, y.max() // 48, x.min() // 48, x.max() // 48) == (1, 1, 6, 6)


def test_drift__goes_where_the_specimen_went() -> None:
    shifts = -np.linspace(0, 30, 5, dtype=np.float32)  # undone by negative shifts: it went to the right
    columns = {"frame": np.arange(5, dtype=np.int32), "shift_x_A": shifts, "shift_y_A": 0 * shifts}
    none = np.full(5, np.nan, dtype=np.float32)
    motion = MotionTable.from_columns(columns | {"patch_x_A": none, "patch_y_A": none})
    drawn = thumbnails(CorrectedMicrograph(Micrograph("m", NOISE, 1.0), motion))
    assert set(drawn) == {"sum", "drift"}
    shown = decoded(drawn["drift"])
    start, way = np.argwhere(shown == SECOND).mean(axis=0), np.argwhere(shown == FIRST).mean(axis=0)
    assert start[1] < way[1] - 20
    assert start[0] == pytest.approx(way[0], abs=1.5)
    assert (shown == PAPER).mean() > 0.8


def test_what_has_no_picture__has_none() -> None:
    assert thumbnails(CtfFit("m", 1e4, 1e4, 0.0)) == {}
    assert thumbnails(ParticleTable.empty(["position"])) == {}
    assert thumbnails(object()) == {}
    spectrum = np.random.default_rng(2).normal(size=(64, 64)).astype(np.float32)
    assert decoded(thumbnails(CtfFit("m", 1e4, 1e4, 0.0, spectrum=spectrum))["ctf"]).shape == (64, 64)
