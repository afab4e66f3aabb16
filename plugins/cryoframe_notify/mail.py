"""Hook: notify ``mail``, one plain message by SMTP."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cryoframe import Alarm, hookimpl
from cryoframe.errors import EnvironmentFault
from cryoframe.numerics.bounds import check_bounds
from cryoframe_notify.settings import require, settings_of


@dataclass(frozen=True)
class Params:
    """To whom, and by which server."""

    to: tuple[str, ...] = ()  # addresses
    sender: str = ""  # address it comes from
    server: str = "localhost"  # name of the SMTP server
    port: int = 25  # its port; 587 with starttls, 465 with tls are usual
    security: Literal["none", "starttls", "tls"] = "none"  # how the connection is protected
    user: str = ""  # name to log in with; nobody if empty
    password_file: str = ""  # file with the password; a secret has no place in a configuration
    timeout_s: float = 30.0  # for each answer of the server

    def __post_init__(self) -> None:
        require(self.to, "to", '["someone@example.org"]')
        require(self.sender, "sender", '"cryoframe@example.org"')
        check_bounds(self, timeout_s=(0.1, 300.0), port=(1, 65535))


@hookimpl
def notify(alarm: Alarm) -> None:
    """Send the message.

    Raises
    ------
    EnvironmentFault
        If the server did not take it.
    """
    import smtplib
    import ssl
    from email.message import EmailMessage

    params = settings_of(alarm, Params)
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = params.sender, ", ".join(params.to), alarm.line[:200]
    message.set_content(f"{alarm.line}\n\nrun folder: {_plain(alarm.folder)}\ntime (UTC): {alarm.time_utc}\n")
    try:
        context = ssl.create_default_context()
        made = (
            smtplib.SMTP_SSL(params.server, params.port, timeout=params.timeout_s, context=context)
            if params.security == "tls"
            else smtplib.SMTP(params.server, params.port, timeout=params.timeout_s)
        )
        with made as server:
            if params.security == "starttls":
                server.starttls(context=context)
            if params.user:
                with open(params.password_file, encoding="utf-8") as file:  # noqa: PTH123
                    server.login(params.user, file.read().strip())
            server.send_message(message)
    except (OSError, smtplib.SMTPException) as error:
        raise EnvironmentFault(f"{params.server}:{params.port} did not take the message ({error})") from error


def _plain(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
