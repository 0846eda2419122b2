"""What is written into the reference when the site is built: tables, keys and commands, from the code that defines them."""

import json
import re
from collections.abc import Iterator
from typing import Any

import typer
from sphinx.application import Sphinx
from typer.cli import get_docs_for_click

from pesatlas.cli.main import app as program
from pesatlas.config.campaign import Campaign
from pesatlas.tables.schemas import SCHEMA_VERSION, SCHEMAS, FailureReason

Schema = dict[str, Any]

_BOUNDS = {"exclusiveMinimum": "> {}", "minimum": "≥ {}", "exclusiveMaximum": "< {}", "maximum": "≤ {}"}
_TYPES = {"string": "text", "boolean": "true or false"}


def setup(app: Sphinx) -> dict[str, Any]:
    """Take part in the building."""
    app.connect("source-read", fill_page)
    app.connect("autodoc-process-docstring", format_docstring, priority=400)  # before napoleon
    return {"parallel_read_safe": True}


def fill_page(_app: Sphinx, _page: str, source: list[str]) -> None:
    """Put generated text where a page has a comment for it."""
    for name, write in (("tables", tables), ("configuration", configuration), ("commands", commands)):
        comment = f"<!-- {name} -->"
        if comment in source[0]:
            source[0] = source[0].replace(comment, write())


def format_docstring(
    _app: Sphinx, _what: str, _name: str, _object: Any, _options: Any, lines: list[str]
) -> None:
    """Let values be documented as this project does, in one line: `name : shape, unit, meaning`. That is no type, but words."""
    said = [*lines]
    lines.clear()
    for line, following in zip(said, [*said[1:], ""], strict=True):
        name, colon, words = line.partition(" : ")
        alone = colon and not following.startswith(" ") and re.fullmatch(r"[\w, ]+", name) and name[0] != " "
        lines += [f"{name} :", f"    {words}"] if alone else [line]


def commands() -> str:
    """Help of every command."""
    command = typer.main.get_command(program)
    text = get_docs_for_click(obj=command, ctx=typer.Context(command, info_name="pesatlas"), name="pesatlas")
    text = text.partition("\n")[2]  # the page has a title
    return re.sub(r"\[/?bold\]", "`", text)


def tables() -> str:
    """Columns of every table: type, unit, meaning."""
    parts = [f"Schema version {SCHEMA_VERSION}."]
    for name, schema in SCHEMAS.items():
        rows = []
        for field in schema:
            kind = str(field.type).replace("<item: ", "<").replace("fixed_size_list", "list")
            kind = f"`{kind.replace('halffloat', 'float16')}`{' or null' if field.nullable else ''}"
            unit, meaning = (field.metadata[name].decode() for name in (b"unit", b"description"))
            rows.append([f"`{field.name}`", kind, unit, _plain(meaning)])
        parts += [f"## {name}", _table(["column", "type", "unit", "meaning"], rows)]
    parts.append(f"`reason` is one of {', '.join(f'`{reason}`' for reason in FailureReason)}.")
    return "\n\n".join(parts)


def configuration() -> str:
    """Keys of every section, and of every kind of extension."""
    schema = Campaign.model_json_schema()
    known = schema["$defs"]
    parts = []
    for name, section in schema["properties"].items():
        model = _sections(section, known)[0]
        parts += [f"## {name}", _words(model), _keys_table(model, known, section.get("default") or {})]
        for key, field in model["properties"].items():
            for kind in _kinds(field, known):
                choice = kind["properties"]["kind"]
                about = _plain(choice["description"]) if "description" in choice else _words(kind)
                parts += [
                    f"### {name}.{key}: {choice['const']}",
                    f"{about[0].upper()}{about[1:].rstrip('.')}.",
                ]
                parts.append(_keys_table(kind, known, {}))
    return "\n\n".join(part for part in parts if part)


def _keys_table(model: Schema, known: Schema, defaults: Schema) -> str:
    rows = [row for row in _keys(model, known, defaults, "") if row[0] != "`kind`"]
    return _table(["key", "value", "default", "meaning"], rows) if rows else ""


def _keys(model: Schema, known: Schema, defaults: Schema, prefix: str) -> Iterator[list[str]]:
    """Yield a row for each key; those of a section within have its name before them, those of a list's entries also []."""
    for name, field in model["properties"].items():
        key = prefix + name
        default = defaults.get(name, field.get("default", ...))
        within = [] if _kinds(field, known) else _sections(field, known)
        if not within or "description" in field:
            how = " *how*" if field.get("runtime") else ""
            meaning = _plain(field.get("description", "")) + how
            yield [f"`{key}`", _value(field, known), _default(default, known, field), meaning]
        inner = default if isinstance(default, dict) else {}
        many = "[]" if field.get("type") == "array" else ""
        for section in within:
            yield from _keys(section, known, inner, f"{key}{many}.")


def _options(field: Schema) -> list[Schema]:
    """Return what a value may be, entries of a list in place of the list."""
    field = field.get("items", field)
    options: list[Schema] = field.get("anyOf") or field.get("oneOf") or [field]
    return options


def _model(reference: Schema, known: Schema) -> Schema:
    found: Schema = known[reference["$ref"].rsplit("/", 1)[1]]
    return found


def _sections(field: Schema, known: Schema) -> list[Schema]:
    models = (_model(option, known) for option in _options(field) if "$ref" in option)
    # any value, as an external program's arguments have it, is no section
    return [model for model in models if "properties" in model]


def _kinds(field: Schema, known: Schema) -> list[Schema]:
    """Return the kinds of extension that a key chooses from."""
    return [each for each in _sections(field, known) if "const" in each["properties"].get("kind", {})]


def _value(field: Schema, known: Schema) -> str:
    """Say in words what a value may be."""
    if field.get("type") == "array":
        entries = field.get("prefixItems") or [field["items"]]
        return f"list of {' and '.join(_value(each, known) for each in entries)}"
    if isinstance(field.get("additionalProperties"), dict):
        return f"mapping to {_value(field['additionalProperties'], known)}"
    kinds = [f"`{kind['properties']['kind']['const']}`" for kind in _kinds(field, known)]
    if kinds:
        return f"kind {' or '.join(kinds)}"
    if "anyOf" in field:
        return " or ".join(_value(option, known) for option in field["anyOf"])
    if "enum" in field or "const" in field:
        return " or ".join(f"`{word}`" for word in field.get("enum", [field.get("const")]))
    kind = field.get("type", "section" if _sections(field, known) else "any value")
    bounds = [words.format(f"{field[bound]:g}") for bound, words in _BOUNDS.items() if bound in field]
    return ", ".join([_TYPES.get(kind, kind), *bounds])


def _default(default: Any, known: Schema, field: Schema) -> str:
    if default is ...:
        return "required"
    if _sections(field, known) and isinstance(default, dict) and not _kinds(field, known):
        return ""  # those of its keys
    return f"`{json.dumps(default, ensure_ascii=False)}`"


def _words(model: Schema) -> str:
    return _plain(str(model.get("description", "")).replace("``", "`"))


def _plain(text: str) -> str:
    """Keep Markdown from reading * and the like in text that was not written in it; code stays as it is."""
    parts = text.split("`")
    return "`".join(part if i % 2 else re.sub(r"([*_<>\[\]])", r"\\\1", part) for i, part in enumerate(parts))


def _table(titles: list[str], rows: list[list[str]]) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)
