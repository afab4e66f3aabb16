"""Picks of several pickers in one table, and `compare --consensus`."""

from __future__ import annotations

import json

import numpy as np
import pytest

from cryoframe.cli.main import main
from cryoframe.compare.pick_table import agree
from cryoframe.errors import ConfigError
from cryoframe.formats import mrc
from cryoframe.formats.star_products import table_from_star
from cryoframe.testing import phantoms


def moved(table, by_A):
    x = table.floats("x_A") + by_A
    return table.with_columns({"x_A": x.astype(np.float32)})


def test_places_of_two_of_three__are_kept_at_their_mean():
    whole = phantoms.micrograph(12).table()
    tables = {"a": [whole], "b": [moved(whole.select(np.arange(9)), 6.0)], "c": [whole.select([0, 11])]}
    table, rows = agree(tables, diameter_A=90.0)
    kept = {int(item) for item in table.column("particle_id")}
    assert kept == {int(item) for item in whole.column("particle_id")[[*range(9), 11]]}
    place = table.column("particle_id").tolist().index(whole.column("particle_id")[3])
    assert table.floats("x_A")[place] == pytest.approx(whole.floats("x_A")[3] + 3.0, abs=0.01)
    assert [(row["a"], row["b"], row["shared"]) for row in rows] == [("a", "b", 9), ("a", "c", 2), ("b", "c", 1)]
    with pytest.raises(ConfigError, match="different micrographs"):
        agree({"a": [whole], "b": []}, diameter_A=90.0)


def test_compare__writes_what_pickers_agree_on(tmp_path, capsys):
    taken = phantoms.micrograph(20)
    mrc.write(tmp_path / "m.mrc", taken.micrograph.data, pixel_size_A=phantoms.PIXEL_A)
    mrc.write(tmp_path / "map.mrc", phantoms.molecule().data, pixel_size_A=phantoms.PIXEL_A)
    (tmp_path / "m.star").write_text(
        "# version 30001\n\ndata_optics\n\nloop_\n_rlnOpticsGroupName #1\n_rlnOpticsGroup #2\n"
        "_rlnMicrographPixelSize #3\n_rlnVoltage #4\n_rlnSphericalAberration #5\n_rlnAmplitudeContrast #6\n"
        "opticsGroup1 1 4.0 300.0 2.7 0.1\n\ndata_micrographs\n\nloop_\n_rlnMicrographName #1\n_rlnOpticsGroup #2\n"
        "_rlnDefocusU #3\n_rlnDefocusV #4\n_rlnDefocusAngle #5\nm.mrc 1 12500.0 11500.0 25.0\n\n"
    )
    out = tmp_path / "both.star"
    words = ["compare", "pick_particles", "blob", "template", "--on", tmp_path / "m.mrc", tmp_path / "m.star"]
    words += ["--pixel-size", "4.0", "--set", "diameter_A=96.0", "--set", f"template:reference={tmp_path / 'map.mrc'}"]
    code = main([str(word) for word in [*words, "--consensus", out, "--json"]])
    facts = json.loads(capsys.readouterr().out)
    assert code == 0, facts["failures"]
    (row,) = facts["consensus"]
    assert row["shared"] >= 15
    assert len(table_from_star(out, pixel_size_A=4.0)) == row["shared"]
