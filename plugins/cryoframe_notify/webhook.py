"""Hook: notify ``webhook``, one JSON document by HTTP POST; chat programs read its ``text``."""

from __future__ import annotations

import json
from dataclasses import dataclass

from cryoframe import Alarm, hookimpl
from cryoframe.errors import ConfigError, EnvironmentFault
from cryoframe.numerics.bounds import check_bounds
from cryoframe_notify.settings import require, settings_of


@dataclass(frozen=True)
class Params:
    """Where to."""

    url: str = ""  # http(s) address that takes a POST of JSON
    token_file: str = ""  # file with a token, sent as "Authorization: Bearer …"; secrets stay out of configurations
    timeout_s: float = 10.0  # for connecting and for each answer

    def __post_init__(self) -> None:
        require(self.url, "url", '"https://…"')
        if not self.url.lower().startswith(("https://", "http://")):
            raise ConfigError(f"params url is {self.url!r}", expected="an address that begins with https:// or http://")
        check_bounds(self, timeout_s=(0.1, 300.0))


@hookimpl
def notify(alarm: Alarm) -> None:
    """Send the alarm; any answer but 2xx is a failure. Redirections are not followed: they could carry the token off.

    Raises
    ------
    EnvironmentFault
        If it did not arrive.
    """
    import urllib.error
    import urllib.request

    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_: object) -> None:
            return None

    params = settings_of(alarm, Params)
    names = ("kind", "subject", "message", "raised", "run_id", "folder", "time_utc")
    facts = {"text": alarm.line} | {name: getattr(alarm, name) for name in names}
    request = urllib.request.Request(params.url, data=json.dumps(facts).encode(), method="POST")
    request.add_header("Content-Type", "application/json")
    try:
        if params.token_file:
            with open(params.token_file, encoding="utf-8") as file:  # noqa: PTH123
                request.add_unredirected_header("Authorization", f"Bearer {file.read().strip()}")
        with urllib.request.build_opener(Stay).open(request, timeout=params.timeout_s) as answer:
            answer.read(1024)
    except urllib.error.HTTPError as error:
        error.close()
        raise EnvironmentFault(f"{_place(params.url)} answered {error.code}") from error
    except (OSError, ValueError) as error:
        raise EnvironmentFault(f"{_place(params.url)} cannot be reached ({error})") from error


def _place(url: str) -> str:
    """Return the address without its path and query, where secrets are kept."""
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}"
