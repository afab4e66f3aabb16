"""What a camera is, and cameras as data, each number with its source or marked assumed; no simulation lives here.

Lengths are in physical pixels of the sensor, "grey" is the unit of what the camera writes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cryoframe.errors import InvalidInput

#: (weight, standard deviation [px]) of each Gaussian of a spread; weights sum to 1.
Spread = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Camera:
    """A camera for transmitted electrons.

    Parameters
    ----------
    name
        Of the preset.
    counting
        Counts events; integrates charge otherwise.
    n_rows, n_columns, pixel_size_um
        The sensor.
    frame_rate_1_s
        Internal frames a second, in which events are told apart.
    detection_frac
        Fraction of electrons that leave a signal.
    spread
        How far from its place of entry an electron is recorded, at random: lowers the MTF, not the noise.
    blur_sigma_px
        Every recorded electron is spread alike: lowers the MTF and the noise, not the DQE.
    cloud_sigma_px, threshold_frac, neighbours
        Counting only: width of an electron's charge; what a pixel must hold to count, of the most probable charge;
        which pixels that touch are one event: by side or corner (8), by side (4), none (0).
    energy_width_frac
        Width of the Landau-like (Moyal) law of deposited energy, of the most probable energy; 0 for none.
    energy_variance
        Integrating only, where `energy_width_frac` is 0: variance of a gamma law of mean 1.
    gain_grey, read_noise_grey
        Integrating only: grey values an electron and standard deviation of the readout.
    super_resolution
        Counts are written on pixels of 1/1 or 1/2 of the sensor's.
    sources
        Pairs of names of numbers and where these are from: what was read, or "assumed: …".
    """

    name: str
    counting: bool
    n_rows: int
    n_columns: int
    pixel_size_um: float
    frame_rate_1_s: float
    detection_frac: float
    spread: Spread
    blur_sigma_px: float = 0.0
    cloud_sigma_px: float = 0.0
    threshold_frac: float = 0.1
    neighbours: int = 8
    energy_width_frac: float = 0.0
    energy_variance: float = 0.0
    gain_grey: float = 1.0
    read_noise_grey: float = 0.0
    super_resolution: int = 1
    sources: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if abs(sum(weight for weight, _ in self.spread) - 1.0) > 1e-6 or any(s < 0 or w < 0 for w, s in self.spread):
            raise InvalidInput(
                f"camera {self.name} has the spread {self.spread}",
                expected="pairs (weight, standard deviation [px]), not negative, with weights that sum to 1",
            )
        if not 0.0 < self.detection_frac <= 1.0 or not self.frame_rate_1_s > 0.0:
            raise InvalidInput(
                f"camera {self.name} detects {self.detection_frac} of all electrons at {self.frame_rate_1_s} frames/s",
                expected="a fraction in (0, 1] and a rate above 0",
            )
        if self.super_resolution not in (1, 2) or (
            self.super_resolution == 2 and not (self.neighbours and self.counting)
        ):
            raise InvalidInput(
                f"camera {self.name} has super-resolution {self.super_resolution}",
                expected="1, or 2 for a counting camera that joins pixels to events",
            )
        if self.neighbours not in (0, 4, 8):
            raise InvalidInput(f"camera {self.name} joins {self.neighbours} neighbours", expected="0, 4 or 8")
        if not 0.0 <= self.cloud_sigma_px <= 0.6 or not 0.0 < self.threshold_frac <= 0.2:
            raise InvalidInput(
                f"camera {self.name} has a cloud of {self.cloud_sigma_px} px and the threshold {self.threshold_frac}",
                expected="a cloud of at most 0.6 px (it is kept on 3 × 3 pixels) and a threshold in (0, 0.2], so that"
                " an electron in the corner of four pixels still counts",
            )

    def check_counting(self, counting: bool) -> None:
        """Refuse a camera that does not count, or does not integrate, where that is asked for."""
        if self.counting is not counting:
            raise InvalidInput(
                f"camera {self.name} {'counts' if self.counting else 'integrates'}",
                expected=f"one that {'counts' if counting else 'integrates'}",
            )


_K2_MTF = (
    "three Gaussians and the pixel fitted, to 0.011, to file data/mtf_k2_300kV.star of RELION (github 3dem/relion), "
    "exact to 0.001 at half Nyquist (0.733) and Nyquist (0.388)"
)
_CLOUD = "assumed: charge of 3 × 3 pixels at most, see McMullan et al. 2009, doi 10.1016/j.ultramic.2009.05.005"
_NEIGHBOURS = (
    "assumed: with the cloud such that 0.9 of the electrons are counted at 8 e/px/s, as a K2 does by "
    "emg.nysbc.org/projects/leginon/wiki/K2_camera_sensitivity"
)
_MOYAL = "assumed: thin silicon, Landau-like; Moyal 1955, doi 10.1080/14786440308521076"
_THRESHOLD = "assumed: below a quarter of the least deposit, so that no place in a pixel counts less"


def _counting(
    name: str,
    sensor: tuple[int, int, float],
    frame_rate_1_s: float,
    detection_frac: float,
    spread: Spread,
    *,
    sources: Mapping[str, str],
    blur_sigma_px: float = 0.0,
    super_resolution: int = 1,
    neighbours: int = 8,
) -> Camera:
    common_sources = {
        "cloud_sigma_px": _CLOUD,
        "threshold_frac": _THRESHOLD,
        "neighbours": _NEIGHBOURS,
        "energy_width_frac": _MOYAL,
        "super_resolution": "choice of the operator",
    }
    return Camera(
        name,
        True,
        *sensor,
        frame_rate_1_s,
        detection_frac,
        spread,
        blur_sigma_px=blur_sigma_px,
        cloud_sigma_px=0.15,
        threshold_frac=0.1,
        neighbours=neighbours,
        energy_width_frac=0.2,
        super_resolution=super_resolution,
        sources=tuple({**common_sources, **sources}.items()),
    )


def _k2(name: str, super_resolution: int) -> Camera:
    return _counting(
        name,
        (3710, 3838, 5.0),
        400.0,
        0.80,
        ((1.0 - 0.12367 - 0.06231, 0.24666), (0.12367, 0.77344), (0.06231, 14.34)),
        super_resolution=super_resolution,
        sources={
            "n_rows, n_columns, pixel_size_um": "assumed: as known of the camera; 400 × 3838 × 3710 is the 5.7 Gpx/s"
            " of the K2 Summit user's guide, p. 11",
            "frame_rate_1_s": "K2 Summit user's guide (Gatan), p. 11: 400 frames/s",
            "detection_frac": "assumed: near the DQE(0) of McMullan et al. 2014, doi 10.1016/j.ultramic.2014.08.002",
            "spread": _K2_MTF,
        },
    )


def _k3(name: str, super_resolution: int) -> Camera:
    return _counting(
        name,
        (4092, 5760, 5.0),
        1500.0,
        0.87,
        ((0.96, 0.10), (0.04, 8.0)),
        super_resolution=super_resolution,
        sources={
            "n_rows, n_columns, pixel_size_um": "assumed: as known of the camera and of the files it writes",
            "frame_rate_1_s": "assumed: 1500 frames/s without correlated double sampling, as the maker states",
            "detection_frac": "assumed: DQE(0) 0.87",
            "spread": "assumed: such that DQE at half Nyquist, counting, is 0.63; share of backscattering as K2",
        },
    )


def _falcon_3() -> Camera:
    return _counting(
        "falcon_3",
        (4096, 4096, 14.0),
        40.0,
        0.92,
        ((0.932, 0.15), (0.068, 1.53)),
        blur_sigma_px=0.539,
        neighbours=4,
        sources={
            "neighbours": "assumed: wide pixels keep the charge of an electron together",
            "n_rows, n_columns, pixel_size_um": "assumed: as known of the camera",
            "frame_rate_1_s": "assumed: 40 frames/s, as the maker states",
            "detection_frac": "assumed: DQE(0) 0.92",
            "spread": "assumed: such that DQE at half Nyquist is 0.62; wide part from the fit of blur_sigma_px",
            "blur_sigma_px": "pixel, spread and blur together fitted, to 0.02, to file data/mtf_falcon3EC_300kV.star of"
            " RELION (github 3dem/relion); how much of it is blur is assumed with spread",
        },
    )


def _falcon_4i() -> Camera:
    return _counting(
        "falcon_4i",
        (4096, 4096, 14.0),
        320.0,
        0.92,
        ((0.9735, 0.12), (0.0265, 3.337)),
        blur_sigma_px=0.621,
        neighbours=4,
        sources={
            "neighbours": "assumed: wide pixels keep the charge of an electron together",
            "n_rows, n_columns, pixel_size_um": "assumed: as known of the camera and of the files it writes",
            "frame_rate_1_s": "assumed: 320 frames/s, as the maker states",
            "detection_frac": "assumed: DQE(0) 0.92",
            "spread": "assumed: such that DQE at half Nyquist is 0.68; wide part from the fit of blur_sigma_px",
            "blur_sigma_px": "pixel, spread and blur together fitted, to 0.005, to file data/mtf_falcon4EC_300kV.star"
            " of RELION (github 3dem/relion), taken for 4i; how much of it is blur is assumed; 0 for events (EER)",
        },
    )


def _integrating_ccd() -> Camera:
    return Camera(
        "integrating_ccd",
        False,
        4096,
        4096,
        15.0,
        1.0,
        1.0,
        ((0.7, 0.6), (0.3, 2.5)),
        blur_sigma_px=0.5,
        energy_variance=1.2,
        gain_grey=20.0,
        read_noise_grey=2.0,
        sources=tuple(
            {
                "n_rows, n_columns, pixel_size_um": "assumed",
                "frame_rate_1_s": "assumed; of no effect on an integrating camera",
                "detection_frac": "assumed: an electron always makes light",
                "spread": "assumed: electrons scatter in the phosphor; DQE at half Nyquist far below 0.3 at 300 kV,"
                " as the CCD of McMullan et al. 2009, doi 10.1016/j.ultramic.2009.04.002",
                "blur_sigma_px": "assumed: spread of light in phosphor and fibres",
                "energy_variance": "assumed: DQE(0) 0.45",
                "gain_grey": "assumed",
                "read_noise_grey": "assumed: a tenth of an electron",
            }.items()
        ),
    )


def cameras() -> dict[str, Camera]:
    """Every preset by name."""
    presets = (
        _k2("k2", 1),
        _k2("k2_super", 2),
        _k3("k3", 1),
        _k3("k3_super", 2),
        _falcon_3(),
        _falcon_4i(),
        _integrating_ccd(),
    )
    return {camera.name: camera for camera in presets}


def camera_named(name: str) -> Camera:
    """Return the preset called `name`.

    Raises
    ------
    InvalidInput
        There is none; those there are are named.
    """
    presets = cameras()
    if name not in presets:
        raise InvalidInput(f"no camera is called {name!r}", expected=f"one of {', '.join(presets)}")
    return presets[name]
