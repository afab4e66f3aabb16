"""``cryoframe conventions``: prints CONVENTIONS.md as it is installed."""

from __future__ import annotations

import argparse
from pathlib import Path

from cryoframe.cli.output import emit, json_flag, say


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    json_flag(parser)


def run(options: argparse.Namespace) -> int:
    """Print the page, or its sections as JSON."""
    import cryoframe

    text = (Path(cryoframe.__file__).parent / "CONVENTIONS.md").read_text(encoding="utf-8")
    if options.json:
        title, *sections = text.split("\n## ")
        parts = {heading: body.strip() for heading, _, body in (section.partition("\n") for section in sections)}
        emit({"": title.strip(), **parts})
    else:
        say(text.rstrip())
    return 0
