"""The service files name what exists: verbs, flags, signals, exit statuses."""

from __future__ import annotations

import configparser
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from cryoframe.cli.main import EXIT_INTERRUPTED, EXIT_USER, parser

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "service"


def test_the_unit__starts_a_command_that_exists_and_reloads_by_the_signal_that_is_heard() -> None:
    unit = configparser.ConfigParser(interpolation=None, strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(FOLDER / "cryoframe-watch@.service", encoding="utf-8")
    service = unit["Service"]
    words = shlex.split(service["ExecStart"])
    assert words[0].endswith("/bin/cryoframe")
    options = parser([words[1]]).parse_args(words[1:])
    assert (options.verb, str(options.config), options.quiet) == ("watch", "/etc/cryoframe/%i.toml", True)
    assert service["ExecReload"].split()[1] == "-HUP"
    assert [int(status) for status in service["RestartPreventExitStatus"].split()] == [EXIT_USER, EXIT_INTERRUPTED]
    assert service["ProtectSystem"] == "strict"


def test_the_unit__is_understood_by_systemd() -> None:
    tool = shutil.which("systemd-analyze")
    if tool is None:
        pytest.skip("systemd-analyze is not installed")
    done = subprocess.run([tool, "verify", str(FOLDER / "cryoframe-watch@.service")], capture_output=True, text=True)
    assert not re.findall(r"Unknown|Failed to parse|Invalid", done.stderr), done.stderr


def test_the_container__runs_the_same_command() -> None:
    text = (FOLDER / "Containerfile").read_text(encoding="utf-8")
    entry, command = (re.search(rf"^{name} (\[.*\])$", text, re.MULTILINE) for name in ("ENTRYPOINT", "CMD"))
    assert entry is not None
    assert command is not None
    words = [word.strip(' "') for word in command[1].strip("[]").split(",")]
    assert parser([words[0]]).parse_args(words).verb == "watch"
    assert ":/raw:ro" in text
