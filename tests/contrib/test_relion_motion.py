"""correct_motion `relion_own`: what RELION is told, how its answer is read, and that both agree with the truth."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import drifting
import numpy as np
import pytest
import recording
import relion_answers
from drifting import DOSE_E_A2, N_FRAMES, PIXEL_A, SHAPE_PX

from cryoframe import CorrectedMicrograph, GainReference, Movie, StageContext
from cryoframe.errors import Cancelled, CryoframeError, InvalidInput, PluginError
from cryoframe.external import FakeProgram
from cryoframe.formats import mrc
from cryoframe.formats.star import read_star
from cryoframe.formats.star_motion import motion_from_star
from cryoframe_motion import plugin as own
from cryoframe_relion import plugin
from cryoframe_relion.handover import hand_over, linked_name, star_blocks
from cryoframe_relion.plugin import Params, build, correct_motion, parse

KEPT = relion_answers.kept("motion")
Figure = Callable[[str, object], None]
TRUTH_PX = -drifting.drift_px()


@pytest.fixture(scope="module")
def still() -> np.ndarray:
    return drifting.scene()


def bare(**more: object) -> Movie:
    """A movie of which only the numbers matter."""
    return replace(Movie("mov", "", N_FRAMES, SHAPE_PX, PIXEL_A, DOSE_E_A2, drifting.OPTICS), **more)  # type: ignore[arg-type]


def corrected(movie: Movie, workdir: Path, **params: object) -> CorrectedMicrograph:
    workdir.mkdir(parents=True)
    return correct_motion(movie=movie, params=Params(**params), ctx=StageContext(workdir))  # type: ignore[arg-type]


def track_px(result: CorrectedMicrograph) -> np.ndarray:
    """Whole-frame shifts `(n, 2)` (x, y)."""
    whole = np.isnan(result.motion.floats("patch_x_A"))
    return np.stack([result.motion.floats(f"shift_{axis}_A")[whole] for axis in "xy"], axis=1) / PIXEL_A


def worst_px(found: np.ndarray, truth: np.ndarray) -> float:
    return float(np.abs(found - truth).max())


# -- what RELION is told --------------------
def test_the_command__is_the_golden_one() -> None:
    assert build(bare(), Params(), n_threads=3).argv == (
        "--i", "movies.star", "--o", "out/", "--use_own", "--j", "3", "--patch_x", "5", "--patch_y", "5",
        "--bfactor", "150", "--bin_factor", "1", "--group_frames", "1", "--max_iter", "5", "--preexposure", "0",
        "--dose_per_frame", "1.2", "--dose_weighting", "--save_noDW",
    )  # fmt: skip


def test_the_command__names_a_gain_where_there_is_one() -> None:
    movie = bare(gain=GainReference(drifting.gain_image()))
    assert build(movie, Params()).argv[-2:] == ("--gainref", "gain.mrc")


@pytest.mark.parametrize(("dose", "wanted"), [(0.0, True), (1.2, False)])
def test_the_command__asks_for_no_weighting_without_a_dose_or_wish(dose: float, wanted: bool) -> None:
    argv = build(bare(dose_per_frame_e_A2=dose), Params(dose_weighting=wanted)).argv
    assert "--dose_weighting" not in argv
    assert "--save_noDW" not in argv
    assert ("--dose_per_frame" in argv) == (dose > 0)


def test_the_star_file__holds_the_optics(tmp_path: Path, still: np.ndarray) -> None:
    movie = drifting.filmed(tmp_path / "m.tif", drifting.counts(still).astype("uint8"))
    work = tmp_path / "work"
    work.mkdir()
    assert hand_over(movie, work, link=True) == "movie.tif"
    blocks = read_star(work / "movies.star")
    assert blocks["movies"].value("rlnMicrographMovieName") == "movie.tif"
    wanted = {"rlnMicrographOriginalPixelSize": 1.1, "rlnVoltage": 200.0, "rlnSphericalAberration": 1.4}
    assert {name: float(blocks["optics"].value(name)) for name in wanted} == wanted
    assert (work / "movie.tif").resolve() == (tmp_path / "m.tif").resolve()
    assert not (work / "gain.mrc").exists()


@pytest.mark.parametrize(
    ("name", "dtype", "link"),
    [("m.tif", "uint8", "movie.tif"), ("m.mrc", "uint16", "movie.mrcs"), ("m.mrc", "int16", "movie.mrcs"),
     ("m.mrc", "float32", "movie.mrcs"), ("m.mrc", "int8", None)],
)  # fmt: skip
def test_files__are_linked_where_relion_reads_them_as_we_do(
    name: str, dtype: str, link: str | None, tmp_path: Path, still: np.ndarray
) -> None:
    movie = drifting.filmed(tmp_path / name, drifting.counts(still).astype(dtype))
    assert linked_name(movie) == link
    assert linked_name(replace(movie, path="")) is None
    assert linked_name(replace(movie, n_frames=3)) == (link if name == "m.tif" else None)


def test_written_frames__are_those_of_the_reader_and_the_gain_is_beside_them(tmp_path: Path, still: np.ndarray) -> None:
    gain = drifting.gain_image()
    frames = drifting.counts(still, gain=gain).astype("uint16")
    movie = drifting.filmed(tmp_path / "m.tif", frames, gain=gain)
    work = tmp_path / "work"
    work.mkdir()
    assert hand_over(movie, work, link=False) == "movie.mrcs"
    assert np.array_equal(mrc.read(work / "movie.mrcs")[0], frames)
    assert np.array_equal(mrc.read_image(work / "gain.mrc")[0], gain)
    assert star_blocks(movie, "movie.mrcs")["movies"]["rlnMicrographMovieName"] == ["movie.mrcs"]


# -- how its answer is read --------------------
@pytest.mark.parametrize("kept", KEPT, ids=lambda path: path.parent.name)
def test_a_recorded_answer__becomes_the_result(kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugin, "PROGRAM", FakeProgram("relion_run_motioncorr", kept))
    movie, lines, work = recording.movie(tmp_path), [], tmp_path / "work"
    work.mkdir()
    result = correct_motion(movie=movie, params=recording.PARAMS, ctx=StageContext(work, on_log=lines.append))
    weighted, plain = (mrc.read_image(kept / "files" / name)[0] for name in recording.OUTPUTS[1:3])
    assert np.array_equal(result.micrograph.data, weighted)
    assert result.unweighted is not None
    assert np.array_equal(result.unweighted.data, plain)
    assert (result.micrograph.dose_weighted, result.unweighted.dose_weighted) == (True, False)
    assert result.micrograph.dose_e_A2 == pytest.approx(N_FRAMES * DOSE_E_A2)
    assert result.micrograph.pixel_size_A == PIXEL_A
    assert worst_px(track_px(result), TRUTH_PX) < 0.5
    assert len(result.motion) == N_FRAMES * (1 + 9)
    assert kept.parent.name in lines[0]
    assert any("Global alignment" in line for line in lines)


def test_there_is_a_recorded_answer__for_every_tested_version() -> None:
    assert {path.parent.name for path in KEPT} == set(plugin.PROGRAM.tested)


def test_the_table_of_a_real_track__holds_whole_frames_and_patches_in_angstrom(shared_data: Path) -> None:
    records = motion_from_star(shared_data / "motion/relion5_tracks/20170629_00021_frameImage.star")
    movie = bare(n_frames=24, shape_px=(3838, 3710), pixel_size_A=0.885)
    table = parse(records, movie, Params(patches=(5, 5)))
    table.check()
    assert len(table) == 24 * 26
    assert table.floats("shift_x_A")[:3] == pytest.approx([0.0, 0.960904 * 0.885, 1.954052 * 0.885])
    # The sum of whole-frame shift and local model explains RELION's measured patches, which are relative to the former.
    local = records.local
    assert local is not None
    assert table.floats("patch_x_A")[24::24][:5] == pytest.approx(
        (np.arange(5) + 0.5) * 3710 / 5 * 0.885 - 0.885 / 2, rel=1e-6
    )
    total = table.floats("shift_x_A")[24:].reshape(25, 24) / 0.885 - records.shift_x_px
    measured = local.shift_x_px.reshape(25, 24)
    assert np.mean((measured - total) ** 2) < 0.85 * np.mean(measured**2)
    assert np.abs(total[:, 0]).max() < 1e-3


@pytest.mark.parametrize("wrong", [{"n_frames": 5}, {"shape_px": SHAPE_PX[::-1]}])
def test_an_answer_about_another_movie__is_refused(wrong: dict[str, object]) -> None:
    records = motion_from_star(KEPT[0] / "files" / "out/movie.star")
    with pytest.raises(InvalidInput, match="RELION read 12 frames") as caught:
        parse(records, bare(**({"shape_px": recording.SHAPE_PX} | wrong)), Params())
    assert "link_movie = false" in caught.value.remedy


@pytest.mark.parametrize(
    ("movie", "params"),
    [
        ({"pixel_size_A": 0.0}, {}),
        ({"gain": GainReference(np.ones((3, 4), np.float32))}, {}),
        ({"gain": GainReference(np.full(SHAPE_PX, np.inf, np.float32))}, {}),
        ({}, {"patches": (0, 5)}),
        ({}, {"bin_factor": 0.5}),
        ({}, {"b_factor_px2": float("nan")}),
        ({}, {"link_movie": False}),
    ],
)
def test_what_cannot_be_done__is_said_before_relion_runs(
    movie: dict[str, object], params: dict[str, object], tmp_path: Path
) -> None:
    with pytest.raises(InvalidInput) as caught:
        corrected(bare(**movie), tmp_path / "work", **params)
    assert caught.value.expected


def test_without_relion__the_error_says_what_to_install(tmp_path: Path, still: np.ndarray) -> None:
    movie = drifting.filmed(tmp_path / "m.mrc", drifting.counts(still).astype("uint16"))
    with pytest.raises(PluginError, match="not on this machine") as caught:
        corrected(movie, tmp_path / "work", executable="/nowhere/relion_run_motioncorr")
    assert "apt install relion" in caught.value.remedy


# -- RELION itself --------------------
class TestRelionItself:
    """Real runs; the drift is large along +x and small along +y, so that a wrong sign, axis or flip shows."""

    pytestmark = relion_answers.needs("relion_run_motioncorr")

    @pytest.mark.parametrize(("name", "dtype"), [("m.tif", "uint8"), ("m.tif", "float32"), ("m.mrc", "uint16")])
    @pytest.mark.parametrize("with_gain", [False, True])
    def test_the_track__is_the_truth_and_so_is_our_own_on_the_same_bytes(
        self, name: str, dtype: str, with_gain: bool, tmp_path: Path, still: np.ndarray, figure: Figure
    ) -> None:
        gain = drifting.gain_image() if with_gain else None
        movie = drifting.filmed(tmp_path / name, drifting.counts(still, gain=gain).astype(dtype), gain=gain)
        theirs = corrected(movie, tmp_path / "theirs")
        ours = own.correct_motion(movie=movie, params=own.Params(), ctx=StageContext(tmp_path))
        errors = [worst_px(track_px(result), TRUTH_PX) for result in (theirs, ours)]
        figure("worst error of a frame, relion_own / global [px]", " / ".join(f"{error:.2f}" for error in errors))
        assert max(errors) < 0.5
        alike = drifting.likeness(theirs.micrograph.data, still)
        assert alike.upright > 0.9
        assert max(abs(alike.flipped_x), abs(alike.flipped_y)) < 0.1

    @pytest.mark.parametrize(("name", "dtype"), [("m.tif", "uint8"), ("m.tif", "int16"), ("m.mrc", "float32")])
    def test_a_linked_file__gives_the_same_bytes_as_written_frames(
        self, name: str, dtype: str, tmp_path: Path, still: np.ndarray
    ) -> None:
        gain = drifting.gain_image()
        movie = drifting.filmed(tmp_path / name, drifting.counts(still, gain=gain).astype(dtype), gain=gain)
        linked, written = (corrected(movie, tmp_path / str(link), link_movie=link) for link in (True, False))
        assert np.array_equal(linked.micrograph.data, written.micrograph.data)
        assert np.array_equal(track_px(linked), track_px(written))

    @pytest.mark.parametrize("name", ["m.tif", "m.mrc"])
    def test_patches__move_as_the_specimen_does_where_they_are(
        self, name: str, tmp_path: Path, still: np.ndarray, figure: Figure
    ) -> None:
        movie = drifting.filmed(tmp_path / name, drifting.counts(still, local_px=4.0).astype("uint16"))
        table = corrected(movie, tmp_path / "work", patches=(3, 4)).motion
        last = (table.floats("frame") == N_FRAMES - 1) & np.isfinite(table.floats("patch_x_A"))
        row = table.floats("patch_y_A")[last] / PIXEL_A
        bend_px = 8.0 * ((row + 0.5) / SHAPE_PX[0] - 0.5)
        found = np.stack([table.floats(f"shift_{axis}_A")[last] for axis in "xy"]) / PIXEL_A
        errors = [worst_px(found[0], TRUTH_PX[-1, 0] - bend_px), worst_px(found[1], TRUTH_PX[-1, 1])]
        figure("worst error of a patch, x / y [px]", " / ".join(f"{error:.2f}" for error in errors))
        assert max(errors) < 0.5

    def test_binning__makes_larger_pixels_and_the_same_shifts(self, tmp_path: Path, still: np.ndarray) -> None:
        movie = drifting.filmed(tmp_path / "m.tif", drifting.counts(still).astype("uint8"))
        result = corrected(movie, tmp_path / "work", bin_factor=2.0, patches=(1, 1))
        assert result.micrograph.data.shape == (SHAPE_PX[0] // 2, SHAPE_PX[1] // 2)
        assert result.micrograph.pixel_size_A == pytest.approx(2 * PIXEL_A)
        assert worst_px(track_px(result), TRUTH_PX) < 0.5
        assert len(result.motion) == N_FRAMES

    def test_the_recorded_answer__is_what_this_relion_says(self, tmp_path: Path) -> None:
        version = plugin.PROGRAM.installed_version()
        if version not in plugin.PROGRAM.tested:
            pytest.skip(f"RELION {version} is not a tested version")
        kept = recording.RECORDED / version / "motion" / "files"
        result = corrected(recording.movie(tmp_path), tmp_path / "work", patches=recording.PARAMS.patches)
        before = motion_from_star(kept / "out/movie.star")
        assert worst_px(track_px(result), np.stack([before.shift_x_px, before.shift_y_px], axis=1)) < 1e-4
        assert np.allclose(result.micrograph.data, mrc.read_image(kept / "out/movie.mrc")[0], rtol=1e-5)

    def test_cancellation__ends_relion_within_a_second(self, tmp_path: Path) -> None:
        frames = np.random.default_rng(1).poisson(3.0, (24, 1024, 1024)).astype("uint8")
        movie = drifting.filmed(tmp_path / "m.tif", frames)
        stop = threading.Event()
        said: list[str] = []

        def heard(done: int, total: int, message: str) -> None:
            said.append(message)
            if len(said) == 4:
                stop.set()

        work = tmp_path / "work"
        work.mkdir()
        ctx = StageContext(work, on_report=heard, is_cancelled=stop.is_set)
        begun_s = time.monotonic()
        with pytest.raises(Cancelled):
            correct_motion(movie=movie, params=Params(), ctx=ctx)
        assert time.monotonic() - begun_s < 5.0
        assert said[1] == "RELION aligns"
        assert not (work / "out" / "movie.mrc").exists()

    def test_a_movie_that_is_no_number__is_refused(self, tmp_path: Path) -> None:
        movie = drifting.filmed(tmp_path / "m.mrc", np.full((4, *SHAPE_PX), np.nan, np.float32))
        with pytest.raises(CryoframeError) as caught:
            corrected(movie, tmp_path / "work")
        assert caught.value.expected
