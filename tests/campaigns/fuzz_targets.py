"""The readers that take files from outside, what whole files they are given, and how each may refuse."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).resolve().parents[1] / "plugins"))

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


def _dm(path: Path) -> object:
    from cryoframe_formats.dm import read_dm
    from cryoframe_formats.gain import open_gain

    return read_dm(path).image.read(), open_gain(path)


def _defects(path: Path) -> object:
    from cryoframe_formats.defect_list import defects_from_text

    return defects_from_text(path.read_text(encoding="latin-1"), str(path))


def _model(path: Path) -> object:
    from cryoframe_model.structure import read_atoms

    return read_atoms(path)


def _product(path: Path) -> object:
    """Take the file for the manifest of a product whose array lies beside it."""
    from cryoframe.formats import products

    with tempfile.TemporaryDirectory() as folder:
        _products(Path(folder))
        (Path(folder) / "of" / products.MANIFEST).write_bytes(path.read_bytes())
        return products.load(Path(folder) / "of")


def _event(path: Path) -> object:
    from cryoframe.records.events import from_json

    return from_json("FileSettled", path.read_text(encoding="latin-1"))


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


def _eers(folder: Path) -> list[bytes]:
    from eer_encoder import encode, random_events, write_eer

    chance, shape, made = np.random.default_rng(1), (12, 16), []
    for compression, run_bits, is_big in ((65001, 7, True), (65000, 8, True), (65002, 7, True), (65001, 7, False)):
        streams = [encode(random_events(chance, shape, n), 192, run_bits) for n in (0, 20, 60)]
        streams = streams if compression != 65002 else [encode(np.zeros((0, 3), np.int64), 192, 7)] * 3
        write_eer(folder / "seed.eer", streams, shape, compression=compression, big=is_big)
        made.append((folder / "seed.eer").read_bytes())
    return made


def _defect_lists(folder: Path) -> list[bytes]:
    from cryoframe_formats.defect_list import defect_list_text

    chance = np.random.default_rng(1)
    return [defect_list_text(chance.random((9, 13)) < frac).encode() for frac in (0.0, 0.02, 0.4)]


def _products(folder: Path) -> list[bytes]:
    from cryoframe.data.images import Micrograph
    from cryoframe.formats import products

    (folder / "of").mkdir(exist_ok=True)
    products.save(Micrograph("m", np.ones((32, 32), np.float32), 1.0), folder / "of")
    return [(folder / "of" / products.MANIFEST).read_bytes()]


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
_PDB = b"""CRYST1   10.000   10.000   10.000  90.00  90.00  90.00 P 1           1
ATOM      1  N   ALA A   1      11.104   6.134  -6.504  1.00 10.00           N
ATOM      2  CA  ALA A   1      11.639   6.071  -5.147  1.00 10.00           C
ATOM      3  C   ALA A   1      10.674   5.364  -4.200  1.00 10.00           C
END
"""
_CIF = b"""data_x
loop_
_atom_site.group_PDB
_atom_site.id
_atom_site.type_symbol
_atom_site.label_atom_id
_atom_site.label_alt_id
_atom_site.label_comp_id
_atom_site.label_asym_id
_atom_site.label_entity_id
_atom_site.label_seq_id
_atom_site.Cartn_x
_atom_site.Cartn_y
_atom_site.Cartn_z
_atom_site.occupancy
_atom_site.B_iso_or_equiv
_atom_site.auth_seq_id
_atom_site.auth_asym_id
_atom_site.pdbx_PDB_model_num
ATOM 1 N N . ALA A 1 1 11.104 6.134 -6.504 1.00 10.00 1 A 1
ATOM 2 C CA . ALA A 1 1 11.639 6.071 -5.147 1.00 10.00 1 A 1
loop_
_pdbx_struct_assembly_gen.assembly_id
_pdbx_struct_assembly_gen.oper_expression
_pdbx_struct_assembly_gen.asym_id_list
1 1 A
loop_
_pdbx_struct_oper_list.id
_pdbx_struct_oper_list.matrix[1][1]
_pdbx_struct_oper_list.matrix[1][2]
_pdbx_struct_oper_list.matrix[1][3]
_pdbx_struct_oper_list.vector[1]
_pdbx_struct_oper_list.matrix[2][1]
_pdbx_struct_oper_list.matrix[2][2]
_pdbx_struct_oper_list.matrix[2][3]
_pdbx_struct_oper_list.vector[2]
_pdbx_struct_oper_list.matrix[3][1]
_pdbx_struct_oper_list.matrix[3][2]
_pdbx_struct_oper_list.matrix[3][3]
_pdbx_struct_oper_list.vector[3]
1 1 0 0 0 0 1 0 0 0 0 1 0
"""
_EVENT = (
    b'{"event_id":"18a1b2c3d4e5f60700112233","time_utc":"2026-11-23T10:00:00.000000+00:00","run_id":"r","cause":"",'
    b'"root":"0","path":"a.mrc","size":4,"mtime_ns":5,"digest":"00"}'
)

TARGETS = (
    Target("mrc", ".mrc", _mrc, _mrcs),
    Target("mrc_movie", ".mrc", _movie("mrc_movie"), lambda folder: [mrc(1), mrc(2)]),
    Target("tiff_movie", ".tif", _movie("tiff_movie"), _tiffs),
    Target("eer_movie", ".eer", _movie("eer_movie"), _eers),
    Target("dm", ".dm4", _dm, lambda folder: _shared("headers/*.dm*")),
    Target("defects", ".txt", _defects, _defect_lists),
    Target("model", ".cif", _model, lambda folder: [_CIF, _PDB], (*FILE, "InvalidInput")),
    Target("product", ".json", _product, _products, (*FILE, "SchemaError", "InvalidInput")),
    Target("event", ".json", _event, lambda folder: [_EVENT]),
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
