"""Which executor a configuration may name: a built-in one, or one that is offered like everything else."""

from __future__ import annotations

from pathlib import Path

import pytest

from cryoframe.errors import ConfigError
from cryoframe.kernel import config, discovery
from cryoframe.kernel.discovery import Offer

OFFER = Offer("make_executor", "fleet", "acme_fleet", "acme", "1.0")


def read(folder: Path, text: str) -> config.RunConfig:
    path = folder / "run.toml"
    path.write_text(text, encoding="utf-8")
    return config.load(path)


@pytest.fixture
def offered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "scan", lambda: (OFFER,))


@pytest.mark.usefixtures("offered")
@pytest.mark.parametrize("name", ["fleet", "acme/fleet"])
def test_an_offered_executor__may_be_named_and_set(tmp_path: Path, name: str) -> None:
    run = read(tmp_path, f"[run]\nexecutor = '{name}'\nproducts = 'shared'\n[executor]\nsize = 3\n")
    assert (run.executor, run.executor_settings) == (name, {"size": 3})
    assert run.products == tmp_path / "shared"


@pytest.mark.usefixtures("offered")
@pytest.mark.parametrize(("name", "instead"), [("proceses", "processes"), ("fleat", "fleet")])
def test_an_unknown_executor__is_refused_with_the_nearest(tmp_path: Path, name: str, instead: str) -> None:
    with pytest.raises(ConfigError, match=f"did you mean '{instead}'") as caught:
        read(tmp_path, f"[run]\nexecutor = '{name}'\n")
    assert "one of inline, processes, fleet" in str(caught.value)


@pytest.mark.usefixtures("no_discovery")
def test_settings_of_a_built_in_executor__are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no settings"):
        read(tmp_path, "[executor]\nsize = 3\n")
