"""PNG and JPEG micrographs: the real ones, every cut, damage, colour."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryoframe import MicrographSource
from cryoframe.errors import Corrupt, FileError, Incomplete, Refused, Unsupported
from cryoframe_formats.picture import open_micrograph, open_picture


def test_every_real_picture_is_read__with_the_shapes_of_the_readme(shared_data: Path) -> None:
    pictures = sorted(path for path in shared_data.rglob("*") if path.suffix in (".png", ".jpg"))
    assert len(pictures) == 41
    for path in pictures:
        source = open_micrograph(path)
        assert isinstance(source, MicrographSource)
        image = source.read()
        assert image.shape == source.shape_px
        assert image.dtype == np.float32
        assert source.pixel_size_A is source.voltage_kV is source.dose_e_A2 is None
        assert image.std() > 0
        expected = {
            "apoferritin_EMPIAR-10146": (1200, 1240),
            "single_frame": (1200, 1240),
            "betagal_EMPIAR-10017_lowpassed": (4096, 4096),
        }.get(path.parent.name)
        assert expected is None or image.shape == expected
    sixteen = open_picture(shared_data / "micrographs/apoferritin_EMPIAR-10146/May08_03.15.02.bin_avg.png")
    assert sixteen.bits == 16
    assert len(np.unique(sixteen.read())) > 256


@pytest.fixture(params=["png", "jpeg"])
def picture(request: pytest.FixtureRequest) -> bytes:
    image = np.random.default_rng(10).integers(0, 255, (40, 50), np.uint8)
    return bytes(imagecodecs.png_encode(image) if request.param == "png" else imagecodecs.jpeg8_encode(image))


def test_cut_at_every_percent__is_incomplete(tmp_path: Path, picture: bytes) -> None:
    path = tmp_path / "p"
    for length in {*(len(picture) * percent // 100 for percent in range(1, 100)), len(picture) - 1} - {0, 1, 2}:
        path.write_bytes(picture[:length])
        if open_prefix(picture, length):
            with pytest.raises(Incomplete):
                open_picture(path)


def open_prefix(raw: bytes, length: int) -> bool:
    """Whether enough is left to tell the kind of file."""
    return length >= (8 if raw[:1] == b"\x89" else 3)


def test_a_wrong_checksum__is_corrupt(tmp_path: Path) -> None:
    raw = bytearray(imagecodecs.png_encode(np.zeros((4, 4), np.uint8)))
    raw[-20] ^= 1
    (tmp_path / "p.png").write_bytes(raw)
    with pytest.raises(Corrupt, match="checksum") as caught:
        open_picture(tmp_path / "p.png")
    assert "b'" not in str(caught.value)
    assert "chunk 'IDAT'" in str(caught.value) or "chunk 'IEND'" in str(caught.value)


def test_colour_and_other_files__are_unsupported(tmp_path: Path) -> None:
    rgb = np.zeros((4, 4, 3), np.uint8)
    for name, raw in (("c.png", imagecodecs.png_encode(rgb)), ("c.jpg", imagecodecs.jpeg8_encode(rgb))):
        (tmp_path / name).write_bytes(raw)
        with pytest.raises(Unsupported):
            open_picture(tmp_path / name)
    (tmp_path / "x.png").write_bytes(b"no picture")
    with pytest.raises(Unsupported, match="first bytes 6e 6f 20 70"):
        open_picture(tmp_path / "x.png")
    assert open_micrograph(tmp_path / "x.png") is None


def test_sizes_that_lie__are_refused_before_decoding(tmp_path: Path) -> None:
    def png(columns: int, rows: int) -> bytes:
        def chunk(kind: bytes, data: bytes) -> bytes:
            return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

        head = struct.pack(">IIBBBBB", columns, rows, 8, 0, 0, 0, 0)
        data = zlib.compress(b"\0" * 10)
        return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")

    for columns, rows in ((60_000, 60_000), (2**31 - 1, 1), (0, 4)):
        (tmp_path / "p.png").write_bytes(png(columns, rows))
        with pytest.raises((Corrupt, Refused)):
            open_picture(tmp_path / "p.png")


@given(position=st.integers(0, 3000), value=st.binary(min_size=1, max_size=4), jpeg=st.booleans())
@settings(max_examples=200, deadline=None)
def test_any_byte__may_be_anything(
    tmp_path_factory: pytest.TempPathFactory, position: int, value: bytes, jpeg: bool
) -> None:
    image = np.arange(40 * 50, dtype=np.uint32).reshape(40, 50).astype(np.uint8)
    raw = bytearray(imagecodecs.jpeg8_encode(image) if jpeg else imagecodecs.png_encode(image))
    start = position % len(raw)
    raw[start : start + len(value)] = value
    path = tmp_path_factory.getbasetemp() / "fuzz.picture"
    path.write_bytes(raw)
    try:
        shape = open_picture(path).read().shape
    except FileError:
        return
    assert len(shape) == 2
