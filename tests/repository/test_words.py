"""Plain words: lines that fit a screen, docstrings that begin with the thing, names of the field."""

import ast
import io
import re
import tokenize
from pathlib import Path

import pytest

import prose

ROOT = Path(__file__).parents[2]
FOLDERS = ("src", "tests", "scripts", "workflow", "benchmarks")
PYTHON = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
RULES = [ROOT / "Snakefile", *sorted((ROOT / "workflow").rglob("*.smk"))]
WIDEST = 110
# what the linter takes for no part of a line
PRAGMA = re.compile(r"  # (noqa|type: ignore|fmt: skip).*")
QUESTIONS = {"What", "Where", "How", "When", "Who", "Whether", "Which", "Why"}
RETIRED = {
    # today's name
    "judged": "benchmarked",
    "Judged": "BenchmarkedPotential",
    "Beware:": "Warning:",
    "Spoken": "Violation",
    "objections": "quarantine_reasons",
    "mishap_key": "failure_key",
    "Misses": "MissingLabels",
    "_Tries": "Attempts",
    "Standing": "TrainingState",
    "Workplace": "Workdir",
    "runs_of_atoms": "chunks_by_atoms",
    "read_given": "read_external",
    "atoms_together": "atoms_per_chunk",
    "why_not": "rejection_reason",
    "unpicked": "not_selected",
    "head_text": "controller_text",
    "see_doctor": "run_doctor",
    "before_people": "console_progress",
    "in_words": "a name with _text or format_",
    "held against": "compared with",
}
"""Words that are not used as names any more, and what to write."""
RETIRED_NAMES = re.compile(
    r"_?(ask|asked|bench|follow|halving|judge|misses|said|seal|standing|spoke|tell|told|tries)|cover"
    r"|_?(tell|state_of|why_not)_\w+|\w*_(in_words|why_not)|_?unpicked|_?Kept|_?Told|_?Together|_?Wanted"
    r"|_?Place"
)
"""Names of functions, classes and parameters that say who speaks or who is asked; a noun of the field is
found by a search."""
RETIRED_PHRASES = {
    # today's words
    "nothing to object to": "no faults found",
    "carries on": "continues",
    "to be mended": "to be repaired",
    "stands in the way": "a requirement is not met",
    "there already": "exists already",
    "asked about": "evaluated",
    "what was finished is kept": "finished work is kept",
    "keeps no accounts": "has no accounting",
    "put aside": "set aside",
    "was told to end": "was asked to end",
    "no export in the form": "not an export in the format",
    "are no runs": "are not runs",
    "do not tell their settings": "contain no settings",
    "at the pace of": "at the current rate",
    "Sums do not close": "Counts do not add up",
}
"""Phrases that messages and pages do not use any more, and what to write."""
SEEN_BY_USERS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *(path for path in sorted((ROOT / "docs").rglob("*.md")) if path.stem != "measurements"),
]
ALIASES = {("src/pesatlas/label/backend.py", "objections")}
"""Old names that are still read or written: records of stores have them."""
CODE = ("src", "scripts", "workflow")


def unwrapped(path):
    """Return lines that nobody wraps: data and programs in strings, tables that are not formatted."""
    text = path.read_text()
    lines = text.splitlines()
    nodes = list(ast.walk(ast.parse(text)))
    documents = {
        node.body[0].lineno
        for node in nodes
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    found = set()
    for node in nodes:
        if isinstance(node, ast.expr | ast.stmt) and "# fmt: skip" in lines[node.end_lineno - 1]:
            found.update(range(node.lineno, node.end_lineno + 1))
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        first, last = token.start[0], token.end[0]
        if token.type == tokenize.STRING and last > first and first not in documents:
            found.update(range(first, last + 1))
    return found


@pytest.mark.parametrize("folder", [*FOLDERS, "Snakefile"])
def test_lines_fit(folder):
    wide = []
    for path in [*PYTHON, *RULES]:
        if path.relative_to(ROOT).parts[0] == folder:
            lines = enumerate(path.read_text().splitlines(), 1)
            long = [number for number, line in lines if len(PRAGMA.sub("", line)) > WIDEST]
            if long and path.suffix == ".py":
                long = sorted(set(long) - unwrapped(path))
            wide += [f"{path.relative_to(ROOT)}:{number}" for number in long]
    assert wide == []


@pytest.mark.parametrize("page", prose.PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_paragraphs_of_the_documentation_fit(page):
    assert prose.wide(page.read_text()) == [], "python tests/prose.py fills them"


@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=lambda page: page.name)
def test_a_page_begins_with_its_purpose(page):
    title, first = page.read_text().split("\n\n")[:2]
    assert title.startswith("# ")
    # the landing page begins with that of the program
    assert first.startswith("PES Atlas" if page.name == "index.md" else "This page")


def test_filling_a_page_keeps_its_words_tables_and_code():
    page = """# A title

A sentence that is long enough to go over the end of a line, with `code that stays together` and a [link](to.md).
- an item of a list, which is long enough that a second line has to be made, and that one is indented as deep as it

  ```yaml
  a: line of code that is as long as it likes to be, for nobody breaks it, whatever its number of letters is
  ```

| a table | with a row that is as long as it likes to be, for nobody breaks it, whatever its number of letters is |
"""
    filled = prose.filled(page)
    assert (
        filled
        == """# A title

A sentence that is long enough to go over the end of a line, with `code that stays together` and a
[link](to.md).
- an item of a list, which is long enough that a second line has to be made, and that one is indented as deep
  as it

  ```yaml
  a: line of code that is as long as it likes to be, for nobody breaks it, whatever its number of letters is
  ```

| a table | with a row that is as long as it likes to be, for nobody breaks it, whatever its number of letters is |
"""
    )
    assert prose.wide(page) != []
    assert prose.wide(filled) == []


def test_docstrings_of_modules_begin_with_the_thing():
    questions = [
        str(path.relative_to(ROOT))
        for path in PYTHON
        if (ast.get_docstring(ast.parse(path.read_text())) or "-").split()[0].rstrip(":,") in QUESTIONS
    ]
    assert questions == []


def test_no_docstring_of_the_library_begins_with_a_question():
    # "Whether" is how a predicate is described
    asking = re.compile(r'^\s*r?"""(' + "|".join(QUESTIONS - {"Whether"}) + r")\b")
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in PYTHON
        if path.relative_to(ROOT).parts[0] != "tests"
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if asking.match(line)
    ]
    assert found == []


def test_words_that_were_replaced_stay_away():
    pattern = re.compile(r"(?<!\w)(" + "|".join(map(re.escape, RETIRED)) + r")(?!\w)")
    found = [
        f"{path.relative_to(ROOT)}:{number}: {match[1]}, write {RETIRED[match[1]]}"
        for path in [*PYTHON, *RULES]
        if path.relative_to(ROOT).parts[0] in {*CODE, "Snakefile"}
        for number, line in enumerate(path.read_text().splitlines(), 1)
        for match in pattern.finditer(line)
        if (str(path.relative_to(ROOT)), match[1]) not in ALIASES
    ]
    assert found == []


def test_names_are_nouns_of_the_field_and_verbs_that_say_what_is_done():
    def named(node):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg

    found = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in PYTHON
        if path.relative_to(ROOT).parts[0] in CODE
        for node in ast.walk(ast.parse(path.read_text()))
        for name in named(node)
        if RETIRED_NAMES.fullmatch(name)
    }
    assert found == set()


def strings_of(path):
    """Yield the strings of a module that are no docstrings, each with its line."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    documents = {node.value for node in nodes if isinstance(node, ast.Expr)}
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in documents:
            yield node.lineno, node.value


def test_headings_of_markdown_stand_in_templates():
    found = {
        f"{path.relative_to(ROOT)}: {text}"
        for path in PYTHON
        if path.relative_to(ROOT).parts[0] in CODE
        for _, text in strings_of(path)
        if text.startswith(("## ", "### "))
    }
    assert found == set()


def test_phrases_that_were_replaced_stay_away_from_messages_and_pages():
    phrases = re.compile("|".join(map(re.escape, RETIRED_PHRASES)))
    found = [
        f"{path.relative_to(ROOT)}:{number}: {match[0]}"
        for path in PYTHON
        if path.relative_to(ROOT).parts[0] in CODE
        for number, text in strings_of(path)
        for match in phrases.finditer(text)
    ]
    either = "|".join(map(re.escape, [*RETIRED, *RETIRED_PHRASES]))
    words = re.compile(rf"(?<![\w/.-])({either})(?![\w-])")
    found += [
        f"{path.relative_to(ROOT)}:{number}: {match[0]}"
        for path in SEEN_BY_USERS
        for number, line in enumerate(path.read_text().splitlines(), 1)
        for match in words.finditer(line)
    ]
    assert found == []
