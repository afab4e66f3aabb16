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
N_PICTURES = 4
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
    body = [head(shown.name, now, going), "<main>", _standing(now), _tiles(going)]
    body += [_newest(shown.rows), *map(_classes, shown.classes)]
    body += ['<div class="facts">', _aside(going, now), _facts(now), "</div>", _table(shown.rows, going), "</main>"]
    body.append(f"<script>{SCRIPT}{exposures.SCRIPT}</script>")
    return whole_page(shown.name, "".join(body), style=exposures.STYLE + STYLE, reload_s=reload_s)


def head(name: str, now: Condition, going: Pace) -> str:
    """Return the state in one word, large, and why it is so."""
    style, sign = _SIGNS[now.word]
    made = datetime.now(UTC).isoformat(timespec="seconds")
    most = MOST_AGE_S if now.holder else 0  # else nobody is expected to write it again
    word = f'<div class="word"><span class="sign">{sign}</span><span class="words">{escape(now.word)}</span></div>'
    said = f'<span class="said">{escape(reason(now, going))}</span>'
    as_of = f'<span class="as-of">as of {_utc(made)}, {_ago(made)}</span>'
    why = f'<div class="why"><h1>{escape(name)}</h1>{said} {as_of}</div>'
    return f'<header class="{style}" data-made="{made}" data-most="{most}">{word}{why}</header>'


def reason(now: Condition, going: Pace) -> str:
    """Return in one sentence why the state is what it is."""
    if now.word == conditions.NOBODY:
        if now.failed:
            return f"The work broke off at {_utc(now.last_utc)}: {now.failed}"
        return f"Whoever was at work is gone without a word; the last thing noted was at {_utc(now.last_utc)}."
    if now.word == conditions.ENDED:
        return f"{now.cancelled}." if now.cancelled else f"The work ended in good order at {_utc(now.last_utc)}."
    if now.word == conditions.ALARM:
        titles = list(dict.fromkeys(line.title for line in _lines(now)))
        return f"{', '.join(titles)}."
    if now.word == conditions.PAUSED:
        return f"By {now.held_by[0]} at {_utc(now.held_by[1])}." if now.held else f"{now.stands[0].reason}."
    if now.word == conditions.IDLE:
        return "All that has landed is done; the next file is waited for."
    return f"{_counted(going.n_waiting, 'micrograph')} in work." if going.n_waiting else "At work on the whole set."


@dataclass(frozen=True)
class _Line:
    """Something that stands still or warns; `style` is ``alarm`` or ``pause``."""

    style: str
    title: str
    subject: str
    words: str
    since: str = ""


def _lines(now: Condition) -> list[_Line]:
    """Return everything that stands still or warns, alarms first; what an alarm says is not said again."""
    lines = [
        _Line("alarm", ALARMS.get(alarm.kind, alarm.kind), alarm.subject, alarm.message, alarm.since)
        for alarm in now.alarms
    ]
    known = {(alarm.kind, alarm.subject) for alarm in now.alarms}
    for sign in now.stands:
        if (sign.kind, sign.subject) not in known:
            way = f"; {_command('resume', now, stage=sign.subject)} tries it now" if sign.kind == "stage" else ""
            style = "pause" if sign.kind == "disk" else "alarm"
            lines.append(_Line(style, _STANDS[sign.kind], sign.subject, sign.reason + way, sign.since))
    if now.held:
        who, since = now.held_by
        lines.append(_Line("pause", "Paused", "", f"by {who}; {_command('resume', now)} goes on", since))
    if now.cancelled:
        lines.append(_Line("pause", "Cancelled", "", now.cancelled))
    return lines


def _standing(now: Condition) -> str:
    items = "".join(
        f'<li class="{line.style}"><b>{escape(line.title)}</b>'
        + (f"<code>{escape(line.subject)}</code> " if line.subject else "")
        + _with_code(line.words)
        + (f' <span class="since">since {_utc(line.since)}, {_ago(line.since)}</span>' if line.since else "")
        + "</li>"
        for line in _lines(now)
    )
    return f'<ul class="stands">{items}</ul>' if items else ""


def _tiles(going: Pace) -> str:
    n_aside = going.n_set_aside + going.n_refused
    newest = f'<span data-at="{escape(going.newest_utc)}">{_age(going.newest_utc)}</span>' if going.newest_utc else "—"
    tiles = [
        ("", _count(going.n_done), "done"),
        ("", _count(going.n_waiting), "in work or waiting"),
        ("", _count(going.landed_1_h), "landed in the last hour"),
        ("", _count(going.finished_1_h), "finished in the last hour"),
        ("", newest, "since the newest result"),
        ("bad" if n_aside else "", _count(n_aside), "set aside or refused"),
    ]
    return '<div class="tiles">' + "".join(
        f'<div class="{style}"><span class="big">{value}</span><span class="what">{what}</span></div>'
        for style, value, what in tiles
    ) + "</div>"  # fmt: skip


def _count(number: int) -> str:
    return f"{number:,}".replace(",", "\u202f")


def _newest(rows: Sequence[Row]) -> str:
    """Show the newest micrographs with picks, and the newest fits."""
    micrographs = _strip(rows, "picks_png", "Newest picks", _said_of_picks)
    micrographs = micrographs or _strip(rows, "sum_png", "Newest micrographs", _said_of_picks)
    fits = _strip(rows, "ctf_png", "Newest CTF fits", _said_of_fit)
    return f'<div class="newest">{micrographs}{fits}</div>'


def _strip(rows: Sequence[Row], name: str, title: str, said: Callable[[Row], str]) -> str:
    """Show the named picture of the first rows that have it."""
    shown = islice(((row, str(row[name])) for row in rows if row.get(name)), N_PICTURES)
    figures = "".join(_figure(row, path, said(row)) for row, path in shown)
    return f'<div><h2>{title}</h2><div class="strip">{figures}</div></div>' if figures else ""


def _figure(row: Row, path: str, said: str) -> str:
    address, name = quote(path), str(row["micrograph_id"]).rpartition("/")[2]
    caption = f'{escape(said)}<small title="{escape(name)}">{escape(name)}</small>'
    image = f'<a href="{address}"><img alt="{escape(name)}" src="{address}"/></a>'
    return f"<figure>{image}<figcaption>{caption}</figcaption></figure>"


def _said_of_picks(row: Row) -> str:
    said = [_counted(row["n_picks"], "pick")] if row.get("n_picks") is not None else []
    motion_A = row.get("motion_total_A")
    return ", ".join(said + ([f"{float(motion_A):.0f}\u00a0Å motion"] if motion_A is not None else []))


def _said_of_fit(row: Row) -> str:
    said = []
    if (defocus_A := row.get("defocus_u_A")) is not None:
        said.append(f"{float(defocus_A) / 1e4:.2f}\u00a0µm")
    if (finest_A := row.get("fit_resolution_A")) is not None:
        said.append(f"to {float(finest_A):.1f}\u00a0Å")
    return ", ".join(said + (["not accepted"] if row.get("ctf_accepted") is False else []))


def _classes(drawn: ClassPicture) -> str:
    figures = "".join(
        f'<figure><img alt="class average" src="{address}"/><figcaption>{n_particles}</figcaption></figure>'
        for address, n_particles in drawn.averages
    )
    return f'<h2>Class averages, {escape(drawn.stage_id)}</h2><div class="classes">{figures}</div>' if figures else ""


def _aside(going: Pace, now: Condition) -> str:
    """List what was set aside and refused, why, and what takes it up again."""
    if not going.aside:
        return "<div><h2>Set aside</h2><p>Nothing.</p></div>"
    rows = "".join(
        f'<tr><td title="{escape(str(row["path"]))}">{escape(str(row["path"]).rpartition("/")[2])}</td>'
        f"<td>{escape(str(row.get('reason') or ''))}</td>"
        f"<td>{_with_code(way)}</td></tr>"
        for row in going.aside
        for way in [_way_back(row, now)]
    )
    n_all = going.n_set_aside + going.n_refused
    more = f" (the latest {len(going.aside)} of {n_all})" if n_all > len(going.aside) else ""
    head = "<thead><tr><th>what</th><th>why</th><th>again</th></tr></thead>"
    return f'<div><h2>Set aside{more}</h2><table class="aside">{head}<tbody>{rows}</tbody></table></div>'


def _way_back(row: Row, now: Condition) -> str:
    if row["status"] == "refused":
        return "taken again once the file changes"
    return _command("retry", now, item=str(row["micrograph_id"]))


def _command(verb: str, now: Condition, **flags: str) -> str:
    """Return what to type, from whatever folder."""
    said = "".join(f" --{name} {shlex.quote(value)}" for name, value in flags.items())
    return f"`cryoframe {verb} {shlex.quote(now.folder)}{said}`"


def _facts(now: Condition) -> str:
    rows: list[tuple[str, str]] = [
        (
            "files accounted for",
            f"{escape(mark.root)}: {_counted(mark.n_files, 'file')}, all that was there {_ago(mark.up_to_utc)}",
        )
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


def _counted(n: object, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


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
