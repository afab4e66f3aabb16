"""Stages are wired by product type; whatever is missing is said with the remedy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cryoframe.errors import ConfigError, HalfSetError, PluginError
from cryoframe.kernel import config
from cryoframe.kernel.discovery import Offer
from cryoframe.kernel.plan import Plan, Source, make_plan
from cryoframe.kernel.plugins import Plugins
from cryoframe.kernel.stage import stage_specs

pytestmark = pytest.mark.usefixtures("no_discovery")

MOVIES = {"files": "m/*.tiff", "pixel_size_A": 1.0}
MICROGRAPHS = {"files": "m/*.mrc"}
LINE = (
    "correct_motion",
    "estimate_ctf",
    "pick_particles",
    "extract_particles",
    "classify_2d",
    "make_initial_volume",
    "refine_3d",
    "make_mask",
    "postprocess",
)


def plan(*stages: str | dict[str, Any], blocked: tuple[str, ...] = (), **sections: Any) -> Plan:
    tables = [{"run": stage} if isinstance(stage, str) else stage for stage in stages]
    made = config.from_mapping({**sections, "stage": tables}, folder=Path("/session"))
    offers = [Offer(hook, "own", "nowhere", "facility", "1.0") for hook in stage_specs()]
    return make_plan(made, Plugins(offers, blocked))


def problem(made: Plan) -> str:
    assert len(made.problems) == 1
    return str(made.problems[0])


def test_the_whole_line__wires_itself() -> None:
    made = plan(*LINE, movies=MOVIES)
    assert made.problems == ()
    wires = {node.id: {name: str(source) for name, source in node.wires.items()} for node in made.nodes}
    assert wires == {
        "correct_motion": {"movie": "input:movies"},
        "estimate_ctf": {"micrograph": "correct_motion.plain"},
        "pick_particles": {"micrograph": "correct_motion.micrograph", "ctf": "estimate_ctf"},
        "extract_particles": {
            "micrograph": "correct_motion.micrograph",
            "particles": "pick_particles",
            "ctf": "estimate_ctf",
        },
        "classify_2d": {"stack": "extract_particles"},
        "make_initial_volume": {"stack": "extract_particles"},
        "refine_3d": {"stack": "extract_particles", "reference": "make_initial_volume"},
        "make_mask": {"volume": "refine_3d.volume"},
        "postprocess": {"half_maps": "refine_3d.half_maps", "mask": "make_mask"},
    }
    assert [made.node(name).domain for name in LINE] == ["movies"] * 4 + ["set"] * 5


def test_the_explanation__has_a_line_a_stage_with_its_implementation_and_sources() -> None:
    lines = plan("estimate_ctf", "pick_particles", micrographs=MICROGRAPHS).explain()
    assert lines == [
        "estimate_ctf: estimate_ctf by facility/own 1.0, over each of micrographs:"
        " micrograph from input:micrographs → CtfFit",
        "pick_particles: pick_particles by facility/own 1.0, over each of micrographs:"
        " micrograph from input:micrographs, ctf from estimate_ctf → ParticleTable",
    ]


@pytest.mark.parametrize(
    ("stages", "sections", "missing", "remedy"),
    [
        (["correct_motion"], {}, "needs a Movie as 'movie'", "add a [movies] section"),
        (["estimate_ctf"], {}, "needs a Micrograph as 'micrograph'", "add a [micrographs] section"),
        (
            ["pick_particles"],
            {"micrographs": MICROGRAPHS},
            "needs a CtfFit as 'ctf'",
            "add an estimate_ctf stage before it",
        ),
        (["classify_2d"], {"micrographs": MICROGRAPHS}, "needs a ParticleStack", "add an extract_particles stage"),
        (["refine_3d"], {"particles": {"file": "p.star"}}, "needs a Volume as 'reference'", "a [volumes] section"),
        (["postprocess"], {}, "needs a HalfMaps as 'half_maps'", "add a refine_3d stage before it"),
        (["select_particles"], {}, "needs a Classes2D", "add a classify_2d stage before it"),
    ],
)
def test_a_missing_input__is_named_with_the_remedy(
    stages: list[str], sections: dict[str, Any], missing: str, remedy: str
) -> None:
    made = plan(*stages, **sections)
    assert missing in problem(made)
    assert remedy in problem(made)
    assert made.explain()[-1].startswith("problem: ")
    with pytest.raises(ConfigError, match="the plan cannot run"):
        made.require()


def test_all_problems_are_told_at_once() -> None:
    made = plan("correct_motion", "estimate_ctf", "refine_3d")
    assert len(made.problems) == 3


def test_a_stage_misspelt__names_the_nearest() -> None:
    assert "no stage hook is called 'estimate_cft' — did you mean 'estimate_ctf'" in problem(plan("estimate_cft"))


def test_an_implementation_misspelt__names_the_nearest() -> None:
    made = plan({"run": "estimate_ctf", "use": "ownn"}, micrographs=MICROGRAPHS)
    assert isinstance(made.problems[0], PluginError)
    assert "did you mean 'own'" in problem(made)


def test_a_blocked_implementation__is_a_problem() -> None:
    assert "is blocked" in problem(
        plan({"run": "estimate_ctf", "use": "own"}, micrographs=MICROGRAPHS, blocked=("own",))
    )


def test_an_empty_configuration__says_so() -> None:
    assert "no [[stage]] is configured" in problem(plan())


def test_the_nearest_earlier_product_wins__where_one_feeds_the_other() -> None:
    made = plan(
        "make_initial_volume",
        {"id": "first", "run": "refine_3d"},
        {"id": "second", "run": "refine_3d"},
        particles={"file": "p.star"},
    )
    assert made.node("second").wires["reference"] == Source("first", "volume")
    assert "mixes both half-sets" in made.node("second").notes[0]
    assert made.node("first").notes == ()


def test_two_producers_side_by_side__are_ambiguous_until_from_decides() -> None:
    two = [{"id": "a", "run": "estimate_ctf"}, {"id": "b", "run": "estimate_ctf"}]
    made = plan(*two, "pick_particles", micrographs=MICROGRAPHS)
    assert "'ctf' may come from a, b" in problem(made)
    assert 'from = ["b"]' in problem(made)
    chosen = plan(*two, {"run": "pick_particles", "from": ["a"]}, micrographs=MICROGRAPHS)
    assert chosen.problems == ()
    assert chosen.node("pick_particles").wires["ctf"] == Source("a")


def test_from_may_name_an_input_section() -> None:
    made = plan(
        "make_initial_volume",
        {"run": "refine_3d", "from": ["input:volumes"]},
        particles={"file": "p.star"},
        volumes={"file": "m.mrc"},
    )
    assert made.node("refine_3d").wires["reference"] == Source("input:volumes")


@pytest.mark.parametrize(
    ("name", "message"),
    [("estimate_cft", "did you mean 'estimate_ctf'"), ("extract_particles", "comes after it")],
)
def test_from_must_name_an_earlier_stage(name: str, message: str) -> None:
    made = plan("estimate_ctf", {"run": "pick_particles", "from": [name]}, "extract_particles", micrographs=MICROGRAPHS)
    assert message in str(made.problems[0])


def test_from_that_gives_nothing_needed__is_a_problem() -> None:
    made = plan(
        {"id": "a", "run": "estimate_ctf"},
        {"id": "b", "run": "estimate_ctf", "from": ["a"]},
        micrographs=MICROGRAPHS,
    )
    assert "from = 'a' gives nothing it needs" in problem(made)


def test_a_denoised_micrograph__is_for_picking_only() -> None:
    made = plan("estimate_ctf", "denoise_micrograph", "pick_particles", "extract_particles", micrographs=MICROGRAPHS)
    assert str(made.node("pick_particles").wires["micrograph"]) == "denoise_micrograph"
    assert str(made.node("extract_particles").wires["micrograph"]) == "input:micrographs"


def test_tables_made_after_the_stack__select_from_it() -> None:
    made = plan("classify_2d", "select_particles", "make_initial_volume", "refine_3d", particles={"file": "p.star"})
    assert made.node("classify_2d").wires["stack"].updates == ()
    assert made.node("refine_3d").wires["stack"] == Source("input:particles", updates=(Source("select_particles"),))
    assert "with select_particles" in made.explain()[-1]


def test_poses_of_a_stage_that_mixes_halves__are_refused_at_plan_time() -> None:
    made = plan(
        "classify_3d",
        {"run": "refine_3d", "from": ["classify_3d"]},
        particles={"file": "p.star"},
        volumes={"file": "m.mrc"},
    )
    with pytest.raises(HalfSetError, match="'classify_3d' aligned them together"):
        made.require()


def test_an_optional_input_that_nobody_makes__is_left_out() -> None:
    made = plan("refine_3d", particles={"file": "p.star"}, volumes={"file": "m.mrc"})
    assert set(made.node("refine_3d").wires) == {"stack", "reference"}
    masked = plan("make_mask", "refine_3d", particles={"file": "p.star"}, volumes={"file": "m.mrc"})
    assert masked.node("refine_3d").wires["mask"] == Source("make_mask")


def test_movies_and_micrographs_in_one_stage__are_not_mixed() -> None:
    made = plan(
        "correct_motion",
        {"id": "ctf", "run": "estimate_ctf", "from": ["correct_motion"]},
        {"run": "pick_particles", "from": ["input:micrographs"]},
        movies=MOVIES,
        micrographs=MICROGRAPHS,
    )
    assert "mixes inputs of different origin: micrograph by micrographs, ctf by movies" in problem(made)


def test_a_watched_folder__is_an_input() -> None:
    made = plan("estimate_ctf", watch={"folder": "in"})
    assert made.node("estimate_ctf").wires["micrograph"] == Source("input:micrographs")


def test_an_unknown_node__names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'estimate_ctf'"):
        plan("estimate_ctf", micrographs=MICROGRAPHS).node("estimate_cft")
