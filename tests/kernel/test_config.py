"""A configuration is understood whole or refused with the key, the file and the nearest valid key."""

from __future__ import annotations

from pathlib import Path

import pytest

from cryoframe.errors import ConfigError
from cryoframe.kernel import config
from cryoframe.kernel.config import RunConfig

pytestmark = pytest.mark.usefixtures("no_discovery")

FULL = """
[run]
name = "apof"
folder = "runs/apof"
device = "cpu"
seed = 7
workers = 2
executor = "inline"

[plugins]
files = ["our_stage.py"]
blocked = ["acme"]

[optics]
voltage_kV = 200
cs_mm = 1.4

[movies]
files = "frames/*/*.tiff"
pixel_size_A = 0.832
dose_per_frame_e_A2 = 1.1
gain = "gain.mrc"
n_frames_expected = 40

[particles]
file = "particles.star"

[[volumes]]
file = "map.mrc"
symmetry = "D2"

[watch]
folder = "incoming"
patterns = "*.tiff"
settle_s = 3
observer = "polling"

[[stage]]
run = "correct_motion"
use = "patch"
params = { patches = [5, 5] }

[[stage]]
id = "ctf"
run = "estimate_ctf"
from = "correct_motion"
every = 10
python = "envs/x/bin/python"
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "run.toml"
    path.write_text(text, encoding="utf-8")
    return path


def read(folder: Path, text: str) -> RunConfig:
    return config.load(write(folder, text))


def test_a_full_configuration__is_read_with_types_and_absolute_paths(tmp_path: Path) -> None:
    run = read(tmp_path, FULL)
    assert (run.name, run.folder, run.seed, run.workers, run.executor) == (
        "apof",
        tmp_path / "runs/apof",
        7,
        2,
        "inline",
    )
    assert run.plugin_files == (tmp_path / "our_stage.py",)
    assert run.blocked == ("acme",)
    assert run.optics.voltage_kV == 200.0
    movies = run.input("movies")
    assert movies is not None
    assert movies.files == (str(tmp_path / "frames/*/*.tiff"),)
    assert (movies.gain, movies.n_frames_expected) == (tmp_path / "gain.mrc", 40)
    volumes = run.input("volumes")
    assert volumes is not None
    assert (volumes.file, volumes.symmetry, volumes.pixel_size_A) == (tmp_path / "map.mrc", "D2", None)
    assert run.watch.folders == (tmp_path / "incoming",)
    assert (run.watch.patterns, run.watch.settle_s) == (("*.tiff",), 3.0)
    assert [stage.id for stage in run.stages] == ["correct_motion", "ctf"]
    assert run.stages[0].params == {"patches": [5, 5]}
    assert (run.stages[1].from_, run.stages[1].every) == (("correct_motion",), 10)
    assert run.stages[1].python == tmp_path / "envs/x/bin/python"


def test_the_smallest_configuration__has_sensible_defaults(tmp_path: Path) -> None:
    run = read(tmp_path, '[[stage]]\nrun = "estimate_ctf"\n')
    assert (run.name, run.folder, run.device, run.executor) == ("run", tmp_path / "runs/run", "auto", "processes")
    assert run.workers >= 1
    assert run.optics.voltage_kV == 300.0


def test_the_digest__follows_the_content_and_not_the_layout(tmp_path: Path) -> None:
    first = read(tmp_path, "[run]\nseed = 1\nname = 'x'\n").digest
    assert read(tmp_path, "# a comment\n[run]\nname = 'x'\nseed = 1\n").digest == first
    assert read(tmp_path, "[run]\nname = 'x'\nseed = 2\n").digest != first


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[ran]\n", "unknown key 'ran' — did you mean 'run'"),
        ("[run]\nsed = 1\n", "[run]: unknown key 'sed' — did you mean 'seed'"),
        ("[run]\ndevise = 'cpu'\n", "did you mean 'device'"),
        ("[run]\nworker = 2\n", "did you mean 'workers'"),
        ("[run]\nblocked = []\n", "[run]: unknown key 'blocked'"),
        ("[plugins]\nfile = []\n", "[plugins]: unknown key 'file' — did you mean 'files'"),
        ("[optics]\nvoltage_kv = 300\n", "[optics]: unknown key 'voltage_kv' — did you mean 'voltage_kV'"),
        ("[optics]\ncs_nm = 2.7\n", "did you mean 'cs_mm'"),
        ("[movies]\nfile = 'x'\n", "[movies]: unknown key 'file' — did you mean 'files'"),
        ("[movies]\nfiles = 'x'\ndose_e_A2 = 1.0\n", "[movies]: unknown key 'dose_e_A2'"),
        ("[micrographs]\nfiles = 'x'\npixel_size = 1.0\n", "did you mean 'pixel_size_A'"),
        ("[micrographs]\nfiles = 'x'\ngain = 'g.mrc'\n", "[micrographs]: unknown key 'gain'"),
        ("[particles]\nfiles = 'x'\n", "[particles]: unknown key 'files' — did you mean 'file'"),
        ("[volumes]\nfile = 'x'\nsymetry = 'D2'\n", "did you mean 'symmetry'"),
        ("[watch]\nsettle = 1\n", "[watch]: unknown key 'settle' — did you mean 'settle_s'"),
        ("[watch]\npol_s = 1\n", "did you mean 'poll_s'"),
        ("[[stage]]\nrum = 'x'\n", "[[stage]] 1: unknown key 'rum' — did you mean 'run'"),
        (
            "[[stage]]\nid = 'ctf'\nrun = 'x'\nparam = {}\n",
            "[[stage]] ctf: unknown key 'param' — did you mean 'params'",
        ),
        ("[[stage]]\nrun = 'x'\nmemory_mb = 1\n", "did you mean 'memory_MB'"),
        ("[[stage]]\nrun = 'x'\nfrom_ = ['y']\n", "did you mean 'from'"),
    ],
)
def test_an_unknown_key__names_file_section_and_the_nearest(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    assert str(caught.value).startswith("run.toml")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[run]\nseed = 'a'\n", "[run] seed is 'a'; expected a whole number"),
        ("[run]\nseed = true\n", "[run] seed is True; expected a whole number"),
        ("[run]\nworkers = 0\n", "workers is 0; expected more than 0"),
        ("[run]\nworkers = 5000\n", "workers is 5000; expected at most 4096"),
        ("[run]\ndevice = 'gpu'\n", "expected auto, cpu, cuda or cuda:n"),
        ("run = 1\n", "expected a table, written [run]"),
        ("[optics]\nvoltage_kV = 'high'\n", "voltage_kV is 'high'; expected a number"),
        ("[optics]\nvoltage_kV = 0\n", "voltage_kV is 0"),
        ("[optics]\namplitude_contrast_frac = 7\n", "expected 0 to 1"),
        ("[micrographs]\nfiles = 3\n", "files is 3; expected a list"),
        ("[micrographs]\nfiles = ['x', 3]\n", "files[1] is 3; expected text"),
        ("[micrographs]\npixel_size_A = 1.0\n", "'files' is missing"),
        ("[micrographs]\nfiles = 'x'\npixel_size_A = -1.0\n", "pixel_size_A is -1.0; expected more than 0"),
        ("[micrographs]\nfiles = 'x'\npixel_size_A = 150\n", "pixel_size_A is 150.0; expected at most 100"),
        ("[particles]\nroot = 'x'\n", "'file' is missing"),
        ("[watch]\nobserver = 'inotify'\n", "expected one of 'auto', 'native', 'polling'"),
        ("[watch]\nmetadata = 'optionel'\n", "did you mean 'optional'"),
        ("[watch]\nsettle_s = 0\n", "settle_s is 0"),
        ("[stage]\nrun = 'x'\n", "expected [[stage]]"),
        ("[[stage]]\nid = 'x'\n", "'run' is missing"),
        ("[[stage]]\nrun = 'x'\nparams = 3\n", "params is 3; expected a table"),
        ("[[stage]]\nrun = 'x'\nattempts = 0\n", "attempts is 0"),
        ("[[stage]]\nrun = 'x'\n[[stage]]\nrun = 'x'\n", "two stages have this id"),
        ("[[stage]]\nid = '../x'\nrun = 'x'\n", "not a usable id"),
        ("[[stage]]\nid = 'input-x'\nrun = 'x'\n", "not a usable id"),
        ("[[stage]]\nrun = 'x'\ndevice = 'gpu'\n", "expected auto, cpu, cuda or cuda:n"),
        ("[run\n", "is not TOML"),
    ],
)
def test_a_wrong_value__says_what_was_expected(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    assert message in str(caught.value)


def test_a_missing_file__is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml cannot be read \(No such file"):
        config.load(tmp_path / "nowhere.toml")


def test_patterns__give_sorted_files_with_the_fixed_part_as_root(tmp_path: Path) -> None:
    for name in ("in/b/2.mrc", "in/a/1.mrc", "in/a/note.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "in/a/folder.mrc").mkdir()
    section = read(tmp_path, "[micrographs]\nfiles = ['in/*/*.mrc', 'in/a/1.mrc']\n").input("micrographs")
    assert section is not None
    assert [(root.relative_to(tmp_path), path.name) for root, path in section.paths()] == [
        (Path("in"), "1.mrc"),
        (Path("in"), "2.mrc"),
    ]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("[movies]\nfiles = 'x'\n", ""),
        ("[watch]\nfolder = 'in'\n", "micrographs"),
        ("[watch]\nfolder = 'in'\nkind = 'movies'\n", "movies"),
        ("[watch]\nfolder = 'in'\n[movies]\nfiles = 'x'\n", "movies"),
    ],
)
def test_what_a_watched_file_is__follows_from_the_sections(tmp_path: Path, text: str, kind: str) -> None:
    assert read(tmp_path, text).watched_kind == kind


def test_what_is_not_said_of_the_microscope__is_listed_where_images_come_in(tmp_path: Path) -> None:
    images = "[micrographs]\nfiles = 'x'\n"
    assert read(tmp_path, images).assumed_optics == ("voltage_kV", "cs_mm", "amplitude_contrast_frac")
    partly = read(tmp_path, images + "[optics]\nvoltage_kV = 300.0\ncs_mm = 2.7\n")
    assert partly.assumed_optics == ("amplitude_contrast_frac",)
    assert partly.optics_remark() == "optics assumed: amplitude contrast 0.1; set [optics]"
    assert read(tmp_path, "[particles]\nfile = 'x.star'\n").assumed_optics == ()
