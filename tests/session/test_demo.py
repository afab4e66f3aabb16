"""The main job as the README gives it: the demo, from landing files to a map better than what it is held against."""

from __future__ import annotations

import json
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

PROGRAM = Path(sys.executable).with_name("cryoframe")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    folder = tmp_path_factory.mktemp("demo")
    done = subprocess.run(
        [PROGRAM, "demo", "--json", "--out", "out"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return {"folder": folder / "out"} | json.loads(done.stdout)


@pytest.mark.slow
def test_every_stage_is_done_and_nothing_is_set_aside(demo) -> None:
    assert {stage: counts["done"] for stage, counts in demo["stages"].items()} == {
        "ctf": 2, "picks": 2, "boxes": 2, "classes": 1, "start": 1, "refine": 1, "mask": 1, "sharpen": 1,
    }  # fmt: skip
    assert not any(counts.get("given_up") for counts in demo["stages"].values())


@pytest.mark.slow
def test_the_poses_agree_with_the_published_ones(demo, figure) -> None:
    numbers = demo["numbers"]
    for name, value in numbers.items():
        figure(f"demo {name}", round(value, 3))
    assert numbers["angle_median_deg"] <= 3.0
    assert numbers["shift_median_A"] <= 2.0
    assert numbers["resolution_A"] <= 10.0


@pytest.mark.slow
def test_the_report_stands_alone_and_shows_every_picture(demo) -> None:
    text = (demo["folder"] / "report.html").read_text(encoding="utf-8")
    assert text.count("<h2>") >= 9
    for stage in demo["stages"]:
        assert f"<h2>{stage}</h2>" in text
    for word in ("observed spectrum and fitted rings", "picks", "Orientations", "central slices", "half-map FSC"):
        assert word in text, word
    outside = Outside()
    outside.feed(text)
    assert not outside.addresses


class Outside(HTMLParser):
    """Collects addresses that are not inside the page."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs) -> None:
        self.addresses += [v for k, v in attrs if k in ("src", "href") and v and not v.startswith("data:")]


@pytest.mark.slow
def test_a_second_demo_in_the_same_folder_does_nothing_twice(demo) -> None:
    done = subprocess.run(
        [PROGRAM, "demo", "--json", "--out", demo["folder"]], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    again = json.loads(done.stdout)
    assert again["numbers"]["angle_median_deg"] == demo["numbers"]["angle_median_deg"]
    assert again["numbers"]["cpu_s"] < 0.5 * demo["numbers"]["cpu_s"]
