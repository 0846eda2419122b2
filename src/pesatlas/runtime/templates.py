"""Text files from jinja2 templates: Markdown for people, profiles for Snakemake."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import jinja2


def render(path: Path, values: dict[str, Any], filters: dict[str, Callable[..., str]] | None = None) -> str:
    """Return the text of the template at ``path``; a value that is not there raises.

    Lines that hold a block alone leave no line behind. Nothing is escaped: the text is no web page.
    """
    environment = jinja2.Environment(
        autoescape=False,  # noqa: S701 - Markdown and YAML, no page
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= filters or {}
    return environment.from_string(path.read_text(encoding="utf-8")).render(values)


def table(rows: Iterable[Sequence[str]], heads: Sequence[str]) -> str:
    """Return a Markdown table and the empty line after it; nothing where there are no rows."""
    body = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    if not body:
        return ""
    return "\n".join(["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads), *body]) + "\n\n"
