"""`bench preprocessing` from end to end on data as small as can be, with and without RELION, and when calls fail."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cryoframe.bench import calls, machine, pick_fields, picking, preprocessing, sizes
from cryoframe.cli import bench
from cryoframe.cli import main as command_line
from cryoframe.data.twin import Specimen
from cryoframe.errors import EnvironmentFault
from cryoframe.kernel.discovery import scan
from cryoframe.kernel.plugins import Plugins
from cryoframe.testing import phantoms

TINY = sizes.Sizes(
    "quick", movie_px=384, movies=((6, 1),), n_ctf=2, ctf_px=512, n_tilted=0, tilted_px=512, n_cost=1, cost_px=640,
    pick_px=768, defoci_A=(15000.0,), box_px=96,
)  # fmt: skip
WITHOUT_RELION = "RELION not found: peers skipped"


def phantom(name: str, pixel_A: float) -> Specimen:
    """Lumps in the place of a model, which takes seconds to open; their potential is that of protein in ice."""
    volume = phantoms.molecule(96, pixel_A)
    strength = np.float32(5e-4 / np.percentile(volume.data[volume.data > 0.1], 90))
    return Specimen(name, replace(volume, data=volume.data * strength), mass_kDa=300.0, radius_A=60.0)


@pytest.fixture
def tiny(monkeypatch) -> None:
    """The smallest sizes there are, one specimen, and no warming up: nothing is compared by time here."""
    monkeypatch.setattr(bench, "_warm_up", lambda *_: None)
    monkeypatch.setattr(sizes, "sizes_named", lambda _: TINY)
    monkeypatch.setattr(picking, "KINDS", pick_fields.KINDS[:1])
    monkeypatch.setattr(calls.Workbench, "specimen", lambda _, name, pixel_A, **__: phantom(name, pixel_A))


@pytest.fixture
def no_relion(monkeypatch, tmp_path) -> None:
    """A PATH without RELION."""
    kept = [place for place in os.environ["PATH"].split(os.pathsep) if not (Path(place) / "relion_autopick").exists()]
    monkeypatch.setenv("PATH", os.pathsep.join(kept) or str(tmp_path))


def test_without_relion__every_part_has_rows_and_says_that_peers_were_skipped(
    tiny, no_relion, tmp_path, capsys
) -> None:
    out = tmp_path / "out"
    assert command_line.main(["bench", "preprocessing", "--quick", "--out", str(out), "--quiet"]) == 0
    said = capsys.readouterr()
    assert WITHOUT_RELION in said.err
    content = json.loads((out / "bench.json").read_text(encoding="utf-8"))
    assert {row["part"] for row in content["rows"]} == set(sizes.PARTS)
    assert WITHOUT_RELION in content["facts"]["peer"]
    assert not any(row["peer"] for row in content["rows"] if "RELION" in row["peer_name"])
    costs = [row for row in content["rows"] if row["quantity"].startswith("CPU s a m")]
    assert {row["part"] for row in costs} == {"motion", "ctf", "picking"}
    assert all(row["here"][0]["median"] > 0 for row in costs)
    assert "| what | quantity |" in (out / "bench.md").read_text(encoding="utf-8")
    page = (out / "bench.html").read_text(encoding="utf-8")
    assert page.endswith("</html>")
    assert page.count("<figcaption>") == 1
    # Nothing of what was made is left lying.
    assert {path.name for path in out.iterdir()} == {"bench.json", "bench.md", "bench.html"}


@pytest.mark.relion
@pytest.mark.skipif(shutil.which("relion_preprocess") is None, reason="RELION is not installed")
def test_beside_relion__boxes_are_the_same_and_both_have_a_cost(tiny, tmp_path, capsys) -> None:
    words = ["bench", "preprocessing", "--quick", "--only", "extraction", "--json", "--quiet", "--out", str(tmp_path)]
    assert command_line.main(words) == 0
    rows = {row["quantity"]: row for row in json.loads(capsys.readouterr().out)["rows"]}
    assert rows["correlation of a box with the peer's"]["met"]
    rate = rows["particles a minute of CPU time, reading and writing included"]
    assert rate["here"][0]["median"] > 0
    assert rate["peer"][0]["median"] > 0
    assert rate["ratio"] == pytest.approx(rate["here"][0]["median"] / rate["peer"][0]["median"])


def test_a_call_that_fails__is_a_row_and_the_exit_status_is_1(tiny, no_relion, monkeypatch, tmp_path, capsys) -> None:
    monkeypatch.setattr(calls, "TIMEOUT_S", 1e-3)
    words = ["bench", "preprocessing", "--only", "extraction", "--quiet", "--out", str(tmp_path)]
    assert command_line.main(words) == 1
    said = capsys.readouterr()
    assert "FAILED extraction" in said.err
    assert "FAILED: 2 of 2 calls" in said.out


def test_a_part_that_ends_early__is_a_row_and_the_others_are_run(no_relion, monkeypatch, tmp_path) -> None:
    def broken(*_: object, **__: object) -> None:
        raise EnvironmentFault("the disk went away")

    monkeypatch.setattr(preprocessing.motion, "run", broken)
    monkeypatch.setattr(preprocessing.ctf, "run", lambda _: [])
    done = preprocessing.run(
        Plugins(scan()), TINY, parts=("motion", "ctf"), betagal=tmp_path / "none", folder=tmp_path
    )  # fmt: skip
    assert [row.failed for row in done.rows] == ["the disk went away"]
    assert not list(tmp_path.iterdir())


def test_ctrl_c__ends_it_and_leaves_nothing_lying(tiny, no_relion, monkeypatch, tmp_path) -> None:
    def pressed(bench: calls.Workbench) -> None:
        (bench.folder("motion-0") / "movie.tiff").write_bytes(b"begun")
        raise KeyboardInterrupt

    monkeypatch.setattr(preprocessing.motion, "run", pressed)
    words = ["bench", "preprocessing", "--only", "motion", "--quiet", "--out", str(tmp_path)]
    assert command_line.main(words) == 130
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("what", ["memory_MB", "disk_MB"])
def test_too_little_room__is_said_before_anything_is_made(what, monkeypatch, tmp_path) -> None:
    much = property(lambda _: 1e12) if what == "disk_MB" else lambda *_: 1e12
    monkeypatch.setattr(sizes.Sizes, what, much)
    with pytest.raises(EnvironmentFault) as caught:
        machine.check_room(TINY, tmp_path)
    assert caught.value.expected
    assert "--quick" in caught.value.remedy
    assert not list(tmp_path.iterdir())


def test_a_program_that_fails__is_an_answer_with_its_cost(tmp_path) -> None:
    program = replace(calls.PREPROCESS, name="sh", find=("sh",), version=("--version", "x"))
    peer = calls.run_program(program, ["-c", "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; exit 3"], tmp_path)
    assert peer.done is None
    assert "3" in peer.message
    assert peer.cpu_s > 0.02


def test_unknown_parts_and_lost_tracks__are_refused(tmp_path, capsys) -> None:
    assert command_line.main(["bench", "preprocessing", "--only", "motoin"]) == 2
    assert "motion" in capsys.readouterr().err
    assert command_line.main(["bench", "preprocessing", "--tracks", str(tmp_path / "none.star")]) == 2
    assert "--tracks" in capsys.readouterr().err
