"""MRC files: real ones read with their known facts, round trips, RELION and mrcfile as independent judges."""

from __future__ import annotations

import bz2
import csv
import gzip
import re
import shutil
import struct
import subprocess
import warnings
from pathlib import Path

import mrcfile
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryoframe.errors import Corrupt, InvalidInput, Refused, Unsupported
from cryoframe.formats import mrc
from cryoframe.formats.mrc_header import build_header, parse_header

SUFFIXES = (".mrc", ".mrcs", ".map", ".map.gz", ".map.bz2")
NO_MAGIC = "relion31.mrcs"  # no 'MAP ', no machine stamp: mrcfile itself refuses it
CELL_LESS = "empiar_10076_7.mrc"


def manifest(shared_data: Path, suffixes: tuple[str, ...]) -> list[Path]:
    with (shared_data / "MANIFEST.csv").open() as stream:
        return [shared_data / row["path"] for row in csv.DictReader(stream) if row["path"].endswith(suffixes)]


def test_every_real_mrc_file_is_read__equal_to_mrcfile(shared_data: Path) -> None:
    files = manifest(shared_data, SUFFIXES)
    assert len(files) == 26
    for path in files:
        array, header = mrc.read(path, dtype=None)
        assert array.shape == header.shape
        if path.name == NO_MAGIC:
            assert any("'MAP'" in flag for flag in header.flags)
            assert any("machine stamp" in flag for flag in header.flags)
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            judge = mrcfile.read(path)
        columns, rows, sections = header.axis_order
        place = {sections: 0, rows: 1, columns: 2}
        assert np.array_equal(judge.reshape(header.stored_shape).transpose(place[3], place[2], place[1]), array)
        cell_is_whole = path.name != CELL_LESS and None not in header.pixel_size_A
        assert (header.flags == ()) == cell_is_whole


def test_the_epu_micrograph__has_the_facts_of_the_readme(shared_data: Path) -> None:
    path = shared_data / "micrographs/epu/fei-extended.mrc"
    array, header = mrc.read(path, dtype=None)
    assert header.shape == (1, 3838, 3710)
    assert array.dtype == np.uint16
    assert array.max() == 45804  # "outliers to 45 800"
    assert header.extended_type == "FEI1"
    assert header.extended_bytes == 768 * 1024
    assert header.pixel_size_A[:2] == pytest.approx((0.8538, 0.8538), abs=5e-5)
    assert header.pixel_size_A[2] is None
    (fei,) = header.fei
    assert fei.voltage_kV == 300.0
    assert fei.dose_e_A2 == pytest.approx(47.6, abs=0.05)
    assert fei.pixel_size_x_A == pytest.approx(0.8538, abs=5e-5)
    assert (fei.slit_inserted, fei.slit_width_eV) == (True, 20.0)
    assert fei.applied_defocus_A == pytest.approx(8000.0)
    assert (fei.application, fei.application_version) == ("Fei EPU", "1.2.0.16")
    assert fei.tilt_axis_deg is None  # its bit is not set
    assert (fei.counting, fei.camera, fei.exposure_s) == (True, "EF-CCD", 10.0)


def test_fei_fields__equal_those_mrcfile_reads(shared_data: Path) -> None:
    path = shared_data / "micrographs/epu/fei-extended.mrc"
    (fei,) = mrc.read_header(path).fei
    with mrcfile.open(path, permissive=True) as judge:
        record = judge.indexed_extended_header[0]
        assert fei.voltage_kV == record["HT"] / 1e3
        assert fei.alpha_tilt_deg == record["Alpha tilt"]
        assert fei.stage_z_mm == record["Z-Stage"] * 1e3
        assert fei.magnification == record["Magnification"]
        assert fei.spot_index == record["Spot index"]
        assert fei.illuminated_area_m == record["Illuminated area"]
        assert fei.shift_y == record["Shift Y"]
        assert fei.phase_plate == record["Phase Plate"]


def test_emd_3001__is_permuted_to_z_y_x(shared_data: Path) -> None:
    array, header = mrc.read(shared_data / "maps/EMD-3001.map")
    assert header.axis_order == (3, 1, 2)
    assert header.stored_shape == (25, 43, 73)
    assert array.shape == header.shape == (73, 25, 43)
    assert header.n_start == (-21, -12, 0)
    assert header.pixel_size_A == pytest.approx((17.93 / 40, 4.71 / 12, 33.03 / 72), rel=1e-6)
    assert header.extended_bytes == 160
    assert header.ispg == 4
    assert array.flags.c_contiguous


def test_compressed_maps__equal_the_plain_ones(shared_data: Path) -> None:
    for plain, packed in (("EMD-3001.map", "EMD-3001.map.bz2"), ("EMD-3197.map", "emd_3197.map.gz")):
        first, second = (mrc.read(shared_data / "maps" / name)[0] for name in (plain, packed))
        assert np.array_equal(first, second)
    assert mrc.read_header(shared_data / "maps/EMD-3197.map").n_start == (-2, 0, 0)


def test_pixel_sizes_of_the_real_files(shared_data: Path) -> None:
    def size(name: str) -> float:
        return mrc.read_header(shared_data / name).require_pixel_size_A()

    assert size("particles/betagal_K2_EMPIAR-10204/particles_dev_593.mrcs") == pytest.approx(3.54, abs=1e-6)
    assert size("micrographs/contamination/mics_Ucsf_stack_1142_DW.mrc") == 1.0
    assert size("maps/betaGal_NGL.mrc") == pytest.approx(3.54)
    spectrum = mrc.read_header(shared_data / "ctf/betagal_K2_power_spectra/20170629_00021_frameImage_PS.mrc")
    assert spectrum.shape == (1, 512, 512)
    assert spectrum.require_pixel_size_A() == pytest.approx(1.39955, abs=1e-5)
    particles = mrc.read_header(shared_data / "particles/betagal_K2_EMPIAR-10204/particles_dev_593.mrcs")
    assert (particles.shape, particles.mode) == ((593, 64, 64), 12)


def test_a_file_without_cell__has_no_pixel_size_and_is_refused_when_one_is_demanded(shared_data: Path) -> None:
    header = mrc.read_header(shared_data / "particles/cryodrgn_tests" / CELL_LESS)
    assert header.pixel_size_A == (None, None, None)
    with pytest.raises(Refused, match=r"pixel_size_A in the configuration"):
        header.require_pixel_size_A()


@given(
    shape=st.tuples(st.integers(1, 5), st.integers(1, 7), st.integers(1, 9)),
    mode=st.sampled_from(["float32", "float16", "int8", "int16", "uint16", "complex64"]),
    is_stack=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=60, deadline=None)
def test_what_is_written__comes_back_bit_for_bit_and_satisfies_mrcfile(
    tmp_path_factory: pytest.TempPathFactory, shape: tuple[int, int, int], mode: str, is_stack: bool, seed: int
) -> None:
    path = tmp_path_factory.mktemp("mrc") / "a.mrc"
    rng = np.random.default_rng(seed)
    if mode == "complex64":
        array = (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(mode)
    elif mode.startswith("float"):
        array = rng.normal(size=shape).astype(mode)
    else:
        limits = np.iinfo(mode)
        array = rng.integers(limits.min, limits.max, shape, mode, endpoint=True)
    written = mrc.write(path, array, pixel_size_A=(1.25, 1.5, 2.0), mode=mode, is_stack=is_stack)
    back, header = mrc.read(path, dtype=None, strict=True)
    assert np.array_equal(back, array)
    assert header == written
    assert header.is_stack == is_stack
    assert header.pixel_size_A == (1.25, 1.5, 2.0)
    assert header.labels == ("cryoframe",)
    assert np.array_equal(mrc.open_mapped(path), array)
    assert np.array_equal(np.stack(list(mrc.read_frames(path))), array)
    assert np.array_equal(mrcfile.read(path).reshape(shape), array)
    if mode != "complex64":
        assert mrcfile.validate(path, print_file=None)


def test_volumes_and_single_images__satisfy_mrcfile(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    for array in (rng.normal(size=(4, 5, 6)), rng.normal(size=(5, 6))):
        for mode in ("float32", "float16"):
            mrc.write(tmp_path / "a.mrc", array, pixel_size_A=1.1, mode=mode, origin_A=(1.0, 2.0, 3.0))
            assert mrcfile.validate(tmp_path / "a.mrc", print_file=None)
            assert mrc.read_header(tmp_path / "a.mrc").origin_A == (1.0, 2.0, 3.0)


def test_the_same_array__gives_the_same_bytes(tmp_path: Path) -> None:
    array = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    for name in ("a.mrc", "b.mrc"):
        mrc.write(tmp_path / name, array, pixel_size_A=1.0)
    assert (tmp_path / "a.mrc").read_bytes() == (tmp_path / "b.mrc").read_bytes()


def test_values_the_mode_cannot_hold__are_invalid_input(tmp_path: Path) -> None:
    path = tmp_path / "a.mrc"
    for array, mode in (
        (np.full((2, 2), 1e6, np.float32), "float16"),
        (np.full((2, 2), 0.5, np.float32), "int16"),
        (np.full((2, 2), -1.0, np.float32), "uint16"),
        (np.zeros((2, 2), np.complex64), "float32"),
        (np.zeros((2, 2), np.float32), "complex64"),
        (np.zeros((2, 0), np.float32), "float32"),
        (np.zeros((2, 2), np.float32), "float64"),
    ):
        with pytest.raises(InvalidInput):
            mrc.write(path, array, pixel_size_A=1.0, mode=mode)
    for size in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(InvalidInput):
            mrc.write(path, np.zeros((2, 2), np.float32), pixel_size_A=size)
    assert not path.exists()


def test_big_endian_files__read_as_the_little_endian_ones__whatever_the_stamp_says(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    array = rng.normal(size=(3, 4, 5)).astype(np.float32)
    path = tmp_path / "big.mrc"
    with mrcfile.new(path) as file:
        file.set_data(array.astype(">f4"))
        file.voxel_size = 1.5
    raw = bytearray(path.read_bytes())
    assert raw[212] == 0x11
    assert np.array_equal(mrc.read(path)[0], array)
    assert mrc.read_header(path).flags == ()
    raw[212:214] = b"\x44\x44"
    path.write_bytes(raw)
    again, header = mrc.read(path)
    assert np.array_equal(again, array)
    assert header.byte_order == ">"
    assert "machine stamp" in header.flags[0]


def test_packed_pixels__two_in_a_byte_low_half_first(tmp_path: Path) -> None:
    rows = np.array([[1, 2, 3], [15, 0, 7]], np.uint8)
    head = build_header((1, 2, 3), 101, pixel_size_A=(1.0, 1.0, 1.0), is_stack=True, statistics=(0, 15, 5, 1))
    path = tmp_path / "packed.mrc"
    path.write_bytes(head + bytes([0x21, 0x03, 0x0F, 0x07]))
    assert np.array_equal(mrc.read(path, dtype=np.uint8)[0][0], rows)
    assert np.array_equal(next(mrc.read_frames(path)), rows)
    with pytest.raises(Unsupported):
        mrc.open_mapped(path)


def test_imod_flags__make_bytes_unsigned_or_pairs_of_nibbles(tmp_path: Path) -> None:
    head = bytearray(build_header((1, 1, 2), 0, pixel_size_A=(1.0, 1.0, 1.0), is_stack=True, statistics=(0, 1, 0, 0)))
    path = tmp_path / "imod.mrc"
    path.write_bytes(bytes(head) + b"\xff\x21")
    assert mrc.read(path)[0].tolist() == [[[-1.0, 33.0]]]
    struct.pack_into("<2i", head, 152, 1146047817, 0)
    path.write_bytes(bytes(head) + b"\xff\x21")
    assert mrc.read(path)[0].tolist() == [[[255.0, 33.0]]]
    struct.pack_into("<2i", head, 152, 1146047817, 16)
    path.write_bytes(bytes(head) + b"\xff\x21")
    assert mrc.read(path)[0].tolist() == [[[15.0, 15.0, 1.0, 2.0]]]


def test_complex_pixels__are_not_silently_made_real(tmp_path: Path) -> None:
    mrc.write(tmp_path / "c.mrc", np.ones((2, 2), np.complex64), pixel_size_A=1.0, mode="complex64")
    with pytest.raises(Unsupported, match="complex"):
        mrc.read(tmp_path / "c.mrc")


def test_a_stack_is_no_single_image(tmp_path: Path) -> None:
    mrc.write(tmp_path / "s.mrcs", np.ones((2, 3, 4), np.float32), pixel_size_A=1.0, is_stack=True)
    with pytest.raises(Refused, match="2 sections"):
        mrc.read_image(tmp_path / "s.mrcs")
    mrc.write(tmp_path / "i.mrc", np.ones((3, 4), np.float32), pixel_size_A=1.0)
    assert mrc.read_image(tmp_path / "i.mrc")[0].shape == (3, 4)


def test_compressed_frames__stream(tmp_path: Path) -> None:
    array = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
    mrc.write(tmp_path / "a.mrc", array, pixel_size_A=1.0)
    raw = (tmp_path / "a.mrc").read_bytes()
    for name, packed in (("a.mrc.gz", gzip.compress(raw)), ("a.mrc.bz2", bz2.compress(raw))):
        (tmp_path / name).write_bytes(packed)
        assert np.array_equal(np.stack(list(mrc.read_frames(tmp_path / name))), array)
        assert mrc.read_header(tmp_path / name).flags == ()
        (tmp_path / name).write_bytes(gzip.compress(raw + b"x") if name.endswith("gz") else bz2.compress(raw + b"x"))
        assert "after the last pixel" in mrc.read_header(tmp_path / name).flags[0]
        with pytest.raises(Corrupt):
            mrc.read(tmp_path / name, strict=True)


def test_header_round_trip__keeps_the_facts() -> None:
    raw = build_header(
        (7, 8, 9), 2, pixel_size_A=(1.0, 2.0, 3.0), is_stack=False, statistics=(-1, 1, 0, 0.5), n_start=(-1, -2, -3)
    )
    header = parse_header(raw)
    assert (header.shape, header.n_start, header.ispg) == ((7, 8, 9), (-1, -2, -3), 1)
    assert header.pixel_size_A == (1.0, 2.0, 3.0)
    assert header.statistics == (-1.0, 1.0, 0.0, 0.5)


@pytest.mark.relion
@pytest.mark.skipif(shutil.which("relion_image_handler") is None, reason="RELION is not installed")
def test_relion_reads_our_map__with_its_size_pixel_and_statistics(tmp_path: Path) -> None:
    array = np.random.default_rng(3).normal(2.0, 3.0, size=(8, 8, 8)).astype(np.float32)
    mrc.write(tmp_path / "a.mrc", array, pixel_size_A=1.5)
    done = subprocess.run(
        ["relion_image_handler", "--i", "a.mrc", "--stats"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    found = re.search(r"= (.*) x 1 ; avg= (\S+) stddev= (\S+) .*; angpix = (\S+)", done.stdout)
    assert found is not None
    assert found.group(1) == "8 x 8 x 8"
    assert float(found.group(2)) == pytest.approx(float(array.mean()), abs=1e-4)
    assert float(found.group(3)) == pytest.approx(float(array.std(ddof=1)), rel=1e-3)
    assert float(found.group(4)) == 1.5


def test_pixels_that_are_not_finite__leave_the_statistics_undetermined(tmp_path: Path) -> None:
    array = np.array([[1.0, np.nan], [np.inf, 2.0]], np.float32)
    header = mrc.write(tmp_path / "a.mrc", array, pixel_size_A=1.0)
    assert header.statistics == (0.0, -1.0, -2.0, -1.0)
    assert np.array_equal(mrc.read_image(tmp_path / "a.mrc")[0], array, equal_nan=True)
