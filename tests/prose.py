"""Fill the paragraphs of the documentation to 110 columns: `python tests/prose.py`, `make format` too.

Tables, code, headings, pictures and comments stay as they are; code within a line is not broken.
"""

import re
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    ROOT / "config" / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
WIDEST = 110
FENCE = re.compile(r"\s*(```|~~~)")
ITEM = re.compile(r"(\s*)([-*]|\d+\.) ")
KEPT = re.compile(r"\s*(\||#|!\[|<|>|$)")
CODE = re.compile(r"`[^`]{,80}`")
# a space that no line may end at
TIED = "\N{NO-BREAK SPACE}"


def blocks(text):
    """Yield pieces of a page, each with whether it is a paragraph or an item of a list: (lines, is prose)."""
    piece, fence = [], None
    for line in text.splitlines():
        mark = FENCE.match(line)
        if fence:
            piece.append(line)
            if mark and line.strip() == fence:
                yield piece, False
                piece, fence = [], None
            continue
        if mark or KEPT.match(line) or ITEM.match(line):
            if piece:
                yield piece, True
            piece = []
        if mark:
            piece, fence = [line], mark[1]
        elif KEPT.match(line):
            yield [line], False
        else:
            piece.append(line)
    if piece:
        yield piece, not fence


def fill(lines):
    """Return a paragraph, or an item of a list, in lines of at most 110 columns."""
    item = ITEM.match(lines[0])
    first = item[0] if item else re.match(r"\s*", lines[0])[0]
    text = " ".join([lines[0][len(first) :], *(line.strip() for line in lines[1:])])
    text = CODE.sub(lambda code: code[0].replace(" ", TIED), text)
    filled = textwrap.wrap(
        text,
        WIDEST,
        initial_indent=first,
        subsequent_indent=" " * len(first),
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace(TIED, " ") for line in filled]


def filled(text):
    """Return a page with its paragraphs filled."""
    lines = [line for piece, prose in blocks(text) for line in (fill(piece) if prose else piece)]
    return "\n".join(lines) + "\n"


def wide(text):
    """Return lines of paragraphs that are too long and can be broken."""
    return [
        line
        for piece, prose in blocks(text)
        if prose and piece != fill(piece)
        for line in piece
        if len(line) > WIDEST
    ]


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(filled(page.read_text()))
