"""Lines that a stage leaves in its attempt's log, among whatever its plugin prints: how one is written and found."""

from __future__ import annotations

from pathlib import Path

from cryoframe.kernel.attempt import LOG


def remark(stage_id: str, item_id: str, message: str) -> str:
    """Return the line of the log that a message is."""
    return f"{_mark(stage_id, item_id)}{message}\n"


def remarks_in(folder: Path, stage_id: str, item_id: str) -> list[str]:
    """Return the messages in the log of a folder, in their order; none where there is no log."""
    try:
        text = (folder / LOG).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    mark = _mark(stage_id, item_id)
    return [line.removeprefix(mark) for line in text.splitlines() if line.startswith(mark)]


def is_alarm(message: str) -> bool:
    """Whether a message is one that nobody should miss: it begins with ``ALARM`` or ``warning``."""
    return message.lower().startswith(("alarm", "warning"))


def _mark(stage_id: str, item_id: str) -> str:
    return f"[{stage_id} {item_id}] "
