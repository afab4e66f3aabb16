"""A token is in no log, event, provenance, traceback, report or error of a session, whatever goes wrong with it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[1] / "watch"))

from watched_session import DRIVER, Watched, mrc_bytes

from cryoframe.execution.run import Run
from cryoframe.records.session_events import AlarmUnsent

TOKEN = "s3cr3t-t0k3n-of-the-webhook-7f2a"
PASSWORD = "pa55w0rd-in-the-environment-91bc"


def _holding(folder: Path, secret: bytes) -> list[str]:
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return [str(path) for path in files if secret in path.read_bytes()]


def _closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("kind", ["a refused address", "a failing plugin"])
def test_tokens_of_notifiers_and_of_the_environment__are_nowhere_in_what_a_session_leaves(
    tmp_path: Path, kind: str
) -> None:
    watched = Watched(tmp_path)
    watched.configure()
    secret_file = tmp_path / "private" / "token"
    secret_file.parent.mkdir()
    secret_file.write_text(TOKEN)
    if kind == "a failing plugin":
        plugin = tmp_path / "trivial.py"
        plugin.write_text(plugin.read_text().replace("mean = abs", "raise ValueError('no'); mean = abs"))
    address = f"http://127.0.0.1:{_closed_port()}/hook"
    config = tmp_path / "run.toml"
    config.write_text(config.read_text().replace("[watch]\n", "[watch]\nquarantine_most = 1\n"))
    with config.open("a") as file:
        file.write(f'[[alarm]]\nuse = "webhook"\nparams = {{ url = "{address}", token_file = "{secret_file}" }}\n')
    watched.put("a.mrc")
    for number in range(3):
        (watched.land / f"cut{number}.mrc").write_bytes(mrc_bytes(tmp_path)[: 1500 + number])
    environment = {**os.environ, "SMTP_PASSWORD": PASSWORD, "AWS_SECRET_ACCESS_KEY": PASSWORD}
    words = [sys.executable, "-c", DRIVER, str(tmp_path / "run.toml"), "1.0"]
    done = subprocess.run(words, capture_output=True, env=environment, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said.decode()
    for verb in (["status", "--json"], ["plan", str(tmp_path / "run.toml")]):
        words = [sys.executable, "-c", "from cryoframe.cli.main import entry; entry()", *verb]
        shown = subprocess.run(words, capture_output=True, env=environment, cwd=tmp_path, check=False)
        said += shown.stdout + shown.stderr
    with Run.open(config) as run:
        unsent = [event for event in run.journal.replay() if isinstance(event, AlarmUnsent)]
    assert [event.notifier for event in unsent] == ["webhook"], "the token was taken out and could not be told"
    for secret in (TOKEN.encode(), PASSWORD.encode()):
        assert secret not in said
        assert _holding(tmp_path / "run", secret) == []
