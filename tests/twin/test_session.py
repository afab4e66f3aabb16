"""A session's file: every key known and bounded, defaults for all, and what is wrong said before anything is made."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from session_world import plugins_of, settings, small

from cryoframe.errors import ConfigError, PluginError
from cryoframe.twin import checks
from cryoframe.twin.prepare import prepare
from cryoframe.twin.session import Image, from_mapping, load, of_models


def test_a_model_alone__is_a_session_with_every_default(tmp_path: Path) -> None:
    config = from_mapping(of_models([tmp_path / "6z6u.cif.gz"]), folder=tmp_path)
    assert [one.name for one in config.specimens] == ["6z6u"]
    assert (config.n_movies, config.image.total_e_A2, config.stage.use) == (24, 40.0, "physical")
    assert config.folder == tmp_path / "session"
    assert config.truth == tmp_path / "session-truth"


@pytest.mark.parametrize(
    ("section", "key", "meant"),
    [
        ("session", "n_movie", "n_movies"),
        ("image", "pixel_size", "pixel_size_A"),
        ("defocus", "minimum_A", "min_A"),
        ("grid", "shot_per_hole", "shots_per_hole"),
        ("camera", "present", "preset"),
    ],
)
def test_an_unknown_key__is_an_error_with_the_nearest(tmp_path: Path, section: str, key: str, meant: str) -> None:
    with pytest.raises(ConfigError, match=f"did you mean '{meant}'"):
        small(tmp_path, **{section: {key: 1}})


def test_an_unknown_section__is_an_error_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'specimen'"):
        from_mapping({"specimens": []}, folder=tmp_path)


@pytest.mark.parametrize(
    ("section", "values"),
    [
        ("image", {"dose_e_A2": 5000.0}),
        ("image", {"dose_per_frame_e_A2": 101.0}),
        ("image", {"dose_e_A2": float("nan")}),
        ("image", {"shape_px": [8, 8]}),
        ("image", {"pixel_size_A": 0.0}),
        ("session", {"n_movies": 0}),
        ("session", {"name": "a/b"}),
        ("session", {"kind": "tif"}),
        ("session", {"begin_utc": "noon"}),
        ("defocus", {"min_A": 3e4, "max_A": 1e4}),
        ("ice", {"min_A": -1.0}),
        ("tilt", {"stage_tilt_deg": 89.0}),
    ],
)
def test_what_cannot_be_meant__is_refused(tmp_path: Path, section: str, values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        small(tmp_path, **{section: values})


def test_dose_of_frames_and_of_the_whole__follow_from_each_other() -> None:
    assert Image(n_frames=40, dose_e_A2=50.0).frame_e_A2 == 1.25
    assert Image(n_frames=40, dose_per_frame_e_A2=1.5).total_e_A2 == 60.0


@pytest.mark.parametrize(
    "specimen",
    [
        {"name": "nothing"},
        {"file": "thing.quick", "distractor": "broken", "of": "thing"},
        {"distractor": "aggregate", "of": "elsewhere"},
        {"file": "thing.quick", "conformations": [1.5]},
        {"file": "thing.quick", "views": [{"kapa": 3.0}]},
        {"file": "thing.quick", "views": [{"weight": -1.0}]},
    ],
)
def test_a_specimen_that_contradicts_itself__is_refused(tmp_path: Path, specimen: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        small(tmp_path, specimen=[{"file": "thing.quick"}, {"name": "second", **specimen}])


def test_a_file_that_is_not_toml__is_named(tmp_path: Path) -> None:
    path = tmp_path / "session.toml"
    path.write_text("[session\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"session\.toml is not TOML"):
        load(path)


def _prepared(folder: Path, **changed: Any) -> None:
    config = small(folder, **changed)
    prepare(config, plugins_of(config), n_workers=1, resume=False)


def test_a_truth_in_the_watched_folder__is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="lies inside the session's folder"):
        _prepared(tmp_path, session={"truth": "out/hidden"})


def test_a_truth_that_leads_into_the_watched_folder_by_a_link__is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "aside").symlink_to(tmp_path / "out")
    with pytest.raises(ConfigError, match="lies inside the session's folder"):
        _prepared(tmp_path, session={"truth": "aside/truth"})


def test_a_folder_that_is_not_empty__is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old.mrc").touch()
    with pytest.raises(ConfigError, match="is not empty"):
        _prepared(tmp_path)


def test_a_disk_without_room__is_refused_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(checks.shutil, "disk_usage", lambda _: usage._replace(free=checks.RESERVE_BYTES + 10**5))
    with pytest.raises(ConfigError, match=r"has 0\.5 GB free"):
        _prepared(tmp_path, session={"n_movies": 100})
    assert not (tmp_path / "truth").exists()


def test_a_model_that_is_missing_or_of_no_known_kind__is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no file"):
        _prepared(tmp_path, specimen=[{"file": "absent.cif"}])
    (tmp_path / "notes.txt").write_text("no model", encoding="utf-8")
    with pytest.raises(ConfigError, match="no reader understands"):
        _prepared(tmp_path, specimen=[{"file": "notes.txt"}])


def test_an_unknown_stage_or_parameter__is_an_error_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="did you mean 'quick_stage'"):
        _prepared(tmp_path, simulate={"use": "quick_stag"})
    with pytest.raises(ConfigError, match="did you mean 'wait_s'"):
        _prepared(tmp_path, simulate={"params": {"waits": 1.0}})


def test_an_unknown_preset__is_refused_by_the_stage_that_knows_them(tmp_path: Path) -> None:
    content = settings(tmp_path, microscope={"preset": "krios_g44"}, simulate={"use": "physical"})
    config = from_mapping(content, folder=tmp_path)
    with pytest.raises(ConfigError, match="krios_g44"):
        prepare(config, plugins_of(config), n_workers=1, resume=False)


def test_a_dry_run__makes_nothing(tmp_path: Path) -> None:
    config = small(tmp_path)
    ready = prepare(config, plugins_of(config), n_workers=1, resume=False, dry=True)
    assert ready.cost.particles > 0
    assert not config.truth.exists()
    assert not config.folder.exists()
