"""Motion of any alignment written for RELION's polishing, and RELION's read back as a table."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cryoframe.data.images import CorrectedMicrograph, Micrograph
from cryoframe.data.motion import MotionField, MotionMetadata
from cryoframe.data.tables import MotionTable
from cryoframe.errors import InvalidInput
from cryoframe.formats import products
from cryoframe.formats.star_motion import motion_from_star
from cryoframe.formats.star_motion_write import metadata_of, motion_table_of, motion_to_star

PIXEL_A, SHAPE, N = 0.9, (512, 640), 10
METADATA = MotionMetadata(
    "movies/a.tif", SHAPE, PIXEL_A, N, 1.2, 0.5, 200.0, gain="movies/gain.mrc",
    defects_px=np.array([[3, 4], [600, 500]], dtype=np.int32),
)  # fmt: skip


def path_px(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Shifts `(…, f, 2)` that RELION's model holds exactly, besides those of whole frames."""
    t = np.arange(N, dtype=np.float64)
    u, v = (np.asarray(a, float)[..., None] / n - 0.5 for a, n in zip((x, y), SHAPE[::-1], strict=True))
    local = np.stack([(u - 0.3 * v) * t * 0.2 + u * u * t**2 * 0.01, u * v * t * 0.3 - v * t**3 * 1e-3], axis=-1)
    return np.stack([1.5 * np.sqrt(t), -0.7 * t], axis=-1) + local


def corrected(n_patches: int = 4) -> CorrectedMicrograph:
    x, y = ((np.arange(n_patches) + 0.5) * n / n_patches - 0.5 for n in SHAPE[::-1])
    x, y = np.tile(x, n_patches), np.repeat(y, n_patches)
    whole = path_px(np.array(SHAPE[1] / 2), np.array(SHAPE[0] / 2))
    shifts = np.concatenate([whole[None], path_px(x, y)]) * PIXEL_A
    table = MotionTable.from_columns(
        {
            "frame": np.tile(np.arange(N, dtype=np.int32), len(shifts)),
            "patch_x_A": np.repeat(np.append(np.nan, x * PIXEL_A), N).astype(np.float32),
            "patch_y_A": np.repeat(np.append(np.nan, y * PIXEL_A), N).astype(np.float32),
            "shift_x_A": shifts[..., 0].ravel().astype(np.float32),
            "shift_y_A": shifts[..., 1].ravel().astype(np.float32),
        }
    )
    micrograph = Micrograph("a", np.zeros(SHAPE, np.float32), PIXEL_A)
    return CorrectedMicrograph(micrograph, table, metadata=METADATA)


def test_motion_at_any_place__follows_from_the_table() -> None:
    field = MotionField.of(corrected().motion, (SHAPE[1] * PIXEL_A, SHAPE[0] * PIXEL_A))
    rng = np.random.default_rng(1)
    x, y = rng.uniform(0, SHAPE[1], 30), rng.uniform(0, SHAPE[0], 30)
    assert field.shifts_A(x * PIXEL_A, y * PIXEL_A) == pytest.approx(path_px(x, y) * PIXEL_A, abs=2e-3)


def test_what_is_written__is_read_back(tmp_path: Path) -> None:
    made = corrected()
    motion_to_star(tmp_path / "a.star", made)
    records = motion_from_star(tmp_path / "a.star")
    assert (records.movie_name, records.gain_name) == ("movies/a.tif", "movies/gain.mrc")
    assert (records.shape_px, records.n_frames, records.start_frame, records.binning) == (SHAPE, N, 0, 1.0)
    assert (records.dose_per_frame_e_A2, records.pre_exposure_e_A2, records.voltage_kV) == (1.2, 0.5, 200.0)
    assert records.hot_pixels.tolist() == [[3, 4], [600, 500]]
    x, y = np.array([50.0, 400.0, 620.0]), np.array([500.0, 30.0, 256.0])
    local = np.stack(records.model_shift_px(np.arange(N, dtype=float), x[:, None], y[:, None]), axis=-1)
    whole = np.stack([records.shift_x_px, records.shift_y_px], axis=-1)
    assert whole + local == pytest.approx(path_px(x, y), abs=2e-3)
    table = motion_table_of(records)
    for name in table.names:
        assert table.floats(name) == pytest.approx(made.motion.floats(name), abs=1e-3, nan_ok=True)
    assert replace(metadata_of(records), defects_px=None) == replace(METADATA, defects_px=None)


def test_relions_own_motion__becomes_a_table_and_comes_back_the_same(shared_data: Path, tmp_path: Path) -> None:
    path = sorted((shared_data / "motion/relion5_tracks").glob("*.star"))[0]
    records = motion_from_star(path)
    table, metadata = motion_table_of(records), metadata_of(records)
    assert len(table) == 24 * 26
    assert np.isnan(table.floats("patch_x_A")).sum() == 24
    assert table.floats("shift_x_A")[1] == pytest.approx(0.960904 * 0.885, abs=1e-5)
    micrograph = Micrograph("a", np.zeros((2, 2), np.float32), 0.885)
    motion_to_star(tmp_path / "b.star", CorrectedMicrograph(micrograph, table, metadata=metadata))
    again = motion_from_star(tmp_path / "b.star")
    assert again.shift_x_px == pytest.approx(records.shift_x_px, abs=1e-4)
    # Both models are fits to the same patches; theirs leaves out patches that do not fit.
    time, x, y = np.arange(24.0)[:, None], np.array([400.0, 1800.0, 3300.0]), np.array([3400.0, 1900.0, 500.0])
    ours, theirs = (np.stack(r.model_shift_px(time, x, y)) for r in (again, records))
    assert np.sqrt(((ours - theirs) ** 2).mean()) < 0.5


@pytest.mark.parametrize("n_patches", [0, 1, 2])
def test_few_patches__give_a_model_of_low_order(n_patches: int, tmp_path: Path) -> None:
    made = corrected(max(n_patches, 1))
    if not n_patches:
        rows = np.flatnonzero(np.isnan(made.motion.floats("patch_x_A")))
        made = replace(
            made, motion=MotionTable.from_columns({n: made.motion.column(n)[rows] for n in made.motion.names})
        )
    motion_to_star(tmp_path / "a.star", made)
    records = motion_from_star(tmp_path / "a.star")
    assert records.model is not None
    assert not records.model[:, 1:].any()


def test_dose_of_each_frame_and_of_those_left_over__is_accounted_for() -> None:
    metadata = replace(METADATA, n_left_over=6, frames_per_fraction=12)
    assert metadata.dose_after_e_A2[[0, -1]] == pytest.approx([1.7, 12.5])
    assert metadata.whole_dose_e_A2 == pytest.approx(12.5 + 0.6)


def test_events__are_written_as_relion_groups_them(tmp_path: Path) -> None:
    metadata = replace(METADATA, frames_per_fraction=12, upsampling=2)
    motion_to_star(tmp_path / "a.star", replace(corrected(), metadata=metadata))
    text = (tmp_path / "a.star").read_text()
    assert "_rlnEERGrouping" in text
    assert "_rlnEERUpsampling" in text


def test_metadata__is_kept_with_the_micrograph(tmp_path: Path) -> None:
    made = corrected()
    products.save(made, tmp_path)
    again = products.load(tmp_path)
    assert isinstance(again, CorrectedMicrograph)
    assert again.metadata is not None
    assert np.array_equal(again.metadata.defects_px, METADATA.defects_px)  # type: ignore[arg-type]
    assert replace(again.metadata, defects_px=None) == replace(METADATA, defects_px=None)


def test_motion_without_metadata_or_dose__is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no metadata"):
        motion_to_star(tmp_path / "a.star", replace(corrected(), metadata=None))
    with pytest.raises(InvalidInput, match="dose"):
        motion_to_star(tmp_path / "a.star", replace(corrected(), metadata=replace(METADATA, dose_per_frame_e_A2=0.0)))
    with pytest.raises(InvalidInput, match="whole frames"):
        MotionField.of(MotionTable.empty(), (1.0, 1.0))


@pytest.mark.relion
@pytest.mark.skipif(shutil.which("relion_star_printtable") is None, reason="RELION is not installed")
def test_relions_reader__opens_it(tmp_path: Path) -> None:
    motion_to_star(tmp_path / "a.star", corrected())
    for block, column, first in (
        ("data_global_shift", "rlnMicrographShiftY", 0.0),
        ("data_local_motion_model", "rlnMotionModelCoeff", None),
        ("data_hot_pixels", "rlnCoordinateX", 3.0),
    ):
        command = ["relion_star_printtable", str(tmp_path / "a.star"), block, f"_{column}"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        values = [float(word) for word in done.stdout.split()]
        assert values
        assert first is None or values[0] == first
