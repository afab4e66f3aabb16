"""Pictures decode to what went in; plots place points where they belong."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import imagecodecs
import numpy as np
import pytest

from cryoframe.data.images import Classes2D, CtfFit, ParticleStack
from cryoframe.data.maps import Volume
from cryoframe.data.tables import ClassTable, FscTable, ParticleTable
from cryoframe.view import pictures, plots, sections

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("shape", [(5, 7), (1, 1), (4, 3, 3)])
def test_a_png_decodes_to_the_same_pixels(shape) -> None:
    image = RNG.integers(0, 256, shape, dtype=np.uint8)
    np.testing.assert_array_equal(imagecodecs.png_decode(pictures.png(image)), image)


def test_stretch_maps_quantiles_to_black_and_white__and_survives_nan_and_constants() -> None:
    image = np.linspace(0, 1, 10000).reshape(100, 100)
    grey = pictures.stretch(image)
    assert (grey.min(), grey.max()) == (0, 255)
    image[0, 0] = np.nan
    assert pictures.stretch(image)[0, 0] == 0
    assert pictures.stretch(np.full((4, 4), 3.0)).max() == 0
    assert pictures.stretch(np.full((4, 4), np.nan)).max() == 0


def test_shrink_averages_blocks() -> None:
    image = np.arange(16, dtype=np.float32).reshape(4, 4)
    np.testing.assert_allclose(pictures.shrink(image, 2), [[2.5, 4.5], [10.5, 12.5]])


def test_a_montage_keeps_every_image_at_its_place() -> None:
    images = np.zeros((5, 4, 4))
    images[4, 0, 0] = 1.0
    sheet = pictures.montage(images, n_columns=3, gap_px=1)
    assert sheet.shape == (9, 14)
    assert sheet[5, 5] == 255


def test_a_line_plot_is_valid_svg_and_levels_lie_between_the_limits() -> None:
    x = np.linspace(0, 0.3, 50)
    axes = plots.Axes("spacing [Å]", "FSC", (0.0, 1.0), spacing=True)
    text = plots.line_plot([plots.Curve("a & b", x, 1 - x * 3)], axes, levels=((0.5, "0.5"),))
    root = ET.fromstring(text)
    line = next(e for e in root if e.attrib.get("class") == "level")
    top, bottom = plots.TOP, plots.HEIGHT - plots.BOTTOM
    assert float(line.attrib["y1"]) == pytest.approx((top + bottom) / 2, abs=0.1)
    assert ">10<" in text  # a tick named by its spacing
    assert "a &amp; b" in text


def test_a_plot_of_nothing_says_so() -> None:
    empty = plots.Curve("x", np.array([np.nan]), np.array([1.0]))
    assert "No finite values" in plots.line_plot([empty], plots.Axes("x", "y"))
    assert "No values" in plots.histogram([], plots.Axes("x", "y"))


def test_the_orientation_plot_puts_the_pole_on_top() -> None:
    north = plots.orientation_plot(np.zeros(10), np.zeros(10))
    south = plots.orientation_plot(np.zeros(10), np.full(10, 180.0))
    heights = [
        np.mean([float(v) for v in re.findall(r",([\d.]+)", re.search('<polygon points="([^"]+)"', t)[1])])
        for t in (north, south)
    ]
    assert heights[0] < 138 < heights[1]
    assert "10 particles" in north


def test_marks_scale_with_the_picture() -> None:
    text = plots.marked_image(RNG.normal(size=(2000, 1800)), [600.0], [1500.0], radius_px=60)
    found = re.search(r'<circle cx="([\d.]+)" cy="([\d.]+)" r="([\d.]+)"', text)
    assert [float(v) for v in found.groups()] == pytest.approx([600.5 / 4, 1500.5 / 4, 15.0], abs=0.06)


def particle_table(n: int) -> ParticleTable:
    return ParticleTable.from_columns(
        {"x_A": RNG.uniform(0, 100, n), "y_A": RNG.uniform(0, 100, n), "figure_of_merit": np.ones(n)}
    )


@pytest.mark.parametrize(
    "product",
    [
        CtfFit("m", 1e4, 9e3, 10.0, profile=np.ones((3, 9), np.float32), spectrum=np.ones((8, 8), np.float32)),
        particle_table(5),
        particle_table(0),
        ParticleStack(RNG.normal(size=(3, 8, 8)).astype(np.float32), particle_table(3), 1.0),
        ParticleStack(np.zeros((0, 8, 8), np.float32), particle_table(0), 1.0),
        Volume(RNG.normal(size=(8, 8, 8)).astype(np.float32), 1.0, provenance="reference-derived: <x>"),
        Classes2D(
            RNG.normal(size=(2, 8, 8)).astype(np.float32),
            ClassTable.from_columns(
                {"class_id": [0, 1], "n_particles": [3, 5], "resolution_A": [9.0, 8.0], "class_score": [1.0, 2.0]}
            ),
            particle_table(8), 1.0,
        ),
    ],
    ids=lambda p: type(p).__name__,
)  # fmt: skip
def test_each_product_is_drawn_as_well_formed_html(product: object) -> None:
    shown = sections.Shown("item <1>", product, np.ones((50, 50), np.float32), 2.0)
    html = sections.draw(shown)
    ET.fromstring(f"<div>{html}</div>")
    assert "<1>" not in html.replace("&lt;1&gt;", "")


def test_fsc_caption_names_both_thresholds() -> None:
    frequency = np.linspace(0.01, 0.2, 20)
    table = FscTable.from_columns(
        {
            "frequency_1_A": frequency, "fsc_unmasked": np.linspace(1, 0, 20), "fsc_masked": np.full(20, np.nan),
            "fsc_corrected": np.full(20, np.nan), "n_voxels": np.ones(20, dtype=np.int64),
        }
    )  # fmt: skip
    caption = sections.fsc_curves(table, "map")
    at_half = 1 / (0.01 + 0.19 * 0.5)
    assert f"0.5 at {at_half:.2f} Å" in caption


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-0.1, 1.0), (3.5, 6.43), (0, 162), (1e-7, 3e-7), (-5e6, 2e6)])
def test_ticks_are_round__few__and_inside(low: float, high: float) -> None:
    ticks = plots.plain_ticks(low, high, 6)
    values = [value for value, _ in ticks]
    assert 3 <= len(values) <= 7
    assert low - 1e-9 * abs(low) <= min(values)
    assert max(values) <= high + 1e-9 * abs(high)
    mantissa = (values[1] - values[0]) / 10 ** np.floor(np.log10(values[1] - values[0]) + 1e-9)
    assert min(abs(mantissa - step) for step in (1, 2, 5)) < 1e-6
    assert all(float(name) == pytest.approx(value, abs=1e-9 * (high - low)) for value, name in ticks)


def test_a_curve_that_never_falls_below_is_said_to_stay_above() -> None:
    frequency = np.linspace(0.01, 0.2, 20)
    table = FscTable.from_columns(
        {"frequency_1_A": frequency, "fsc_unmasked": np.full(20, 0.3), "fsc_masked": np.full(20, np.nan),
         "fsc_corrected": np.full(20, np.nan), "n_voxels": np.ones(20, dtype=np.int64)}
    )  # fmt: skip
    assert "stays above 0.143 to Nyquist (5.00 Å), first falls below 0.5" in sections.fsc_curves(table, "map")
