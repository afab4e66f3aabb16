"""No plugin of this distribution is left out of the kit."""

from __future__ import annotations

import re
from pathlib import Path

from cryoframe.kernel.discovery import scan


def test_every_offer__has_its_line_of_conformance() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*_conform.py"))
    examined = {(hook, name) for name, hook in re.findall(r'conformance\(\s*"(\w+)",\s*"(\w+)"', text)}
    offered = {(offer.hook, offer.name) for offer in scan() if offer.distribution == "cryoframe" and not offer.wrapper}
    assert examined == offered
