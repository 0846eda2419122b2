"""The documentation as a site: it builds without a warning, has every page, and asks nothing of a network."""

import importlib.util
import re
import subprocess
import sys
from html.parser import HTMLParser
from typing import get_args

import pytest
from typer.main import get_command

from pesatlas.cli.main import app
from pesatlas.config.campaign import Campaign
from pesatlas.tables import SCHEMAS
from small_campaign import ROOT

MISSING = [name for name in ("sphinx", "myst_parser", "furo") if importlib.util.find_spec(name) is None]
DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    if MISSING:
        pytest.skip(f"not installed: {', '.join(MISSING)}; pip install 'pesatlas[dev]'")
    folder = tmp_path_factory.mktemp("site")
    # as `make docs` does
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-W",
        "--keep-going",
        "-q",
        "-d",
        folder / "trees",
        DOCS,
        folder / "site",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "site"


class Page(HTMLParser):
    """What a page links to, and what a browser loads with it."""

    def __init__(self, text):
        super().__init__()
        self.links, self.loaded = set(), set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = {
            value for name, value in attrs if name in {"href", "src", "srcset", "data", "poster"} and value
        }
        (self.links if tag == "a" else self.loaded).update(found)


def test_every_page_is_in_the_navigation(site):
    links = Page((site / "index.html").read_text()).links
    pages = [path.relative_to(DOCS).with_suffix(".html") for path in DOCS.rglob("*.md")]
    assert len(pages) > 15
    assert [str(page) for page in pages if page.name != "index.html" and str(page) not in links] == []


def test_nothing_is_loaded_from_elsewhere(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 15
    loaded = {(page.name, each) for page in pages for each in Page(page.read_text()).loaded}
    assert any(each.endswith(".css") or ".css?" in each for _, each in loaded)
    assert [each for each in loaded if re.match(r"(\w+:)?//", each[1])] == []
    styles = [path.read_text() for path in site.rglob("*.css")]
    assert re.findall(r"(?:@import|url\()\s*[\"']?(?:\w+:)?//[^)\"']*", "".join(styles)) == []


def keys(model):
    for name, field in model.model_fields.items():
        yield name
        if hasattr(field.annotation, "model_fields"):
            yield from keys(field.annotation)


def commands(group, name):
    for word, command in group.commands.items():
        yield f"{name} {word}"
        yield from commands(command, f"{name} {word}") if hasattr(command, "commands") else ()


def test_the_reference_has_every_column_key_and_command(site):
    text = {
        page: re.sub("<[^>]+>", " ", (site / "reference" / f"{page}.html").read_text())
        for page in ("tables", "configuration", "commands")
    }
    columns = {column for schema in SCHEMAS.values() for column in schema.names}
    assert [column for column in columns if column not in text["tables"]] == []
    # of a section that may be null, the section
    sections = [
        next(iter(get_args(field.annotation)), field.annotation) for field in Campaign.model_fields.values()
    ]
    assert [key for section in sections for key in keys(section) if key not in text["configuration"]] == []
    assert [
        name
        for name in commands(get_command(app), "pesatlas")
        if name not in " ".join(text["commands"].split())
    ] == []


def test_docstrings_become_the_reference(site):
    text = re.sub("<[^>]+>", "", (site / "reference" / "interfaces.html").read_text())
    for said in (
        "(3, 3) Å, rows are lattice vectors",
        "eV/Å³, tension positive, symmetric",
        "failures are returned, not raised",
    ):
        assert said in text
