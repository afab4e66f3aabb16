"""The readers that take files from outside, what whole files they are given, and how each may refuse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cryoframe.testing.soak.incomplete import mrc, tiff

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
FILE = ("Incomplete", "Corrupt", "Unsupported", "Refused")
N_FRAMES_READ = 3


@dataclass(frozen=True)
class Target:
    """A reader."""

    name: str
    suffix: str
    read: Callable[[Path], object]
    seeds: Callable[[Path], list[bytes]]
    allowed: tuple[str, ...] = FILE


def _shared(pattern: str, most: int = 8) -> list[bytes]:
    """Return small real files, where they are at hand."""
    paths = sorted(path for path in SHARED.glob(pattern) if path.is_file() and path.stat().st_size < 60_000)
    return [path.read_bytes() for path in paths[:most]]


# -- reading -----------------------------------------------------------------------------------------------------
def _movie(module: str) -> Callable[[Path], object]:
    def read(path: Path) -> object:
        from importlib import import_module

        source = import_module(f"cryoframe_formats.{module}").open_movie(path)
        return None if source is None else [source.read_frame(at) for at in range(min(N_FRAMES_READ, source.n_frames))]

    return read


def _mrc(path: Path) -> object:
    from cryoframe.formats import mrc as reader

    reader.read_header(path)
    return reader.read(path)


def _picture(path: Path) -> object:
    from cryoframe_formats.picture import open_picture

    return open_picture(path).read()


def _gain(path: Path) -> object:
    from cryoframe_formats.gain import open_gain

    return open_gain(path)


def _mdoc(path: Path) -> object:
    from cryoframe_formats.mdoc import read_metadata

    return read_metadata(path)


def _epu(path: Path) -> object:
    from cryoframe_formats.epu import read_metadata

    return read_metadata(path)


def _star(path: Path) -> object:
    from cryoframe.formats.star import read_star

    return read_star(path)


def _particles(path: Path) -> object:
    from cryoframe.formats.star_columns import particles_from_star

    return particles_from_star(path)


def _motion(path: Path) -> object:
    from cryoframe.formats.star_motion import motion_from_star

    return motion_from_star(path)


def _table(path: Path) -> object:
    from cryoframe.data.tables import ParticleTable

    return ParticleTable.read(path)


def _config(path: Path) -> object:
    from cryoframe.kernel.config import load

    return load(path)


# -- whole files ---------------------------------------------------------------------------------------------------
def _mrcs(folder: Path) -> list[bytes]:
    from cryoframe.formats import mrc as writer

    made = [mrc(number) for number in range(2)]
    for dtype in (np.float32, np.int16, np.uint16):
        writer.write(folder / "seed.mrc", np.arange(96, dtype=dtype).reshape(2, 6, 8), pixel_size_A=1.0, is_stack=True)
        made.append((folder / "seed.mrc").read_bytes())
    return made


def _tiffs(folder: Path) -> list[bytes]:
    import tifffile

    made = [tiff(number) for number in range(2)]
    pixels = np.random.default_rng(1).integers(0, 9, (3, 24, 20)).astype(np.uint8)
    for compression, is_big in (("lzw", False), ("zlib", True), (None, False), ("deflate", False)):
        tifffile.imwrite(folder / "seed.tif", pixels, compression=compression, bigtiff=is_big, photometric="minisblack")
        made.append((folder / "seed.tif").read_bytes())
    return made


def _pictures(folder: Path) -> list[bytes]:
    import imagecodecs

    pixels = np.random.default_rng(1).integers(0, 255, (24, 20)).astype(np.uint8)
    made = [bytes(imagecodecs.png_encode(pixels)), bytes(imagecodecs.png_encode(pixels.astype(np.uint16) * 200))]
    return made


def _gains(folder: Path) -> list[bytes]:
    import tifffile

    pixels = np.random.default_rng(1).normal(1.0, 0.05, (24, 20)).astype(np.float32)
    tifffile.imwrite(folder / "seed.tif", pixels)
    return [(folder / "seed.tif").read_bytes()]


def _tables(folder: Path) -> list[bytes]:
    from cryoframe.data.tables import ParticleTable

    spots = {"particle_id": np.arange(5), "x_A": np.arange(5.0), "y_A": np.arange(5.0), "half": [1, 2, 1, 2, 1]}
    ParticleTable.from_columns(spots).write(folder / "seed.arrow")
    return [(folder / "seed.arrow").read_bytes()]


_STAR = b"""
data_optics

loop_
_rlnOpticsGroup #1
_rlnOpticsGroupName #2
_rlnVoltage #3
_rlnSphericalAberration #4
_rlnAmplitudeContrast #5
_rlnImagePixelSize #6
_rlnImageSize #7
1 "group one" 300.0 2.7 0.1 1.35 64

data_particles

loop_
_rlnImageName #1
_rlnMicrographName #2
_rlnCoordinateX #3
_rlnCoordinateY #4
_rlnDefocusU #5
_rlnDefocusV #6
_rlnDefocusAngle #7
_rlnOpticsGroup #8
000001@a.mrcs m1.mrc 10.5 20.5 12000 11000 45 1
000002@a.mrcs m1.mrc 30.0 40.0 12000 11000 45 1
"""
_MOTION = b"""
data_general

_rlnImageSizeX 64
_rlnImageSizeY 64
_rlnImageSizeZ 3
_rlnMicrographMovieName m.tif
_rlnMicrographBinning 1.0
_rlnMicrographOriginalPixelSize 1.0
_rlnMicrographDoseRate 1.0
_rlnMicrographPreExposure 0.0
_rlnVoltage 300.0
_rlnMicrographStartFrame 1
_rlnMotionModelVersion 0

data_global_shift

loop_
_rlnMicrographFrameNumber #1
_rlnMicrographShiftX #2
_rlnMicrographShiftY #3
1 0.0 0.0
2 1.0 0.5
3 1.5 0.7
"""
_MDOC = b"""PixelSpacing = 0.85
Voltage = 300
ImageFile = m.tif

[T = SerialEM: acquired]

[FrameSet = 0]
TiltAngle = 0.01
StagePosition = 1.5 -2.5
Defocus = -1.2
PixelSpacing = 0.85
NumSubFrames = 40
ExposureDose = 50.5
DateTime = 23-Nov-26  10:00:00
"""
_XML = b"""<?xml version="1.0" encoding="utf-8"?><MicroscopeImage><name>x</name><microscopeData><gun>
<AccelerationVoltage>300000</AccelerationVoltage></gun><stage><Position><X>1e-5</X><Y>2e-5</Y></Position></stage>
</microscopeData><SpatialScale><pixelSize><x><numericValue>8.5e-11</numericValue></x></pixelSize></SpatialScale>
</MicroscopeImage>"""
_TOML = b"""[run]
name = "a"
folder = "run"
workers = 2
[optics]
voltage_kV = 300.0
[movies]
files = "raw/*.tif"
pixel_size_A = 0.85
[watch]
folder = "raw"
settle_s = 5.0
[[stage]]
id = "ctf"
run = "estimate_ctf"
use = "spectrum"
params = { low_A = 30.0 }
"""

TARGETS = (
    Target("mrc", ".mrc", _mrc, _mrcs),
    Target("mrc_movie", ".mrc", _movie("mrc_movie"), lambda folder: [mrc(1), mrc(2)]),
    Target("tiff_movie", ".tif", _movie("tiff_movie"), _tiffs),
    Target("picture", ".png", _picture, _pictures),
    Target("gain", ".tif", _gain, _gains),
    Target("star", ".star", _star, lambda folder: [_STAR, _MOTION, *_shared("star/**/*.star", 4)]),
    Target("particles", ".star", _particles, lambda folder: [_STAR], (*FILE, "SchemaError")),
    Target("motion", ".star", _motion, lambda folder: [_MOTION], (*FILE, "SchemaError")),
    Target("mdoc", ".mdoc", _mdoc, lambda folder: [_MDOC, *_shared("mdoc/**/*.mdoc", 4)]),
    Target("epu", ".xml", _epu, lambda folder: [_XML, *_shared("epu/**/*.xml", 4)]),
    Target("table", ".arrow", _table, _tables, (*FILE, "SchemaError")),
    Target("config", ".toml", _config, lambda folder: [_TOML], ("ConfigError",)),
)
