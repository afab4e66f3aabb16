"""RELION columns of all versions in cryoframe's names and units; lossless round trip; RELION reads the result."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from cryoframe.errors import Corrupt, InvalidInput, Refused, SchemaError
from cryoframe.formats.star import read_star, write_star
from cryoframe.formats.star_columns import (
    ParticleRecords,
    micrographs_from_star,
    particles_from_star,
    particles_to_star,
    zernike,
)

BETAGAL = "particles/betagal_K2_EMPIAR-10204"
PARTICLE_FILES = (
    f"{BETAGAL}/particles_dev_593.star",
    f"{BETAGAL}/all_picks_dev_1157_ctf_from_tutorial.star",
    "particles/cryodrgn_tests/relion31.star",
    "particles/cryodrgn_tests/relion31.v2.star",
    "particles/cryodrgn_tests/relion31.6opticsgroups.star",
    "particles/cryodrgn_tests/relion5.star",
    "particles/cryodrgn_tests/FinalRefinement-OriginalParticles-PfCRT.star",
    "particles/cryodrgn_tests/empiar_10076_7.star",
    "particles/cryodrgn_tests/sta_testing.star",
    "particles/cryodrgn_tests/sta_testing_bin8.star",
    "star/relion-1.x/ref_it002_data.star",
    "star/topaz-EMPIAR-10025/particles.star",
    "star/relion5-project-sppractice/Extract/job009/particles.star",
    "star/relion5-project-sppractice/Class2D/job010/run_it025_data.star",
)


def test_the_curated_particles__have_the_facts_of_the_readme(shared_data: Path) -> None:
    records = particles_from_star(shared_data / PARTICLE_FILES[0])
    raw = read_star(shared_data / PARTICLE_FILES[0])["particles"]
    assert (records.dialect, records.n_rows, len(records.optics), records.flags) == ("3.1", 593, 1, ())
    (group,) = records.optics
    assert (group["voltage_kV"], group["cs_mm"], group["amplitude_contrast_frac"]) == (200.0, 1.4, 0.1)
    assert (group["pixel_size_A"], group["box_px"], group["movie_pixel_size_A"]) == (3.54, 64, 0.885)
    columns = records.columns
    assert np.array_equal(columns["stack_index"], np.arange(593))
    assert set(columns["stack"]) == {"particles_dev_593.mrcs"}
    assert len(set(columns["micrograph_name"])) == 5
    assert set(columns["half"].tolist()) == {1, 2}
    assert columns["x_A"][0] == pytest.approx(1614.217657 * 0.885)
    assert np.array_equal(columns["shift_x_A"], raw.floats("rlnOriginXAngst"))
    assert np.array_equal(columns["rot_deg"], raw.floats("rlnAngleRot"))
    assert (columns["defocus_u_A"] >= columns["defocus_v_A"]).all()
    assert list(records.unmapped) == ["rlnImageOriginalName"]
    picks = particles_from_star(shared_data / PARTICLE_FILES[1])
    assert picks.n_rows == 1157
    assert (picks.columns["class_id"] == -1).all()  # RELION's class 0: none


@pytest.mark.parametrize("name", PARTICLE_FILES)
def test_real_particles__survive_a_round_trip_through_our_own_file(
    shared_data: Path, tmp_path: Path, name: str
) -> None:
    first = particles_from_star(shared_data / name)
    particles_to_star(tmp_path / "a.star", first)
    again = particles_from_star(tmp_path / "a.star")
    assert again.dialect == "3.1"
    assert again.optics == [{"n_dimensions": 2, **group} for group in first.optics]
    assert again.unmapped == first.unmapped
    assert set(again.columns) == set(first.columns)
    for column, values in first.columns.items():
        if values.dtype.kind == "f":  # positions pass through a division by the pixel size
            assert np.allclose(again.columns[column], values, rtol=2.3e-16, atol=0, equal_nan=True), column
        else:
            assert np.array_equal(again.columns[column], values), column


def test_block_order_does_not_matter(shared_data: Path) -> None:
    folder = shared_data / "particles/cryodrgn_tests"
    first, second = (particles_from_star(folder / name) for name in ("relion31.star", "relion31.v2.star"))
    assert first.optics == second.optics
    for column in ("x_A", "rot_deg", "shift_x_A", "defocus_u_A"):
        assert np.allclose(first.columns[column], second.columns[column])


def test_six_optics_groups__are_kept_by_name(shared_data: Path) -> None:
    records = particles_from_star(shared_data / "particles/cryodrgn_tests/relion31.6opticsgroups.star")
    assert len(records.optics) == 6
    numbers = read_star(shared_data / "particles/cryodrgn_tests/relion31.6opticsgroups.star")["particles"]
    by_number = {int(group["number"]): str(group["optics_group"]) for group in records.optics}
    expected = [by_number[n] for n in numbers.ints("rlnOpticsGroup").tolist()]
    assert records.columns["optics_group"].tolist() == expected
    first = records.optics_of("opticsGroup5")
    assert first["beam_tilt_x_mrad"] == 0.657334
    assert zernike(str(first["odd_zernike_rad"]))[:2] == (1.70554063513, 1.2131261042)
    assert first["mag_matrix_00"] == 1.011472


def test_relion_3_0__origins_in_pixels_become_angstrom_and_positions_stay_in_pixels(shared_data: Path) -> None:
    path = shared_data / "particles/cryodrgn_tests/FinalRefinement-OriginalParticles-PfCRT.star"
    records = particles_from_star(path)
    raw = read_star(path)["images"]
    assert records.dialect == "3.0"
    assert records.optics[0]["pixel_size_A"] == pytest.approx(1.035)
    assert np.allclose(records.columns["shift_x_A"], raw.floats("rlnOriginX") * 1.035)
    assert "x_A" not in records.columns
    assert any("micrograph pixel size" in flag for flag in records.flags)
    known = particles_from_star(path, micrograph_pixel_size_A=1.035)
    assert np.allclose(known.columns["x_A"], raw.floats("rlnCoordinateX") * 1.035)


def test_defocus__is_ordered_without_changing_the_ctf(shared_data: Path) -> None:
    path = shared_data / "particles/cryodrgn_tests/FinalRefinement-OriginalParticles-PfCRT.star"
    records, raw = particles_from_star(path), read_star(path)["images"]
    u, v, a = (raw.floats(f"rlnDefocus{x}") for x in ("U", "V", "Angle"))
    assert (v > u).any()
    for direction in np.arange(0.0, 180.0, 15.0):
        before = (u + v) / 2 + (u - v) / 2 * np.cos(2 * np.radians(direction - a))
        p, q, b = (records.columns[f"defocus_{x}"] for x in ("u_A", "v_A", "angle_deg"))
        after = (p + q) / 2 + (p - q) / 2 * np.cos(2 * np.radians(direction - b))
        assert np.allclose(before, after, rtol=1e-12)
    assert any("exchanged" in flag for flag in records.flags)


def test_rows_of_old_files__with_equal_settings_become_one_optics_group(tmp_path: Path) -> None:
    rows = {
        "rlnImageName": ["1@a.mrcs", "2@a.mrcs", "1@b.mrcs"],
        "rlnVoltage": ["300", "200", "300.000"],
        "rlnSphericalAberration": ["2.7", "2.7", "2.70"],
        "rlnMagnification": ["10000", "10000", "10000"],
        "rlnDetectorPixelSize": ["1.5", "1.5", "1.5"],
    }
    write_star(tmp_path / "a.star", {"": rows})
    records = particles_from_star(tmp_path / "a.star")
    assert [group["voltage_kV"] for group in records.optics] == [300.0, 200.0]
    assert records.columns["optics_group"].tolist() == ["opticsGroup1", "opticsGroup2", "opticsGroup1"]
    assert records.columns["pixel_size_A"].tolist() == [1.5, 1.5, 1.5]
    rows["rlnMagnification"][1] = "0"
    write_star(tmp_path / "a.star", {"": rows})
    with pytest.raises(Refused, match="magnification 0"):
        particles_from_star(tmp_path / "a.star")


def test_a_movie_called_1e5__stays_text(tmp_path: Path) -> None:
    write_star(tmp_path / "a.star", {"": {"rlnImageName": ["1@1e5"], "rlnMicrographName": ["1e5"]}})
    records = particles_from_star(tmp_path / "a.star")
    assert records.columns["stack"].tolist() == ["1e5"]
    assert records.columns["micrograph_name"].tolist() == ["1e5"]


def test_errors_name_the_line(tmp_path: Path) -> None:
    path = tmp_path / "a.star"
    optics = {"rlnOpticsGroup": ["1"], "rlnImagePixelSize": ["1.0"]}
    particles = {"rlnImageName": ["1@a.mrcs", "1@a.mrcs"], "rlnOpticsGroup": ["1", "2"]}
    write_star(path, {"optics": optics, "particles": particles})
    with pytest.raises(Corrupt, match=r"line 20: optics group 2"):
        particles_from_star(path)
    particles = {"rlnImageName": ["1@a.mrcs", "1@1@x"], "rlnOpticsGroup": ["1", "1"]}
    write_star(path, {"optics": optics, "particles": particles})
    with pytest.raises(Refused, match=r"line 20: image name '1@1@x'"):
        particles_from_star(path)
    particles = {"rlnImageName": ["1@a.mrcs"], "rlnOpticsGroup": ["1"], "rlnRandomSubset": ["3"]}
    write_star(path, {"optics": optics, "particles": particles})
    with pytest.raises(Corrupt, match="half-set 3"):
        particles_from_star(path)
    write_star(path, {"optics": optics})
    with pytest.raises(SchemaError, match="data_optics"):
        particles_from_star(path)


def test_micrograph_and_movie_tables(shared_data: Path) -> None:
    project = shared_data / "star/relion5-project-sppractice"
    fits = micrographs_from_star(project / "CtfFind/job005/micrographs_ctf.star")
    assert fits.n_rows == 24
    assert fits.optics[0]["micrograph_pixel_size_A"] == 0.885
    assert fits.columns["fit_resolution_A"][0] == 9.554261
    motion = micrographs_from_star(project / "MotionCorr/job002/corrected_micrographs.star")
    assert motion.columns["motion_total_A"][0] == 16.420846
    movies = micrographs_from_star(project / "Import/job001/movies.star")
    assert movies.columns["movie_name"][0] == "Movies/20170629_00021_frameImage.tiff"
    assert micrographs_from_star(project / "AutoPick/job008/autopick.star").n_rows == 10
    old = micrographs_from_star(shared_data / "star/topaz-EMPIAR-10025/ctf_params.star")
    assert old.n_rows == 30
    assert old.optics[0]["pixel_size_A"] == pytest.approx(2.5e4 / 38023)


def test_picked_coordinates(shared_data: Path) -> None:
    path = shared_data / "micrographs/contamination/Ucsf_stack_1142_DW_autopick.star"
    records = particles_from_star(path)
    assert (records.dialect, records.n_rows) == ("coordinates", 45)
    assert records.columns["x_px"][0] == 839.125024
    scaled = particles_from_star(path, micrograph_pixel_size_A=2.0)
    assert scaled.columns["x_A"][0] == 2 * 839.125024
    flipped = shared_data / "micrographs/betagal_EMPIAR-10017_lowpassed"
    counts = [particles_from_star(file).n_rows for file in sorted(flipped.glob("*.star"))]
    assert counts == [612, 643]


def small_records() -> ParticleRecords:
    optics = [
        {"optics_group": "first", "voltage_kV": 300.0, "cs_mm": 2.7, "amplitude_contrast_frac": 0.1,
         "pixel_size_A": 2.0, "box_px": 16, "micrograph_pixel_size_A": 1.0},
    ]  # fmt: skip
    columns = {
        "x_A": np.array([10.5, 20.25]), "y_A": np.array([1.0, 2.0]), "half": np.array([1, 2], np.uint8),
        "class_id": np.array([0, 3], np.int32), "stack": np.array(["s.mrcs"] * 2, object),
        "stack_index": np.array([0, 1]), "rot_deg": np.array([1.0, -2.0]), "tilt_deg": np.array([90.0, 0.0]),
        "psi_deg": np.array([5.0, 6.0]), "shift_x_A": np.array([0.5, -0.5]), "shift_y_A": np.array([0.0, 1.0]),
        "defocus_u_A": np.array([1e4, 1.1e4]), "defocus_v_A": np.array([9e3, 1e4]),
        "defocus_angle_deg": np.array([10.0, 20.0]), "optics_group": np.array(["first"] * 2, object),
        "micrograph_name": np.array(["m.mrc"] * 2, object),
    }  # fmt: skip
    return ParticleRecords(columns, optics)


def test_what_cannot_be_written__is_invalid_input(tmp_path: Path) -> None:
    path, good = tmp_path / "a.star", small_records()
    for columns, optics, words in (
        ({**good.columns, "colour": np.zeros(2)}, good.optics, "colour"),
        (good.columns, [], "no optics group"),
        (good.columns, [{"optics_group": "other"}], "unlisted"),
        (good.columns, [{"optics_group": "first", "pixel_size_A": 2.0}], "in pixels"),
        (good.columns, [good.optics[0], good.optics[0]], "distinct"),
        ({**good.columns, "rot_deg": np.zeros(3)}, good.optics, "unequal"),
    ):
        with pytest.raises(InvalidInput, match=words):
            particles_to_star(path, columns, optics)


@pytest.mark.relion
@pytest.mark.skipif(shutil.which("relion_reconstruct") is None, reason="RELION is not installed")
def test_relion_reads_our_particles__values_and_images(tmp_path: Path) -> None:
    from cryoframe.formats import mrc

    particles_to_star(tmp_path / "p.star", small_records())
    done = subprocess.run(
        ["relion_star_printtable", "p.star", "data_particles", "_rlnCoordinateX", "_rlnClassNumber", "_rlnAngleRot"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    rows = [[float(word) for word in line.split()] for line in done.stdout.splitlines() if line.strip()]
    assert rows == [[10.5, 1.0, 1.0], [20.25, 4.0, -2.0]]
    images = np.random.default_rng(6).normal(size=(2, 16, 16)).astype(np.float32)
    mrc.write(tmp_path / "s.mrcs", images, pixel_size_A=2.0, is_stack=True)
    subprocess.run(
        ["relion_reconstruct", "--i", "p.star", "--o", "map.mrc", "--ctf"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    volume, header = mrc.read(tmp_path / "map.mrc")
    assert volume.shape == (16, 16, 16)
    assert header.require_pixel_size_A() == pytest.approx(2.0)
    assert np.isfinite(volume).all()
    assert volume.std() > 0


@pytest.mark.parametrize("label", ["rlnClassNumber", "rlnImageSize"])
def test_numbers_past_the_type_that_holds_them__are_refused(tmp_path: Path, label: str) -> None:
    """A class of 6 499 999 999 was read as another one."""
    image, number = ("64", "6499999999") if label == "rlnClassNumber" else ("6499999999", "1")
    text = f"data_optics\nloop_\n_rlnOpticsGroup\n_rlnImageSize\n_rlnImagePixelSize\n1 {image} 1.0\n"
    text += f"data_particles\nloop_\n_rlnImageName\n_rlnOpticsGroup\n_rlnClassNumber\n1@s.mrcs 1 {number}\n"
    path = tmp_path / "large.star"
    path.write_text(text)
    with pytest.raises(Corrupt, match=f"{label} is 6499999999"):
        particles_from_star(path)
