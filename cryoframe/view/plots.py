"""Numbers → SVG: curves, histograms, the orientation sphere, an image with marks. Text out; no files.

The colours are distinguishable in print and for colour-blind readers (Okabe & Ito 2008, jfly.uni-koeln.de/color).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cryoframe.view import pictures

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 520, 312, 62, 44, 24, 14


@dataclass(frozen=True)
class Curve:
    """One line of a plot."""

    name: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]


@dataclass(frozen=True)
class Axes:
    """Labels and limits of a plot; `spacing` labels the x axis with 1/x, as Fourier plots are read."""

    x_label: str
    y_label: str
    y_limits: tuple[float, float] | None = None
    spacing: bool = False


def line_plot(curves: Sequence[Curve], axes: Axes, *, levels: Sequence[tuple[float, str]] = ()) -> str:
    """Draw curves; `levels` are dashed horizontal lines with a name."""
    drawn = [_finite(curve) for curve in curves]
    drawn = [curve for curve in drawn if len(curve.x)]
    if not drawn:
        return "<p>No finite values to draw.</p>"
    x_low, x_high = min(c.x.min() for c in drawn), max(c.x.max() for c in drawn)
    y_low, y_high = axes.y_limits or (min(c.y.min() for c in drawn), max(c.y.max() for c in drawn))
    scale = _Scale(float(x_low), float(x_high), float(y_low), float(y_high))
    parts = [_frame(scale, axes)]
    for value, name in levels:
        y = scale.y(value)
        parts.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" class="level"/>')
        parts.append(f'<text x="{WIDTH - RIGHT - 3}" y="{y - 3:.1f}" class="end">{escape(name)}</text>')
    for index, curve in enumerate(drawn):
        colour = COLOURS[index % len(COLOURS)]
        points = " ".join(f"{scale.x(x):.1f},{scale.y(y):.1f}" for x, y in zip(curve.x, curve.y, strict=True))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.8"/>')
        parts.append(
            f'<text x="{LEFT + 150 * index}" y="{TOP - 7}" style="fill:{colour}">— {escape(curve.name)}</text>'
        )
    return _svg("".join(parts))


def histogram(values: ArrayLike, axes: Axes, *, n_bins: int = 40) -> str:
    """Draw a histogram of finite values as bars."""
    data = np.asarray(values, dtype=np.float64)
    data = data[np.isfinite(data)]
    if not data.size:
        return "<p>No values.</p>"
    counts, edges = np.histogram(data, bins=n_bins)
    scale = _Scale(float(edges[0]), float(edges[-1]), 0.0, float(max(counts.max(), 1)))
    bars = "".join(
        f'<rect x="{scale.x(a):.1f}" y="{scale.y(c):.1f}" width="{max(scale.x(b) - scale.x(a) - 0.6, 0.5):.1f}" '
        f'height="{scale.y(0) - scale.y(c):.1f}" fill="{COLOURS[0]}"/>'
        for a, b, c in zip(edges[:-1], edges[1:], counts, strict=True)
    )
    return _svg(_frame(scale, axes) + bars)


def orientation_plot(rot_deg: ArrayLike, tilt_deg: ArrayLike, *, n_bins: int = 24) -> str:
    """Draw viewing directions on the sphere in Mollweide's equal-area projection, darker where there are more.

    Parameters
    ----------
    rot_deg, tilt_deg
        `(n,)` Euler angles; the direction is (sin tilt cos rot, sin tilt sin rot, cos tilt).

    References
    ----------
    Snyder 1987, "Map projections: a working manual", USGS PP 1395, p. 249 (Mollweide).
    """
    rot = np.radians(np.asarray(rot_deg, dtype=np.float64))
    z = np.cos(np.radians(np.asarray(tilt_deg, dtype=np.float64)))
    counts, lat_edges, lon_edges = np.histogram2d(
        np.arcsin(np.clip(z, -1, 1)),
        (rot + np.pi) % (2 * np.pi) - np.pi,
        bins=(np.arcsin(np.linspace(-1, 1, n_bins + 1)), np.linspace(-np.pi, np.pi, 2 * n_bins + 1)),
    )
    peak = max(float(counts.max()), 1.0)
    cells = []
    for i, j in zip(*np.nonzero(counts), strict=True):
        corners = [_mollweide(lat_edges[i + a], lon_edges[j + b]) for a, b in ((0, 0), (0, 1), (1, 1), (1, 0))]
        text = " ".join(f"{260 + 88 * x:.1f},{138 - 88 * y:.1f}" for x, y in corners)
        opacity = 0.12 + 0.88 * counts[i, j] / peak
        cells.append(f'<polygon points="{text}" fill="{COLOURS[0]}" fill-opacity="{opacity:.2f}"/>')
    rim = f'<ellipse cx="260" cy="138" rx="{88 * 2 * math.sqrt(2):.1f}" ry="{88 * math.sqrt(2):.1f}" class="rim"/>'
    said = f"tilt on the left, rot −180…180° across; darkest cell: {int(peak)} particles"
    caption = f'<text x="260" y="296" class="mid">{said}</text>'
    return _svg(rim + _graticule() + "".join(cells) + caption)


def _graticule() -> str:
    """Draw circles of equal tilt and of equal rot, with their angles."""
    lines = []
    for tilt in (30, 60, 90, 120, 150):
        latitude = math.radians(90 - tilt)
        (x, y), (x_end, _) = _mollweide(latitude, -math.pi), _mollweide(latitude, math.pi)
        lines.append(
            f'<polyline points="{260 + 88 * x:.1f},{138 - 88 * y:.1f} {260 + 88 * x_end:.1f},{138 - 88 * y:.1f}" '
            f'class="grid"/><text x="{256 + 88 * x:.1f}" y="{142 - 88 * y:.1f}" class="end">{tilt}°</text>'
        )
    for rot in range(-180, 181, 60):
        points = (_mollweide(math.radians(90 - tilt), math.radians(rot)) for tilt in range(0, 181, 6))
        text = " ".join(f"{260 + 88 * x:.1f},{138 - 88 * y:.1f}" for x, y in points)
        lines.append(f'<polyline points="{text}" class="grid"/>')
    return "".join(lines)


def marked_image(
    image: NDArray[np.floating], x_px: ArrayLike, y_px: ArrayLike, *, radius_px: float, pixel_size_A: float = 0.0
) -> str:
    """Draw an image with a circle at each position and a scale bar; x to the right along columns, y down along rows."""
    small = pictures.shrink(image, 520)  # averaging away noise is what lets the eye see particles
    step = round(image.shape[0] / small.shape[0])
    marks = "".join(
        f'<circle cx="{(x + 0.5) / step:.1f}" cy="{(y + 0.5) / step:.1f}" r="{radius_px / step:.1f}" class="pick"/>'
        for x, y in zip(np.asarray(x_px), np.asarray(y_px), strict=True)
    )
    ny, nx = small.shape
    picture = f'<image width="{nx}" height="{ny}" href="{pictures.data_uri(pictures.stretch(small))}"/>'
    bar = ""
    if pixel_size_A > 0:
        length_A = max(
            value for value in (100, 200, 500, 1000, 2000, 5000) if value == 100 or value < nx * step * pixel_size_A / 3
        )
        length = length_A / pixel_size_A / step
        bar = (
            f'<rect x="8" y="{ny - 12}" width="{length:.1f}" height="4" class="bar"/>'
            f'<text x="8" y="{ny - 16}" style="fill:white;stroke:black;stroke-width:2.5px;paint-order:stroke">'
            f"{length_A // 10} nm</text>"
        )
    return f'<svg class="wide" viewBox="0 0 {nx} {ny}">{picture}{marks}{bar}</svg>'


@dataclass(frozen=True)
class _Scale:
    x_low: float
    x_high: float
    y_low: float
    y_high: float

    def x(self, value: float) -> float:
        return LEFT + (value - self.x_low) / max(self.x_high - self.x_low, 1e-12) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        share = (value - self.y_low) / max(self.y_high - self.y_low, 1e-12)
        return HEIGHT - BOTTOM - min(max(share, 0.0), 1.0) * (HEIGHT - BOTTOM - TOP)


def _frame(scale: _Scale, axes: Axes) -> str:
    parts = [
        f'<rect x="{LEFT}" y="{TOP}" width="{WIDTH - LEFT - RIGHT}" height="{HEIGHT - BOTTOM - TOP}" class="rim"/>'
    ]
    for value, name in spacing_ticks(scale) if axes.spacing else plain_ticks(scale.x_low, scale.x_high, 7):
        x = scale.x(value)
        parts.append(f'<line x1="{x:.1f}" y1="{HEIGHT - BOTTOM}" x2="{x:.1f}" y2="{HEIGHT - BOTTOM + 4}" class="rim"/>')
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 16}" class="mid">{name}</text>')
    for value, name in plain_ticks(scale.y_low, scale.y_high, 6):
        y = scale.y(value)
        parts.append(f'<line x1="{LEFT - 4}" y1="{y:.1f}" x2="{LEFT}" y2="{y:.1f}" class="rim"/>')
        parts.append(f'<text x="{LEFT - 7}" y="{y + 4:.1f}" class="end">{name}</text>')
    parts.append(f'<text x="{(LEFT + WIDTH) / 2}" y="{HEIGHT - 8}" class="mid">{escape(axes.x_label)}</text>')
    parts.append(
        f'<text transform="translate(13 {HEIGHT / 2 - 16}) rotate(-90)" class="mid">{escape(axes.y_label)}</text>'
    )
    return "".join(parts)


def plain_ticks(low: float, high: float, n_most: int) -> list[tuple[float, str]]:
    """Return positions and names of ticks at round numbers: steps of 1, 2 or 5 times a power of ten."""
    span = high - low
    if not span > 0:
        return [(low, f"{low:g}")]
    power = 10.0 ** math.floor(math.log10(span / n_most))
    step = next(power * factor for factor in (1, 2, 5, 10) if span / (power * factor) <= n_most)
    first = math.ceil(low / step - 1e-9)
    values = [index * step for index in range(first, math.floor(high / step + 1e-9) + 1)]
    return [(value, f"{round(value, 12):g}") for value in values]


def spacing_ticks(scale: _Scale) -> list[tuple[float, str]]:
    """Return ticks of a frequency axis named by their spacing, far enough apart to be read."""
    ticks: list[tuple[float, str]] = []
    for spacing in (
        100,
        50,
        30,
        20,
        15,
        12,
        10,
        8,
        7,
        6,
        5,
        4.5,
        4,
        3.5,
        3,
        2.5,
        2.2,
        2,
        1.8,
        1.6,
        1.5,
        1.4,
        1.3,
        1.2,
        1.1,
        1,
    ):
        x = 1 / spacing
        apart = not ticks or scale.x(x) - scale.x(ticks[-1][0]) > 30
        if scale.x_low <= x <= scale.x_high and apart:
            ticks.append((x, f"{spacing:g}"))
    return ticks


def _finite(curve: Curve) -> Curve:
    keep = np.isfinite(curve.x) & np.isfinite(curve.y)
    return Curve(curve.name, np.asarray(curve.x)[keep], np.asarray(curve.y)[keep])


def _mollweide(latitude: float, longitude: float) -> tuple[float, float]:
    theta = latitude
    for _ in range(20):  # Newton on 2θ + sin 2θ = π sin φ; slow only at the poles, where the cell is a point anyway
        slope = 2 + 2 * math.cos(2 * theta)
        if slope < 1e-9:
            break
        theta -= (2 * theta + math.sin(2 * theta) - math.pi * math.sin(latitude)) / slope
    return 2 * math.sqrt(2) / math.pi * longitude * math.cos(theta), math.sqrt(2) * math.sin(theta)


def _svg(body: str) -> str:
    return f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}">{body}</svg>'
