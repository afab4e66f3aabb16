"""Generated parts of the documents, from the code they describe; the documents themselves are written elsewhere.

``python -m cryoframe.testing.pages README.md`` writes hook table and command help between the markers of that file.
"""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
import typing
from collections.abc import Callable
from pathlib import Path

from cryoframe.kernel import hookspecs
from cryoframe.kernel.stage import StageSpec, service_names, stage_specs


def between(text: str, name: str) -> str:
    """Return what stands between ``<!-- name:begin -->`` and ``<!-- name:end -->``, without blank lines around it.

    Raises
    ------
    ValueError
        If the markers are not there exactly once, in order.
    """
    found = re.findall(rf"<!-- {name}:begin -->\n(.*?)<!-- {name}:end -->", text, flags=re.DOTALL)
    if len(found) != 1:
        raise ValueError(f"{len(found)} sections between <!-- {name}:begin --> and <!-- {name}:end -->; expected one")
    return str(found[0]).strip("\n")


def hook_table() -> str:
    """Return the Markdown table of every hook: stages in beam order, then services, each with its exact signature."""
    rows = ["| hook | runs over | what it does |", "| --- | --- | --- |"]
    rows += [
        f"| `{signature(name)}` | {_over(spec)} | {_first_line(spec.doc)} |" for name, spec in stage_specs().items()
    ]
    rows += [
        f"| `{signature(name)}` | service | {_first_line(inspect.getdoc(getattr(hookspecs, name)) or '')} |"
        for name in service_names()
    ]
    return "\n".join(rows)


def signature(hook: str) -> str:
    """Return a hook's signature as one writes it: ``name(argument: Type) -> Type``; ``Params`` is the plugin's own."""
    function: Callable[..., object] = getattr(hookspecs, hook)
    hints = typing.get_type_hints(function)
    arguments = [
        f"{name}: {'Params' if name == 'params' else _type_name(hints[name])}"
        for name in inspect.signature(function).parameters
    ]
    return f"{hook}({', '.join(arguments)}) -> {_type_name(hints['return'])}"


def _type_name(hint: object) -> str:
    if hint is type(None):
        return "None"
    if arguments := typing.get_args(hint):
        if type(None) in arguments:
            return r" \| ".join(_type_name(argument) for argument in arguments)
        origin = typing.get_origin(hint)
        return f"{getattr(origin, '__name__', origin)}[{', '.join(_type_name(argument) for argument in arguments)}]"
    return getattr(hint, "__name__", str(hint))


def _over(spec: StageSpec) -> str:
    return f"{spec.over}, optional" if spec.optional else spec.over


def _first_line(doc: str) -> str:
    return doc.splitlines()[0].replace("|", r"\|") if doc else ""


def replaced(text: str, name: str, content: str) -> str:
    """Return the document with `content` between the markers of that name."""
    before = between(text, name)
    marked = f"<!-- {name}:begin -->\n{before}\n" if before else f"<!-- {name}:begin -->\n"
    if marked not in text:
        raise ValueError(f"blank lines around the section '{name}'; remove them")
    return text.replace(marked, f"<!-- {name}:begin -->\n{content}\n")


def command_help() -> str:
    """Return what the installed program says of itself, as a fenced block of text for a page 100 columns wide."""
    program = Path(sys.executable).with_name("cryoframe")
    environment = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1"}
    said = subprocess.run([program, "--help"], capture_output=True, text=True, check=True, env=environment).stdout
    return f"```text\n{said.rstrip()}\n```"


def rewrite(path: Path) -> None:
    """Bring the generated parts of a document up to date."""
    text = replaced(path.read_text(encoding="utf-8"), "hooks", hook_table())
    path.write_text(replaced(text, "cli", command_help()), encoding="utf-8")


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        rewrite(Path(argument))
