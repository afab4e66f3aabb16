"""What the notifiers share: their settings are what they declared, or the configuration is at fault."""

from __future__ import annotations

from typing import TypeVar

from cryoframe import Alarm
from cryoframe.errors import ConfigError

P = TypeVar("P")


def settings_of(alarm: Alarm, cls: type[P]) -> P:
    """Return the alarm's settings as the notifier's own class.

    Raises
    ------
    ConfigError
        If they are not.
    """
    if not isinstance(alarm.settings, cls):
        raise ConfigError(f"settings are {alarm.settings!r}", expected=f"{cls.__module__}.{cls.__name__}")
    return alarm.settings


def require(value: object, name: str, example: str) -> None:
    """Refuse an empty setting.

    Raises
    ------
    ConfigError
        Naming it.
    """
    if not value:
        raise ConfigError(f"params {name} is missing", remedy=f"Say {name} = {example}.")
