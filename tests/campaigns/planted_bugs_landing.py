"""Bugs of landing and of readers that lose data quietly, and the tests that should notice each."""

from __future__ import annotations

from planted_bugs_list import Bug

_RUN, _WATCH = "cryoframe/execution/", "cryoframe/watch/"

LANDING = (
    # -- landing --------------------------------------------------------------------------------------------------
    Bug(
        "changed-since-it-was-judged",
        "a file that changed after it had stood still is taken as it was read, settled or not",
        _WATCH + "entrance.py",
        "if entry.is_pending and entry.is_still(judged) and judged[:2] == (reading.size, reading.mtime_ns):",
        "if entry.is_pending and entry.look is not None and entry.look[:2] == (reading.size, reading.mtime_ns):",
        ("tests/watch/test_entrance.py",),
    ),
    Bug(
        "page-forgotten",
        "of very many changes only the first page is told",
        _WATCH + "scanner.py",
        '"gone": [], "more": True}',
        '"gone": [], "more": False}',
        ("tests/watch/test_scanner.py",),
    ),
    Bug(
        "accepted-by-mtime",
        "a file is whole when its time of change is old",
        _WATCH + "readiness.py",
        "        return self.stable_since_s + required_s - now_s\n",
        "        import time\n\n        return self.mtime_ns / 1e9 + required_s - time.time()\n",
        ("tests/watch/test_readiness.py", "tests/watch/test_daemon.py", "tests/watch/test_clocks_and_hints.py"),
    ),
    Bug(
        "wall-clock-settles",
        "the settling time is measured by a clock that jumps",
        _WATCH + "daemon.py",
        "        now_s = time.monotonic()\n        self._publish([one for root in",
        "        now_s = time.time()\n        self._publish([one for root in",
        ("tests/watch/test_clocks_and_hints.py", "tests/watch/test_daemon.py"),
    ),
    Bug(
        "overflow-ignored",
        "what no hint came for is not looked for",
        _WATCH + "daemon.py",
        "        self._next_scan_s = self._last_scan_s +"
        " max(self._config.poll_s, SCANS_APART * (self._last_scan_s - start_s))\n",
        '        hinted = self._wakeup.note == ""\n'
        '        self._next_scan_s = float("inf") if hinted else self._last_scan_s + self._config.poll_s\n',
        ("tests/watch/test_clocks_and_hints.py",),
    ),
    Bug(
        "outage-is-deletion",
        "a share that is away means that its files are gone",
        _WATCH + "roots.py",
        "                self.offline = str(error.what)\n                return\n",
        "                del error\n                changes = Changes(True, {}, [], 0, [])\n",
        ("tests/watch/test_roots.py", "tests/watch/test_daemon_faults.py"),
    ),
    Bug(
        "watermark-forgotten",
        "nobody knows up to when a session is complete",
        _WATCH + "accounts.py",
        "        if made:\n            self._bus.publish_many(made)\n",
        "        del made\n",
        ("tests/watch/test_clocks_and_hints.py",),
    ),
    Bug(
        "change-while-read-missed",
        "a file that changed while it was read is taken as it was before",
        _WATCH + "intake.py",
        "        if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):\n",
        "        if after.st_size < before.st_size:\n",
        ("tests/watch/test_intake.py", "tests/watch/test_daemon.py"),
    ),
    Bug(
        "rewriting-missed",
        "a file rewritten with its old size and time is taken for the old one",
        _WATCH + "readiness.py",
        "        return same and self.ctime_ns in (0, seen.ctime_ns)\n",
        "        return same\n",
        ("tests/watch/test_readiness.py", "tests/watch/test_roots.py", "tests/watch/test_daemon.py"),
    ),
    Bug(
        "hole-taken-for-data",
        "a file that is reserved and not yet filled is taken",
        _WATCH + "readiness.py",
        "    if entry.look is not None and entry.look.hole:\n        return config.long_settle_s\n",
        "",
        ("tests/watch/test_readiness.py", "tests/watch/test_daemon.py"),
    ),
    Bug(
        "last-look-left-out",
        "a file is taken when its time is over, whatever it is then",
        _WATCH + "roots.py",
        "            self._agenda.put(entry, now_s + left_s)\n",
        "            entry.is_ripe, self._ripe[entry.path] = True, entry\n"
        "            entry.not_before_s = now_s + left_s\n",
        ("tests/watch/test_looks.py",),
    ),
    Bug(
        "end-in-zeros-taken-for-data",
        "a file whose last page is reserved and not yet filled is taken",
        _WATCH + "readiness.py",
        "    if entry.look is not None and entry.look.blank:\n",
        "    if False:\n",
        ("tests/watch/test_readiness.py",),
    ),
    Bug(
        "look-forgotten",
        "files that were not looked at because their share was away are never looked at",
        _WATCH + "roots.py",
        "            for entry in due:\n                self._agenda.put(entry, now_s)\n",
        "",
        ("tests/watch/test_looks.py",),
    ),
    Bug(
        "frames-not-counted",
        "a movie is taken with fewer frames than its side-car says",
        _WATCH + "doorstep.py",
        "        if wanted and n_frames < wanted:\n",
        "        if wanted and n_frames < 1:\n",
        ("tests/watch/test_doorstep.py", "tests/watch/test_movies_landing.py"),
    ),
    Bug(
        "temporary-taken",
        "a transfer's temporary file is taken for a movie",
        _WATCH + "readiness.py",
        '    if path.startswith(".") or "/." in path:\n        return "hidden"\n',
        "",
        ("tests/watch/test_readiness.py", "tests/watch/test_roots.py", "tests/watch/test_daemon.py"),
    ),
    Bug(
        "sum-not-checked",
        "a file that was lost count of is not noticed",
        _WATCH + "accounts.py",
        "    if not whole or {name: count for name, count in mine.items() if count} != _kept(roots, state):\n",
        "    if False:\n",
        ("tests/watch/test_daemon.py", "tests/watch/test_daemon_faults.py"),
    ),
    Bug(
        "low-water-ignored",
        "work goes on until the disk is full",
        _WATCH + "guard.py",
        "        if free < self.low_bytes:  # said",
        "        if free < 0:  # said",
        ("tests/watch/test_guard.py",),
    ),
    Bug(
        "alarm-never-over",
        "an alarm stands for ever",
        _WATCH + "alarms.py",
        "for name in sorted(self.standing - due.keys())]",
        "for name in ()]",
        ("tests/watch/test_alarms.py",),
    ),
    Bug(
        "breaker-never-trips",
        "a plugin that always fails is tried on every file",
        _RUN + "breaker.py",
        "        if 2 * n_failed <= WINDOW:\n",
        "        if n_failed <= 2 * WINDOW:\n",
        ("tests/execution/test_breaker.py",),
    ),
    # -- readers --------------------------------------------------------------------------------------------------
    Bug(
        "mrc-size-not-checked",
        "a cut MRC file is read",
        "cryoframe/formats/mrc.py",
        "    if length < header.file_bytes:\n",
        "    if length < header.data_offset:\n",
        ("tests/formats/test_mrc.py", "tests/formats/test_mrc_lies.py"),
    ),
    Bug(
        "fifo-opened",
        "a FIFO or device is read as a file",
        "cryoframe/formats/paths.py",
        "    if not stat.S_ISREG(os.fstat(descriptor).st_mode):\n",
        "    if stat.S_ISDIR(os.fstat(descriptor).st_mode):\n",
        ("tests/formats/test_paths.py",),
    ),
)
