"""Refusing settings that are not finite or outside what is meant; what the bounds are is the caller's to say."""

from __future__ import annotations

from cryoframe.errors import InvalidInput


def check_bounds(settings: object, **bounds: tuple[float, float]) -> None:
    """Refuse settings outside their bounds, both included; NaN is outside any.

    Parameters
    ----------
    settings
        Object with an attribute of each name.
    **bounds
        Least and largest value by name.

    Raises
    ------
    InvalidInput
        Naming the first setting outside its bounds.
    """
    for name, (least, largest) in bounds.items():
        value = getattr(settings, name)
        if not least <= value <= largest:
            raise InvalidInput(
                f"{name} = {value} was set", expected=f"{least:g} to {largest:g}", remedy=f"Correct {name}."
            )


def check_order(settings: object, smaller: str, larger: str) -> None:
    """Refuse settings of which the first is larger than the second.

    Raises
    ------
    InvalidInput
        Naming both.
    """
    low, high = getattr(settings, smaller), getattr(settings, larger)
    if not low <= high:
        raise InvalidInput(
            f"{smaller} = {low} and {larger} = {high} were set",
            expected=f"{smaller} of at most {larger}",
            remedy=f"Correct {smaller} or {larger}.",
        )
