"""The service hooks of the MRC readers, and how the hooks share the real files among them."""

from __future__ import annotations

import csv
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from cryoframe import FrameSource, MicrographSource
from cryoframe.errors import Incomplete
from cryoframe.formats import mrc
from cryoframe_formats import eer_movie, epu, gain, mdoc, mrc_micrograph, mrc_movie, picture, tiff_movie


def test_the_epu_micrograph__opens_with_pixel_voltage_and_dose(shared_data: Path) -> None:
    source = mrc_micrograph.open_micrograph(shared_data / "micrographs/epu/fei-extended.mrc")
    assert isinstance(source, MicrographSource)
    assert source.shape_px == (3838, 3710)
    assert source.pixel_size_A == pytest.approx(0.8538, abs=5e-5)
    assert (source.voltage_kV, source.dose_e_A2) == (300.0, pytest.approx(47.6, abs=0.05))
    image = source.read()
    assert image.dtype == np.float32
    assert image.max() == 45804


def test_an_mrc_stack__is_a_movie_read_frame_by_frame(tmp_path: Path) -> None:
    frames = np.random.default_rng(12).integers(0, 200, (4, 6, 7)).astype(np.int16)
    mrc.write(tmp_path / "m.mrc", frames, pixel_size_A=0.9, mode="int16", is_stack=True)
    source = mrc_movie.open_movie(tmp_path / "m.mrc")
    assert isinstance(source, FrameSource)
    assert (source.n_frames, source.shape_px, source.pixel_size_A) == (4, (6, 7), 0.9)
    for index in range(4):
        assert np.array_equal(source.read_frame(index), frames[index])
    with pytest.raises(IndexError):
        source.read_frame(4)
    raw = (tmp_path / "m.mrc").read_bytes()
    (tmp_path / "m.mrc").write_bytes(raw[:-1])
    with pytest.raises(Incomplete):
        source.read_frame(3)
    with pytest.raises(Incomplete):
        mrc_movie.open_movie(tmp_path / "m.mrc")


def test_images_and_stacks__are_told_apart(tmp_path: Path) -> None:
    mrc.write(tmp_path / "one.mrc", np.ones((4, 5), np.float32), pixel_size_A=1.0)
    mrc.write(tmp_path / "two.mrc", np.ones((2, 4, 5), np.float32), pixel_size_A=1.0)
    assert mrc_movie.open_movie(tmp_path / "one.mrc") is None
    assert mrc_micrograph.open_micrograph(tmp_path / "two.mrc") is None
    mrc.write(tmp_path / "c.mrc", np.ones((2, 4, 5), np.complex64), pixel_size_A=1.0, mode="complex64")
    assert mrc_movie.open_movie(tmp_path / "c.mrc") is None


def test_every_real_file__is_taken_by_at_most_one_reader_of_each_hook(shared_data: Path) -> None:
    hooks = {
        "movie": (mrc_movie.open_movie, tiff_movie.open_movie, eer_movie.open_movie),
        "micrograph": (mrc_micrograph.open_micrograph, picture.open_micrograph),
        "metadata": (mdoc.read_metadata, epu.read_metadata),
    }
    taken = dict.fromkeys(hooks, 0)
    with (shared_data / "MANIFEST.csv").open() as stream:
        paths = [shared_data / row["path"] for row in csv.DictReader(stream)]
    for path in paths:
        for kind, readers in hooks.items():
            answers = [answer for reader in readers if (answer := reader(path)) is not None]
            assert len(answers) <= 1, path
            taken[kind] += len(answers)
    # 11 stacks and maps; 11 single MRC images and 41 pictures; 16 EPU images and 3 SerialEM exposures
    assert taken == {"movie": 11, "micrograph": 52, "metadata": 19}


def test_each_hook_is_marked_for_the_plugin_manager() -> None:
    for function in (
        mrc_movie.open_movie, tiff_movie.open_movie, eer_movie.open_movie, mrc_micrograph.open_micrograph,
        picture.open_micrograph, mdoc.read_metadata, epu.read_metadata, gain.open_gain,
    ):  # fmt: skip
        assert hasattr(function, "cryoframe_impl")


def test_a_movie_of_ten_gigabytes__is_read_frame_by_frame_in_little_memory(tmp_path: Path) -> None:
    mrc.write(tmp_path / "m.mrc", np.ones((2, 8, 8), np.int8), pixel_size_A=1.0, mode="int8", is_stack=True)
    raw = bytearray((tmp_path / "m.mrc").read_bytes()[:1024])
    struct.pack_into("<3i", raw, 0, 4096, 4096, 600)
    with (tmp_path / "m.mrc").open("wb") as stream:
        stream.write(raw)
        stream.truncate(1024 + 600 * 4096**2)
    tracemalloc.start()
    source = mrc_movie.open_movie(tmp_path / "m.mrc")
    assert source is not None
    assert source.n_frames == 600
    for index in (0, 300, 599):
        assert not source.read_frame(index).any()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * 4 * 4096**2  # four frames as float32
