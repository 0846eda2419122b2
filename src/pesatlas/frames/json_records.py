"""Records of a JSON file one by one: a list or JSON lines; memory does not grow with the file."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from pesatlas.frames.frame import UnusableFrame
from pesatlas.frames.text import open_text
from pesatlas.tables.schemas import FailureReason

_PIECE = 1 << 20
_TORN = 16
"""A piece that ends in the middle of a word or a number breaks the grammar so near to its end."""


def records(path: Path) -> Iterator[Any]:
    """Yield what a file holds, as Python's JSON has it.

    In the place of a line that is no JSON, an ``UnusableFrame``.

    In a list, what follows a record that is no JSON cannot be told apart: the last thing is an
    ``UnusableFrame`` then.
    """
    with open_text(path) as file:
        text = _Text(file)
        in_list = text.skip() == "["
        if in_list:
            text.at += 1
        while True:
            sign = text.skip()
            if sign == "" or (in_list and sign == "]"):
                if sign == "" and in_list:
                    yield UnusableFrame(FailureReason.UNREADABLE, "the list ends in the middle")
                return
            try:
                yield text.decode()
            except json.JSONDecodeError as error:
                why = f"no JSON: {error.msg} at character {text.gone + error.pos}"
                yield UnusableFrame(
                    FailureReason.UNREADABLE, f"{why}, and what follows it" if in_list else why
                )
                if in_list:
                    return
                text.skip_line()


class _Text:
    """A piece of a file, and where in it reading is."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._decoder = json.JSONDecoder()
        self._text = ""
        self.at = 0
        self.gone = 0

    def _more(self) -> bool:
        """Append a piece, as long as what is there; return whether there was one."""
        rest = self._text[self.at :]
        more = self._file.read(max(_PIECE, len(rest)))
        self.gone += self.at
        self._text, self.at = rest + more, 0
        return bool(more)

    def skip(self) -> str:
        """Go to the next sign that is no space and no comma; return it, or nothing at the end."""
        while True:
            while self.at < len(self._text):
                sign = self._text[self.at]
                if not (sign.isspace() or sign == ","):
                    return sign
                self.at += 1
            if not self._more():
                return ""

    def skip_line(self) -> None:
        """Go behind the next end of a line."""
        while (end := self._text.find("\n", self.at)) < 0:
            self.at = len(self._text)
            if not self._more():
                return
        self.at = end + 1

    def decode(self) -> Any:
        """Return the next record.

        Raises
        ------
        json.JSONDecodeError
            If it is no JSON.
        """
        while True:
            try:
                record, self.at = self._decoder.raw_decode(self._text, self.at)
            except json.JSONDecodeError as error:
                torn = error.pos >= len(self._text) - _TORN or error.msg.startswith("Unterminated")
                if not torn or not self._more():
                    raise
            else:
                return record
