"""Blank rows of a table, for tests that look at counts or some columns."""

from typing import Any

from pesatlas.tables import SCHEMAS


def value_of(kind: Any) -> Any:
    """Return a value of an Arrow type."""
    text = str(kind)
    if text.startswith("fixed_size_list"):
        return [0.0] * kind.list_size
    if text.startswith("list"):
        return []
    return {"string": "x", "bool": True}.get(text, 0)


def blank(table: str) -> dict[str, Any]:
    """Return a row with a value of the right type in every column, null where that may be."""
    return {field.name: None if field.nullable else value_of(field.type) for field in SCHEMAS[table]}
