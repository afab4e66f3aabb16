"""The short tests of single faults with as many trials as a release asks for.

``python tests/campaigns/fault_trials.py [NAME …]``: each calls a test of the suite with larger numbers and prints what
came of it; 1 if one failed.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from types import MappingProxyType

TESTS = Path(__file__).resolve().parents[1]

Figure = Callable[[str, object], None]
Trial = tuple[str, str, dict[str, int]]
#: name → folder and module, test, what it is called with.
TRIALS = MappingProxyType({
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
           {"n_orders": 200, "n_items": 6}),
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
        test(**{name: value for name, value in given.items() if name in wanted})
    return "; ".join(said)


def main(words: Sequence[str]) -> int:
    """Run the trials named, or all."""
    n_failed = 0
    for name in words or TRIALS:
        begun_s = time.monotonic()
        try:
            said = run(TRIALS[name])
        except AssertionError as error:
            said, n_failed = f"FAILED {error}"[:500], n_failed + 1
        sys.stdout.write(f"{name:12} {TRIALS[name][2]} {time.monotonic() - begun_s:.0f} s: {said}\n")
        sys.stdout.flush()
    return int(bool(n_failed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
