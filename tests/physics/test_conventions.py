"""Each statement of CONVENTIONS.md, computed; the number in the test's name is the statement's."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import tifffile
from conventions_world import (
    PIXEL_SIZE_A,
    Blobs,
    N,
    asymmetric_blobs,
    random_particles,
    relion,
    relion_projections,
    write_particles,
)

from cryoframe.data.frames import CHOICES, Convention, ImageGeometry, from_plugin, to_plugin
from cryoframe.data.tables import ParticleTable
from cryoframe.data.units import unit_of
from cryoframe.formats import mrc
from cryoframe.numerics import ctf, fourier, fsc, rotations, symmetry
from cryoframe.numerics.lens import Lens
from cryoframe.numerics.projection import prepare_volume, project
from cryoframe.numerics.reconstruction import reconstruct
from cryoframe_formats.tiff import open_tiff

IDENTITY = np.eye(3)
ONE_BLOB = Blobs(np.array([[5.0, 3.0, -2.0]]), np.array([1.6]), np.array([1.0]))


def projected(volume, matrices):
    return fourier.ifft2_centred(project(prepare_volume(volume), matrices), n=volume.shape[0])


def correlation(a, b) -> float:
    return float(np.corrcoef(np.ravel(a), np.ravel(b))[0, 1])


def centre_of_mass(image):
    weights = np.where(image > 0.1 * np.max(image), image, 0.0).astype(np.float64)  # ripples far off have leverage
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    return (x * weights).sum() / weights.sum(), (y * weights).sum() / weights.sum()


def test_every_statement_has_a_test(repository: Path) -> None:
    text = (repository / "cryoframe" / "CONVENTIONS.md").read_text(encoding="utf-8")
    stated = set(re.findall(r"\*\*(C\d\d)\*\*", text))
    tested = set(re.findall(r"def test_(C\d\d)__", Path(__file__).read_text(encoding="utf-8")))
    assert stated == tested
    assert len(stated) == 22


def test_C01__the_suffix_of_a_name_is_its_unit() -> None:
    names = {"defocus_u_A": "Å", "x_px": "px", "psi_deg": "deg", "dose_e_A2": "e/Å²", "frequency_1_A": "1/Å",
             "b_factor_A2": "Å²", "voltage_kV": "kV", "cs_mm": "mm", "share_frac": "1", "box": ""}  # fmt: skip
    assert {name: unit_of(name) for name in names} == names


def test_C02__x_is_the_first_mrc_column(tmp_path: Path) -> None:
    volume = np.zeros((4, 6, 8), dtype=np.float32)
    volume[1, 2, 3] = 1.0
    mrc.write(tmp_path / "v.mrc", volume, pixel_size_A=1.0)
    raw = np.fromfile(tmp_path / "v.mrc", dtype="<f4", offset=1024)
    assert np.flatnonzero(raw).tolist() == [3 + 8 * (2 + 6 * 1)]
    assert np.fromfile(tmp_path / "v.mrc", dtype="<i4", count=3).tolist() == [8, 6, 4]


def test_C21__a_tiff_movie_is_read_with_its_last_row_first(tmp_path: Path) -> None:
    frames = np.random.default_rng(6).integers(0, 200, (3, 6, 8), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "m.tif", frames, compression="lzw", photometric="minisblack")
    np.testing.assert_array_equal(open_tiff(tmp_path / "m.tif").read_frame(1), frames[1, ::-1])


@pytest.mark.parametrize("n", [8, 9])
def test_C03__the_origin_is_index_n_over_2(n: int) -> None:
    delta = np.zeros((n, n), dtype=np.float32)
    delta[n // 2, n // 2] = 1.0
    np.testing.assert_allclose(fourier.fft2_centred(delta), 1.0, atol=1e-6)


def test_C04__a_map_symmetric_about_the_origin_has_a_real_transform__zero_frequency_at_n_over_2() -> None:
    volume = Blobs(np.zeros((1, 3)), np.array([2.0]), np.array([1.0])).map(32)
    ft = fourier.fft3_centred(volume)
    assert ft.shape == (32, 32, 17)
    assert np.abs(ft.imag).max() < 1e-3 * np.abs(ft.real).max()
    assert np.unravel_index(np.argmax(np.abs(ft)), ft.shape) == (16, 16, 0)


def test_C05__a_position_counts_from_the_centre_of_the_first_pixel() -> None:
    table = ParticleTable.from_columns({"x_A": [7.0], "y_A": [4.0], "figure_of_merit": [0.0]})
    in_px = to_plugin(table, Convention(position_unit="px"), ImageGeometry((10, 20), 2.0))
    assert in_px.column("x_px").tolist() == [3.5]
    assert in_px.column("y_px").tolist() == [2.0]


def test_C06__the_shift_brings_the_particle_to_the_centre() -> None:
    particle_at = np.array([6.0, -4.0])
    image = ONE_BLOB.projection(IDENTITY, tuple(particle_at)).astype(np.float32)
    moved = fourier.shift_images(image[None], -particle_at[None])[0]
    assert correlation(moved, ONE_BLOB.projection(IDENTITY)) > 0.99999


def test_C07__a_motion_shift_undoes_the_motion() -> None:
    first = ONE_BLOB.projection(IDENTITY).astype(np.float32)
    later = ONE_BLOB.projection(IDENTITY, (2.5, -1.5)).astype(np.float32)  # the specimen moved by that
    assert correlation(fourier.shift_images(later[None], np.array([[-2.5, 1.5]]))[0], first) > 0.99999


def test_C08__euler_angles_are_passive_zyz() -> None:
    def about_z(angle):
        c, s = np.cos(angle), np.sin(angle)
        return np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])

    def about_y(angle):
        c, s = np.cos(angle), np.sin(angle)
        return np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]])

    rot, tilt, psi = np.radians([30.0, 50.0, -70.0])
    expected = about_z(psi) @ about_y(tilt) @ about_z(rot)
    np.testing.assert_allclose(rotations.euler_to_matrix(30.0, 50.0, -70.0).reshape(3, 3), expected, atol=1e-12)


def test_C09__the_matrix_takes_map_vectors_into_the_projection_frame() -> None:
    blobs = asymmetric_blobs()
    matrices = rotations.random_rotations(6, np.random.default_rng(2))
    for image, matrix in zip(projected(blobs.map(), matrices), matrices, strict=True):
        expected = blobs.projection(matrix)
        assert correlation(image, expected) > 0.9999
        assert np.abs(image - expected).max() < 0.03 * expected.max()  # trilinear interpolation, padded twice


def test_C10__no_rotation_projects_along_z() -> None:
    volume = asymmetric_blobs().map()
    # not better than 0.9999: the slice needs no interpolation here, yet the map is corrected for it (sinc² to the rim)
    assert correlation(projected(volume, IDENTITY[None])[0], volume.sum(axis=0)) > 0.9999


def test_C11__psi_turns_the_content_by_minus_psi_from_x_towards_y() -> None:
    volume = Blobs(np.array([[10.0, 0.0, 0.0]]), np.array([2.0]), np.array([1.0])).map()
    x, y = centre_of_mass(projected(volume, rotations.euler_to_matrix([0.0], [0.0], [30.0]))[0])
    angle = np.degrees(np.arctan2(y - N // 2, x - N // 2))
    assert angle == pytest.approx(-30.0, abs=0.2)


def test_C12__wavelength_is_relativistic() -> None:
    assert ctf.wavelength_A(300.0) == pytest.approx(0.0196875, abs=1e-6)
    assert ctf.wavelength_A(200.0) == pytest.approx(0.0250793, abs=1e-6)


def test_C13__u_is_the_larger_defocus_in_the_direction_of_its_angle() -> None:
    for angle, kx, ky in ((0.0, 0.05, 0.0), (90.0, 0.0, 0.05), (45.0, 0.03, 0.03)):
        along = ctf.defocus_along(np.array(kx), np.array(ky), defocus_u_A=2e4, defocus_v_A=1e4, defocus_angle_deg=angle)
        assert float(along) == pytest.approx(2e4)


def straightforward_ctf(k, u, v, theta, angle, phase_shift_deg):
    """Restate C14 with nothing shared."""
    # 12.26426 Å √V and 0.9784756e-6 /V: h/√(2 m e) and e/(2 m c²) from CODATA 2018
    lam, cs, w = 12.26426 / np.sqrt(300e3 + 0.9784756e-6 * 300e3**2), 2.7e7, 0.1
    df = 0.5 * (u + v) + 0.5 * (u - v) * np.cos(2 * (theta - np.radians(angle)))
    gamma = np.pi * lam * k**2 * -df + 0.5 * np.pi * cs * lam**3 * k**4
    return -np.sin(gamma - np.arctan(w / np.sqrt(1 - w**2)) - np.radians(phase_shift_deg))


def test_C14__ctf_is_minus_sine_of_gamma__positive_at_low_k_under_focus() -> None:
    kx, ky = np.meshgrid(np.linspace(0, 0.25, 20), np.linspace(-0.25, 0.25, 41))
    ours = ctf.ctf(kx, ky, voltage_kV=300.0, cs_mm=2.7, amplitude_contrast=0.1, defocus_u_A=1.5e4,
                   defocus_v_A=1.3e4, defocus_angle_deg=35.0, phase_shift_deg=20.0)  # fmt: skip
    expected = straightforward_ctf(np.hypot(kx, ky), 1.5e4, 1.3e4, np.arctan2(ky, kx), 35.0, 20.0)
    np.testing.assert_allclose(ours, expected, atol=2e-4)
    low = ctf.ctf_1d(np.array([0.005]), voltage_kV=300.0, cs_mm=2.7, amplitude_contrast=0.1, defocus_A=1.5e4)
    assert low[0] > 0


def test_C14__gamma_is_the_aberration_alone__in_the_page_as_in_the_code(repository: Path) -> None:
    page = (repository / "cryoframe" / "CONVENTIONS.md").read_text(encoding="utf-8")
    assert "CTF = −sin(γ − asin w − phase shift)" in page
    assert "CTF = −sin(γ − asin w − phase shift)" in (ctf.__doc__ or "")
    k = np.array([0.02, 0.1])
    gamma = ctf.phase(k, 0 * k, voltage_kV=300.0, cs_mm=2.7, defocus_u_A=1.5e4, defocus_v_A=1.5e4)
    offset = ctf.amplitude_phase_rad(0.1)
    assert offset == pytest.approx(np.arctan(0.1 / np.sqrt(1 - 0.1**2)))
    assert ctf.amplitude_phase_rad(1.0) == pytest.approx(np.pi / 2)
    whole = ctf.ctf_1d(k, voltage_kV=300.0, cs_mm=2.7, amplitude_contrast=0.1, defocus_A=1.5e4, phase_shift_deg=20.0)
    np.testing.assert_allclose(whole, -np.sin(gamma - offset - np.radians(20.0)), atol=1e-5)


def test_C22__defocus_grows_towards_the_lens__by_propagation() -> None:
    # An object dz farther from the lens: its wave first goes dz through free space, and is imaged with less defocus.
    n, pixel_A, dz_A = 64, 2.0, 400.0
    blob = 0.02 * Blobs(np.zeros((1, 3)), np.array([2.0]), np.array([1.0])).projection(IDENTITY, n=n)
    wave = np.exp(1j * blob)
    k2 = np.add.outer(np.fft.fftfreq(n, pixel_A) ** 2, np.fft.fftfreq(n, pixel_A) ** 2)
    onward = np.exp(-1j * np.pi * ctf.wavelength_A(300.0) * dz_A * k2)  # free space, Goodman eq. 4-21
    lens = Lens(voltage_kV=300.0, cs_mm=2.7, amplitude_contrast=0.0, defocus_u_A=10000.0, defocus_v_A=10000.0)

    def image(exit_wave, defocus_A):
        phase = np.pi * lens_wavelength * (-defocus_A) * k2 + 0.5 * np.pi * 2.7e7 * lens_wavelength**3 * k2**2
        return np.abs(np.fft.ifft2(np.fft.fft2(exit_wave) * np.exp(-1j * phase))) ** 2

    lens_wavelength = ctf.wavelength_A(300.0)
    gone_on = np.fft.ifft2(np.fft.fft2(wave) * onward)  # what leaves plane dz for an object that lies at −dz from it
    np.testing.assert_allclose(image(gone_on, 10000.0), image(wave, lens.at(-dz_A).defocus_u_A), atol=1e-9)


def test_C15__a_phase_plate_acts_as_amplitude_contrast() -> None:
    zero = np.array([0.0])
    plain = ctf.ctf_1d(zero, voltage_kV=300.0, cs_mm=2.7, amplitude_contrast=0.1, defocus_A=1e4)
    plate = ctf.ctf_1d(zero, voltage_kV=300.0, cs_mm=2.7, amplitude_contrast=0.1, defocus_A=1e4, phase_shift_deg=90.0)
    assert plain[0] == pytest.approx(0.1, abs=1e-6)
    assert plate[0] == pytest.approx(np.sqrt(1 - 0.01), abs=1e-6)


def test_C16__positive_b_dampens_by_exp_minus_b_k2_over_4() -> None:
    arguments = dict(voltage_kV=300.0, cs_mm=2.7, amplitude_contrast=0.1, defocus_u_A=1e4, defocus_v_A=1e4)
    sharp, soft = (ctf.ctf_half(16, 2.0, b_factor_A2=b, **arguments)[0] for b in (0.0, 100.0))
    k = 3 / (16 * 2.0)
    assert soft[8, 3] / sharp[8, 3] == pytest.approx(np.exp(-100 * k**2 / 4), rel=1e-4)


def test_C17__bright_protein_and_positive_low_k_ctf_give_bright_protein_back() -> None:
    blobs = asymmetric_blobs()
    matrices = rotations.random_rotations(300, np.random.default_rng(4))
    ctfs = ctf.ctf_half(N, PIXEL_SIZE_A, **{k: v for k, v in random_particles(300).ctf_arguments().items()})
    images = fourier.ifft2_centred(project(prepare_volume(blobs.map()), matrices) * ctfs, n=N)
    back = reconstruct(images, matrices, np.zeros((300, 2)), ctfs=ctfs)
    assert correlation(back, blobs.map()) > 0.95


@pytest.mark.relion
def test_C04_C06_C09_C14_C18__our_projections_equal_relions(tmp_path: Path) -> None:
    volume, particles = asymmetric_blobs().map(), random_particles(24)
    theirs = relion_projections(volume, particles, tmp_path)
    matrices = rotations.euler_to_matrix(particles.rot_deg, particles.tilt_deg, particles.psi_deg)
    slices = project(prepare_volume(volume), matrices)
    slices *= ctf.ctf_half(N, PIXEL_SIZE_A, **particles.ctf_arguments())
    ours = fourier.ifft2_centred(slices * fourier.phase_ramp(N, -particles.shift_A / PIXEL_SIZE_A), n=N)
    worst = min(correlation(a, b) for a, b in zip(ours, theirs, strict=True))
    mirrored = [correlation(a[:, ::-1], b) for a, b in zip(ours, theirs, strict=True)]
    assert worst > 0.99999
    assert max(mirrored) < 0.9


@pytest.mark.relion
def test_C18__reconstructions_agree_with_relions_both_ways__fsc_to_nine_tenths_of_nyquist(tmp_path: Path) -> None:
    rng = np.random.default_rng(11)
    # White at all frequencies, so that FSC near Nyquist has signal on both sides.
    ball = np.linalg.norm(np.mgrid[:N, :N, :N] - N // 2, axis=0) < N // 2 - 6
    volume = (rng.normal(size=(N, N, N)) * ball).astype(np.float32)
    particles = random_particles(2500, seed=7, phase_plate=False)
    matrices = rotations.euler_to_matrix(particles.rot_deg, particles.tilt_deg, particles.psi_deg)
    ctfs = ctf.ctf_half(N, PIXEL_SIZE_A, **particles.ctf_arguments())
    slices = project(prepare_volume(volume), matrices) * ctfs
    images = fourier.ifft2_centred(slices * fourier.phase_ramp(N, -particles.shift_A / PIXEL_SIZE_A), n=N)
    images = np.ascontiguousarray(images, dtype=np.float32)
    mrc.write(tmp_path / "ours.mrcs", images, pixel_size_A=PIXEL_SIZE_A, is_stack=True)
    path = write_particles(particles, tmp_path, "ours.mrcs")
    relion("relion_reconstruct", "--i", path.name, "--o", "rec.mrc", "--ctf", "--angpix", str(PIXEL_SIZE_A),
           "--pad", "2", cwd=tmp_path)  # fmt: skip
    theirs = mrc.read(tmp_path / "rec.mrc")[0]
    ours = reconstruct(images, matrices, particles.shift_A / PIXEL_SIZE_A, ctfs=ctfs)
    curve = fsc.fsc_curve(ours, theirs, pixel_size_A=PIXEL_SIZE_A, mask=ball.astype(np.float32))
    inside = curve.frequency_1_A <= 0.9 * 0.5 / PIXEL_SIZE_A
    mirrored = fsc.fsc_curve(ours[:, :, ::-1], theirs, pixel_size_A=PIXEL_SIZE_A)
    assert curve.fsc[inside].min() >= 0.99
    assert np.abs(mirrored.fsc[inside][4:]).max() < 0.5


def test_C18__a_reconstruction_has_the_hand_of_its_source() -> None:
    blobs = asymmetric_blobs()
    matrices = rotations.random_rotations(300, np.random.default_rng(9))
    images = np.stack([blobs.projection(matrix) for matrix in matrices]).astype(np.float32)
    back = reconstruct(images, matrices, np.zeros((300, 2)))
    assert correlation(back, blobs.map()) > 0.98
    assert correlation(back[:, :, ::-1], blobs.map()) < 0.8


@pytest.mark.parametrize(
    ("group", "order", "axis", "angle"),
    [("C5", 5, (0, 0, 1), 72), ("D2", 4, (1, 0, 0), 180), ("O", 24, (1, 0, 0), 90), ("T", 12, (0, 0, 1), 120),
     ("I", 60, (1, 0, 0), 180)],
)  # fmt: skip
def test_C19__symmetry_axes_lie_as_relion_lays_them(group: str, order: int, axis, angle: float) -> None:
    matrices = symmetry.rotation_matrices(group)
    assert len(matrices) == order
    wanted = rotations.axis_rotation(axis, angle)
    assert min(np.abs(matrix - wanted).max() for matrix in matrices) < 1e-6


@pytest.mark.parametrize("change", [(name, value) for name, values in CHOICES.items() for value in values])
def test_C20__there_and_back_is_the_identity__and_each_choice_but_the_houses_changes_something(change) -> None:
    convention = Convention(**{change[0]: change[1]})
    rng = np.random.default_rng(1)
    names = ("x_A", "y_A", "shift_x_A", "shift_y_A", "defocus_u_A", "defocus_v_A", "rot_deg", "tilt_deg", "psi_deg")
    table = ParticleTable.from_columns({name: rng.uniform(10, 100, 5).astype(np.float32) for name in names})
    geometry = ImageGeometry((60, 80), 1.7)
    there = to_plugin(table, convention, geometry)
    back = from_plugin(there, convention, geometry)
    for name in names:
        np.testing.assert_allclose(back.column(name), table.column(name), rtol=2e-5, atol=2e-4)
    assert (there == table) == (convention == Convention())
