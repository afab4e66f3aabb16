"""Bugs of the kinds that lose data quietly: each a replacement of text, and the tests that should notice it.

Those of landing and of readers are in `planted_bugs_landing`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Bug:
    """A bug: `good` stands in `file` exactly once and becomes `bad`; `tests` are to notice (`only` those of a name)."""

    name: str
    what: str
    file: str
    good: str
    bad: str
    tests: tuple[str, ...]
    only: str = ""


_RECORDS, _RUN = "cryoframe/records/", "cryoframe/execution/"

BUGS = (
    # -- what is on the disk --------------------------------------------------------------------------------------
    Bug(
        "journal-not-synced",
        "an acknowledged event is lost when the power goes",
        _RECORDS + "database.py",
        "PRAGMA synchronous=FULL",
        "PRAGMA synchronous=OFF",
        ("tests/records/test_power_loss.py", "tests/records/test_database.py"),
    ),
    Bug(
        "files-not-synced",
        "a product's bytes are not on the disk when its name is",
        _RECORDS + "store.py",
        "        elif path.is_file():\n            sync(path)\n",
        "        elif path.is_file():\n            pass\n",
        ("tests/records/test_syscalls.py",),
    ),
    Bug(
        "name-not-synced",
        "a product's name is not on the disk when it is recorded",
        _RECORDS + "store.py",
        '        crash_point("store.renamed")\n        sync(target.parent)\n',
        '        crash_point("store.renamed")\n',
        ("tests/records/test_syscalls.py",),
    ),
    Bug(
        "renamed-before-synced",
        "a product has its final name before its bytes are safe",
        _RECORDS + "store.py",
        "            _sync_tree(scratch)\n            durable_folder(target.parent)\n"
        '            crash_point("store.parent_made")\n'
        "            return self._place(scratch, target, Committed(key, kind, digest, target))\n",
        '            durable_folder(target.parent)\n            crash_point("store.parent_made")\n'
        "            placed = self._place(scratch, target, Committed(key, kind, digest, target))\n"
        "            _sync_tree(target)\n            return placed\n",
        ("tests/records/test_syscalls.py",),
    ),
    Bug(
        "acknowledged-though-refused",
        "events are acknowledged that the disk refused",
        _RECORDS + "journal.py",
        "            for entry in group:\n                entry.error = error\n",
        "            del error\n",
        ("tests/records/test_journal.py", "tests/records/test_syscalls.py", "tests/records/test_recovery.py"),
    ),
    Bug(
        "half-a-transaction",
        "some of the events of one transaction are kept without the others",
        _RECORDS + "journal.py",
        '            with self._database.transaction() as write:\n                crash_point("journal.begun")\n'
        "                for entry in group:\n                    self._insert(write, entry)\n",
        "            for row in [row for entry in group for row in entry.rows]:\n"
        "                    single = _Entry([])\n"
        "                    single.rows = [row]\n                    with self._database.transaction() as write:\n"
        '                        crash_point("journal.begun")\n                        self._insert(write, single)\n',
        ("tests/records/test_journal.py", "tests/records/test_bus.py"),
    ),
    Bug(
        "half-a-product-counts",
        "a folder without its provenance counts as a product",
        _RECORDS + "store.py",
        "return (self.path(stage_id, key) / JOB).is_file()",
        "return self.path(stage_id, key).is_dir()",
        ("tests/records/test_store.py",),
    ),
    Bug(
        "damage-is-reused",
        "a damaged product that lies where a new one should go is used",
        _RECORDS + "store.py",
        "if damage := _compare(target):",
        "if damage := []:",
        ("tests/records/test_store.py",),
    ),
    Bug(
        "digest-skipped",
        "a changed file of a product is not noticed",
        _RECORDS + "store.py",
        "        if expected.get(name) != found.get(name)\n",
        "        if (name in expected) != (name in found)\n",
        ("tests/records/test_store.py",),
    ),
    Bug(
        "nothing-swept",
        "what dead attempts left fills the disk",
        _RECORDS + "store.py",
        "            self.discard(orphan)\n",
        "            del orphan\n",
        ("tests/records/test_store.py",),
    ),
    Bug(
        "network-disk-allowed",
        "the database lies on a share",
        _RECORDS + "database.py",
        'if kind in NETWORK_FILE_SYSTEMS or kind.startswith("fuse."):',
        'if kind == "none":',
        ("tests/records/test_database.py",),
    ),
    Bug(
        "ids-go-back-with-the-clock",
        "events get ids before those of earlier ones",
        _RECORDS + "events.py",
        "self._last_ns = max(time.time_ns(), self._last_ns + 1)",
        "self._last_ns = time.time_ns()",
        ("tests/records/test_events.py", "tests/records/test_bus.py"),
    ),
    Bug(
        "superseded-too-late",
        "an event that came late undoes the newer content of a file",
        _RECORDS + "projection.py",
        '"WHERE root=:root AND path=:path AND digest=:old_digest"',
        '"WHERE root=:root AND path=:path"',
        ("tests/records/test_state.py", "tests/execution/test_run.py"),
    ),
    Bug(
        "damaged-table-believed",
        "a table's offsets are not checked before its values are touched",
        "cryoframe/data/tables.py",
        "            arrow.validate(full=True)\n",
        "            pass\n",
        ("tests/data/test_tables.py",),
    ),
    # -- tasks ----------------------------------------------------------------------------------------------------
    Bug(
        "lock-not-taken",
        "two processes have a run in charge",
        _RUN + "run.py",
        "        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)\n",
        "        fcntl.LOCK_EX\n",
        ("tests/execution/test_run.py", "tests/watch/test_daemon_faults.py"),
    ),
    Bug(
        "result-not-checked",
        "an attempt whose files are not there is called done",
        _RUN + "attempts.py",
        "        if not path.is_file() or path.stat().st_size != size:\n",
        "        if False:\n",
        ("tests/execution/test_runner.py", "tests/execution/test_run.py"),
    ),
    Bug(
        "recorded-before-committed",
        "a task is done before its product is in the store",
        _RUN + "runner.py",
        "        committed = self.store.commit(running.scratch, due.node.id, due.item_id, due.key, job=record)\n",
        "        self._bus.publish(events.StageFinished, stage_id=due.node.id, item_id=due.item_id, key=due.key,"
        " digest='', seconds=0.0, cpu_s=0.0, peak_MB=0.0)\n"
        "        committed = self.store.commit(running.scratch, due.node.id, due.item_id, due.key, job=record)\n",
        ("tests/execution/test_run_killed.py",),
    ),
    Bug(
        "interrupted-counts",
        "an attempt cut short by the end of the runner counts against the file",
        _RUN + "ledger.py",
        "    return max(task.attempts - 1, 0) if cut_short else task.attempts\n",
        "    return task.attempts\n",
        ("tests/execution/test_runner.py", "tests/execution/test_run.py"),
    ),
    Bug(
        "environment-counts",
        "trouble of the machine is counted against the file",
        _RUN + "runner.py",
        'known.attempts + (kind != "environment")',
        "known.attempts + 1",
        ("tests/execution/test_runner.py", "tests/execution/test_executor.py"),
    ),
    Bug(
        "tried-for-ever",
        "a bad file is tried again and again",
        _RUN + "attempts.py",
        '    return FILE_ATTEMPTS if error_class == "file" else stage.attempts\n',
        '    return 5 * FILE_ATTEMPTS if error_class == "file" else stage.attempts\n',
        ("tests/execution/test_runner.py", "tests/execution/test_run.py"),
    ),
    Bug(
        "inputs-not-in-the-key",
        "another file's result is taken for this one's",
        _RUN + "ledger.py",
        '            "inputs": digests,\n',
        '            "inputs": sorted(digests),\n',
        ("tests/execution/test_run.py",),
    ),
    Bug(
        "seed-not-in-the-key",
        "another seed's result is taken for this one's",
        _RUN + "ledger.py",
        '            "seed": self.config.seed,\n',
        '            "seed": 0,\n',
        ("tests/execution/test_runner.py",),
        "another_seed",
    ),
    Bug(
        "deadline-ignored",
        "a plugin that hangs holds its worker for ever",
        _RUN + "zygote.py",
        "and now_s - attempt.start_s > job.deadline_s:",
        "and now_s - attempt.start_s > 40 * job.deadline_s:",
        ("tests/execution/test_executor.py",),
        "harms_those_alone",
    ),
    Bug(
        "orphans-live-on",
        "processes that a plugin started outlive its attempt",
        _RUN + "zygote.py",
        "        if attempt is not None or not running:\n",
        "        if False:\n",
        ("tests/execution/test_executor.py",),
        "leaves_behind",
    ),
    Bug(
        "half-set-may-change",
        "a stage that moves particles between half-sets is believed",
        _RUN + "worker_results.py",
        '_OWNED = ("half", "micrograph_id", "optics_group")',
        '_OWNED = ("micrograph_id", "optics_group")',
        ("tests/execution/test_worker.py",),
    ),
    Bug(
        "nan-passed-on",
        "a product with values that are not finite is passed on",
        _RUN + "worker_results.py",
        "            if not bool(np.isfinite(array[low : low + 64]).all()):\n",
        "            if False:\n",
        ("tests/execution/test_worker.py", "tests/execution/test_executor.py"),
    ),
    Bug(
        "full-disk-ends-the-runner",
        "an order that cannot be written to a full disk ends the process",
        _RUN + "runner.py",
        "        except (EnvironmentFault, OSError) as error:  # the order",
        "        except EnvironmentFault as error:  # the order",
        ("tests/execution/test_runner.py",),
        "too_full",
    ),
    Bug(
        "cause-that-never-was",
        "what is said again names a cause that the disk refused",
        _RUN + "outbox.py",
        "            for task in tasks:\n                self._causes.pop(task, None)\n",
        "",
        ("tests/execution/test_outbox.py",),
    ),
    Bug(
        "form-believed-though-refused",
        "events name a form that the disk refused",
        _RECORDS + "journal.py",
        "            self._forms = known  # what was not committed is not written\n",
        "            del known\n",
        ("tests/records/test_forms.py",),
    ),
    Bug(
        "copies-admitted-together",
        "files of one content that are admitted together are an item each",
        _RUN + "admit.py",
        "            if not group.isdisjoint((digest, name)):\n",
        "            if False:\n",
        ("tests/watch/test_daemon_faults.py",),
        "of_one_content",
    ),
    Bug(
        "set-made-of-what-is-out-of-date",
        "a stage over the set runs after a restart before all its items were looked at",
        _RUN + "sweep.py",
        '        if self.is_on and node.domain == "set":\n',
        "        if False:\n",
        ("tests/execution/test_sweep.py",),
    ),
    Bug(
        "queue-forgotten",
        "a task whose inputs changed while it waited is never done",
        _RUN + "runner.py",
        "            self.ledger.known[place.node.id, place.item_id] = replace(known, status=WAITING)\n",
        "",
        ("tests/execution/test_sweep.py",),
    ),
)
