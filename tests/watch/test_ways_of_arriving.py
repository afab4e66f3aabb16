"""Files come in every way there is: renamed, linked, moved by the tree, copied with old times, rewritten in place."""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from test_roots import CONFIG, Here, said
from watched_session import Watched, admitted, finished, mrc_bytes, wait_for

from cryoframe.execution.run import Run
from cryoframe.records.events import FileSuperseded, ItemAdmitted
from cryoframe.watch.roots import Root

YEAR_AGO_S = time.time() - 365 * 24 * 3600
HOSTILE = [
    b"new\nline.mrc", b"-rf.mrc", b"; rm -r x.mrc", b"$(id).mrc", b"%s%n.mrc", b"caf\xe9.mrc", b"\xff\xfe.mrc",
    "كتاب.mrc".encode(), "\u202egnp.mrc".encode(), b"a.mrc", b"A.mrc", b"x" * 251 + b".mrc", b'"quoted".mrc',
    b"\\back.mrc", b"` `.mrc", b"a b\tc.mrc", b"~.mrc", b"#.mrc", b"=.mrc", b"[1].mrc",
]  # fmt: skip


def test_copies_that_keep_a_year_old_time__are_judged_by_when_they_stood_still_here(watched: Watched) -> None:
    n_files, done_ns = 12, {}
    watched.configure(settle_s=0.4, poll_s=0.1)

    def copy(number: int) -> None:
        content, path = mrc_bytes(watched.folder / f"of{number}", float(number)), watched.land / f"{number}.mrc"
        with path.open("wb", buffering=0) as file:
            for start in range(0, len(content), 1200):
                file.write(content[start : start + 1200])
                os.utime(path, (YEAR_AGO_S, YEAR_AGO_S))
                time.sleep(0.2)
        os.utime(path, (YEAR_AGO_S, YEAR_AGO_S))
        done_ns[path.name] = time.time_ns()

    def land() -> None:
        threads = [threading.Thread(target=copy, args=(number,)) for number in range(n_files)]
        for number, thread in enumerate(threads):
            (watched.folder / f"of{number}").mkdir()
            thread.start()
        for thread in threads:
            thread.join()

    events = watched.session_with(land, 4.0)
    at_ns = {event.item_id: int(event.event_id[:16], 16) for event in events if isinstance(event, ItemAdmitted)}
    assert sorted(at_ns) == sorted(done_ns)
    assert [name for name in at_ns if at_ns[name] < done_ns[name] - 10**8] == []
    assert set(finished(events).values()) == {1}


@pytest.mark.parametrize("n_files", [120])
def test_a_hundred_names_given_by_renaming__are_taken_once_and_none_under_its_temporary_one(
    watched: Watched, n_files: int, figure: Callable[[str, object], None]
) -> None:
    whole = mrc_bytes(watched.folder)

    def land() -> None:
        for number in range(n_files):
            part = watched.land / f".n{number}.mrc.{number:06x}"
            part.write_bytes(whole[:-4] + number.to_bytes(4, "little"))
            part.rename(watched.land / f"n{number}.mrc")

    events = watched.session_with(land, 4.0)
    assert Counter(admitted(events)) == Counter({f"n{number}.mrc": 1 for number in range(n_files)})
    assert set(finished(events).values()) == {1}
    figure("temporary names, each taken once and under its final one", n_files)


@pytest.mark.parametrize("n_files", [60])
@pytest.mark.parametrize("how", ["rename", "hard link", "symbolic link"])
def test_files_put_there_by_name_alone__are_taken_once_and_links_that_lead_elsewhere_never(
    watched: Watched, how: str, n_files: int, figure: Callable[[str, object], None]
) -> None:
    outside, whole = watched.folder / "outside", mrc_bytes(watched.folder)
    outside.mkdir()
    for number in range(n_files):
        (outside / f"{number}.mrc").write_bytes(whole[:-4] + number.to_bytes(4, "little"))

    def land() -> None:
        for number in range(n_files):
            source, target = outside / f"{number}.mrc", watched.land / f"{number}.mrc"
            {"rename": source.rename, "hard link": target.hardlink_to, "symbolic link": target.symlink_to}[how](
                target if how == "rename" else source
            )

    events = watched.session_with(land, 4.0)
    wanted = 0 if how == "symbolic link" else n_files
    assert Counter(admitted(events)) == Counter({f"{number}.mrc": 1 for number in range(wanted)})
    assert len(watched.files) == n_files, "each is accounted for"
    if how == "symbolic link":
        assert {(row.status, row.reason) for row in watched.files.values()} == {("ignored", "a symbolic link")}
    figure(f"files by {how}, each taken once or ignored", n_files)


@pytest.mark.parametrize(("n_folders", "n_each"), [(12, 10)])
def test_a_tree_of_folders_moved_in__is_taken_whole(
    watched: Watched, n_folders: int, n_each: int, figure: Callable[[str, object], None]
) -> None:
    tree, whole = watched.folder / "tree", mrc_bytes(watched.folder)
    for number in range(n_folders * n_each):
        folder = tree / f"g{number // n_each}" / "data"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.mrc").write_bytes(whole[:-4] + number.to_bytes(4, "little"))

    def land() -> None:
        wait_for(lambda: bool(watched.ticks))
        tree.rename(watched.land / "session")

    events = watched.session_with(land, 4.0)
    wanted = {f"session/g{number // n_each}/data/{number}.mrc" for number in range(n_folders * n_each)}
    assert Counter(admitted(events)) == Counter(dict.fromkeys(wanted, 1))
    assert set(finished(events).values()) == {1}
    figure("folders moved in, each file taken once", n_folders)


@pytest.mark.parametrize("n_files", [20])
def test_files_rewritten_after_acceptance_with_size_and_time_restored__give_products_of_the_new_bytes(
    watched: Watched, n_files: int, figure: Callable[[str, object], None]
) -> None:
    def land() -> None:
        for number in range(n_files):
            watched.put(f"{number}.mrc", float(number))
        wait_for(lambda: bool(watched.ticks) and watched.ticks[-1].counts["admitted"] == n_files)
        for number in range(n_files):
            path = watched.land / f"{number}.mrc"
            facts, other = path.stat(), mrc_bytes(watched.folder, 1e4 + number)
            with path.open("r+b") as file:
                file.write(other)
            os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
            assert (path.stat().st_size, path.stat().st_mtime_ns) == (facts.st_size, facts.st_mtime_ns)

    events = watched.session_with(land, 4.0)
    assert len({event.path for event in events if isinstance(event, FileSuperseded)}) == n_files
    with Run.open(watched.folder / "run.toml") as run:
        for task in run.state.tasks("ctf", "done"):
            product = run.store.load("ctf", task.key)
            assert product.defocus_v_A == 1e4 + int(task.item_id.partition(".")[0])  # type: ignore[attr-defined]
        assert run.state.task_counts() == {"ctf": {"done": n_files}}
    figure("rewritten in a session, each redone", n_files)


@pytest.mark.parametrize("n_orders", [250])
def test_any_order_of_children_and_parents__gives_the_same_state(
    tmp_path: Path, n_orders: int, figure: Callable[[str, object], None]
) -> None:
    names = [f"{stem}{end}" for stem in "abcdef" for end in (".tif", ".tif.mdoc")]
    names += ["deep/g.tif", "deep/g.xml", ".h.tif.Ab12Cd", "i.tmp"]
    results, chance = set(), random.Random(5)
    for order in range(n_orders):
        folder = tmp_path / str(order)
        (folder / "deep").mkdir(parents=True)
        root = Root(folder, "Movie", CONFIG, [], scanner=Here(folder))  # type: ignore[arg-type]
        for name in chance.sample(names, len(names)):
            (folder / name).write_text("x")
            if chance.random() < 0.3:
                said(root)
        said(root)
        results.add(tuple(sorted((path, entry.status, entry.reason) for path, entry in root.entries.items())))
    assert len(results) == 1
    figure("orders of arrival, one state", n_orders)


def test_hostile_names__are_processed_byte_for_byte_and_leave_no_trace(watched: Watched) -> None:
    for number, name in enumerate(HOSTILE):
        watched.put(os.fsdecode(name), float(number))
    listing = sorted(os.listdir(os.fsencode(watched.land)))  # noqa: PTH208
    events = watched.session()
    assert sorted(os.fsencode(name) for name in watched.files) == sorted(HOSTILE)
    assert {row.status for row in watched.files.values()} == {"settled"}
    assert set(finished(events).values()) == {1}
    assert len(finished(events)) == len(HOSTILE)
    assert sorted(os.listdir(os.fsencode(watched.land))) == listing  # noqa: PTH208
    assert {path.name for path in watched.folder.iterdir() if path.is_dir()} <= {"__pycache__", "land", "run"}
