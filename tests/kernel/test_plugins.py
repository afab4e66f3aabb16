"""Exactly one named implementation is called, inside everybody's wrappers; what cannot be used is said."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cryoframe.data.images import CtfFit
from cryoframe.errors import ContractError, PluginError
from cryoframe.kernel.discovery import Offer, local_offers
from cryoframe.kernel.plugins import Plugins

pytestmark = pytest.mark.usefixtures("no_discovery")

CTF = """
from __future__ import annotations
from dataclasses import dataclass
from cryoframe import CtfFit, Micrograph, StageContext, hookimpl

@dataclass(frozen=True)
class Params:
    defocus_A: float = {defocus}  # what is answered

@hookimpl
def estimate_ctf(micrograph: Micrograph, params: Params, ctx: StageContext) -> CtfFit:
    return CtfFit("m", params.defocus_A, params.defocus_A, 0.0)
"""
WRAPPER = """
from cryoframe import hookimpl

@hookimpl(wrapper=True)
def estimate_ctf(micrograph, params, ctx):
    ctx.append("before")
    fit = yield
    ctx.append("after")
    return fit
"""
READER = """
from pathlib import Path
from cryoframe import MicrographSource, hookimpl

@hookimpl
def open_micrograph(path: Path) -> MicrographSource | None:
    return {answer}
"""
PluginFile = Callable[[str, str], Path]


def collection(plugin_file: PluginFile, *names: str) -> Plugins:
    files = [plugin_file(name, CTF.format(defocus=f"{index + 1}000.0")) for index, name in enumerate(names)]
    return Plugins(local_offers(files))


def fit(plugins: Plugins, name: str, ctx: object = None) -> float:
    plugin = plugins.load(plugins.select("estimate_ctf", name))
    assert plugin.params_class is not None
    answer = plugins.call(plugin, "estimate_ctf", {"params": plugin.params_class(), "ctx": ctx})
    assert isinstance(answer, CtfFit)
    return answer.defocus_u_A


def test_the_named_implementation_answers__whatever_else_is_loaded(plugin_file: PluginFile) -> None:
    plugins = collection(plugin_file, "first", "second", "third")
    assert [fit(plugins, name) for name in ("second", "first", "third", "first")] == [2000.0, 1000.0, 3000.0, 1000.0]


def test_wrappers_surround_whichever_is_called(plugin_file: PluginFile) -> None:
    files = [plugin_file("one", CTF.format(defocus=1.0)), plugin_file("timer", WRAPPER)]
    plugins = Plugins(local_offers(files))
    seen: list[str] = []
    assert fit(plugins, "one", seen) == 1.0
    assert seen == ["before", "after"]
    assert [offer.name for offer in plugins.offered("estimate_ctf")] == ["one"]


def test_a_wrapper_changes_the_source_digest(plugin_file: PluginFile) -> None:
    one = local_offers([plugin_file("one", CTF.format(defocus=1.0))])
    timer = local_offers([plugin_file("timer", WRAPPER)])
    assert Plugins(one).source_digest(one[0]) != Plugins((*one, *timer)).source_digest(one[0])


def test_the_source_digest__follows_the_bytes_and_imports_nothing(plugin_file: PluginFile) -> None:
    before = local_offers([plugin_file("one", CTF.format(defocus=1.0))])[0]
    first = Plugins([before]).source_digest(before)
    assert first == Plugins([before]).source_digest(before)
    after = local_offers([plugin_file("one", CTF.format(defocus=2.0))])[0]
    assert Plugins([after]).source_digest(after) != first
    assert before.target not in sys.modules


def test_without_a_name__the_only_one_is_taken(plugin_file: PluginFile) -> None:
    assert collection(plugin_file, "only").select("estimate_ctf").name == "only"
    with pytest.raises(PluginError, match=r"estimate_ctf has 2 implementations: a.py/a .*, b.py/b"):
        collection(plugin_file, "a", "b").select("estimate_ctf")


def test_an_unknown_name__lists_what_is_installed_and_the_nearest(plugin_file: PluginFile) -> None:
    with pytest.raises(PluginError) as caught:
        collection(plugin_file, "ctffind", "powerfit").select("estimate_ctf", "ctfind")
    text = str(caught.value)
    assert text.startswith("no implementation 'ctfind' for estimate_ctf — did you mean 'ctffind'?")
    assert "expected one of ctffind, powerfit" in text


def test_an_unknown_hook__names_the_nearest() -> None:
    with pytest.raises(PluginError, match="no hook is called 'pick_particle' — did you mean 'pick_particles'"):
        Plugins([]).select("pick_particle", "x")


def test_a_hook_nobody_offers__says_so() -> None:
    with pytest.raises(PluginError, match="none does"):
        Plugins([]).select("pick_particles", "x")


def test_a_name_clash__lists_both_distributions_and_the_qualified_spelling_decides(
    offer: Callable[..., Offer],
) -> None:
    offers = [offer("estimate_ctf", "fit", "acme"), offer("estimate_ctf", "fit", "rival", version="2.0")]
    plugins = Plugins(offers)
    with pytest.raises(PluginError) as caught:
        plugins.select("estimate_ctf", "fit")
    assert "2 distributions offer 'fit' for estimate_ctf: acme/fit 1.0, rival/fit 2.0" in str(caught.value)
    assert 'use = "acme/fit"' in str(caught.value)
    assert plugins.select("estimate_ctf", "rival/fit").distribution == "rival"


@pytest.mark.parametrize("blocked", ["fit", "acme", "acme/fit"])
def test_a_blocked_implementation__is_not_selected_and_the_error_says_why(
    offer: Callable[..., Offer], blocked: str
) -> None:
    plugins = Plugins([offer("estimate_ctf", "fit", "acme")], blocked=[blocked])
    assert plugins.offered("estimate_ctf") == ()
    with pytest.raises(PluginError, match=r"'fit' for estimate_ctf is blocked\. Remove it from \[plugins\] blocked"):
        plugins.select("estimate_ctf", "fit")


def test_blocking_one_of_two__settles_the_clash(offer: Callable[..., Offer]) -> None:
    offers = [offer("estimate_ctf", "fit", "acme"), offer("estimate_ctf", "fit", "rival")]
    assert Plugins(offers, blocked=["acme"]).select("estimate_ctf", "fit").distribution == "rival"


def test_a_plugin_that_does_not_import__is_named_with_its_error(plugin_file: PluginFile) -> None:
    source = "import no_such_library\n" + CTF.format(defocus=1.0).replace("from __future__ import annotations\n", "")
    offers = local_offers([plugin_file("needs", source)])
    with pytest.raises(
        PluginError, match=r"cannot be imported.*ModuleNotFoundError: No module named 'no_such_library'"
    ):
        Plugins(offers).load(offers[0])
    assert offers[0].target not in sys.modules


def test_an_offer_whose_target_is_missing__is_named(offer: Callable[..., Offer]) -> None:
    ghost = offer("estimate_ctf", "ghost", target="no_such_package.plugin")
    with pytest.raises(PluginError, match="'no_such_package'"):
        Plugins([ghost]).load(ghost)


def test_an_offer_for_an_unknown_hook__is_refused(offer: Callable[..., Offer]) -> None:
    strange = offer("estimate_cft", "x")
    with pytest.raises(PluginError, match="unknown hook 'estimate_cft' — did you mean 'estimate_ctf'"):
        Plugins([strange]).load(strange)


def test_a_marked_function_that_is_no_hook__is_refused_by_name(plugin_file: PluginFile) -> None:
    source = CTF.format(defocus=1.0) + "\n@hookimpl\ndef pick_particle(micrograph): ...\n"
    offers = [item for item in local_offers([plugin_file("odd", source)]) if item.hook == "estimate_ctf"]
    with pytest.raises(ContractError, match="'pick_particle' is no hook — did you mean 'pick_particles'"):
        Plugins(offers).load(offers[0])


def test_an_object_with_methods__is_a_plugin_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = CTF.format(defocus=7.0).replace(
        "@hookimpl\ndef estimate_ctf(", "class Fit:\n  @hookimpl\n  def estimate_ctf(self, "
    )
    (tmp_path / "object_plugin.py").write_text(source + "\nplugin = Fit()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    plugins = Plugins([Offer("estimate_ctf", "object", "object_plugin:plugin", "acme", "1.0")])
    assert fit(plugins, "object") == 7.0


def test_services__first_answer_wins_and_a_broken_one_is_left_out(plugin_file: PluginFile) -> None:
    files = [
        plugin_file("a_broken", "import no_such_library\n" + READER.format(answer="'broken'")),
        plugin_file("b_silent", READER.format(answer="None")),
        plugin_file("c_answers", READER.format(answer="str(path)")),
        plugin_file("d_late", READER.format(answer="'late'")),
    ]
    plugins = Plugins(local_offers(files))
    assert plugins.ask("open_micrograph", {"path": Path("x.mrc")}) == "x.mrc"
    assert [offer.name for offer in plugins.refused] == ["a_broken"]
    assert "no_such_library" in next(iter(plugins.refused.values()))


def test_a_service_nobody_answers__gives_none(plugin_file: PluginFile) -> None:
    plugins = Plugins(local_offers([plugin_file("silent", READER.format(answer="None"))]))
    assert plugins.ask("open_micrograph", {"path": Path("x")}) is None
