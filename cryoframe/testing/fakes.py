"""Stand-ins: a listener that records what a stage says and can cancel it. No plugin and no phantom lives here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryoframe.kernel.context import StageContext


@dataclass
class Listener:
    """Records a stage's voice; with `cancels`, answers every question with "stop"."""

    cancels: bool = False
    reports: list[tuple[int, int, str]] = field(default_factory=list)
    metrics: dict[str, float] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    dropped: list[int] = field(default_factory=list)
    n_questions: int = 0

    def context(self, workdir: Path, **settings: object) -> StageContext:
        """Return a context whose every word comes here."""
        return StageContext(
            workdir,
            on_report=lambda done, total, message: self.reports.append((done, total, message)),
            on_metric=lambda name, value, unit: self.metrics.update({name: value}),
            on_log=self.lines.append,
            on_drop=self._drop,
            is_cancelled=self._asked,
            **settings,  # type: ignore[arg-type]
        )

    def _drop(self, ids: Sequence[int], reason: str, values: Sequence[float], threshold: float | None) -> None:
        del reason, values, threshold
        self.dropped += [int(item) for item in ids]

    def _asked(self) -> bool:
        self.n_questions += 1
        return self.cancels
