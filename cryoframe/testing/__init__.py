"""The conformance kit, phantoms and test card: proof that a plugin may be swapped. No other room imports it but cli."""

from __future__ import annotations

from cryoframe.testing.conformance import CheckResult, conformance, run_checks
from cryoframe.testing.limits import Limits

__all__ = ["CheckResult", "Limits", "conformance", "run_checks"]
