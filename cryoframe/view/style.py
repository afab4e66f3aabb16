"""How the pages of a run look: one style sheet, in the page itself, which needs no other file."""

from __future__ import annotations

from html import escape

STYLE = """
body{font:15px/1.45 system-ui,sans-serif;max-width:1080px;margin:2em auto;padding:0 1em;color:#1a1a1a}
h1{font-size:1.6em}h2{border-bottom:1px solid #ccc;margin-top:2em;padding-bottom:.2em}
figure{display:inline-block;vertical-align:top;margin:.5em 1em .5em 0;max-width:100%}
figcaption{color:#555;font-size:.88em;max-width:640px}svg,img{max-width:100%;height:auto}
svg.plot{width:520px}svg.wide{width:640px}img.pixels{image-rendering:pixelated}
svg text{font:11px system-ui,sans-serif;fill:#333}svg .mid{text-anchor:middle}svg .end{text-anchor:end}
svg .rim{fill:none;stroke:#999}svg .grid{fill:none;stroke:#ddd}
svg .bar{fill:#fff;stroke:#000;stroke-width:.5}svg .level{stroke:#888;stroke-dasharray:4 3}
svg .pick{fill:none;stroke:#00c060;stroke-width:1.4}
section{border-bottom:1px dotted #ddd;padding:.4em 0}
table{border-collapse:collapse;margin:.6em 0}td,th{padding:.15em .7em;text-align:left;border-bottom:1px solid #e3e3e3}
.scroll{overflow-x:auto}
table.facts{display:inline-block;vertical-align:top;margin-right:1em}.note{color:#555}
"""


def whole_page(title: str, body: str, *, style: str = "", reload_s: int = 0) -> str:
    """Return a page; it loads itself anew every `reload_s` seconds, or never for 0."""
    again = f'<meta http-equiv="refresh" content="{reload_s}">' if reload_s else ""
    meta = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width">{again}'
    head = f"<head>{meta}<title>{escape(title)}</title><style>{STYLE}{style}</style></head>"
    return f"<!doctype html><html lang=en>{head}<body>{body}</body></html>"
