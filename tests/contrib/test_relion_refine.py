"""refine_3d `relion`: what RELION is told and given, how its answer is read, and that it finds the phantom's poses."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import recording_refinement as recording
import relion_answers

from cryoframe import Mask, Refinement, StageContext, Volume
from cryoframe.errors import Cancelled, CryoframeError, HalfSetError, InvalidInput, PluginError
from cryoframe.external import FakeProgram
from cryoframe.formats import mrc
from cryoframe.formats.star_columns import particles_from_star
from cryoframe.formats.star_products import stack_from_star
from cryoframe.numerics import rotations
from cryoframe.testing import phantoms
from cryoframe_relion import poses, refine

KEPT = relion_answers.kept("refine")


@pytest.fixture
def replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    """RELION's recorded answer in place of RELION."""
    absent = SimpleNamespace(name="relion_refine_mpi", executable=lambda: "nowhere", installed_version=lambda: "kept")
    absent.at = lambda path: absent
    monkeypatch.setattr(refine, "PROGRAM", absent)
    monkeypatch.setattr(refine, "MPIRUN", FakeProgram("mpirun", KEPT[-1]))
    # What it would write is among the files of the recorded call.
    monkeypatch.setattr(refine, "RECONSTRUCT", SimpleNamespace(run=lambda command, **_: None))


def refined(made: phantoms.Particles, work: Path, **context: object) -> Refinement:
    work.mkdir(exist_ok=True)
    reference = recording.reference(made)
    return refine.refine_3d(made.stack, reference, None, recording.PARAMS, StageContext(work, **context))  # type: ignore[arg-type]


def pose_errors(result: Refinement, made: phantoms.Particles) -> tuple[float, float]:
    """Median errors of orientation [degrees] and shift [px]."""
    table = result.particles
    found = rotations.euler_to_matrix(*(table.floats(name) for name in ("rot_deg", "tilt_deg", "psi_deg")))
    shifts = np.stack([table.floats("shift_x_A"), table.floats("shift_y_A")], axis=1)
    off = rotations.angular_distance_deg(found, rotations.euler_to_matrix(*made.euler_deg.T))
    apart = np.linalg.norm(shifts - made.shifts_A, axis=1) / phantoms.PIXEL_A
    return float(np.median(off)), float(np.median(apart))


# -- what it is told and given --------------------
def test_the_command__is_the_golden_one(made: phantoms.Particles) -> None:
    command = refine.build(
        made.stack, replace(made.volume, symmetry="D2"), None, refine.Params(n_threads_each=3), seed=4
    )
    assert command.argv == (
        "--oversubscribe", "-n", "3", "relion_refine_mpi", "--o", "out/run", "--i", "particles.star",
        "--ref", "reference.mrc", "--auto_refine", "--split_random_halves", "--firstiter_cc", "--ctf",
        "--ini_high", "30", "--particle_diameter", "108.8", "--sym", "D2", "--flatten_solvent", "--zero_mask",
        "--norm", "--scale", "--healpix_order", "2", "--oversampling", "1", "--auto_local_healpix_order", "4",
        "--offset_range", "6.40", "--offset_step", "2", "--low_resol_join_halves", "40", "--pad", "2", "--pool", "30",
        "--dont_check_norm", "--dont_combine_weights_via_disc", "--j", "3", "--random_seed", "5",
    )  # fmt: skip
    assert ("OMPI_ALLOW_RUN_AS_ROOT", "1") in command.environment


def test_the_command__names_mask_and_last_iteration_where_there_are_any(made: phantoms.Particles) -> None:
    params = refine.Params(n_iterations=3, join_halves_A=0.0, extra_arguments=("--pad", "1"))
    mask = Mask(np.ones_like(made.volume.data), phantoms.PIXEL_A)
    argv = refine.build(made.stack, made.volume, mask, params).argv
    assert argv[-6:] == ("--solvent_mask", "mask.mrc", "--auto_iter_max", "3", "--pad", "1")
    assert argv[argv.index("--low_resol_join_halves") + 1] == "-1"


@pytest.mark.parametrize(("step_deg", "order"), [(30.0, 0), (15.0, 1), (12.0, 1), (7.5, 2), (3.7, 3), (0.4, 6)])
def test_steps__become_the_nearest_of_relions(step_deg: float, order: int) -> None:
    assert refine.healpix_order(step_deg) == order


def test_particles__are_handed_over_with_half_sets_and_without_poses(made: phantoms.Particles, tmp_path: Path) -> None:
    known = {name: np.full(len(made.stack.particles), 7.0, np.float32) for name in poses.FOUND}
    stack = replace(made.stack, particles=made.stack.particles.with_columns(known))
    mask = Mask(np.full_like(made.volume.data, 2.0), phantoms.PIXEL_A)
    poses.hand_over(stack, made.volume, mask, tmp_path)
    columns = particles_from_star(tmp_path / poses.STAR).columns
    assert not set(poses.FOUND) & set(columns)
    assert (columns["half"] == made.stack.particles.column("half")).all()
    back = stack_from_star(tmp_path / poses.STAR, images_path=tmp_path / "images.raw")
    assert np.array_equal(back.images, made.stack.images)
    assert mrc.read(tmp_path / poses.MASK)[0].max() == 1.0


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda s: replace(s, images=s.images[:9], particles=s.particles.select(np.arange(9))), "only 9 particles"),
        (lambda s: replace(s, particles=s.particles.without(["defocus_u_A"])), "no CTF"),
        (lambda s: replace(s, images=np.full_like(s.images, np.nan)), "not finite"),
        (lambda s: replace(s, pixel_size_A=5.0), "pixels of 4.0000 Å in a stack of 5.0000 Å"),
        (lambda s: replace(s, pixel_size_A=5.0, particles=s.particles.without(["pixel_size_A"])), "reference of"),
    ],
)
def test_what_cannot_be_refined__is_said_before_relion_starts(made, tmp_path, spoil, complaint) -> None:
    with pytest.raises(InvalidInput, match=complaint):
        refine.refine_3d(spoil(made.stack), made.volume, None, refine.Params(), StageContext(tmp_path))


def test_one_half_set__is_refused(made: phantoms.Particles) -> None:
    ones = np.ones(len(made.stack.particles), np.uint8)
    alone = replace(made.stack, particles=made.stack.particles.with_columns({"half": ones}))
    with pytest.raises(HalfSetError, match="all in one"):
        poses.check(alone, made.volume, None)


def test_empty_reference_and_mask__are_refused(made: phantoms.Particles) -> None:
    empty = np.zeros_like(made.volume.data)
    with pytest.raises(InvalidInput, match="reference is empty"):
        poses.check(made.stack, Volume(empty, phantoms.PIXEL_A), None)
    with pytest.raises(InvalidInput, match="mask"):
        poses.check(made.stack, made.volume, Mask(empty, phantoms.PIXEL_A))
    with pytest.raises(InvalidInput, match=r"a mask with voxels of 2\.0000 Å for images"):
        poses.check(made.stack, made.volume, Mask(empty + 1.0, 2.0))


@pytest.mark.parametrize("settings", [{"offset_range_A": 20000.0}, {"particle_diameter_A": 1.0}])
def test_extents_that_do_not_fit_the_box__are_refused_before_relion_starts(made, tmp_path, settings) -> None:
    with pytest.raises(InvalidInput, match=next(iter(settings))):
        refine.refine_3d(made.stack, made.volume, None, refine.Params(**settings), StageContext(tmp_path))


def test_the_point_group__is_told_as_relion_writes_it(made: phantoms.Particles) -> None:
    argv = refine.build(made.stack, made.volume, None, refine.Params(symmetry=" d2 ")).argv
    assert argv[argv.index("--sym") + 1] == "D2"


def test_an_absent_program__is_named_with_what_to_install(made: phantoms.Particles, tmp_path: Path) -> None:
    params = refine.Params(executable="/nowhere/relion_refine_mpi")
    with pytest.raises(PluginError, match="not on this machine"):
        refine.refine_3d(made.stack, made.volume, None, params, StageContext(tmp_path))


# -- how its answer is read --------------------
@pytest.mark.usefixtures("replayed")
def test_a_recorded_answer__becomes_the_result(made: phantoms.Particles, tmp_path: Path) -> None:
    lines: list[str] = []
    result = refined(made, tmp_path, on_log=lines.append)
    maps = [mrc.read(KEPT[-1] / "files" / name)[0] for name in recording.OUTPUTS[:4]]
    assert np.array_equal(result.half_maps.first.data, maps[0])
    assert np.array_equal(result.half_maps.second.data, maps[1])
    assert np.allclose(result.volume.data, 0.5 * (maps[2] + maps[3]))
    assert (result.volume.symmetry, result.volume.provenance) == ("C1", "phantom")
    assert (result.particles.column("particle_id") == made.stack.particles.column("particle_id")).all()
    assert (result.particles.column("half") == made.stack.particles.column("half")).all()
    assert pose_errors(result, made)[0] < 25.0
    assert result.iterations.column("iteration").tolist() == [1, 2]
    assert (result.iterations.floats("resolution_A") > 10.0).all()
    assert any(line.startswith("RELION") for line in lines)


@pytest.mark.usefixtures("replayed")
def test_rows_in_another_order__find_their_particles(made: phantoms.Particles, tmp_path: Path) -> None:
    before = refined(made, tmp_path / "a")
    path = tmp_path / "a" / poses.OUT / "run_it002_data.star"
    lines = path.read_text().splitlines()
    rows = [line for line in lines if "@" in line]
    path.write_text("\n".join([*(line for line in lines if "@" not in line), *rows[::-1], ""]))
    again = poses.read(tmp_path / "a", made.stack, made.volume, symmetry="C1", diameter_A=96.0)
    assert np.array_equal(before.particles.floats("rot_deg"), again.particles.floats("rot_deg"))
    path.write_text("\n".join([*(line for line in lines if "@" not in line), *rows[1:], ""]))
    with pytest.raises(PluginError, match="59 rows"):
        poses.read(tmp_path / "a", made.stack, made.volume, symmetry="C1", diameter_A=96.0)


@pytest.mark.usefixtures("replayed")
def test_converged_end__is_taken_before_the_last_iteration(made: phantoms.Particles, tmp_path: Path) -> None:
    refined(made, tmp_path)
    out = tmp_path / poses.OUT
    shutil.copyfile(out / "run_it002_data.star", out / "run_data.star")
    for half in (1, 2):
        shutil.copyfile(tmp_path / poses.reconstructed(half), out / f"run_half{half}_class001_unfil.mrc")
    mrc.write(out / "run_class001.mrc", made.volume.data, pixel_size_A=phantoms.PIXEL_A)
    result = poses.read(tmp_path, made.stack, made.volume, symmetry="C1", diameter_A=96.0)
    assert np.array_equal(result.volume.data, made.volume.data)


def test_no_iteration__is_the_programs_fault(made: phantoms.Particles, tmp_path: Path) -> None:
    assert poses.progress(tmp_path) == (0, 0.0)
    with pytest.raises(PluginError, match="no iteration"):
        poses.read(tmp_path, made.stack, made.volume, symmetry="C1", diameter_A=96.0)


def test_there_is_a_recorded_answer__for_every_tested_version() -> None:
    assert {path.parent.name for path in KEPT} == set(refine.PROGRAM.tested)


# -- with RELION --------------------
class TestWithRelion:
    pytestmark = relion_answers.needs("relion_refine_mpi")

    def test_phantom__is_refined(self, made: phantoms.Particles, tmp_path: Path, figure) -> None:
        seen: list[str] = []
        result = refined(made, tmp_path, on_report=lambda done, total, text: seen.append(text))
        off_deg, off_px = pose_errors(result, made)
        figure("RELION, 60 phantoms 32 px, 2 iterations at 15°", f"poses {off_deg:.1f}°, {off_px:.2f} px")
        assert off_deg < 25.0
        assert off_px < 1.5
        assert any("iteration 1" in text for text in seen)

    def test_cancellation__leaves_no_process_behind(self, made: phantoms.Particles, tmp_path: Path) -> None:
        started = tmp_path / poses.OUT / "run_it000_optimiser.star"
        with pytest.raises(Cancelled):
            refined(made, tmp_path, is_cancelled=started.exists)
        assert not relion_answers.left_in(tmp_path)

    def test_failure__is_told_with_relions_last_lines(self, made: phantoms.Particles, tmp_path: Path) -> None:
        params = replace(recording.PARAMS, extra_arguments=("--solvent_mask", "absent.mrc"))
        with pytest.raises(CryoframeError, match=r"absent\.mrc"):
            refine.refine_3d(made.stack, made.volume, None, params, StageContext(tmp_path))
