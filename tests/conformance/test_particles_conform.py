"""The kit over the stages that work on all particles."""

from __future__ import annotations

from cryoframe.testing import conformance

test_classify_2d_em = conformance("em", "classify_2d")
test_make_initial_volume_from_map = conformance("from_map", "make_initial_volume")
test_make_initial_volume_from_model = conformance("from_model", "make_initial_volume")
test_refine_3d_gold = conformance("gold", "refine_3d")
