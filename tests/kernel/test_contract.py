"""A plugin is held to its hookspec before it is called."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent
from types import ModuleType
from typing import Literal

import pytest

from cryoframe.data.params import field_docs, params_faults
from cryoframe.data.typed import convert
from cryoframe.errors import ConfigError, ContractError
from cryoframe.kernel import contract
from cryoframe.kernel.discovery import local_offers
from cryoframe.kernel.plugins import Plugins

pytestmark = pytest.mark.usefixtures("no_discovery")

HEADER = """
from __future__ import annotations
from dataclasses import dataclass
from cryoframe import Convention, CtfFit, Micrograph, ParticleTable, StageContext, hookimpl

"""
PARAMS = """
@dataclass(frozen=True)
class Params:
    low_A: float = 30.0  # coarsest ring that is fitted
"""
GOOD = (
    HEADER
    + PARAMS
    + """
@hookimpl
def estimate_ctf(micrograph: Micrograph, params: Params, ctx: StageContext) -> CtfFit:
    ...
"""
)


@pytest.fixture
def module(tmp_path: Path) -> Callable[[str], ModuleType]:
    """Import Python text as a module of its own."""

    def load(source: str) -> ModuleType:
        import importlib.util

        name = f"contract_case_{len(list(tmp_path.iterdir()))}"
        path = tmp_path / f"{name}.py"
        path.write_text(dedent(source))
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        made = importlib.util.module_from_spec(spec)
        sys.modules[name] = made
        spec.loader.exec_module(made)
        return made

    return load


def test_a_plugin_that_keeps_the_contract__passes(module: Callable[[str], ModuleType]) -> None:
    contract.check(module(GOOD), "estimate_ctf")


def test_arguments_may_be_left_out(module: Callable[[str], ModuleType]) -> None:
    source = GOOD.replace(", ctx: StageContext", "")
    assert contract.faults(module(source), "estimate_ctf") == []


def test_products_imported_for_type_checking_only__are_understood(module: Callable[[str], ModuleType]) -> None:
    source = GOOD.replace(
        "from cryoframe import Convention, CtfFit, Micrograph, ParticleTable, StageContext, hookimpl",
        "from typing import TYPE_CHECKING\nfrom cryoframe import hookimpl\n"
        "if TYPE_CHECKING:\n    from cryoframe import CtfFit, Micrograph, StageContext\n",
    )
    assert contract.faults(module(source), "estimate_ctf") == []


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("micrograph: Micrograph", "micograph: Micrograph", "no argument 'micograph' — did you mean 'micrograph'"),
        (
            "micrograph: Micrograph",
            "micrograph: ParticleTable",
            "argument 'micrograph' of estimate_ctf is ParticleTable",
        ),
        ("micrograph: Micrograph", "micrograph", "has no annotation, expected Micrograph"),
        ("-> CtfFit", "-> ParticleTable", "the result of estimate_ctf is ParticleTable, expected CtfFit"),
        ("-> CtfFit", "", "the result of estimate_ctf has no annotation"),
        ("(frozen=True)", "", "not a frozen dataclass"),
        ("class Params", "class Settings", "no Params class"),
        ("low_A: float = 30.0", "low_A: float", "Params.low_A has no default"),
        ("  # coarsest ring that is fitted", "", "Params.low_A has no doc"),
        ("low_A", "low", "Params.low states no unit"),
        ("low_A: float = 30.0", "low_A: list = None", "Params.low_A is list"),
        ("@hookimpl\n", "", "no function 'estimate_ctf' marked with @hookimpl"),
        ("def estimate_ctf", "DEVICES = ('tpu',)\n@hookimpl\ndef estimate_ctf", "DEVICES is ('tpu',)"),
        ("def estimate_ctf", "CONVENTION = 'px'\n@hookimpl\ndef estimate_ctf", "CONVENTION is not"),
    ],
)
def test_each_breach__is_named(module: Callable[[str], ModuleType], old: str, new: str, message: str) -> None:
    assert old in GOOD
    source = GOOD.replace(old, new)
    if "DEVICES" in new or "CONVENTION" in new:
        source = source.replace("@hookimpl\nDEVICES", "DEVICES").replace("@hookimpl\nCONVENTION", "CONVENTION")
    if new == "class Settings":
        source = source.replace("params: Params, ", "")
    with pytest.raises(ContractError) as caught:
        contract.check(module(source), "estimate_ctf")
    assert message in str(caught.value)
    assert "cryoframe schema estimate_ctf" in str(caught.value)


def test_an_unknown_hook__names_the_nearest(module: Callable[[str], ModuleType]) -> None:
    with pytest.raises(ContractError, match="no hook is called 'estimat_ctf' — did you mean 'estimate_ctf'"):
        contract.check(module(GOOD), "estimat_ctf")


def test_a_service__needs_no_params(module: Callable[[str], ModuleType]) -> None:
    source = """
    from pathlib import Path
    from cryoframe import FrameSource, hookimpl
    @hookimpl
    def open_movie(path: Path) -> FrameSource | None: ...
    """
    assert contract.faults(module(source), "open_movie") == []
    wrong = source.replace("path: Path", "path: str")
    assert "argument 'path' of open_movie is str, expected Path" in contract.faults(module(wrong), "open_movie")[0]


def test_a_wrapper__is_checked_for_its_arguments_only(module: Callable[[str], ModuleType]) -> None:
    source = """
    from cryoframe import hookimpl
    @hookimpl(wrapper=True)
    def estimate_ctf(micrograph):
        return (yield)
    """
    assert contract.faults(module(source), "estimate_ctf") == []
    assert "micograph" in contract.faults(module(source.replace("(micrograph", "(micograph")), "estimate_ctf")[0]


def test_docs_come_from_metadata_comments_and_docstring() -> None:
    @dataclass(frozen=True)
    class Params:
        """Settings.

        Parameters
        ----------
        first_px
            From the docstring.
        """

        first_px: int = 1
        second_A: float = 2.0  # on its line
        #: above its line,
        #: on two lines
        third: bool = False
        fourth: int = field(default=3, metadata={"doc": "from metadata"})
        shape_px: tuple[int, int] = (
            5,
            5,
        )  # after several lines
        sigma: float = 3.0  # peak height [standard deviations]

    described = {item.name: item for item in contract.describe_params(Params)}
    assert described["first_px"].doc == "From the docstring."
    assert described["second_A"].doc == "on its line"
    assert described["third"].doc == "above its line, on two lines"
    assert described["fourth"].doc == "from metadata"
    assert described["shape_px"].doc == "after several lines"
    assert (described["second_A"].unit, described["sigma"].unit) == ("Å", "standard deviations")
    assert described["shape_px"].type == "tuple[int, int]"
    assert contract.params_faults(Params) == []


@dataclass(frozen=True)
class Everything:
    """One field of each kind."""

    edge_px: int = 64
    low_A: float = 30.0
    fast: bool = True
    name: str = "x"
    mode: Literal["flip", "none"] = "none"
    map_file: Path | None = None
    patches: tuple[int, int] = (5, 5)
    shells: tuple[float, ...] = ()


def test_params__take_toml_values_with_their_types() -> None:
    made = contract.params_from(
        Everything,
        {"edge_px": 32, "low_A": 20, "mode": "flip", "map_file": "a/m.mrc", "patches": [3, 4], "shells": [1, 2.5]},
        folder=Path("/session"),
    )
    assert made == Everything(32, 20.0, True, "x", "flip", Path("/session/a/m.mrc"), (3, 4), (1.0, 2.5))
    assert contract.file_params(made) == {"map_file": Path("/session/a/m.mrc")}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"edge": 3}, "unknown key 'edge' — did you mean 'edge_px'"),
        ({"edge_px": 3.5}, "edge_px is 3.5; expected a whole number"),
        ({"edge_px": True}, "edge_px is True; expected a whole number"),
        ({"low_A": "30"}, "low_A is '30'; expected a number"),
        ({"fast": 1}, "fast is 1; expected true or false"),
        ({"name": 3}, "name is 3; expected text"),
        ({"mode": "flipp"}, "did you mean 'flip'"),
        ({"map_file": 3}, "map_file is 3; expected a path"),
        ({"patches": [1]}, "patches has 1 values; expected 2"),
        ({"patches": 5}, "patches is 5; expected a list"),
        ({"shells": [1.0, "x"]}, r"shells[1] is 'x'; expected a number"),
    ],
)
def test_a_wrong_parameter__is_named_with_what_was_expected(given: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        contract.params_from(Everything, given, where="ctf params")
    assert message in str(caught.value)
    assert "ctf params" in str(caught.value)


def test_none__is_taken_where_the_annotation_allows_it() -> None:
    assert convert(None, Path | None, where="x") is None
    with pytest.raises(ConfigError, match="expected a path"):
        convert(None, Path, where="x")


def test_a_one_file_plugin_with_future_annotations__has_usable_params(
    plugin_file: Callable[[str, str], Path],
) -> None:
    offers = local_offers([plugin_file("future", GOOD)])
    plugin = Plugins(offers).load(offers[0])
    assert plugin.params_class is not None
    assert contract.params_from(plugin.params_class, {"low_A": 12}).low_A == 12.0


@dataclass(frozen=True)
class Shared:
    """What two implementations may be set."""

    low_A: float = 30.0  # coarsest ring that is fitted
    high_A: float = 4.0  # finest ring that is fitted


@dataclass(frozen=True)
class Inheriting(Shared):
    """What one alone may be set, or means otherwise."""

    high_A: float = 5.0  # finest ring; other tiles ask for another
    tile_A: float = 750.0  # edge of the tiles


def test_inherited_parameters__keep_their_docs_and_the_nearer_class_has_the_last_word() -> None:
    assert params_faults(Inheriting) == []
    assert field_docs(Inheriting) == {
        "low_A": "coarsest ring that is fitted",
        "high_A": "finest ring; other tiles ask for another",
        "tile_A": "edge of the tiles",
    }
