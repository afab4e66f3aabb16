"""The kit over the stages that work on maps, over readers of files, over what makes files, and over notifiers."""

from __future__ import annotations

from cryoframe.testing import conformance

test_make_mask_threshold = conformance("threshold", "make_mask")
test_postprocess_fsc = conformance("fsc", "postprocess")
test_estimate_local_resolution_windowed = conformance("windowed", "estimate_local_resolution")
test_open_movie_mrc = conformance("mrc", "open_movie")
test_open_movie_tiff = conformance("tiff", "open_movie")
test_open_movie_eer = conformance("eer", "open_movie")
test_open_micrograph_mrc = conformance("mrc", "open_micrograph")
test_open_micrograph_picture = conformance("picture", "open_micrograph")
test_open_gain_files = conformance("files", "open_gain")
test_read_metadata_mdoc = conformance("mdoc", "read_metadata")
test_read_metadata_epu = conformance("epu", "read_metadata")
test_open_specimen_model = conformance("model", "open_specimen")
test_open_specimen_map = conformance("map", "open_specimen")
test_write_movie_tiff = conformance("tiff", "write_movie")
test_write_movie_mrc = conformance("mrc", "write_movie")
test_write_movie_eer = conformance("eer", "write_movie")
test_write_reference_files = conformance("files", "write_reference")
test_notify_log = conformance("log", "notify")
test_notify_command = conformance("command", "notify")
test_notify_webhook = conformance("webhook", "notify")
test_notify_mail = conformance("mail", "notify")
