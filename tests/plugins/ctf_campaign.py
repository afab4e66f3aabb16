"""Fits of the bench's simulated sums of known CTF, by the thousand; run as a program it prints the campaign's table.

python tests/plugins/ctf_campaign.py 2000 --method spectrum
python tests/plugins/ctf_campaign.py 800 --kind bad
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np

from cryoframe import CtfFit, StageContext
from cryoframe.bench.ctf_fields import SEED, TROUBLES, VOLTAGE_KV, Field, drawn, micrograph_of, tilted
from cryoframe.numerics import ice
from cryoframe_ctf import plugin, profile


def bad(index: int, *, seed: int = SEED) -> Field:
    """Field of which nothing should be accepted: each trouble in turn, all else drawn as in a session."""
    # Numbers far from those of a session, so that no bad field is counted twice.
    field = drawn(10**6 + index, seed=seed, kinds=False)
    return dataclasses.replace(field, kind=TROUBLES[index % len(TROUBLES)][0])


def large(index: int, *, seed: int = SEED) -> Field:
    """Good field of 2048², whose rings tell more of the ice."""
    return dataclasses.replace(drawn(index, seed=seed, kinds=False), shape=(2048, 2048), n_particles=150)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What was found of one field."""

    field: Field
    fit: CtfFit
    cpu_s: float
    intensity_thickness_A: float

    @property
    def error_frac(self) -> float:
        """Relative error of the mean defocus."""
        return 0.5 * (self.fit.defocus_u_A + self.fit.defocus_v_A) / self.field.defocus_A - 1.0

    @property
    def astigmatism_error_A(self) -> float:
        """Length of the difference of the astigmatisms as vectors of twice their angles."""
        found = (self.fit.defocus_u_A - self.fit.defocus_v_A) * np.exp(2j * np.radians(self.fit.defocus_angle_deg))
        return float(abs(found - self.field.astigmatism_A * np.exp(2j * np.radians(self.field.angle_deg))))

    @property
    def tilt_error_deg(self) -> float:
        """Angle between the true and the found plane; what tells no tilt is off by all of it."""
        tilt = self.fit.tilt_deg
        found = slopes(tilt, self.fit.tilt_axis_deg or 0.0) if tilt is not None else np.zeros(2)
        truth = slopes(self.field.tilt_deg, self.field.axis_deg)
        cosine = (1.0 + truth @ found) / np.sqrt((1.0 + truth @ truth) * (1.0 + found @ found))
        return float(np.degrees(np.arccos(min(cosine, 1.0))))

    @property
    def is_false(self) -> bool:
        """Accepted, and it ought not to have been."""
        return self.fit.accepted and (not self.field.is_good or abs(self.error_frac) > 0.05)


def slopes(tilt_deg: float, axis_deg: float) -> np.ndarray:
    """By how much the defocus rises along x and y, Å per Å."""
    axis = np.radians(axis_deg)
    return np.tan(np.radians(tilt_deg)) * np.array([-np.sin(axis), np.cos(axis)])


def fitted(field: Field, method: ModuleType = plugin, **settings: float) -> Outcome:
    """Make a field and fit it; the thickness by intensity needs no fit of its own."""
    micrograph = micrograph_of(field)
    started = time.process_time()
    params = method.Params(**settings)
    fit = method.estimate_ctf(micrograph=micrograph, params=params, ctx=StageContext(Path("unused")))
    seconds = time.process_time() - started
    free_path_A = ice.inelastic_mean_free_path_A(VOLTAGE_KV)
    by_intensity = free_path_A * np.log(field.vacuum_grey / float(micrograph.data.mean(dtype=np.float64)))
    return Outcome(field, fit, seconds, float(by_intensity))


def quantile(values: Sequence[float] | np.ndarray, at: float) -> float:
    """Quantile, NaN of nothing."""
    return float(np.quantile(values, at)) if len(values) else float("nan")


def share(truths: Sequence[bool] | np.ndarray) -> float:
    """Share of 1 that is true, NaN of nothing."""
    return float(np.mean(truths)) if len(truths) else float("nan")


def bound_95(outcomes: Sequence[Outcome]) -> float:
    """Upper 95 % bound on the share of bad fields that is accepted: Clopper & Pearson, by bisection."""
    bad_ones = [one.fit.accepted for one in outcomes if not one.field.is_good]
    n, seen = len(bad_ones), sum(bad_ones)
    if n == 0 or seen == n:
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(50):
        p = 0.5 * (low + high)
        at_most = sum(math.comb(n, k) * p**k * (1.0 - p) ** (n - k) for k in range(seen + 1))
        low, high = (p, high) if at_most > 0.05 else (low, p)
    return high


def table(outcomes: Iterable[Outcome]) -> dict[str, float]:
    """Figures of a campaign; shares are of 1, errors of the accepted."""
    every = list(outcomes)
    good = [one for one in every if one.field.is_good]
    accepted = [one for one in good if one.fit.accepted]
    errors = np.array([abs(one.error_frac) for one in accepted])
    told = [one for one in accepted if one.fit.ice_thickness_A is not None]
    thickness = np.array([abs((one.fit.ice_thickness_A or 0.0) - one.field.thickness_A) for one in told])
    by_intensity = np.array([abs(one.intensity_thickness_A - one.field.thickness_A) for one in good])
    return {
        "fields": len(every),
        "good": len(good),
        "good_accepted_frac": len(accepted) / max(len(good), 1),
        "bad_accepted": sum(one.fit.accepted for one in every if not one.field.is_good),
        "false_accepted_frac": sum(one.is_false for one in every) / max(sum(one.fit.accepted for one in every), 1),
        "bad_accepted_bound_95_frac": bound_95(every),
        "median_error_frac": quantile(errors, 0.5),
        "p99_error_frac": quantile(errors, 0.99),
        "largest_error_frac": quantile(errors, 1.0),
        "median_astigmatism_error_A": quantile([one.astigmatism_error_A for one in accepted], 0.5),
        "tilt_told_frac": share([one.fit.tilt_deg is not None for one in accepted]),
        "largest_tilt_error_deg": quantile([one.tilt_error_deg for one in accepted], 1.0),
        "tilt_within_3_deg_frac": share([one.tilt_error_deg <= 3.0 for one in accepted]),
        "thickness_told_frac": len(told) / max(len(accepted), 1),
        "thickness_median_error_A": quantile(thickness, 0.5),
        "thickness_within_50A_frac": share(thickness <= 50.0),
        "intensity_thickness_median_error_A": quantile(by_intensity, 0.5),
        "intensity_thickness_within_50A_frac": share(by_intensity <= 50.0),
        "cpu_s": float(np.mean([one.cpu_s for one in every])),
    }


#: What the fields of a campaign are drawn by.
KINDS = {"session": drawn, "bad": bad, "large": large, "tilted": tilted}


def main() -> None:
    """Run a campaign and write its table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("n_fields", type=int)
    parser.add_argument("--method", choices=("spectrum", "profile"), default="spectrum")
    parser.add_argument("--first", type=int, default=0, help="number of the first field; others are other fields")
    parser.add_argument(
        "--kind", choices=tuple(KINDS), default="session", help="bad: nothing but what is to be refused"
    )
    chosen = parser.parse_args()
    method = plugin if chosen.method == "spectrum" else profile
    outcomes = []
    for index in range(chosen.n_fields):
        outcomes.append(fitted(KINDS[chosen.kind](chosen.first + index), method))
        last = outcomes[-1]
        if last.is_false or (last.fit.accepted and last.field.is_good and abs(last.error_frac) > 0.03):
            sys.stdout.write(f"{last.field}: {100 * last.error_frac:+.1f} %, {last.fit.confidence_frac:.3f}\n")
        if (index + 1) % 250 == 0 or index + 1 == chosen.n_fields:
            lines = "\n".join(f"{name:>36} {value:.4g}" for name, value in table(outcomes).items())
            sys.stdout.write(f"{chosen.method}, {chosen.kind}\n{lines}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
