"""`cryoframe status --table` writes the table of exposures from the log, in three formats, whoever is in charge."""

from __future__ import annotations

import csv
import re
from pathlib import Path

from command_line import Cli

from cryoframe.data.tables import ExposureTable


def test_the_table__is_written_as_its_name_says_or_refused_and_is_what_the_run_kept(
    cli: Cli, configuration: Path, tmp_path: Path
) -> None:
    assert cli("run", configuration, "--quiet").returncode == 0
    folder = next(tmp_path.rglob("state.sqlite")).parent
    kept = ExposureTable.read(folder / "exposures.arrow")
    assert (folder / "exposures.html").is_file()
    for name in ("t.arrow", "t.csv", "sub/t.html"):
        done = cli("status", configuration, "--table", tmp_path / name)
        assert done.returncode == 0, done.stderr
    table = ExposureTable.read(tmp_path / "t.arrow")
    assert table == kept
    assert [(row["status"], row["n_picks"]) for row in table.rows()] == [("done", 3)] * 2
    with (tmp_path / "t.csv").open(encoding="utf-8") as file:
        assert [row["micrograph_id"] for row in csv.DictReader(file)] == ["first.mrc", "second.mrc"]
    page = (tmp_path / "sub" / "t.html").read_text(encoding="utf-8")
    pictures = re.findall(r'src="([^"]+\.png)"', page)
    assert len(pictures) == 2
    assert all((tmp_path / "sub" / picture).is_file() for picture in pictures)
    done = cli("status", configuration, "--table", tmp_path / "table.xlsx")
    assert done.returncode == 2
    assert ".arrow, .csv or .html" in done.stderr
