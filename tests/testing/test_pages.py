"""Generated parts of documents stand between markers and are replaced as a whole."""

from __future__ import annotations

import pytest

from cryoframe.testing import pages

TEXT = "before\n<!-- hooks:begin -->\nold\n<!-- hooks:end -->\nafter\n"


def test_a_section__is_found_and_replaced() -> None:
    assert pages.between(TEXT, "hooks") == "old"
    assert pages.between(pages.replaced(TEXT, "hooks", "new\nlines"), "hooks") == "new\nlines"
    assert pages.replaced(TEXT, "hooks", "x").endswith("<!-- hooks:end -->\nafter\n")


def test_an_empty_section__can_be_filled() -> None:
    text = "<!-- cli:begin -->\n<!-- cli:end -->\n"
    assert pages.between(text, "cli") == ""
    assert pages.replaced(text, "cli", "help") == "<!-- cli:begin -->\nhelp\n<!-- cli:end -->\n"


@pytest.mark.parametrize("text", ["nothing", TEXT + TEXT])
def test_markers__must_be_there_once(text: str) -> None:
    with pytest.raises(ValueError, match="sections between"):
        pages.between(text, "hooks")


def test_a_signature__is_written_as_one_writes_it() -> None:
    assert pages.signature("make_mask") == "make_mask(volume: Volume, params: Params, ctx: StageContext) -> Mask"
    assert "mask: Mask \\| None" in pages.signature("refine_3d")
    assert "sequences: Sequence[str]" in pages.signature("build_model")
    assert pages.signature("subscribe") == "subscribe(bus: Bus) -> None"
