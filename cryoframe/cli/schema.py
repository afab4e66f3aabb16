"""``cryoframe schema``: hooks with their exact signatures, products with their fields, tables with their columns."""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import json
from pathlib import Path

from cryoframe.cli.output import emit, json_flag, say, table


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("name", nargs="?", metavar="NAME", help="a hook, product or table; all are listed without it")
    parser.add_argument("--upgrade", type=Path, metavar="FILE", help="bring a table file to the current schema version")
    json_flag(parser)


def run(options: argparse.Namespace) -> int:
    """Describe one thing, or list all."""
    from cryoframe.errors import ConfigError, nearest

    if options.upgrade:
        return _upgrade(options.upgrade)
    hooks, products, tables = _known()
    name = options.name
    if not name:
        rows = [["hook", key] for key in hooks] + [["product", key] for key in products]
        table(options, ["kind", "name"], rows + [["table", schema] for schema in tables])
    elif name in hooks:
        _hook(name, options)
    elif name in products:
        _product(name, products[name], options)
    elif name.partition("/")[0] in tables:
        _table(name.partition("/")[0], options)
    else:
        known = [*hooks, *products, *tables]
        raise ConfigError(f"'{name}' is no hook, product or table{nearest(name, known)}", expected=", ".join(known))
    return 0


def signature(hook: str) -> str:
    """Return a hook's signature as an implementation writes it."""
    from cryoframe.kernel import hookspecs

    text = str(inspect.signature(getattr(hookspecs, hook))).replace("'", "")
    return f"def {hook}{text.replace('params: Any', 'params: Params')}:"


def _known() -> tuple[tuple[str, ...], dict[str, type], dict[str, object]]:
    from cryoframe.data.catalogue import PRODUCTS
    from cryoframe.data.schemas import ALL_SCHEMAS
    from cryoframe.kernel.stage import hook_names

    return hook_names(), {cls.__name__: cls for cls in PRODUCTS}, {schema.name: schema for schema in ALL_SCHEMAS}


def _hook(name: str, options: argparse.Namespace) -> None:
    from cryoframe.kernel import hookspecs
    from cryoframe.kernel.stage import stage_specs

    doc = inspect.getdoc(getattr(hookspecs, name)) or ""
    spec = stage_specs().get(name)
    if options.json:
        facts = {"over": spec.over, "halves": spec.halves, "produces": spec.produces.__name__} if spec else {}
        emit({"hook": name, "signature": signature(name), "doc": doc, **facts})
        return
    say(f"@hookimpl\n{signature(name)}")
    say("".join(f"    {line}".rstrip() + "\n" for line in doc.splitlines()))
    say(f"over {spec.over}; half-sets: {spec.halves}" if spec else "a service: the first answer that is not None wins")


def _product(name: str, cls: type, options: argparse.Namespace) -> None:
    from cryoframe.data.tables import Table

    if issubclass(cls, Table):
        _table(cls.schema.name, options)
        return
    assert dataclasses.is_dataclass(cls)  # every product but a table is
    rows = [[field.name, str(field.type)] for field in dataclasses.fields(cls)]
    if not options.json:
        say(f"{name}: {inspect.getdoc(cls)}")
    table(options, ["field", "type"], rows)


def _table(name: str, options: argparse.Namespace) -> None:
    from cryoframe.data.schemas import ALL_SCHEMAS
    from cryoframe.data.tables import describe

    schema = next(schema for schema in ALL_SCHEMAS if schema.name == name)
    if options.json:
        emit(json.loads(describe(schema)))
        return
    say(f"{schema.label}, one row a {schema.key.removesuffix('_id') or 'line'}")
    rows = [
        [group.name, column.name, column.dtype, column.unit, column.doc, column.sign]
        for group in (*schema.required, *schema.optional)
        for column in group
    ]
    table(options, ["group", "column", "type", "unit", "doc", "sign"], rows)


def _upgrade(path: Path) -> int:
    import pyarrow as pa

    from cryoframe.data.tables import SCHEMA_KEY, TABLES
    from cryoframe.data.upgrade import check_version
    from cryoframe.errors import Corrupt

    try:
        with pa.memory_map(str(path), "r") as source:
            metadata = pa.ipc.open_file(source).schema.metadata or {}
    except (pa.ArrowException, OSError) as error:
        raise Corrupt(f"not an Arrow file ({error})", path=path, expected="a table that cryoframe wrote") from error
    label = metadata.get(SCHEMA_KEY, b"").decode()
    schemas = {cls.schema.name: cls.schema for cls in TABLES}
    check_version(label, schemas.get(label.partition("/")[0], TABLES[0].schema))
    say(f"{path} is {label}, which is current")
    return 0
