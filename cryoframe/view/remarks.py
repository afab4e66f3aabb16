"""What stages over the whole set said while they worked, alarms first: as HTML for the report, as lines for people."""

from __future__ import annotations

from html import escape

from cryoframe.execution.remarks import is_alarm, remarks_in
from cryoframe.execution.run import Run

#: Lines shown of one stage; all are in its log.
MAX_LINES = 60


def alarms_of(run: Run) -> list[str]:
    """Return what stages over the whole set warn of, as ``stage: message``, in the order of the plan."""
    return [
        f"{node.id}: {message}"
        for node in run.plan().nodes
        if node.spec.over == "set"
        for task in run.state.tasks(node.id, "done")
        for message in remarks_in(run.store.path(node.id, task.key), node.id, task.item_id)
        if is_alarm(message)
    ]


def drawn(messages: list[str]) -> str:
    """Alarms for all to see, the rest folded away, as HTML; nothing where nothing was said."""
    alarms = "".join(f"<p><strong>{escape(message)}</strong></p>" for message in messages if is_alarm(message))
    rest = [message for message in messages if not is_alarm(message)]
    if not rest:
        return alarms
    said = "<br/>".join(escape(message) for message in rest[-MAX_LINES:])
    more = f" (the last {MAX_LINES} of {len(rest)} lines)" if len(rest) > MAX_LINES else ""
    return f'{alarms}<details class="note"><summary>What the stage said{more}</summary><p>{said}</p></details>'
