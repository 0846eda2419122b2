"""Rendering of the page: its template, and the data and programs inside it."""

import importlib.resources
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from pesatlas.report.figure import Data, Figure, plain, theme
from pesatlas.report.report_verdict import worst

PAGE = Path(__file__).with_name("page")


def render_page(context: Mapping[str, Any], data: dict[str, Any]) -> str:
    """Return the page: ``context`` is what the template shows, ``data`` what its script is given."""
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, undefined=jinja2.StrictUndefined)
    template = environment.from_string((PAGE / "report.html").read_text(encoding="utf-8"))
    return template.render(
        context,
        table=html_table,
        worst=worst,
        data=_json(data),
        style=Markup((PAGE / "report.css").read_text(encoding="utf-8")),  # noqa: S704 - our own file
        script=_script((PAGE / "report.js").read_text(encoding="utf-8")),
        vega=_script(_vega()),
        chemiscope=_script(_chemiscope()),
    )


def page_data(
    name: str, data: dict[str, Data], figures: Sequence[Figure], structures: list[dict[str, Any]]
) -> dict[str, Any]:
    """Return what the page's script is given."""
    return {
        "name": name,
        "tables": {
            key: {column: [plain(value) for value in values] for column, values in each.columns.items()}
            for key, each in data.items()
        },
        "figures": {
            figure.name: {
                "spec": figure.spec,
                "data": figure.data,
                "rows": len(data[figure.data]),
                "square": figure.square,
                "colours": figure.colours,
            }
            for figure in figures
        },
        "themes": {"light": theme(dark=False), "dark": theme(dark=True)},
        "structures": structures,
    }


def html_table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> Markup:
    """Return a table that scrolls by itself where it is too wide."""
    head = Markup("").join(Markup('<th scope="col">{}</th>').format(text) for text in heads)
    body = Markup("").join(
        Markup("<tr>{}</tr>").format(Markup("").join(Markup("<td>{}</td>").format(cell) for cell in row))
        for row in rows
    )
    return Markup(
        '<div class="wide" tabindex="0" role="region" '
        'aria-label="{}"><table><thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>'
    ).format(", ".join(heads), head, body)


def _json(value: Any) -> Markup:
    """Return JSON that may stand in a script element."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c"))  # noqa: S704 - nothing in it can end the element


def _script(text: str) -> Markup:
    """Return a program that may stand in a script element."""
    return Markup(text.replace("</script", "<\\/script"))  # noqa: S704 - as above


def _vega() -> str:
    import vl_convert  # noqa: PLC0415 - slow to import

    bundle: str = vl_convert.javascript_bundle()  # type: ignore[call-arg]  # its stub asks for what has a default
    return bundle


def _chemiscope() -> str:
    return (
        importlib.resources.files("chemiscope")
        .joinpath("sphinx/static/chemiscope.min.js")
        .read_text(encoding="utf-8")
    )
