"""classify_2d `relion`: what RELION is told and given, how its answer is read, and that it tells two views apart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import recording_classes as recording
import relion_answers

from cryoframe import Classes2D, StageContext
from cryoframe.errors import Cancelled, CryoframeError, InvalidInput, PluginError
from cryoframe.external import FakeProgram
from cryoframe.formats import mrc
from cryoframe.formats.star_columns import particles_from_star
from cryoframe.formats.star_products import stack_from_star
from cryoframe.testing import phantoms
from cryoframe_classify import by_class
from cryoframe_relion import classify, poses, views

KEPT = relion_answers.kept("classify")


@pytest.fixture
def replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    """RELION's recorded answer in place of RELION."""
    fake = FakeProgram("relion_refine", KEPT[-1])
    absent = SimpleNamespace(executable=lambda: "nowhere", installed_version=lambda: "kept", run=fake.run)
    monkeypatch.setattr(classify, "PROGRAM", SimpleNamespace(at=lambda path: absent))


def classified(made: phantoms.Particles, work: Path, **context: object) -> Classes2D:
    work.mkdir(exist_ok=True)
    return classify.classify_2d(made.stack, recording.PARAMS, StageContext(work, **context))  # type: ignore[arg-type]


def purity(result: Classes2D, made: phantoms.Particles) -> float:
    """Share of particles that are with their like."""
    views_of = dict(zip(made.stack.particles.column("particle_id"), made.euler_deg[:, 1] > 45.0, strict=True))
    mine = np.array([views_of[item] for item in result.particles.column("particle_id")])
    labels = result.particles.column("class_id")
    return sum(max(mine[labels == k].sum(), (~mine[labels == k]).sum()) for k in np.unique(labels)) / len(mine)


# -- what it is told and given --------------------
def test_the_command__is_the_golden_one(made: phantoms.Particles) -> None:
    params = classify.Params(n_classes=7, offset_range_A=12.0, extra_arguments=("--strict_highres_exp", "10"))
    assert classify.build(made.stack, params, seed=4).argv == (
        "--i", "particles.star", "--o", "out/run", "--K", "7", "--iter", "25", "--tau2_fudge", "2",
        "--particle_diameter", "108.8", "--zero_mask", "--flatten_solvent", "--psi_step", "12", "--oversampling", "1",
        "--offset_range", "3.00", "--offset_step", "2", "--ctf", "--norm", "--scale", "--pad", "2", "--pool", "30",
        "--dont_check_norm", "--dont_combine_weights_via_disc", "--j", "1", "--random_seed", "5",
        "--strict_highres_exp", "10",
    )  # fmt: skip
    assert "--ctf" not in classify.build(made.stack, replace(params, ignore_ctf=True)).argv


def test_particles__are_handed_over_without_what_they_are_to_be_found_by(made, tmp_path: Path) -> None:
    known = {"psi_deg": np.full(len(made.stack.particles), 7.0, np.float32)}
    known |= {"class_id": np.zeros(len(made.stack.particles), np.int32)}
    stack = replace(made.stack, particles=made.stack.particles.with_columns(known))
    poses.hand_over_particles(stack, tmp_path)
    assert not {"psi_deg", "class_id"} & set(particles_from_star(tmp_path / poses.STAR).columns)
    back = stack_from_star(tmp_path / poses.STAR, images_path=tmp_path / "images.raw")
    assert np.array_equal(back.images, made.stack.images)


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda s: replace(s, particles=s.particles.without(["defocus_u_A"])), "no CTF"),
        (lambda s: replace(s, images=np.full_like(s.images, np.nan)), "finite"),
        (lambda s: replace(s, images=s.images[:, :31, :31]), "boxes of 31 px"),
    ],
)
def test_what_cannot_be_classified__is_said_before_relion_starts(made, tmp_path, spoil, complaint) -> None:
    with pytest.raises(InvalidInput, match=complaint):
        classify.classify_2d(spoil(made.stack), classify.Params(), StageContext(tmp_path))


@pytest.mark.parametrize("settings", [{"offset_range_A": 20000.0}, {"particle_diameter_A": 1.0}])
def test_extents_that_do_not_fit_the_box__are_refused_before_relion_starts(made, tmp_path, settings) -> None:
    with pytest.raises(InvalidInput, match=next(iter(settings))):
        classify.classify_2d(made.stack, classify.Params(**settings), StageContext(tmp_path))


def test_images_of_nothing_or_of_another_scale__are_not_handed_over(made: phantoms.Particles, tmp_path: Path) -> None:
    images = np.array(made.stack.images)
    images[3], images[5] = 0.0, 1e6 * images[5]
    dropped: list[int] = []
    context = StageContext(tmp_path, on_drop=lambda ids, reason, values, threshold: dropped.extend(ids))
    usable = classify._usable(replace(made.stack, images=images), context)
    ids = np.asarray(made.stack.particles.column("particle_id"))
    assert sorted(dropped) == sorted(ids[[3, 5]].tolist())
    assert len(usable.images) == len(usable.particles) == len(ids) - 2


def test_classes__are_at_most_half_of_the_images(made: phantoms.Particles) -> None:
    argv = classify.build(made.stack, classify.Params(n_classes=1000)).argv
    assert argv[argv.index("--K") + 1] == str(len(made.stack.particles) // 2)


def test_an_absent_program__is_named_with_what_to_install(made: phantoms.Particles, tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="not on this machine"):
        classify.classify_2d(made.stack, classify.Params(executable="/nowhere/relion_refine"), StageContext(tmp_path))


# -- how its answer is read --------------------
@pytest.mark.usefixtures("replayed")
def test_a_recorded_answer__becomes_the_result(made: phantoms.Particles, tmp_path: Path) -> None:
    result = classified(made, tmp_path)
    assert (result.particles.column("particle_id") == made.stack.particles.column("particle_id")).all()
    count = np.bincount(result.particles.column("class_id"), minlength=2)
    assert (count == result.classes.column("n_particles")).all()
    assert count[0] >= count[1]
    averages, _ = mrc.read(KEPT[-1] / "files" / recording.OUTPUTS[0])
    assert sorted(map(float, result.averages.sum(axis=(1, 2)))) == pytest.approx(
        sorted(map(float, averages.sum(axis=(1, 2)))), rel=1e-3
    )
    assert result.classes.floats("distribution_frac").sum() == pytest.approx(1.0, abs=1e-3)
    assert (result.classes.floats("accuracy_rotation_deg") <= 180.0).all()
    result.particles.check()
    # The least score is one of our own log-evidences; RELION's classes have a score made of their accuracy.
    table = by_class.select_particles(result, by_class.Params(min_score=0.0), StageContext(tmp_path))
    assert len(table) > 0


@pytest.mark.usefixtures("replayed")
def test_relions_table__opens_as_ours(made: phantoms.Particles, tmp_path: Path) -> None:
    result = classified(made, tmp_path)
    back = stack_from_star(tmp_path / poses.last_table(tmp_path), images_path=tmp_path / "b.raw", root=tmp_path)
    rows = np.argsort(back.particles.column("stack_index"))  # RELION writes rows in another order
    assert np.array_equal(back.images[rows], classify.in_order(made.stack).images)
    order = np.argsort(made.stack.particles.column("particle_id"))
    assert np.allclose(back.particles.floats("psi_deg")[rows], result.particles.floats("psi_deg")[order], atol=1e-3)


@pytest.mark.usefixtures("replayed")
def test_a_row_that_is_missing__is_the_programs_fault(made: phantoms.Particles, tmp_path: Path) -> None:
    classified(made, tmp_path)
    path = tmp_path / poses.last_table(tmp_path)
    lines = path.read_text().splitlines()
    at = next(number for number, line in enumerate(lines) if "@" in line)
    path.write_text("\n".join([*lines[:at], *lines[at + 1 :], ""]))
    with pytest.raises(PluginError, match="119 rows"):
        views.read(tmp_path, classify.in_order(made.stack))


def test_there_is_a_recorded_answer__for_every_tested_version() -> None:
    assert {path.parent.name for path in KEPT} == set(classify.PROGRAM.tested)


# -- with RELION --------------------
class TestWithRelion:
    pytestmark = relion_answers.needs("relion_refine")

    def test_two_views__are_told_apart(self, made: phantoms.Particles, tmp_path: Path, figure) -> None:
        seen: list[str] = []
        params = replace(recording.PARAMS, n_classes=6, n_iterations=8)
        context = StageContext(tmp_path, on_report=lambda done, total, text: seen.append(text))
        result = classify.classify_2d(made.stack, params, context)
        figure("RELION, 2-D, 120 phantoms 32 px of 2 views", f"{100 * purity(result, made):.0f} % with their like")
        assert purity(result, made) > 0.85
        assert any("iteration" in text for text in seen)

    def test_cancellation__leaves_no_process_behind(self, made: phantoms.Particles, tmp_path: Path) -> None:
        started = tmp_path / poses.OUT / "run_it000_optimiser.star"
        with pytest.raises(Cancelled):
            classified(made, tmp_path, is_cancelled=started.exists)
        assert not relion_answers.left_in(tmp_path)

    def test_failure__is_told_with_relions_last_lines(self, made: phantoms.Particles, tmp_path: Path) -> None:
        params = replace(recording.PARAMS, extra_arguments=("--solvent_mask", "absent.mrc"))
        with pytest.raises(CryoframeError, match=r"absent\.mrc"):
            classify.classify_2d(made.stack, params, StageContext(tmp_path))
