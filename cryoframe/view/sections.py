"""One report section a kind of product: picture, plot and the numbers under it. HTML text out; nothing is read here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from cryoframe.data.images import Classes2D, CorrectedMicrograph, CtfFit, ParticleStack
from cryoframe.data.maps import HalfMaps, LocalResolution, Mask, Volume
from cryoframe.data.results import Classes3D, Refinement, SharpenedMap
from cryoframe.data.tables import ClassTable, FscTable, ParticleTable
from cryoframe.numerics.fsc import resolution_at
from cryoframe.view import pictures, plots


@dataclass(frozen=True)
class Shown:
    """A product with what is needed to draw it."""

    name: str
    product: object
    #: The micrograph the product belongs to and its pixel, where there is one.
    micrograph: NDArray[np.float32] | None = None
    pixel_size_A: float = 1.0
    metrics: Mapping[str, tuple[float, str]] | None = None


#: Maps of classes that are drawn; all are in the table.
N_VOLUMES = 8
#: Ends of columns' names and how they are written.
_UNITS = (("_id", ""), ("_frac", ""), ("_deg", "[°]"), ("_A", "[Å]"))
_T = TypeVar("_T")
Section = Callable[[Shown], str]


def figure(body: str, caption: str) -> str:
    """Put a caption under a drawing."""
    return f"<figure>{body}<figcaption>{escape(caption)}</figcaption></figure>"


def picture(image: NDArray[np.uint8], *, pixelated: bool = False) -> str:
    """Return an 8-bit image as an ``img`` element."""
    style = ' class="pixels"' if pixelated else ""
    return f'<img{style} alt="" src="{pictures.data_uri(image)}"/>'


def facts(rows: Mapping[str, str]) -> str:
    """Return a two-column table."""
    body = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in rows.items())
    return f'<table class="facts">{body}</table>'


def corrected_micrograph(shown: Shown) -> str:
    """Draw the aligned sum and the track of the frames."""
    product = _as(shown.product, CorrectedMicrograph)
    motion = product.motion
    whole = np.isnan(motion.floats("patch_x_A"))
    axis = motion.floats("frame")[whole]
    track = [
        plots.Curve(name, axis, motion.floats(column)[whole])
        for name, column in (("x", "shift_x_A"), ("y", "shift_y_A"))
    ]
    image = picture(pictures.stretch(pictures.shrink(product.micrograph.data, 700)))
    drawn = plots.line_plot(track, plots.Axes("frame", "shift applied [Å]"))
    return figure(image, shown.name) + figure(drawn, "Shift that undoes the motion of each frame")


def ctf_fit(shown: Shown) -> str:
    """Draw spectrum beside fit, the ring profile, and the numbers."""
    fit = _as(shown.product, CtfFit)
    numbers = {
        "defocus U": f"{fit.defocus_u_A:.0f} Å", "defocus V": f"{fit.defocus_v_A:.0f} Å",
        "angle": f"{fit.defocus_angle_deg:.1f}°", "phase shift": f"{fit.phase_shift_deg:.1f}°",
        "rings to": f"{fit.fit_resolution_A:.1f} Å", "score": f"{fit.score:.3f}",
    }  # fmt: skip
    body = facts(numbers)
    if fit.spectrum is not None:
        image = pictures.stretch(fit.spectrum, low_frac=0.02, high_frac=0.995)
        body += figure(picture(image), f"{shown.name}: observed spectrum and fitted rings")
    if fit.profile is not None and len(fit.profile) >= 3:
        frequency, observed, fitted = np.asarray(fit.profile, dtype=np.float64)[:3]
        curves = [
            plots.Curve("observed, smoothed", frequency, smoothed(observed)),
            plots.Curve("fitted", frequency, fitted),
        ]
        body += figure(
            plots.line_plot(curves, plots.Axes("spacing [Å]", "background-subtracted", spacing=True)),
            "Rings averaged along lines of equal phase",
        )
    return body


def smoothed(values: NDArray[np.float64], width: int = 5) -> NDArray[np.float64]:
    """Average neighbours, so that rings stand out of the noise; the ends keep fewer neighbours."""
    kernel = np.ones(width)
    finite = np.nan_to_num(values)
    return np.asarray(np.convolve(finite, kernel, "same") / np.convolve(np.ones_like(finite), kernel, "same"))


def picks(shown: Shown) -> str:
    """Draw the picks on their micrograph and the histogram of their scores."""
    table = _as(shown.product, ParticleTable)
    if shown.micrograph is None or not table.has("position"):
        return f"<p>{len(table)} particles</p>"
    x, y = (table.floats(name) / shown.pixel_size_A for name in ("x_A", "y_A"))
    drawn = plots.marked_image(
        shown.micrograph, x, y, radius_px=max(_spacing(x, y) / 2, 8.0), pixel_size_A=shown.pixel_size_A
    )
    body = figure(drawn, f"{shown.name}: {len(table)} picks")
    if table.has("pick_quality"):
        scores = plots.histogram(table.floats("figure_of_merit"), plots.Axes("figure of merit", "picks"))
        body += figure(scores, "Scores of the picks")
    return body


def particle_stack(shown: Shown) -> str:
    """Draw the first particles."""
    stack = _as(shown.product, ParticleStack)
    if not len(stack.images):
        return "<p>no particles</p>"
    few = np.stack([pictures.shrink(image, 64) for image in stack.images[:32]])
    edge_nm = stack.images.shape[-1] * stack.pixel_size_A / 10
    caption = (
        f"{shown.name}: the first {len(few)} of {len(stack.images)} particles, boxes of {edge_nm:.0f} nm, "
        f"{stack.pixel_size_A:.2f} Å/px (drawn coarser)"
    )
    return figure(picture(pictures.montage(few, n_columns=16), pixelated=True), caption)


def classes_2d(shown: Shown) -> str:
    """Draw the class averages, the most populated first."""
    classes = _as(shown.product, Classes2D)
    sizes = classes.classes.floats("n_particles")
    order = np.argsort(-sizes, kind="stable")
    sheet = pictures.montage(np.asarray(classes.averages)[order], n_columns=min(10, len(order)))
    text = ", ".join(f"{int(size)}" for size in sizes[order])
    drawn = figure(
        picture(pictures.enlarge(sheet, 2), pixelated=True), f"{shown.name}: particles in each class: {text}"
    )
    return drawn + class_figures(classes.classes, order)


def class_figures(table: ClassTable, order: NDArray[np.intp]) -> str:
    """Return everything a class table says, a class a row, in this order of rows."""
    names = [name for name in table.names if name != "class_id"]
    heads = "".join(f"<th>{escape(_heading(name))}</th>" for name in ("class_id", *names))
    values = [table.column("class_id"), *(table.floats(name) for name in names)]
    rows = "".join(
        "<tr>" + "".join(f"<td>{_figure(column[row])}</td>" for column in values) + "</tr>" for row in order.tolist()
    )
    return f'<table class="facts"><tr>{heads}</tr>{rows}</table>'


def _heading(column: str) -> str:
    """Return a column's name as people write it, its unit in brackets."""
    for suffix, unit in _UNITS:
        if column.endswith(suffix):
            return f"{column.removesuffix(suffix).replace('_', ' ')} {unit}".rstrip()
    return column.replace("_", " ")


def _figure(value: float) -> str:
    return f"{int(value)}" if float(value).is_integer() else f"{value:.3g}"


def volume(shown: Shown) -> str:
    """Draw the three central slices and the three projections of a map."""
    return volume_slices(_as(shown.product, Volume), shown.name)


def volume_slices(shown: Volume, name: str) -> str:
    """Draw a map under its name and what it derives from."""
    return slices(np.asarray(shown.data), name + (f" ({shown.provenance})" if shown.provenance else ""))


def slices(data: NDArray[np.float32], name: str) -> str:
    """Draw central slices (upper row) and projections (lower row) along z, y and x."""
    middle = data.shape[0] // 2
    views = [data[middle], data[:, middle], data[:, :, middle], *(data.sum(axis=axis) for axis in range(3))]
    sheet = pictures.montage(np.stack(views), n_columns=3)
    factor = max(1, 600 // sheet.shape[1])
    return figure(
        picture(pictures.enlarge(sheet, factor), pixelated=True),
        f"{name}: central slices across z, y, x; below, projections along z, y, x",
    )


def fsc_curves(table: FscTable, name: str) -> str:
    """Draw the FSC curves that are there, with both usual thresholds."""
    frequency = table.floats("frequency_1_A")
    curves = [
        plots.Curve(column.removeprefix("fsc_"), frequency, table.floats(column))
        for column in ("fsc_unmasked", "fsc_masked", "fsc_corrected")
        if np.isfinite(table.floats(column)).any()
    ]
    axes = plots.Axes("spacing [Å]", "FSC", y_limits=(-0.1, 1.0), spacing=True)
    plot = plots.line_plot(curves, axes, levels=((0.143, "0.143"), (0.5, "0.5")))
    best = next(c for c in ("fsc_corrected", "fsc_masked", "fsc_unmasked") if np.isfinite(table.floats(c)).any())
    said = ", ".join(_crossing(frequency, table.floats(best), threshold) for threshold in (0.143, 0.5))
    caption = f"{name}: {best.removeprefix('fsc_')} half-map FSC {said}"
    return figure(plot, caption)


def _crossing(frequency: NDArray[np.float64], curve: NDArray[np.float64], threshold: float) -> str:
    """Say where a curve first falls below a threshold, or that it does not."""
    found = resolution_at(frequency, curve, threshold)
    if found.how == "never below":
        return f"stays above {threshold:g} to Nyquist ({found.resolution_A:.2f} Å)"
    return f"first falls below {threshold:g} at {found.resolution_A:.2f} Å"


def refinement(shown: Shown) -> str:
    """Draw map, FSC, orientations and the course of the refinement."""
    result = _as(shown.product, Refinement)
    table = result.particles
    body = volume_slices(result.volume, shown.name) + fsc_curves(result.fsc, shown.name)
    body += figure(plots.orientation_plot(table.column("rot_deg"), table.column("tilt_deg")), "Orientations")
    course = result.iterations
    if len(course):
        line = plots.Curve("resolution", course.floats("iteration"), course.floats("resolution_A"))
        body += figure(plots.line_plot([line], plots.Axes("iteration", "FSC 0.143 [Å]")), "Course of the refinement")
    return body


def sharpened(shown: Shown) -> str:
    """Draw a sharpened map and its corrected FSC."""
    result = _as(shown.product, SharpenedMap)
    body = facts({"B-factor applied": f"{result.b_factor_A2:.0f} Å²"})
    return body + volume_slices(result.volume, shown.name) + fsc_curves(result.fsc, shown.name)


def classes_3d(shown: Shown) -> str:
    """Draw the maps of the classes, the most populated first, and what their table says."""
    classes = _as(shown.product, Classes3D)
    sizes = classes.classes.floats("n_particles")
    order = np.argsort(-sizes, kind="stable")
    ids = classes.classes.column("class_id")
    drawn = [
        volume_slices(classes.volumes[row], f"{shown.name}, class {ids[row]}, {int(sizes[row])} particles")
        for row in order[:N_VOLUMES].tolist()
    ]
    return "".join(drawn) + class_figures(classes.classes, order)


def half_maps(shown: Shown) -> str:
    """Draw the first half-map."""
    return slices(np.asarray(_as(shown.product, HalfMaps).first.data), f"{shown.name}: first half")


def mask(shown: Shown) -> str:
    """Draw a mask."""
    return slices(np.asarray(_as(shown.product, Mask).data), shown.name)


def local_resolution(shown: Shown) -> str:
    """Draw central slices of the resolution on one scale, how it is spread, and the map that was low-passed by it."""
    product = _as(shown.product, LocalResolution)
    data = np.asarray(product.data, dtype=np.float64)
    # What is not resolved, or lies outside of the mask, has the coarsest value of all.
    resolved = data[data < 0.99 * data.max(initial=0.0)]
    if not resolved.size:
        return f"<p>{escape(shown.name)}: nothing is resolved.</p>"
    fine_A, coarse_A = (float(value) for value in np.quantile(resolved, (0.05, 0.95)))
    middle = data.shape[0] // 2
    views = [data[middle], data[:, middle], data[:, :, middle]]
    sheet = np.hstack([_shaded(view, fine_A, coarse_A, float(data.max())) for view in views])
    caption = (
        f"{shown.name}: resolution across z, y, x: white is {fine_A:.1f} Å or finer, dark grey {coarse_A:.1f} Å or "
        "coarser, black not resolved or outside of the mask"
    )
    body = figure(picture(pictures.enlarge(sheet, max(1, 600 // sheet.shape[1])), pixelated=True), caption)
    body += figure(plots.histogram(resolved, plots.Axes("resolution [Å]", "voxels")), "Resolved voxels")
    if product.filtered is not None:
        body += volume_slices(product.filtered, f"{shown.name}, low-passed voxel by voxel")
    return body


def _shaded(view: NDArray[np.float64], fine_A: float, coarse_A: float, unresolved_A: float) -> NDArray[np.uint8]:
    """Grey of a slice with a white line to its right."""
    part = np.clip((coarse_A - view) / max(coarse_A - fine_A, 1e-6), 0.0, 1.0)
    grey = np.where(view < 0.99 * unresolved_A, 60.0 + 195.0 * part, 0.0).astype(np.uint8)
    return np.pad(grey, ((0, 0), (0, 2)), constant_values=255)


SECTIONS: Mapping[type, Section] = {
    CorrectedMicrograph: corrected_micrograph, CtfFit: ctf_fit, ParticleTable: picks, ParticleStack: particle_stack,
    Classes2D: classes_2d, Volume: volume, Refinement: refinement, SharpenedMap: sharpened, HalfMaps: half_maps,
    Mask: mask, LocalResolution: local_resolution, Classes3D: classes_3d,
}  # fmt: skip


def draw(shown: Shown) -> str:
    """Draw a product by its kind; one without a section is named only."""
    section = SECTIONS.get(type(shown.product))
    if section is None:
        return f"<p>{escape(shown.name)}: {type(shown.product).__name__}</p>"
    return section(shown)


def table_of(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return an HTML table."""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _as(product: object, kind: type[_T]) -> _T:
    if not isinstance(product, kind):
        raise TypeError(f"{type(product).__name__} is not a {kind.__name__}")
    return product


def _spacing(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Smallest distance between two picks: a picker's minimum distance, near enough for drawing circles."""
    if len(x) < 2:
        return 0.0
    few = slice(0, 400)
    distance = np.hypot(x[few, None] - x[None, few], y[few, None] - y[None, few])
    return float(np.min(distance[distance > 0], initial=200.0))
