"""Write a configuration as commented YAML, and the JSON Schema; both follow from the models."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import yaml
from annotated_types import Ge, Gt, Le, Lt

from pesatlas.config.campaign import Campaign
from pesatlas.config.section import Section

SCHEMA_FILE = "workflow/schemas/config.schema.json"


def render_schema() -> str:
    """JSON Schema of ``config.yaml``."""
    return json.dumps(Campaign.model_json_schema(), indent=1, sort_keys=True) + "\n"


def render_yaml(
    campaign: Campaign, notes: Mapping[str, str], title: str = "", *, schema: str = SCHEMA_FILE
) -> str:
    """Write ``campaign`` as YAML with each key's meaning, unit and bounds beside it.

    Parameters
    ----------
    campaign : Campaign
        The values to write.
    notes : mapping of str to str Remarks by dotted key (e.g. ``explore.thermostat_tau_fs``), written above
        the key; those in brackets, such as ``[published]``, beside it.
    title : str
        First comment of the file.
    schema : str
        Where editors find the JSON Schema.
    """
    head = [f"# yaml-language-server: $schema={schema}"]
    head += [f"# {line}" for line in title.splitlines()]
    return "\n".join([*head, *_section(campaign, notes, "", 0)]) + "\n"


def _section(section: Section, notes: Mapping[str, str], path: str, indent: int) -> list[str]:
    lines: list[str] = []
    pad = "  " * indent
    for name, field in type(section).model_fields.items():
        key = f"{path}.{name}" if path else name
        value = getattr(section, name)
        if indent == 0:
            lines += ["", *_module_purpose(value, field.annotation)]
        mark = notes.get(key, "") if notes.get(key, "").startswith("[") else ""
        if key in notes and not mark:
            lines += [f"{pad}# {line}" for line in notes[key].splitlines()]
        described = " ".join(filter(None, [mark, field.description]))
        comment = "  ".join(filter(None, [described, _bounds(field.metadata)]))
        if isinstance(value, Section):
            lines.append(f"{pad}{name}:{f'  # {comment}' if comment else ''}")
            lines += _section(value, notes, key, indent + 1)
        elif isinstance(value, list | tuple) and value and isinstance(value[0], Section):
            lines.append(f"{pad}{name}:{f'  # {comment}' if comment else ''}")
            for i, item in enumerate(value):
                inner = _section(item, notes, f"{key}.{i}", indent + 2)
                first = next(i for i, line in enumerate(inner) if not line.lstrip().startswith("#"))
                inner[first] = f"{pad}  - {inner[first].lstrip()}"
                lines += [f"{pad}  # {line}" for line in notes.get(f"{key}.{i}", "").splitlines()] + inner
        else:
            lines.append(f"{pad}{name}: {_scalar(value)}{f'  # {comment}' if comment else ''}")
    return lines


def _module_purpose(value: Any, annotation: Any) -> list[str]:
    """Return the first line of a section's docstring as a comment.

    Of one that may be null, whether it is or not.
    """
    kinds = [type(value)] if value is not None else [*get_args(annotation)]
    text = (kinds[0].__doc__ or "").strip().splitlines()
    return [f"# {text[0]}"] if text else []


def _bounds(metadata: list[Any]) -> str:
    """Say the bounds of a number: '> 0, <= 10'."""
    signs: list[tuple[type, str, str]] = [
        (Gt, "gt", ">"),
        (Ge, "ge", ">="),
        (Lt, "lt", "<"),
        (Le, "le", "<="),
    ]
    found = [
        f"{sign} {getattr(m, name):g}" for m in metadata for kind, name, sign in signs if isinstance(m, kind)
    ]
    return f"[{', '.join(found)}]" if found else ""


def _scalar(value: Any) -> str:
    """One value in YAML's flow style."""
    if isinstance(value, float):
        return repr(value)
    value = str(value) if isinstance(value, Path) else value
    return yaml.safe_dump(value, default_flow_style=True, width=10_000).strip().removesuffix("...").strip()
