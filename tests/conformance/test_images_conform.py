"""The kit over the stages that make or work on one movie or micrograph."""

from __future__ import annotations

from cryoframe.testing import conformance

test_simulate_movies_physical = conformance("physical", "simulate_movies")
test_correct_motion_global = conformance("global", "correct_motion")
test_correct_motion_patch = conformance("patch", "correct_motion")
test_estimate_ctf_spectrum = conformance("spectrum", "estimate_ctf")
test_estimate_ctf_profile = conformance("profile", "estimate_ctf")
test_clean_micrograph_texture = conformance("texture", "clean_micrograph")
test_pick_particles_blob = conformance("blob", "pick_particles")
test_pick_particles_template = conformance("template", "pick_particles")
test_extract_particles_box = conformance("box", "extract_particles")
