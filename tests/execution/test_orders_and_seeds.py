"""Any order of arrival and any hash seed: the same products to the last byte."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from run_world import World, digests

pytestmark = pytest.mark.usefixtures("no_discovery")
ALL = ("ctf", "pick", "box", "classes", "select")


@pytest.mark.parametrize(("n_orders", "n_items"), [(10, 5)])
def test_random_orders_of_arrival__give_the_same_products(
    tmp_path: Path, n_orders: int, n_items: int, figure: Callable[[str, object], None]
) -> None:
    chance, found = random.Random(6), set()
    for number in range(n_orders):
        world = World(tmp_path, stages=ALL, n_micrographs=n_items, out=f"out{number}")
        with world.open() as run:
            runner = run.runner(live=True)
            for at in chance.sample(range(n_items), n_items):
                run.admit_file(world.raw / f"m{at}.mrc", "Micrograph", root=world.raw)
                for _ in range(chance.randrange(3)):
                    runner.step()
            runner.live = False
            runner.run_until_idle()
            found.add(tuple(sorted(digests(run).items())))
    assert len(found) == 1
    assert len(next(iter(found))) == 3 * n_items + 2
    figure("orders of arrival, same digests", n_orders)


def test_random_hash_seeds__give_the_same_products(tmp_path: Path) -> None:
    found = set()
    for seed in ("0", "4711", "random"):
        code = (
            f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); from pathlib import Path\n"
            "from run_world import World, digests\n"
            f"with World(Path({str(tmp_path)!r}), stages={ALL!r}, out='o{seed}').open() as run:\n"
            "    run.execute(); print(sorted(digests(run).items()))\n"
        )
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        found.add(done.stdout)
    assert len(found) == 1
    assert len(next(iter(found))) > 300
