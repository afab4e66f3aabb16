"""Physics checks of what says where a micrograph can be used: carbon, a clean hole, grain. Stains are in truth."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from cryoframe.errors import CryoframeError
from cryoframe.testing.checks.promise import Check, fail
from cryoframe.testing.phantoms import PIXEL_A
from cryoframe.testing.sessions import Session

HOOK: Final = ("clean_micrograph",)
WORDS: Final = ("good", "contaminated", "crystalline", "empty")


def carbon_masked(session: Session) -> None:
    """Beyond the hole's edge the carbon is marked, and most of the hole is not."""
    case = session.case("carbon")
    assert case is not None
    carbon, usable = np.asarray(case.truth), by_pixel(_of(session, "carbon"), case.truth.shape)
    if usable[carbon].mean() > 0.15:
        fail(f"{100 * usable[carbon].mean():.0f} % of the carbon is usable", expected="at most 15 %")
    if usable[~carbon].mean() < 0.7:
        fail(f"{100 * usable[~carbon].mean():.0f} % of the hole is usable", expected="at least 70 %")


def clean_field_kept(session: Session) -> None:
    """A hole of nothing but particles is left alone, and called good."""
    found = _of(session, "clean")
    if found.verdict != "good" or found.usable_frac < 0.9:
        fail(
            f"a clean hole is called '{found.verdict}', {100 * found.usable_frac:.0f} % of it usable",
            expected="good, at least 90 %",
        )


def grain_called_empty(session: Session) -> None:
    """Nothing but grain is called empty, or refused."""
    try:
        found = _of(session, "noise")
    except CryoframeError:
        return
    if found.verdict == "good":
        fail("nothing but grain is called good", expected="empty: there is nothing in it to pick")


def verdict_consistent(session: Session) -> None:
    """The verdict is one of four words, and the share that is usable is that of the squares."""
    for variant in ("clean", "carbon"):
        found = _of(session, variant)
        if found.verdict not in WORDS:
            fail(f"its verdict is '{found.verdict}'", expected=f"one of {', '.join(WORDS)}")
        usable = np.asarray(found.usable)
        if usable.ndim != 2 or usable.min() < 0.0 or usable.max() > 1.0:
            fail(f"usable is {usable.shape}, {usable.min():g} to {usable.max():g}", expected="(gy, gx), 0 to 1")
        if abs(float(usable.mean()) - found.usable_frac) > 0.02:
            fail(
                f"usable_frac = {found.usable_frac:.2f} where the squares' mean is {usable.mean():.2f}",
                expected="the share of the squares that are usable",
            )


def by_pixel(found: Any, shape: tuple[int, int]) -> npt.NDArray[np.float32]:
    """How usable each pixel is, `(ny, nx)`; beyond the last square as the last is."""
    usable = np.asarray(found.usable, dtype=np.float32)
    rows, columns = (
        np.minimum((np.arange(length) * PIXEL_A / found.tile_A).astype(int), n - 1)
        for length, n in zip(shape, usable.shape, strict=True)
    )
    return usable[np.ix_(rows, columns)]


def _of(session: Session, variant: str) -> Any:
    return session.remember(f"verdict of {variant}", lambda: session.call(variant, inputs=session.suited(variant)))


CHECKS = (
    Check(carbon_masked, hooks=HOOK, variant="carbon"),
    Check(clean_field_kept, hooks=HOOK, variant="clean"),
    Check(grain_called_empty, hooks=HOOK, variant="noise"),
    Check(verdict_consistent, hooks=HOOK, variant="clean"),
)
