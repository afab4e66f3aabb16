"""The table of exposures as HTML: a row a micrograph, its pictures, sorted by a click; and the page that stays current.

The page needs no other program: it loads itself anew, and what it loads are files of the run folder.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from types import MappingProxyType
from urllib.parse import quote

from cryoframe.data.figures import Figure
from cryoframe.data.tables import ExposureTable
from cryoframe.view.style import whole_page

Row = Mapping[str, Figure | None]
#: Path of a picture below the run folder → address for an ``img``, empty where it is not to be shown.
Address = Callable[[str], str]
PAGE = "exposures.html"
#: Rows on a page that is read by people; the Arrow table has all.
MAX_ROWS = 2000
PICTURES: Mapping[str, str] = MappingProxyType(
    {
        "picks_png": "picks",
        "sum_png": "sum",
        "usable_png": "usable area",
        "ctf_png": "spectrum, fit",
        "drift_png": "drift",
    }
)
STYLE = """
table.exposures{font-size:13px}table.exposures th{background:#fff;cursor:pointer;white-space:nowrap}
table.exposures th[data-way="1"]::after{content:" ▲"}table.exposures th[data-way="-1"]::after{content:" ▼"}
table.exposures td{vertical-align:top}table.exposures td.number{text-align:right;white-space:nowrap}
table.exposures img{width:128px;max-width:none;height:auto;display:block}
table.exposures td.name{word-break:break-all;min-width:9em}
table.exposures td.said{min-width:14em;max-width:28em}
tr.set_aside td.name,tr.refused td.name{border-left:4px solid #D55E00}tr.warned td.name{border-left:4px solid #E69F00}
tr.waiting td.name{border-left:4px solid #bbb}tr.done td.name{border-left:4px solid #009E73}
tr.warned.done td.name{border-left-color:#E69F00}
"""
#: Sorts by the column that is clicked; numbers by value, what is missing last, either way; the choice is kept in the
#: address, so that a page that loads itself anew keeps it.
SCRIPT = """
(function(){var t=document.querySelector('table.exposures');if(!t)return;var h=t.tHead.rows[0].cells,b=t.tBodies[0];
function key(r,i){var c=r.cells[i],v=c.dataset.v;if(v===undefined)v=c.textContent;var n=parseFloat(v);
return v===''?null:(isNaN(n)||c.dataset.t?v:n)}
function sort(i,way){var rows=Array.from(b.rows);rows.sort(function(p,q){var x=key(p,i),y=key(q,i);
if(x===null||y===null)return (x===null)-(y===null);return (x<y?-1:x>y?1:0)*way});
rows.forEach(function(r){b.appendChild(r)});
for(var j=0;j<h.length;j++)h[j].dataset.way=j===i?way:'';location.hash='sort='+i+'.'+way}
for(var i=0;i<h.length;i++)(function(i){h[i].addEventListener('click',function(){
sort(i,h[i].dataset.way==='1'?-1:1)})})(i);
var m=/sort=(\\d+)\\.(-?1)/.exec(location.hash);if(m&&+m[1]<h.length)sort(+m[1],+m[2])})();
"""


@dataclass(frozen=True)
class _Shown:
    """One column of numbers: its heading, where it is from, and how it is written."""

    heading: str
    column: str
    form: str = "{:.0f}"
    factor: float = 1.0


_NUMBERS = (
    _Shown("motion [Å]", "motion_total_A", "{:.1f}"),
    _Shown("early", "motion_early_A", "{:.1f}"),
    _Shown("late", "motion_late_A", "{:.1f}"),
    _Shown("local", "motion_local_A", "{:.1f}"),
    _Shown("defocus U [Å]", "defocus_u_A"),
    _Shown("V", "defocus_v_A"),
    _Shown("angle [°]", "defocus_angle_deg"),
    _Shown("phase [°]", "phase_shift_deg"),
    _Shown("tilt [°]", "tilt_deg", "{:.1f}"),
    _Shown("rings to [Å]", "fit_resolution_A", "{:.1f}"),
    _Shown("score", "ctf_score", "{:.3f}"),
    _Shown("ice [nm]", "ice_thickness_A", "{:.0f}", 0.1),
    _Shown("excluded [%]", "excluded_frac", "{:.0f}", 100.0),
    _Shown("picks", "n_picks"),
    _Shown("boxes", "n_particles"),
    _Shown("frames", "n_frames"),
    _Shown("dose [e/Å²]", "dose_e_A2", "{:.1f}"),
    _Shown("counts/px", "counts_1_px", "{:.1f}"),
)


def table_html(rows: Sequence[Row], address: Address) -> str:
    """Return the table, without style and script.

    Parameters
    ----------
    rows
        Of ``ExposureTable.rows()``.
    address
        Where a picture is to be found from the page.
    """
    pictured = [name for name in PICTURES if any(row.get(name) for row in rows)]
    numbers = [one for one in _NUMBERS if any(row.get(one.column) is not None for row in rows)]
    head = [PICTURES[name] for name in pictured] + ["micrograph", "state", "CTF", "area", "what to look at"]
    head += [one.heading for one in numbers] + ["landed", "took [s]"]
    body = "".join(_row(row, pictured, numbers, address) for row in rows)
    cells = "".join(f"<th>{escape(name)}</th>" for name in head)
    table = f'<table class="exposures"><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table>'
    return f'<div class="scroll">{table}</div>'


def _row(row: Row, pictured: Sequence[str], numbers: Sequence[_Shown], address: Address) -> str:
    cells = [_picture(row, name, address) for name in pictured]
    name = str(row["micrograph_id"])
    cells.append(f'<td data-t="1" class="name" title="{escape(name)}">{escape(name.rpartition("/")[2])}</td>')
    cells.append(_words(str(row["status"]).replace("_", " ")))
    accepted = row.get("ctf_accepted")
    cells.append(_words("" if accepted is None else "accepted" if accepted else "rejected"))
    cells.append(_words(str(row.get("verdict") or "")))
    said = "; ".join(str(row[name]) for name in ("reason", "warnings") if row.get(name))
    cells.append(_words(said, "said"))
    cells += [_number(row, one) for one in numbers]
    landed = str(row.get("landed_utc") or "")
    cells.append(f'<td data-t="1" data-v="{escape(landed)}">{escape(landed[11:19])}</td>')
    cells.append(_took(row))
    warned = " warned" if row.get("warnings") else ""
    return f'<tr class="{escape(str(row["status"]))}{warned}">{"".join(cells)}</tr>'


def _picture(row: Row, name: str, address: Address) -> str:
    path = row.get(name)
    found = address(str(path)) if path else ""
    if not found:
        return "<td></td>"
    return f'<td><a href="{found}"><img loading="lazy" alt="{escape(PICTURES[name])}" src="{found}"/></a></td>'


def _words(text: str, style: str = "") -> str:
    named = f' class="{style}"' if style else ""
    return f'<td data-t="1"{named}>{escape(text)}</td>'


def _number(row: Row, one: _Shown) -> str:
    value = row.get(one.column)
    if value is None or isinstance(value, str):
        return '<td class="number" data-v=""></td>'
    return f'<td class="number" data-v="{float(value):.6g}">{one.form.format(float(value) * one.factor)}</td>'


def _took(row: Row) -> str:
    landed, finished = row.get("landed_utc"), row.get("finished_utc")
    if not landed or not finished:
        return '<td class="number" data-v=""></td>'
    took_s = (datetime.fromisoformat(str(finished)) - datetime.fromisoformat(str(landed))).total_seconds()
    return f'<td class="number" data-v="{took_s:.1f}">{took_s:.0f}</td>'


def totals(rows: Sequence[Row]) -> str:
    """Return one line on all rows: how many in which state, how many an hour lately."""
    states: dict[str, int] = {}
    for row in rows:
        states[str(row["status"])] = states.get(str(row["status"]), 0) + 1
    said = ", ".join(f"{count} {state.replace('_', ' ')}" for state, count in sorted(states.items())) or "nothing yet"
    ends = sorted(str(row["finished_utc"]) for row in rows if row.get("finished_utc"))[-20:]
    if len(ends) < 3:
        return said
    spent_h = (datetime.fromisoformat(ends[-1]) - datetime.fromisoformat(ends[0])).total_seconds() / 3600
    return f"{said}; the last {len(ends)} at {(len(ends) - 1) / max(spent_h, 1e-6):.0f} an hour"


def page(name: str, table: ExposureTable, *, reload_s: int = 0, address: Address = quote) -> str:
    """Return a whole page: the latest exposures first.

    Parameters
    ----------
    name
        Of the run.
    table
        Of the run.
    reload_s
        The page loads itself anew after so long; 0 = never.
    address
        As of :func:`table_html`; by itself, as seen from the run folder.
    """
    rows: list[Row] = sorted(table.rows(), key=lambda row: str(row.get("landed_utc") or ""), reverse=True)
    left = f'<p class="note">The latest {MAX_ROWS} are shown.</p>' if len(rows) > MAX_ROWS else ""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    body = f"<h1>{escape(name)}</h1><p>{escape(totals(rows))}; as of {now}</p>"
    body += table_html(rows[:MAX_ROWS], address) + left + f"<script>{SCRIPT}</script>"
    return whole_page(name, body, style=STYLE + "body{max-width:none}", reload_s=reload_s)


def embedded(folder: Path, *, most: int) -> Address:
    """Return an address that holds the picture itself, for the first `most` of them."""
    left: Iterator[None] = iter([None] * most)

    def address(path: str) -> str:
        try:
            next(left)
            return "data:image/png;base64," + base64.b64encode((folder / path).read_bytes()).decode()
        except (StopIteration, OSError):
            return ""

    return address
