"""The kit over executors: their contract, their settings, what importing them costs."""

from __future__ import annotations

from cryoframe.testing import conformance

test_make_executor_dask = conformance("dask", "make_executor")
