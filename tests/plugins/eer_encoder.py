"""A small independent EER writer for tests: events → bit stream → TIFF chain."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Events = NDArray[np.int64]
"""`(n, 3)`: pixel index ascending, place in the pixel along x and y (0..3)."""


def random_events(rng: np.random.Generator, shape_px: tuple[int, int], n: int) -> Events:
    pixels = np.sort(rng.choice(shape_px[0] * shape_px[1], n, replace=False))
    return np.stack([pixels, rng.integers(0, 4, n), rng.integers(0, 4, n)], axis=1)


def encode(
    events: Events, n_pixels: int, run_bits: int, *, long_runs_have_place: bool = False, padding: int = 0
) -> bytes:
    values: list[int] = []
    widths: list[int] = []
    longest = (1 << run_bits) - 1

    def run(gap: int) -> None:
        n_long, rest = divmod(gap, longest)
        values.extend([longest, 0] * n_long if long_runs_have_place else [longest] * n_long)
        widths.extend([run_bits, 4] * n_long if long_runs_have_place else [run_bits] * n_long)
        values.append(rest)
        widths.append(run_bits)

    position = 0
    for pixel, x, y in events.tolist():
        run(pixel - position)
        values.append((y << 2 | x) ^ 0x0A)
        widths.append(4)
        position = pixel + 1
    run(n_pixels - position)
    starts = np.concatenate([[0], np.cumsum(widths)])
    bits = np.zeros(starts[-1], np.uint8)
    for place in range(max(widths)):
        wide = np.flatnonzero(np.array(widths) > place)
        bits[starts[wide] + place] = np.array(values)[wide] >> place & 1
    return np.packbits(bits, bitorder="little").tobytes() + b"\0" * padding


def counts(frames: list[Events], shape_px: tuple[int, int], upsampling: int) -> NDArray[np.float32]:
    step = upsampling.bit_length() - 1
    image = np.zeros((shape_px[0] * upsampling, shape_px[1] * upsampling), np.float32)
    for events in frames:
        rows, columns = np.divmod(events[:, 0], shape_px[1])
        image[rows << step | events[:, 2] >> (2 - step), columns << step | events[:, 1] >> (2 - step)] += 1
    return image


def write_eer(
    path: Path,
    frames: list[bytes],
    shape_px: tuple[int, int],
    *,
    compression: int = 65001,
    n_declared: int | None = None,
    big: bool = True,
) -> None:
    """Write one strip a page, directories behind their strips, the metadata on the first page."""
    n_declared = len(frames) if n_declared is None else n_declared
    xml = (
        f'<metadata><item name="numberOfFrames">{n_declared}</item>'
        '<item name="totalDose" unit="e/m^2">4.0e21</item><item name="cameraName">Falcon4</item></metadata>'
    ).encode()
    address = "Q" if big else "I"
    out = bytearray(struct.pack("<2sHHHQ", b"II", 43, 8, 0, 0) if big else struct.pack("<2sHI", b"II", 42, 0))
    link = 8 if big else 4
    for number, frame in enumerate(frames):
        strip = len(out)
        out += frame
        tags = [(256, 4, shape_px[1]), (257, 4, shape_px[0]), (258, 3, 1), (259, 3, compression), (262, 3, 1),
                (273, 16 if big else 4, strip), (277, 3, 1), (278, 4, shape_px[0]),
                (279, 16 if big else 4, len(frame))]  # fmt: skip
        entries = [(tag, kind, 1, struct.pack("<" + address, value)) for tag, kind, value in tags]
        if number == 0:
            entries.append((65001, 7, len(xml), struct.pack("<" + address, len(out))))
            out += xml
        if compression == 65002:
            entries += [(tag, 3, 1, struct.pack("<" + address, v)) for tag, v in ((65007, 7), (65008, 2), (65009, 2))]
        struct.pack_into("<" + address, out, link, len(out))
        out += struct.pack("<Q" if big else "<H", len(entries))
        for tag, kind, count, value in sorted(entries):
            out += struct.pack("<HH" + address, tag, kind, count) + value
        link = len(out)
        out += struct.pack("<" + address, 0)
    path.write_bytes(bytes(out))
