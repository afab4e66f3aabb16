"""A TIFF that grows by frames is, at every moment, a TIFF of the frames so far."""

from __future__ import annotations

import io
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
import tifffile

from cryoframe.twin.growth import FRAME_S, Piece, Writing, is_tiff, written

N, SHAPE = 7, (24, 32)
FRAMES = np.random.default_rng(1).poisson(1.0, (N, *SHAPE)).astype(np.uint8)


def tiff(**options: Any) -> bytes:
    stream = io.BytesIO()
    paged = options.pop("paged", True)
    how = {key: options.pop(key) for key in ("bigtiff", "byteorder") if key in options}
    with tifffile.TiffWriter(stream, **how) as writer:
        for frame in FRAMES if paged else ():
            writer.write(frame, contiguous=False, metadata=None, **options)
        if not paged:
            writer.write(FRAMES, metadata=None, photometric="minisblack", **options)
    return stream.getvalue()


KINDS: dict[str, dict[str, Any]] = {
    "lzw": {"compression": "lzw"},
    "strips": {"compression": "lzw", "rowsperstrip": 5},
    "plain": {},
    "big": {"bigtiff": True, "compression": "zlib"},
    "big-endian": {"byteorder": ">", "compression": "lzw"},
    "all data first": {"paged": False},
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_moment__shows_whole_frames_only(kind: str, tmp_path: Path) -> None:
    raw = tiff(**KINDS[kind])
    (tmp_path / "staged").write_bytes(raw)
    piece = Piece(PurePosixPath("a.tif"), tmp_path / "staged")
    content, seen, times = bytearray(), [], []
    for write in written(piece, Writing(len(raw), by_frame=True), 10.0):
        source = write.source if isinstance(write.source, bytes) else write.source.read_bytes()
        assert write.first == (not times)
        assert write.offset <= len(content), "no holes"
        content[write.offset : write.offset + write.stop - write.start] = source[write.start : write.stop]
        times.append(write.time_s)
        try:
            with tifffile.TiffFile(io.BytesIO(bytes(content))) as file:
                pages = [page.asarray() for page in file.pages]
        except Exception:
            assert not seen, "once a frame is whole, the file can always be read"
            continue
        seen.append(len(pages))
        np.testing.assert_array_equal(np.stack(pages), FRAMES[: len(pages)])
    assert bytes(content) == raw
    assert sorted(set(seen)) == list(range(1, N + 1))
    assert seen == sorted(seen)
    assert times == sorted(times)
    assert 10.0 + N * FRAME_S <= times[-1] + 1e-6 < 10.0 + (N + 2) * FRAME_S


def test_a_tiff_that_ends_early__is_whole_with_fewer_frames() -> None:
    raw = tiff(compression="lzw")
    content = bytearray()
    for write in written(Piece(PurePosixPath("a.tif"), raw), Writing(len(raw) // 2, by_frame=True), 0.0):
        source = bytes(write.source)  # type: ignore[arg-type]
        content[write.offset : write.offset + write.stop - write.start] = source[write.start : write.stop]
    with tifffile.TiffFile(io.BytesIO(bytes(content))) as file:
        assert 1 <= len(file.pages) < N
        np.testing.assert_array_equal(file.asarray(key=0), FRAMES[0])


def test_what_is_no_tiff__grows_in_pieces() -> None:
    piece = Piece(PurePosixPath("a.mrc"), b"x" * 100)
    assert not is_tiff(piece)
    writes = list(written(piece, Writing(100, bandwidth_B_s=50.0, chunk_bytes=40, by_frame=True), 0.0))
    spans = [(write.start, write.stop, write.time_s) for write in writes]
    assert spans == [(0, 40, 0.8), (40, 80, 1.6), (80, 100, 2.0)]
