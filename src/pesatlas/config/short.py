"""Short YAML of a configuration: the keys that differ from their defaults, with remarks."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from pesatlas.config.section import Section

_BESIDE = 100
"""Longest remark (characters) that stands behind its key; a longer one stands above it."""


def chosen(section: Section) -> dict[str, Any]:
    """Return the settings of a section that are not its defaults, as plain JSON.

    Loading them gives an equal section. The ``kind`` of a plugin is always among them.
    """
    plain = section.model_dump(mode="json")
    found: dict[str, Any] = {}
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        default = None if field.is_required() else field.get_default(call_default_factory=True)
        if name != "kind" and not field.is_required() and plain[name] == _plain(default):
            continue
        if isinstance(value, Section):
            found[name] = chosen(value)
        elif isinstance(value, list) and value and isinstance(value[0], Section):
            found[name] = [chosen(each) for each in value]
        else:
            found[name] = plain[name]
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, Section):
        return value.model_dump(mode="json")
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


def short_head(schema: str) -> list[str]:
    """Return the first lines of a short file: where its JSON Schema is, and where the other keys are."""
    return [
        f"yaml-language-server: $schema={schema}",
        "Keys that are not listed have their defaults; `pesatlas config new --all` shows every key.",
    ]


def short_yaml(raw: Mapping[str, Any], remarks: Mapping[str, str], title: Sequence[str]) -> str:
    """Return ``raw`` as YAML: a line for a key with all that is in it, unless several remarks belong there.

    Parameters
    ----------
    remarks : by dotted key, e.g. ``structures.domains.0.supercell``; those of absent keys are left out
    title : lines of the comment at the top
    """
    lines = [f"# {line}" for line in title]
    for name, value in raw.items():
        lines += _entry(name, value, remarks, name, 0)
    return "\n".join(lines) + "\n"


def _entry(name: str, value: Any, remarks: Mapping[str, str], key: str, indent: int) -> Iterator[str]:
    """Yield the lines of one key."""
    pad = "  " * indent
    section = indent == 0 and isinstance(value, dict) and key not in remarks
    inside = [
        remark for path, remark in remarks.items() if path.startswith(f"{key}.") and _has(value, path, key)
    ]
    if isinstance(value, list) and value and isinstance(value[0], dict):
        yield from _remarked(f"{pad}{name}:", remarks.get(key))
        for i, part in enumerate(value):
            yield from _item(part, remarks, f"{key}.{i}", indent)
    elif isinstance(value, dict) and (section or (inside and (key in remarks or len(inside) > 1))):
        yield from _remarked(f"{pad}{name}:", remarks.get(key))
        for inner, each in value.items():
            yield from _entry(inner, each, remarks, f"{key}.{inner}", indent + 1)
    else:
        remark = remarks.get(key) or next(iter(inside), None)
        yield from _remarked(f"{pad}{name}: {_flow(value)}", remark)


def _item(part: Mapping[str, Any], remarks: Mapping[str, str], key: str, indent: int) -> Iterator[str]:
    """Yield the lines of one section in a list of them."""
    pad = "  " * indent
    inside = [
        remark for path, remark in remarks.items() if path.startswith(f"{key}.") and _has(part, path, key)
    ]
    if len(inside) + (key in remarks) <= 1:
        yield from _remarked(f"{pad}- {_flow(part)}", remarks.get(key) or next(iter(inside), None))
        return
    if key in remarks:
        yield f"{pad}# {remarks[key]}"
    first = True
    for name, value in part.items():
        for line in _entry(name, value, remarks, f"{key}.{name}", indent + 1):
            is_comment = line.lstrip().startswith("#")
            yield f"{pad}- {line.lstrip()}" if first and not is_comment else line
            first = first and is_comment


def _has(value: Any, path: str, key: str) -> bool:
    """Return whether the dotted ``path``, which begins with ``key``, leads to something in ``value``."""
    for name in path.removeprefix(f"{key}.").split("."):
        if isinstance(value, Mapping) and name in value:
            value = value[name]
        elif isinstance(value, list) and name.isdigit() and int(name) < len(value):
            value = value[int(name)]
        else:
            return False
    return True


def _remarked(line: str, remark: str | None) -> Iterator[str]:
    pad = line[: len(line) - len(line.lstrip())]
    if remark and len(remark) > _BESIDE:
        yield f"{pad}# {remark}"
        yield line
    else:
        yield f"{line}  # {remark}" if remark else line


def _flow(value: Any) -> str:
    """Return a value in one line of YAML; a string is quoted where it is no plain word."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {_flow(each)}" for name, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    word = isinstance(value, str) and value.isascii() and value.replace("_", "").isalnum()
    if word and yaml.safe_load(value) == value:  # `yes`, `null` and numbers are no texts to YAML
        return str(value)
    return json.dumps(value, ensure_ascii=not (isinstance(value, str) and value.isprintable()))
