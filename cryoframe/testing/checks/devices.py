"""The check of a plugin that computes on two kinds of device; everything else is asked on the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np

from cryoframe.kernel.device import cuda_devices
from cryoframe.testing import anatomy
from cryoframe.testing.checks.promise import Check, NotAsked, fail
from cryoframe.testing.sessions import Session

#: Largest difference of a value, as a fraction of the largest value beside it: single precision, summed in any order.
TOLERANCE = 1e-3


def cpu_equals_gpu(session: Session) -> None:
    """Where it declares a GPU beside the CPU, both give the same result but for rounding."""
    if not {"cpu", "cuda"} <= set(session.plugin.devices):
        raise NotAsked(f"it declares {' and '.join(session.plugin.devices)} only")
    count, absence = cuda_devices()
    if not count:
        raise NotAsked(absence)
    compare(session.nominal().result, session.call(device="cuda:0", inputs=session.suited()))


def compare(on_cpu: Any, on_gpu: Any) -> None:
    """Fail where a number of one result is not near the same number of the other."""
    theirs = dict(anatomy.arrays(on_gpu))
    for place, mine in anatomy.arrays(on_cpu):
        other = theirs.get(place)
        if other is None or other.shape != mine.shape:
            fail(f"{place} is {mine.shape} on the CPU and not on the GPU", expected="the same shape")
        if mine.dtype.kind == "f" and mine.size:
            scale = float(np.nanmax(np.abs(mine))) or 1.0
            wrong = float(np.mean(~np.isclose(mine, other, rtol=0, atol=TOLERANCE * scale, equal_nan=True)))
            if wrong > 0.01:
                fail(f"{100 * wrong:.0f} % of {place} differ between CPU and GPU", expected="at most 1 %")


CHECKS = (Check(cpu_equals_gpu),)
