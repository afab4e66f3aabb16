"""Upgrades of table schemas, one function a step (n → n+1); all schemas are at version 1, so there is none yet."""

from __future__ import annotations

from cryoframe.data.columns import Schema
from cryoframe.errors import Unsupported


def check_version(label: str, schema: Schema) -> None:
    """Refuse a stored table whose major version this program cannot bring up to date.

    Raises
    ------
    Unsupported
        If `label` (``name/version``) is not the schema's.
    """
    if label != schema.label:
        raise Unsupported(f"table is '{label}'", expected=schema.label, remedy="Install the cryoframe that wrote it.")
