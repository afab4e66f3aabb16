"""A keeper of table and page that is killed at its work is begun again, and loses and tears nothing: the short form."""

from __future__ import annotations

from pathlib import Path

import keeper_kills


def test_a_keeper_killed_at_work_and_at_rest__is_begun_again_and_every_file_has_its_row(tmp_path: Path) -> None:
    score = keeper_kills.campaign(tmp_path, 2, gap_s=0.5)
    assert score.wrong == []
    assert (score.n_kills, score.n_rows) == (2, score.n_files)
    assert score.n_reads
