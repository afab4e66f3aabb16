"""The unit suffixes a name may carry, and what they mean; nothing is converted here."""

from __future__ import annotations

from types import MappingProxyType

#: suffix → unit as written in Arrow metadata and reports.
UNIT_SUFFIXES = MappingProxyType(
    {
        "_e_A2": "e/Å²",
        "_1_A": "1/Å",
        "_1_px": "1/px",
        "_1_A2": "1/Å²",
        "_A2": "Å²",
        "_A": "Å",
        "_nm": "nm",
        "_um": "µm",
        "_mm": "mm",
        "_px": "px",
        "_deg": "deg",
        "_rad": "rad",
        "_mrad": "mrad",
        "_kV": "kV",
        "_eV": "eV",
        "_s": "s",
        "_K": "K",
        "_MB": "MB",
        "_frac": "1",
        "_db": "dB",
        "_sd": "standard deviations",
    }
)


def unit_of(name: str) -> str:
    """Return the unit that the longest known suffix of `name` states, or ``""`` when it states none."""
    for suffix in sorted(UNIT_SUFFIXES, key=len, reverse=True):
        if name.endswith(suffix):
            return UNIT_SUFFIXES[suffix]
    return ""
