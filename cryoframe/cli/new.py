"""``cryoframe new``: writes a plugin folder that installs and passes ``cryoframe check`` as it is."""

from __future__ import annotations

import argparse
import ast
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from cryoframe.cli.output import say
from cryoframe.errors import ConfigError, PluginError, nearest

if TYPE_CHECKING:
    from cryoframe.cli.new_bodies import Body
    from cryoframe.kernel.discovery import Offer

PYPROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "{distribution}"
version = "0.1.0"
description = "{doc}"
requires-python = ">=3.11"
dependencies = ["cryoframe>={version}"]

[project.optional-dependencies]
test = ["pytest>=8"]

[project.entry-points."cryoframe.{hook}"]
{name} = "{package}.{module}"

[tool.hatch.build.targets.wheel]
packages = ["{package}"]
"""
TEST = '''\
"""The plugin keeps every promise of its hook: one named test a check."""

from cryoframe.testing import conformance

test_conformance = conformance("{name}")
'''
README = """\
# {distribution}

`{name}` for cryoframe's `{hook}`: {doc}

    python -m pip install -e .
    cryoframe check {hook}:{name}
    cryoframe plugins {hook} {name}

Choose it in a configuration with `run = "{hook}"` and `use = "{name}"`.{origin}
"""
ORIGIN = "\n\nThe code started as a copy of cryoframe's own `{use}` {version} (BSD-3-Clause); change it as you like."


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    kinds = parser.add_subparsers(dest="what", required=True, metavar="WHAT")
    stage = kinds.add_parser("stage", help="an implementation of a hook", description="Write a plugin folder.")
    stage.add_argument("hook", metavar="HOOK", help="the hook to implement")
    stage.add_argument("name", metavar="NAME", help="the name it is chosen by")
    stage.add_argument(
        "--out", type=Path, default=None, metavar="DIR", help="the folder to make; named after both if absent"
    )
    stage.add_argument("--like", metavar="NAME", help="start from this installed implementation")
    stage.add_argument("--bare", action="store_true", help="start from an empty body instead of working code")


def run(options: argparse.Namespace) -> int:
    """Write the folder."""
    from cryoframe.kernel.stage import hook_names
    from cryoframe.records import folders

    hook, name = options.hook, options.name
    if hook not in hook_names():
        raise PluginError(f"no hook is called '{hook}'{nearest(hook, hook_names())}", expected=", ".join(hook_names()))
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", name):
        raise ConfigError(f"'{name}' cannot name an implementation", expected="a letter, then letters, digits, _ and -")
    package = re.sub(r"\W", "_", f"{name}_{hook}".lower())
    folder = options.out or Path(package.replace("_", "-"))
    folders.made(folder, "--out", remedy="Give another --out.")
    if any(folder.iterdir()):
        raise ConfigError(f"folder {folder} is not empty", remedy="Give another with --out.")
    files = _files(hook, name, package, like=options.like, bare=options.bare)
    for place, text in files.items():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_text(text, encoding="utf-8")
        say(str(folder / place))
    say(f"install it with: python -m pip install -e {folder}")
    say(f"check it with:   cryoframe check {hook}:{name}")
    return 0


def _files(hook: str, name: str, package: str, *, like: str | None, bare: bool) -> dict[str, str]:
    from cryoframe import __version__

    reference = None if bare else _reference(hook, like)
    module, origin = "plugin", ""
    if reference is not None:
        module = reference.target.partition(".")[2].replace(".", "/").replace("/", ".") or "plugin"
        code = _copied(reference, package, hook, name)
        doc = f"Started from cryoframe's {reference.name}."
        origin = ORIGIN.format(use=reference.name, version=reference.version)
    else:
        body = _body(hook, bare=bare)
        doc = body.doc
        code = {f"{package}/plugin.py": _written(hook, name, package, body)}
    facts = {"distribution": package.replace("_", "-"), "doc": doc, "version": __version__, "hook": hook, "name": name}
    facts |= {"package": package, "module": module, "origin": origin}
    return {
        "pyproject.toml": PYPROJECT.format(**facts),
        "README.md": README.format(**facts),
        f"{package}/__init__.py": f'"""{name} for cryoframe\'s {hook}."""\n',
        **code,
        "tests/test_conformance.py": TEST.format(**facts),
    }


def _reference(hook: str, like: str | None) -> Offer | None:
    """Return the implementation to start from: the one named, else the project's own first one."""
    from cryoframe.kernel.discovery import scan
    from cryoframe.kernel.plugins import Plugins

    plugins = Plugins(scan())
    if like:
        return plugins.select(hook, like)
    return next((offer for offer in plugins.offered(hook) if offer.distribution == "cryoframe"), None)


# -- a copy of working code ---------------------------------------------------
def _copied(offer: Offer, package: str, hook: str, name: str) -> dict[str, str]:
    """Return the modules an implementation consists of, under the new package's name."""
    old = offer.target.partition(":")[0].partition(".")[0]
    spec = find_spec(old)
    roots = list(spec.submodule_search_locations or ()) if spec else []
    if not roots:
        raise PluginError(
            f"{offer.qualified} is not a package", remedy="Start from another with --like, or with --bare."
        )
    root, target = Path(roots[0]), offer.target.partition(":")[0]
    found: dict[str, str] = {}
    waiting = [target]
    while waiting:
        module = waiting.pop()
        parts = module.split(".")[1:]
        if not parts:  # the package itself: its __init__ is written anew
            continue
        path = root.joinpath(*parts).with_suffix(".py")
        place = f"{package}/{path.relative_to(root).as_posix()}"
        if place in found or not path.is_file():
            continue
        text = path.read_text(encoding="utf-8")
        renamed = text.replace(f"{hook} ``{offer.name}``", f"{hook} ``{name}``")
        found[place] = re.sub(rf"\b{old}\b", package, renamed)
        waiting += _own_imports(text, module, old)
    return found


def _own_imports(text: str, module: str, package: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith(f"{package}."))
        elif isinstance(node, ast.ImportFrom):
            parent = ".".join(module.split(".")[: -node.level]) if node.level else ""
            source = ".".join(part for part in (parent, node.module or "") if part)
            if source.partition(".")[0] == package:
                yield source
                yield from (f"{source}.{alias.name}" for alias in node.names)


# -- a new body ---------------------------------------------------
def _body(hook: str, *, bare: bool) -> Body:
    from cryoframe.cli.new_bodies import BODIES, MISSING, SILENT
    from cryoframe.kernel.stage import stage_specs

    if hook not in stage_specs():
        return SILENT
    return MISSING if bare else BODIES.get(hook, MISSING)


def _written(hook: str, name: str, package: str, body: Body) -> str:
    """Return a module with ``Params`` and the hook's exact signature."""
    from cryoframe import __all__ as public
    from cryoframe.cli.schema import signature
    from cryoframe.kernel.stage import stage_specs

    text = signature(hook)
    is_stage = hook in stage_specs()
    names = sorted(
        {*(word for word in re.findall(r"\w+", text) if word in public), *body.names, "hookimpl"},
        key=lambda word: (word.islower(), word),
    )
    uses = ["dataclass"] if is_stage else []
    uses += [line.rpartition(" ")[2] for line in body.imports if line.startswith("from dataclasses")]
    standard = [f"from dataclasses import {', '.join(uses)}"] if uses else []
    standard += ["from pathlib import Path"] if "Path" in text else []
    standard += [f"from collections.abc import {word}" for word in ("Iterator", "Sequence") if word in text]
    others = [line for line in body.imports if not line.startswith("from dataclasses")]
    plain = [line for line in others if line.startswith("import")]
    ours = [f"from cryoframe import {', '.join(names)}", *(line for line in others if line not in plain)]
    groups = [sorted(standard), plain + ours]
    imports = "\n\n".join("\n".join(group) for group in groups if group)
    params = "\n".join(f"    {line}" for line in body.params)
    block = f'@dataclass(frozen=True)\nclass Params:\n    """What may be set."""\n\n{params}'.rstrip() + "\n\n\n"
    lines = "\n".join(f"    {line}" for line in body.lines)
    lines = lines.replace("NAME", name).replace("PLACE", f"{package}/plugin.py")
    head = f'"""{name}: {body.doc}"""\n\nfrom __future__ import annotations\n\n{imports}\n\n\n'
    return f'{head}{block if is_stage else ""}@hookimpl\n{text}\n    """{body.doc}"""\n{lines}\n'
