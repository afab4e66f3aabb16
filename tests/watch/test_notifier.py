"""Every house notifier delivers what it is given; one that hangs, fails or floods holds nobody up and is reported."""

from __future__ import annotations

import http.server
import json
import logging
import socketserver
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cryoframe.data.alarm import Alarm
from cryoframe.errors import ConfigError, PluginError
from cryoframe.kernel.config import AlarmConfig
from cryoframe.kernel.discovery import local_offers, scan
from cryoframe.kernel.plugins import Plugins
from cryoframe.watch.notifier import MAX_WAITING, Notifier

ALARM = Alarm("disk", "", "only 1 GB is free\nin /run", True, "night", "/run", "2026-01-01T00:00:00+00:00")
PLUGIN = """
from __future__ import annotations
from dataclasses import dataclass
import time
from cryoframe import Alarm, hookimpl

@dataclass(frozen=True)
class Params:
    file: str = ""  # where to write
    wait_s: float = 0.0  # how long to hang

@hookimpl
def notify(alarm: Alarm) -> None:
    time.sleep(alarm.settings.wait_s)
    if not alarm.settings.file:
        raise SystemExit("no file")
    with open(alarm.settings.file, "a") as out:
        out.write(alarm.kind + "\\n")
"""


@pytest.fixture
def house() -> Plugins:
    return Plugins(scan())


@pytest.fixture
def local(tmp_path: Path) -> Plugins:
    (tmp_path / "shout.py").write_text(PLUGIN)
    return Plugins(local_offers([tmp_path / "shout.py"]))


def _delivered(plugins: Plugins, use: str, *alarms: Alarm, **params: object) -> list[str]:
    notifier = Notifier(plugins, [AlarmConfig(use, params)])
    for alarm in alarms or (ALARM,):
        notifier.post(alarm)
    notifier.close(20.0)
    return [unsent.error for unsent in notifier.unsent()]


def test_the_log__is_the_one_that_is_used_where_nobody_is_named(
    house: Plugins, caplog: pytest.LogCaptureFixture
) -> None:
    notifier = Notifier(house, [])
    with caplog.at_level(logging.INFO, "cryoframe.alarm"):
        notifier.post(ALARM)
        notifier.close()
    assert caplog.messages == ["cryoframe night: ALARM: disk: only 1 GB is free in /run"]
    assert notifier.unsent() == []


def test_a_command__gets_the_alarm_in_its_environment_and_on_its_stdin(house: Plugins, tmp_path: Path) -> None:
    script = 'cat > "$1/stdin"; env | grep CRYOFRAME_ALARM_KIND > "$1/environment"'
    command = ["/bin/sh", "-c", script, "sh", str(tmp_path)]
    assert _delivered(house, "command", command=command) == []
    assert json.loads((tmp_path / "stdin").read_text())["message"] == ALARM.message
    assert (tmp_path / "environment").read_text() == "CRYOFRAME_ALARM_KIND=disk\n"


def test_a_command_that_fails_or_hangs__is_ended_and_reported(house: Plugins) -> None:
    assert _delivered(house, "command", command=["/bin/false"]) == ["/bin/false ended with status 1"]
    start_s = time.monotonic()
    assert _delivered(house, "command", command=["/bin/sleep", "60"], timeout_s=0.2) == [
        "/bin/sleep took longer than 0.2 s"
    ]
    assert time.monotonic() - start_s < 10.0
    assert "cannot be run" in _delivered(house, "command", command=["/no/such"])[0]


class _Web(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((self.path, self.headers.get("Authorization"), json.loads(body)))  # type: ignore[attr-defined]
        if self.path == "/hang":
            time.sleep(1.0)
        self.send_response({"/moved": 302, "/broken": 500}.get(self.path.partition("?")[0], 204))
        self.send_header("Location", "/elsewhere")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def web() -> Iterator[http.server.ThreadingHTTPServer]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Web) as server:
        server.got = []  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server
        server.shutdown()


def test_a_webhook__posts_json_and_its_token_goes_no_further(
    house: Plugins, web: http.server.ThreadingHTTPServer, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("secret\n")
    url, token = f"http://127.0.0.1:{web.server_port}", str(tmp_path / "token")
    assert _delivered(house, "webhook", url=f"{url}/in?key=hidden", token_file=token) == []
    path, authorization, content = web.got[0]  # type: ignore[attr-defined]
    assert (path, authorization) == ("/in?key=hidden", "Bearer secret")
    assert content["kind"] == "disk"
    assert content["text"].startswith("cryoframe night: ALARM: disk")
    assert _delivered(house, "webhook", url=f"{url}/moved", token_file=token) == ["http://127.0.0.1 answered 302"]
    assert _delivered(house, "webhook", url=f"{url}/broken?key=hidden") == ["http://127.0.0.1 answered 500"]
    assert "cannot be reached" in _delivered(house, "webhook", url=f"{url}/hang", timeout_s=0.2)[0]
    assert [place for place, _, _ in web.got] == ["/in?key=hidden", "/moved", "/broken?key=hidden", "/hang"]  # type: ignore[attr-defined]


class _Mail(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        self.wfile.write(b"220 here\r\n")
        text, in_text = b"", False
        for line in self.rfile:
            text += line
            if in_text:
                in_text = line != b".\r\n"
                self.wfile.write(b"" if in_text else b"250 taken\r\n")
            elif line.upper().startswith(b"DATA"):
                in_text = True
                self.wfile.write(b"354 go on\r\n")
            else:
                self.wfile.write(b"221 bye\r\n" if line.upper().startswith(b"QUIT") else b"250 fine\r\n")
        self.server.got.append(text.decode())  # type: ignore[attr-defined]


def test_mail__is_taken_by_a_server_and_a_closed_door_is_reported(house: Plugins) -> None:
    with socketserver.TCPServer(("127.0.0.1", 0), _Mail) as server:
        server.got = []  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        port = server.server_address[1]
        params = {"to": ["a@example.org"], "sender": "b@example.org", "server": "127.0.0.1", "port": port}
        assert _delivered(house, "mail", **params) == []
        thread.join(10.0)
    assert "Subject: cryoframe night: ALARM: disk: only 1 GB is free in /run" in server.got[0]  # type: ignore[attr-defined]
    assert "did not take the message" in _delivered(house, "mail", **params)[0]


def test_kinds__choose_who_is_told(local: Plugins, tmp_path: Path) -> None:
    told = {name: tmp_path / name for name in ("all", "shares")}
    configs = [
        AlarmConfig("shout", {"file": str(told["all"])}),
        AlarmConfig("shout", {"file": str(told["shares"])}, ("share",)),
    ]
    notifier = Notifier(local, configs)
    for kind in ("disk", "share"):
        notifier.post(Alarm(kind, "", "", True, "", "", ""))
    notifier.close()
    assert told["all"].read_text().split() == ["disk", "share"]
    assert told["shares"].read_text().split() == ["share"]


def test_one_that_hangs__takes_nobodys_time_and_what_it_cannot_take_is_reported(local: Plugins, tmp_path: Path) -> None:
    good = tmp_path / "good"
    notifier = Notifier(local, [AlarmConfig("shout", {"wait_s": 60.0}), AlarmConfig("shout", {"file": str(good)})])
    start_s = time.monotonic()
    n_alarms = MAX_WAITING + 11
    for _ in range(n_alarms):
        notifier.post(ALARM)
        time.sleep(0.001)
    assert time.monotonic() - start_s < 5.0
    notifier.close(0.5)
    assert len(good.read_text().split()) == n_alarms
    assert len(notifier.unsent()) == n_alarms - MAX_WAITING - 1  # one is in its hands


def test_one_that_raises_even_system_exit__is_reported_and_told_of_the_next(local: Plugins) -> None:
    assert _delivered(local, "shout", ALARM, ALARM) == ["SystemExit: no file"] * 2


@pytest.mark.parametrize(
    ("use", "params", "words"),
    [
        ("webhook", {}, "params: params url is missing"),
        ("webhook", {"url": "file:///etc/passwd"}, "begins with https"),
        ("webhook", {"url": "https://a", "timeot_s": 1.0}, "timeout_s"),
        ("mail", {"to": ["a@b"]}, "sender is missing"),
        ("command", {"command": ["x"], "timeout_s": -1.0}, "timeout_s = -1"),
    ],
)
def test_wrong_settings__are_refused_at_the_start(house: Plugins, use: str, params: dict, words: str) -> None:
    with pytest.raises(ConfigError, match=rf"\[\[alarm\]\] {use}") as raised:
        Notifier(house, [AlarmConfig(use, params)])
    assert words in str(raised.value)


def test_a_notifier_nobody_offers__is_refused_with_those_there_are(house: Plugins) -> None:
    with pytest.raises(PluginError, match="webhook"):
        Notifier(house, [AlarmConfig("webhok")])
