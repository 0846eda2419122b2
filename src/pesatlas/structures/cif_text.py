"""The syntax of CIF: data blocks, tags, loops, quotes and text fields, without their meaning.

A block whose syntax is broken does not reach into the next one: a text field that is never closed ends at the
next ``data_`` line.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_TOKEN = re.compile(r"""(?:(?<=\s)|^)(?:'(?P<one>.*?)'(?=\s|$)|"(?P<two>.*?)"(?=\s|$)|\#.*$|(?P<bare>\S+))""")
_BLOCK = re.compile(r"data_\S*", re.IGNORECASE)

Token = tuple[bool, str]
"""A value of a CIF: its text, with the flag that it stands in quotes first."""


@dataclass
class Block:
    """One data block.

    Attributes
    ----------
    name : after ``data_``
    single : values by tag; tags in lower case, with underscores for dots and none at the end
    columns : columns of loops by tag
    broken : tags whose values cannot be told apart -> why
    problems : what is wrong with the block as a whole
    dots : rows whose value is ``.``, by tag: their values are the defaults of the dictionary, those of ``?``
        are not known
    """

    name: str
    single: dict[str, str | None] = field(default_factory=dict)
    columns: dict[str, list[str | None]] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    dots: dict[str, frozenset[int]] = field(default_factory=dict)

    def value(self, *tags: str) -> str | None:
        """Return the value of the first of ``tags`` that has one; of a loop, that of its first row."""
        for tag in tags:
            found = self.single.get(tag)
            if found is None and self.columns.get(tag):
                found = self.columns[tag][0]
            if found is not None and found.strip():
                return found.strip()
        return None

    def column(self, *tags: str) -> list[str | None] | None:
        """Return the values of the first of ``tags`` that is there, as a list.

        Raises
        ------
        ValueError
            If its loop is torn.
        """
        for tag in tags:
            if tag in self.broken:
                raise ValueError(self.broken[tag])
            if tag in self.columns:
                return self.columns[tag]
            if self.single.get(tag) is not None:
                return [self.single[tag]]
        return None

    def has(self, prefix: str) -> bool:
        """Whether a tag begins with ``prefix``."""
        return any(tag.startswith(prefix) for tag in (*self.columns, *self.single, *self.broken))


def blocks_of(text: str) -> Iterator[Block]:
    """Yield the blocks of a file, in its order.

    What stands before the first ``data_`` is one if it has tags.
    """
    lines = text.split("\n")
    starts: list[tuple[int, str, list[str]]] = [(0, "", [])]
    tokens: list[list[Token]] = [[]]
    at = 0
    while at < len(lines):
        line = lines[at]
        if line.startswith(";"):
            end, whole = _end_of_field(lines, at)
            tokens[-1].append((True, "\n".join([line[1:], *lines[at + 1 : end]])))
            if whole:
                # what follows the closing semicolon on its line
                lines[end] = " " + lines[end][1:]
            else:
                starts[-1][2].append(f"the text field of line {at + 1} is not closed")
            at = end
            continue
        for token in _tokens(line):
            if not token[0] and _BLOCK.fullmatch(token[1]):
                starts.append((at, token[1][5:], []))
                tokens.append([])
            else:
                tokens[-1].append(token)
        at += 1
    for (_, name, problems), inside in zip(starts, tokens, strict=True):
        block = _block(name, inside)
        block.problems += problems
        if name or block.single or block.columns or block.broken:
            yield block


def _tokens(line: str) -> Iterator[Token]:
    for match in _TOKEN.finditer(line):
        if match["bare"] is not None:
            yield False, match["bare"]
        elif match["one"] is not None or match["two"] is not None:
            yield True, match["one"] if match["one"] is not None else match["two"]


def _end_of_field(lines: list[str], start: int) -> tuple[int, bool]:
    """Return the line that closes a text field, or the ``data_`` line or end before which it was not closed.

    And whether it was.
    """
    block: int | None = None
    for at in range(start + 1, len(lines)):
        if lines[at].startswith(";"):
            crystal = block is not None and any(
                line.lstrip().lower().startswith("_cell") for line in lines[block:at]
            )
            return (block, False) if block is not None and crystal else (at, True)
        if block is None and _BLOCK.fullmatch(lines[at].strip()):
            block = at
    return (block, False) if block is not None else (len(lines), False)


def _tag(text: str) -> str:
    return text.lower().replace(".", "_").rstrip("_")


def _block(name: str, tokens: list[Token]) -> Block:
    block = Block(name)
    at = 0
    while at < len(tokens):
        quoted, text = tokens[at]
        at += 1
        if not quoted and text.startswith("_"):
            if at < len(tokens) and not _is_word(tokens[at]):
                block.single[_tag(text)] = _known(tokens[at])
                block.dots[_tag(text)] = _dots([tokens[at]])
                at += 1
            else:
                block.broken[_tag(text)] = f"{text} has no value"
        elif not quoted and text.lower() == "loop_":
            at = _loop(block, tokens, at)
    return block


def _loop(block: Block, tokens: list[Token], at: int) -> int:
    """Read one loop into ``block``; return where the next token is."""
    tags = []
    while at < len(tokens) and not tokens[at][0] and tokens[at][1].startswith("_"):
        tags.append(tokens[at][1])
        at += 1
    values = []
    while at < len(tokens) and not _is_word(tokens[at]):
        values.append(tokens[at])
        at += 1
    if not tags:
        return at
    for i, tag in enumerate(tags):
        if len(values) % len(tags):
            block.broken[_tag(tag)] = f"the loop of {tag} has {len(values)} values for {len(tags)} columns"
        else:
            block.columns[_tag(tag)] = [_known(token) for token in values[i :: len(tags)]]
            block.dots[_tag(tag)] = _dots(values[i :: len(tags)])
    return at


def _is_word(token: Token) -> bool:
    """Whether a token is no value: a tag or a reserved word."""
    quoted, text = token
    return not quoted and (
        text.startswith("_")
        or text.lower() in {"loop_", "stop_", "global_"}
        or text.lower().startswith("save_")
    )


def _dots(tokens: list[Token]) -> frozenset[int]:
    return frozenset(i for i, token in enumerate(tokens) if token == (False, "."))


def _known(token: Token) -> str | None:
    """Return a value; None for ``.`` and ``?``, which say that there is none."""
    return None if token[1] in {".", "?"} else token[1]
