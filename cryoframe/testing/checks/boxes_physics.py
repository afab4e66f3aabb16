"""Physics checks of extraction: normalised background, boxes that leave the micrograph, pixel of the boxes.

What a box shows, its contrast and its centre are in ``truth`` and ``orientation``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import numpy as np

from cryoframe.testing.checks.promise import Check, fail
from cryoframe.testing.fakes import Listener
from cryoframe.testing.sessions import Session

HOOK: Final = ("extract_particles",)
#: Mean and deviation of what lies outside the particle, over all boxes; background holds neighbours' rings, too.
MEAN, SD = 0.1, (0.8, 1.25)


def background_normalised(session: Session) -> None:
    """Outside the particle a box has mean 0 and deviation 1."""
    images = np.asarray(session.house_result().images, dtype=np.float64)
    n = images.shape[-1]
    y, x = np.indices((n, n)) - n // 2
    outside = np.hypot(y, x) > 0.48 * n
    mean, spread = images[:, outside].mean(axis=1), images[:, outside].std(axis=1)
    if np.abs(mean).max() > 3.0 * MEAN or abs(float(np.median(mean))) > MEAN:
        fail(
            f"outside the particle boxes have means from {mean.min():.2f} to {mean.max():.2f}",
            expected="0: each box by its own background",
        )
    if not SD[0] < float(np.median(spread)) < SD[1]:
        fail(
            f"outside the particle boxes have a deviation of {np.median(spread):.2f}",
            expected="1: the unit of the images is the noise's deviation",
        )


def grey_scale_free(session: Session) -> None:
    """Boxes do not depend on offset and scale of the micrograph's grey values."""
    inputs = dict(session.suited() or session.inputs())
    micrograph = inputs["micrograph"]
    other = replace(micrograph, data=(7.0 * micrograph.data + 300.0).astype(np.float32))
    result = session.call(inputs={**inputs, "micrograph": other})
    first = np.asarray(session.nominal().result.images, dtype=np.float64)
    if result.images.shape != first.shape:
        fail(f"from other grey values it makes {result.images.shape}", expected=f"{first.shape}")
    off = float(np.abs(np.asarray(result.images) - first).max())
    if off > 0.02:
        fail(f"boxes from grey values 7·g + 300 differ by up to {off:.2f}", expected="the same after normalising")


def edge_said(session: Session) -> None:
    """A pick whose box leaves the micrograph is dropped and said so, or filled with what could be specimen."""
    listener = Listener()
    result = session.call("edge", listener=listener, inputs=session.suited("edge"))
    case = session.case("edge")
    assert case is not None
    outer: set[int] = case.truth
    given = set(case.inputs["particles"].column("particle_id").tolist())
    rows = {item: row for row, item in enumerate(result.particles.column("particle_id").tolist())}
    if lost := (given - outer) - set(rows):
        fail(f"{len(lost)} particles far from every edge are gone", expected="only those whose box leaves the image")
    if silent := outer - set(rows) - set(listener.dropped):
        fail(f"{len(silent)} of {len(outer)} particles at the edge are gone without a word", remedy="Say ctx.drop.")
    for item in outer & set(rows):
        image = np.asarray(result.images[rows[item]])
        # A plane may have been subtracted, so that one value shows as a slope without grain.
        blank = max(float(np.mean(np.abs(np.diff(image, n=2, axis=axis)) < 1e-3)) for axis in (0, 1))
        if blank > 0.1:
            fail(
                f"{100 * blank:.0f} % of a box at the edge is without grain",
                expected="specimen, or its mirror image: averages show where boxes were filled",
                remedy="Drop the particle with ctx.drop, or mirror what is missing.",
            )


def pixel_told(session: Session) -> None:
    """The boxes' pixel is told alike by stack and rows, and goes with their size."""
    result, inputs = session.nominal().result, session.inputs()
    pixel_A, n = inputs["micrograph"].pixel_size_A, result.images.shape[-1]
    table: Any = result.particles
    if "pixel_size_A" in table.names and not np.allclose(table.floats("pixel_size_A"), result.pixel_size_A, rtol=1e-5):
        fail(
            f"rows say {table.floats('pixel_size_A')[0]:g} Å, the stack {result.pixel_size_A:g} Å", expected="the same"
        )
    if "box_px" in table.names and not (table.column("box_px") == n).all():
        fail(f"rows say box_px = {table.column('box_px')[0]}, the boxes have {n} px", expected="the same")
    if result.pixel_size_A < pixel_A * (1.0 - 1e-5):
        fail(f"the boxes' pixel is {result.pixel_size_A:g} Å", expected=f"the micrograph's {pixel_A:g} Å, or larger")


CHECKS = (
    Check(background_normalised, hooks=HOOK),
    Check(grey_scale_free, hooks=HOOK),
    Check(edge_said, hooks=HOOK, variant="edge"),
    Check(pixel_told, hooks=HOOK),
)
