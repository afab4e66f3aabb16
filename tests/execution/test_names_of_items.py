"""What a file is called in a run, where others are called the same."""

from __future__ import annotations

from pathlib import Path

import pytest
from run_world import World

pytestmark = pytest.mark.usefixtures("no_discovery")


def test_files_of_one_name_in_folders_of_one_name__are_items_of_their_own(tmp_path: Path) -> None:
    world = World(tmp_path)
    with world.open() as run:
        ids = []
        for number, place in enumerate("abcd"):
            root = tmp_path / place / "raw"
            root.mkdir(parents=True)
            (root / "x.mrc").write_bytes(world.micrograph(f"of_{place}.mrc", seed=number).read_bytes())
            ids.append(run.admit_file(root / "x.mrc", "Micrograph", root=root).item_id)
        assert ids == ["x.mrc", "raw/x.mrc", "c/raw/x.mrc", "d/raw/x.mrc"]
        assert len(run.state.items()) == 4
