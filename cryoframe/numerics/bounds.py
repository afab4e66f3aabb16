"""Refusing settings that are not finite or outside what is meant; what the bounds are is the caller's to say."""

from __future__ import annotations

from cryoframe.errors import InvalidInput

#: A particle smaller than this share of its box leaves nothing of the images within its mask.
_LEAST_FRAC = 0.05


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


def check_extent(box_A: float, *, particle_diameter_A: float, offset_range_A: float) -> None:
    """Refuse a particle, or a range of its translations, that does not fit the box; 0 stands for a share of the box.

    Parameters
    ----------
    box_A
        Edge of the box.
    particle_diameter_A
        At most twice the box: what is beyond its faces is cut anyway.
    offset_range_A
        At most half of the box: further out the particle's centre is not in it.

    Raises
    ------
    InvalidInput
        Naming what does not fit.
    """
    limits = {"particle_diameter_A": (particle_diameter_A, 2.0), "offset_range_A": (offset_range_A, 0.5)}
    for name, (value, most_frac) in limits.items():
        if value > most_frac * box_A:
            raise InvalidInput(
                f"{name} = {value:g} was set for boxes of {box_A:.0f} Å",
                expected=f"at most {most_frac * box_A:.0f} Å",
                remedy=f"Correct {name}, or the pixel size of the particles.",
            )
    if 0.0 < particle_diameter_A < _LEAST_FRAC * box_A:
        raise InvalidInput(
            f"particle_diameter_A = {particle_diameter_A:g} was set for boxes of {box_A:.0f} Å",
            expected=f"at least {_LEAST_FRAC * box_A:.0f} Å, or 0 for 85 % of the box",
            remedy="Correct particle_diameter_A, or extract smaller boxes.",
        )
