"""The kit says what it found and nothing else, asks nothing in vain, and leaves no trace."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cryoframe.data.tables import MotionTable
from cryoframe.errors import ConformanceError, PluginError
from cryoframe.kernel.discovery import local_offers
from cryoframe.kernel.stage import hook_names, stage_specs
from cryoframe.testing import CheckResult, Limits, anatomy, cases, conformance, phantoms, run_checks
from cryoframe.testing.conformance import SERVICE_HOOKS, Examination, Question, checks_of

MUTANTS = Path(__file__).parent / "mutants"


def failures(name: str, **settings: object) -> dict[str, str]:
    offers = local_offers([MUTANTS / f"{name}.py"])
    results = run_checks(offers[0].hook, name, offers=offers, **settings)  # type: ignore[arg-type]
    return {result.check: result.message for result in results if not result.passed}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("prints", {"nothing_printed"}),
        ("depends_on_threads", {"worker_count_same_bytes"}),
        ("flips_y", {"orientation", "known_answer", "moves_with_the_image"}),
        ("moves_halves", {"half_column_untouched", "schema_valid", "works_in_a_worker"}),
        ("writes_its_input", {"inputs_read_only", "works_in_a_worker", "inputs_unchanged", "kill_and_resume"}),
    ],
)
def test_a_mutant__fails_for_its_fault_and_nothing_else(name: str, expected: set[str]) -> None:
    found = set(failures(name))
    assert found
    assert found <= expected


def test_a_plugin_that_cannot_be_loaded__is_asked_nothing_more() -> None:
    offers = local_offers([MUTANTS / "wrong_argument_name.py"])
    results = run_checks("pick_particles", "wrong_argument_name", offers=offers)
    assert [(result.check, result.passed) for result in results] == [("signature", False), ("params_documented", True)]


def test_a_foundation_that_fails__is_reported_even_when_not_asked_for() -> None:
    assert list(failures("wrong_argument_name", only=["finite"])) == ["signature"]


def test_every_message__says_what_to_do() -> None:
    messages = failures("prints", only=["nothing_printed"]) | failures("flips_y", only=["orientation"])
    assert "Use ctx.log" in messages["nothing_printed"]
    assert "flip_y" in messages["orientation"]
    assert "cryoframe conventions" in messages["orientation"]


def test_a_result__has_name_verdict_message_and_seconds() -> None:
    (result,) = run_checks("make_mask", "threshold", only=["finite"])
    assert isinstance(result, CheckResult)
    assert (result.check, result.passed, result.message) == ("finite", True, "Every number of the result is finite.")
    assert result.seconds > 0


def test_an_unknown_plugin_or_check__is_refused_by_name() -> None:
    with pytest.raises(PluginError, match="did you mean 'blob'"):
        run_checks("pick_particles", "blop")
    with pytest.raises(PluginError, match="no check of pick_particles is called shininess"):
        run_checks("pick_particles", "blob", only=["shininess"])
    with pytest.raises(PluginError, match="nothing is offered under the name 'nobody'"):
        conformance("nobody")


def test_a_limit__may_be_stated_by_the_caller() -> None:
    strict = Limits(defocus_A=0.0)
    results = run_checks("estimate_ctf", "spectrum", limits=strict, only=["known_answer"])
    assert not results[0].passed
    assert "expected within 0 Å" in results[0].message


def test_parameters__may_be_stated_by_the_caller() -> None:
    results = run_checks("pick_particles", "blob", params={"threshold": 1000.0}, only=["known_answer"])
    assert "0 of 24 particles found" in results[0].message


def test_an_expected_failure__must_fail(tmp_path: Path) -> None:
    offers = local_offers([MUTANTS / "corner_origin.py"])
    examination = Examination("corner_origin", (), {}, Limits(), offers)
    examination.answer(Question("pick_particles", "positions_unbiased", "counts from the corner"), lambda: tmp_path)
    with pytest.raises(AssertionError, match="finite passes; it was expected to fail: it divides"):
        examination.answer(Question("pick_particles", "finite", "it divides by zero"), lambda: tmp_path)
    with pytest.raises(AssertionError, match=r"positions are off by \(0\.\d\d, 0\.\d\d\) px"):
        examination.answer(Question("pick_particles", "positions_unbiased"), lambda: tmp_path)


def test_one_line__makes_a_test_a_check(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(
        "from cryoframe.testing import conformance\n"
        "test_conformance = conformance('blob', expected_failures={'known_answer': 'to see it reported'})\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-v", "-k", "signature or known_answer", "."],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "test_conformance[pick_particles-signature] PASSED" in done.stdout
    assert "test_conformance[pick_particles-known_answer] FAILED" in done.stdout
    assert "it was expected to fail: to see it reported" in done.stdout


def test_the_kit__leaves_nothing_where_it_was_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "elsewhere"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setattr("tempfile.tempdir", None)
    assert set(failures("writes_to_the_current_folder", only=["runs", "nothing_outside_workdir"])) == {
        "nothing_outside_workdir"
    }
    assert set(failures("writes_at_import", only=["import_quiet", "runs"])) == {"import_quiet"}
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_every_hook__gets_checks_with_names_of_their_own() -> None:
    for hook in hook_names():
        names = [check.name for check in checks_of(hook)]
        assert len(set(names)) == len(names) >= 5
        assert all(check.doc.endswith(".") for check in checks_of(hook))


def test_services__are_those_of_the_page() -> None:
    assert set(SERVICE_HOOKS) == set(hook_names()) - set(stage_specs())


def test_a_stage_on_the_line__gets_at_least_thirty_checks() -> None:
    for hook in ("pick_particles", "extract_particles", "refine_3d"):
        assert len(checks_of(hook)) >= 30
    assert len(checks_of("build_model")) == 5  # no phantom yet: what is declared can be checked all the same


def test_hooks_without_a_phantom__are_known() -> None:
    without = {hook for hook in stage_specs() if not cases.has_phantom(hook)}
    assert without == {"polish_particles", "build_model"}


# -- taking products apart ---------------------------------------------------------------------------------------
def test_a_fingerprint__sees_one_bit_and_not_the_time_taken() -> None:
    made = phantoms.particles(3)
    images = np.array(made.stack.images)
    images[0, 0, 0] = np.nextafter(images[0, 0, 0], np.float32(9.0))
    from dataclasses import replace

    assert anatomy.fingerprint(made.stack) == anatomy.fingerprint(phantoms.particles(3).stack)
    assert anatomy.fingerprint(made.stack) != anatomy.fingerprint(replace(made.stack, images=images))
    assert "result.images differs by up to" in anatomy.first_difference(made.stack, replace(made.stack, images=images))
    turned = replace(made.stack, particles=made.stack.particles.select([0, 2, 1]))
    assert "result.particles differs in particle_id" in anatomy.first_difference(made.stack, turned)
    shorter = replace(made.stack, particles=made.stack.particles.select([0]))
    assert "3 rows and 1" in anatomy.first_difference(made.stack, shorter)
    assert anatomy.first_difference(made.stack, made.stack) == ""


def test_writable_copies__own_their_memory() -> None:
    stack = phantoms.particles(2).stack
    stack.images.flags.writeable = False
    copy = anatomy.writable(stack)
    copy.images[...] = 0.0
    assert stack.images.any()


def test_arrays__are_found_in_tables_too() -> None:
    table = MotionTable.from_columns({name: [0] if name == "frame" else [0.0] for name in MotionTable.schema.columns})
    assert [place for place, _ in anatomy.arrays(table)][:2] == ["result column 'frame'", "result column 'patch_x_A'"]


def test_a_conformance_error__carries_its_remedy() -> None:
    from cryoframe.testing.checks.promise import fail

    with pytest.raises(ConformanceError, match=r"it hums; expected silence\. Switch it off"):
        fail("it hums", expected="silence", remedy="Switch it off")


def test_a_gpu_that_is_not_declared__is_not_asked_for() -> None:
    (result,) = run_checks("make_mask", "threshold", only=["cpu_equals_gpu"])
    assert result.passed
    assert result.message == "not asked: it declares cpu only"


def test_two_devices__may_differ_by_rounding_only() -> None:
    from dataclasses import replace

    from cryoframe.testing.checks import devices

    volume = phantoms.molecule()
    rounded = replace(volume, data=volume.data * np.float32(1.0 + 1e-5))
    devices.compare(volume, rounded)
    with pytest.raises(ConformanceError, match=r"differ between CPU and GPU; expected at most 1 %"):
        devices.compare(volume, phantoms.mirrored(volume))
