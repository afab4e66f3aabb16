"""The page of a session for a screen on the wall: its condition at a glance, how fast it goes, the newest pictures.

HTML of what `condition` and the table of exposures know; the page is one file, asks no network, and finds pictures in
the run folder.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from itertools import islice
from types import MappingProxyType
from urllib.parse import quote

from cryoframe.execution.exposures import Row
from cryoframe.view import condition as conditions
from cryoframe.view import exposures
from cryoframe.view.condition import Condition
from cryoframe.view.pace import Pace
from cryoframe.view.style import whole_page
from cryoframe.view.wall_pictures import ClassPicture
from cryoframe.view.wall_style import SCRIPT, STYLE

#: Rows of the table that the page has; all are in the Arrow table.
MOST_ROWS = 300
N_PICTURES = 6
#: A page that is older has nobody who writes it [s].
MOST_AGE_S = 240
#: The kinds of alarms, as people say it.
ALARMS: Mapping[str, str] = MappingProxyType(
    {
        "stall": "Nothing moves", "silence": "No new files", "share": "Share offline", "queue": "Work piles up",
        "plugin": "Stage keeps failing", "disk": "Disk is full", "quarantine": "Many set aside",
    }
)  # fmt: skip
_STANDS: Mapping[str, str] = MappingProxyType({"disk": "Disk", "stage": "Stage held", "share": "Share offline"})
_SIGNS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        conditions.ALARM: ("alarm", "!"), conditions.PAUSED: ("paused", "Ⅱ"), conditions.WORKING: ("working", "▶"),
        conditions.IDLE: ("waiting", "○"), conditions.ENDED: ("ended", "■"), conditions.NOBODY: ("nobody", "✕"),
    }
)  # fmt: skip


@dataclass(frozen=True)
class Shown:
    """What the page shows: the run's name, its condition, how it goes, the latest rows, class averages."""

    name: str
    now: Condition
    going: Pace
    rows: Sequence[Row]
    classes: Sequence[ClassPicture] = ()


def page(shown: Shown, *, reload_s: int = 0) -> str:
    """Return the page.

    Parameters
    ----------
    shown
        What there is.
    reload_s
        The page loads itself anew after so long; 0 = never.
    """
    now, going = shown.now, shown.going
    body = [head(shown.name, now, going, live=bool(reload_s)), "<main>", _standing(now), _tiles(going)]
    body += [_newest(shown.rows), *map(_classes, shown.classes)]
    body += ['<div class="facts">', _aside(going), _facts(now), "</div>", _table(shown.rows, going), "</main>"]
    body.append(f"<script>{SCRIPT}{exposures.SCRIPT}</script>")
    return whole_page(shown.name, "".join(body), style=exposures.STYLE + STYLE, reload_s=reload_s)


def head(name: str, now: Condition, going: Pace, *, live: bool) -> str:
    """Return the state in one word, large, and why it is so."""
    style, sign = _SIGNS[now.word]
    made = datetime.now(UTC).isoformat(timespec="seconds")
    most = MOST_AGE_S if live else 0
    word = f'<div class="word"><span class="sign">{sign}</span><span class="words">{escape(now.word)}</span></div>'
    said = f'<span class="said">{escape(reason(now, going))}</span>'
    as_of = f'<span class="as-of">page of {made[:10]} {made[11:16]} UTC, {_ago(made)}</span>'
    why = f'<div class="why"><h1>{escape(name)}</h1>{said} {as_of}</div>'
    return f'<header class="{style}" data-made="{made}" data-most="{most}">{word}{why}</header>'


def reason(now: Condition, going: Pace) -> str:
    """Return in one sentence why the state is what it is."""
    if now.word == conditions.NOBODY:
        return f"Whoever was at work is gone without a word; the last thing noted was at {_utc(now.last_utc)}."
    if now.word == conditions.ENDED:
        return f"{now.cancelled}." if now.cancelled else f"The work ended in good order at {_utc(now.last_utc)}."
    if now.word == conditions.ALARM:
        n_more = len(now.alarms) + len(now.stands) - 1
        first = ALARMS.get(now.alarms[0].kind, now.alarms[0].kind) if now.alarms else _STANDS[now.stands[0].kind]
        return f"{first}{f', and {n_more} more' if n_more else ''}: see below."
    if now.word == conditions.PAUSED:
        return now.held or now.stands[0].reason
    if now.word == conditions.IDLE:
        return "All that has landed is done; the next file is waited for."
    return f"{going.n_waiting} micrographs in work." if going.n_waiting else "At work on the whole set."


def _standing(now: Condition) -> str:
    """List everything that stands still or warns, alarms first."""
    lines = [
        (
            "alarm",
            ALARMS.get(alarm.kind, alarm.kind),
            " ".join(filter(None, [alarm.subject, alarm.message])),
            alarm.since,
        )
        for alarm in now.alarms
    ]
    if now.held:
        lines.append(("pause", "Paused", f"{now.held}; `cryoframe resume` goes on", ""))
    known = {(alarm.kind, alarm.subject) for alarm in now.alarms}
    for sign in now.stands:
        if (sign.kind, sign.subject) in known or (sign.kind == "disk" and ("disk", "") in known):
            continue
        way = f"; `cryoframe resume --stage {sign.subject}` tries it now" if sign.kind == "stage" else ""
        words = " ".join(filter(None, [sign.subject, sign.reason])) + way
        lines.append(("pause" if sign.kind == "disk" else "alarm", _STANDS[sign.kind], words, sign.since))
    if now.cancelled:
        lines.append(("pause", "Cancelled", now.cancelled, ""))
    if not lines:
        return ""
    items = "".join(
        f'<li class="{style}"><b>{escape(title)}</b>{_with_code(words)}'
        + (f' <span class="since">since {_utc(since)}, {_ago(since)}</span>' if since else "")
        + "</li>"
        for style, title, words, since in lines
    )
    return f'<ul class="stands">{items}</ul>'


def _tiles(going: Pace) -> str:
    n_aside = going.n_set_aside + going.n_refused
    newest = f'<span data-at="{escape(going.newest_utc)}">{_age(going.newest_utc)}</span>' if going.newest_utc else "—"
    tiles = [
        ("", f"{going.n_done}", "done"),
        ("", f"{going.n_waiting}", "in work or waiting"),
        ("", f"{going.landed_1_h}", "landed in the last hour"),
        ("", f"{going.finished_1_h}", "finished in the last hour"),
        ("", newest, "since the newest result"),
        ("bad" if n_aside else "", f"{n_aside}", "set aside or refused"),
    ]
    return '<div class="tiles">' + "".join(
        f'<div class="{style}"><span class="big">{value}</span><span class="what">{what}</span></div>'
        for style, value, what in tiles
    ) + "</div>"  # fmt: skip


def _newest(rows: Sequence[Row]) -> str:
    """Show the newest micrographs with picks, and the newest fits."""
    micrographs = _strip(rows, ("picks_png", "sum_png"), "Newest micrographs", _said_of_picks)
    return micrographs + _strip(rows, ("ctf_png",), "Newest CTF fits", _said_of_fit)


def _strip(rows: Sequence[Row], names: Sequence[str], title: str, said: Callable[[Row], str]) -> str:
    """Show the first of the named pictures that a row has, of the first rows that have one."""
    found = ((row, next((row[name] for name in names if row.get(name)), None)) for row in rows)
    shown = list(islice(((row, str(path)) for row, path in found if path), N_PICTURES))
    figures = "".join(_figure(row, path, said(row)) for row, path in shown)
    return f'<h2>{title}</h2><div class="strip">{figures}</div>' if figures else ""


def _figure(row: Row, path: str, said: str) -> str:
    address, name = quote(path), str(row["micrograph_id"]).rpartition("/")[2]
    caption = f"{escape(said)}<small>{escape(name)}</small>"
    image = f'<a href="{address}"><img alt="{escape(name)}" src="{address}"/></a>'
    return f"<figure>{image}<figcaption>{caption}</figcaption></figure>"


def _said_of_picks(row: Row) -> str:
    said = [f"{row['n_picks']} picks"] if row.get("n_picks") is not None else []
    motion_A = row.get("motion_total_A")
    return ", ".join(said + ([f"{float(motion_A):.0f} Å motion"] if motion_A is not None else []))


def _said_of_fit(row: Row) -> str:
    said = []
    if (defocus_A := row.get("defocus_u_A")) is not None:
        said.append(f"{float(defocus_A) / 1e4:.2f} µm")
    if (finest_A := row.get("fit_resolution_A")) is not None:
        said.append(f"rings to {float(finest_A):.1f} Å")
    return ", ".join(said + (["not accepted"] if row.get("ctf_accepted") is False else []))


def _classes(drawn: ClassPicture) -> str:
    figures = "".join(
        f'<figure><img alt="class average" src="{address}"/><figcaption>{n_particles}</figcaption></figure>'
        for address, n_particles in drawn.averages
    )
    return f'<h2>Class averages, {escape(drawn.stage_id)}</h2><div class="classes">{figures}</div>' if figures else ""


def _aside(going: Pace) -> str:
    """List what was set aside and refused, why, and what takes it up again."""
    if not going.aside:
        return "<div><h2>Set aside</h2><p>Nothing.</p></div>"
    rows = "".join(
        f"<tr><td>{escape(str(row['micrograph_id']))}</td><td>{escape(str(row.get('reason') or ''))}</td>"
        f"<td>{_with_code(way)}</td></tr>"
        for row in going.aside
        for way in [_way_back(row)]
    )
    n_all = going.n_set_aside + going.n_refused
    more = f" (the latest {len(going.aside)} of {n_all})" if n_all > len(going.aside) else ""
    head = "<thead><tr><th>what</th><th>why</th><th>again</th></tr></thead>"
    return f'<div><h2>Set aside{more}</h2><table class="aside">{head}<tbody>{rows}</tbody></table></div>'


def _way_back(row: Row) -> str:
    if row["status"] == "refused":
        return "taken again once the file changes"
    return f"`cryoframe retry --item {shlex.quote(str(row['micrograph_id']))}`"


def _facts(now: Condition) -> str:
    rows: list[tuple[str, str]] = [
        ("files accounted for", f"{escape(mark.root)}: {mark.n_files} files, all that was there {_ago(mark.up_to_utc)}")
        for mark in now.watermarks
    ]
    holder = now.holder or (f"nobody; last {now.last_holder}" if now.last_holder else "nobody")
    rows.append(("at work", escape(holder)))
    if now.memory_MB[0]:
        rows.append(("memory", f"{now.memory_MB[0]:.0f} MB, with all it started {now.memory_MB[1] / 1024:.1f} GB"))
    if now.machine_MB[1]:
        free, whole = (value / 1024 for value in now.machine_MB)
        rows.append(("machine", f"{free:.1f} of {whole:.0f} GB of memory free"))
    if now.disk_GB[1]:
        rows.append(("disk of the run", f"{now.disk_GB[0]:.0f} of {now.disk_GB[1]:.0f} GB free"))
    body = "".join(f"<tr><th>{name}</th><td>{value}</td></tr>" for name, value in rows)
    return f"<div><h2>Session</h2><table>{body}</table></div>"


def _table(rows: Sequence[Row], going: Pace) -> str:
    if not rows:
        return ""
    left = (
        f"The latest {len(rows)} of {going.n_rows} are shown; all are in exposures.arrow. "
        if going.n_rows > len(rows)
        else ""
    )
    note = f'<p class="note">{left}A click on a heading sorts.</p>'
    return f"<h2>Exposures</h2>{note}{exposures.table_html(rows, quote)}"


def _with_code(words: str) -> str:
    """Escape words; what stands between back-quotes is a command."""
    parts = escape(words).split("`")
    return "".join(f"<code>{part}</code>" if number % 2 else part for number, part in enumerate(parts))


def _utc(time_utc: str) -> str:
    return f"{time_utc[:10]} {time_utc[11:16]} UTC" if time_utc else "a time that is not known"


def _age(time_utc: str) -> str:
    """Return how long ago a time is; the page's script says it anew as it is read."""
    try:
        age_s = max(0.0, (datetime.now(UTC) - datetime.fromisoformat(time_utc)).total_seconds())
    except (ValueError, TypeError):
        return ""
    if age_s < 100:
        return f"{age_s:.0f} s"
    return (
        f"{age_s / 60:.0f} min"
        if age_s < 6000
        else f"{age_s / 3600:.0f} h"
        if age_s < 176400
        else f"{age_s / 86400:.0f} d"
    )


def _ago(time_utc: str) -> str:
    return f'<span data-at="{escape(time_utc)}" data-ago>{_age(time_utc)} ago</span>' if time_utc else ""
