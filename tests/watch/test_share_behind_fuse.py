"""A share that caches, and one that is gone: seen through a real FUSE mount that is written behind and killed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from watched_session import Watched, admitted, finished, mrc_bytes, wait_for

from cryoframe.records.events import FileIgnored, FileRejected, ItemAdmitted
from cryoframe.watch.daemon import RootFound, RootLost

CACHE_S = 1.0


class Share:
    """`back` as the microscope writes it, `front` as it is seen over the network."""

    def __init__(self, back: Path, front: Path) -> None:
        self.back, self.front = back, front
        self.process: subprocess.Popen[bytes] | None = None

    def mount(self) -> None:
        options = f"attr_timeout={CACHE_S},entry_timeout={CACHE_S},negative_timeout={CACHE_S}"
        command = ["bindfs", "-f", "-o", options, str(self.back), str(self.front)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(lambda: os.path.ismount(self.front) or self.process.poll() is not None)  # type: ignore[union-attr]
        if self.process.poll() is not None:
            pytest.skip("bindfs cannot mount here")

    def vanish(self) -> None:
        """The server dies: what is asked of the mount ends in ENOTCONN."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def unmount(self) -> None:
        subprocess.run(["umount", "-l", str(self.front)], capture_output=True, check=False)
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def share(watched: Watched) -> Iterator[Share]:
    if shutil.which("bindfs") is None or not Path("/dev/fuse").exists():
        pytest.skip("bindfs is not installed: no share to take away")
    watched.configure(settle_s=0.3, poll_s=0.2, observer="auto")
    made = Share(watched.folder / "back", watched.land)
    made.back.mkdir()
    made.mount()
    yield made
    made.unmount()


def _behind(watched: Watched, share: Share, name: str, value: float) -> None:
    (watched.folder / "part").write_bytes(mrc_bytes(watched.folder, value))
    (watched.folder / "part").rename(share.back / name)


def test_files_written_behind_a_caching_share__are_found_by_polling(
    watched: Watched, share: Share, figure: Callable[[str, object], None]
) -> None:
    n_files, landed_ns = 60, {}
    whole = mrc_bytes(watched.folder, 1e3)

    def land() -> None:
        wait_for(lambda: bool(watched.ticks))
        for number in range(n_files):
            _behind(watched, share, f"{number}.mrc", float(number))
            landed_ns[f"{number}.mrc"] = time.time_ns()
            time.sleep(0.02)
        with (share.back / "slow.mrc").open("wb", buffering=0) as file:  # its size is stale in the mount
            for start in range(0, len(whole), 1000):
                file.write(whole[start : start + 1000])
                time.sleep(0.1)
        landed_ns["slow.mrc"] = time.time_ns()

    events = watched.session_with(land, 4.0)
    assert sorted(admitted(events)) == sorted(landed_ns)
    assert set(finished(events).values()) == {1}
    waits_s = sorted(
        (int(event.event_id[:16], 16) - landed_ns[event.item_id]) / 1e9
        for event in events
        if isinstance(event, ItemAdmitted)
    )
    late = {event.item_id: int(event.event_id[:16], 16) for event in events if isinstance(event, ItemAdmitted)}
    assert late["slow.mrc"] > landed_ns["slow.mrc"] - 10**8, "not before its last byte"
    figure("s from landing behind a caching share to admission, worst", round(waits_s[-1], 2))


def test_a_share_that_dies_and_is_mounted_again__loses_nothing_and_deletes_nothing(
    watched: Watched, share: Share, figure: Callable[[str, object], None]
) -> None:
    n_before, n_meanwhile = 5, 100
    for number in range(n_before):
        _behind(watched, share, f"{number}.mrc", float(number))
    back_s = []

    def land() -> None:
        wait_for(lambda: any(tick.counts["admitted"] == n_before for tick in watched.ticks))
        share.vanish()
        wait_for(lambda: bool(watched.ticks[-1].offline))
        for number in range(n_before, n_before + n_meanwhile):
            _behind(watched, share, f"{number}.mrc", float(number))
        time.sleep(1.0)
        subprocess.run(["umount", "-l", str(share.front)], check=True)
        time.sleep(0.5)  # an empty mount point, which is no share without files
        share.mount()
        start_s = time.monotonic()
        wait_for(lambda: not watched.ticks[-1].offline)
        back_s.append(time.monotonic() - start_s)

    events = watched.session_with(land, 4.0)
    assert sorted(admitted(events)) == sorted(f"{number}.mrc" for number in range(n_before + n_meanwhile))
    assert set(finished(events).values()) == {1}
    assert [event for event in events if isinstance(event, (FileIgnored, FileRejected))] == []
    told = [type(event) for event in events if isinstance(event, (RootLost, RootFound))]
    assert told[0] is RootLost
    assert told[-1] is RootFound
    assert watched.counts == {"settled": n_before + n_meanwhile}
    figure("s from the share's return to the session's", round(back_s[0], 2))
