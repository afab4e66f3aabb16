"""A burst of files: none lost, none twice, and how long each took to be seen and to be admitted."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from watched_session import Watched, admitted, mrc_bytes

from cryoframe.execution.runner import Runner
from cryoframe.records.events import FileSeen, FileSettled
from cryoframe.watch.scanner import Scanner

N_FILES, RATE_1_S = 2000, 500.0


@pytest.mark.slow
@pytest.mark.bench
def test_two_thousand_files_at_500_a_second__none_lost_none_twice(
    watched: Watched, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    watched.configure(settle_s=0.5, poll_s=2.0)
    monkeypatch.setattr(Runner, "step", lambda self, timeout_s: False)  # the landing alone is measured
    template = bytearray(mrc_bytes(watched.folder))
    landed_ns: dict[str, int] = {}

    def land() -> None:
        start_s = time.monotonic()
        for number in range(N_FILES):
            name = f"grid{number % 20:02d}/{number:05d}.mrc"
            path = watched.land / name
            path.parent.mkdir(exist_ok=True)
            template[-8:] = number.to_bytes(8, "little")
            template[-5] = 0  # keeps the last pixel a small number
            path.write_bytes(template)
            landed_ns[name] = time.time_ns()
            time.sleep(max(0.0, start_s + (number + 1) / RATE_1_S - time.monotonic()))

    start_s = time.monotonic()
    thread = threading.Thread(target=land)
    thread.start()
    events = watched.session(until_idle_s=3.0)
    thread.join()
    took_s = time.monotonic() - start_s
    assert sorted(admitted(events)) == sorted(landed_ns)
    assert watched.counts == {"settled": N_FILES}
    figures = {}
    for cls in (FileSeen, FileSettled):
        at_ns = {
            str(vars(e).get("path") or vars(e).get("item_id")): int(e.event_id[:16], 16)
            for e in events
            if type(e) is cls
        }
        late_s = np.array([(at_ns[name] - landed_ns[name]) / 1e9 for name in landed_ns])
        figures[cls.__name__] = np.percentile(late_s, [50, 99, 100])
    with capsys.disabled():
        print(f"\n  {N_FILES} files at {RATE_1_S:.0f}/s, 0 lost, 0 twice, all admitted after {took_s:.1f} s")  # noqa: T201
        for name, (median, p99, worst) in figures.items():
            print(f"  {name}: median {median:.2f} s, p99 {p99:.2f} s, worst {worst:.2f} s after landing")  # noqa: T201


@pytest.mark.slow
@pytest.mark.bench
def test_twenty_thousand_files__are_rescanned_in_little_time(
    watched: Watched, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in range(100):
        (watched.land / str(folder)).mkdir()
        for number in range(200):
            (watched.land / str(folder) / f"{number}.mrc").touch()
    scanner, times_s = Scanner(watched.land), []
    for _ in range(3):
        start_s = time.perf_counter()
        changes = scanner.scan()
        times_s.append(time.perf_counter() - start_s)
    scanner.close()
    assert changes.n_files == 20_000
    assert not changes.changed
    with capsys.disabled():
        print(f"\n  20 000 files: first scan {times_s[0]:.2f} s, rescan {times_s[2]:.2f} s")  # noqa: T201
