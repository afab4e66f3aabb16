"""Files of a few dozen bytes that are whole or not as real movies are, and what a reader says of them.

An ``.mrc`` states its size at once; a ``.tif`` is a valid movie after every frame; a side-car states a count.
"""

from __future__ import annotations

import struct
from typing import Any

from cryoframe.errors import Corrupt, Incomplete

MAGIC, HEAD_BYTES, FRAME_BYTES = b"SIM1", 16, 8


def movie(number: int, n_frames: int, *, states_size: bool) -> bytes:
    """Return a movie of its own content; no byte of a frame is zero."""
    size = HEAD_BYTES + n_frames * FRAME_BYTES
    head = MAGIC + struct.pack("<III", size if states_size else 0, n_frames if states_size else 0, number)
    body = struct.pack("<Q", 0x0101010101010101 + (number & 0xFFFFFF) * 0x0101) * n_frames
    return head + bytes(byte or 1 for byte in body)


def side_car(n_frames: int) -> bytes:
    """Return what is written beside a movie when it is done."""
    return f"NumSubFrames = {n_frames}\n".encode()


def frames_of(content: bytes, path: str) -> int:
    """Return how many frames a movie has.

    Raises
    ------
    Incomplete, Corrupt
        As readers do.
    """
    if not content.startswith(MAGIC):
        raise Corrupt("no movie", path=path) if len(content) >= HEAD_BYTES else Incomplete("no header", path=path)
    if len(content) < HEAD_BYTES:
        raise Incomplete("no header", path=path)
    size, n_frames, _ = struct.unpack("<III", content[4:HEAD_BYTES])
    if size:
        if len(content) != size:
            raise (Incomplete if len(content) < size else Corrupt)(f"{len(content)} of {size} bytes", path=path)
        return int(n_frames)
    n_frames, rest = divmod(len(content) - HEAD_BYTES, FRAME_BYTES)
    if rest or not n_frames:
        raise Incomplete("a strip lies outside", path=path)
    return n_frames


def header_of(content: bytes, path: str) -> dict[str, Any]:
    """Return what a header says."""
    return {"ny_px": 4, "nx_px": 4, "n_frames": frames_of(content, path)}


def side_car_of(content: bytes) -> dict[str, Any]:
    """Return what a side-car says; one that is cut says nothing."""
    if not content.startswith(b"NumSubFrames = ") or not content.endswith(b"\n"):
        return {}
    return {"n_frames": int(content.split()[2]), "pixel_size_A": 1.0}
