"""A device is resolved once, with a reason; nothing falls back in silence."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from cryoframe.errors import ConfigError
from cryoframe.kernel import device

pytestmark = pytest.mark.usefixtures("no_discovery")


@pytest.fixture
def two_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "cuda_devices", lambda: (2, ""))


@pytest.fixture
def no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "cuda_devices", lambda: (0, "CuPy is not installed"))


@pytest.mark.usefixtures("two_devices")
@pytest.mark.parametrize(
    ("asked", "offered", "got"),
    [
        ("auto", ("cpu", "cuda"), "cuda:0"),
        ("auto", ("cpu",), "cpu"),
        ("cpu", ("cpu", "cuda"), "cpu"),
        ("cuda", ("cpu", "cuda"), "cuda:0"),
        ("cuda:1", ("cuda",), "cuda:1"),
    ],
)
def test_what_is_asked_for_meets_what_the_plugin_can(asked: str, offered: tuple[str, ...], got: str) -> None:
    resolved, why = device.resolve(asked, offered)
    assert resolved == got
    assert why


@pytest.mark.usefixtures("no_device")
def test_auto_without_a_device__says_why_it_is_the_cpu() -> None:
    assert device.resolve("auto", ("cpu", "cuda")) == ("cpu", "auto: CuPy is not installed")


@pytest.mark.usefixtures("no_device")
def test_cuda_where_there_is_none__is_an_error_with_a_remedy() -> None:
    with pytest.raises(ConfigError, match="CuPy is not installed") as caught:
        device.resolve("cuda", ("cpu", "cuda"))
    assert 'device = "cpu"' in str(caught.value)


@pytest.mark.usefixtures("two_devices")
@pytest.mark.parametrize(("asked", "offered"), [("cuda", ("cpu",)), ("cpu", ("cuda",)), ("cuda:2", ("cuda",))])
def test_what_cannot_be_had__is_an_error(asked: str, offered: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="device"):
        device.resolve(asked, offered)


@pytest.mark.parametrize("asked", ["gpu", "cpu:1", "auto:0", "cuda:x", ""])
def test_an_unknown_device_name__is_refused(asked: str) -> None:
    with pytest.raises(ConfigError, match="expected auto, cpu, cuda or cuda:n"):
        device.check_name(asked)


def test_limit_threads__sets_every_librarys_variable_before_numpy_is_imported() -> None:
    code = (
        "import os, sys; from cryoframe.kernel.device import limit_threads; limit_threads(1); "
        "assert 'numpy' not in sys.modules; print(os.environ['OMP_NUM_THREADS'], os.environ['NUMBA_NUM_THREADS'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert done.stdout.split() == ["1", "1"]
