"""The CTF against printed figures, analytic zeros, and RELION's own pictures and reconstructions."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from conventions_world import asymmetric_blobs, relion

from cryoframe.formats import mrc, star
from cryoframe.numerics import ctf, filters, fourier, fsc, rotations
from cryoframe.numerics.noise import generator


@pytest.mark.parametrize(
    ("voltage_kV", "wavelength_A"),
    # Williams & Carter, Transmission Electron Microscopy (2009), table 1.2 to three digits; more digits from
    # Kirkland, Advanced Computing in Electron Microscopy (2010), table 2.1 and eq. 2.5.
    [(100.0, 0.0370144), (120.0, 0.0334922), (200.0, 0.0250793), (300.0, 0.0196875), (1000.0, 0.0087192)],
)
def test_wavelength__has_the_printed_figure(voltage_kV, wavelength_A):
    assert ctf.wavelength_A(voltage_kV) == pytest.approx(wavelength_A, abs=1e-7)


def test_zeros__without_cs_and_amplitude_contrast__lie_at_the_roots_of_n():
    wavelength, defocus = ctf.wavelength_A(300.0), 15000.0
    zeros = np.sqrt(np.arange(1, 20) / (wavelength * defocus))
    found = ctf.ctf_1d(zeros, voltage_kV=300.0, cs_mm=0.0, amplitude_contrast=0.0, defocus_A=defocus)
    np.testing.assert_allclose(found, 0.0, atol=1e-12)


def test_scherzer_focus__point_resolution_of_a_jem_2010_is_0_19_nm():
    # Cs 0.5 mm, 200 kV; Scherzer defocus 1.2·√(Cs·λ) (Williams & Carter 2009, eq. 28.36); the maker states 0.19 nm.
    wavelength = ctf.wavelength_A(200.0)
    defocus = 1.2 * np.sqrt(0.5e7 * wavelength)
    k = np.linspace(0.05, 0.7, 20001)
    curve = ctf.ctf_1d(k, voltage_kV=200.0, cs_mm=0.5, amplitude_contrast=0.0, defocus_A=defocus)
    first_zero = k[np.flatnonzero(np.diff(np.sign(curve)))[0]]
    assert 0.1 / first_zero == pytest.approx(0.19, abs=0.005)


def test_amplitude_contrast__is_the_ctf_at_zero_frequency():
    curve = ctf.ctf_1d(np.zeros(1), voltage_kV=300.0, cs_mm=2.7, amplitude_contrast=0.07, defocus_A=1e4)
    assert curve[0] == pytest.approx(0.07)


def test_volta_phase_plate_of_90_degrees__makes_an_in_focus_image_contrasty():
    curve = ctf.ctf_1d(
        np.zeros(1), voltage_kV=300.0, cs_mm=2.7, amplitude_contrast=0.0, defocus_A=0.0, phase_shift_deg=90.0
    )
    assert curve[0] == pytest.approx(1.0)


def test_critical_exposure__grant_and_grigorieff_2015():
    k = 1.0 / np.array([20.0, 10.0, 5.0, 3.0])
    printed = 0.245 * np.array([20.0, 10.0, 5.0, 3.0]) ** 1.665 + 2.81
    np.testing.assert_allclose(filters.critical_dose_e_A2(k, 300.0), printed)
    np.testing.assert_allclose(filters.critical_dose_e_A2(k, 200.0), 0.8 * printed)
    assert np.isinf(filters.critical_dose_e_A2(np.zeros(1), 300.0)[0])
    at_critical = filters.dose_transfer(k[3:], float(printed[3]), 300.0)
    assert at_critical[0] == pytest.approx(np.exp(-0.5))  # power 1/e


@pytest.mark.relion
def test_ctf__equals_relions_picture(tmp_path: Path):
    n, pixel = 128, 1.3
    options = {
        "simulate": "c.mrc", "angpix": 1.3, "box": 128, "defU": 21000, "defV": 18000, "defAng": 32, "phase_shift": 25,
        "Cs": 2.0, "kV": 200, "Q0": 0.07,
    }  # fmt: skip
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    relion("relion_ctf_toolbox", *words, cwd=tmp_path)
    theirs = mrc.read(tmp_path / "c.mrc")[0].reshape(n, n)
    # RELION's wavelength comes from rounded constants (12.2643247, 0.978466e-6), 6 ppm off CODATA's; at 230 rad
    # that alone moves γ by 1.5 mrad. With its wavelength the pictures agree to float32's rounding of such a phase.
    optics = {"voltage_kV": 200.0, "cs_mm": 2.0, "amplitude_contrast": 0.07}
    particle = {"defocus_u_A": 21000.0, "defocus_v_A": 18000.0, "defocus_angle_deg": 32.0, "phase_shift_deg": 25.0}
    ours = ctf.ctf_half(n, pixel, **optics, **particle)[0]
    assert np.abs(theirs[:, n // 2 :] - ours[:, : n // 2]).max() < 3e-3
    wavelength = 12.2643247 / np.sqrt(2e5 * (1 + 2e5 * 0.978466e-6))
    ratio = wavelength / ctf.wavelength_A(200.0)
    scaled = {**particle, "defocus_u_A": 21000.0 * ratio, "defocus_v_A": 18000.0 * ratio}
    same = ctf.ctf_half(n, pixel, **{**optics, "cs_mm": 2.0 * ratio**3}, **scaled)[0]
    assert np.abs(theirs[:, n // 2 :] - same[:, : n // 2]).max() < 2e-4


class _Aberrant:
    """Exact images of Gaussian blobs through an aberrant microscope, reconstructed by RELION."""

    n, m, pixel = 48, 250, 1.0

    def __init__(self, folder: Path) -> None:
        self.optics = {"voltage_kV": 300.0, "cs_mm": 2.7}
        blobs = asymmetric_blobs()
        self.folder, self.centres = folder, blobs.centres * 0.8
        self.sigma, self.weights = 0.35 * blobs.sigma_px, blobs.weights
        self.angles = rotations.matrix_to_euler(rotations.random_rotations(self.m, generator(4)))
        z, y, x = np.mgrid[: self.n, : self.n, : self.n] - self.n // 2
        freq = np.fft.fftfreq(self.n)
        kz, ky, kx = np.meshgrid(freq, freq, np.fft.rfftfreq(self.n), indexing="ij")
        ft = self.transform(np.stack([kx, ky, kz], axis=-1)) * (np.hypot(np.hypot(kx, ky), kz) < 0.48)
        self.map = np.fft.fftshift(np.fft.irfftn(ft, s=(self.n,) * 3, axes=(0, 1, 2)))
        self.map = (self.map * (np.sqrt(x**2 + y**2 + z**2) < self.n // 2)).astype(np.float32)

    def transform(self, k):
        """Closed form of the blobs' Fourier transform at `(…, 3)` frequencies in 1/px."""
        total = 0.0
        for centre, sigma, weight in zip(self.centres, self.sigma, self.weights, strict=True):
            damping = np.exp(-2 * np.pi**2 * sigma**2 * (k**2).sum(axis=-1)) * (2 * np.pi * sigma**2) ** 1.5
            total = total + weight * damping * np.exp(-2j * np.pi * (k @ centre))
        return total

    def fsc_of_relions_map(self, name: str, aberrations: ctf.Aberrations, columns: dict[str, str]) -> float:
        """Mean FSC over the upper half of the shells between the truth and RELION's map of the aberrant images."""
        kx, ky = np.broadcast_arrays(*ctf.half_frequencies(self.n, self.pixel))
        (xx, xy), (yx, yy) = aberrations.magnification
        flat = np.stack([xx * kx + xy * ky, yx * kx + yy * ky, 0.0 * kx], axis=-1)
        slices = self.transform(np.einsum("pqi,mij->mpqj", flat, rotations.euler_to_matrix(*self.angles)))
        slices *= np.hypot(kx, ky) < 0.48
        lens = {"defocus_u_A": 6000.0, "defocus_v_A": 5500.0, "defocus_angle_deg": 20.0, "amplitude_contrast": 0.1}
        transfer = ctf.ctf_half(self.n, self.pixel, **self.optics, **lens, aberrations=aberrations)
        factor = ctf.aberration_half(self.n, self.pixel, **self.optics, aberrations=aberrations)
        images = fourier.ifft2_centred((slices * transfer * factor).astype(np.complex64))
        mrc.write(self.folder / f"{name}.mrcs", images.astype(np.float32), pixel_size_A=self.pixel, is_stack=True)
        self.write_star(name, columns)
        relion(
            "relion_reconstruct", "--i", f"{name}.star", "--o", f"{name}.mrc", "--ctf", "--angpix", "1",
            cwd=self.folder,
        )  # fmt: skip
        theirs = mrc.read(self.folder / f"{name}.mrc")[0]
        return float(fsc.fsc_curve(theirs, self.map, pixel_size_A=self.pixel).fsc[10:22].mean())

    def write_star(self, name: str, columns: dict[str, str]) -> None:
        optics = {
            "rlnOpticsGroup": "1", "rlnOpticsGroupName": "g", "rlnVoltage": "300.0", "rlnSphericalAberration": "2.7",
            "rlnAmplitudeContrast": "0.1", "rlnImagePixelSize": "1.0", "rlnImageSize": str(self.n),
            "rlnImageDimensionality": "2", **columns,
        }  # fmt: skip
        fixed = {"rlnOriginXAngst": 0.0, "rlnOriginYAngst": 0.0, "rlnDefocusU": 6e3, "rlnDefocusV": 5.5e3}
        table = {
            "rlnImageName": [f"{i + 1:06d}@{name}.mrcs" for i in range(self.m)],
            "rlnOpticsGroup": ["1"] * self.m,
            **{key: [str(value)] * self.m for key, value in {**fixed, "rlnDefocusAngle": 20.0}.items()},
            **{
                key: [f"{angle:.6f}" for angle in angles]
                for key, angles in zip(("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"), self.angles, strict=True)
            },
        }
        star.write_star(
            self.folder / f"{name}.star",
            {"optics": {key: [text] for key, text in optics.items()}, "particles": table},
        )


def _zernike(values):
    return "[" + ",".join(str(value) for value in values) + "]"


ODD, EVEN = (3.0, -2.0, 4.0, 9.0, -7.0, 6.0), (0.4, 3.0, -2.0, 4.0, 9.0, -17.0, 16.0, 12.0, -9.0)
CASES = {
    "tilt": (
        ctf.Aberrations(beam_tilt_mrad=(2.0, 1.0)),
        {"rlnBeamTiltX": "2.0", "rlnBeamTiltY": "1.0"},
    ),
    "trefoil": (
        ctf.Aberrations(trefoil_rad_A3=(20.0, -15.0)),
        {"rlnOddZernike": _zernike((0.0, 0.0, -15.0, 0.0, 0.0, 20.0))},
    ),
    "tetrafoil": (
        ctf.Aberrations(tetrafoil_rad_A4=(80.0, -60.0)),
        {"rlnEvenZernike": _zernike((0.0, 0.0, 0.0, 0.0, -60.0, 0.0, 0.0, 0.0, 80.0))},
    ),
    "odd": (ctf.Aberrations(odd_zernike_rad=ODD), {"rlnOddZernike": _zernike(ODD)}),
    "even": (ctf.Aberrations(even_zernike_rad=EVEN), {"rlnEvenZernike": _zernike(EVEN)}),
    "magnification": (
        ctf.Aberrations(magnification=((1.03, 0.02), (-0.01, 0.96))),
        {"rlnMagMat00": "1.03", "rlnMagMat01": "0.02", "rlnMagMat10": "-0.01", "rlnMagMat11": "0.96"},
    ),
}


@pytest.fixture(scope="module")
def aberrant(tmp_path_factory: pytest.TempPathFactory) -> _Aberrant:
    if shutil.which("relion_reconstruct") is None:
        pytest.skip("relion_reconstruct is not installed; apt-get install relion")
    return _Aberrant(tmp_path_factory.mktemp("aberrant"))


@pytest.mark.relion
@pytest.mark.parametrize("case", CASES)
def test_aberrations__have_relions_signs(aberrant: _Aberrant, case: str):
    aberrations, columns = CASES[case]
    ideal = aberrant.fsc_of_relions_map("ideal", ctf.Aberrations(), {})
    told = aberrant.fsc_of_relions_map(case, aberrations, columns)
    untold = aberrant.fsc_of_relions_map(f"{case}_untold", aberrations, {})
    # Told of the aberration, RELION's map is as good as that of an ideal microscope; untold, it is not.
    assert ideal > 0.97
    assert told == pytest.approx(ideal, abs=0.01)
    assert untold < ideal - 0.1
