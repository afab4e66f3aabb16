"""A stage in another virtual environment with conflicting libraries: it runs there, its products come here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from run_world import World, digests, products_of

pytestmark = [pytest.mark.usefixtures("no_discovery"), pytest.mark.slow]
NUMPY = "2.1.3"


@pytest.fixture(scope="module")
def other_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make an environment that has an older numpy, and no cryoframe."""
    if np.__version__ == NUMPY:
        pytest.skip(f"this environment itself has numpy {NUMPY}")
    folder = tmp_path_factory.mktemp("environment") / "venv"
    python = folder / "bin" / "python"
    wanted = [f"numpy=={NUMPY}", "pyarrow", "pluggy"]
    for command in (
        [sys.executable, "-m", "venv", str(folder)],
        [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--only-binary", ":all:", "-q", *wanted],
    ):
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            pytest.skip(f"a second environment cannot be made here: {error}")
        if done.returncode:
            pytest.skip(f"a second environment cannot be made here: {done.stderr.strip()[-300:]}")
    return python


def test_a_stage_with_an_interpreter_of_its_own__runs_in_it_beside_the_others(
    tmp_path: Path, other_python: Path
) -> None:
    says = "ctx.metric('numpy', float('.'.join(np.__version__.split('.')[:2]))); ctx.log(sys.prefix)"
    world = World(tmp_path, stages=("ctf", "pick", "box"), executor="processes", body={"ctf": says, "pick": says})
    world.extra["pick"] = f"python = {str(other_python)!r}"
    with world.open() as run:
        assert run.execute() == {name: {"done": 3} for name in world.stages}
        ours = float(".".join(np.__version__.split(".")[:2]))
        assert {run.state.metrics("ctf", f"m{at}.mrc")["numpy"][0] for at in range(3)} == {ours}
        assert {run.state.metrics("pick", f"m{at}.mrc")["numpy"][0] for at in range(3)} == {2.1}
        task = run.state.tasks("pick")[0]
        log = (run.store.path("pick", task.key) / "log.txt").read_text(encoding="utf-8")
        assert str(other_python.parents[1]) in log
        assert len(products_of(run, "box")) == 3
        theirs = digests(run)
    world.extra, world.out = {}, "ours"
    with world.open() as run:
        run.execute()
        assert digests(run) == theirs


def test_an_interpreter_without_what_a_stage_needs__is_named_before_anything_runs(tmp_path: Path) -> None:
    from cryoframe.errors import CryoframeError

    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True)
    world = World(tmp_path, executor="processes", extra={"ctf": f"python = '{tmp_path / 'bare' / 'bin' / 'python'}'"})
    with world.open() as run, pytest.raises(CryoframeError, match=r"bare/bin/python"):
        run.execute()
