"""Any one stage runs on any files, and what it made can be read by other programs and by the next stage."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from command_line import Cli

from cryoframe.data.images import CtfFit, ParticleStack
from cryoframe.data.tables import ParticleTable
from cryoframe.formats import mrc, products
from cryoframe.formats.star_columns import particles_from_star

Make = Callable[[str], Path]


@pytest.fixture
def own(facility: Path) -> list[str]:
    """Flags that bring the facility's plugin in."""
    return ["--plugin-file", str(facility)]


def test_a_stage_on_a_micrograph__writes_a_product(cli: Cli, micrograph: Make, own: list[str], tmp_path: Path) -> None:
    done = cli("stage", "estimate_ctf", "facility", micrograph("m"), "--out", tmp_path / "ctf", *own)
    assert done.returncode == 0, done.stderr
    assert "m.mrc: CtfFit in " in done.stdout
    fit = products.load(tmp_path / "ctf")
    assert isinstance(fit, CtfFit)
    assert (fit.micrograph_id, fit.defocus_u_A, fit.defocus_v_A) == ("m.mrc", 10000.0, 9700.0)


def test_parameters_and_optics__are_set_on_the_command_line(cli: Cli, micrograph: Make, own: list[str]) -> None:
    words = ["--set", "defocus_A=5000", "--set", "optics.voltage_kV=200", "--json"]
    done = cli("stage", "estimate_ctf", "facility", micrograph("m"), *words, *own)
    result = json.loads(done.stdout)["results"][0]
    assert (result["product"]["defocus_u_A"], result["product"]["defocus_v_A"]) == (5000.0, 4800.0)
    assert list(result["metrics"]) == ["mean_grey"]
    assert result["out"] is None


def test_the_next_stage__takes_what_an_earlier_one_wrote(
    cli: Cli, micrograph: Make, own: list[str], tmp_path: Path
) -> None:
    image = micrograph("m")
    cli("stage", "estimate_ctf", "facility", image, "--out", tmp_path / "ctf", *own)
    done = cli("stage", "pick_particles", "facility", image, tmp_path / "ctf", "--out", tmp_path / "picks", *own)
    assert done.returncode == 0, done.stderr
    table = products.load(tmp_path / "picks")
    assert isinstance(table, ParticleTable)
    assert table.floats("figure_of_merit").tolist() == [10000.0, 10010.0, 10020.0]
    records = particles_from_star(tmp_path / "picks" / "particles.star")
    assert np.allclose(records.columns["x_A"], [0.0, 10.0, 20.0])
    assert set(records.columns["micrograph_name"]) == {"m.mrc"}


def test_picks_and_ctf_from_star_files__are_understood(
    cli: Cli, micrograph: Make, own: list[str], tmp_path: Path
) -> None:
    ctf = tmp_path / "micrographs_ctf.star"
    labels = ("MicrographName", "DefocusU", "DefocusV", "DefocusAngle")
    head = "\n".join(f"_rln{label} #{at}" for at, label in enumerate(labels, 1))
    ctf.write_text(f"data_\n\nloop_\n{head}\nm.mrc 8000 7900 12\nother.mrc 1 1 1\n\n")
    done = cli("stage", "pick_particles", "facility", micrograph("m"), ctf, "--out", tmp_path / "picks", *own)
    assert done.returncode == 0, done.stderr
    table = products.load(tmp_path / "picks")
    assert isinstance(table, ParticleTable)
    assert table.floats("figure_of_merit")[0] == 8000.0


def test_several_micrographs__get_a_folder_each_and_one_bad_one_fails_alone(
    cli: Cli, micrograph: Make, own: list[str], tmp_path: Path
) -> None:
    files = [micrograph(name) for name in ("first", "bad", "third")]
    done = cli("stage", "estimate_ctf", "facility", *files, "--set", "trip=bad", "--out", tmp_path / "out", *own)
    assert done.returncode == 1
    assert "bad.mrc: file: " in done.stderr
    assert "this one is refused" in done.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["first", "third"]


def test_isolated_calls__give_the_same(cli: Cli, micrograph: Make, own: list[str]) -> None:
    words = ("stage", "estimate_ctf", "facility", micrograph("m"), "--json", *own)
    plain, apart = (json.loads(cli(*words, *more).stdout)["results"][0]["product"] for more in ((), ("--isolate",)))
    assert plain == apart


def test_nothing_is_replaced__unless_forced(cli: Cli, micrograph: Make, own: list[str], tmp_path: Path) -> None:
    words = ("stage", "estimate_ctf", "facility", micrograph("m"), "--out", tmp_path / "ctf", *own)
    assert cli(*words).returncode == 0
    refused = cli(*words)
    assert refused.returncode == 2
    assert "is not empty" in refused.stderr
    assert cli(*words, "--force").returncode == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("stage", "estimate_cft", "x", "y"), "did you mean 'estimate_ctf'"),
        (("stage", "estimate_ctf", "spectra", "y"), "did you mean 'spectrum'"),
        (("stage", "estimate_ctf", "spectrum", "nowhere.mrc"), "there is no file 'nowhere.mrc'"),
        (("stage", "pick_particles", "facility", "data/m.mrc"), "needs a CtfFit as 'ctf'"),
        (("stage", "estimate_ctf", "facility", "data/m.mrc", "facility.py.star"), "serves no argument"),
        (("stage", "estimate_ctf", "facility", "data/m.mrc", "--set", "defocus=1"), "did you mean 'defocus_A'"),
        (("stage", "estimate_ctf", "facility", "data/m.mrc", "--set", "optics.voltage=1"), "did you mean 'voltage_kV'"),
        (("stage", "estimate_ctf", "facility", "data/m.mrc", "--set", "nothing"), "expected: KEY=VALUE"),
        (("stage", "estimate_ctf", "facility", "data/m.mrc", "--device", "cuda"), "device 'cuda'"),
    ],
)
def test_what_cannot_be_done__is_said_before_it_is_tried(
    cli: Cli, micrograph: Make, own: list[str], tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    micrograph("m")
    (tmp_path / "facility.py.star").write_text("data_\n\nloop_\n_rlnCoordinateX #1\n_rlnCoordinateY #2\n1 1\n\n")
    done = cli(*words, *own)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_particles_of_another_program__go_in_and_come_out_as_star(cli: Cli, tmp_path: Path) -> None:
    images = np.random.default_rng(1).standard_normal((4, 16, 16)).astype(np.float32)
    mrc.write(tmp_path / "p.mrcs", images, pixel_size_A=3.0, is_stack=True)
    mrc.write(tmp_path / "map.mrc", np.ones((16, 16, 16), dtype=np.float32), pixel_size_A=3.0)
    optics = (
        "OpticsGroupName",
        "OpticsGroup",
        "Voltage",
        "SphericalAberration",
        "AmplitudeContrast",
        "ImagePixelSize",
        "ImageSize",
    )
    rows = ("ImageName", "MicrographName", "OpticsGroup", "RandomSubset")
    blocks = [
        "data_optics\n\nloop_\n" + "".join(f"_rln{name}\n" for name in optics) + "og1 1 200 1.4 0.1 3.0 16\n\n",
        "data_particles\n\nloop_\n" + "".join(f"_rln{name}\n" for name in rows),
        *(f"{index}@p.mrcs m{index}.mrc 1 {1 + index % 2}\n" for index in range(1, 5)),
    ]
    (tmp_path / "p.star").write_text("\n".join(blocks) + "\n")
    plugin = tmp_path / "halve.py"
    plugin.write_text(
        "from dataclasses import dataclass\n"
        "from cryoframe import Movie, ParticleStack, Refinement, StageContext, ParticleTable, hookimpl\n"
        "@dataclass(frozen=True)\nclass Params:\n    n: int = 1  # nothing\n"
        "@hookimpl\ndef refine_ctf(stack: ParticleStack, refinement: Refinement, params: Params, ctx: StageContext)"
        " -> ParticleTable:\n    return stack.particles.select(stack.particles.column('half') == 1)\n"
    )
    refinement = tmp_path / "refinement"
    _save_refinement(refinement)
    done = cli("stage", "refine_ctf", "halve", "p.star", refinement, "--plugin-file", plugin, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    records = particles_from_star(tmp_path / "out" / "particles.star")
    assert records.columns["half"].tolist() == [1, 1]
    assert records.optics[0]["voltage_kV"] == 300.0  # a table alone has no optics of its own


def _save_refinement(folder: Path) -> None:
    from cryoframe.data.maps import HalfMaps, Volume
    from cryoframe.data.results import Refinement
    from cryoframe.data.tables import FscTable, IterationTable

    volume = Volume(np.ones((16, 16, 16), dtype=np.float32), 3.0)
    folder.mkdir()
    table = ParticleTable.empty()
    products.save(Refinement(volume, HalfMaps(volume, volume), FscTable.empty(), table, IterationTable.empty()), folder)


def test_real_particles_and_a_map__are_bound_to_a_refinement(shared_data: Path, tmp_path: Path) -> None:
    from cryoframe.compare.inputs import Given, bind
    from cryoframe.execution.worker_inputs import part_of

    particles = shared_data / "particles" / "betagal_K2_EMPIAR-10204" / "particles_dev_593.star"
    reference = shared_data / "maps" / "betaGal_NGL.mrc"
    bound = bind("refine_3d", [str(particles), str(reference)], Given(pixel_size_A=3.54, symmetry="D2"), tmp_path)
    assert len(bound) == 1
    stack = part_of(bound[0].refs[0].folders[0], "")
    assert isinstance(stack, ParticleStack)
    assert stack.images.shape == (593, 64, 64)
    assert (stack.optics[0].voltage_kV, stack.pixel_size_A) == (200.0, 3.54)
    assert set(stack.particles.column("half").tolist()) == {1, 2}
    volume = part_of(bound[0].refs[1].folders[0], "")
    assert (volume.data.shape, volume.pixel_size_A, volume.symmetry) == ((100, 100, 100), 3.54, "D2")
