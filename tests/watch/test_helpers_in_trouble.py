"""A machine short of memory or processes harms no file and ends no daemon: what a helper could not do is done later."""

from __future__ import annotations

import errno
import os
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from cryoframe.errors import Corrupt, EnvironmentFault
from cryoframe.watch import child, prober
from cryoframe.watch.intake import MAX_SILENT
from cryoframe.watch.prober import Prober
from cryoframe.watch.scanner import Scanner


def test_a_helper_that_cannot_be_started__is_trouble_that_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, n_refused = subprocess.Popen, iter(range(3))

    def popen(*words: Any, **more: Any) -> Any:
        if next(n_refused, None) is not None:
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        return real(*words, **more)

    monkeypatch.setattr(child.subprocess, "Popen", popen)
    scanner = Scanner(tmp_path)
    for _ in range(3):
        with pytest.raises(EnvironmentFault, match="no helper process can be started"):
            scanner.scan()
    assert scanner.scan().n_files == 0
    scanner.close()


class _Dying:
    """A helper that dies of some questions, by chance or of the file."""

    def __init__(self, *_: object, **__: object) -> None:
        self.lives = iter([False, True, *[False] * 10])

    def ask(self, question: Mapping[str, Any]) -> dict[str, Any]:
        if not next(self.lives):
            raise EnvironmentFault("helper process died")
        return {"n_frames": 3}

    def close(self) -> None:
        """Nothing is open."""


def test_a_movie_whose_reader_died_once__is_asked_again_and_one_that_kills_it_is_blamed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(prober, "Child", _Dying)
    asking, path = Prober([], ()), Path("a.tif")
    with pytest.raises(EnvironmentFault, match="died"):
        asking.n_frames(path)
    assert asking.n_frames(path) == 3
    for _ in range(MAX_SILENT - 1):
        with pytest.raises(EnvironmentFault, match="died"):
            asking.n_frames(path)
    with pytest.raises(Corrupt, match="did not survive"):
        asking.n_frames(path)
    asking.close()


def test_a_long_answer_that_is_fetched_late__is_an_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "from cryoframe.watch.child import serve\nserve(lambda said: {'answer': 'y' * said['length']})\n"
    (tmp_path / "talker.py").write_text(text, encoding="ascii")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    talker = child.Child("talker", 0, deadline_s=0.2)
    assert talker.ask({"length": 1}) == {"answer": "y"}
    talker.start({"length": 3_000_000})  # more than a pipe holds: it waits for whoever asked
    time.sleep(0.5)
    answer = None
    while answer is None:
        answer = talker.poll(1.0)
    assert len(answer["answer"]) == 3_000_000
    talker.close()
