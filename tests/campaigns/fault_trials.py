"""The short tests of single faults with as many trials as a release asks for.

``python tests/campaigns/fault_trials.py [NAME …]``: each calls a test of the suite with larger numbers and prints what
came of it; 1 if one failed. ``… --repeat 20 G1 B12`` makes the tests of any row of the fault matrix so many times.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import MappingProxyType

import pytest

TESTS = Path(__file__).resolve().parents[1]

Figure = Callable[[str, object], None]
Trial = tuple[str, str, Mapping[str, int | float | str]]
_ARRIVING = "watch/test_ways_of_arriving"
_BY_NAME = "test_files_put_there_by_name_alone__are_taken_once_and_links_that_lead_elsewhere_never"
#: name → folder and module, test, what it is called with.
TRIALS: Mapping[str, Trial] = MappingProxyType({
    "L12": (_ARRIVING, "test_a_hundred_names_given_by_renaming__are_taken_once_and_none_under_its_temporary_one",
            {"n_files": 5000}),
    **{f"L13-{how.replace(' ', '-')}": (_ARRIVING, _BY_NAME, {"how": how, "n_files": 1000})
       for how in ("rename", "hard link", "symbolic link")},
    "L14": (_ARRIVING, "test_a_tree_of_folders_moved_in__is_taken_whole", {"n_folders": 50, "n_each": 100}),
    "L16": (_ARRIVING,
            "test_files_rewritten_after_acceptance_with_size_and_time_restored__give_products_of_the_new_bytes",
            {"n_files": 300}),
    "L16-between": ("watch/test_doubts",
                    "test_rewritten_between_two_sessions_with_size_and_time_restored__gives_a_product_of_the_new_bytes",
                    {"n_files": 600}),
    "L18": ("watch/test_ways_of_arriving", "test_any_order_of_children_and_parents__gives_the_same_state",
            {"n_orders": 5000}),
    "B2": ("execution/test_stopped_and_poisoned",
           "test_attempts_killed_at_random__are_made_again_and_each_effect_is_one", {"n_kills": 150, "n_items": 60}),
    "B6-device": ("records/test_power_loss_device",
                  "test_the_power_goes_on_a_real_file_system__what_was_acknowledged_is_there", {"n_cuts": 200}),
    "B18": ("records/test_readers_beside_the_writer",
            "test_a_long_log__is_read_by_a_new_process_in_little_memory", {"n_events": 1_000_000}),
    "G5": ("execution/test_greedy_plugins",
           "test_children_and_grandchildren_by_the_hundred__are_all_ended_with_the_attempt", {"n_children": 1000}),
    "N6": ("execution/test_orders_and_seeds", "test_random_orders_of_arrival__give_the_same_products",
           {"n_orders": 200, "n_items": 50}),
    "N10-plans": ("execution/test_half_sets_at_random",
                  "test_random_plans__never_give_poses_of_mixed_halves_to_a_stage_that_keeps_them_apart",
                  {"n_plans": 10_000}),
    "N10-plugins": ("execution/test_half_sets_at_random",
                    "test_random_plugins__have_the_half_sets_as_they_were_or_are_refused", {"n_plugins": 10_000}),
    "N14": ("records/test_flipped_bytes", "test_one_flipped_byte_anywhere__is_found", {"step": 1}),
})  # fmt: skip


def run(trial: Trial) -> str:
    """Call one test with its larger numbers; returns what it said."""
    module, name, numbers = trial
    folder, stem = module.split("/")
    for place in (folder, "records", "watch", "execution", "kernel"):
        if str(TESTS / place) not in sys.path:
            sys.path.append(str(TESTS / place))
    said: list[str] = []

    def figure(what: str, value: object) -> None:
        said.append(f"{what}: {value}")

    test = getattr(import_module(stem), name)
    wanted = test.__code__.co_varnames[: test.__code__.co_argcount]
    with tempfile.TemporaryDirectory() as place_name:
        given = {"tmp_path": Path(place_name), "figure": figure, **numbers}
        if "watched" in wanted:
            given["watched"] = import_module("watched_session").Watched(Path(place_name))
            given["watched"].configure()
        test(**{name: value for name, value in given.items() if name in wanted})
    return "; ".join(said)


class Repeated:
    """Has pytest make each test so many times, and counts what came of it."""

    def __init__(self, n_times: int) -> None:
        self._n_times = n_times
        self.n_made = 0
        self.failed: list[str] = []

    @pytest.hookimpl(tryfirst=True)
    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Give each test a number it does not use."""
        metafunc.fixturenames.append("_time")
        metafunc.parametrize("_time", range(self._n_times))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count."""
        self.n_made += report.when == "call" and not report.skipped
        if report.failed:
            self.failed.append(report.nodeid)


def repeated(row: str, n_times: int) -> tuple[str, bool]:
    """Make the tests of a row so many times; returns what came of it, and whether all went well."""
    matrix = tomllib.loads((TESTS / "fault_matrix.toml").read_text(encoding="utf-8"))
    counted = Repeated(n_times)
    nodes = [str(TESTS.parent / node) for node in matrix[row]["tests"]]
    status = pytest.main(["-q", "-n", "0", "--no-header", "-p", "no:cacheprovider", *nodes], plugins=[counted])
    n_trials = matrix[row]["trials"] * n_times
    said = f"{counted.n_made} tests, {n_trials} trials, {len(counted.failed)} failed {' '.join(counted.failed[:3])}"
    return said.rstrip(), status == 0


def main(words: Sequence[str]) -> int:
    """Run the trials named, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", nargs="*", help=f"{', '.join(TRIALS)}; with --repeat any row of the fault matrix")
    parser.add_argument("--repeat", type=int, metavar="N", help="make the tests of the rows N times")
    options = parser.parse_args(words)
    n_failed = 0
    for name in options.name or TRIALS:
        begun_s = time.monotonic()
        numbers: object = f"times {options.repeat}"
        if options.repeat:
            said, went_well = repeated(name, options.repeat)
            n_failed += not went_well
        else:
            numbers = TRIALS[name][2]
            try:
                said = run(TRIALS[name])
            except AssertionError as error:
                said, n_failed = f"FAILED {error}"[:500], n_failed + 1
        sys.stdout.write(f"{name:12} {numbers} {time.monotonic() - begun_s:.0f} s: {said}\n")
        sys.stdout.flush()
    return int(bool(n_failed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
