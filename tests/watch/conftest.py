"""Fixtures of the watch tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from watched_session import Watched

from cryoframe.execution.run import Run
from cryoframe.watch.daemon import Daemon
from cryoframe.watch.guard import DiskGuard


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    made = Watched(tmp_path)
    made.configure()
    return made


@pytest.fixture
def daemon(watched: Watched) -> Iterator[Daemon]:
    """A daemon that is stepped by hand."""
    with Run.open(watched.folder / "run.toml") as run:
        made = Daemon(run, DiskGuard(run.folder, low_bytes=0, reserve_bytes=4096))
        yield made
        made.close()
