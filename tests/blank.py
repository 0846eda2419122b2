"""Rows of a table that mean nothing, for what looks at how many there are or at their columns."""

from pesatlas.tables import SCHEMAS


def value_of(kind):
    """A value of an Arrow type."""
    text = str(kind)
    if text.startswith("fixed_size_list"):
        return [0.0] * kind.list_size
    if text.startswith("list"):
        return []
    return {"string": "x", "bool": True}.get(text, 0)


def blank(table):
    """A row with a value of the right type in every column, null where that may be."""
    return {field.name: None if field.nullable else value_of(field.type) for field in SCHEMAS[table]}
