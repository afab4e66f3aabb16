"""The form of every check, and how one says that it failed. No check lives here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NoReturn

from cryoframe.errors import ConformanceError
from cryoframe.testing.sessions import Session

#: What must have worked before: nothing, loading the plugin, coming back in time elsewhere, or one call here.
Needs = Literal["nothing", "load", "time", "call"]


@dataclass(frozen=True)
class Check:
    """One named question to a plugin.

    Parameters
    ----------
    function
        Raises :class:`ConformanceError` when the answer is wrong; its name is the check's.
    needs
        What has to work before it can be asked.
    hooks
        Hooks it is asked of; empty for all stages.
    variant
        The phantom it needs; hooks without one are not asked.
    """

    function: Callable[[Session], None]
    needs: Needs = "call"
    hooks: tuple[str, ...] = ()
    variant: str = "nominal"

    @property
    def name(self) -> str:
        """Name of the check, stable: people write it in expected failures."""
        return self.function.__name__

    @property
    def doc(self) -> str:
        """What is asked, in one sentence."""
        return (self.function.__doc__ or "").strip().splitlines()[0]


class NotAsked(Exception):
    """A check has no meaning here, for the reason given; it neither passes nor fails."""


def fail(what: str, *, expected: str = "", remedy: str = "") -> NoReturn:
    """Say that the check failed, what was expected and what to do."""
    raise ConformanceError(what, expected=expected, remedy=remedy)
