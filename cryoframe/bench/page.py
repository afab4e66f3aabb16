"""A benchmark's table as one HTML page that needs no other file; numbers are made elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from cryoframe.bench.preprocessing import Done
from cryoframe.bench.rows import COLUMNS, Row
from cryoframe.view.report import STYLE
from cryoframe.view.sections import facts, figure, table_of

_MORE = """
.bars{max-width:760px}.bars text{font-size:12px}.here{fill:#2a78d6}.peer{fill:#b9b6ae}
"""
#: Costs that are drawn: how much of a quantity's name must be there.
_DRAWN = ("CPU s a m", "peak memory")


def page(done: Done, title: str) -> str:
    """Return the page."""
    body = [f"<h1>{escape(title)}</h1>", facts(done.facts)]
    for words, rows in (("Failed", done.failed), ("Aims missed", done.missed)):
        if rows:
            body.append(f"<h2>{words}</h2>" + _table(rows))
    for start in _DRAWN:
        found = [row for row in done.rows if row.quantity.startswith(start) and row.here and row.peer]
        if found:
            body.append(f"<h2>{escape(found[0].quantity.partition(',')[0])}: here and the peer</h2>{_bars(found)}")
    for part in dict.fromkeys(row.part for row in done.rows):
        rows = [row for row in done.rows if row.part == part]
        body.append(f"<h2>{escape(part)}</h2>" + _table(rows))
        if part == "picking":
            body += [figure(drawing, caption) for caption, drawing in done.figures]
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(title)}</title>'
    head += f"<style>{STYLE}{_MORE}</style>"
    return f"<!doctype html><html lang=en><head>{head}</head><body>{''.join(body)}</body></html>"


def _table(rows: Sequence[Row]) -> str:
    return table_of(COLUMNS, [[cell.replace("`", "") for cell in row.cells()] for row in rows])


def _bars(rows: list[Row]) -> str:
    """Two bars a row on one scale, with their numbers."""
    most = max(side.median for row in rows for side in (row.here[0], row.peer[0])) or 1.0
    lines, y = [], 0
    for row in rows:
        lines.append(f'<text x="0" y="{y + 14}">{escape(row.what.replace("`", ""))}</text>')
        for name, side in (("here", row.here[0]), ("peer", row.peer[0])):
            y += 18
            width = max(1.0, 520.0 * side.median / most)
            lines.append(f'<rect class="{name}" x="0" y="{y}" width="{width:.1f}" height="13" rx="2"/>')
            lines.append(f'<text x="{width + 6:.1f}" y="{y + 11}">{name} {escape(str(side))}</text>')
        y += 30
    return f'<svg class="bars" viewBox="0 0 760 {y}">{"".join(lines)}</svg>'
