"""The run's report: one self-contained HTML file with the pictures people look at first. Changes nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cryoframe.data.images import CorrectedMicrograph, MicrographSource
from cryoframe.errors import CryoframeError
from cryoframe.execution.exposures import exposures
from cryoframe.execution.remarks import remarks_in
from cryoframe.execution.run import Run
from cryoframe.kernel.plan import Node
from cryoframe.records.state import Task
from cryoframe.records.store import PRODUCT
from cryoframe.view import exposures as exposures_page
from cryoframe.view import remarks, sections
from cryoframe.view.style import STYLE as STYLE
from cryoframe.view.style import whole_page

#: Micrographs drawn per stage; all of them are counted in the tables.
N_DRAWN = 3
#: Small pictures in the table of exposures: the page holds them all, some 60 kB each.
N_SMALL = 300

MAX_METRICS = 7  # more do not fit a page; all are in the journal


@dataclass(frozen=True)
class Extra:
    """A section somebody adds to the report: a title and ready HTML."""

    title: str
    html: str


def write_report(run: Run, path: Path, *, extras: tuple[Extra, ...] = ()) -> Path:
    """Write the report of a run as far as it has come.

    Parameters
    ----------
    run
        An open run.
    path
        The HTML file; it needs no other file and no network.
    extras
        Further sections, put first.

    Returns
    -------
    The path written.
    """
    body = [f"<h1>{escape(run.config.name)}</h1>", _summary(run)]
    body += [f"<h2>{escape(extra.title)}</h2>{extra.html}" for extra in extras]
    body += [_exposures(run), *_stages(run)]
    body += [_set_aside(run), f'<p class="note">cryoframe {version("cryoframe")}; run folder {run.config.folder}</p>']
    page = whole_page(run.config.name, "".join(body), style=exposures_page.STYLE)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")
    return path


def _summary(run: Run) -> str:
    counts = run.state.task_counts()
    rows = []
    for node in run.plan().nodes:
        by_status = counts.get(node.id, {})
        offer = f"{node.offer.name} ({node.offer.distribution} {node.offer.version})"
        rows.append([node.id, node.spec.hook, offer, str(by_status.get("done", 0)), str(by_status.get("given_up", 0))])
    files = ", ".join(f"{n} {status}" for status, n in sorted(run.state.file_counts().items())) or "none"
    ignored = [f"{file.path} ({file.reason})" for file in run.state.files("ignored")]
    if ignored:
        files += "; ignored: " + ", ".join(ignored[:5]) + (" …" if len(ignored) > 5 else "")
    remark = run.config.optics_remark()
    said = f"<p><strong>{escape(remark)}</strong></p>" if remark else ""
    table = sections.table_of(["stage", "does", "by", "done", "set aside"], rows)
    return f"{table}<p>Files: {escape(files)}.</p>{said}"


def _exposures(run: Run) -> str:
    rows = exposures(run.state).rows()
    if not rows:
        return ""
    address = exposures_page.embedded(run.folder, most=N_SMALL)
    table = exposures_page.table_html(rows[: exposures_page.MAX_ROWS], address)
    said = f"<p>{escape(exposures_page.totals(rows))}. A click on a heading sorts.</p>"
    return f"<h2>Exposures</h2>{said}{table}<script>{exposures_page.SCRIPT}</script>"


def _stages(run: Run) -> Iterator[str]:
    for node in run.plan().nodes:
        done = run.state.tasks(node.id, "done")
        if not done:
            continue
        parts = [f"<h2>{escape(node.id)}</h2>", _metrics(run, node, done)]
        parts += [_drawn(run, node, task) for task in done[:N_DRAWN]]
        if len(done) > N_DRAWN:
            parts.append(f'<p class="note">… and {len(done) - N_DRAWN} more.</p>')
        yield "".join(parts)


def _drawn(run: Run, node: Node, task: Task) -> str:
    try:
        product = run.store.load(node.id, task.key)
        image, pixel_size_A = _micrograph(run, task) if node.spec.over != "set" else (None, 1.0)
        drawn = sections.draw(sections.Shown(task.item_id, product, image, pixel_size_A))
        said = remarks_in(run.store.path(node.id, task.key), node.id, task.item_id) if node.spec.over == "set" else []
        return f"<section>{drawn}{_dropped(run, node, task)}{remarks.drawn(said)}</section>"
    except (CryoframeError, OSError, ValueError) as error:  # one broken product must not cost the whole report
        return f'<p class="note">{escape(task.item_id)} cannot be drawn: {escape(str(error))}</p>'


def _dropped(run: Run, node: Node, task: Task) -> str:
    """Say which particles the stage left out, and why."""
    path = run.store.path(node.id, task.key) / PRODUCT / "dropped.json"
    if not path.is_file():
        return ""
    said = "; ".join(f"{len(one['particle_id'])} ({one['reason']})" for one in json.loads(path.read_text("utf-8")))
    return f'<p class="note">{escape(task.item_id)}: left out: {escape(said)}</p>' if said else ""


def _micrograph(run: Run, task: Task) -> tuple[NDArray[np.float32] | None, float]:
    """Return the micrograph an item is about: the motion-corrected sum where there is one, else the file itself."""
    for node in run.plan().nodes:
        if node.spec.produces is CorrectedMicrograph and (made := run.state.task(node.id, task.item_id)) is not None:
            product = run.store.load(node.id, made.key) if made.status == "done" else None
            if isinstance(product, CorrectedMicrograph):
                return product.micrograph.data, product.micrograph.pixel_size_A
    item = run.state.item(task.item_id)
    if item is None or item.kind != "Micrograph":
        return None, 1.0
    source = run.plugins.ask("open_micrograph", {"path": Path(item.path)})
    if not isinstance(source, MicrographSource):
        return None, 1.0
    section = run.config.section_of("micrographs", item.path)
    stated = section.pixel_size_A if section else None
    pixel = stated or item.facts.get("pixel_size_A") or source.pixel_size_A
    return (source.read(), float(pixel)) if pixel else (None, 1.0)


def _metrics(run: Run, node: Node, done: list[Task]) -> str:
    found = {task.item_id: run.state.metrics(node.id, task.item_id) for task in done}
    names = sorted(
        {name for metrics in found.values() for name in metrics}, key=lambda name: (name.startswith("iteration"), name)
    )
    if not names:
        return ""
    names = names[:MAX_METRICS]
    rows = [
        [item, *(f"{metrics[name][0]:.4g} {metrics[name][1]}" if name in metrics else "" for name in names)]
        for item, metrics in list(found.items())[:20]
    ]
    return sections.table_of(["item", *names], rows)


def _set_aside(run: Run) -> str:
    rows = [[task.stage_id, task.item_id, task.message] for task in run.state.tasks(status="given_up")]
    rows += [["file", file.path, file.reason] for file in run.state.files("rejected")]
    if not rows:
        return "<h2>Set aside</h2><p>Nothing.</p>"
    return "<h2>Set aside</h2>" + sections.table_of(["where", "what", "why"], rows)
