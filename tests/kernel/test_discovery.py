"""What is offered is found in one pass, whatever the neighbours look like."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cryoframe.errors import PluginError
from cryoframe.kernel import discovery
from cryoframe.kernel.discovery import local_offers, module_name, normalise, scan

GOOD = "[cryoframe.estimate_ctf]\npowerfit = acme_ctf\nother = acme_ctf.more:plugin [fast]\n"
#: Each raises from configparser, in any installed package.
MALFORMED = {
    "duplicate_option": "[console_scripts]\nrun = a:b\nrun = c:d\n",
    "missing_section_header": "run = a:b\n",
    "undecodable": b"[console_scripts]\nrun = \xff\xfe\n",
}
PERCENT = (
    "[cryoframe.estimate_ctf]\npercent = acme_ctf\n[cryoframe.other]\nname = %(here)s\n[console_scripts]\nx = 100%\n"
)


def install(folder: Path, name: str, version: str, text: str | bytes) -> None:
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "entry_points.txt").write_bytes(text if isinstance(text, bytes) else text.encode())


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty site folder that is all of sys.path that discovery sees, with one good distribution."""
    install(tmp_path, "acme_cryoframe", "2.1", GOOD)
    scan()  # brings the libraries in before they can no longer be found
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delenv("CRYOFRAME_DISCOVERY", raising=False)
    return tmp_path


def found() -> set[tuple[str, str]]:
    return {(offer.hook, offer.name) for offer in scan()}


def test_an_offer_has_hook_name_target_and_normalised_distribution(site: Path) -> None:
    offers = scan()
    assert [(o.hook, o.name, o.target, o.distribution, o.version) for o in offers] == [
        ("estimate_ctf", "other", "acme_ctf.more:plugin", "acme-cryoframe", "2.1"),
        ("estimate_ctf", "powerfit", "acme_ctf", "acme-cryoframe", "2.1"),
    ]
    assert offers[1].qualified == "acme-cryoframe/powerfit"


@pytest.mark.parametrize("kind", MALFORMED)
def test_a_malformed_neighbour__does_not_hide_the_others(site: Path, kind: str) -> None:
    install(site, "broken", "0.1", MALFORMED[kind])
    with pytest.raises((discovery.configparser.Error, UnicodeDecodeError)):
        list(discovery.fast_rows())
    assert ("estimate_ctf", "powerfit") in found()


def test_a_percent_sign_in_a_value__is_read_as_it_is(site: Path) -> None:
    install(site, "percent", "0.1", PERCENT)
    assert {("estimate_ctf", "percent"), ("estimate_ctf", "powerfit"), ("other", "name")} <= found()


def test_three_malformed_neighbours_at_once__still_leave_the_good_one(site: Path) -> None:
    for kind, text in MALFORMED.items():
        install(site, f"broken_{kind}", "0.1", text)
    install(site, "percent", "0.1", PERCENT)
    assert ("estimate_ctf", "powerfit") in found()


def test_patient_discovery__finds_the_same(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fast = scan()
    monkeypatch.setenv("CRYOFRAME_DISCOVERY", "patient")
    assert scan() == fast


def test_two_distributions_offering_one_name__are_both_kept(site: Path) -> None:
    install(site, "rival", "1.0", GOOD)
    named = [offer for offer in scan() if offer.name == "powerfit"]
    assert [offer.qualified for offer in named] == ["acme-cryoframe/powerfit", "rival/powerfit"]


def test_the_first_of_two_copies_of_a_distribution__shadows_the_second(
    site: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = tmp_path_factory.mktemp("later")
    install(later, "acme_cryoframe", "1.0", "[cryoframe.pick_particles]\nold = acme\n")
    monkeypatch.setattr(sys, "path", [str(site), str(later)])
    assert ("pick_particles", "old") not in found()
    monkeypatch.setenv("CRYOFRAME_DISCOVERY", "patient")
    assert ("pick_particles", "old") not in found()


def test_a_scan_imports_no_plugin_and_no_numeric_library() -> None:
    code = (
        "import sys; from cryoframe.kernel.discovery import scan; offers = scan(); "
        "bad = [m for m in sys.modules if m.startswith('cryoframe_') or m in "
        "('numpy', 'pyarrow', 'numba', 'rich', 'watchdog', 'mrcfile', 'importlib.metadata')]; print(len(offers), bad)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    count, _, modules = done.stdout.partition(" ")
    assert int(count) >= 15
    assert modules.strip() == "[]"


@pytest.mark.parametrize(("given", "expected"), [("acme_cryoframe", "acme-cryoframe"), ("A.b--C", "a-b-c")])
def test_distribution_names_are_normalised(given: str, expected: str) -> None:
    assert normalise(given) == expected


def test_a_one_file_plugin__offers_each_marked_function_under_the_files_name(
    plugin_file: Callable[[str, str], Path],
) -> None:
    path = plugin_file(
        "our_stage",
        """
        import cryoframe
        from cryoframe import hookimpl

        @hookimpl
        def estimate_ctf(micrograph, params, ctx): ...

        @cryoframe.hookimpl(tryfirst=True)
        def pick_particles(micrograph, ctf, params, ctx): ...

        @hookimpl(wrapper=True)
        def refine_3d(stack): ...

        def not_marked(): ...
        """,
    )
    offers = local_offers([path])
    assert [(o.hook, o.name, o.wrapper) for o in offers] == [
        ("estimate_ctf", "our_stage", False),
        ("pick_particles", "our_stage", False),
        ("refine_3d", "our_stage", True),
    ]
    assert {o.target for o in offers} == {module_name(path)}
    assert offers[0].qualified == "our_stage.py/our_stage"


def test_a_one_file_plugins_version__follows_its_bytes(plugin_file: Callable[[str, str], Path]) -> None:
    source = "from cryoframe import hookimpl\n@hookimpl\ndef make_mask(volume, params, ctx): ...\n"
    first = local_offers([plugin_file("own", source)])[0]
    second = local_offers([plugin_file("own", source + "# changed\n")])[0]
    assert first.version != second.version


@pytest.mark.parametrize(
    ("source", "message"),
    [("def f(:\n", "is not Python"), ("def estimate_ctf(): ...\n", "offers nothing"), (None, "cannot be read")],
)
def test_a_plugin_file_that_cannot_be_used__is_named(tmp_path: Path, source: str | None, message: str) -> None:
    path = tmp_path / "bad.py"
    if source is not None:
        path.write_text(source)
    with pytest.raises(PluginError, match=message) as caught:
        local_offers([path])
    assert "bad.py" in str(caught.value)
