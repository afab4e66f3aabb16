"""Plugins that take what is not theirs: children, descriptors, other files; an environment that flaps."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest
from run_world import World, digests, processes_with

pytestmark = pytest.mark.usefixtures("no_discovery")


@pytest.mark.parametrize("n_children", [60])
def test_children_and_grandchildren_by_the_hundred__are_all_ended_with_the_attempt(
    tmp_path: Path, n_children: int
) -> None:
    mark = f"cryoframe-left-behind-{os.getpid()}-{tmp_path.name}"
    sleeper = f"sleep 100; : {mark}"
    # Every other one forks again and detaches, as a daemon would.
    start = (
        f"[subprocess.Popen(['sh', '-c', {sleeper!r}] if at % 2 else ['setsid', '-f', 'sh', '-c', {sleeper!r}])"
        f" for at in range({n_children})]; time.sleep(0.3)"
    )
    body = {"ctf": f"if micrograph.micrograph_id == 'm0.mrc': {start}"}
    with World(tmp_path, executor="processes", body=body, n_micrographs=4).open() as run:
        assert run.execute() == {"ctf": {"done": 4}, "pick": {"done": 4}}
        assert processes_with(mark) == 0
    assert processes_with(mark) == 0


def test_every_descriptor_taken__is_the_attempts_own_limit_and_trouble_of_the_machine(tmp_path: Path) -> None:
    greed = "hoard = [open('/dev/null') for _ in range(10**6)]"
    body = {"ctf": f"if micrograph.micrograph_id == 'm1.mrc': {greed}"}
    with World(tmp_path, executor="processes", body=body, n_micrographs=4).open() as run:
        before = len(list(Path("/proc/self/fd").iterdir()))
        counts = run.execute()
        failed = [event for event in run.journal.replay() if type(event).__name__ == "StageFailed"]
        after = len(list(Path("/proc/self/fd").iterdir()))
    assert counts == {"ctf": {"done": 3, "given_up": 1}, "pick": {"done": 3}}
    assert {event.error_class for event in failed} == {"environment"}  # type: ignore[attr-defined]
    assert after - before <= 12, "the runner's own descriptors: its helpers, no attempt's"


@pytest.mark.parametrize(
    "trouble",
    [
        "raise OSError(24, 'too many open files')", "raise OSError(23, 'file table overflow')",
        "raise OSError(5, 'input/output error')", "raise OSError(116, 'stale file handle')",
        "raise OSError(107, 'transport endpoint is not connected')",
        "raise EnvironmentFault('no GPU is free')", "raise EnvironmentFault('licence server is down')",
    ],
)  # fmt: skip
def test_an_environment_that_flaps__sets_no_item_aside(tmp_path: Path, trouble: str) -> None:
    count = f"p = Path({str(tmp_path)!r}, 'n' + micrograph.micrograph_id); n = len(p.read_text()) if p.exists() else 0"
    body = {"ctf": f"{count}\n    if n < 4: p.write_text('x' * (n + 1)); {trouble}"}
    with World(tmp_path, body=body).open() as run:
        assert run.execute() == {"ctf": {"done": 3}, "pick": {"done": 3}}
        failed = Counter(
            event.error_class  # type: ignore[attr-defined]
            for event in run.journal.replay()
            if type(event).__name__ == "StageFailed"
        )
    assert failed == {"environment": 12}


def test_a_plugin_that_writes_over_its_own_input__fails_and_nothing_is_kept_under_the_old_key(tmp_path: Path) -> None:
    raw = f"Path({str(tmp_path / 'raw' / 'm1.mrc')!r})"
    spoil = f"b = bytearray({raw}.read_bytes()); b[-1] ^= 255; {raw}.write_bytes(b)"
    body = {"ctf": f"if micrograph.micrograph_id == 'm1.mrc': {spoil}"}
    with World(tmp_path, executor="processes", body=body, extra={"ctf": "attempts = 1"}).open() as run:
        counts = run.execute()
        (task,) = run.state.tasks(status="given_up")
    assert counts["ctf"] == {"done": 2, "given_up": 1}
    assert "changed" in task.message


@pytest.mark.parametrize("how", ["overwrite", "remove", "add"])
def test_a_plugin_that_touches_another_items_product__is_found_out_by_the_audit(tmp_path: Path, how: str) -> None:
    products = f"sorted(Path({str(tmp_path / 'out' / 'stages' / 'ctf')!r}).glob('*/product/product.json'))"
    act = {
        "overwrite": "at[0].write_text(at[0].read_text().replace('1', '2'))",
        "remove": "at[0].unlink()",
        "add": "(at[0].parent / 'more').write_text('x')",
    }[how]
    body = {"pick": f"at = {products}\n    if micrograph.micrograph_id == 'm2.mrc': {act}"}
    with World(tmp_path, body=body, workers=1).open() as run:
        run.execute()
        damaged = run.store.verify()
    assert len(damaged) == 1
    assert {"overwrite": "was changed", "remove": "is missing", "add": "was added"}[how] in damaged[0].what


def test_what_a_plugin_wrote_into_its_product_folder__is_no_part_of_the_product_unless_it_returned_it(
    tmp_path: Path,
) -> None:
    quiet = World(tmp_path, n_micrographs=2, out="quiet")
    with quiet.open() as run:
        run.execute()
        wanted = digests(run)
    stray = "(ctx.workdir / 'stray.bin').write_bytes(b'x' * 1000); Path('stray-here').write_text('x')"
    with World(tmp_path, n_micrographs=2, out="stray", body={"ctf": stray}, executor="processes").open() as run:
        run.execute()
        found = digests(run)
    assert len(found) == len(wanted)
    assert not Path("stray-here").exists(), "an attempt works in a folder of its own"
